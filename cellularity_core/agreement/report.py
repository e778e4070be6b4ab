"""Everything about the agreement of a table of ratings, in one report."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any, Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from cellularity_core.agreement.bins import to_bins
from cellularity_core.agreement.bootstrap import DRAWS, SEED, Resampler
from cellularity_core.agreement.differences import BlandAltman, bland_altman
from cellularity_core.agreement.group import (
    bin_counts,
    fleiss_kappa,
    gwet_ac1,
    gwet_ac2,
    krippendorff_alpha,
)
from cellularity_core.agreement.icc import (
    ABSOLUTE,
    Form,
    icc_bootstrap,
    icc_outer,
    icc_statistic,
)
from cellularity_core.agreement.kappa import kappa4
from cellularity_core.agreement.paired import (
    ccc,
    icc_a1_pair,
    mse_statistic,
    pk_statistic,
)
from cellularity_core.agreement.ratings import Counts, Kind, RatingTable
from cellularity_core.agreement.repeats import Repeatability, repeatability
from cellularity_core.agreement.spread import MARGIN, ModelAgainstReaders, model_against_readers
from cellularity_core.agreement.statistic import CONFIDENCE, Statistic, undefined

Floats = npt.NDArray[np.float64]
Intervals = Literal["auto", "closed", "bootstrap"]
T = TypeVar("T")
GROUP: Final = (
    *(form.value for form in Form),
    *(f"{form}_mcgraw_wong" for form in ABSOLUTE),
    "fleiss_kappa4",
    "krippendorff_interval",
    "krippendorff_nominal4",
    "gwet_ac1_bins4",
    "gwet_ac2_quadratic_bins4",
)
"""Statistics of all readers together."""

INTERVALS: Final[tuple[Intervals, ...]] = ("auto", "closed", "bootstrap")


@dataclass(frozen=True, slots=True)
class PairAgreement:
    """Agreement of two raters on the cases that both scored.

    Attributes
    ----------
    a, b : str
        `b` is the reference: the bias is the mean of a - b, PK takes b as truth.
        Of a model and a reader, the reader is.
    kinds : tuple of str
        Kind of `a` and of `b`.
    n : int
        Cases that both scored.
    icc_a1 : Statistic
        Of these two raters; see `icc_a1_pair`.
    icc_a1_mcgraw_wong : Statistic
        The same value, with McGraw & Wong's interval.
    """

    a: str
    b: str
    kinds: tuple[Kind, Kind]
    n: int
    kappa4: Statistic
    kappa4_linear: Statistic
    kappa4_quadratic: Statistic
    icc_a1: Statistic
    icc_a1_mcgraw_wong: Statistic
    ccc: Statistic
    pk: Statistic
    mse: Statistic
    bland_altman: BlandAltman


@dataclass(frozen=True, slots=True)
class AgreementReport:
    """Agreement of readers with each other and with models.

    The intraclass correlations and the coefficients of the group are over the
    readers' first reads. Those that need complete tables use the cases that
    every reader scored; each `Statistic` says how many cases went in.

    Attributes
    ----------
    n_cases : int
        Cases with at least one score.
    n_cases_complete : int
        Cases that every reader scored.
    n_cases_unscored : int
        Cases of the table without any score.
    n_patients : int
        Patients of the cases with at least one score.
    n_readers : int
    readers, models : tuple of str
        Raters with at least one score.
    counts : tuple of Counts
        Scores, missing and refused reads of each rater.
    intervals : str
        "closed" or "bootstrap": what the intervals are, where there is a choice.
    confidence : float
    draws, seed : int
        Of every bootstrap.
    """

    n_cases: int
    n_cases_complete: int
    n_cases_unscored: int
    n_patients: int
    n_readers: int
    readers: tuple[str, ...]
    models: tuple[str, ...]
    counts: tuple[Counts, ...]
    intervals: str
    confidence: float
    draws: int
    seed: int
    icc_1: Statistic
    icc_a1: Statistic
    icc_c1: Statistic
    icc_1k: Statistic
    icc_ak: Statistic
    icc_ck: Statistic
    icc_a1_mcgraw_wong: Statistic
    icc_ak_mcgraw_wong: Statistic
    fleiss_kappa4: Statistic
    krippendorff_interval: Statistic
    krippendorff_nominal4: Statistic
    gwet_ac1_bins4: Statistic
    gwet_ac2_quadratic_bins4: Statistic
    pairs: tuple[PairAgreement, ...]
    repeatability: tuple[Repeatability, ...]
    model_vs_readers: tuple[ModelAgainstReaders, ...]


def agreement_report(
    table: RatingTable,
    *,
    intervals: Intervals = "auto",
    draws: int = DRAWS,
    seed: int = SEED,
    margin: float = MARGIN,
    progress: Callable[[int, int], object] | None = None,
) -> AgreementReport:
    """All statistics of a table of ratings.

    Parameters
    ----------
    table : RatingTable
    intervals : "auto", "closed" or "bootstrap"
        Closed forms suppose that cases are independent. "auto" takes them where
        each patient has one case, and the bootstrap by patient otherwise. The
        jackknife counts as closed, as it draws nothing; PK, MSE and the models'
        comparison have the bootstrap only.
    draws, seed : int
        Of every bootstrap.
    margin : float
        See `Comparison.verdict`.
    progress : callable, optional
        Told before each pair and each model how many of them all are done, and how many
        there are. What it raises ends the work.

    Returns
    -------
    AgreementReport

    Raises
    ------
    ValueError
        If `intervals` is unknown.
    """
    if intervals not in INTERVALS:
        raise ValueError(f"Unknown intervals {intervals!r}; expected {', '.join(INTERVALS)}.")
    readers, models = table.readers, table.models
    raters = (*readers, *models)
    scores = table.first_reads(raters)
    scored = np.asarray(np.isfinite(scores).any(axis=1))
    patients = [patient for patient, has in zip(table.patients, scored, strict=True) if has]
    if intervals == "auto":
        repeated = any(often > 1 for often in Counter(patients).values())
        intervals = "bootstrap" if repeated else "closed"
    maker = _Maker(scores[scored], patients, intervals == "bootstrap", draws, seed)
    group = scores[scored][:, : len(readers)]
    complete = np.asarray(np.isfinite(group).all(axis=1) & (len(readers) > 0))
    split = len(readers)
    pairs = [
        *combinations(range(split), 2),
        # of a model and a reader, the reader is the reference
        *((model, reader) for model in range(split, len(raters)) for reader in range(split)),
        *combinations(range(split, len(raters)), 2),
    ]
    steps = len(pairs) + len(models)

    def told(items: Sequence[T], before: int) -> Iterator[T]:
        for place, item in enumerate(items, before):
            if progress is not None:
                progress(place, steps)
            yield item

    return AgreementReport(
        n_cases=int(scored.sum()),
        n_cases_complete=int(complete.sum()),
        n_cases_unscored=int((~scored).sum()),
        n_patients=len(set(patients)),
        n_readers=len(readers),
        readers=readers,
        models=models,
        counts=table.counts(),
        intervals=intervals,
        confidence=CONFIDENCE,
        draws=draws,
        seed=seed,
        **maker.of_group(group, complete),
        pairs=tuple(maker.of_pair(i, j, raters, table.kinds) for i, j in told(pairs, 0)),
        repeatability=tuple(
            found
            for name in raters
            if (
                found := repeatability(
                    table, name, by_patient=intervals == "bootstrap", draws=draws, seed=seed
                )
            )
            is not None
        ),
        model_vs_readers=tuple(
            model_against_readers(table, name, margin=margin, draws=draws, seed=seed)
            for name in told(models, len(pairs))
        ),
    )


def to_json(report: AgreementReport) -> dict[str, Any]:
    """A report as plain lists and dictionaries, without NaN."""
    return asdict(report)


class _Maker:
    """Statistics of subsets of one table's rows."""

    def __init__(
        self, scores: Floats, patients: list[Any], drawn: bool, draws: int, seed: int
    ) -> None:
        self._scores = scores
        self._drawn = drawn

        @lru_cache(maxsize=4)
        def resampler(rows: tuple[int, ...]) -> Resampler:
            return Resampler.over([patients[row] for row in rows], draws=draws, seed=seed)

        self._resampler = resampler

    def _over(self, kept: npt.NDArray[np.bool_]) -> Resampler:
        return self._resampler(tuple(np.flatnonzero(kept).tolist()))

    def of_group(self, group: Floats, complete: npt.NDArray[np.bool_]) -> dict[str, Statistic]:
        """Statistics of all readers."""
        if group.shape[1] < 2:
            few = undefined("two readers or more are needed", int(complete.sum()))
            return dict.fromkeys(GROUP, few)
        whole, counts = group[complete], bin_counts(group)
        over_whole = self._over(complete)
        over_all = self._over(np.ones(len(group), bool))
        option = over_all if self._drawn else None
        found = {form.value: self._icc(whole, form, over_whole) for form in Form}
        for form in ABSOLUTE:
            found[f"{form}_mcgraw_wong"] = icc_statistic(whole, form, mcgraw_wong=True)
        binned = np.where(np.isfinite(group), _bin_numbers(group), np.nan)
        return found | {
            "fleiss_kappa4": fleiss_kappa(counts[complete], over_whole if self._drawn else None),
            "krippendorff_interval": krippendorff_alpha(group, option),
            "krippendorff_nominal4": krippendorff_alpha(binned, option, "nominal"),
            "gwet_ac1_bins4": gwet_ac1(counts, option),
            "gwet_ac2_quadratic_bins4": gwet_ac2(counts, option),
        }

    def _icc(self, whole: Floats, form: Form, resampler: Resampler) -> Statistic:
        if not self._drawn:
            return icc_statistic(whole, form)
        return (icc_outer if form in ABSOLUTE else icc_bootstrap)(whole, form, resampler)

    def of_pair(
        self, i: int, j: int, raters: tuple[str, ...], kinds: dict[str, Kind]
    ) -> PairAgreement:
        """Statistics of two raters, columns `i` and `j`; `j` is the reference."""
        both = np.asarray(np.isfinite(self._scores[:, [i, j]]).all(axis=1))
        a, b = self._scores[both, i], self._scores[both, j]
        drawn = self._over(both)
        option = drawn if self._drawn else None
        return PairAgreement(
            a=raters[i],
            b=raters[j],
            kinds=(kinds[raters[i]], kinds[raters[j]]),
            n=len(a),
            kappa4=kappa4(a, b, None, option),
            kappa4_linear=kappa4(a, b, "linear", option),
            kappa4_quadratic=kappa4(a, b, "quadratic", option),
            icc_a1=icc_a1_pair(a, b, option),
            icc_a1_mcgraw_wong=icc_statistic(np.stack([a, b], axis=1), mcgraw_wong=True),
            ccc=ccc(a, b, option),
            pk=pk_statistic(a, b, drawn),
            mse=mse_statistic(a, b, drawn),
            bland_altman=bland_altman(a, b, option),
        )


def _bin_numbers(scores: Floats) -> Floats:
    return to_bins(np.nan_to_num(scores)).astype(float)
