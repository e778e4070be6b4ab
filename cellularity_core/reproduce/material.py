"""What is learnt from, chosen on and measured on, by patient."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from cellularity_core.conventions import WEAK_SCALE
from cellularity_core.datasets import Sample, load, patient_folds, unknown_patients
from cellularity_core.errors import DataError
from cellularity_core.export import csv_text
from cellularity_core.training.images import Loaded, item_digest, load_images
from cellularity_core.training.targets import graded, is_weak, patch_target, regressed, scale_of

log = logging.getLogger(__name__)

NAMED: Final = 5
"""Patches that a refusal names before it counts."""
LIST_COLUMNS: Final = (
    "kind",
    "name",
    "patient",
    "role",
    "truth",
    "n_points",
    "field",
    "sha256",
    "known_sha256",
)


@dataclass(frozen=True, slots=True)
class Split:
    """Patients kept apart.

    Attributes
    ----------
    name : str
        ``official``, or ``fold0`` and so on.
    training : list of Loaded
    validation : list of Loaded
        On which an epoch is chosen; empty where the last epoch is kept.
    measured : list of Loaded
        Of patients no network learnt from; figures are theirs.
    """

    name: str
    training: list[Loaded]
    validation: list[Loaded]
    measured: list[Loaded]


@dataclass(frozen=True, slots=True)
class Material:
    """All images of a reproduction and how they are split.

    Attributes
    ----------
    specs : tuple of str
        ``KIND:FOLDER`` each.
    items : list of Loaded
    kinds : dict of str to str
        Kind of data set of each sample, by its name.
    splits : list of Split
        One with official splits, else one a fold that is held out.
    measured_part : str
        Published part that is measured; empty where folds are.
    remarks : tuple of str
        What limits the figures or was left out of the data, in sentences.
    """

    specs: tuple[str, ...]
    items: list[Loaded]
    kinds: dict[str, str]
    splits: list[Split]
    measured_part: str
    remarks: tuple[str, ...] = ()

    @property
    def is_weak(self) -> bool:
        """Whether no pathologist scored any patch, so that every truth is weak TC."""
        return is_weak(self.items)

    @property
    def scale(self) -> str:
        return scale_of(self.items)

    @property
    def truth_word(self) -> str:
        """What a figure's axis calls the truth and the scores."""
        return WEAK_SCALE if self.is_weak else "TC"

    @property
    def figure_word(self) -> str:
        """What tables call the truth: `truth_word`, and the published part it is of."""
        part = f" of the {self.measured_part} part" if self.measured_part else ""
        return f"{self.truth_word}{part}"

    def graded(self, items: Sequence[Loaded]) -> list[Loaded]:
        """Items whose cellularity is known on the scale of this material."""
        return graded(items, self.is_weak)

    def regressed(self, items: Sequence[Loaded]) -> list[Loaded]:
        """Items a score is learnt from: graded ones and benign fields, which hold no tumour."""
        return regressed(items, self.is_weak)

    def data_list(self) -> str:
        """Every image with its checksum, patient and truth, and a checksum of all that is known of
        it (classes of its points too), as CSV."""
        roles: dict[str, list[str]] = {item.sample.name: [] for item in self.items}
        graded = {item.sample.name for item in self.graded(self.items)}
        for split in self.splits:
            for role in ("training", "validation", "measured"):
                for item in getattr(split, role):
                    roles[item.sample.name].append(f"{split.name} {role}")
        rows = []
        for item in self.items:
            sample = item.sample
            points = sample.points
            rows.append(
                {
                    "kind": self.kinds[sample.name],
                    "name": sample.name,
                    "patient": sample.patient,
                    "role": "; ".join(roles[sample.name]) or "left out",
                    "truth": " ".join(f"{score:g}" for score in truth_of(item))
                    if sample.name in graded
                    else "",
                    "n_points": "" if points is None else len(points.label),
                    "field": sample.field or "",
                    "sha256": _checksum(item),
                    "known_sha256": item_digest(item),
                }
            )
        return csv_text(rows, LIST_COLUMNS)


def truth_of(item: Loaded) -> tuple[float, ...]:
    """Each pathologist's score, or weak TC of the points; empty where neither is known."""
    if item.sample.scores:
        return item.sample.scores
    return (patch_target(item),) if item.sample.points is not None else ()


def pointed(items: Sequence[Loaded]) -> list[Loaded]:
    """Items with nuclei points."""
    return [item for item in items if item.sample.points is not None]


def short_of_readers(items: Sequence[Loaded]) -> list[Loaded]:
    """Scored items that fewer pathologists scored than others of these."""
    most = max((len(item.sample.scores) for item in items), default=0)
    return [item for item in items if 0 < len(item.sample.scores) < most]


