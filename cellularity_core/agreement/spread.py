"""Is a model inside the readers' spread?

A model's mean agreement with the readers stands beside the readers' mean
agreement with each other. Leaving out one reader at a time asks the same: how
well does the model agree with the others, compared with the one left out? The
mean of those differences is the difference of the two means.
"""

from dataclasses import dataclass
from itertools import combinations, compress
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from cellularity_core.agreement.bins import N_BINS, to_bins
from cellularity_core.agreement.bootstrap import DRAWS, SEED, Resampler, bootstrapped
from cellularity_core.agreement.kappa import bin_tables, costs, kappa_of_tables
from cellularity_core.agreement.paired import absolute_agreement, concordance, moments
from cellularity_core.agreement.ratings import RatingTable
from cellularity_core.agreement.scales import CORRELATION
from cellularity_core.agreement.statistic import Statistic, undefined

Floats = npt.NDArray[np.float64]
Measure = Literal["icc_a1", "kappa4", "kappa4_quadratic"]
Verdict = Literal["closer", "inside", "outside", "undecided"]

MARGIN: Final = 0.05
"""By how much less than readers among themselves a model may agree with them
and still be called inside their spread."""

APART: Final = "no two readers share enough cases that vary"

MIN_CASES: Final = 3
"""Cases a pair of raters must share to count in a mean."""

WORDS: Final[dict[Verdict, str]] = {
    "closer": "agrees with the readers better than they agree with each other",
    "inside": "agrees with the readers as well as they agree with each other",
    "outside": "agrees with the readers less than they agree with each other",
    "undecided": "more cases are needed to say whether it is inside the readers' spread",
}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One reader against the model, both judged by the other readers.

    Attributes
    ----------
    reader : str
    reader_agreement, model_agreement : float or None
        Mean agreement with the other readers.
    """

    reader: str
    reader_agreement: float | None
    model_agreement: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A model beside the readers, by one measure.

    Attributes
    ----------
    measure : "icc_a1" or "kappa4_quadratic"
    model : Statistic
        Mean over readers of the agreement of model and reader.
    readers : Statistic
        Mean over pairs of readers of their agreement.
    difference : Statistic
        `model` minus `readers`.
    verdict : str
        "closer" where the difference's interval lies above 0; "inside" where it
        lies above minus `margin`; "outside" where it lies below 0; "undecided"
        otherwise. The first that holds.
    words : str
        The verdict as a sentence goes on after the model's name.
    margin : float
    left_out : tuple of LeftOut
    """

    measure: Measure
    model: Statistic
    readers: Statistic
    difference: Statistic
    verdict: Verdict
    words: str
    margin: float
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, slots=True)
class ModelAgainstReaders:
    """A model beside the readers, by ICC(A,1) and by quadratic kappa on the bins."""

    model: str
    n_cases: int
    icc_a1: Comparison
    kappa4_quadratic: Comparison


def model_against_readers(
    table: RatingTable,
    model: str,
    *,
    margin: float = MARGIN,
    draws: int = DRAWS,
    seed: int = SEED,
) -> ModelAgainstReaders:
    """Compare a model's agreement with readers to theirs among themselves.

    Each pair of raters is judged on the cases that both scored, among those that
    the model scored.

    Parameters
    ----------
    table : RatingTable
    model : str
        A rater of the table.
    margin : float
        See `Comparison.verdict`.
    draws, seed : int
        Of the bootstrap by patient.
    """
    names = (model, *(name for name in table.readers if name != model))
    scores = table.first_reads(names)
    kept = np.isfinite(scores[:, 0]) & np.isfinite(scores[:, 1:]).any(axis=1)
    scores = scores[kept]
    patients = list(compress(table.patients, kept))
    resampler = Resampler.over(patients, draws=draws, seed=seed)
    return ModelAgainstReaders(
        model,
        int(kept.sum()),
        _compare(scores, names, resampler, "icc_a1", margin),
        _compare(scores, names, resampler, "kappa4_quadratic", margin),
    )


