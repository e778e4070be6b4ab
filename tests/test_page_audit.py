"""The page Audit: what was done is told, and an altered row is found."""

import sqlite3
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from db import records
from db.session import open_records, transaction

APP = str(Path(__file__).parent.parent / "app.py")


@pytest.fixture
def database(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "audit.db"
    monkeypatch.setenv("CELLULARITY_DB", str(path))
    st.cache_resource.clear()
    engine = open_records(str(path))
    with transaction(engine) as db:
        for score in (0.25, 0.75):
            records.add_reading(
                db,
                sha256="a" * 64,
                patch="p.png",
                width=9,
                height=9,
                mpp=0.5,
                reader="Kim",
                cellularity=score,
                seen_models=False,
                software="test",
            )
    engine.dispose()
    yield path
    st.cache_resource.clear()


def opened() -> AppTest:
    at = AppTest.from_file(APP, default_timeout=60)
    at.query_params["reader"] = "Kim"
    at.run()
    at.switch_page("pages/audit.py").run()
    assert not at.exception
    return at


def test_events_are_told_newest_first(database):
    table = opened().dataframe[0].value
    assert list(table["No."]) == sorted(table["No."], reverse=True)
    assert list(table["What"])[:2] == ["score reading 2", "score reading 1"]
    assert any("0.75" in text for text in table["After"])
    assert set(table["Who"]) == {"Kim"}


def test_what_is_untouched_passes(database):
    at = opened()
    at.button(key="audit.verify").click().run()
    assert "Nothing was altered" in at.success[0].value


def test_an_altered_score_is_found(database):
    with sqlite3.connect(database) as raw:
        for (name,) in raw.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'reading'"
        ).fetchall():
            raw.execute(f"DROP TRIGGER {name}")
        raw.execute("UPDATE reading SET cellularity = 0.5 WHERE id = 1")
    raw.close()
    at = opened()
    at.button(key="audit.verify").click().run()
    assert "reading 1" in at.error[0].value
