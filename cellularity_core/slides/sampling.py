"""How far the mean of a bed may be off: tiles that have no score, and the error of the models.

The bed is finite, and its own mean is what is wanted, so where every tile is scored
sampling adds nothing. Else the mean over the scored tiles minus that over all is a
contrast: the scores times weights k that sum to 0. Its variance is the sum over lags h of
(k * k)(h) C(h), the estimation variance of geostatistics (Journel, Huijbregts, Mining
Geostatistics, 1978), with the covariance C of the tiles' scores. C is constant and zero
beyond the tile itself, which for tiles drawn at random gives (1 - f) s^2 / n, unless
an exponential or Gaussian decline fits the empirical variogram clearly better (weighted
least squares: Cressie, Math Geol 1985, 17:563). Its degrees of freedom are
Satterthwaite's (Biometrics Bulletin 1946, 2:110), as few where tiles are alike for long.
Where the scored tiles are a few clumps of less than half the bed, no fit tells how clumps
differ; then the spread of their means counts, if it is wider.

A bootstrap of blocks would be the usual way and is wrong here: it tells how much
the mean of another bed of this kind would differ, is as wide where every tile is scored, and
of tiles drawn at random misses how they were drawn.

On a lattice no estimator sees what lies between its tiles, and what cannot be seen is taken
to be the worse: of `bed_coverage`, three such designs are too wide. Differences of neighbours
(Wolter, Introduction to Variance Estimation, 2007; in the plane D'Orazio, JABES 2003, 8:280)
are wider still; restricted likelihood finds the right decline more often, at a cost that grows
as the cube of the tiles.

A tile's score varies by the field and by the model's error in that tile, so of the latter
only that of the whole bed is left to be added: what all its tiles share.
How often such intervals hold the truth is simulated in `bed_coverage`.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.ndimage import distance_transform_edt, label
from scipy.special import ndtri, stdtrit

from cellularity_core.conventions import INTERVAL

Floats = npt.NDArray[np.float64]

LEVEL: Final = 0.95
"""Of the interval of a mean."""

WIDEN: Final = float(ndtri((1 + LEVEL) / 2) / ndtri((1 + INTERVAL) / 2))
"""From the half width of a tile's interval to that at `LEVEL`, as of a normal error."""

LENGTHS: Final = tuple(float(v) for v in np.geomspace(0.35, 32, 14))
"""Correlation lengths that are tried, in tiles."""

NUGGETS: Final = (0.0, 0.3, 0.6)
"""Shares of the variance that belong to the tile alone, likewise."""

CLEARLY: Final = 6.0
"""Fall of chi squared from which tiles count as correlated: three parameters, by Akaike."""

FEWEST_PAIRS: Final = 15
"""Pairs of tiles at about one distance from which their differences are believed."""

FEW_CLUMPS: Final = 5
"""Clumps of scored tiles up to which their own spread is looked at."""

SCORED_MOST: Final = 0.5
"""Share of the bed from which it need not be."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Error of a mean for the tiles that have no score.

    Attributes
    ----------
    sd : float
        Standard deviation, in cellularity.
    df : float
        Degrees of freedom of its estimate; infinite where it is known.
    """

    sd: float
    df: float = math.inf

    @property
    def half_width(self) -> float:
        """Of the interval at `LEVEL`, by Student's t."""
        if self.sd == 0:
            return 0.0
        tail = (1 + LEVEL) / 2
        return self.sd * float(ndtri(tail) if math.isinf(self.df) else stdtrit(self.df, tail))


def sampling_error(scores: npt.ArrayLike, weights: npt.ArrayLike) -> Sampling | None:
    """Error of the weighted mean over the scored tiles, taken for that over all tiles.

    Parameters
    ----------
    scores : array_like, shape (H, W)
        By place in the grid, 0 to 1; NaN where a tile has none.
    weights : array_like, shape (H, W)
        Tissue of each tile, in any unit; 0 outside the bed.

    Returns
    -------
    Sampling or None
        None where it cannot be told: no tile or one tile is scored of several, some tile
        lies farther from every scored one than any two of these lie apart, or the scored ones
        are one clump of less than half the bed.

    Examples
    --------
    >>> sampling_error([[0.2, 0.4]], [[1, 1]])
    Sampling(sd=0.0, df=inf)
    >>> sampling_error([[0.2, np.nan]], [[1, 1]]) is None
    True
    """
    values, areas = np.asarray(scores, float), np.asarray(weights, float)
    bed = areas > 0
    if not bed.any():
        return None
    box = tuple(slice(at.min(), at.max() + 1) for at in np.nonzero(bed))
    values, areas, bed = values[box], areas[box], bed[box]
    scored = bed & np.isfinite(values)
    count = int(scored.sum())
    if count == bed.sum():
        return Sampling(0.0)
    if count < 2 or _reaches_beyond(scored, bed):
        return None
    found = values[scored]
    missing = 1 - areas[scored].sum() / areas[bed].sum()
    clump, clumps = label(scored)  # by sides: tiles drawn at random would be one by corners
    sparse = missing > 1 - SCORED_MOST
    if sparse and clumps == 1:
        return None
    if np.ptp(found) == 0:
        # Rule of three: of tiles drawn at random, 3 in n at most differ, unseen, by 1 at most.
        return Sampling(float(missing * min(1.0, 3 / count) / ndtri((1 + LEVEL) / 2)))
    contrast = np.where(scored, areas, 0) / areas[scored].sum() - areas / areas.sum()
    error = _contrast_error(np.where(scored, values - found.mean(), 0.0), scored, contrast)
    if sparse and clumps <= FEW_CLUMPS:
        error = max(
            error,
            _clumps_error(found, areas[scored], clump[scored] - 1),
            key=lambda one: one.half_width,
        )
    return error


