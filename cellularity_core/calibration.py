"""Monotone maps from a model's scores to a reader's scale.

A map has five knots on [0, 1] and is a monotone cubic between them (PCHIP: Fritsch,
Butland, SIAM J Sci Stat Comput 1984, 5:300). Its values minimise

    sum over patients of the mean over their patches of (line(score) - reader)^2
      + TOWARDS_IDENTITY * sum of (value - knot)^2 + BENDING * sum of second differences^2

the line being straight between the knots, so that few patches change little and each more
says more. What that gains over no map on new patches of eight simulated readers:
docs/recalibrate.md. The penalties were chosen on them, beside logistic and beta calibration (Kull,
Silva Filho, Flach, AISTATS 2017) and smoothed isotonic regression, in a trial that is not
part of the software.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cellularity_core.conformal import fewest_patients, fit_interval
from cellularity_core.errors import DataError, ModelError
from cellularity_core.uncertainty import Interval, Scale

Floats = npt.NDArray[np.float64]

KNOTS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
TOWARDS_IDENTITY: Final = 0.3
BENDING: Final = 1.2
"""Penalties, in patients' squared errors; see the module's text for how they were chosen."""

MARGIN: Final = 0.05
"""How far beyond the fitted scores a map is still believed."""

LOWEST_SPREAD: Final = 0.02
"""Least standard deviation of a reader's scores from which a scale can be read."""

FOLDS: Final = 10
"""Folds by patient of the learning curve; the interval itself leaves one patient out."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A monotone map of [0, 1] into [0, 1].

    Attributes
    ----------
    x, y : tuple of float
        Knots: `x` rises from 0 to 1, `y` never falls.
    fitted : (float, float)
        Smallest and largest score that it was fitted to; all of [0, 1] where a set
        does not say.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    fitted: tuple[float, float] = (0.0, 1.0)

    def __call__(self, score: npt.ArrayLike) -> Floats:
        """Scores on the reader's scale; what leaves [0, 1] is cut first."""
        # Scoring without a calibration shall not pay for the import.
        from scipy.interpolate import PchipInterpolator

        f = np.clip(np.asarray(score, float), 0.0, 1.0)
        out: Floats = np.clip(PchipInterpolator(self.x, self.y)(f), 0.0, 1.0)
        return out

    def is_beyond(self, score: float) -> bool:
        """Whether a score lies outside those that the reader's scale was made from."""
        low, high = self.fitted
        return not low - MARGIN <= score <= high + MARGIN

    def limits(self, score: float, spread: float | None, interval: Interval) -> tuple[float, float]:
        """Limits on the reader's scale of a score before the map.

        Beyond the fitted scores nothing is known of the reader but that the scale rises:
        the interval of the nearest fitted score is opened on that side.
        """
        low, high = interval.limits(self(np.clip(score, *self.fitted)), spread)
        if not self.is_beyond(score):
            low, high = interval.limits(self(score), spread)
        elif score > self.fitted[1]:
            high = np.ones(())
        else:
            low = np.zeros(())
        return float(low), float(high)

    def to_json(self) -> dict[str, list[float]]:
        """As a manifest holds it."""
        return {"x": list(self.x), "y": list(self.y), "fitted": list(self.fitted)}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> "Calibration":
        """What `to_json` made.

        Raises
        ------
        ModelError
            If it is no monotone map.
        """
        try:
            x, y = (tuple(float(v) for v in given[k]) for k in ("x", "y"))
            least, most = (float(v) for v in given.get("fitted", (0.0, 1.0)))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(
                f"The calibration of a model set cannot be used ({error!r}); restore the set's "
                "folder."
            ) from None
        rises = len(x) > 1 and all(a < b for a, b in itertools.pairwise(x))
        sound = rises and len(x) == len(y) and (x[0], x[-1]) == (0.0, 1.0)
        if not sound or not all(0 <= a <= b <= 1 for a, b in itertools.pairwise(y)):
            raise ModelError(
                f"The calibration of a model set has the knots {x} and values {y}; knots rise "
                "from 0 to 1 and values never fall within 0 to 1, so restore the set's folder."
            )
        if not 0 <= least <= most <= 1:
            raise ModelError(
                f"The calibration of a model set was fitted to scores from {least} to {most}; "
                "scores are 0 to 1, so restore the set's folder."
            )
        return cls(x, y, (least, most))


