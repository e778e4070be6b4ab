"""Intervals of `uncertainty` fitted on held-out scores, conformal by patient.

Patches of a patient are not exchangeable with those of another, patients are. So q is
a quantile in which each patient weighs one, however many patches it gave, and the new
patient weighs one at infinity: the truth of a patch of a new patient would then be within
the interval with at least the stated probability (Lee, Barber, Willett, arXiv
2306.06342, "hierarchical conformal prediction"), were the misses those of the network
that scores it. They are of the networks of the folds, and the network that ships learnt
from all patients, so about that probability is what can be said. Dunn, Wasserman, Ramdas (J Am Stat
Assoc 2023, 118:2491) draw one patch a patient, over and over; this is the limit of
that without the draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cellularity_core.conventions import INTERVAL
from cellularity_core.errors import DataError
from cellularity_core.uncertainty import SCALE, SCALES, Floats, Interval, Scale

FEWEST_SHARING: Final = 20
"""Patients with several patches from which it is told what these have in common."""

_TIE: Final = 1e-12
"""Slack of a sum of weights, and of a truth on the edge of its interval."""


def patient_quantile(misses: npt.ArrayLike, patients: npt.ArrayLike, coverage: float) -> float:
    """Conformal quantile in which each patient weighs one.

    The smallest miss m such that the patients' shares of misses up to m sum to
    ``coverage * (K + 1)``, K being the number of patients: the new one counts as a
    patient whose miss is infinite.

    Parameters
    ----------
    misses : array_like, shape (n,)
    patients : array_like of str, shape (n,)
    coverage : float

    Returns
    -------
    float
        Infinite where K is below ``coverage / (1 - coverage)``: 9 for 90 %.

    Examples
    --------
    >>> patient_quantile([1, 2, 3], ["a", "b", "c"], 0.5)
    2.0
    >>> patient_quantile([1, 1, 1, 1, 3], ["a", "a", "a", "a", "b"], 0.6)
    3.0
    """
    values = np.asarray(misses, float)
    _, patient, count = np.unique(np.asarray(patients), return_inverse=True, return_counts=True)
    order = np.argsort(values, kind="stable")
    reached = np.cumsum((1 / count[patient])[order])
    place = int(np.searchsorted(reached, coverage * (len(count) + 1) - _TIE * len(values)))
    return float(values[order[place]]) if place < len(values) else float("inf")


def shared_part(misses: npt.ArrayLike, patients: npt.ArrayLike) -> float:
    """Share of the variance of misses that a patient's patches have in common, at most.

    What they share does not cancel in a mean over a slide, the rest does. The products of
    two misses of one patient estimate it, that of all patients (the bias) included; given
    is the upper 95 % limit, by Student's t over patients, relative to the mean square.

    Parameters
    ----------
    misses : array_like, shape (n,)
        Score minus truth, in units of its expected size.
    patients : array_like of str, shape (n,)

    Returns
    -------
    float
        0 to 1; 1 where fewer than `FEWEST_SHARING` patients have several patches.
    """
    # Scoring shall not pay for the import.
    from scipy.special import stdtrit

    values = np.asarray(misses, float)
    _, patient, count = np.unique(np.asarray(patients), return_inverse=True, return_counts=True)
    sums, squares = np.bincount(patient, values), np.bincount(patient, values**2)
    several = count > 1
    total, k = float((squares / count).mean()), int(several.sum())
    if k < FEWEST_SHARING or total == 0:
        return 1.0
    products = (sums**2 - squares)[several] / (count * (count - 1))[several]
    upper = products.mean() + stdtrit(k - 1, 0.95) * products.std(ddof=1) / np.sqrt(k)
    return float(np.clip(upper / total, 0.0, 1.0))


def fewest_patients(coverage: float = INTERVAL) -> int:
    """Fewest patients from which an interval of this coverage can be had."""
    return int(np.ceil(coverage / (1 - coverage) - 1e-9))


def fit_interval(
    truth: npt.ArrayLike,
    score: npt.ArrayLike,
    spread: npt.ArrayLike | None,
    patients: Sequence[str],
    *,
    coverage: float = INTERVAL,
    scale: Scale = SCALES[SCALE],
) -> Interval:
    """Interval that holds the truth of a patch of a new patient with about this probability.

    Parameters
    ----------
    truth, score : array_like, shape (n,)
        Cellularity, 0 to 1; each score by models that never saw the patient.
    spread : array_like, shape (n,), or None
        Standard deviation of each score over its test-time views; None where
        there is one view. Counts only where `scale` says so.
    patients : sequence of str, length n
    coverage : float
    scale : Scale
        Fixed before the scores were seen; one of `SCALES`, or one fitted elsewhere.

    Returns
    -------
    Interval

    Raises
    ------
    DataError
        If the arguments differ in length, hold no patch, or a value leaves [0, 1]; or
        if the scale counts the spread and there is none.
    """
    table = _Table.checked(truth, score, spread, patients)
    if not scale.spread:
        return _fit(table, scale, coverage)
    if table.spread is None:
        raise DataError(
            "The scale counts the spread over views and every patch has one view; give the "
            "spread, or a scale without it."
        )
    plain = _fit(table, replace(scale, spread=0.0), coverage)
    return replace(_fit(table, scale, coverage), plain=plain)


def coverage_report(
    truth: npt.ArrayLike,
    score: npt.ArrayLike,
    spread: npt.ArrayLike | None,
    patients: Sequence[str],
    *,
    coverage: float = INTERVAL,
    scale: Scale = SCALES[SCALE],
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """How often the interval held the truth of patients it was not fitted on.

    For each patient the interval is fitted on all the others. Parameters and errors as
    for `fit_interval`.

    Returns
    -------
    dict
        Plain JSON. "coverage": share of patches covered, with its 95 % bootstrap
        interval over patients; "mean_width" of the interval, cut at 0 and 1;
        "patches", "patients"; "scales": "coverage" and "mean_width" with each of
        `SCALES` that can be had, and "width_at_equal", the mean width where each
        covers the same share of these very patients.
    """
    table = _Table.checked(truth, score, spread, patients)
    kinds = np.unique(table.patients)
    rows_of = [np.flatnonzero(table.patients == k) for k in kinds]
    rng = np.random.default_rng(seed)
    samples = [
        np.concatenate([rows_of[k] for k in rng.integers(len(kinds), size=len(kinds))])
        for _ in range(draws)
    ]

    def measure(one: Scale) -> dict[str, Any]:
        low, high = np.empty(len(table)), np.empty(len(table))
        for rows in rows_of:
            rest, own = table.without(rows), table.take(rows)
            low[rows], high[rows] = _fit(rest, one, coverage).limits(own.score, own.spread)
        covered = (table.truth >= low - _TIE) & (table.truth <= high + _TIE)
        limits = np.quantile([covered[rows].mean() for rows in samples], [0.025, 0.975])
        return {
            "coverage": [float(covered.mean()), *map(float, limits)],
            "mean_width": float((high - low).mean()),
        }

    usable = {k: s for k, s in SCALES.items() if table.spread is not None or not s.spread}
    return measure(scale) | {
        "patches": len(table),
        "patients": len(kinds),
        "scales": {
            name: measure(one) | {"width_at_equal": _mean_width(_fit(table, one, coverage), table)}
            for name, one in usable.items()
        },
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """Held-out scores, checked."""

    truth: Floats
    score: Floats
    spread: Floats | None
    patients: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.truth)

    @classmethod
    def checked(
        cls,
        truth: npt.ArrayLike,
        score: npt.ArrayLike,
        spread: npt.ArrayLike | None,
        patients: Sequence[str] | npt.NDArray[np.str_],
    ) -> "_Table":
        y, f = np.asarray(truth, float), np.asarray(score, float)
        sd = None if spread is None else np.asarray(spread, float)
        who = np.asarray(patients, str)
        if y.ndim != 1 or not len(y) or not (y.shape == f.shape == who.shape):
            raise DataError(
                f"Got {y.size} true values, {f.size} scores and {who.size} patients; an interval "
                "needs one of each for at least one patch."
            )
        if sd is not None and sd.shape != y.shape:
            raise DataError(f"Got {sd.size} spreads over views for {y.size} scores.")
        for name, values in (("true value", y), ("score", f)):
            if not ((values >= 0) & (values <= 1)).all():
                raise DataError(
                    f"A {name} is {values[~((values >= 0) & (values <= 1))][0]:g}; "
                    "cellularity is 0 to 1."
                )
        if sd is not None and not (np.isfinite(sd) & (sd >= 0)).all():
            raise DataError("A spread over views is negative or no number.")
        return cls(y, f, sd, who)

    def take(self, rows: npt.NDArray[Any]) -> "_Table":
        spread = None if self.spread is None else self.spread[rows]
        return _Table(self.truth[rows], self.score[rows], spread, self.patients[rows])

    def without(self, rows: npt.NDArray[Any]) -> "_Table":
        return self.take(np.setdiff1d(np.arange(len(self)), rows))


def _fit(table: _Table, scale: Scale, coverage: float) -> Interval:
    sizes = scale(table.score, table.spread)
    misses = (table.score - table.truth) / sizes
    quantile = patient_quantile(np.abs(misses), table.patients, coverage)
    half = quantile * float(sizes.mean()) if np.isfinite(quantile) else 1.0
    patients = len(np.unique(table.patients))
    shared = shared_part(misses, table.patients)
    return Interval(coverage, scale, quantile, half, patients, len(table), shared=shared)


def _mean_width(interval: Interval, table: _Table) -> float:
    low, high = interval.limits(table.score, table.spread)
    return float((high - low).mean())
