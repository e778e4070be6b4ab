"""The page Agreement to look at, and its ratings by a second way."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from cellularity_core.agreement import Rating, RatingTable, Statistic
from db import records
from db.session import snapshot
from pages.parts import state
from pages.parts.access import Identity
from pages.parts.agreement_data import Material
from pages.parts.agreement_source import read_study
from pages.parts.store import store
from pages.parts.words import METHOD_NAMES

APP = str(Path(__file__).resolve().parent.parent / "app.py")
COORDINATOR = Identity("Cora", "admin", False, None)
SECTIONS = (
    "At a glance",
    "Statistics",
    "Two by two",
    "Over time",
    "After AI",
    "Disagreements",
    "Report",
)


@contextmanager
def own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test has records of its own."""
    monkeypatch.setenv("CELLULARITY_DB", str(tmp_path / "agreement.db"))
    store.clear()
    yield
    store().dispose()
    store.clear()


def page(study: int = 0, reader: str = "Cora") -> AppTest:
    at = AppTest.from_file(APP, default_timeout=120)
    at.query_params["reader"] = reader
    at.query_params["study"] = str(study)
    at.run()
    at.switch_page("pages/agreement.py").run()
    assert not at.exception
    return at


def section(at: AppTest, name: str) -> AppTest:
    at.segmented_control(key=state.AGREEMENT_SECTION).set_value(name).run()
    assert not at.exception
    assert not at.error
    return at


def frames(at: AppTest) -> list[Any]:
    return [frame.value for frame in at.dataframe]


def said(at: AppTest) -> str:
    """Every text on the page."""
    kinds = (at.markdown, at.caption, at.info, at.warning, at.error, at.success, at.subheader)
    return "\n".join(element.value for kind in kinds for element in kind)


def material(study: records.StudyRecord) -> Material:
    with snapshot(store()) as db:
        return read_study(db, study, COORDINATOR)


def table_of(study: records.StudyRecord) -> RatingTable:
    """The ratings that count, picked from the records by a second way."""
    with snapshot(store()) as db:
        rows = records.study_readings(db, study.id)
        scores = records.model_scores(db, study.id)
    ratings = [
        Rating(
            row.case,
            row.reader,
            row.cellularity,
            row.patient,
            repeat=row.occasion,
            cannot_score=row.cannot_score_reason is not None,
            read_at=row.created_at,
        )
        for row in sorted(rows, key=lambda row: (study.readers.index(row.reader), row.case))
        if row.phase == "before" and not row.is_training
    ]
    ratings += [
        Rating(s.case, METHOD_NAMES[s.method], s.value, s.patient, "model")
        for s in sorted(scores, key=lambda s: list(METHOD_NAMES).index(s.method))
    ]
    return RatingTable.from_ratings(ratings)


def shown(statistic: Statistic) -> str:
    assert statistic.value is not None
    return f"{statistic.value:.2f} ({statistic.low:.2f} to {statistic.high:.2f})"
