"""Patches that show the same tissue in other pixels, by their perceptual hashes.

The science side makes the hashes; here they are only compared, in all 8 orientations.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from db.schema import Patch

NEAR_BITS: Final = 12
"""Hashes of 64 bits that differ in at most so many are of the same tissue."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Perceptual hash of a patch as given, and in all orientations that are known."""

    given: int
    turned: tuple[int, ...]


def mark(patch: Patch) -> Mark | None:
    """What a patch is known again by; None where no hash is kept or it was erased."""
    if patch.phash is None:
        return None
    given = int(patch.phash, 16)
    return Mark(given, tuple(int(one, 16) for one in (patch.turned or patch.phash).split()))


def any_alike(some: Iterable[Mark], others: Iterable[Mark]) -> bool:
    """Whether any of `some` shows the tissue of any of `others`, turned or flipped perhaps.

    To turn either of two is enough; a patch kept by an earlier version may be known as
    given only.
    """
    others = list(others)
    return any(
        any((one ^ other.given).bit_count() <= NEAR_BITS for one in mark.turned)
        or (
            len(mark.turned) == 1
            and any((mark.given ^ one).bit_count() <= NEAR_BITS for one in other.turned)
        )
        for mark in some
        for other in others
    )
