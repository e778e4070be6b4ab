"""What a slide comes to: means over its tissue and over a region, and whether to rely on it."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from shapely.geometry.base import BaseGeometry

from cellularity_core.conventions import CLASSES
from cellularity_core.quality import FLAGS
from cellularity_core.slides.region import covered
from cellularity_core.slides.scoring import TileResult

HALF: Final = 0.5
"""Share of a slide's tissue from which what is wrong with tiles is wrong with the slide."""

OTHER_STAIN: Final = ("greyscale", "not-he")

NO_TISSUE: Final = "There is no tissue to be found on this slide, so nothing on it is scored."

NOT_HE: Final = (
    "This slide is not H&E (an immunostain, fluorescence or grey?), so nothing here can be "
    "relied on; give the H&E slide."
)


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
        Score, and limits of its 90 % interval, times tissue of the fit tiles, by method.
    flagged_um2, spoilt_um2 : dict of str to float
        Tissue under each flag, in all tiles and in those not fit to score.
    """

    tissue_um2: float = 0.0
    fit_um2: float = 0.0
    tiles: int = 0
    counts: dict[str, float] = field(default_factory=lambda: dict.fromkeys(CLASSES, 0.0))
    sums: dict[str, float] = field(default_factory=dict)
    lows: dict[str, float] = field(default_factory=dict)
    highs: dict[str, float] = field(default_factory=dict)
    flagged_um2: dict[str, float] = field(default_factory=dict)
    spoilt_um2: dict[str, float] = field(default_factory=dict)

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
        for flag in result.quality.flags:
            self.flagged_um2[flag] = self.flagged_um2.get(flag, 0.0) + tissue
            if not result.quality.reliable:
                self.spoilt_um2[flag] = self.spoilt_um2.get(flag, 0.0) + tissue
        if result.quality.reliable:
            self.fit_um2 += tissue
            for method, score in result.scores.items():
                ends = (self.sums, score.value), (self.lows, score.low), (self.highs, score.high)
                for sums, value in ends:
                    if value is not None:
                        sums[method] = sums.get(method, 0.0) + tissue * value

    def mean(self, method: str) -> float | None:
        """Mean score of the fit tiles, 0 to 1; None where there are none."""
        return self.sums[method] / self.fit_um2 if method in self.sums and self.fit_um2 else None

    def interval(self, method: str) -> tuple[float, float] | None:
        """Limits of the mean at `conventions.INTERVAL`, 0 to 1, for the error of the models.

        They are the means of the tiles' limits: those of tiles that all err to the same
        side and as much, as on a slide whose stain misleads the models. Errors that
        differ from tile to tile cancel in part, so that the mean then errs less.
        """
        if method not in self.lows or not self.fit_um2:
            return None
        return self.lows[method] / self.fit_um2, self.highs[method] / self.fit_um2

    def record(self, methods: Sequence[str]) -> dict[str, Any]:
        """For the summary: means 0 to 1, areas in mm2, shares of the tissue 0 to 1."""
        return {
            "tiles": self.tiles,
            "tissue_mm2": round(self.tissue_um2 / 1e6, 6),
            "fit_mm2": round(self.fit_um2 / 1e6, 6),
            "mean": {m: _rounded(self.mean(m)) for m in methods},
            "interval": {
                m: limits and [round(end, 6) for end in limits]
                for m in methods
                for limits in (self.interval(m),)
            },
            "nuclei": {name: round(count) for name, count in self.counts.items()},
            "flagged": {
                flag: round(self.flagged_um2[flag] / self.tissue_um2, 4)
                for flag in FLAGS
                if flag in self.flagged_um2
            },
        }


def joined(areas: Iterable[Area]) -> Area:
    """Areas of several slides as one, each counted by its own size."""
    whole = Area()
    for area in areas:
        for name in ("tissue_um2", "fit_um2", "tiles"):
            setattr(whole, name, getattr(whole, name) + getattr(area, name))
        for name in ("counts", "sums", "lows", "highs", "flagged_um2", "spoilt_um2"):
            sums = getattr(whole, name)
            for key, value in getattr(area, name).items():
                sums[key] = sums.get(key, 0.0) + value
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


def verdict(area: Area) -> str | None:
    """One sentence if the scores cannot be relied on; None if they can."""
    if area.tissue_um2 == 0:
        return NO_TISSUE
    shares = {flag: um2 / area.tissue_um2 for flag, um2 in area.flagged_um2.items()}
    if sum(shares.get(flag, 0.0) for flag in OTHER_STAIN) >= HALF:
        return NOT_HE
    if area.fit_um2 <= HALF * area.tissue_um2:
        worst = max(area.spoilt_um2, key=lambda f: (FLAGS[f].fatal, area.spoilt_um2[f]))
        return (
            f"{1 - area.fit_um2 / area.tissue_um2:.0%} of the tissue is not fit to score, mostly "
            f"for the flag {worst}, so nothing here can be relied on: {FLAGS[worst].text}"
        )
    return None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
