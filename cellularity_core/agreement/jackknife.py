"""Intervals of coefficients by leaving out one case at a time: no draws, no seed.

On Fisher's z scale, the jackknife gives the standard error and the skewness of
what each case contributes; Hall's transformation takes the skewness out of the
t statistic. With 20 cases it is the skewness that makes plain intervals of
kappas miss the truth on one side (docs/agreement.md).

References
----------
Miller, Biometrika 1974, 61:1 (jackknife); Hall, J R Stat Soc B 1992, 54:221,
section 2 (the cubic transformation and its inverse).
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special

from cellularity_core.agreement.bootstrap import Estimator, estimate
from cellularity_core.agreement.statistic import (
    BEYOND,
    NO_ERROR_BELOW,
    TAIL,
    Statistic,
    point,
    undefined,
    with_interval,
)

Floats = npt.NDArray[np.float64]

METHOD: Final = "jackknife by case"
NO_ERROR: Final = "every case left out gives the same value, so there is no error to judge it by"
ONE_CASE: Final = "without one of the cases the statistic is undefined"

END: Final = 1 - 1e-12
"""A coefficient further from 0 is at the end of its scale, but for rounding."""

SYMMETRIC: Final = 1e-6
"""Skewness below this leaves the t statistic as it is."""

ROWS: Final = 512
"""Cases left out in one go, so that memory stays small."""


def jackknifed(estimator: Estimator, n: int, reason: str) -> Statistic:
    """A coefficient between -1 and 1 with its 95 % interval by the jackknife.

    Parameters
    ----------
    estimator : callable
        See `Estimator`.
    n : int
        Cases it knows; independent of each other.
    reason : str
        What to say where the coefficient itself is undefined.
    """
    value = estimate(estimator, n) if n else float("nan")
    if not np.isfinite(value):
        return undefined(reason, n)
    if n < 2:
        return point(value, ONE_CASE, n)
    without = _without_each(estimator, n)
    if not np.isfinite(without).all():
        return point(value, ONE_CASE, n)
    share = (n - 1) * (without.mean() - without)  # what each case adds to n times the value
    error = float(((share**2).sum() / (n * (n - 1))) ** 0.5)
    if error <= NO_ERROR_BELOW:
        return point(value, NO_ERROR, n)
    if abs(value) >= END:
        return point(value, BEYOND, n)
    skewness = float((share**3).mean() / (share**2).mean() ** 1.5 / n**0.5)
    reach = float(special.stdtrit(n - 1, 1 - TAIL))
    steps = np.array([unskewed(reach, skewness), unskewed(-reach, skewness)])
    low, high = np.tanh(np.arctanh(value) - steps * error / (1 - value**2))
    return with_interval(value, low, high, n=n, interval=METHOD)


def unskewed(quantile: float, skewness: float) -> float:
    """Quantile of a skewed t statistic from that of the symmetric one.

    Parameters
    ----------
    quantile : float
    skewness : float
        Of the cases' contributions, over the square root of their number.
    """
    if abs(skewness) < SYMMETRIC:
        return quantile
    return float(3 / skewness * (np.cbrt(1 + skewness * (quantile - skewness / 6)) - 1))


def _without_each(estimator: Estimator, n: int) -> Floats:
    found = []
    for start in range(0, n, ROWS):
        rows = np.arange(start, min(start + ROWS, n))
        weights = np.ones((len(rows), n))
        weights[np.arange(len(rows)), rows] = 0
        found.append(estimator(weights))
    return np.concatenate(found)
