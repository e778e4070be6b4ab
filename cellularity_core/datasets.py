"""Data sets as lists of samples, and splits that keep a patient on one side.

A data set is named ``KIND:FOLDER`` on the command line, for example
``brca-m2c:data/brca_m2c``; `load` reads any of them.
"""

import csv
import io
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from cellularity_core.conventions import DEFAULT_MPP
from cellularity_core.errors import DataError
from cellularity_core.points import NucleiPoints, read_points

log = logging.getLogger(__name__)

Field = Literal["benign", "malignant"]
Part = Literal["train", "validation", "test"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One image and what is known of it.

    Attributes
    ----------
    image : Path
    name : str
        Unique within its data set.
    patient : str
        Who it is from; splits never part a patient.
    patient_is_slide : bool
        Whether nobody says who it is from, so that its slide stands for the patient.
    site : str
        Where it was stained and scanned; folds spread each site evenly.
    points : NucleiPoints or None
        Nuclei with classes, in pixels.
    field : {"benign", "malignant"} or None
        Diagnosis of the whole image. A benign field has no malignant nucleus.
    scores : tuple of float
        Cellularity by each pathologist, 0 to 1; empty where none scored it.
    part : {"train", "validation", "test"} or None
        The published split, where there is one.
    mpp : float
        um per pixel.
    """

    image: Path
    name: str
    patient: str
    site: str
    points: NucleiPoints | None = None
    field: Field | None = None
    scores: tuple[float, ...] = ()
    part: Part | None = None
    mpp: float = DEFAULT_MPP
    patient_is_slide: bool = False


def load(spec: str) -> list[Sample]:
    """Samples of the data set named ``KIND:FOLDER``.

    Raises
    ------
    DataError
        If the kind is unknown or the folder does not hold that data set.
    """
    kind, _, folder = spec.partition(":")
    if kind not in LOADERS or not folder:
        raise DataError(
            f"'{spec}' does not name a data set; write KIND:FOLDER with one of the kinds "
            f"{', '.join(LOADERS)}, for example brca-m2c:data/brca_m2c."
        )
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"There is no folder '{folder}'; give the folder that holds {kind}.")
    samples = LOADERS[kind](root)
    if not samples:
        raise DataError(f"The folder '{folder}' holds no image of {kind}; check its layout.")
    for sentence in unknown_patients(samples):
        log.warning("%s: %s", kind, sentence)
    return samples


def unknown_patients(samples: Iterable[Sample]) -> list[str]:
    """What reports and cards say where slides stand for patients; nothing where none does."""
    slides = {s.patient for s in samples if s.patient_is_slide}
    if not slides:
        return []
    one = len(slides) == 1
    return [
        f"No patient is known of {len(slides)} slide{'s' * (not one)}, so "
        f"{'it counts as a patient' if one else 'each counts as a patient'}. Where one patient "
        "has several slides, what is learnt from and what is measured may share that patient: "
        "figures flatter and their intervals are too narrow. patient_ids.csv (columns slide, "
        "patient_id) names the patients."
    ]


def brca_m2c(root: Path) -> list[Sample]:
    """BRCA-M2C: patches with points for stromal, lymphocyte and tumour nuclei.

    The published validation list shares two patients with the training list;
    their patches count as training here, so that no patient is on both sides.
    """
    listed = {part: _lines(root / f"{part}.txt") for part in ("train", "val")}
    in_training = {_tcga_case(name) for name in listed["train"]}
    samples = []
    for part, names in listed.items():
        for file in names:
            name, case = Path(file).stem, _tcga_case(file)
            validation = part == "val" and case not in in_training
            samples.append(
                Sample(
                    image=root / "images" / file,
                    name=name,
                    patient=case,
                    site=case[5:7],
                    points=read_points(root / "labels" / f"{name}_gt_class_coords.txt"),
                    part="validation" if validation else "train",
                )
            )
    return sorted(samples, key=lambda s: s.name)


def ucsb(root: Path) -> list[Sample]:
    """UCSB breast fields: micro-array fields that are benign or malignant as a whole."""
    samples = []
    for row in _rows(root / "labels.csv", ("image", "label", "slide_id")):
        label = row["label"]
        if label != "benign" and label != "malignant":
            raise DataError(
                f"labels.csv calls {row['image']} '{label}'; write benign or malignant."
            )
        field: Field = "benign" if label == "benign" else "malignant"
        samples.append(
            Sample(
                image=root / "images" / row["image"],
                name=Path(row["image"]).stem,
                patient=row["slide_id"],
                site="ucsb",
                field=field,
            )
        )
    return sorted(samples, key=lambda s: s.name)


def breastpathq(root: Path) -> list[Sample]:
    """BreastPathQ as its users have it on disk: scored patches and nuclei patches.

    Reads ``train_labels.csv``, ``val_labels.csv``, ``test_labels.csv`` (those that
    are there), the optional ``patient_ids.csv`` and the annotated patches of
    ``cells``. Where no patient is given the slide stands for the patient.
    """
    patients: dict[str, str] = {}
    if (root / "patient_ids.csv").exists():
        for row in _rows(root / "patient_ids.csv", ("slide", "patient_id")):
            patients[row["slide"]] = row["patient_id"]
    parts: tuple[tuple[str, str, Part], ...] = (
        ("train_labels.csv", "train", "train"),
        ("val_labels.csv", "validation", "validation"),
        ("test_labels.csv", "test_patches", "test"),
    )
    samples = []
    for labels, folder, part in parts:
        if not (root / labels).exists():
            continue
        absent = []
        for number, row in enumerate(_rows(root / labels, ("slide", "rid")), start=2):
            image = root / folder / f"{row['slide']}_{row['rid']}.tif"
            if not os.path.exists(image):  # no error for a name too long, as of Path
                absent.append(image.name)
                continue
            slide = row["slide"]
            samples.append(
                Sample(
                    image=image,
                    name=image.stem,
                    patient=patients.get(slide, slide),
                    patient_is_slide=slide not in patients,
                    site="breastpathq",
                    scores=_label_scores(row, f"{labels}, line {number}"),
                    part=part,
                )
            )
        if absent:
            log.warning(
                "%s names %d patches that are not in %s, the first is %s",
                *(labels, len(absent), folder, absent[0]),
            )
    for key in sorted((root / "cells").glob("*_key.xml")):
        image = key.with_name(key.name.replace("_key.xml", "_crop.tif"))
        if not image.exists():
            log.warning("cells/%s has no image %s", key.name, image.name)
            continue
        slide = key.name.split("_")[0]
        samples.append(
            Sample(
                image=image,
                name=image.stem,
                patient=patients.get(slide, slide),
                patient_is_slide=slide not in patients,
                site="breastpathq",
                points=read_points(key),
                part="train",
            )
        )
    return samples


LOADERS: Final[dict[str, Callable[[Path], list[Sample]]]] = {
    "brca-m2c": brca_m2c,
    "ucsb": ucsb,
    "breastpathq": breastpathq,
}


@dataclass(frozen=True, slots=True)
class Source:
    """What the card of a model says of a kind of data set that it learnt from.

    Attributes
    ----------
    tissue : str
        What it holds, after "Trained on".
    terms : str
        Where it is from and under which terms.
    treated : bool
        Whether it is tissue after neoadjuvant treatment.
    lacks_benign : bool
        Whether its points name benign epithelium tumour.
    publishable : bool
        Whether this project publishes weights learnt from it under its own licence.
    """

    tissue: str
    terms: str
    treated: bool = False
    lacks_benign: bool = False
    publishable: bool = True


SOURCES: Final = {
    "brca-m2c": Source(
        "few and mostly untreated primary tumours of three TCGA tissue source sites",
        "BRCA-M2C (Abousamra et al., ICCV 2021; BSD-3, images from TCGA)",
        lacks_benign=True,
    ),
    "ucsb": Source(
        "one collection of micro-array fields",
        "the UCSB benchmark (Drelie Gelasca et al., ICIP 2008; a public research benchmark whose "
        "terms are unsettled, used for training only, not redistributed)",
    ),
    "breastpathq": Source(
        "patches of resected tumours of the BreastPathQ challenge, or in its layout",
        "BreastPathQ (Petrick et al., JMI 2021), or the user's own patches in its layout, under "
        "the terms that came with them",
        treated=True,
        publishable=False,
    ),
}
"""By kind of data set, as in `LOADERS`."""


def patient_folds(samples: Sequence[Sample], k: int, seed: int = 0) -> np.ndarray:
    """Fold of each sample: patients dealt over `k` folds, site by site.

    Parameters
    ----------
    samples : sequence of Sample
    k : int
        Number of folds, at least 2.
    seed : int
        Of the shuffle within each site.

    Returns
    -------
    ndarray of int, shape (len(samples),)
        0 to k - 1; all samples of a patient share one.
    """
    rng = np.random.default_rng(seed)
    fold: dict[str, int] = {}
    turn = 0
    for site in sorted({s.site for s in samples}):
        patients = sorted({s.patient for s in samples if s.site == site} - fold.keys())
        rng.shuffle(patients)
        for patient in patients:
            fold[patient] = turn % k
            turn += 1
    return np.array([fold[s.patient] for s in samples])


def without_test(samples: Sequence[Sample]) -> list[Sample]:
    """Samples to learn from: none of a published test part, nor of its patients."""
    aside = {sample.patient for sample in samples if sample.part == "test"}
    kept = [sample for sample in samples if sample.patient not in aside]
    if aside:
        log.info(
            "%d images of a published test part, and of its %d patients, are not learnt from",
            len(samples) - len(kept),
            len(aside),
        )
    return kept


SCORE_COLUMNS: Final = ("y", "p", "p1", "p2", "score", "cellularity")


def _label_scores(row: dict[str, str], where: str) -> tuple[float, ...]:
    given = [row[c] for c in SCORE_COLUMNS if row.get(c, "") != ""]
    if not given:
        raise DataError(
            f"{where} has no score; looked for the columns {', '.join(SCORE_COLUMNS)} and found "
            f"{', '.join(row)}."
        )
    try:
        scores = tuple(float(text) for text in given)
    except ValueError:
        raise DataError(
            f"{where} has the score {given}; a score is a number from 0 to 1."
        ) from None
    if not all(0 <= score <= 1 for score in scores):
        raise DataError(f"{where} has the score {given}; a score lies between 0 and 1.")
    return scores


def _rows(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(_text(path), newline=""))
    rows = []
    try:
        for row in reader:
            if None in row:
                raise DataError(
                    f"{path.name}, line {reader.line_num}, has more cells than columns; write "
                    "numbers with a point, and quote what holds a comma."
                )
            rows.append({k.strip().lower(): (v or "").strip() for k, v in row.items()})
    except csv.Error as error:
        raise DataError(
            f"{path.name}, line {reader.line_num}, is not CSV ({error}); save it again."
        ) from None
    missing = [c for c in columns if rows and c not in rows[0]]
    if missing:
        raise DataError(
            f"{path.name} lacks the column {', '.join(missing)}; it has {', '.join(rows[0])}."
        )
    return rows


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in _text(path).splitlines() if line.strip()]


def _text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"There is no {path.name} in '{path.parent}'; check the folder.") from None
    except OSError as error:
        raise DataError(f"{path.name} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # which no path may hold
        raise DataError(f"{path.name} is not text in UTF-8; save it as such.")
    return text


def _tcga_case(name: str) -> str:
    return name[:12]
