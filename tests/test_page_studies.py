"""The page Studies acts on what stands on it when a button is pressed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from db_support import opened
from models_support import app, own_models, study_form, words

from db import records
from db.session import snapshot, transaction
from pages.parts import state
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


def test_a_number_beyond_its_limits_makes_no_study() -> None:
    """The browser would keep it back, and make the study with the one typed before."""
    at = study_form()
    for key, wrong, right, told in (
        ("studies.washout", 400, 21, "The wash-out is 400: make it 0 to 365 days."),
        ("studies.seed", -1, 7, "The seed is -1: make it 0 to 2147483647."),
    ):
        at.number_input(key=key).set_value(wrong).run()
        assert told in words(at) and at.button(key=state.STUDY_CREATE).disabled
        at.number_input(key=key).set_value(right).run()
        assert not at.button(key=state.STUDY_CREATE).disabled
