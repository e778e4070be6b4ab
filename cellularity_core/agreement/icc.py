"""Intraclass correlations of a complete table, with their intervals.

The interval of the absolute forms by default is the generalised one (see
`generalised_intervals` and docs/agreement.md); McGraw & Wong's stays available.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from cellularity_core.agreement.bootstrap import Resampler, bootstrapped
from cellularity_core.agreement.generalised import generalised_intervals
from cellularity_core.agreement.scales import CORRELATION
from cellularity_core.agreement.statistic import (
    BEYOND,
    NOTHING,
    TAIL,
    Statistic,
    point,
    undefined,
    with_interval,
)
from cellularity_core.agreement.variance import Floats, MeanSquares, mean_squares


class Form(StrEnum):
    """Forms of the intraclass correlation, as McGraw & Wong name them."""

    ICC_1 = "icc_1"
    ICC_A1 = "icc_a1"
    ICC_C1 = "icc_c1"
    ICC_1K = "icc_1k"
    ICC_AK = "icc_ak"
    ICC_CK = "icc_ck"


ABSOLUTE: Final = (Form.ICC_A1, Form.ICC_AK)
ONE_WAY: Final = (Form.ICC_1, Form.ICC_1K)
AVERAGE: Final = {
    Form.ICC_1K: Form.ICC_1,
    Form.ICC_AK: Form.ICC_A1,
    Form.ICC_CK: Form.ICC_C1,
}
"""Forms of the mean of k scores, and the form of one score that each follows from."""

NO_CASES_DIFFER: Final = "the cases' means do not differ"
NO_FREEDOM: Final = "Satterthwaite's degrees of freedom are 0 for these data"
NO_LOWER_END: Final = (
    "the lower limit of one score is at or below -1/(k - 1), where that of the mean of k scores "
    "has no end"
)


def _one_way(m: MeanSquares) -> Floats:
    return _ratio(m.cases - m.within, m.cases + (m.k - 1) * m.within)


def _absolute(m: MeanSquares) -> Floats:
    shift = m.k * (m.raters - m.error) / m.n
    return _ratio(m.cases - m.error, m.cases + (m.k - 1) * m.error + shift)


def _consistent(m: MeanSquares) -> Floats:
    return _ratio(m.cases - m.error, m.cases + (m.k - 1) * m.error)


def _one_way_mean(m: MeanSquares) -> Floats:
    return _ratio(m.cases - m.within, m.cases)


def _absolute_mean(m: MeanSquares) -> Floats:
    return _ratio(m.cases - m.error, m.cases + (m.raters - m.error) / m.n)


def _consistent_mean(m: MeanSquares) -> Floats:
    return _ratio(m.cases - m.error, m.cases)


FORMULAS: Final[dict[Form, Callable[[MeanSquares], Floats]]] = {
    Form.ICC_1: _one_way,
    Form.ICC_A1: _absolute,
    Form.ICC_C1: _consistent,
    Form.ICC_1K: _one_way_mean,
    Form.ICC_AK: _absolute_mean,
    Form.ICC_CK: _consistent_mean,
}
"""Table 4 of McGraw & Wong, for one and for k scores a case."""


def icc(ratings: npt.ArrayLike, form: Form = Form.ICC_A1) -> float:
    """An intraclass correlation; see `icc_a1` and `icc_c1`.

    Parameters
    ----------
    ratings : array of float, shape (n, k)
        Rows are cases, columns are raters; nothing missing.
    form : Form

    Returns
    -------
    float
        At most 1; NaN for fewer than 2 cases or raters, or without variance.

    References
    ----------
    McGraw & Wong, Psychol Methods 1996, 1:30, table 4.
    """
    return float(FORMULAS[form](mean_squares(ratings))[0])


def icc_a1(ratings: npt.ArrayLike) -> float:
    """ICC(A,1): absolute agreement, two-way random, single rater. The headline.

    A rater who is always 0.1 higher lowers it; compare `icc_c1`.

    Parameters
    ----------
    ratings : array of float, shape (n, k)
        Rows are cases, columns are raters; nothing missing.

    Returns
    -------
    float
        At most 1; NaN for fewer than 2 cases or raters, or if all ratings are equal.

    References
    ----------
    Shrout & Fleiss, Psychol Bull 1979, 86:420, ICC(2,1); McGraw & Wong,
    Psychol Methods 1996, 1:30, case 2, ICC(A,1).
    """
    return icc(ratings, Form.ICC_A1)


def icc_c1(ratings: npt.ArrayLike) -> float:
    """ICC(C,1): consistency, two-way, single rater.

    A rater's constant offset does not lower it.

    Parameters
    ----------
    ratings : array of float, shape (n, k)
        Rows are cases, columns are raters; nothing missing.

    Returns
    -------
    float
        At most 1; NaN for fewer than 2 cases or raters, or if nothing but the
        raters' offsets varies.

    References
    ----------
    Shrout & Fleiss, Psychol Bull 1979, 86:420, ICC(3,1); McGraw & Wong,
    Psychol Methods 1996, 1:30, ICC(C,1).
    """
    return icc(ratings, Form.ICC_C1)


def icc_statistic(
    ratings: npt.ArrayLike, form: Form = Form.ICC_A1, *, mcgraw_wong: bool = False
) -> Statistic:
    """An intraclass correlation with its closed-form interval.

    Raters are a sample of those there could be, and cases are independent. The
    forms (1,1) and (1,k) suppose that each case has raters of its own.

    Parameters
    ----------
    ratings : array of float, shape (n, k)
        Rows are cases, columns are raters; nothing missing.
    form : Form
    mcgraw_wong : bool
        McGraw & Wong's interval of the absolute forms, in place of the generalised.

    Returns
    -------
    Statistic

    References
    ----------
    McGraw & Wong, Psychol Methods 1996, 1:30, table 7 (exact F intervals of the
    one-way and consistency forms); docs/agreement.md for the absolute forms.
    """
    squares = mean_squares(ratings)
    n, k = int(squares.n[0]), squares.k
    value = float(FORMULAS[form](squares)[0])
    if not np.isfinite(value):
        return undefined(_why_undefined(squares, form), n)
    cases, raters, error = (float(x[0]) for x in (squares.cases, squares.raters, squares.error))
    noise = float(squares.within[0]) if form in ONE_WAY else error
    if noise <= NOTHING and not (form in ABSOLUTE and raters > NOTHING and not mcgraw_wong):
        return point(value, _why_no_error(raters), n)
    if cases <= NOTHING:
        return point(value, NO_CASES_DIFFER, n)
    if form in ABSOLUTE:
        if mcgraw_wong:
            limits = mcgraw_wong_intervals(cases, raters, error, n, k)
            method = "McGraw & Wong"
        else:
            limits = generalised_intervals(cases, raters, error, n, k)
            method = "generalised"
    else:
        limits = f_limits(cases / noise, n, k, one_way=form in ONE_WAY)
        method = "F"
    return _interval(value, float(limits[0]), float(limits[1]), form, n, k, method)


def _interval(
    value: float, low: float, high: float, form: Form, n: int, k: int, method: str
) -> Statistic:
    """`value` of a form between limits of its single form."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return point(value, NO_FREEDOM, n)
    if form in AVERAGE:
        if low <= -1 / (k - 1):
            return point(value, NO_LOWER_END, n)
        low, high = spearman_brown(low, k), spearman_brown(high, k)
    if not low <= value <= high:
        return point(value, BEYOND, n)
    return with_interval(value, low, high, n=n, interval=method)


