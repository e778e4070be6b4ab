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

from cellularity_core.agreement.scales import AS_IS, Scale
from cellularity_core.agreement.statistic import (
    BEYOND,
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

SAME: Final = 1e-12
"""Draws that differ by less are rounding apart."""

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

    def limits(
        self, value: float, values: Floats, scale: Scale = AS_IS
    ) -> tuple[float, float] | str:
        """Limits from the values of all draws, or the reason why there are none.

        On the scale, the t interval with the draws' standard deviation for standard
        error; where a tenth of the draws lie at the scale's end, expanded percentiles.
        Simulation puts the first ahead of percentiles (docs/agreement.md).

        Parameters
        ----------
        value : float
            The estimate itself.
        values : ndarray, shape (draws,)
        scale : Scale

        References
        ----------
        Hesterberg, Am Stat 2015, 69:371 (t with bootstrap error; expanded percentiles).
        """
        if self.n_patients < MIN_PATIENTS:
            return (
                f"an interval by bootstrap needs {MIN_PATIENTS} patients or more, "
                f"there are {self.n_patients}"
            )
        enough = MIN_DEFINED * len(values)
        defined = values[np.isfinite(values)]
        if len(defined) < enough:
            return "the statistic is undefined in too many resamples for an interval"
        if np.ptp(defined) <= SAME:
            return "every resample gives the same value"
        with np.errstate(divide="ignore", invalid="ignore"):
            middle, spread = scale.out(value), scale.out(defined)
        spread = spread[np.isfinite(spread)]
        if len(spread) < enough or not np.isfinite(middle):
            low, high = np.quantile(defined, expanded_tails(self.n_patients))
        else:
            reach = _t_reach(self.n_patients) * spread.std()
            low, high = scale.back(middle - reach), scale.back(middle + reach)
        return float(low), float(high)


def _t_reach(n: int) -> float:
    """Standard errors from an estimate to its limits, for `n` independent units."""
    return float(special.stdtrit(n - 1, 1 - TAIL) * np.sqrt(n / (n - 1)))


def expanded_tails(n: int) -> tuple[float, float]:
    """Percentiles of Hesterberg's expanded interval for `n` independent units."""
    tail = float(special.ndtr(-_t_reach(n)))
    return tail, 1 - tail


def estimate(estimator: Estimator, n: int) -> float:
    """The estimate itself: every one of `n` cases once."""
    return float(estimator(np.ones((1, n)))[0])


def bootstrapped(
    estimator: Estimator, resampler: Resampler, reason: str, scale: Scale = AS_IS
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
    scale : Scale
        On which the statistic is unbounded.
    """
    n = resampler.weights.shape[1]
    value = estimate(estimator, n) if n else float("nan")
    if not np.isfinite(value):
        return undefined(reason, n)
    if not scale.low <= value <= scale.high:
        return point(value, BEYOND, n)
    limits = resampler.limits(value, estimator(resampler.weights), scale)
    if isinstance(limits, str):
        return point(value, limits, n)
    return with_interval(value, *limits, n=n, interval=METHOD, bounds=(scale.low, scale.high))
