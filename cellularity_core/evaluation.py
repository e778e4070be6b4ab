"""How well scores agree with a reference, with intervals over patients (METHODS 6)."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from cellularity_core.agreement import (
    cohen_kappa,
    icc_a1,
    mse,
    prediction_probability,
    to_bins,
)

Statistic = Callable[[npt.NDArray[np.float64], npt.NDArray[np.float64]], float]
Interval = tuple[float, float, float]
"""Value, lower and upper limit."""


def _kappa(truth: npt.NDArray[np.float64], found: npt.NDArray[np.float64]) -> float:
    return cohen_kappa(to_bins(truth), to_bins(found))


def _icc(truth: npt.NDArray[np.float64], found: npt.NDArray[np.float64]) -> float:
    return icc_a1(np.stack([truth, found], axis=1))


STATISTICS: Final[dict[str, Statistic]] = {
    "icc_a1": _icc,
    "mse": mse,
    "kappa4": _kappa,
    "pk": prediction_probability,
}


def figures(
    truth: npt.ArrayLike,
    found: npt.ArrayLike,
    patients: Sequence[str],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """ICC(A,1), MSE, kappa on 4 bins and PK with 95 % intervals.

    Parameters
    ----------
    truth, found : array_like, shape (n,)
        Cellularity, 0 to 1.
    patients : sequence of str, length n
        The bootstrap draws patients, with all their patches.
    draws : int
    seed : int

    Returns
    -------
    dict
        Statistic to (value, low, high); NaN where it is undefined.
    """
    truth, found = np.asarray(truth, float), np.asarray(found, float)
    names, patient = np.unique(np.asarray(patients), return_inverse=True)
    rows_of = [np.flatnonzero(patient == k) for k in range(len(names))]
    rng = np.random.default_rng(seed)
    samples = [
        np.concatenate([rows_of[k] for k in rng.integers(len(names), size=len(names))])
        for _ in range(draws)
    ]
    out: dict[str, Interval] = {}
    for name, statistic in STATISTICS.items():
        values = np.array([statistic(truth[rows], found[rows]) for rows in samples])
        values = values[np.isfinite(values)]
        low, high = np.quantile(values, [0.025, 0.975]) if len(values) else (np.nan, np.nan)
        out[name] = (float(statistic(truth, found)), float(low), float(high))
    return out


def auc(positive: npt.ArrayLike, negative: npt.ArrayLike) -> float:
    """Probability that a positive scores above a negative, ties counting half; NaN if empty."""
    high, low = np.asarray(positive, float), np.asarray(negative, float)
    if not len(high) or not len(low):
        return float("nan")
    ranks = rankdata(np.concatenate([high, low]))[: len(high)]
    return float((ranks.sum() - len(high) * (len(high) + 1) / 2) / (len(high) * len(low)))


def conformal_half_width(residuals: npt.ArrayLike, coverage: float) -> float:
    """Half-width that covers a new residual with at least this probability.

    The ``ceil((n + 1) * coverage)``-th smallest absolute residual (split-conformal;
    Lei et al., J Am Stat Assoc 2018, 113:1094); the largest where n is too small
    for that.

    Parameters
    ----------
    residuals : array_like, shape (n,)
        Truth minus score, of patients that the score was not trained on.
    coverage : float
    """
    sizes = np.sort(np.abs(np.asarray(residuals, float)))
    rank = int(np.ceil((len(sizes) + 1) * coverage))
    return float(sizes[min(rank, len(sizes)) - 1])
