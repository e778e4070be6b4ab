"""What a slide comes to: means over its tissue and over a region, and whether to rely on it."""

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from shapely.geometry.base import BaseGeometry

from cellularity_core.conventions import CLASSES
from cellularity_core.quality import FLAGS
from cellularity_core.results import Quality
from cellularity_core.slides.region import covered
from cellularity_core.slides.sampling import limits, model_half_width, sampling_error
from cellularity_core.slides.scoring import TileResult

HALF: Final = 0.5
"""Share of a slide's tissue from which what is wrong with tiles is wrong with the slide."""

TOLD: Final = 0.1
"""Share of the tissue from which it is told that scores lie beyond the reader's scale."""

BEYOND: Final = "beyond-reader"

OTHER_STAIN: Final = ("greyscale", "not-he")

NO_TISSUE: Final = "There is no tissue to be found on this slide, so nothing on it is scored."

NOT_HE: Final = (
    "This slide is not H&E (an immunostain, fluorescence or grey?), so nothing here can be "
    "relied on; give the H&E slide."
)


class Place(NamedTuple):
    """A tile with tissue: where it lies in the grid, its tissue, and scores where it is fit."""

    row: int
    column: int
    tissue_um2: float
    scores: Mapping[str, float]


HALVES: Final = ("sampling_half_width", "model_half_width_below", "model_half_width_above")
"""Names of the parts of `MeanError` in a summary, in their order."""


class MeanError(NamedTuple):
    """How far a mean may be off: half widths at `sampling.LEVEL`, in cellularity, 0 to 1.

    Attributes
    ----------
    sampled : float
        For tiles that are not fit to score, on either side.
    below, above : float
        For the error of the models, on one side each.
    """

    sampled: float
    below: float
    above: float

    def around(self, mean: float) -> tuple[float, float]:
        """Limits of a mean that may be off by so much."""
        return limits(mean, (self.sampled, self.below), (self.sampled, self.above))


