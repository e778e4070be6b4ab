"""Why two methods give one patch different scores, in sentences that are each computed.

Nothing here guesses: a sentence is said only where the numbers behind it were found, and
names what was found, not what may have caused it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from cellularity_core.boosting import describe
from cellularity_core.conventions import COMBINED
from cellularity_core.features import FEATURE_NAMES
from cellularity_core.model_store import ModelSet
from cellularity_core.results import PatchResult, Score
from cellularity_core.saliency import PlaceMap, as_seen, covered
from cellularity_core.wording import listed

APART: Final = 0.25
"""A place where a network's score and the nuclei marked differ by a bin of 25 %."""

IMAGE_APART: Final = 0.10
"""The same for two networks that both give a score to every place."""

MOSTLY: Final = 0.75
"""Share of a difference that has to lie in one part of the patch to be placed there."""

ADDS_UP: Final = 0.005
"""A map whose mean is this near its score is said to add up to it."""

NAMED: Final = 3
"""Features named of the trees' score."""

FROM_HERE: Final = "What follows explains that gap, not the one above."
"""After a gap before a reader's scale, which is the scale of every reason."""

READ_MAPS: Final = ("gbt", "cascade")
"""Methods that read maps of nuclei; the others read the picture."""

Grid = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Gap:
    """Why two methods differ on one patch.

    Attributes
    ----------
    points : int
        Difference of the two scores in percent as they are shown; 0 or more.
    summary : str
        How far they are apart, and whether that is more than their usual error.
    reasons : tuple of str
        Sentences, largest first; empty where there is no gap.
    """

    points: int
    summary: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Region:
    """Cells in which one map exceeds another.

    Attributes
    ----------
    share : float
        Of the tissue, 0 to 1.
    where : str
        E.g. "in the upper left".
    one, other : float
        Means of the two maps there.
    worth : float
        What the difference there adds to the mean of the first over the tissue.
    """

    share: float
    where: str
    one: float
    other: float
    worth: float


def why_apart(
    result: PatchResult,
    a: str,
    b: str,
    model_set: ModelSet,
    places: Mapping[str, PlaceMap],
    names: Mapping[str, str],
) -> Gap:
    """Say what lies behind the gap between two methods; their order does not matter.

    Parameters
    ----------
    result : PatchResult
    a, b : str
        Two of the methods scored.
    model_set : ModelSet
        That scored: which methods share a map, and which are means of others.
    places : mapping of str to PlaceMap
        Of `Scorer.places`; what is not in it is not spoken of.
    names : mapping of str to str
        Methods as the reader knows them.
    """
    if _value(result.scores[a]) < _value(result.scores[b]):
        a, b = b, a
    high, low = result.scores[a], result.scores[b]
    if high.value is None or low.value is None:
        return Gap(0, "There is no tissue to score, so there is no gap to explain.")
    points = _percent(high.value) - _percent(low.value)
    if points == 0:
        one, other = sorted((names[a], names[b]))
        return Gap(
            0,
            f"{one} and {other} both give {_percent(high.value)} %: there is no gap to explain.",
        )
    summary = (
        f"{names[a]} gives {_percent(high.value)} %, {points_of(points)} more than "
        f"{names[b]} ({_percent(low.value)} %). {noise(high, low)}"
    )
    said = _Speaker(as_computed(result), model_set, places, names)
    if said.result is result:
        return Gap(points, summary, tuple(said.between(a, b)))
    if said.score(a) < said.score(b):
        a, b = b, a
    first, second = _percent(said.score(a)), _percent(said.score(b))
    before = "Before the scores were put on the reader's scale,"
    if first == second:
        alone = f"{before} both gave {first} %, so that scale alone makes the gap."
        return Gap(points, summary, (alone,))
    told = (
        f"{before} {names[a]} gave {first} %, {points_of(first - second)} more than {names[b]} "
        f"({second} %). {FROM_HERE}"
    )
    return Gap(points, summary, (told, *said.between(a, b)))


def as_computed(result: PatchResult) -> PatchResult:
    """A result with the scores that its features, contributions and maps lead to.

    Those are before any map to a reader's scale, and without intervals, which are of that
    scale. The result itself where its set makes no such map.
    """
    if not result.uncalibrated:
        return result
    before = {method: Score(value, None, None) for method, value in result.uncalibrated.items()}
    return replace(result, scores={**result.scores, **before})


