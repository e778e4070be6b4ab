"""Cohen's kappa of two raters, with its interval."""

from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from cellularity_core.agreement.bins import N_BINS, to_bins
from cellularity_core.agreement.bootstrap import Resampler, bootstrapped
from cellularity_core.agreement.jackknife import jackknifed
from cellularity_core.agreement.paired import paired
from cellularity_core.agreement.scales import CORRELATION
from cellularity_core.agreement.statistic import (
    NO_ERROR_BELOW,
    TAIL,
    Statistic,
    point,
    undefined,
    with_interval,
)

Floats = npt.NDArray[np.float64]
Weights = Literal["linear", "quadratic"]

TOO_FEW: Final = "two cases or more scored by both are needed"
ONE_BIN: Final = "all scores of both raters are in one bin"
NO_ERROR: Final = "the closed form sees no error in these data (its standard error is 0)"


def cohen_kappa(a: npt.ArrayLike, b: npt.ArrayLike, weights: Weights | None = None) -> float:
    """Cohen's kappa of two raters on ordered or unordered categories.

    Parameters
    ----------
    a, b : array of int, shape (n,)
        Category of each case by either rater, e.g. from `to_bins`.
    weights : None, "linear" or "quadratic"
        Cost of a disagreement by the distance of the categories' numbers; None
        counts every disagreement alike.

    Returns
    -------
    float
        At most 1; NaN without cases, or where both raters use one and the same
        category throughout.

    Raises
    ------
    ValueError
        If the lengths differ, the categories are no integers or the weights unknown.

    References
    ----------
    Cohen, Educ Psychol Meas 1960, 20:37; Cohen, Psychol Bull 1968, 70:213 (weighted).
    """
    first, second = paired(a, b)
    if not (np.mod(first, 1) == 0).all() or not (np.mod(second, 1) == 0).all():
        raise ValueError("Kappa compares categories, given as integers; bin scores with to_bins.")
    if weights not in (None, "linear", "quadratic"):
        raise ValueError(f'Unknown kappa weights "{weights}"; use None, "linear" or "quadratic".')
    if not len(first):
        return float("nan")
    used, place = np.unique(np.concatenate([first, second]), return_inverse=True)
    table = np.zeros((len(used), len(used)))
    np.add.at(table, (place[: len(first)], place[len(first) :]), 1.0)
    return float(kappa_of_tables(table[None], costs(used, weights))[0])


def costs(categories: npt.ArrayLike, weights: Weights | None) -> Floats:
    """Cost of each disagreement, shape (q, q), from the categories' numbers."""
    numbers = np.asarray(categories, float)
    distance = np.abs(numbers[:, None] - numbers[None, :])
    if weights is None:
        return np.asarray(distance > 0, float)
    return np.asarray(distance if weights == "linear" else distance**2)


def kappa_of_tables(tables: Floats, cost: Floats) -> Floats:
    """Kappa of contingency tables.

    Parameters
    ----------
    tables : ndarray, shape (draws, q, q)
        Cases by the first rater's category (row) and the second's (column).
    cost : ndarray, shape (q, q)
        See `costs`.

    Returns
    -------
    ndarray, shape (draws,)
        NaN where chance alone would never disagree.
    """
    total = tables.sum(axis=(1, 2))
    seen = (tables * cost).sum(axis=(1, 2))
    chance = np.einsum("bi,bj,ij->b", tables.sum(axis=2), tables.sum(axis=1), cost)
    with np.errstate(invalid="ignore"):
        return np.asarray(1.0 - np.where(chance > 0, seen * total / chance, np.nan))


def kappa_of_table(table: npt.ArrayLike, weights: Weights | None = None) -> Statistic:
    """Kappa of one contingency table, with the interval from its asymptotic error.

    Parameters
    ----------
    table : array_like, shape (q, q)
        Cases by the first rater's category (row) and the second's (column).
    weights : None, "linear" or "quadratic"

    Returns
    -------
    Statistic

    References
    ----------
    Fleiss, Cohen & Everitt, Psychol Bull 1969, 72:323; the interval of SAS PROC FREQ.
    """
    counts = np.asarray(table, float)
    n = int(counts.sum())
    if n < 2:
        return undefined(TOO_FEW, n)
    cost = costs(np.arange(len(counts)), weights)
    value = float(kappa_of_tables(counts[None], cost)[0])
    if not np.isfinite(value):
        return undefined(ONE_BIN, n)
    p = counts / n
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    chance = rows @ cost @ columns
    # the source's formula in costs; in weights, which are 1 - cost / greatest cost, it is the same
    gap = cost - (1 - value) * ((cost @ columns)[:, None] + (rows @ cost)[None, :])
    variance = ((p * gap**2).sum() - (p * gap).sum() ** 2) / (n * chance**2)
    error = max(variance, 0.0) ** 0.5
    if error <= NO_ERROR_BELOW:
        return point(value, NO_ERROR, n)
    reach = special.ndtri(1 - TAIL) * error
    return with_interval(
        value, value - reach, value + reach, n=n, interval="asymptotic", bounds=(-1, 1)
    )


def bin_tables(a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    """Which cell of the 4 x 4 table each case is in, shape (n, 16), ones and zeros."""
    return np.asarray(np.eye(N_BINS**2)[to_bins(a) * N_BINS + to_bins(b)])


def kappa4(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    weights: Weights | None = None,
    resampler: Resampler | None = None,
) -> Statistic:
    """Kappa on the four bins of cellularity.

    Parameters
    ----------
    a, b : array_like, shape (n,)
        Cellularity 0 to 1, nothing missing.
    weights : None, "linear" or "quadratic"
    resampler : Resampler, optional
        For an interval by bootstrap in place of the jackknife; that of
        `kappa_of_table` is too narrow for few cases (docs/agreement.md).
    """
    paired(a, b)
    cells = bin_tables(a, b)
    n = len(cells)
    if n < 2:
        return undefined(TOO_FEW, n)
    cost = costs(np.arange(N_BINS), weights)

    def estimator(drawn: Floats) -> Floats:
        return kappa_of_tables((drawn @ cells).reshape(-1, N_BINS, N_BINS), cost)

    if resampler is None:
        return jackknifed(estimator, n, ONE_BIN)
    return bootstrapped(estimator, resampler, ONE_BIN, CORRELATION)
