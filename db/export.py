"""Records as CSV files: one row for each reading, and tables for iMRMC.

iMRMC (Gallas et al., FDA; didsr.github.io/iMRMC) takes one row for each observation
with the columns readerID, caseID, modalityID and score; its limits of agreement need
no truth. Here a modality is a phase of reading, hidden repeats apart.
"""

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy.orm import Session

from db import model_sets, reading_lists, scores, studies
from db.errors import RecordError
from db.model_sets import ActiveSet
from db.reading_lists import AmendmentRecord, ReadingRow
from db.scores import CaseModelScore, ConsensusRecord

IMRMC: Final = ("readerID", "caseID", "modalityID", "score")

_FORMULA: Final = re.compile("[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""How a cell begins that a spreadsheet would run; also as wide letters."""

_READING: Final = ("study", *(field.name for field in fields(ReadingRow)))


def export(session: Session, folder: Path, *, imrmc: bool = False) -> list[Path]:
    """Write all records of readers and models into `folder`.

    ``readings.csv`` (scores outside studies have an empty study), ``amendments.csv``,
    ``model_scores.csv``, ``consensus.csv`` and ``model_sets.csv`` (which model set was put
    in use, by whom and when); with `imrmc` one ``imrmc-STUDY.csv`` for each study, STUDY
    being its number, without training and unscored cases. Scores are in [0, 1], moments
    in UTC. A text that begins like a formula gets an apostrophe in front.

    Raises
    ------
    RecordError
        If a file exists already or cannot be written.
    """
    tables: dict[str, tuple[Sequence[str], list[dict[str, Any]]]] = {
        "readings.csv": (_READING, []),
        "amendments.csv": (("study", *_names(AmendmentRecord)), []),
        "model_scores.csv": (("study", *_names(CaseModelScore)), []),
        "consensus.csv": (("study", *_names(ConsensusRecord)), []),
        "model_sets.csv": (
            _names(ActiveSet),
            [asdict(chosen) for chosen in model_sets.choices(session)],
        ),
    }
    for study in reversed(studies.studies(session)):
        rows = reading_lists.study_readings(session, study.id)
        for name, found in (
            ("readings.csv", rows),
            ("amendments.csv", reading_lists.amendments(session, study.id)),
            ("model_scores.csv", scores.model_scores(session, study.id)),
            ("consensus.csv", scores.consensus(session, study.id)),
        ):
            tables[name][1].extend({"study": study.name} | asdict(row) for row in found)
        if imrmc:
            tables[f"imrmc-{study.id}.csv"] = (IMRMC, list(imrmc_rows(rows)))
    for free in reading_lists.free_readings(session):
        told = asdict(free)
        tables["readings.csv"][1].append({key: told[key] for key in _READING if key in told})
    return [_write(folder / name, header, rows) for name, (header, rows) in tables.items()]


def imrmc_rows(rows: Iterable[ReadingRow]) -> Iterable[dict[str, Any]]:
    """Readings of one study as iMRMC takes them."""
    for row in rows:
        if not row.is_training and row.cellularity is not None:
            modality = f"{row.phase}-repeat" if row.occasion else row.phase
            if row.phase == "before" and row.seen_models:
                modality += "-seen"  # the reader had met the models' output elsewhere
            yield dict(zip(IMRMC, (row.reader, row.case, modality, row.cellularity), strict=True))


def _names(record: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(record))


def _write(path: Path, header: Sequence[str], rows: Iterable[dict[str, Any]]) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, header)
            writer.writeheader()
            writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    except FileExistsError as error:
        raise RecordError(f"{path} exists and is not overwritten. Give an empty folder.") from error
    except OSError as error:
        raise RecordError(f"{path} cannot be written ({error.strerror}).") from error
    return path


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        guarded = f"'{value}" if _FORMULA.match(value) else value
        return re.sub(r"[\r\n]", " ", guarded)
    return value
