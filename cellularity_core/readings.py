"""Patches that a reader scored, from a CSV file."""

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cellularity_core.agreement.ratings import Rating, RatingTable
from cellularity_core.errors import CellularityError, DataError
from cellularity_core.patch import check_mpp

NEEDED: Final = ("image", "score")
OPTIONAL: Final = ("patient", "mpp")
ALIASES: Final = {"patient_id": "patient"}
"""Columns as `cellularity agreement` calls them."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A patch as a reader scored it.

    Attributes
    ----------
    image : Path
    score : float
        Cellularity, 0 to 1.
    patient : str
        The image's own name where none is given.
    mpp : float or None
    """

    image: Path
    score: float
    patient: str
    mpp: float | None


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings of a file.

    Attributes
    ----------
    rows : tuple of Reading
    without_score : int
        Lines whose score is empty.
    names_patients : bool
        Whether every line names its patient.
    ignored : tuple of str
        Columns that mean nothing here.
    """

    rows: tuple[Reading, ...]
    without_score: int
    names_patients: bool
    ignored: tuple[str, ...]

    @classmethod
    def read(cls, path: Path, *, images: Path | None = None, percent: bool = False) -> "Readings":
        """Read a CSV with columns image and score, and if wanted patient and mpp.

        Parameters
        ----------
        path : Path
        images : Path, optional
            Folder from which images are named; that of the CSV by default.
        percent : bool
            Scores are 0 to 100, as for `cellularity agreement`.

        Raises
        ------
        DataError
            If the file is no such table, or a line of it cannot be; it is named.
        OSError
            If it cannot be opened.
        """
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise DataError(f"{path} is not UTF-8 text; save it as CSV in UTF-8.") from None
        try:
            names, lines = _lines(text)
            rows = [_row(where, cells) for where, cells in lines]
            seen: dict[str, str] = {}
            for (where, _), (image, *_) in zip(lines, rows, strict=True):
                if image in seen:
                    raise DataError(
                        f"{where}: {image} is at {seen[image]} already; give one score an image."
                    )
                seen[image] = where
            table = RatingTable.from_ratings(
                (
                    Rating(image, "reader", score, patient or None)
                    for image, score, patient, _ in rows
                ),
                percent=percent,
            )
        except CellularityError as error:
            raise DataError(f"{path}: {error}") from None
        folder = images or path.parent
        return cls(
            tuple(
                Reading(folder / image, rating.score, patient or image, mpp)
                for (image, _, patient, mpp), rating in zip(rows, table.ratings, strict=True)
                if rating.score is not None
            ),
            sum(rating.score is None for rating in table.ratings),
            all(patient for _, _, patient, _ in rows),
            tuple(name for name in names if name and name not in NEEDED + OPTIONAL),
        )


def _lines(text: str) -> tuple[list[str], list[tuple[str, dict[str, str]]]]:
    """Columns, then the lines with where each is."""
    mark = max(",;\t", key=text.split("\n", 1)[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    try:
        table = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except csv.Error as error:
        raise DataError(f"line {reader.line_num}: not CSV ({error}).") from None
    names = [ALIASES.get(name.lower(), name.lower()) for name in table[0][1]] if table else []
    lacking = [name for name in NEEDED if name not in names]
    if lacking:
        raise DataError(
            f"the first line has no column {', '.join(lacking)}; expected {', '.join(NEEDED)} and "
            f"if wanted {', '.join(OPTIONAL)}."
        )
    out = []
    for number, row in table[1:]:
        if len(row) > len(names):
            raise DataError(f"line {number}: there are more cells than columns.")
        out.append((f"line {number}", dict(zip(names, row, strict=False))))
    if not out:
        raise DataError("there is no score below the first line.")
    return names, out


def _row(where: str, cells: Mapping[str, str]) -> tuple[str, float | None, str, float | None]:
    """Image, score, patient and um/px of a line."""
    image = cells.get("image", "")
    if not image:
        raise DataError(f"{where}: image is empty; every score needs one.")
    numbers: dict[str, float | None] = {}
    for column in ("score", "mpp"):
        given = cells.get(column, "")
        try:
            numbers[column] = float(given) if given else None
        except ValueError:
            raise DataError(
                f'{where}: {column} is "{given[:40]}", which is no number; write it with a point.'
            ) from None
    score, mpp = numbers["score"], numbers["mpp"]
    if score is not None and not math.isfinite(score):
        raise DataError(f"{where}: the score is {score}; leave it empty where there is none.")
    if mpp is not None:
        check_mpp(mpp, image)
    return image, score, cells.get("patient", ""), mpp
