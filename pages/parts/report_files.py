"""A report as CSV and JSON: every reading, every statistic, and ratings to compute them anew."""

import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from datetime import datetime
from typing import Any, Final

from cellularity_core.agreement import Statistic, to_json
from cellularity_core.export import csv_text
from db.records import AmendmentRecord, CaseModelScore, ConsensusRecord, ReadingRecord, ReadingRow
from pages.parts.report_content import Content, design_rows, origin_rows

STATISTICS: Final = (
    "part",
    "a",
    "b",
    "period",
    "statistic",
    "value",
    "low",
    "high",
    "n",
    "interval",
    "reason",
)
RATINGS: Final = (
    "case_id",
    "reader",
    "score",
    "patient_id",
    "kind",
    "repeat",
    "cannot_score",
    "read_at",
)
"""Columns that ``cellularity agreement`` reads."""

README: Final = """\
readings.csv      every reading, also those that do not count (training, second scores, amended)
amendments.csv    what a reader would rather have given; never used in statistics
model_scores.csv  scores of the models, with their 90 % intervals
consensus.csv     scores agreed on after the study was closed
statistics.csv    every statistic with its 95 % interval, or the reason why there is none
ratings.csv       what the statistics are made of: `cellularity agreement ratings.csv` gives the
                  same numbers
design.csv        how the scores came about, and what this report rests on
Scores are fractions, 0 to 1; moments are UTC.
"""


def statistics_rows(told: Content) -> list[dict[str, Any]]:
    """Every statistic of the report, a row each."""
    rows: list[dict[str, Any]] = []

    def add(part: str, a: str, b: str, period: str, found: Any) -> None:
        for name, statistic in _statistics(found):
            row = {"part": part, "a": a, "b": b, "period": period, "statistic": name}
            rows.append(row | asdict(statistic))

    report = told.report
    add("group", "", "", "", report)
    for name, mean in zip(("icc_a1", "kappa4_quadratic"), told.mean, strict=True):
        add("readers, mean of pairs", "", "", "", {name: mean})
    for pair in report.pairs:
        add("pair", pair.a, pair.b, "", pair)
    for entry in report.model_vs_readers:
        add("model beside readers", entry.model, "", "", entry)
    for again in report.repeatability:
        add("repeatability", again.rater, "", "", again)
    for point in told.batches:
        add("batch", point.rater, "", point.period, point)
    for name, moved in told.movements.items():
        add("after AI", name, "", "", moved)
    return rows


def _statistics(found: Any, before: str = "") -> Iterator[tuple[str, Statistic]]:
    """Every statistic in a record, with its name; records inside are named before it."""
    if isinstance(found, Mapping):
        entries = list(found.items())
    else:
        entries = [(field.name, getattr(found, field.name)) for field in fields(found)]
    for name, value in entries:
        if isinstance(value, Statistic):
            yield f"{before}{name}", value
        elif is_dataclass(value):
            yield from _statistics(value, f"{before}{name}.")


def csv_files(told: Content) -> dict[str, str]:
    """Text of each file of the archive, by name."""
    material = told.material
    readings: Sequence[Any] = material.rows if material.study is not None else material.free
    reading_type = ReadingRow if material.study is not None else ReadingRecord
    facts = [{"what": name, "is": text} for name, text in (*design_rows(told), *origin_rows(told))]
    return {
        "README.txt": README,
        "design.csv": csv_text(facts, ("what", "is")),
        "readings.csv": _table(readings, reading_type),
        "amendments.csv": _table(told.amendments, AmendmentRecord),
        "model_scores.csv": _table(material.model_scores, CaseModelScore),
        "consensus.csv": _table(material.consensus, ConsensusRecord),
        "statistics.csv": csv_text(statistics_rows(told), STATISTICS),
        "ratings.csv": csv_text(
            (
                {
                    "case_id": rating.case_id,
                    "reader": rating.reader,
                    "score": rating.score,
                    "patient_id": rating.patient_id,
                    "kind": rating.kind,
                    "repeat": rating.repeat,
                    "cannot_score": "yes" if rating.cannot_score else "no",
                    "read_at": _cell(rating.read_at),
                }
                for rating in material.ratings
            ),
            RATINGS,
        ),
    }


def csv_archive(told: Content) -> bytes:
    """The CSV files as one ZIP archive; the same bytes for the same content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in csv_files(told).items():
            entry = zipfile.ZipInfo(name, told.made_at.timetuple()[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, text.encode("utf-8"))
    return buffer.getvalue()


def json_text(told: Content) -> str:
    """The report as ``cellularity agreement --json`` writes it, and what it rests on beside it."""
    document = {
        "source": told.material.title,
        "design": dict(design_rows(told)),
        "made_at": told.made_at.isoformat(timespec="seconds"),
        "made_by": told.made_by,
        "software": told.software,
        "model_set": told.material.model_set,
        "model_sha256": told.material.model_sha256,
        "model_software": told.material.model_software,
        "cases_the_models_were_made_from": told.material.n_met,
        "scale": told.material.scale,
        "audit_head": {"sequence": told.head.sequence, "hash": told.head.hash},
        "blinding": told.note,
        "is_interim": told.material.study is not None and not told.material.is_final,
        "readers_mean": {
            name: asdict(found)
            for name, found in zip(("icc_a1", "kappa4_quadratic"), told.mean, strict=True)
        },
        "batches": [asdict(point) for point in told.batches],
        "after_ai": {name: asdict(found) for name, found in told.movements.items()},
        "agreement": to_json(told.report),
    }
    return json.dumps(document, indent=2, ensure_ascii=False, default=_cell, allow_nan=False) + "\n"


def _table(records: Sequence[Any], kind: Any) -> str:
    names = [field.name for field in fields(kind)]
    return csv_text(
        ({name: _cell(getattr(record, name)) for name in names} for record in records), names
    )


def _cell(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
