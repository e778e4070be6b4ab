"""Figures of a row with their 95 % intervals, by bootstrap over patients (METHODS 6)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from cellularity_core.agreement import Resampler, Statistic
from cellularity_core.agreement.bootstrap import Estimator, bootstrapped
from cellularity_core.agreement.scales import SHARE
from cellularity_core.conventions import CHANNELS
from cellularity_core.errors import DataError
from cellularity_core.evaluation import STATISTICS, UNDEFINED, auc

Floats = npt.NDArray[np.float64]

MEAN: Final = "mean over pathologists"


@dataclass(frozen=True, slots=True)
class Scored:
    """A patch that was measured.

    Attributes
    ----------
    name, patient : str
    truths : tuple of float
        Each pathologist's score, or weak TC; empty for a field without a score.
    field : str
        ``benign`` or ``malignant`` of a whole field, else empty.
    value : float
        The score, in [0, 1].
    """

    name: str
    patient: str
    truths: tuple[float, ...]
    field: str
    value: float


def agreement(scored: Sequence[Scored], truth_word: str) -> dict[str, dict[str, Statistic]]:
    """Every statistic against each pathologist, and its mean over them.

    Parameters
    ----------
    scored : sequence of Scored
        Those with a truth count, and all of them need the same number of truths.
    truth_word : str
        What a single truth is called, e.g. "weak TC".

    Returns
    -------
    dict
        Truth to statistic; with two pathologists also their mean, `MEAN`, drawn with
        the same patients.

    Raises
    ------
    DataError
        If no patch has a truth, or some have more pathologists than others.
    """
    graded = [one for one in scored if one.truths]
    counts = {len(one.truths) for one in graded}
    if len(counts) != 1:
        raise DataError(
            "No measured patch has a truth to compare with; give scored or pointed patches."
            if not counts
            else "Some measured patches have scores of more pathologists than others; give label "
            "files in which every patch has the same number."
        )
    truths = np.array([one.truths for one in graded])
    found = np.array([one.value for one in graded])
    resampler = Resampler.over([one.patient for one in graded])
    k = truths.shape[1]
    names = [truth_word] if k == 1 else [f"pathologist {j + 1}" for j in range(k)]
    out: dict[str, dict[str, Statistic]] = {name: {} for name in names}
    if k > 1:
        out[MEAN] = {}
    for statistic, (make, scale) in STATISTICS.items():
        estimators = [make(truths[:, j], found) for j in range(k)]
        for name, estimator in zip(names, estimators, strict=True):
            out[name][statistic] = bootstrapped(estimator, resampler, UNDEFINED, scale)
        if k > 1:
            out[MEAN][statistic] = bootstrapped(_mean_of(estimators), resampler, UNDEFINED, scale)
    return out


def headline(found: Mapping[str, Mapping[str, Statistic]]) -> Mapping[str, Statistic]:
    """The statistics a table prints first: the mean over pathologists, or the one truth's."""
    return found[MEAN] if MEAN in found else next(iter(found.values()))


def fields(scored: Sequence[Scored]) -> dict[str, float | int | None]:
    """Mean score of benign and malignant fields, and how well it tells them apart."""
    values = {
        label: np.array([one.value for one in scored if one.field == label])
        for label in ("benign", "malignant")
    }
    out: dict[str, float | int | None] = {}
    for label, found in values.items():
        out[f"{label}_n"] = len(found)
        out[f"{label}_mean"] = float(found.mean()) if len(found) else None
    area = auc(values["malignant"], values["benign"])
    out["auc"] = area if np.isfinite(area) else None
    return out


@dataclass(frozen=True, slots=True)
class Overlap:
    """How the mask of a patch overlaps its truth.

    Attributes
    ----------
    name, patient : str
    both, either : ndarray, shape (4,)
        Pixels in both masks and in any, by channel.
    """

    name: str
    patient: str
    both: Floats
    either: Floats


def jaccard(overlaps: Sequence[Overlap]) -> dict[str, Statistic]:
    """Jaccard index over all pixels, by channel (``jaccard_normal`` ...) and their mean.

    Raises
    ------
    DataError
        If there is no patch.
    """
    if not overlaps:
        raise DataError(
            "No measured patch has nuclei points, so there is no Jaccard index; add a data set "
            "that has, for example brca-m2c."
        )
    both = np.stack([one.both for one in overlaps])
    either = np.stack([one.either for one in overlaps])
    resampler = Resampler.over([one.patient for one in overlaps])

    def channel(k: int) -> Estimator:
        return lambda weights: (weights @ both[:, k]) / np.maximum(weights @ either[:, k], 1)

    estimators = {f"jaccard_{name}": channel(k) for k, name in enumerate(CHANNELS)}
    estimators["jaccard"] = _mean_of(list(estimators.values()))
    return {
        name: bootstrapped(estimator, resampler, UNDEFINED, SHARE)
        for name, estimator in estimators.items()
    }


def _mean_of(estimators: Sequence[Estimator]) -> Estimator:
    return lambda weights: np.mean([estimator(weights) for estimator in estimators], axis=0)