def gather(specs: Sequence[str], *, folds: int, fold_limit: int, seed: int) -> Material:
    """Read the data and split it.

    Scored patches with a published test (or else validation) part keep it; all
    other images are dealt to folds by patient, and the first `fold_limit` folds are
    held out in turn (with published parts, the first only).

    Raises
    ------
    DataError
        If data cannot be read, two images share a name, a side would be empty, or
        measured patches differ in how many pathologists scored them.
    """
    samples: list[Sample] = []
    kinds: dict[str, str] = {}
    for spec in specs:
        for sample in load(spec):
            if sample.name in kinds:
                raise DataError(
                    f"Two images are called '{sample.name}'; give each data set once, and give "
                    "images of one name another."
                )
            kinds[sample.name] = spec.partition(":")[0]
            samples.append(sample)
    parts = {sample.part for sample in samples if sample.scores}
    measured_part = next((part for part in ("test", "validation") if part in parts), "")
    items = load_images(samples)
    said = []
    if "test" not in parts and parts & {"train", "validation"}:
        said.append(
            "There is no test part (no patch of test_labels.csv is in test_patches), so scores are "
            f"measured on {'the validation part' if measured_part else 'folds by patient'}; that "
            "is not the result on the challenge's test part."
        )
    if measured_part:
        official, more = _official(items, measured_part, folds, seed)
        splits, said = [official], said + more
    else:
        splits = [_held_out(items, fold, folds, seed) for fold in range(min(fold_limit, folds))]
    for sentence in said:
        log.warning(sentence)
    remarks = unknown_patients(samples) + said
    for split in splits:
        for side in ("training", "measured"):
            if not getattr(split, side):
                raise DataError(
                    f"The split '{split.name}' has no image for {side}; give more patients, "
                    "or fewer folds with --folds."
                )
    _check_readers([item for split in splits for item in split.measured])
    return Material(tuple(specs), items, kinds, splits, measured_part, tuple(remarks))


def _check_readers(measured: Sequence[Loaded]) -> None:
    """Refuse what no figure can be made of before days of training, not after."""
    short = [item.sample.name for item in short_of_readers(measured)]
    if short:
        more = f" and {len(short) - NAMED} more" if len(short) > NAMED else ""
        raise DataError(
            "A figure is a mean over the pathologists who scored every measured patch, and fewer "
            f"scored {', '.join(short[:NAMED])}{more} than others; complete their scores in the "
            "file of labels, or take their lines out."
        )


def _held_out(items: Sequence[Loaded], fold: int, folds: int, seed: int) -> Split:
    fold_of = patient_folds([item.sample for item in items], folds, seed)
    pairs = list(zip(items, fold_of, strict=True))
    return Split(
        f"fold{fold}",
        [item for item, k in pairs if k != fold],
        [],
        [item for item, k in pairs if k == fold],
    )


def _official(
    items: Sequence[Loaded], measured_part: str, folds: int, seed: int
) -> tuple[Split, list[str]]:
    """The published split, and what is to be said of it.

    Images without a score are dealt to folds. Nuclei that are held out measure no score,
    so scored patches of their patients are learnt from as published.
    """
    scored = [item for item in items if item.sample.scores]
    others = [item for item in items if not item.sample.scores]
    measured = [item for item in scored if item.sample.part == measured_part]
    validation = [
        item
        for item in scored
        if item.sample.part == "validation" and measured_part != "validation"
    ]
    training = [item for item in scored if item.sample.part == "train"]
    nuclei: list[Loaded] = []
    if others:
        rest = _held_out(others, 0, folds, seed)
        training += rest.training
        nuclei = [item for item in rest.measured if not item.sample.field]
        measured += [item for item in rest.measured if item.sample.field]
    validation, of_validation = _apart(validation, measured, "validation")
    training, of_training = _apart(training, [*measured, *validation], "training")
    said = of_validation + of_training
    if both := _patients(nuclei) & _patients([i for i in training if i.sample.scores]):
        count = f"{len(both)} patient{'s' * (len(both) != 1)}"
        said.append(
            f"The Jaccard index is also measured on nuclei of {count} whose scored patches are "
            "learnt from, as published. No segmentation learnt from nuclei of theirs, but SR "
            "learnt from their scores, so its index after training may flatter."
        )
    return Split("official", training, validation, [*measured, *nuclei]), said


def _patients(items: Sequence[Loaded]) -> set[str]:
    return {item.sample.patient for item in items}


def _apart(
    items: list[Loaded], held: Sequence[Loaded], side: str
) -> tuple[list[Loaded], list[str]]:
    """Items of patients that are not held out, and a sentence on the others."""
    patients = _patients(held)
    kept = [item for item in items if item.sample.patient not in patients]
    if not (count := len(items) - len(kept)):
        return kept, []
    whose = len(_patients(items) & patients)
    return kept, [
        f"{count} image{'s' * (count != 1)} for {side} of {whose} patient{'s' * (whose != 1)} "
        f"{'are' if count != 1 else 'is'} left out, as other images of the same patient are on a "
        "side kept apart from it."
    ]


def halves(items: Sequence[Loaded], seed: int) -> np.ndarray:
    """Half of each item, 0 or 1, by patient."""
    return patient_folds([item.sample for item in items], 2, seed)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checksum(item: Loaded) -> str:
    return sha256_of(item.sample.image)