def pairwise_agreement(
    scores: Floats, pairs: list[tuple[int, int]], measure: Measure, weights: Floats
) -> Floats:
    """Agreement of each pair of columns on the rows that both have.

    Parameters
    ----------
    scores : ndarray, shape (n, k)
        NaN where missing.
    pairs : list of (int, int)
    measure : "icc_a1", "kappa4" or "kappa4_quadratic"
    weights : ndarray, shape (draws, n)

    Returns
    -------
    ndarray, shape (draws, pairs)
        NaN where a pair shares too few cases (in the table) or does not vary.
    """
    found = np.full((len(weights), len(pairs)), np.nan)
    for place, (i, j) in enumerate(pairs):
        both = np.isfinite(scores[:, i]) & np.isfinite(scores[:, j])
        if both.sum() < MIN_CASES:
            continue
        a, b, drawn = scores[both, i], scores[both, j], weights[:, both]
        if measure == "icc_a1":
            found[:, place] = absolute_agreement(moments(a, b, drawn))
        elif measure == "kappa4":
            cells = (drawn @ bin_tables(a, b)).reshape(-1, N_BINS, N_BINS)
            found[:, place] = kappa_of_tables(cells, costs(np.arange(N_BINS), None))
        else:
            # quadratic kappa is the concordance of the categories' numbers
            bins = to_bins(a).astype(float), to_bins(b).astype(float)
            found[:, place] = concordance(moments(*bins, drawn))
    return found


def readers_mean(
    table: RatingTable, measure: Measure, *, draws: int = DRAWS, seed: int = SEED
) -> Statistic:
    """Mean agreement of the pairs of readers, with its interval by bootstrap over patients.

    Parameters
    ----------
    table : RatingTable
    measure : "icc_a1", "kappa4" or "kappa4_quadratic"
    draws, seed : int
        Of the bootstrap.
    """
    scores = table.first_reads(table.readers)
    kept = np.asarray(np.isfinite(scores).any(axis=1))
    patients = list(compress(table.patients, kept))
    resampler = Resampler.over(patients, draws=draws, seed=seed)
    return _mean_of_pairs(scores[kept], range(scores.shape[1]), measure, resampler)


def _mean_of_pairs(
    scores: Floats, readers: range, measure: Measure, resampler: Resampler
) -> Statistic:
    """Mean over the pairs of these columns."""
    pairs = list(combinations(readers, 2))
    if not pairs:
        return undefined("readers cannot be compared with fewer than two", len(scores))
    return bootstrapped(
        lambda weights: mean_over(pairwise_agreement(scores, pairs, measure, weights)),
        resampler,
        APART,
        CORRELATION,
    )


def mean_over(values: Floats) -> Floats:
    """Mean of each row over what is defined; NaN for nothing."""
    seen = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(seen, values, 0).sum(axis=1) / seen.sum(axis=1))


def _compare(
    scores: Floats,
    names: tuple[str, ...],
    resampler: Resampler,
    measure: Measure,
    margin: float,
) -> Comparison:
    others = range(1, len(names))
    with_model = [(0, j) for j in others]
    among = list(combinations(others, 2))

    def of_model(weights: Floats) -> Floats:
        return mean_over(pairwise_agreement(scores, with_model, measure, weights))

    def of_readers(weights: Floats) -> Floats:
        return mean_over(pairwise_agreement(scores, among, measure, weights))

    n = len(scores)
    few = "no reader shares enough cases that vary with the model"
    model = (
        bootstrapped(of_model, resampler, few, CORRELATION)
        if with_model
        else undefined("no reader", n)
    )
    readers = difference = _mean_of_pairs(scores, others, measure, resampler)
    if among:
        difference = bootstrapped(
            lambda weights: of_model(weights) - of_readers(weights), resampler, f"{few}, or {APART}"
        )
    verdict = _verdict(difference, margin)
    return Comparison(
        measure,
        model,
        readers,
        difference,
        verdict,
        WORDS[verdict],
        margin,
        _left_out(scores, names, measure) if among else (),
    )


def _verdict(difference: Statistic, margin: float) -> Verdict:
    if difference.low is None or difference.high is None:
        return "undecided"
    if difference.low > 0:
        return "closer"
    if difference.low > -margin:
        return "inside"
    return "outside" if difference.high < 0 else "undecided"


def _left_out(scores: Floats, names: tuple[str, ...], measure: Measure) -> tuple[LeftOut, ...]:
    once = np.ones((1, len(scores)))

    def mean(rater: int, others: list[int]) -> float | None:
        pairs = [(rater, other) for other in others]
        value = float(mean_over(pairwise_agreement(scores, pairs, measure, once))[0])
        return value if np.isfinite(value) else None

    found = []
    for place in range(1, len(names)):
        others = [j for j in range(1, len(names)) if j != place]
        found.append(LeftOut(names[place], mean(place, others), mean(0, others)))
    return tuple(found)
