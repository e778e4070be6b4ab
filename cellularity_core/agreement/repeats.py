"""How well a reader repeats what the same reader scored before."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from scipy import special, stats

from cellularity_core.agreement.bootstrap import DRAWS, SEED, Resampler, bootstrapped, estimate
from cellularity_core.agreement.ratings import Floats, RatingTable
from cellularity_core.agreement.scales import CORRELATION, POSITIVE
from cellularity_core.agreement.statistic import (
    NOTHING,
    TAIL,
    Statistic,
    point,
    undefined,
    with_interval,
)

NO_VARIANCE: Final = "the scores do not vary"
FACTOR: Final = float(special.ndtri(1 - TAIL)) * 2**0.5
"""From the within-subject standard deviation to the repeatability coefficient."""


@dataclass(frozen=True, slots=True)
class Repeatability:
    """Agreement of a rater with itself.

    Attributes
    ----------
    rater : str
    n_cases, n_reads : int
        Cases read twice or more, and reads of them.
    within_sd : Statistic
        Within-subject standard deviation, in cellularity.
    coefficient : Statistic
        Repeatability coefficient: 95 % of two reads of a case differ by less.
    icc : Statistic
        ICC(1,1) of the reads.
    shift : Statistic
        Mean of the last read minus the first.
    """

    rater: str
    n_cases: int
    n_reads: int
    within_sd: Statistic
    coefficient: Statistic
    icc: Statistic
    shift: Statistic


def repeatability(
    table: RatingTable,
    rater: str,
    *,
    by_patient: bool = False,
    draws: int = DRAWS,
    seed: int = SEED,
) -> Repeatability | None:
    """Repeatability of one rater; None without a case that was read twice.

    Parameters
    ----------
    table : RatingTable
    rater : str
    by_patient : bool
        Intervals by bootstrap over patients, in place of those that suppose independent
        cases.
    draws, seed : int
        Of the bootstrap.

    References
    ----------
    Bland & Altman, Stat Methods Med Res 1999, 8:135 (within-subject
    standard deviation by one-way analysis of variance; repeatability
    coefficient); exact chi-square interval. ICC(1,1) and its F interval:
    Shrout & Fleiss 1979; with unequal numbers of reads by the mean number that
    Searle, Casella & McCulloch (Variance Components, 1992) give,
    then approximate.
    """
    reads = {case: scores for case, scores in table.reads_of(rater).items() if len(scores) > 1}
    if not reads:
        return None
    again = _Reads.of(list(reads.values()))
    n, total = len(again.sizes), int(again.sizes.sum())
    within = estimate(again.within, n)
    owners = dict(zip(table.cases, table.patients, strict=True))
    resampler = (
        Resampler.over([owners[case] for case in reads], draws=draws, seed=seed)
        if by_patient
        else None
    )

    def deviation(factor: float) -> Statistic:
        if within <= NOTHING:
            return point(0.0, "all repeats equal their first read", n)
        if resampler is None:
            return _deviation(factor * within**0.5, total - n, n)
        return bootstrapped(
            lambda weights: factor * again.within(weights) ** 0.5, resampler, NO_VARIANCE, POSITIVE
        )

    if resampler is None:
        icc, shift = _icc(again, within), _mean(again.moves)
    else:
        icc = bootstrapped(again.icc, resampler, NO_VARIANCE, CORRELATION)
        shift = bootstrapped(again.shift, resampler, NO_VARIANCE)
    return Repeatability(rater, n, total, deviation(1.0), deviation(FACTOR), icc, shift)


@dataclass(frozen=True, slots=True, eq=False)
class _Reads:
    """Cases that one rater read twice or more, an entry a case.

    The methods take weights, shape (draws, n), and give values, shape (draws,).
    """

    sizes: Floats
    means: Floats
    squares: Floats
    """Sum of squares about the mean."""
    moves: Floats
    """Last read minus the first."""

    @classmethod
    def of(cls, reads: Sequence[Sequence[float]]) -> Self:
        return cls(
            np.array([len(scores) for scores in reads], float),
            np.array([np.mean(scores) for scores in reads]),
            np.array([((np.array(scores) - np.mean(scores)) ** 2).sum() for scores in reads]),
            np.array([scores[-1] - scores[0] for scores in reads]),
        )

    def within(self, weights: Floats) -> Floats:
        """Mean square within cases."""
        return np.asarray(weights @ self.squares / (weights @ (self.sizes - 1)))

    def between(self, weights: Floats) -> tuple[Floats, Floats]:
        """Mean square between cases, and the mean number of reads that goes with it."""
        freedom, total = weights.sum(axis=1) - 1, weights @ self.sizes
        level = self.means.mean()
        grand = weights @ (self.sizes * (self.means - level)) / total
        squares = weights @ (self.sizes * (self.means - level) ** 2) - total * grand**2
        with np.errstate(divide="ignore", invalid="ignore"):
            return (
                np.maximum(squares, 0) / freedom,
                (total - weights @ self.sizes**2 / total) / freedom,
            )

    def icc(self, weights: Floats) -> Floats:
        """ICC(1,1)."""
        within, (between, k) = self.within(weights), self.between(weights)
        whole = between + (k - 1) * within
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(whole > NOTHING, (between - within) / whole, np.nan)

    def shift(self, weights: Floats) -> Floats:
        """Mean of the last read minus the first."""
        return np.asarray(weights @ self.moves / weights.sum(axis=1))


def _deviation(value: float, freedom: int, n: int) -> Statistic:
    low, high = (
        value * (freedom / float(stats.chi2.ppf(p, freedom))) ** 0.5 for p in (1 - TAIL, TAIL)
    )
    return with_interval(value, low, high, n=n, interval="chi-square")


def _icc(again: _Reads, within: float) -> Statistic:
    n, total = len(again.sizes), again.sizes.sum()
    if n < 2:
        return undefined("two cases or more with repeats are needed", n)
    value = estimate(again.icc, n)
    if not np.isfinite(value):
        return undefined(NO_VARIANCE, n)
    if within <= NOTHING:
        return point(value, "all repeats equal their first read", n)
    between, k = (float(x[0]) for x in again.between(np.ones((1, n))))
    ratio = between / within
    low, high = (ratio / float(stats.f.ppf(p, n - 1, total - n)) for p in (1 - TAIL, TAIL))
    return with_interval(
        value, (low - 1) / (low + k - 1), (high - 1) / (high + k - 1), n=n, interval="F"
    )


def _mean(values: Floats) -> Statistic:
    n, mean = len(values), float(values.mean())
    if n < 2:
        return point(mean, "an interval needs two cases or more", n)
    deviation = float(values.std(ddof=1))
    if deviation**2 <= NOTHING:
        return point(mean, "all differences are the same", n)
    reach = float(stats.t.ppf(1 - TAIL, n - 1)) * deviation / n**0.5
    return with_interval(mean, mean - reach, mean + reach, n=n, interval="t")
