"""How well scores agree with a reference, with intervals over patients (METHODS 6)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from cellularity_core.agreement import Resampler
from cellularity_core.agreement.bins import N_BINS
from cellularity_core.agreement.bootstrap import Estimator, bootstrapped
from cellularity_core.agreement.icc import FORMULAS, Form
from cellularity_core.agreement.kappa import bin_tables, costs, kappa_of_tables
from cellularity_core.agreement.paired import pk_of_draws
from cellularity_core.agreement.scales import CORRELATION, POSITIVE, SHARE, Scale
from cellularity_core.agreement.variance import mean_squares

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float, float]
"""Value, lower and upper limit."""

UNDEFINED: Final = "the statistic is undefined for these scores"


def _mse(truth: Floats, found: Floats) -> Estimator:
    squares = (truth - found) ** 2
    return lambda weights: (weights @ squares) / weights.sum(axis=1)


def _kappa(truth: Floats, found: Floats) -> Estimator:
    cells = bin_tables(truth, found)
    cost = costs(np.arange(N_BINS), None)
    return lambda weights: kappa_of_tables((weights @ cells).reshape(-1, N_BINS, N_BINS), cost)


def _icc(form: Form) -> Callable[[Floats, Floats], Estimator]:
    def make(truth: Floats, found: Floats) -> Estimator:
        table = np.stack([truth, found], axis=1)
        return lambda weights: FORMULAS[form](mean_squares(table, weights))

    return make


def _pk(truth: Floats, found: Floats) -> Estimator:
    return lambda weights: pk_of_draws(truth, found, weights)


STATISTICS: Final[Mapping[str, tuple[Callable[[Floats, Floats], Estimator], Scale]]] = {
    "mse": (_mse, POSITIVE),
    "kappa4": (_kappa, CORRELATION),
    "icc_a1": (_icc(Form.ICC_A1), CORRELATION),
    "icc_c1": (_icc(Form.ICC_C1), CORRELATION),
    "pk": (_pk, SHARE),
}
"""Truth and scores to an estimator, and the scale its interval is made on."""

FIGURES: Final = ("icc_a1", "mse", "kappa4", "pk")
"""Of these, those of a card."""


def figures(
    truth: npt.ArrayLike, found: npt.ArrayLike, patients: Sequence[str]
) -> dict[str, Interval]:
    """ICC(A,1), MSE, kappa on 4 bins and PK with 95 % intervals.

    Parameters
    ----------
    truth, found : array_like, shape (n,)
        Cellularity, 0 to 1.
    patients : sequence of str, length n
        The bootstrap draws patients, with all their patches.

    Returns
    -------
    dict
        Statistic to (value, low, high); NaN where it is undefined.
    """
    truth, found = np.asarray(truth, float), np.asarray(found, float)
    resampler = Resampler.over(patients)
    out: dict[str, Interval] = {}
    for name in FIGURES:
        make, scale = STATISTICS[name]
        one = bootstrapped(make(truth, found), resampler, UNDEFINED, scale)
        value, low, high = (np.nan if v is None else v for v in (one.value, one.low, one.high))
        out[name] = (value, low, high)
    return out


def auc(positive: npt.ArrayLike, negative: npt.ArrayLike) -> float:
    """Probability that a positive scores above a negative, ties counting half; NaN if empty."""
    high, low = np.asarray(positive, float), np.asarray(negative, float)
    if not len(high) or not len(low):
        return float("nan")
    ranks = rankdata(np.concatenate([high, low]))[: len(high)]
    return float((ranks.sum() - len(high) * (len(high) + 1) / 2) / (len(high) * len(low)))
