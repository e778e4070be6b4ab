"""Training of the classical peer on patches, with every choice made out of fold.

What a patch is scored with is chosen on patients that its machines have not
seen: an inner split by patient gives every training nucleus a score by machines
of other patients. On these scores the settings of the machines, the threshold of
malignancy, the width of a cell and the line from area to cellularity are chosen;
then the machines are fitted once more, on all.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from cellularity_core.classical.cells import CELL_RADII_UM, Calibration, calibrate
from cellularity_core.classical.classes import (
    OTHER,
    Classifier,
    Labels,
    decide,
    fit_classifier,
    steps_of,
)
from cellularity_core.classical.features import Measured, measure
from cellularity_core.classical.peer import ClassicalPeer, covered_share
from cellularity_core.classical.segmentation import WORK_MPP, Outlining
from cellularity_core.classical.svm import Sigmoid, fit_sigmoid
from cellularity_core.conventions import CLASSES, MALIGNANT, NORMAL, WEAK_SCALE
from cellularity_core.datasets import Sample, patient_folds
from cellularity_core.errors import DataError
from cellularity_core.masks import weak_cellularity

if TYPE_CHECKING:
    from cellularity_core.training.images import Loaded

Floats = npt.NDArray[np.float64]
Settings = tuple[float, float]

MATCH_UM: Final = 3.0
"""An outlined nucleus has the class of the nearest annotated point nearer than this, um."""

INNER_FOLDS: Final = 3

MACHINE_SETTINGS: Final = ((1.0, 0.1), (1.0, 0.3))
"""Cost of an error, and gamma times the number of features, to choose from."""

MALIGNANT_ABOVE: Final = (-0.6, -0.4, -0.2, 0.0)
"""Thresholds of malignancy to choose from."""

OWN_WORD: Final = 0.5
"""Weight of a nucleus of a malignant field, whose class nobody gave."""


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """One training patch, measured, with what is known of it.

    Attributes
    ----------
    sample : Sample
    found : Measured
    label : ndarray of int8, shape (n,), or None
        Of each outlined nucleus; None where the patch has no points.
    target : float
        Cellularity to calibrate on; NaN where there is none.
    """

    sample: Sample
    found: Measured
    label: Labels | None
    target: float


def train(
    items: Sequence["Loaded"], *, seed: int, out: Path, outlining: Outlining | None = None
) -> ClassicalPeer:
    """Train the classical peer and leave it in `out`.

    Patches with points teach the classes; an outlined thing that no point is near
    is left out of the classes, counted, and teaches only what is no nucleus. Fields
    labelled as a whole then join: the machines name their nuclei, and in a benign
    field what they call malignant is Normal (METHODS 1). Pathologists' scores,
    where there are any, else weak TC, and 0 in benign fields, calibrate.

    Parameters
    ----------
    items : sequence of Loaded
        Of training patients only.
    seed : int
        Of the inner split, and of the choice among very many nuclei.
    out : Path
        Folder that `load` reads.
    outlining : Outlining, optional
        How nuclei are cut out.

    Returns
    -------
    ClassicalPeer

    Raises
    ------
    DataError
        If fewer than two patients have points, if a kind of nucleus is missing, or
        if nothing says how cellular a patch is.
    """
    how = outlining or Outlining()
    scored = any(item.sample.scores for item in items)
    known = [_know(item, how, scored) for item in items]
    patients = len({k.sample.patient for k in known if k.label is not None})
    if patients < 2:
        raise DataError(
            f"Nuclei points of {patients} patient(s) were given; the classical peer chooses its "
            "settings on patients it does not learn from, so give points of two or more."
        )
    if all(math.isnan(k.target) for k in known):
        raise DataError("No patch has a cellularity; give scores, nuclei points or benign fields.")
    fold = _inner_folds(known, min(INNER_FOLDS, patients), seed)

    settings, first_word = _choose_machines(known, fold, seed)
    outside = [
        _with_fields(alone, _without(known, fold, f), settings, seed)[0]
        for f, alone in enumerate(first_word)
    ]
    scores = _scores_by(outside, known, fold)
    pointed_scores, labels = _together(known, scores)
    malignant_above, radius, calibration, mse = _choose_areas(known, scores)

    alone = _fit(_point_lessons(known), settings, seed)
    classifier, named = _with_fields(alone, known, settings, seed)
    peer = ClassicalPeer(
        outlining=how,
        classifier=classifier,
        sigmoids=_sigmoids(pointed_scores, labels),
        malignant_above=malignant_above,
        radius_um=radius,
        calibration=calibration,
        scale="pathologist" if scored else WEAK_SCALE,
        card={
            "seed": seed,
            "patches": len(known),
            "patients": len({k.sample.patient for k in known}),
            "nuclei": _counts(labels),
            "without a point": int((labels == OTHER).sum()),
            "named in fields": named,
            "cost": settings[0],
            "gamma times features": settings[1],
            "out of fold": {
                "balanced accuracy": balanced_accuracy(
                    labels, decide(pointed_scores, malignant_above)
                ),
                "mse": mse,
            },
        },
    )
    peer.save(out)
    return peer


def nearest_labels(
    xy: Floats, points_xy: Floats, points_label: npt.NDArray[np.integer], radius_px: float
) -> Labels:
    """Class of the nearest point nearer than a radius; `OTHER` where there is none.

    Parameters
    ----------
    xy : ndarray, shape (n, 2)
    points_xy, points_label : ndarray, shapes (m, 2) and (m,)
    radius_px : float

    Returns
    -------
    ndarray of int8, shape (n,)
    """
    label = np.full(len(xy), OTHER, np.int8)
    if len(xy) and len(points_xy):
        distance, index = cKDTree(points_xy).query(xy)
        near = distance < radius_px
        label[near] = points_label[index[near]]
    return label


def balanced_accuracy(truth: Labels, found: Labels) -> float:
    """Mean, over the labels that occur, of the share found as what they are."""
    return float(np.mean([(found[truth == k] == k).mean() for k in np.unique(truth)]))


def _know(item: "Loaded", how: Outlining, scored: bool) -> Known:
    sample = item.sample
    found = measure(item.pixels, sample.mpp, how)
    label, target = None, float("nan")
    if sample.points is not None:
        points = sample.points
        label = nearest_labels(
            found.xy, found.on_grid(points.xy), points.label, MATCH_UM / WORK_MPP
        )
        # a pathologist's scale and that of weak TC are two: never one line through both
        if not scored:
            target = weak_cellularity(item.pixels, points.xy, points.label, sample.mpp)
    if sample.scores:
        target = float(np.mean(sample.scores))
    elif sample.field == "benign":
        target = 0.0
    if found.tissue == 0:
        target = float("nan")
    return Known(sample, found, label, target)


def _inner_folds(known: Sequence[Known], k: int, seed: int) -> npt.NDArray[np.int64]:
    """Folds in which patients with points are spread first, so that each has some."""
    pointed = [p.sample for p in known if p.label is not None]
    fold = dict(
        zip([s.patient for s in pointed], patient_folds(pointed, k, seed).tolist(), strict=True)
    )
    rest = [p.sample for p in known if p.sample.patient not in fold]
    fold |= zip([s.patient for s in rest], patient_folds(rest, k, seed).tolist(), strict=True)
    return np.array([fold[p.sample.patient] for p in known])


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """Nuclei of one patch that the machines learn from.

    Attributes
    ----------
    features, label : ndarray, shapes (n, p) and (n,)
    weight : float
        Of each of them.
    """

    features: Floats
    label: Labels
    weight: float = 1.0


def _point_lessons(known: Sequence[Known]) -> list[Lesson]:
    return [Lesson(k.found.features, k.label) for k in known if k.label is not None]


def _field_lessons(alone: Classifier, known: Sequence[Known]) -> list[Lesson]:
    """Nuclei of whole labelled fields: which by the machines, benign or not by the field."""
    lessons = []
    for k in known:
        if k.label is not None or k.sample.field is None:
            continue
        label = decide(alone.scores(k.found.features), 0.0)
        if k.sample.field == "benign":
            label[label == MALIGNANT] = NORMAL
        sure = label != OTHER
        weight = 1.0 if k.sample.field == "benign" else OWN_WORD
        lessons.append(Lesson(k.found.features[sure], label[sure], weight))
    return lessons


def _fit(lessons: Sequence[Lesson], settings: Settings, seed: int) -> Classifier:
    cost, kernel = settings
    return fit_classifier(
        np.concatenate([lesson.features for lesson in lessons]),
        np.concatenate([lesson.label for lesson in lessons]),
        np.concatenate([np.full(len(lesson.label), lesson.weight) for lesson in lessons]),
        cost=cost,
        kernel=kernel,
        seed=seed,
    )


def _with_fields(
    alone: Classifier, known: Sequence[Known], settings: Settings, seed: int
) -> tuple[Classifier, int]:
    """Machines that learn from whole labelled fields too, and how many nuclei these gave."""
    more = _field_lessons(alone, known)
    if not more:
        return alone, 0
    joined = _fit([*_point_lessons(known), *more], settings, seed)
    return joined, sum(len(lesson.label) for lesson in more)


def _choose_machines(
    known: Sequence[Known], fold: npt.NDArray[np.int64], seed: int
) -> tuple[Settings, list[Classifier]]:
    """Settings with the best balanced accuracy out of fold, and their machines by fold."""
    tried = []
    for settings in MACHINE_SETTINGS:
        machines = [
            _fit(_point_lessons(_without(known, fold, f)), settings, seed)
            for f in range(int(fold.max()) + 1)
        ]
        scores, labels = _together(known, _scores_by(machines, known, fold))
        tried.append((balanced_accuracy(labels, decide(scores, 0.0)), settings, machines))
    _, settings, machines = max(tried, key=lambda option: option[0])
    return settings, machines


def _without(known: Sequence[Known], fold: npt.NDArray[np.int64], held_out: int) -> list[Known]:
    return [k for k, f in zip(known, fold, strict=True) if f != held_out]


def _scores_by(
    machines: Sequence[Classifier], known: Sequence[Known], fold: npt.NDArray[np.int64]
) -> list[Floats]:
    return [machines[f].scores(k.found.features) for k, f in zip(known, fold, strict=True)]


def _together(known: Sequence[Known], scores: Sequence[Floats]) -> tuple[Floats, Labels]:
    """Scores and labels of the nuclei of all patches with points."""
    rows = [(s, k.label) for k, s in zip(known, scores, strict=True) if k.label is not None]
    return np.concatenate([s for s, _ in rows]), np.concatenate([label for _, label in rows])


def _choose_areas(
    known: Sequence[Known], scores: Sequence[Floats]
) -> tuple[float, float, Calibration, float]:
    """Threshold of malignancy, width of a cell and line of the least squared error."""
    used = [i for i, k in enumerate(known) if not math.isnan(k.target)]
    truth = np.array([known[i].target for i in used])
    options: list[tuple[float, float, float, Calibration]] = []
    for above, radius in itertools.product(MALIGNANT_ABOVE, CELL_RADII_UM):
        covered = [covered_share(known[i].found, decide(scores[i], above), radius) for i in used]
        line = calibrate(covered, truth)
        options.append((float(((line(covered) - truth) ** 2).mean()), above, radius, line))
    mse, above, radius, line = min(options, key=lambda option: option[0])
    return above, radius, line, mse


def _sigmoids(scores: Floats, labels: Labels) -> tuple[Sigmoid, ...]:
    return tuple(
        fit_sigmoid(column[concerned], second[concerned])
        for column, (concerned, second) in zip(scores.T, steps_of(labels), strict=True)
    )


def _counts(labels: Labels) -> dict[str, int]:
    return {name: int((labels == k).sum()) for k, name in enumerate(CLASSES)}