@dataclass(frozen=True, slots=True)
class _Speaker:
    result: PatchResult
    model_set: ModelSet
    places: Mapping[str, PlaceMap]
    names: Mapping[str, str]

    def between(self, high: str, low: str) -> list[str]:
        if COMBINED in (high, low):
            return self._combined(low if high == COMBINED else high)
        maps = [m for m in (high, low) if m in READ_MAPS]
        if len(maps) == 2:
            said = [self._shared(high, low)]
        elif maps:
            image = low if maps[0] == high else high
            said = self._image_and_map(image, maps[0], image == high)
        else:
            said = self._images(high, low)
        if "gbt" in maps:
            said += self._trees(high == "gbt")
        return [sentence for sentence in said if sentence]

    def score(self, method: str) -> float:
        """On the scale of the reasons."""
        return _value(self.result.scores[method])

    def _combined(self, other: str) -> list[str]:
        parts = self.model_set.parts(COMBINED)
        if any(p not in self.result.scores for p in parts):
            return []
        mean = float(np.mean([self.score(p) for p in parts]))
        if abs(mean - self.score(COMBINED)) > ADDS_UP:
            return []
        named = listed([f"{self.names[p]} ({_percent(self.score(p))} %)" for p in parts])
        said = [f"{self.names[COMBINED]} is the mean of {named}."]
        # The part that is furthest from the other carries most of the gap.
        part = max((p for p in parts if p != other), key=lambda p: self._distance(p, other))
        if _percent(self.score(part)) == _percent(self.score(other)):
            return said
        pair = sorted((part, other), key=self.score, reverse=True)
        said.append(f"What is known of {self.names[pair[0]]} and {self.names[pair[1]]}:")
        further = self.between(pair[0], pair[1])
        return said + further if further else said[:1]

    def _distance(self, part: str, other: str) -> float:
        return abs(self.score(part) - self.score(other))

    def _shared(self, high: str, low: str) -> str:
        if self.model_set.network_of(high) == self.model_set.network_of(low):
            return (
                "Both read the same map of nuclei, so they differ only in how they turn it into "
                "a score."
            )
        return "Each reads a map of nuclei of its own."

    def _image_and_map(self, image: str, reader: str, image_is_higher: bool) -> list[str]:
        if image not in self.places:
            return []
        found = self.places[image]
        marked = covered(self.result.nuclei, self.result.mpp, found)
        seen = as_seen(marked, self.result.mpp, found)
        more = region(found.values, seen, found.weights, APART)
        less = region(seen, found.values, found.weights, APART)
        adds_up = abs(found.mean - self.score(image)) <= ADDS_UP
        name = self.names[image]
        said = []
        if more:
            said.append(
                f"{name} scores more than the marked malignant nuclei cover: {more.where}, "
                f"{_percent(more.share)} % of the tissue. There it scores {_percent(more.one)} %, "
                f"they cover {_percent(more.other)} %"
                + (f"; that adds {points_of(_percent(more.worth))} to it." if adds_up else ".")
            )
        if less:
            said.append(
                f"{name} scores less than the marked malignant nuclei cover: {less.where}, "
                f"{_percent(less.share)} % of the tissue. There it scores "
                f"{_percent(less.other)} %, they cover {_percent(less.one)} %"
                + (f"; that takes {points_of(_percent(less.worth))} from it." if adds_up else ".")
            )
        against = less if image_is_higher else more
        if not image_is_higher:
            said.reverse()
        if against:
            said[-1] = f"Against the gap: {said[-1]}"
        if not said:
            said = [
                f"No part of the patch stands out: {name} and the nuclei marked are nowhere far "
                "enough apart to matter."
            ]
        cover = float((found.weights * marked).sum())
        said.append(
            f"The malignant nuclei marked, each with 10 µm around it, cover {_percent(cover)} % "
            f"of the tissue; {self.names[reader]} gives {_percent(self.score(reader))} %."
        )
        return said

    def _images(self, high: str, low: str) -> list[str]:
        if high not in self.places or low not in self.places:
            return []
        one, other = self.places[high], self.places[low]
        adds_up = all(abs(self.places[m].mean - self.score(m)) <= ADDS_UP for m in (high, low))
        said = []
        for first, second, a, b in ((high, low, one, other), (low, high, other, one)):
            found = region(a.values, b.values, one.weights, IMAGE_APART)
            if found:
                against = "Against the gap: " if first == low else ""
                said.append(
                    f"{against}{self.names[first]} scores higher than {self.names[second]} "
                    f"{found.where}, on {_percent(found.share)} % of the tissue: "
                    f"{_percent(found.one)} % against {_percent(found.other)} % there"
                    + (f", worth {points_of(_percent(found.worth))}." if adds_up else ".")
                )
        if not said:
            said = ["No part of the patch stands out: the two differ a little in many places."]
        return said

    def _trees(self, is_higher: bool) -> list[str]:
        """What moves the trees' score from an average patch's: with the gap, then against it."""
        shares = self.result.contributions
        order = [int(k) for k in np.argsort(-np.abs(shares), kind="stable")]
        large = [k for k in order if abs(_percent(shares[k])) >= 1]
        along = [k for k in large if (shares[k] > 0) == is_higher][:NAMED]
        against = [k for k in large[:NAMED] if (shares[k] > 0) != is_higher]
        base = _percent(self.result.base_value)
        start = f"{self.names['gbt']} starts from {base} %, an average patch"
        if not large:
            return [f"{start}, and no single measurement moves it by a point."]
        way = "up" if is_higher else "down"
        said = [
            f"{start}; of its measurements, {self._moved(along)}."
            if along
            else f"{start}; none of its measurements moves it {way} by a point, so they do not "
            "explain the gap."
        ]
        if against:
            said.append(f"Against the gap: {self._moved(against)}.")
        return said

    def _moved(self, order: Sequence[int]) -> str:
        """What measurements do to the trees' score."""
        told = []
        for k in order:
            moved = self.result.contributions[k]
            what, how_much = describe(FEATURE_NAMES[k], self.result.features[k])
            verb = "raises" if moved > 0 else "lowers"
            told.append(f"{what} ({how_much}) {verb} it by {points_of(abs(_percent(moved)))}")
        return "; ".join(told)


