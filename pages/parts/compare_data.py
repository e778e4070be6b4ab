"""What the page Compare sets side by side: scores of methods and of a reader. Pure, no widgets."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cellularity_core.conventions import COMBINED
from cellularity_core.recalibration import READER
from cellularity_core.results import PatchResult, Score
from db.records import ReadingRecord
from pages.parts.words import METHOD_CODES, METHOD_NAMES, flags_in_words, scale_note

Floats = npt.NDArray[np.float64]

OWN: Final = "Your score"
FIRST: Final = "Your first score, blind"

APART: Final = "Apart"

BETWEEN: Final = "B less A"

_NO_SCORE: Final = Score(None, None, None)


@dataclass(frozen=True, slots=True)
class Side:
    """What one model set says of the patches.

    Attributes
    ----------
    label : str
        "A" or "B"; "" where there is one set only.
    name : str
        Of the model set.
    scale : str
        Whose scale its scores are on.
    parts : mapping of str to tuple of str
        By method, the methods whose scores it is the mean of: itself, but for "combined".
    results : mapping of str to PatchResult
        By checksum of the patch; only what may be shown.
    """

    label: str
    name: str
    scale: str
    parts: Mapping[str, tuple[str, ...]]
    results: Mapping[str, PatchResult]

    def score(self, sha256: str, method: str) -> Score:
        """Score of a patch; without a value where there is none, or no tissue to score."""
        result = self.results.get(sha256)
        return result.scores.get(method, _NO_SCORE) if result else _NO_SCORE


@dataclass(frozen=True, slots=True)
class Rater:
    """A method of one model set, or the reader.

    Attributes
    ----------
    name : str
        In full, e.g. "A: Nuclei features".
    scale : str
        Whose scale the scores are on; of a reader ``"reader: NAME"``.
    scores : mapping of str to float
        0 to 1, by checksum of the patch.
    code : str
        In short, as a column is called.
    side : str
        Label of the model set; "" also of a reader.
    method : str or None
        None for the reader.
    parts : tuple of str
        Methods of the same set whose mean this is; itself, but for "combined".
    """

    name: str
    scale: str
    scores: Mapping[str, float]
    code: str
    side: str = ""
    method: str | None = None
    parts: tuple[str, ...] = field(default=())


def raters(
    sides: Sequence[Side], own: Mapping[str, Sequence[ReadingRecord]], reader: str
) -> list[Rater]:
    """Every method of every set, the mean first, and the reader where there are scores of theirs.

    Of the reader counts the first score of a patch, if it was given before any model's output
    was on screen.
    """
    found = []
    for side in sides:
        before = f"{side.label}: " if side.label else ""
        for method in sorted(side.parts, key=lambda name: name != COMBINED):
            scores = {sha256: side.score(sha256, method).value for sha256 in side.results}
            found.append(
                Rater(
                    name=before + METHOD_NAMES[method],
                    scale=side.scale,
                    scores={s: value for s, value in scores.items() if value is not None},
                    code=f"{side.label} {METHOD_CODES[method]}".strip(),
                    side=side.label,
                    method=method,
                    parts=side.parts[method],
                )
            )
    blinded = {
        sha256: readings[0].cellularity
        for sha256, readings in own.items()
        if readings and not readings[0].seen_models and readings[0].cellularity is not None
    }
    if blinded:
        found.append(Rater(FIRST, READER + reader, blinded, OWN))
    return found


def apart(sides: Iterable[Side], sha256: str) -> float | None:
    """How far the methods disagree on a patch, 0 to 1; None where fewer than two score it.

    The distance of the lowest from the highest of the single methods (not their mean), within
    one scale: where sets have several, the largest of these distances.
    """
    by_scale: dict[str, list[float]] = {}
    for side in sides:
        for method in side.parts:
            value = side.score(sha256, method).value
            if method != COMBINED and value is not None:
                by_scale.setdefault(side.scale, []).append(value)
    gaps = [max(values) - min(values) for values in by_scale.values() if len(values) > 1]
    return max(gaps, default=None)


def by_disagreement(sides: Sequence[Side], sha256s: Iterable[str]) -> list[str]:
    """Checksums, the patch on which methods are furthest apart first; without scores last."""
    gaps = {sha256: apart(sides, sha256) for sha256 in sha256s}
    return sorted(gaps, key=lambda s: (gaps[s] is None, -(gaps[s] or 0.0)))


def between(sides: Sequence[Side], sha256: str) -> float | None:
    """Set B's score less set A's, by the first method that both have; None across scales."""
    if len(sides) != 2 or sides[0].scale != sides[1].scale:
        return None
    one, two = sides
    method = next((m for m in (COMBINED, *one.parts) if m in one.parts and m in two.parts), None)
    first, second = (side.score(sha256, method or "").value for side in sides)
    return None if first is None or second is None else second - first


def shared(a: Rater, b: Rater, order: Iterable[str]) -> tuple[list[str], Floats, Floats]:
    """Patches that both scored, in `order`, and their scores."""
    both = [sha256 for sha256 in order if sha256 in a.scores and sha256 in b.scores]
    return (
        both,
        np.array([a.scores[sha256] for sha256 in both], float),
        np.array([b.scores[sha256] for sha256 in both], float),
    )


def furthest(some: Sequence[Rater], order: Sequence[str]) -> tuple[int, int]:
    """Places of the two single methods of one scale that differ most on average.

    The first two raters where there is no such pair.
    """
    best, found = -1.0, (0, min(1, len(some) - 1))
    for (i, a), (j, b) in combinations(enumerate(some), 2):
        single = all(r.method not in (None, COMBINED) for r in (a, b))
        if not single or a.scale != b.scale:
            continue
        _, first, second = shared(a, b, order)
        gap = float(np.abs(first - second).mean()) if len(first) else -1.0
        if gap > best:
            best, found = gap, (i, j)
    return found


def scales_of(a: Rater, b: Rater) -> tuple[bool, str]:
    """Whether two raters are on one scale, and a sentence that says so."""
    if a.scale == b.scale:
        return True, f"Both on one scale: {_scale(a)}."
    return False, (
        f"**Not on one scale.** {a.name}: {_scale(a)}. {b.name}: {_scale(b)}. The difference "
        "of the scales is part of every difference, bias and limit here."
    )


def _scale(rater: Rater) -> str:
    if rater.method is None:
        return "your own"
    return scale_note(rater.scale).removeprefix("scale: ")


def overlap(a: Rater, b: Rater) -> str:
    """A warning where one of the two is a mean that holds the other; else ""."""
    for mean, part in ((a, b), (b, a)):
        if mean.side == part.side and len(mean.parts) > 1 and part.method in mean.parts:
            return (
                f"{mean.name} is a mean that holds {part.name}, so the two agree more than two "
                "methods that know nothing of each other."
            )
    return ""


def row(
    sides: Sequence[Side],
    some: Sequence[Rater],
    sha256: str,
    own: Mapping[str, Sequence[ReadingRecord]],
) -> dict[str, Any]:
    """Numbers of one patch, in per cent, under the names of the table's columns."""
    gap, shift = apart(sides, sha256), between(sides, sha256)
    cells: dict[str, Any] = {
        "Warnings": _warnings(sides, sha256),
        APART: None if gap is None else 100 * gap,
    }
    if len(sides) == 2 and sides[0].scale == sides[1].scale:
        cells[BETWEEN] = None if shift is None else 100 * shift
    methods = [rater for rater in some if rater.method is not None]
    for rater in methods:
        value = rater.scores.get(sha256)
        cells[rater.code] = None if value is None else 100 * value
    mine = own.get(sha256)
    cells[OWN] = 100 * mine[-1].cellularity if mine and mine[-1].cellularity is not None else None
    for rater in methods:
        side = next(side for side in sides if side.label == rater.side)
        cells[f"{rater.code} 90 %"] = _limits(side.score(sha256, rater.method or ""))
    return cells


def _limits(score: Score) -> str:
    if score.low is None or score.high is None:
        return ""
    return f"{100 * score.low:.0f} to {100 * score.high:.0f}"


def own_flags(sides: Sequence[Side], sha256: str) -> list[tuple[str, tuple[str, ...]]]:
    """Flags of a patch by label of the set, without those that a set before it has raised.

    Most are of the picture, so all sets raise them; a score beyond a reader's is one set's.
    """
    found: list[tuple[str, tuple[str, ...]]] = []
    met: set[str] = set()
    for side in sides:
        if sha256 in side.results:
            flags = tuple(f for f in side.results[sha256].quality.flags if f not in met)
            met |= set(flags)
            found.append((side.label, flags))
    return found


def _warnings(sides: Sequence[Side], sha256: str) -> str:
    told = own_flags(sides, sha256)
    flags = [
        f"{label}: {flag}" if k else flag for k, (label, own) in enumerate(told) for flag in own
    ]
    return flags_in_words(flags, not unreliable(sides, sha256))


def unreliable(sides: Sequence[Side], sha256: str) -> bool:
    """Whether a score of this patch cannot be relied on."""
    return any(
        sha256 in side.results and not side.results[sha256].quality.reliable for side in sides
    )