@dataclass(slots=True)
class Area:
    """Tiles added up, each by the area of its tissue.

    Attributes
    ----------
    tissue_um2 : float
        Tissue in all tiles.
    fit_um2 : float
        Tissue in tiles that are fit to score: with a score and no flag that forbids it.
    tiles : int
        Tiles with tissue.
    counts : dict of str to float
        Nuclei in them by class; where a tile lies partly in a region, that part of them.
    sums, lows, highs : dict of str to float
        Score, and limits of its interval, times tissue of the fit tiles, by method.
    lows2, highs2 : dict of str to float
        Squares of how far a limit lies from the score, times tissue squared, likewise.
    slides : list of list of Place
        Tiles with tissue, those of each slide.
    flagged_um2, spoilt_um2 : dict of str to float
        Tissue under each flag, in all tiles and in those not fit to score.
    other_um2 : float
        Tissue in tiles without the colours of H&E, each counted once.
    """

    tissue_um2: float = 0.0
    fit_um2: float = 0.0
    tiles: int = 0
    counts: dict[str, float] = field(default_factory=lambda: dict.fromkeys(CLASSES, 0.0))
    sums: dict[str, float] = field(default_factory=dict)
    lows: dict[str, float] = field(default_factory=dict)
    highs: dict[str, float] = field(default_factory=dict)
    lows2: dict[str, float] = field(default_factory=dict)
    highs2: dict[str, float] = field(default_factory=dict)
    slides: list[list[Place]] = field(default_factory=lambda: [[]])
    flagged_um2: dict[str, float] = field(default_factory=dict)
    spoilt_um2: dict[str, float] = field(default_factory=dict)
    other_um2: float = 0.0

    def add(self, result: TileResult, mpp: float, share: float = 1.0) -> None:
        """Add a tile.

        Parameters
        ----------
        result : TileResult
        mpp : float
            um per pixel of level 0.
        share : float
            Of the tile that counts; its tissue is taken to be spread evenly.
        """
        if share == 0 or "no-tissue" in result.quality.flags:
            return
        tissue = result.tile.width * result.tile.height * mpp**2 * result.tissue * share
        self.tissue_um2 += tissue
        self.tiles += 1
        for name, count in result.counts.items():
            self.counts[name] += count * share
        if has_other_stain(result.quality):
            self.other_um2 += tissue
        for flag in result.quality.flags:
            self.flagged_um2[flag] = self.flagged_um2.get(flag, 0.0) + tissue
            if not result.quality.reliable:
                self.spoilt_um2[flag] = self.spoilt_um2.get(flag, 0.0) + tissue
        scores = {}
        if result.quality.reliable:
            self.fit_um2 += tissue
            for method, score in result.scores.items():
                if score.value is None or score.low is None or score.high is None:
                    continue
                scores[method] = score.value
                for total, value in (
                    (self.sums, tissue * score.value),
                    (self.lows, tissue * score.low),
                    (self.highs, tissue * score.high),
                    (self.lows2, (tissue * (score.value - score.low)) ** 2),
                    (self.highs2, (tissue * (score.high - score.value)) ** 2),
                ):
                    total[method] = total.get(method, 0.0) + value
        self.slides[-1].append(Place(result.tile.row, result.tile.column, tissue, scores))

    def mean(self, method: str) -> float | None:
        """Mean score of the fit tiles, 0 to 1; None where there are none."""
        return self.sums[method] / self.fit_um2 if method in self.sums and self.fit_um2 else None

    def interval(self, method: str, shared: float = 1.0) -> tuple[float, float] | None:
        """Limits of the mean over all tiles at `sampling.LEVEL`, 0 to 1.

        They join the error of the models (`sampling.model_half_width`) and that for tiles
        which are not fit to score (`sampling.sampling_error`), taken as though they were
        like those that are.

        Parameters
        ----------
        method : str
        shared : float
            Share of the variance of a tile's error that is common to its patient, 0 to 1.

        Returns
        -------
        (float, float) or None
            None where there is no mean, or too few tiles to tell.
        """
        mean, error = self.mean(method), self.error(method, shared)
        return None if mean is None or error is None else error.around(mean)

    def error(self, method: str, shared: float = 1.0) -> MeanError | None:
        """What `interval` joins; None where that is."""
        if self.mean(method) is None:
            return None
        sampled = self._sampling_half_width(method)
        if sampled is None:
            return None
        once, twice = self.fit_um2, self.fit_um2 * self.tissue_um2
        below, above = (
            model_half_width(apart / once, squares / twice, shared)
            for apart, squares in (
                (self.sums[method] - self.lows[method], self.lows2[method]),
                (self.highs[method] - self.sums[method], self.highs2[method]),
            )
        )
        return MeanError(sampled, below, above)

    def _sampling_half_width(self, method: str) -> float | None:
        """Of the mean, for tiles without a score; slides have nothing to do with each other."""
        halves = []
        for places in filter(None, self.slides):
            shape = [1 + max(at) for at in zip(*(p[:2] for p in places), strict=True)]
            scores, weights = np.full(shape, np.nan), np.zeros(shape)
            for place in places:
                weights[place.row, place.column] = place.tissue_um2
                scores[place.row, place.column] = place.scores.get(method, math.nan)
            found = sampling_error(scores, weights)
            if found is None:
                return None
            halves.append(found.half_width * weights.sum() / self.tissue_um2)
        return math.hypot(*halves)

    def record(
        self, methods: Sequence[str], shared: Mapping[str, float] | None = None
    ) -> dict[str, Any]:
        """For the summary: areas in mm2, shares of the tissue 0 to 1, all else 0 to 1 as scores.

        `shared` is that of `interval`, by method.
        """
        known = shared or {}
        means = {m: self.mean(m) for m in methods}
        errors = {m: self.error(m, known.get(m, 1.0)) for m in methods}
        ends = {
            m: (None, None) if mean is None or (error := errors[m]) is None else error.around(mean)
            for m, mean in means.items()
        }
        halves = {m: (None,) * 3 if error is None else error for m, error in errors.items()}
        return {
            "tiles": self.tiles,
            "tissue_mm2": round(self.tissue_um2 / 1e6, 6),
            "fit_mm2": round(self.fit_um2 / 1e6, 6),
            "mean": {m: _rounded(mean) for m, mean in means.items()},
            "low": {m: _rounded(ends[m][0]) for m in methods},
            "high": {m: _rounded(ends[m][1]) for m in methods},
            **{
                name: {m: _rounded(half[k]) for m, half in halves.items()}
                for k, name in enumerate(HALVES)
            },
            "nuclei": {name: round(count) for name, count in self.counts.items()},
            "flagged": {
                flag: round(self.flagged_um2[flag] / self.tissue_um2, 4)
                for flag in FLAGS
                if flag in self.flagged_um2
            },
        }