def region(one: Grid, other: Grid, weights: Grid, least: float) -> Region | None:
    """Where one map exceeds another by at least `least`; None if that is worth under a point.

    Parameters
    ----------
    one, other, weights : ndarray of float64, shape (rows, columns)
        Two maps, and the share of each cell in their means.
    least : float
    """
    inside = one - other >= least
    amount = np.where(inside, weights * (one - other), 0.0)
    worth = float(amount.sum())
    if worth < 0.01:
        return None
    share = float(weights[inside].sum())

    def mean(values: Grid) -> float:
        return float((weights * values)[inside].sum() / share)

    return Region(share, where(amount), mean(one), mean(other), worth)


def where(amount: Grid) -> str:
    """In which part of a patch most of an amount lies, in words.

    Parameters
    ----------
    amount : ndarray of float64, shape (rows, columns)
        0 or more; not all 0.
    """
    total = amount.sum()
    rows, columns = amount.sum(axis=1) / total, amount.sum(axis=0) / total

    def side(shares: Grid, first: str, last: str) -> str:
        # a cell in the middle belongs to both halves
        at = (np.arange(len(shares)) + 0.5) / len(shares)
        head = float((shares * np.where(at < 0.5, 1, np.where(at > 0.5, 0, 0.5))).sum())
        return first if head >= MOSTLY else last if head <= 1 - MOSTLY else ""

    vertical, horizontal = side(rows, "upper", "lower"), side(columns, "left", "right")
    if vertical and horizontal:
        return f"in the {vertical} {horizontal}"
    if vertical or horizontal:
        return f"in the {vertical or horizontal} half"

    def within(reach: float) -> float:
        """Share of the amount at most `reach` from the middle, sides being 1."""
        near = [np.abs((np.arange(count) + 0.5) / count - 0.5) <= reach for count in amount.shape]
        return float(amount[np.ix_(*near)].sum() / total)

    if within(0.25) >= MOSTLY:
        return "in the middle"
    if within(0.375) <= 1 - MOSTLY:
        return "along the edges"
    return "in several parts"


def noise(high: Score, low: Score) -> str:
    """Whether a gap is more than the usual error of both."""
    if high.low is None or low.high is None:
        return ""
    if _value(high) <= low.high and _value(low) >= high.low:
        return (
            "Each score lies in the other's 90 % interval: the gap is no more than the usual "
            "error of either."
        )
    if high.low <= low.high:
        return "Their 90 % intervals overlap, but not each score lies in the other's."
    return "Their 90 % intervals do not meet: the gap is more than their usual error."


def _value(score: Score) -> float:
    return -1.0 if score.value is None else score.value


def _percent(share: float) -> int:
    return round(100 * share)


def points_of(count: int) -> str:
    """ "1 point", "2 points"."""
    return f"{count} point" if count == 1 else f"{count} points"