def fit_calibration(
    score: npt.ArrayLike, reader: npt.ArrayLike, patients: npt.ArrayLike
) -> Calibration:
    """Map of a model's scores nearest to a reader's; see the module's text.

    Parameters
    ----------
    score, reader : array_like, shape (n,)
        Cellularity, 0 to 1.
    patients : array_like of str, shape (n,)
        Each patient weighs one.
    """
    from scipy.optimize import lsq_linear

    f, t = np.asarray(score, float), np.asarray(reader, float)
    _, patient, count = np.unique(np.asarray(patients), return_inverse=True, return_counts=True)
    weight = np.sqrt(1 / count[patient])
    knots = np.array(KNOTS)
    n = len(knots)
    hats = np.stack([np.interp(f, knots, row) for row in np.eye(n)], axis=1)
    # The unknowns are the first value and the steps between, none of them negative.
    values = np.tril(np.ones((n, n)))
    bends = np.diff(np.eye(n), 2, axis=0)
    matrix = np.concatenate(
        [
            weight[:, None] * (hats @ values),
            np.sqrt(TOWARDS_IDENTITY) * values,
            np.sqrt(BENDING) * (bends @ values),
        ]
    )
    wanted = np.concatenate([weight * t, np.sqrt(TOWARDS_IDENTITY) * knots, np.zeros(n - 2)])
    steps = lsq_linear(matrix, wanted, bounds=(0.0, np.inf), method="bvls").x
    found = np.clip(values @ np.maximum(steps, 0.0), 0.0, 1.0)
    fitted = (float(f.min()), float(f.max()))
    return Calibration(tuple(KNOTS), tuple(float(v) for v in found), fitted)


def empty_thirds(score: npt.ArrayLike) -> tuple[str, ...]:
    """Thirds of the scale, "low", "middle" or "high", that no score lies in."""
    third = np.minimum((np.asarray(score, float) * 3).astype(int), 2)
    return tuple(n for k, n in enumerate(("low", "middle", "high")) if not (third == k).any())


def left_out(
    score: npt.ArrayLike, reader: npt.ArrayLike, patients: npt.ArrayLike, folds: int | None = None
) -> Floats:
    """Mapped scores of each patient by the map of the others, shape (n,).

    Parameters
    ----------
    score, reader, patients
        As for `fit_calibration`.
    folds : int, optional
        Leave this share of the patients out at once; one by one by default.
    """
    f, t = np.asarray(score, float), np.asarray(reader, float)
    names, patient = np.unique(np.asarray(patients), return_inverse=True)
    part = patient % (min(folds, len(names)) if folds else len(names))
    out = np.empty(len(f))
    for k in np.unique(part):
        own = part == k
        out[own] = fit_calibration(f[~own], t[~own], patient[~own])(f[own])
    return out


def require_patients(given: int) -> None:
    """Refuse fewer patients than an interval needs.

    Raises
    ------
    DataError
    """
    needed = fewest_patients()
    if given < needed:
        raise DataError(
            f"There are usable patches of {given} patient{'s' * (given != 1)}, and {needed} are "
            f"the fewest: a 90 % interval needs a new patient to rank among at least {needed} "
            "others. Score patches of more patients, of low, middle and high cellularity."
        )


