"""How often 95 % intervals of a bed's mean hold it, by simulation.

A bed is an ellipse of tiles whose cellularity is a Gaussian field with the covariance
exp(-d^2 / 2 L^2), d and L in tiles. The scores of some of its tiles, with the error of
a model of known size, part of it common to the bed, are all that the interval is made from.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.special import ndtri

from cellularity_core.conventions import INTERVAL
from cellularity_core.slides.sampling import limits, model_half_width, sampling_error

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

FIELDS: Final = 1000
LENGTHS: Final = (0.25, 1.0, 4.0)
"""Correlation lengths, in tiles."""

SIDE: Final = 48
FIELD_MEAN: Final = 0.5
FIELD_SD: Final = 0.12
MODEL_SDS: Final = (0.0, 0.08, 0.24)
"""Of a tile's error: none, less than the field's, twice as much. A quarter of its variance
is common to the bed."""

SHARED: Final = 0.25


@dataclass(frozen=True, slots=True)
class BedCoverage:
    """Coverage of one way of sampling at one correlation length.

    Attributes
    ----------
    tiles : int
        Of the bed.
    design : str
    length : float
        In tiles.
    model_sd : float
        Of the model's error in one tile.
    covered : float
        Share of the fields whose interval holds the mean of the bed.
    half_width : float
        Median, in cellularity.
    unknown : int
        Fields that got no interval, left out.
    fields : int
    """

    tiles: int
    design: str
    length: float
    model_sd: float
    covered: float
    half_width: float
    unknown: int
    fields: int

    @property
    def standard_error(self) -> float:
        """Of `covered`, for the number of fields simulated."""
        known = self.fields - self.unknown
        return math.sqrt(self.covered * (1 - self.covered) / known) if known else math.nan


def _some(count: int) -> Callable[[Mask, np.random.Generator], Mask]:
    def draw(bed: Mask, rng: np.random.Generator) -> Mask:
        out = np.zeros_like(bed)
        out.flat[rng.choice(np.flatnonzero(bed), count, replace=False)] = True
        return out

    return draw


def _blocks(count: int, side: int) -> Callable[[Mask, np.random.Generator], Mask]:
    def draw(bed: Mask, rng: np.random.Generator) -> Mask:
        out = np.zeros_like(bed)
        for place in rng.choice(np.flatnonzero(bed), count, replace=False):
            row, column = divmod(int(place), bed.shape[1])
            out[row : row + side, column : column + side] = True
        return out & bed

    return draw


def _lattice(step: int) -> Callable[[Mask, np.random.Generator], Mask]:
    def draw(bed: Mask, rng: np.random.Generator) -> Mask:
        out = np.zeros_like(bed)
        row, column = rng.integers(step, size=2)
        out[row::step, column::step] = True
        return out & bed

    return draw


DESIGNS: Final[dict[str, Callable[[Mask, np.random.Generator], Mask]]] = {
    "all tiles": lambda bed, _: bed,
    "all but 6 blocks of 5 x 5": lambda bed, rng: bed & ~_blocks(6, 5)(bed, rng),
    "200 at random": _some(200),
    "40 at random": _some(40),
    "15 blocks of 4 x 4": _blocks(15, 4),
    "every 2nd of rows and columns": _lattice(2),
    "every 4th of rows and columns": _lattice(4),
}
"""Which tiles of a bed have scores."""

SMALL_SIDES: Final = (14, 24)
SMALL_DESIGNS: Final[dict[str, Callable[[Mask, np.random.Generator], Mask]]] = {
    "40 at random": _some(40),
    "6 at random": _some(6),
    "8 blocks of 2 x 2": _blocks(8, 2),
    "4 blocks of 3 x 3": _blocks(4, 3),
}
"""Small beds, in which few tiles have scores."""


def simulate(fields: int = FIELDS, seed: int = 0, *, small: bool = False) -> Iterator[BedCoverage]:
    """Coverage at each length, by each design, without and with model error.

    Parameters
    ----------
    fields : int
        Simulated for each length; all designs see the same ones.
    seed : int
    small : bool
        Simulate small beds with few scores, without model error.
    """
    rng = np.random.default_rng(seed)
    if not small:
        yield from _simulate(SIDE, DESIGNS, MODEL_SDS, fields, rng)
        return
    for side in SMALL_SIDES:
        yield from _simulate(side, SMALL_DESIGNS, MODEL_SDS[:1], fields, rng)


def _simulate(
    side: int,
    designs: Mapping[str, Callable[[Mask, np.random.Generator], Mask]],
    model_sds: Sequence[float],
    fields: int,
    rng: np.random.Generator,
) -> Iterator[BedCoverage]:
    bed = ellipse(side)
    for length in LENGTHS:
        # (designs, model errors, fields): does the interval hold the mean, its half width
        held = np.full((len(designs), len(model_sds), fields), np.nan)
        width = held.copy()
        draw = gaussian_fields(side, length, rng)
        for k in range(fields):
            truth = FIELD_MEAN + FIELD_SD * next(draw)
            for d, design in enumerate(designs.values()):
                scored = design(bed, rng)
                for e, sd in enumerate(model_sds):
                    found = bed_interval(truth, bed, scored, sd, rng)
                    if found is not None:
                        held[d, e, k] = found[0] <= truth[bed].mean() <= found[1]
                        width[d, e, k] = (found[1] - found[0]) / 2
        for d, name in enumerate(designs):
            for e, sd in enumerate(model_sds):
                known = np.isfinite(held[d, e])
                yield BedCoverage(
                    int(bed.sum()),
                    name,
                    length,
                    sd,
                    float(held[d, e, known].mean()),
                    float(np.median(width[d, e, known])),
                    int((~known).sum()),
                    fields,
                )


def ellipse(side: int) -> Mask:
    """A bed, shape (side, side)."""
    row, column = np.ogrid[:side, :side]
    middle = (side - 1) / 2
    return np.asarray(
        ((row - middle) / (0.48 * side)) ** 2 + ((column - middle) / (0.38 * side)) ** 2 <= 1
    )


def gaussian_fields(side: int, length: float, rng: np.random.Generator) -> Iterator[Floats]:
    """Fields of mean 0 and variance 1, shape (side, side), cut from a torus of twice the side."""
    lag = fft.fftfreq(2 * side) * 2 * side
    covariance = np.exp(-(lag[:, None] ** 2 + lag**2) / (2 * length**2))
    root = np.sqrt(np.maximum(fft.fft2(covariance).real, 0))
    while True:
        noise = rng.standard_normal((2 * side, 2 * side))
        yield fft.ifft2(root * fft.fft2(noise)).real[:side, :side]


def bed_interval(
    truth: Floats, bed: Mask, scored: Mask, model_sd: float, rng: np.random.Generator
) -> tuple[float, float] | None:
    """Interval of a bed's mean from scores of some of its tiles, as the summary makes it."""
    common, own = np.sqrt(SHARED) * model_sd, np.sqrt(1 - SHARED) * model_sd
    error = common * rng.standard_normal() + own * rng.standard_normal(truth.shape)
    scores = np.where(scored, truth + error, np.nan)
    sampling = sampling_error(scores, bed)
    if sampling is None:
        return None
    half = model_sd * float(ndtri((1 + INTERVAL) / 2))
    model = model_half_width(half, half**2 / int(bed.sum()), SHARED)
    errors = (sampling.half_width, model)
    return limits(float(scores[scored].mean()), errors, errors)