def joined(areas: Iterable[Area]) -> Area:
    """Areas of several slides as one, the mean of each weighted by all of its tissue.

    Also where more of one slide than of another is fit to score: the tiles that are stand for
    all of their own slide, as `Area.interval` takes them.
    """
    parts = list(areas)
    whole = Area(slides=[place for area in parts for place in area.slides])
    for area in parts:
        for name in ("tissue_um2", "fit_um2", "tiles", "other_um2"):
            setattr(whole, name, getattr(whole, name) + getattr(area, name))
    known = sum(area.tissue_um2 for area in parts if area.fit_um2)
    for area in parts:
        by_tissue = area.fit_um2 and area.tissue_um2 / area.fit_um2 * whole.fit_um2 / known
        for names, factor in (
            (("counts", "flagged_um2", "spoilt_um2"), 1.0),
            (("sums", "lows", "highs", "lows2", "highs2"), by_tissue),
        ):
            for name in names:
                sums = getattr(whole, name)
                for key, value in getattr(area, name).items():
                    sums[key] = sums.get(key, 0.0) + factor * value
    return whole


def hottest(
    results: Iterable[TileResult], method: str, count: int, region: BaseGeometry | None = None
) -> list[TileResult]:
    """Tiles with the highest scores, highest first: fit to score, at least half in the region."""
    fit = (
        result
        for result in results
        if result.quality.reliable
        and method in result.scores
        and result.scores[method].value is not None
        and (region is None or next(covered(region, [result.tile])) >= HALF)
    )
    return heapq.nlargest(count, fit, key=lambda result: result.scores[method].value or 0.0)


def add_up(
    results: Iterable[TileResult], mpp: float, region: BaseGeometry | None = None
) -> tuple[Area, Area | None]:
    """The whole tissue, and what of it lies in a region, where there is one."""
    whole = Area()
    inside = None if region is None else Area()
    for result in results:
        whole.add(result, mpp)
        if region is not None and inside is not None:
            (share,) = covered(region, [result.tile])
            inside.add(result, mpp, share)
    return whole, inside


def is_other_stain(area: Area) -> bool:
    """Whether at least half of the tissue has not the colours of H&E."""
    return area.tissue_um2 > 0 and area.other_um2 >= HALF * area.tissue_um2


def has_other_stain(quality: Quality) -> bool:
    """Whether a tile has not the colours of H&E; it can carry more than one flag for that."""
    return any(flag in OTHER_STAIN for flag in quality.flags)


def verdict(area: Area) -> str | None:
    """One sentence if the scores cannot be relied on; None if they can."""
    if area.tissue_um2 == 0:
        return NO_TISSUE
    if is_other_stain(area):
        return NOT_HE
    if area.fit_um2 <= HALF * area.tissue_um2:
        worst = max(area.spoilt_um2, key=lambda f: (FLAGS[f].fatal, area.spoilt_um2[f]))
        return (
            f"{1 - area.fit_um2 / area.tissue_um2:.0%} of the tissue is not fit to score, mostly "
            f"for the flag {worst}, so nothing here can be relied on: {FLAGS[worst].text}"
        )
    return None


def guessed(area: Area) -> str | None:
    """One sentence if much of the tissue has scores beyond what a reader's scale rests on."""
    share = area.flagged_um2.get(BEYOND, 0.0) / area.tissue_um2 if area.tissue_um2 else 0.0
    if share < TOLD:
        return None
    return (
        f"{share:.0%} of the tissue has scores outside those that this reader's scale was made "
        "from, so their values are guesses and so is their part of the mean; score such patches "
        "and recalibrate."
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
