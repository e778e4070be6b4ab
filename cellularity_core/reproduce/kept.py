"""The files that a run leaves: its scores, its overlaps, its weights and its log."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from cellularity_core.errors import ModelError
from cellularity_core.export import csv_text
from cellularity_core.reproduce.material import truth_of
from cellularity_core.reproduce.measure import Overlap, Scored
from cellularity_core.training.images import Loaded
from cellularity_core.training.loop import BEST, DONE, LOG, ORIGIN

RUN: Final = "run.json"
SETTINGS: Final = "settings.json"
ROW: Final = "row.json"
SCORES: Final = "scores.csv"
OVERLAPS: Final = "overlaps.csv"
TREES: Final = "gbt.txt"
SCORE_COLUMNS: Final = ("name", "patient", "truth", "field", "score")
OVERLAP_COLUMNS: Final = ("name", "patient", "both", "either")


def save_scores(folder: Path, items: Sequence[Loaded], values: Sequence[float]) -> None:
    """Write the scores of patches, cut to [0, 1].

    Raises
    ------
    ModelError
        If one is no number, as those of a network that has diverged are.
    """
    found = np.asarray(values, float)
    _check_numbers(folder, "scores", found)
    found = found.clip(0.0, 1.0)
    rows = [
        {
            "name": item.sample.name,
            "patient": item.sample.patient,
            "truth": " ".join(repr(t) for t in truth_of(item)),
            "field": item.sample.field or "",
            "score": repr(value),
        }
        for item, value in zip(items, found.tolist(), strict=True)
    ]
    write(folder / SCORES, csv_text(rows, SCORE_COLUMNS))


def save_overlaps(
    folder: Path,
    items: Sequence[Loaded],
    both: npt.NDArray[np.float64],
    either: npt.NDArray[np.float64],
) -> None:
    """Write what `segmentation.overlaps` counted on patches, shape (n, 4) each.

    Raises
    ------
    ModelError
        If a patch's are no numbers, as those of a network that has diverged are.
    """
    _check_numbers(folder, "overlaps", (both + either).sum(axis=1))
    rows = [
        {
            "name": item.sample.name,
            "patient": item.sample.patient,
            "both": " ".join(map(str, b)),
            "either": " ".join(map(str, e)),
        }
        for item, b, e in zip(items, both.astype(int), either.astype(int), strict=True)
    ]
    write(folder / OVERLAPS, csv_text(rows, OVERLAP_COLUMNS))


def _check_numbers(folder: Path, what: str, values: npt.NDArray[np.float64]) -> None:
    if count := int(np.count_nonzero(~np.isfinite(values))):
        raise ModelError(
            f"{count} of {len(values)} {what} of '{folder.name}' are no numbers: the training has "
            "diverged. Lower its learning rate in the recipe, remove the folder, and begin it anew."
        )


def read_scores(folder: Path) -> list[Scored]:
    """Scores that a run left."""
    return [
        Scored(
            row["name"],
            row["patient"],
            tuple(map(float, row["truth"].split())),
            row["field"],
            float(row["score"]),
        )
        for row in log_rows(folder / SCORES)
    ]


def read_overlaps(folder: Path) -> list[Overlap]:
    """Overlaps that a run left; none where it has no segmentation."""
    return [
        Overlap(
            row["name"],
            row["patient"],
            np.array(row["both"].split(), float),
            np.array(row["either"].split(), float),
        )
        for row in log_rows(folder / OVERLAPS)
    ]


def weight_files(folder: Path) -> list[Path]:
    """Everything that decides a score of a run."""
    kinds = (BEST, TREES, "*.npz", "*.json", "*.txt")
    found = {path for kind in kinds for path in folder.glob(kind)}
    found |= {path for phase in ("frozen", "joint") for path in (folder / phase).glob(BEST)}
    own = {RUN, SETTINGS, ORIGIN, DONE, ROW, "fields.json"}
    return sorted(path for path in found if path.name not in own)


def logged_seconds(folder: Path) -> float:
    """Seconds of all epochs logged below a folder."""
    return sum(
        float(row["seconds"])
        for path in folder.rglob(LOG)
        for row in log_rows(path)
        if row["seconds"]
    )


def log_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a ``log.csv``; none where it is not there yet."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def hold(path: Path, text: str, finished: Path) -> None:
    """Hold a run to what its folder says it is made with, or say so in a new folder.

    Parameters
    ----------
    path : Path
        The file that says it.
    text : str
        What it says of the run that is wanted.
    finished : Path
        The file that ends a run.

    Raises
    ------
    ModelError
        If the folder says otherwise, or says nothing and holds a finished run.
    """
    if path.exists():
        if path.read_text(encoding="utf-8") != text:
            raise ModelError(
                f"'{path.parent}' holds a run of other settings, data or patients, on another "
                "device or in another precision; choose another folder with --out, or remove that "
                "one."
            )
        return
    if finished.exists():
        raise ModelError(
            f"'{path.parent}' holds a finished run without {path.name}, so with which settings "
            "and data it was made is not known; choose another folder with --out, or remove that "
            "one."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, text)


def write(path: Path, text: str) -> None:
    """Write at once or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
