"""How well a reader repeats what the same reader scored before."""

from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from cellularity_core.agreement.ratings import Floats, RatingTable
from cellularity_core.agreement.statistic import (
    NOTHING,
    TAIL,
    Statistic,
    point,
    undefined,
    with_interval,
)


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


def repeatability(table: RatingTable, rater: str) -> Repeatability | None:
    """Repeatability of one rater; None without a case that was read twice.

    Parameters
    ----------
    table : RatingTable
    rater : str

    References
    ----------
    Bland & Altman, Stat Methods Med Res 1999, 8:135 (within-subject
    standard deviation by one-way analysis of variance; repeatability
    coefficient); exact chi-square interval. ICC(1,1) and its F interval:
    Shrout & Fleiss 1979; with unequal numbers of reads by the mean number that
    Searle, Casella & McCulloch (Variance Components, 1992) give,
    then approximate.
    """
    reads = [scores for scores in table.reads_of(rater).values() if len(scores) > 1]
    if not reads:
        return None
    n, total = len(reads), sum(map(len, reads))
    sizes = np.array([len(scores) for scores in reads], float)
    means = np.array([np.mean(scores) for scores in reads])
    within = float(sum(((np.array(s) - np.mean(s)) ** 2).sum() for s in reads)) / (total - n)
    freedom = total - n
    shift = _mean(np.array([scores[-1] - scores[0] for scores in reads]))
    factor = float(special.ndtri(1 - TAIL)) * 2**0.5
    if within <= NOTHING:
        deviation = coefficient = point(0.0, "all repeats equal their first read", n)
    else:
        sd = within**0.5
        low, high = (
            sd * (freedom / float(stats.chi2.ppf(p, freedom))) ** 0.5 for p in (1 - TAIL, TAIL)
        )
        deviation = with_interval(sd, low, high, n=n, interval="chi-square")
        coefficient = with_interval(
            factor * sd, factor * low, factor * high, n=n, interval="chi-square"
        )
    return Repeatability(rater, n, total, deviation, coefficient, _icc(sizes, means, within), shift)


def _icc(sizes: Floats, means: Floats, within: float) -> Statistic:
    n, total = len(sizes), sizes.sum()
    if n < 2:
        return undefined("two cases or more with repeats are needed", n)
    grand = (sizes * means).sum() / total
    between = float((sizes * (means - grand) ** 2).sum() / (n - 1))
    k = float((total - (sizes**2).sum() / total) / (n - 1))
    whole = between + (k - 1) * within
    if whole <= NOTHING:
        return undefined("the scores do not vary", n)
    value = (between - within) / whole
    if within <= NOTHING:
        return point(value, "all repeats equal their first read", n)
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
