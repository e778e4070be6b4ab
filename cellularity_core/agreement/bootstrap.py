"""Bootstrap by patient.

A draw is a weight for each case: how often its patient was drawn. Estimators
take all draws at once, as sums over cases are then matrix products; weights of
one give the estimate itself, so that both come from the same lines of code.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from scipy import special

from cellularity_core.agreement.statistic import (
    TAIL,
    Statistic,
    point,
    undefined,
    with_interval,
)

Floats = npt.NDArray[np.float64]
Estimator = Callable[[Floats], Floats]
"""Weights, shape (draws, n), to values, shape (draws,); NaN where undefined."""

DRAWS: Final = 2000
SEED: Final = 20190827
"""Of every bootstrap, so that two runs give the same limits."""

MIN_PATIENTS: Final = 5
"""With fewer there are too few different resamples for limits."""

MIN_DEFINED: Final = 0.9
"""Share of draws in which a statistic must be defined to have limits."""

METHOD: Final = "bootstrap by patient"


@dataclass(frozen=True, slots=True, eq=False)
class Resampler:
    """Draws of patients with all their cases.

    Attributes
    ----------
    weights : ndarray, shape (draws, n)
        How often each case is in each draw.
    n_patients : int
    """

    weights: Floats
    n_patients: int

    @classmethod
    def over(cls, patients: Sequence[Hashable], *, draws: int = DRAWS, seed: int = SEED) -> Self:
        """Draw patients with replacement.

        Parameters
        ----------
        patients : sequence, length n
            Patient of each case.
        draws, seed : int
        """
        place: dict[Hashable, int] = {}
        row = np.array([place.setdefault(patient, len(place)) for patient in patients], int)
        if not place:
            return cls(np.zeros((draws, 0)), 0)
        rng = np.random.default_rng(seed)
        often = rng.multinomial(len(place), np.full(len(place), 1 / len(place)), size=draws)
        return cls(often[:, row].astype(np.float64), len(place))

    def limits(self, values: Floats) -> tuple[float, float] | str:
        """Limits from the values of all draws, or the reason why there are none.

        Percentiles are moved outwards for few patients, by as much as a t interval
        is wider than one that divides by n and takes the normal quantile.

        References
        ----------
        Hesterberg, Am Stat 2015, 69:371, section 4.3 (expanded percentile interval).
        """
        if self.n_patients < MIN_PATIENTS:
            return (
                f"an interval by bootstrap needs {MIN_PATIENTS} patients or more, "
                f"there are {self.n_patients}"
            )
        defined = values[np.isfinite(values)]
        if len(defined) < MIN_DEFINED * len(values):
            return "the statistic is undefined in too many resamples for an interval"
        return tuple(np.quantile(defined, expanded_tails(self.n_patients)).tolist())


def expanded_tails(n: int) -> tuple[float, float]:
    """Percentiles of Hesterberg's expanded interval for `n` independent units."""
    wide = special.stdtrit(n - 1, 1 - TAIL) * np.sqrt(n / (n - 1))
    tail = float(special.ndtr(-wide))
    return tail, 1 - tail


def estimate(estimator: Estimator, n: int) -> float:
    """The estimate itself: every one of `n` cases once."""
    return float(estimator(np.ones((1, n)))[0])


def bootstrapped(
    estimator: Estimator,
    resampler: Resampler,
    reason: str,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> Statistic:
    """A statistic with its interval by bootstrap.

    Parameters
    ----------
    estimator : callable
        See `Estimator`.
    resampler : Resampler
        Over the cases the estimator knows.
    reason : str
        What to say where the estimate itself is undefined.
    bounds : tuple of float
        Least and greatest value there can be.
    """
    n = resampler.weights.shape[1]
    value = estimate(estimator, n) if n else float("nan")
    if not np.isfinite(value):
        return undefined(reason, n)
    limits = resampler.limits(estimator(resampler.weights))
    if isinstance(limits, str):
        return point(value, limits, n)
    low, high = limits
    if low == high:
        return point(value, "every resample gives the same value", n)
    return with_interval(value, low, high, n=n, interval=METHOD, bounds=bounds)
