"""Intraclass correlations of a complete table, with their intervals.

The interval of the absolute forms by default is the generalised one (see
`generalised_intervals` and docs/agreement.md); McGraw & Wong's stays available.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from cellularity_core.agreement.bootstrap import Resampler, bootstrapped
from cellularity_core.agreement.generalised import generalised_intervals
from cellularity_core.agreement.scales import CORRELATION
from cellularity_core.agreement.statistic import (
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
AVERAGE: Final = (Form.ICC_1K, Form.ICC_AK, Form.ICC_CK)


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
    squares = mean_squares(ratings)
    if squares.n[0] < 2:
        return float("nan")
    return float(FORMULAS[form](squares)[0])


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
    if n < 2 or k < 2 or not np.isfinite(value):
        return undefined(_why_undefined(n, k), n)
    cases, raters, error = (float(x[0]) for x in (squares.cases, squares.raters, squares.error))
    noise = float(squares.within[0]) if form in (Form.ICC_1, Form.ICC_1K) else error
    if noise <= NOTHING and not (form in ABSOLUTE and raters > NOTHING and not mcgraw_wong):
        return point(value, "the raters do not differ, so there is no error to judge it by", n)
    if cases <= NOTHING:
        return point(value, "the cases' means do not differ", n)
    if form in ABSOLUTE:
        if mcgraw_wong:
            limits = mcgraw_wong_intervals(cases, raters, error, n, k)
            method = "McGraw & Wong"
        else:
            limits = generalised_intervals(cases, raters, error, n, k)
            method = "generalised"
        low, high = float(limits[0]), float(limits[1])
    else:
        freedom = n * (k - 1) if form in (Form.ICC_1, Form.ICC_1K) else (n - 1) * (k - 1)
        ratio = cases / noise
        low = _from_f(ratio / stats.f.ppf(1 - TAIL, n - 1, freedom), k)
        high = _from_f(ratio * stats.f.ppf(1 - TAIL, freedom, n - 1), k)
        method = "F"
    if form in AVERAGE:
        low, high = spearman_brown(low, k), spearman_brown(high, k)
    return with_interval(value, low, high, n=n, interval=method)


def icc_bootstrap(ratings: npt.ArrayLike, form: Form, resampler: Resampler) -> Statistic:
    """An intraclass correlation of these raters, with its interval by bootstrap.

    Parameters
    ----------
    ratings : array of float, shape (n, k)
    form : Form
    resampler : Resampler
        Over the n cases.
    """
    table = np.asarray(ratings, float)
    n, k = table.shape
    if n < 2 or k < 2:
        return undefined(_why_undefined(n, k), n)
    return bootstrapped(
        lambda weights: FORMULAS[form](mean_squares(table, weights)),
        resampler,
        _why_undefined(n, k),
        CORRELATION,
    )


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
    """Reliability of the mean of `k` scores, each of reliability `single`."""
    return k * single / (1 + (k - 1) * single) if single > -1 / (k - 1) else float("-inf")


def _from_f(f: Any, k: int) -> float:
    return float((f - 1) / (f + k - 1))


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
    """
    cases, raters, error = (np.asarray(x, float) for x in (cases, raters, error))
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


def _why_undefined(n: int, k: int) -> str:
    if k < 2:
        return "two raters or more are needed"
    if n < 2:
        return "two cases or more with a score of every rater are needed"
    return "the scores do not vary"


def _ratio(part: Floats, whole: Floats) -> Floats:
    """NaN for 0 / 0, judged against rounding."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > NOTHING, part / whole, np.nan)
