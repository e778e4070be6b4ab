"""Bland-Altman analysis: bias and limits of agreement of two raters."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from cellularity_core.agreement.bootstrap import Resampler, bootstrapped
from cellularity_core.agreement.paired import NO_CASES, paired
from cellularity_core.agreement.statistic import (
    NOTHING,
    TAIL,
    Statistic,
    point,
    undefined,
    with_interval,
)

Floats = npt.NDArray[np.float64]

ONE_CASE: Final = "an interval needs two cases or more"


@dataclass(frozen=True, slots=True)
class BlandAltman:
    """Bias and 95 % limits of agreement of a - b, each with its interval."""

    bias: Statistic
    loa_low: Statistic
    loa_high: Statistic


def bland_altman_points(a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Floats, Floats]:
    """What a Bland-Altman plot shows: means (x) and differences a - b (y) of the cases."""
    first, second = paired(a, b)
    return (first + second) / 2, first - second


def bland_altman(
    a: npt.ArrayLike, b: npt.ArrayLike, resampler: Resampler | None = None
) -> BlandAltman:
    """Bland-Altman analysis of the differences a - b.

    Parameters
    ----------
    a, b : array_like, shape (n,)
        `b` is the reference.
    resampler : Resampler, optional
        For intervals by bootstrap in place of the exact ones.

    References
    ----------
    Bland & Altman, Lancet 1986, 1:307; exact intervals of each limit by the
    noncentral t distribution: Carkeet, Optom Vis Sci 2015, 92:e71.
    """
    first, second = paired(a, b)
    gap = first - second
    n = len(gap)
    z = float(special.ndtri(1 - TAIL))
    if resampler is not None and n >= 2:

        def limit(side: float) -> Statistic:
            return bootstrapped(
                lambda weights: _difference_limit(gap, weights, side), resampler, NO_CASES
            )

        return BlandAltman(limit(0.0), limit(-z), limit(z))
    if n == 0:
        return BlandAltman(*(undefined(NO_CASES, n) for _ in range(3)))
    bias = float(gap.mean())
    if n == 1:
        none = undefined("two cases or more scored by both are needed", n)
        return BlandAltman(point(bias, ONE_CASE, n), none, none)
    deviation = float(gap.std(ddof=1))
    if deviation**2 <= NOTHING:
        same = point(bias, "all differences are the same", n)
        return BlandAltman(same, same, same)
    reach = float(stats.t.ppf(1 - TAIL, n - 1)) * deviation / n**0.5
    near, far = (factor * deviation for factor in limit_factors(n))
    half = z * deviation
    exact = "noncentral t"
    return BlandAltman(
        with_interval(bias, bias - reach, bias + reach, n=n, interval="t"),
        with_interval(bias - half, bias - far, bias - near, n=n, interval=exact),
        with_interval(bias + half, bias + near, bias + far, n=n, interval=exact),
    )


@lru_cache(maxsize=256)
def limit_factors(n: int) -> tuple[float, float]:
    """Standard deviations between the bias and the interval's ends of a limit of agreement.

    Quantiles of the noncentral t distribution with n - 1 degrees of freedom and
    noncentrality 1.96 sqrt(n), over sqrt(n).
    """
    z = float(special.ndtri(1 - TAIL))
    near, far = stats.nct.ppf([TAIL, 1 - TAIL], n - 1, z * n**0.5) / n**0.5
    return float(near), float(far)


def _difference_limit(gap: Floats, weights: Floats, side: float) -> Floats:
    n = weights.sum(axis=1)
    level = gap.mean()
    mean = weights @ (gap - level) / n
    variance = np.maximum(weights @ (gap - level) ** 2 / n - mean**2, 0)
    # two cases or more are in every draw: every patient drawn brings one, and one alone has all
    return np.asarray(level + mean + side * np.sqrt(variance * n / (n - 1)))
