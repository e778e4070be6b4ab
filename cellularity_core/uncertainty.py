"""Intervals of scores, conformal by patient, with a width for each patch.

A score f of a patch whose truth is y misses by |y - f|. Divided by a scale s(x) that
is large where scores tend to be wrong, the misses of held-out patients give one
number q, and the interval of a new patch is f -+ q s(x), within [0, 1] (locally
weighted split conformal: Lei et al., J Am Stat Assoc 2018, 113:1094).

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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cellularity_core.conventions import INTERVAL
from cellularity_core.errors import DataError, ModelError

Floats = npt.NDArray[np.float64]

FEWEST_SHARING: Final = 20
"""Patients with several patches from which it is told what these have in common."""

_TIE: Final = 1e-12
"""Slack of a sum of weights, and of a truth on the edge of its interval."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How large a miss to expect of a patch, up to a factor.

    ``base + score * sqrt(f (1 - f)) + spread * sd``: f is the score, sd the standard
    deviation of its test-time views. Misses are small near 0 and 1, where a share
    cannot vary, and larger where mirroring the patch changes its score.

    Attributes
    ----------
    base, score, spread : float
        Not negative, `base` positive.
    """

    base: float
    score: float
    spread: float

    def __call__(self, score: npt.ArrayLike, spread: npt.ArrayLike | None) -> Floats:
        """Scale of patches, shape (n,); `spread` may be None where it does not count."""
        f = np.clip(np.asarray(score, float), 0.0, 1.0)
        out: Floats = self.base + self.score * np.sqrt(f * (1 - f))
        if self.spread:
            if spread is None:
                raise ValueError("this scale needs the spread over views")
            out = out + self.spread * np.asarray(spread, float)
        return out


SCALES: Final[Mapping[str, Scale]] = {
    "constant": Scale(1.0, 0.0, 0.0),
    "score": Scale(0.3, 1.0, 0.0),
    "spread": Scale(0.05, 0.0, 1.0),
    "score and spread": Scale(0.2, 1.0, 4.0),
}
"""Scales there are. Their numbers are round and fixed beforehand: a scale fitted on the
misses that it then divides makes these look smaller than a new patient's."""

SCALE: Final = "score"
"""Scale of intervals. Chosen on the trial set, of each method's held-out scores: at equal
coverage 1 to 11 % narrower than a constant, never wider. Mirrored views told little
more (2 % narrower for the direct networks, wider for the others), limits set apart for
either side were wider. Choosing the narrowest anew for each set lost coverage: 86 % of 90."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A fitted interval.

    Attributes
    ----------
    coverage : float
    scale : Scale
    quantile : float
        Factor of the scale; infinite where there are too few patients, and the
        interval is then all of [0, 1].
    half_width : float
        Typical half width, before it is cut at 0 and 1.
    patients, patches : int
        What it was fitted on.
    plain : Interval or None
        What holds where there is one view only, if `scale` counts the spread.
    shared : float
        Share of the variance of a miss that a patient's patches have in common, 0 to 1,
        by `shared_part`; 1 where it is not known.
    """

    coverage: float
    scale: Scale
    quantile: float
    half_width: float
    patients: int
    patches: int
    plain: "Interval | None" = None
    shared: float = 1.0

    def limits(self, score: npt.ArrayLike, spread: npt.ArrayLike | None) -> tuple[Floats, Floats]:
        """Lower and upper limits within [0, 1].

        Parameters
        ----------
        score : array_like, shape (n,) or ()
            Cellularity, 0 to 1.
        spread : array_like, shape (n,) or (), or None
            Standard deviation over test-time views; None where there is one view.
        """
        if spread is None and self.plain is not None:
            return self.plain.limits(score, None)
        f = np.clip(np.asarray(score, float), 0.0, 1.0)
        half = self.quantile * self.scale(f, spread)
        return np.maximum(0.0, f - half), np.minimum(1.0, f + half)

    def to_json(self) -> dict[str, Any]:
        """As a manifest holds it; an infinite quantile is null."""
        finite = bool(np.isfinite(self.quantile))
        out: dict[str, Any] = {
            "coverage": self.coverage,
            "scale": {
                "base": self.scale.base,
                "score": self.scale.score,
                "spread": self.scale.spread,
            },
            "quantile": self.quantile if finite else None,
            "half_width": self.half_width,
            "patients": self.patients,
            "patches": self.patches,
            "shared": self.shared,
        }
        return out | ({"plain": self.plain.to_json()} if self.plain else {})

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> "Interval":
        """What `to_json` made.

        Raises
        ------
        ModelError
            If it is something else.
        """
        try:
            scale = Scale(*(float(given["scale"][k]) for k in ("base", "score", "spread")))
            quantile = given["quantile"]
            made = cls(
                coverage=float(given["coverage"]),
                scale=scale,
                quantile=np.inf if quantile is None else float(quantile),
                half_width=float(given["half_width"]),
                patients=int(given["patients"]),
                patches=int(given["patches"]),
                plain=cls.from_json(given["plain"]) if "plain" in given else None,
                shared=float(given.get("shared", 1.0)),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(
                f"The interval {str(given)[:80]} "
                f"of a model set cannot be used ({error!r}); restore the set's folder."
            ) from None
        if not (scale.base > 0 and min(scale.score, scale.spread) >= 0 and made.quantile >= 0):
            raise ModelError(
                "The interval of a model set has a negative scale or quantile; restore the "
                "set's folder."
            )
        if not 0 <= made.shared <= 1:
            raise ModelError(
                f"The interval of a model set says that a patient's patches share {made.shared:g} "
                "of their errors, and a share is 0 to 1; restore the set's folder."
            )
        if scale.spread and (made.plain is None or made.plain.scale.spread):
            raise ModelError(
                "The interval of a model set says nothing of patches seen in one view; restore "
                "the set's folder."
            )
        return made


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