def model_half_width(mean: float, squares: float, shared: float = 1.0) -> float:
    """Half width at `LEVEL` of a bed's mean for the error of the models, on one side.

    Where all tiles err to the same side and as much, as on a slide whose stain misleads the
    models, quantiles of their errors add up, so the half widths do. What differs from tile
    to tile without a pattern cancels.

    Parameters
    ----------
    mean, squares : float
        Weighted sums, over all tiles, of w h and (w h)^2: w is a tile's share of the
        bed, h the half width of its interval at `conventions.INTERVAL`.
    shared : float
        Share of the variance of a tile's error that is common to its patient, 0 to 1.
    """
    return WIDEN * math.sqrt(shared * mean**2 + (1 - shared) * squares)


def limits(mean: float, below: Iterable[float], above: Iterable[float]) -> tuple[float, float]:
    """Limits of a mean from half widths of errors that have nothing to do with each other.

    Their squares are added on either side (Zou, Donner, Stat Med 2008, 27:1693); cut to [0, 1].
    """
    return max(0.0, mean - math.hypot(*below)), min(1.0, mean + math.hypot(*above))


def _clumps_error(scores: Floats, weights: Floats, clump: npt.NDArray[np.int64]) -> Sampling:
    """Error of the weighted mean of tiles where the clumps they lie in are drawn, not tiles."""
    share = weights / weights.sum()
    apart = np.bincount(clump, share * (scores - share @ scores))
    clumps = len(apart)
    return Sampling(math.sqrt((apart**2).sum() * clumps / (clumps - 1)), clumps - 1.0)


def _reaches_beyond(scored: npt.NDArray[np.bool_], bed: npt.NDArray[np.bool_]) -> bool:
    rows, columns = np.nonzero(scored)
    spanned = math.hypot(np.ptp(rows), np.ptp(columns))
    return bool(distance_transform_edt(~scored)[bed].max() > spanned)


def _contrast_error(centred: Floats, scored: npt.NDArray[np.bool_], contrast: Floats) -> Sampling:
    """Error of a contrast of tiles; `centred` is 0 where there is no score."""
    count = int(scored.sum())
    place, distance = _lags(centred.shape)
    shape = (2 * centred.shape[0], 2 * centred.shape[1])

    def transform(given: Floats) -> npt.NDArray[np.complex128]:
        return np.asarray(fft.rfft2(given, shape))

    def by_distance(one: npt.NDArray[Any]) -> Floats:
        return np.asarray(np.bincount(place, fft.irfft2(one, shape).ravel(), len(distance)), float)

    ones, once, twice = (transform(a) for a in (scored.astype(float), centred, centred**2))
    pairs = np.rint(by_distance(abs(ones) ** 2))  # ordered, each tile with itself too
    halved = by_distance((twice.conj() * ones).real - abs(once) ** 2)  # (a - b)^2 / 2
    weight = by_distance(abs(transform(contrast)) ** 2)

    variance = float((centred**2).sum()) / (count - 1)
    chosen, sill = np.where(distance == 0, 1.0, 0.0), variance
    bins = np.floor(distance + 0.5).astype(int)
    farthest = distance[pairs > 0].max() / 2
    bins[distance > max(farthest, 3)] = 0
    total = np.bincount(bins, pairs) / 2
    total[0] = 0
    used = total >= FEWEST_PAIRS
    if used.any():

        def binned(of_lags: Floats) -> Floats:
            return (np.bincount(bins, of_lags, len(total)) / 2)[used] / total[used]

        n, seen = total[used], binned(halved)
        tried = _correlations(centred.shape)
        rise = np.stack([binned(pairs * (1 - one)) for one in tried])
        sills = (n * seen * rise).sum(1) / (n * rise**2).sum(1)
        misfit = (n * (seen - sills[:, None] * rise) ** 2).sum(1) / variance**2
        best = int(misfit.argmin())
        alone = (n * (seen - np.average(seen, weights=n)) ** 2).sum() / variance**2
        if alone > misfit[best] + CLEARLY:
            chosen, sill = tried[best], float(sills[best])
    row = float(pairs @ chosen) / count
    df = (count - row) ** 2 / max(float(pairs @ chosen**2) - row**2, 1e-9)
    sd = math.sqrt(max(0.0, sill * float(weight @ chosen)))
    return Sampling(sd, min(max(df, 1.0), count - 1.0))


@lru_cache(maxsize=2)
def _lags(shape: tuple[int, int]) -> tuple[npt.NDArray[np.int64], Floats]:
    """Of each lag of a padded transform, the place of its distance among all; these, in tiles."""
    rows, columns = (np.abs(np.rint(fft.fftfreq(2 * n) * 2 * n)).astype(int) for n in shape)
    squares, place = np.unique(rows[:, None] ** 2 + columns[None] ** 2, return_inverse=True)
    return place.ravel(), np.sqrt(squares)


@lru_cache(maxsize=2)
def _correlations(shape: tuple[int, int]) -> Floats:
    """Correlations that are tried, by distance: shape (m, distances)."""
    _, distance = _lags(shape)
    out = []
    for length in LENGTHS:
        for decline in (np.exp(-distance / length), np.exp(-(distance**2) / (2 * length**2))):
            out += [np.where(distance == 0, 1.0, (1 - nugget) * decline) for nugget in NUGGETS]
    return np.array(out)
