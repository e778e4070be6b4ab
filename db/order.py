"""Who reads what in which order: pure, and the same for the same seed for ever.

A permutation is a sort by SHA-256 of seed, reader and case, so that it depends
on no version of any library and no reader's order depends on another reader.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Arm = Literal["ai", "control"]
Design = Literal["before", "before-after", "before-after with control"]


@dataclass(frozen=True, slots=True)
class Slot:
    """One read: of which case, which time (0 first, 1 hidden repeat), in which arm."""

    code: str
    occasion: int
    arm: Arm


def permuted(items: Sequence[str], *key: object) -> list[str]:
    """`items` in an order that looks random and that `key` alone decides."""
    prefix = "/".join(str(part) for part in key)
    return sorted(items, key=lambda item: hashlib.sha256(f"{prefix}/{item}".encode()).digest())


def slots(
    *,
    seed: int,
    reader: str,
    rank: int,
    training: Sequence[str],
    cases: Sequence[str],
    repeat_share: float,
    design: Design,
) -> list[Slot]:
    """The reads of one reader, in their order.

    Training cases come first, in the order given; then all cases in the reader's own
    order; then the hidden repeats, in the order of their first reads, so that the time
    between the two is as long as it can be.

    Parameters
    ----------
    seed : int
    reader : str
        Key of the reader.
    rank : int
        Order of joining, from 0. Of each two readers (0 and 1, 2 and 3, ...) one reads
        without the models what the other reads with them, each half of the cases.
    training, cases : sequence of str
        Codes.
    repeat_share : float
        Share to repeat of the cases that this reader reads without the models, in
        [0, 1]; above 0 at least one where there are such. A repeat of a case whose
        scores by the models were seen would tell nothing of the reader alone.
    design : {"before", "before-after", "before-after with control"}
        With a control arm half of the cases are read twice without the models.
    """
    control: set[str] = set()
    if design == "before-after with control":
        halves = permuted(cases, seed, "control", rank // 2)
        middle = len(halves) // 2
        control = set(halves[middle:] if rank % 2 else halves[:middle])
    order = permuted(cases, seed, "order", reader)
    alone = {"before": list(cases), "before-after": []}.get(design, sorted(control))
    n_repeats = max(1, round(repeat_share * len(alone))) if repeat_share and alone else 0
    repeated = set(permuted(alone, seed, "repeat", reader)[:n_repeats])

    def slot(code: str, occasion: int) -> Slot:
        return Slot(code, occasion, "control" if code in control else "ai")

    return [
        *(Slot(code, 0, "ai") for code in training),
        *(slot(code, 0) for code in order),
        *(slot(code, 1) for code in order if code in repeated),
    ]
