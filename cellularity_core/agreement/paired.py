"""Scores of two raters of the same cases: MSE, PK, concordance.

The two raters are those that are compared, not a sample of others: intervals
are about these two and more cases.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special

from cellularity_core.agreement.bootstrap import Resampler, bootstrapped
from cellularity_core.agreement.scales import CORRELATION, POSITIVE, SHARE
from cellularity_core.agreement.statistic import (
    BEYOND,
    NOTHING,
    TAIL,
    Statistic,
    point,
    undefined,
    with_interval,
)

Floats = npt.NDArray[np.float64]

NO_CASES: Final = "no case is scored by both"
NO_VARIANCE: Final = "the scores of both raters are all one and the same"
FIXED: Final = "Lin's z"

ROWS: Final = 512
"""Cases compared with all others at a time, so that memory stays small."""


def paired(a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Two equally long lists of numbers, or a ValueError."""
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(
            f"Got values of shapes {first.shape} and {second.shape}; "
            "expected two lists of one length, a case at the same place in both."
        )
    return first, second


def mse(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """Mean squared error; NaN without cases."""
    true, predicted = paired(truth, prediction)
    return float(np.mean((true - predicted) ** 2)) if len(true) else float("nan")


def mse_statistic(a: npt.ArrayLike, b: npt.ArrayLike, resampler: Resampler) -> Statistic:
    """Mean squared difference of two raters, with its interval by bootstrap."""
    first, second = paired(a, b)
    squares = (first - second) ** 2
    return bootstrapped(
        lambda weights: (weights @ squares) / weights.sum(axis=1), resampler, NO_CASES, POSITIVE
    )


def prediction_probability(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """Prediction probability PK: does a higher score mean more tumour?

    ``((P - Q) / (P + Q + T) + 1) / 2`` over pairs of cases whose truths differ:
    P concordant, Q discordant, T tied in the prediction. 0.5 is chance.

    Parameters
    ----------
    truth, prediction : array of float, shape (n,)

    Returns
    -------
    float
        In [0, 1]; NaN where no two truths differ.

    References
    ----------
    Petrick et al., J Med Imaging 2021, 8:034501 (BreastPathQ); Smith et al.,
    Anesthesiology 1996, 84:38.
    """
    true, predicted = paired(truth, prediction)
    if not (np.isfinite(true).all() and np.isfinite(predicted).all()) or not len(true):
        return float("nan")
    return float(pk_of_draws(true, predicted, np.ones((1, len(true))))[0])


def pk_statistic(a: npt.ArrayLike, b: npt.ArrayLike, resampler: Resampler) -> Statistic:
    """PK of rater `a` where `b` is the truth, with its interval by bootstrap."""
    first, second = paired(a, b)
    return bootstrapped(
        lambda weights: pk_of_draws(second, first, weights),
        resampler,
        "no two cases differ in the reference",
        SHARE,
    )


def pk_of_draws(true: Floats, predicted: Floats, weights: Floats) -> Floats:
    """PK of each draw; a case drawn twice is tied with itself and drops out.

    Parameters
    ----------
    true, predicted : ndarray, shape (n,)
    weights : ndarray, shape (draws, n)
        How often each case is in each draw.

    Returns
    -------
    ndarray, shape (draws,)
    """
    score, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    for start in range(0, len(true), ROWS):
        rows = slice(start, start + ROWS)
        order = np.sign(true[rows, None] - true[None, :])
        agree = order * np.sign(predicted[rows, None] - predicted[None, :])
        left = weights[:, rows]
        score += ((left @ agree) * weights).sum(axis=1)
        pairs += ((left @ np.abs(order)) * weights).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((np.where(pairs > 0, score / pairs, np.nan) + 1) / 2)


@dataclass(frozen=True, slots=True)
class Moments:
    """Of two raters' scores, a value a draw; variances divide by n."""

    n: Floats
    shift: Floats
    var_a: Floats
    var_b: Floats
    covariance: Floats


def moments(a: Floats, b: Floats, weights: Floats) -> Moments:
    """Moments of two raters' scores, shape (n,), under weights, shape (draws, n)."""
    level = (a.mean() + b.mean()) / 2
    a, b = a - level, b - level
    n = weights.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):  # a draw may lack every one of the cases
        mean_a, mean_b = weights @ a / n, weights @ b / n
        return Moments(
            n=n,
            shift=mean_a - mean_b,
            var_a=weights @ a**2 / n - mean_a**2,
            var_b=weights @ b**2 / n - mean_b**2,
            covariance=weights @ (a * b) / n - mean_a * mean_b,
        )


def concordance(m: Moments) -> Floats:
    """Lin's concordance coefficient."""
    return _over(2 * m.covariance, m.var_a + m.var_b + m.shift**2)


def absolute_agreement(m: Moments) -> Floats:
    """ICC(A,1) of two raters, from the same mean squares as the table's."""
    with np.errstate(divide="ignore", invalid="ignore"):
        unbiased = m.n / (m.n - 1)
        difference = unbiased * (m.var_a + m.var_b - 2 * m.covariance)
        whole = unbiased * (m.var_a + m.var_b) + m.shift**2 - difference / m.n
        part = 2 * unbiased * m.covariance
    return _over(part, whole)


def ccc(a: npt.ArrayLike, b: npt.ArrayLike, resampler: Resampler | None = None) -> Statistic:
    """Lin's concordance correlation coefficient.

    Parameters
    ----------
    a, b : array_like, shape (n,)
    resampler : Resampler, optional
        For an interval by bootstrap in place of Lin's z-transform.

    References
    ----------
    Lin, Biometrics 1989, 45:255, variances dividing by n; its equation of the
    variance as corrected in Biometrics 2000, 56:324. The quantile is that of t
    with n - 2 degrees of freedom, which covers better than the normal's.
    """
    return _concordant(a, b, resampler, concordance)


def icc_a1_pair(
    a: npt.ArrayLike, b: npt.ArrayLike, resampler: Resampler | None = None
) -> Statistic:
    """ICC(A,1) of these two raters, whoever else could have read.

    For two fixed raters ICC(A,1) and Lin's coefficient estimate the same number,
    so the interval is Lin's about the ICC. That of a sample of two from many
    raters is `icc_statistic`'s, and all but empty by nature.

    Parameters
    ----------
    a, b : array_like, shape (n,)
    resampler : Resampler, optional
        For an interval by bootstrap in place of Lin's z-transform.
    """
    return _concordant(a, b, resampler, absolute_agreement)


def _concordant(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    resampler: Resampler | None,
    coefficient: Callable[[Moments], Floats],
) -> Statistic:
    first, second = paired(a, b)
    n = len(first)
    if n < 2:
        return undefined("two cases or more scored by both are needed", n)
    if resampler is not None:
        return bootstrapped(
            lambda weights: coefficient(moments(first, second, weights)),
            resampler,
            NO_VARIANCE,
            CORRELATION,
        )
    once = moments(first, second, np.ones((1, n)))
    value = float(coefficient(once)[0])
    if not np.isfinite(value):
        return undefined(NO_VARIANCE, n)
    if n < 4:
        return point(value, "an interval needs four cases or more", n)
    if abs(value) > 1:  # ICC(A,1) of readers who contradict each other
        return point(value, BEYOND, n)
    error = _lin_error(once, n)
    if error is None or abs(value) == 1:
        return point(value, "a rater gives one score only, or both agree wholly", n)
    reach = float(special.stdtrit(n - 2, 1 - TAIL)) * error
    low, high = np.tanh(np.arctanh(value) + np.array([-reach, reach]))
    return with_interval(value, low, high, n=n, interval=FIXED, bounds=(-1, 1))


def _lin_error(m: Moments, n: int) -> float | None:
    """Standard error of atanh of the concordance coefficient."""
    var_a, var_b, cov, shift = (float(x[0]) for x in (m.var_a, m.var_b, m.covariance, m.shift))
    if min(var_a, var_b) <= NOTHING:
        return None
    both = (var_a * var_b) ** 0.5
    r = cov / both
    bias = 2 * both / (var_a + var_b + shift**2)
    rho = r * bias
    rest = 1 - rho**2
    if rest <= 1e-12:
        return None
    u2 = shift**2 / both
    variance = (
        (1 - r**2) * bias**2 / rest
        + 2 * rho**2 * bias * (1 - rho) * u2 / rest**2
        - (rho * bias * u2) ** 2 / (2 * rest**2)
    ) / (n - 2)
    return max(variance, 0.0) ** 0.5 or None


def _over(part: Floats, whole: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > NOTHING, part / whole, np.nan)
