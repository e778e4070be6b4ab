"""The page Studies acts on what stands on it when a button is pressed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from db_support import opened
from models_support import app, own_models, words

from db import records
from db.session import snapshot, transaction
from pages.parts.store import store


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with own_models(tmp_path, monkeypatch):
        yield


def test_who_joins_is_whom_the_box_names_at_the_click() -> None:
    """Not whom it named when the button was drawn, as one click sends both."""
    with transaction(store()) as db:
        study = opened(db, readers=("Ana",))
        for name in ("Kim", "Mae"):
            records.enrol(db, name=name)
    at = app("studies", reader="Coord")
    box, button = f"studies.add.{study.id}", f"studies.add.{study.id}.button"
    at.selectbox(key=box).set_value("Kim").run()
    at.selectbox(key=box).set_value("Mae")
    at.button(key=button).click().run()
    assert not at.exception
    with snapshot(store()) as db:
        assert list(records.studies(db)[0].readers) == ["Ana", "Mae"]
    assert at.selectbox(key=box).value is None and "Mae" not in at.selectbox(key=box).options

    at.selectbox(key=box).set_value("Kim").run()
    at.selectbox(key=box).set_value(None)
    at.button(key=button).click().run()
    assert "Nobody was added: choose a reader first." in words(at)
    with snapshot(store()) as db:
        assert len(records.studies(db)[0].readers) == 2
