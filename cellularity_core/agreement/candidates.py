"""Intervals that were considered and are not shown; the simulation has them beside the others."""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special, stats
from scipy.optimize.elementwise import find_root

from cellularity_core.agreement.group import Chance, coefficient_of, standard_error
from cellularity_core.agreement.statistic import (
    BEYOND,
    NO_ERROR_BELOW,
    TAIL,
    Statistic,
    point,
    with_interval,
)

Floats = npt.NDArray[np.float64]


def linearised(counts: Floats, chance: Chance, worth: Floats) -> Statistic:
    """Fleiss' kappa or Gwet's coefficient with Gwet's linearised error on Fisher's z scale.

    Parameters
    ----------
    counts : ndarray, shape (n, q)
        Raters that put each case in each category.
    chance : "fleiss" or "gwet"
    worth : ndarray, shape (q, q)
        Agreement weights; ones on the diagonal.
    """
    n = len(counts)
    value = float(coefficient_of(counts, np.ones((1, n)), chance, worth)[0])
    error = standard_error(counts, value, chance, worth)
    if not error > NO_ERROR_BELOW or abs(value) >= 1:
        return point(value, BEYOND, n)
    reach = float(special.stdtrit(n - 1, 1 - TAIL)) * error / (1 - value**2)
    low, high = np.tanh(np.arctanh(value) + np.array([-reach, reach]))
    return with_interval(value, low, high, n=n, interval="Gwet's error, Fisher's z")


def mls_intervals(
    cases: npt.ArrayLike, raters: npt.ArrayLike, error: npt.ArrayLike, n: int, k: int
) -> tuple[Floats, Floats]:
    """Modified large-sample 95 % limits of ICC(A,1).

    ICC(A,1) is rho where (1 - rho) MSR - (1 + (k - 1) rho - k rho / n) MSE
    - (k rho / n) MSC is expected to be 0; the limits are those rho at which an
    MLS limit of that sum is 0.

    Parameters
    ----------
    cases, raters, error : array_like
        Mean squares MSR, MSC and MSE.
    n, k : int
        Cases and raters.

    References
    ----------
    Ting, Burdick, Graybill, Jeyaratnam & Lu, J Stat Comput Simul 1990, 35:135;
    Cappelleri & Ting, Stat Med 2003, 22:1861 (for this correlation).
    """
    msr, msc, mse = np.broadcast_arrays(
        np.asarray(cases, float), np.asarray(raters, float), np.asarray(error, float)
    )
    freedoms = (n - 1, k - 1, (n - 1) * (k - 1))

    def limit(rho: Any, a: Any, b: Any, c: Any, side: Any) -> Floats:
        x = (1 - rho) * a, k * rho / n * b, (1 + (k - 1) * rho - k * rho / n) * c
        middle = x[0] - x[1] - x[2]
        lower, upper = _spread(x, freedoms)
        lower, upper = np.maximum(lower, 0) ** 0.5, np.maximum(upper, 0) ** 0.5
        return np.asarray(middle + np.where(side < 0, -lower, upper))

    found = []
    for side in (-1.0, 1.0):
        least, most = np.full(msr.shape, 0.0), np.full(msr.shape, 1 - 1e-9)
        sides = np.full(msr.shape, side)
        root = find_root(limit, (least, most), args=(msr, msc, mse, sides))
        # no root: the limit lies beyond the range that rho has as a share of variance
        beyond = np.where(limit(least, msr, msc, mse, sides) < 0, 0.0, 1.0)
        found.append(np.where(root.success, root.x, beyond))
    return found[0], found[1]


def _spread(
    x: tuple[Floats, Floats, Floats], freedoms: tuple[int, int, int]
) -> tuple[Floats, Floats]:
    """Squared distances of the limits from x0 - x1 - x2."""
    g, h = zip(*(_single(freedom) for freedom in freedoms), strict=True)
    lower = (g[0] * x[0]) ** 2 + (h[1] * x[1]) ** 2 + (h[2] * x[2]) ** 2
    upper = (h[0] * x[0]) ** 2 + (g[1] * x[1]) ** 2 + (g[2] * x[2]) ** 2
    for other in (1, 2):
        for_lower, for_upper = _cross(freedoms[0], freedoms[other])
        lower = lower + for_lower * x[0] * x[other]
        upper = upper + for_upper * x[0] * x[other]
    return lower, upper


@lru_cache
def _single(freedom: int) -> tuple[float, float]:
    low, high = stats.chi2.ppf([TAIL, 1 - TAIL], freedom) / freedom
    return float(1 - 1 / high), float(1 / low - 1)


@lru_cache
def _cross(first: int, second: int) -> tuple[float, float]:
    (g1, h1), (g2, h2) = _single(first), _single(second)
    high = float(stats.f.ppf(1 - TAIL, first, second))
    low = float(stats.f.ppf(TAIL, first, second))
    return (
        ((high - 1) ** 2 - (g1 * high) ** 2 - h2**2) / high,
        ((1 - low) ** 2 - (h1 * low) ** 2 - g2**2) / low,
    )