def check_readings(score: npt.ArrayLike, reader: npt.ArrayLike, patients: npt.ArrayLike) -> None:
    """Refuse readings that no scale can be read from.

    Raises
    ------
    DataError
        If there are too few patients, the reader's scores are all alike, or the
        model's do not rise with them.
    """
    from scipy.stats import kendalltau

    f, t = np.asarray(score, float), np.asarray(reader, float)
    require_patients(len(np.unique(np.asarray(patients))))
    if t.std() < LOWEST_SPREAD:
        raise DataError(
            f"The reader's scores run from {t.min():.2f} to {t.max():.2f} only, so no scale can "
            "be read from them; score patches of low, middle and high cellularity."
        )
    if f.std() == 0 or not kendalltau(f, t).statistic > 0:
        raise DataError(
            "The model's scores do not rise with the reader's, so no map can bring them "
            "together; check that each score stands beside its image."
        )


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Typical half width of the 90 % interval had from so many patients."""

    patients: int
    half_width: float


def learning_curve(
    score: npt.ArrayLike,
    reader: npt.ArrayLike,
    patients: npt.ArrayLike,
    scale: Scale,
    *,
    repeats: int = 12,
    seed: int = 0,
) -> list[CurvePoint]:
    """Half width by number of patients, from subsets of those given.

    Parameters
    ----------
    score, reader, patients
        As for `fit_calibration`.
    scale : Scale
        Of the interval.
    repeats : int
        Subsets of each size; all the patients are taken once.
    seed : int

    Returns
    -------
    list of CurvePoint
        From the fewest patients that give an interval up to all of them.
    """
    f, t = np.asarray(score, float), np.asarray(reader, float)
    names, patient = np.unique(np.asarray(patients), return_inverse=True)
    low, high = fewest_patients(), len(names)
    sizes = np.unique(np.rint(np.geomspace(low, high, 5)).astype(int)) if high > low else [high]
    rng = np.random.default_rng(seed)
    out = []
    for size in sizes:
        halves = []
        for _ in range(repeats if size < high else 1):
            rows = np.isin(patient, rng.choice(high, size, replace=False))
            mapped = left_out(f[rows], t[rows], patient[rows], FOLDS)
            fitted = fit_interval(
                t[rows], mapped, None, [str(k) for k in patient[rows]], scale=scale
            )
            halves.append(fitted.half_width)
        out.append(CurvePoint(int(size), float(np.mean(halves))))
    return out


def patients_needed(curve: Sequence[CurvePoint], wanted: float) -> int | None:
    """Patients whose scored patches give this half width, by ``floor + slope / patients``.

    The form is that of a mean square error, to which the map's own error adds as one
    over the number of patients; fitted by least squares, neither term negative.

    Returns
    -------
    int or None
        None where it is below the floor: the reader and the model differ by more
        than that however many patches are scored.
    """
    floor, slope = _line(curve)
    if wanted <= floor:
        return None
    return max(fewest_patients(), int(np.ceil(slope / (wanted - floor))))


def floor_of(curve: Sequence[CurvePoint]) -> float:
    """Half width that no number of patients goes below."""
    return _line(curve)[0]


def _line(curve: Sequence[CurvePoint]) -> tuple[float, float]:
    from scipy.optimize import nnls

    x = np.array([1 / point.patients for point in curve])
    y = np.array([point.half_width for point in curve])
    (floor, slope), _ = nnls(np.stack([np.ones(len(x)), x], axis=1), y)
    # Nothing had already is out of reach.
    return min(float(floor), float(y.min())), float(slope)


def fit_method(
    score: npt.ArrayLike, reader: npt.ArrayLike, patients: npt.ArrayLike, scale: Scale
) -> tuple[Calibration, Interval, Floats]:
    """Map of all patches, its interval, and each patch's score by the others' map."""
    check_readings(score, reader, patients)
    mapped = left_out(score, reader, patients)
    who = [str(name) for name in np.asarray(patients)]
    return (
        fit_calibration(score, reader, patients),
        fit_interval(reader, mapped, None, who, scale=scale),
        mapped,
    )
