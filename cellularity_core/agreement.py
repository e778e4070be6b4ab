"""Agreement between readers, methods and truth (METHODS 6).

Where a statistic is undefined (no variation, too few cases, nothing to compare)
it is NaN, never an error or a made-up 0 or 1. Missing values are the caller's
to remove: a NaN among the ratings gives NaN.
"""

from typing import Final, Literal

import numpy as np
import numpy.typing as npt

BIN_EDGES: Final = (0.25, 0.50, 0.75)
"""Upper edges, inclusive, of the bins 0-25, 26-50, 51-75 and 76-100 %."""

_EDGE_SLACK: Final = 1e-9
"""0.1 + 0.15 is 0.25 here, whatever binary fractions make of it."""

Weights = Literal["linear", "quadratic"]


def to_bins(scores: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Bin of each score: 0 for 0-25 %, 1 for 26-50 %, 2 for 51-75 %, 3 for 76-100 %.

    Parameters
    ----------
    scores : array of float
        Cellularity in [0, 1].

    Returns
    -------
    ndarray of int64, same shape
        An upper edge belongs to the bin it closes: 0.25 is in bin 0.

    Raises
    ------
    ValueError
        If a score is NaN or outside [0, 1].
    """
    values = np.asarray(scores, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("A score is missing or outside 0 to 1; give fractions, not percent.")
    return np.searchsorted(np.asarray(BIN_EDGES) + _EDGE_SLACK, values, side="left")


def mse(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """Mean squared error; NaN without cases."""
    true, predicted = _paired(truth, prediction)
    return float(np.mean((true - predicted) ** 2)) if len(true) else float("nan")


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
    n, k, between, raters, error = _mean_squares(ratings)
    if n < 2:
        return float("nan")
    return _ratio(between - error, between + (k - 1) * error + k * (raters - error) / n)


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
    _, k, between, _, error = _mean_squares(ratings)
    return _ratio(between - error, between + (k - 1) * error)


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
    first, second = _paired(a, b)
    if not (np.mod(first, 1) == 0).all() or not (np.mod(second, 1) == 0).all():
        raise ValueError("Kappa compares categories, given as integers; bin scores with to_bins.")
    if weights not in (None, "linear", "quadratic"):
        raise ValueError(f'Unknown kappa weights "{weights}"; use None, "linear" or "quadratic".')

    if not len(first):
        return float("nan")
    used, place = np.unique(np.concatenate([first, second]), return_inverse=True)
    table = np.zeros((len(used), len(used)))
    np.add.at(table, (place[: len(first)], place[len(first) :]), 1 / len(first))
    distance = np.abs(used[:, None] - used[None, :])
    cost = {None: distance > 0, "linear": distance, "quadratic": distance**2}[weights]
    by_chance = np.outer(table.sum(axis=1), table.sum(axis=0))
    expected = float((cost * by_chance).sum())
    return 1.0 - float((cost * table).sum()) / expected if expected > 0 else float("nan")


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
    true, predicted = _paired(truth, prediction)
    if not (np.isfinite(true).all() and np.isfinite(predicted).all()):
        return float("nan")
    score = pairs = 0
    for i in range(len(true) - 1):
        order = np.sign(true[i + 1 :] - true[i])
        score += int((order * np.sign(predicted[i + 1 :] - predicted[i])).sum())
        pairs += int(np.count_nonzero(order))
    return (score / pairs + 1) / 2 if pairs else float("nan")


def _paired(
    a: npt.ArrayLike, b: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(
            f"Got values of shapes {first.shape} and {second.shape}; "
            "expected two lists of one length, a case at the same place in both."
        )
    return first, second


def _mean_squares(ratings: npt.ArrayLike) -> tuple[int, int, float, float, float]:
    """Cases n, raters k, and mean squares between cases, of raters and of error."""
    table = np.asarray(ratings, dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(
            f"Got ratings of shape {table.shape}; expected (n, k), a row a case, a column a rater."
        )
    n, k = table.shape
    if n < 2 or k < 2:
        return n, k, float("nan"), float("nan"), float("nan")
    # about the grand mean, so that a large common level costs no digits
    table = table - table.mean()
    by_case, by_rater = table.mean(axis=1), table.mean(axis=0)
    residual = table - by_case[:, None] - by_rater[None, :]
    return (
        n,
        k,
        float(k * (by_case**2).sum() / (n - 1)),
        float(n * (by_rater**2).sum() / (k - 1)),
        float((residual**2).sum() / ((n - 1) * (k - 1))),
    )


def _ratio(part: float, whole: float) -> float:
    """NaN for 0 / 0, judged against rounding: variances of 1e-30 are none."""
    return part / whole if whole > 1e-20 else float("nan")
