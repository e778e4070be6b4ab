"""Agreement of any number of raters on categories or numbers, cells missing or not.

Fleiss' kappa, Gwet's AC1 and AC2 and Krippendorff's alpha. Their intervals are
about these raters and more cases.
"""

from dataclasses import replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from cellularity_core.agreement.bins import N_BINS, to_bins
from cellularity_core.agreement.bootstrap import Resampler, bootstrapped
from cellularity_core.agreement.jackknife import jackknifed
from cellularity_core.agreement.kappa import costs
from cellularity_core.agreement.scales import CORRELATION
from cellularity_core.agreement.statistic import NOTHING, Statistic, undefined

Floats = npt.NDArray[np.float64]
Chance = Literal["fleiss", "gwet"]
Metric = Literal["nominal", "interval"]

TOO_FEW: Final = "two cases or more with two scores or more are needed"
ONE_BIN: Final = "all scores are in one bin"


def bin_counts(scores: npt.ArrayLike) -> Floats:
    """How many raters put each case in each of the four bins.

    Parameters
    ----------
    scores : array_like, shape (n, k)
        Cellularity 0 to 1; NaN where missing.

    Returns
    -------
    ndarray, shape (n, 4)
    """
    table = np.asarray(scores, float)
    seen = np.isfinite(table)
    bins = to_bins(np.where(seen, table, 0))
    return np.asarray((np.eye(N_BINS)[bins] * seen[..., None]).sum(axis=1))


def fleiss_kappa(counts: npt.ArrayLike, resampler: Resampler | None = None) -> Statistic:
    """Fleiss' kappa.

    Parameters
    ----------
    counts : array_like, shape (n, q)
        Raters that put each case in each category, as many for every case.
    resampler : Resampler, optional
        Over the n cases, for an interval by bootstrap in place of the jackknife.

    Returns
    -------
    Statistic

    Raises
    ------
    ValueError
        If cases have different numbers of raters.

    References
    ----------
    Fleiss, Psychol Bull 1971, 76:378 (its own variance is of kappa 0, for a test).
    """
    table = np.asarray(counts, float)
    if len(np.unique(table.sum(axis=1))) > 1:
        raise ValueError(
            "Fleiss' kappa needs as many raters for every case; leave out cases with missing "
            "scores, or use Gwet's coefficient or Krippendorff's alpha."
        )
    return _corrected(table, "fleiss", np.eye(table.shape[1]), resampler)


def gwet_ac1(counts: npt.ArrayLike, resampler: Resampler | None = None) -> Statistic:
    """Gwet's AC1; cases may have different numbers of raters.

    Parameters
    ----------
    counts : array_like, shape (n, q)
        Raters that put each case in each category.
    resampler : Resampler, optional
        Over the n cases, for an interval by bootstrap in place of the jackknife.

    References
    ----------
    Gwet, Br J Math Stat Psychol 2008, 61:29; missing scores as in his Handbook of
    Inter-Rater Reliability, 4th ed. 2014, chapter 5.
    """
    table = np.asarray(counts, float)
    return _corrected(table, "gwet", np.eye(table.shape[1]), resampler)


def gwet_ac2(counts: npt.ArrayLike, resampler: Resampler | None = None) -> Statistic:
    """Gwet's AC2 with quadratic weights; see `gwet_ac1`."""
    table = np.asarray(counts, float)
    cost = costs(np.arange(table.shape[1]), "quadratic")
    return _corrected(table, "gwet", 1 - cost / cost.max(), resampler)


def _corrected(
    counts: Floats, chance: Chance, worth: Floats, resampler: Resampler | None
) -> Statistic:
    """(seen - chance) / (1 - chance).

    Cases without any score count for nothing; those with one, for the shares of
    the categories only.
    """
    raters = counts.sum(axis=1)
    n = int((raters > 0).sum())
    if n < 2 or (raters > 1).sum() < 2:
        return undefined(TOO_FEW, n)
    value = float(coefficient_of(counts, np.ones((1, len(counts))), chance, worth)[0])
    if not np.isfinite(value):
        return undefined(ONE_BIN, n)
    if resampler is None:
        scored = counts[raters > 0]
        return jackknifed(
            lambda weights: coefficient_of(scored, weights, chance, worth), n, ONE_BIN
        )
    return bootstrapped(
        lambda weights: coefficient_of(counts, weights, chance, worth),
        resampler,
        ONE_BIN,
        CORRELATION,
    )