def icc_bootstrap(ratings: npt.ArrayLike, form: Form, resampler: Resampler) -> Statistic:
    """An intraclass correlation of these raters, with its interval by bootstrap.

    Limits of a mean of k scores are those of a single score, by Spearman and Brown.

    Parameters
    ----------
    ratings : array of float, shape (n, k)
    form : Form
    resampler : Resampler
        Over the n cases.
    """
    table = np.asarray(ratings, float)
    squares = mean_squares(table)
    n, k = table.shape
    value = float(FORMULAS[form](squares)[0])
    if not np.isfinite(value):
        return undefined(_why_undefined(squares, form), n)
    single = AVERAGE.get(form, form)
    drawn = bootstrapped(
        lambda weights: FORMULAS[single](mean_squares(table, weights)),
        resampler,
        _why_undefined(squares, single),
        CORRELATION,
    )
    if drawn.low is None or drawn.high is None or drawn.interval is None:
        return point(value, str(drawn.reason), n)
    return _interval(value, drawn.low, drawn.high, form, n, k, drawn.interval)


def icc_outer(ratings: npt.ArrayLike, form: Form, resampler: Resampler) -> Statistic:
    """An absolute form where patients have several cases: the outer of two intervals.

    The generalised interval knows that other readers could have read, and takes
    every case for independent; the bootstrap knows patients and only these readers.

    Parameters
    ----------
    ratings : array of float, shape (n, k)
    form : Form
    resampler : Resampler
        Over the n cases.
    """
    closed = icc_statistic(ratings, form)
    drawn = icc_bootstrap(ratings, form, resampler)
    if closed.low is None or closed.high is None or closed.value is None:
        return closed
    if drawn.low is None or drawn.high is None:
        return drawn
    return with_interval(
        closed.value,
        min(closed.low, drawn.low),
        max(closed.high, drawn.high),
        n=closed.n,
        interval="outer of generalised and bootstrap by patient",
    )