def standard_error(counts: Floats, value: float, chance: Chance, worth: Floats) -> float:
    """Gwet's linearised standard error of a chance-corrected coefficient.

    Parameters
    ----------
    counts : ndarray, shape (n, q)
        Raters that put each case in each category.
    value : float
        The coefficient.
    chance : "fleiss" or "gwet"
    worth : ndarray, shape (q, q)
        Agreement weights; ones on the diagonal.

    References
    ----------
    Gwet, Handbook of Inter-Rater Reliability, 4th ed. 2014, chapter 5 (cases as a
    sample).
    """
    raters = counts.sum(axis=1)
    counts, raters = counts[raters > 0], raters[raters > 0]
    n = len(counts)
    share = counts / raters[:, None]
    pi = share.mean(axis=0)
    several = raters > 1
    agreed = np.where(several, _agreed(counts, worth), 0)
    by_chance = _by_chance(pi[None], chance, worth)[0]
    # a case's part of chance; for either kind, twice its excess is the derivative
    if chance == "fleiss":
        part = share @ (worth + worth.T) @ pi / 2
    else:
        q = len(worth)
        part = worth.sum() / (q * (q - 1)) * (share @ (1 - pi))
    seen = n / several.sum() * (agreed - by_chance * several) / (1 - by_chance)
    influence = seen - 2 * (1 - value) * (part - by_chance) / (1 - by_chance)
    return float((((influence - value) ** 2).sum() / (n * (n - 1))) ** 0.5)


def _agreed(counts: Floats, worth: Floats) -> Floats:
    """Weighted share of agreeing pairs of raters in each case."""
    raters = counts.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((counts * (counts @ worth.T - 1)).sum(axis=1) / (raters * (raters - 1)))


def _by_chance(pi: Floats, chance: Chance, worth: Floats) -> Floats:
    if chance == "fleiss":
        return np.asarray(np.einsum("bi,ij,bj->b", pi, worth, pi))
    q = len(worth)
    return np.asarray(worth.sum() / (q * (q - 1)) * (pi * (1 - pi)).sum(axis=1))


def coefficient_of(counts: Floats, weights: Floats, chance: Chance, worth: Floats) -> Floats:
    """Chance-corrected coefficient for each row of weights, shape (draws, n).

    The other parameters are those of `standard_error`.
    """
    raters = counts.sum(axis=1)
    scored, several = (raters > 0).astype(float), (raters > 1).astype(float)
    agreed = np.where(several > 0, _agreed(counts, worth), 0)
    share = counts / np.maximum(raters, 1)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        seen = weights @ agreed / (weights @ several)
        by_chance = _by_chance(weights @ share / (weights @ scored)[:, None], chance, worth)
        room = 1 - by_chance
        return np.where(room > 1e-12, (seen - by_chance) / room, np.nan)


def krippendorff_alpha(
    ratings: npt.ArrayLike, resampler: Resampler | None = None, metric: Metric = "interval"
) -> Statistic:
    """Krippendorff's alpha.

    Parameters
    ----------
    ratings : array_like, shape (n, k)
        NaN where missing; a case with one score counts for nothing.
    resampler : Resampler, optional
        Over the n cases, for an interval by bootstrap in place of the jackknife.
    metric : "nominal" or "interval"

    Returns
    -------
    Statistic
        `n` is the number of cases with two scores or more.

    References
    ----------
    Krippendorff, Content Analysis, 4th ed. 2019, chapter 12.
    """
    table = np.asarray(ratings, float)
    seen = np.isfinite(table)
    usable = seen.sum(axis=1) > 1
    n = int(usable.sum())
    if n < 2:
        return undefined(TOO_FEW, n)
    table, seen = table[usable], seen[usable]
    values = np.where(seen, table, 0.0)
    scores = seen.sum(axis=1).astype(float)
    if metric == "interval":
        level = values.sum() / scores.sum()
        categories = np.where(seen, table - level, 0.0)[..., None]
    else:
        used = np.unique(table[seen])
        categories = (table[..., None] == used).astype(float)
    sums = categories.sum(axis=1)  # (n, q)
    squares = (categories**2).sum(axis=(1, 2))
    apart = scores / (scores - 1) * (squares - (sums**2).sum(axis=1) / scores)

    def alpha(weights: Floats) -> Floats:
        total = weights @ scores
        with np.errstate(divide="ignore", invalid="ignore"):
            whole = weights @ squares - ((weights @ sums) ** 2).sum(axis=1) / total
            ratio = (total - 1) / total * (weights @ apart) / whole
            return np.where(whole > NOTHING * total, 1 - ratio, np.nan)

    constant = "the scores do not vary"
    if resampler is None:
        return jackknifed(alpha, n, constant)
    drawn = bootstrapped(
        lambda weights: alpha(weights[:, usable]), resampler, constant, CORRELATION
    )
    return replace(drawn, n=n)