def spearman_brown(single: float, k: int) -> float:
    """Reliability of the mean of `k` scores, each of reliability `single` > -1 / (k - 1)."""
    return k * single / (1 + (k - 1) * single)


def f_limits(
    ratio: npt.ArrayLike, n: int, k: int, *, one_way: bool = False
) -> tuple[Floats, Floats]:
    """Exact 95 % limits of ICC(C,1), or of ICC(1,1).

    Parameters
    ----------
    ratio : array_like
        Mean square of cases over that of error, or of all within cases.
    n, k : int
        Cases and raters.
    one_way : bool
        ICC(1,1).
    """
    f = np.asarray(ratio, float)
    freedom = n * (k - 1) if one_way else (n - 1) * (k - 1)
    low = f / stats.f.ppf(1 - TAIL, n - 1, freedom)
    high = f * stats.f.ppf(1 - TAIL, freedom, n - 1)
    return np.asarray((low - 1) / (low + k - 1)), np.asarray((high - 1) / (high + k - 1))


def mcgraw_wong_intervals(
    cases: npt.ArrayLike, raters: npt.ArrayLike, error: npt.ArrayLike, n: int, k: int
) -> tuple[Floats, Floats]:
    """McGraw & Wong's 95 % limits of ICC(A,1), by Satterthwaite's degrees of freedom.

    Parameters
    ----------
    cases, raters, error : array_like
        Mean squares MSR, MSC and MSE of one or many tables.
    n, k : int
        Cases and raters.

    Returns
    -------
    low, high : ndarray
        NaN where the degrees of freedom are 0.
    """
    cases, raters, error = (np.asarray(x, float) for x in (cases, raters, error))
    with np.errstate(divide="ignore", invalid="ignore"):
        rho = (cases - error) / (cases + (k - 1) * error + k * (raters - error) / n)
        # times (1 - rho), which keeps rho = 1 finite
        by_raters, by_error = k * rho / n * raters, (1 - rho + k * rho * (n - 1) / n) * error
        freedom = (by_raters + by_error) ** 2 / (
            by_raters**2 / (k - 1) + by_error**2 / ((n - 1) * (k - 1))
        )
        rest = k * raters + (k * n - k - n) * error
        lower = stats.f.ppf(1 - TAIL, n - 1, freedom)
        upper = stats.f.ppf(1 - TAIL, freedom, n - 1)
        return (
            np.asarray(n * (cases - lower * error) / (lower * rest + n * cases)),
            np.asarray(n * (upper * cases - error) / (rest + n * upper * cases)),
        )


def _why_undefined(squares: MeanSquares, form: Form) -> str:
    n, k = int(squares.n[0]), squares.k
    if k < 2:
        return "two raters or more are needed"
    if n < 2:
        return "two cases or more with a score of every rater are needed"
    cases, raters, error = (float(x[0]) for x in (squares.cases, squares.raters, squares.error))
    if max(cases, raters, error) <= NOTHING:
        return "the scores do not vary"
    if form in ABSOLUTE:
        return "the raters contradict each other: the variance to divide by is not above 0"
    return NO_CASES_DIFFER


def _why_no_error(raters: float) -> str:
    how = "do not differ" if raters <= NOTHING else "differ by constant offsets only"
    return f"the raters {how}, so there is no error to judge it by"


def _ratio(part: Floats, whole: Floats) -> Floats:
    """NaN for 0 / 0, judged against rounding."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > NOTHING, part / whole, np.nan)
