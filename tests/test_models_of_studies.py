"""A study keeps the models that it was made with."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from models_support import (
    active,
    app,
    make_other,
    make_set,
    own_models,
    put_in_use,
    scored_by,
    study_form,
    words,
)

from cellularity_core.errors import ModelError
from cellularity_core.export import scored_with
from cellularity_core.model_store import open_set
from db import records
from db.session import snapshot, transaction
from pages.parts import scoring, state
from pages.parts.access import Identity
from pages.parts.desk import Task
from pages.parts.reading import next_task
from pages.parts.store import store
from pages.parts.words import METHOD_NAMES


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with own_models(tmp_path, monkeypatch):
        yield


@pytest.fixture
def other(tmp_path: Path) -> str:
    return make_other(tmp_path)


def only_study() -> records.StudyRecord:
    with snapshot(store()) as db:
        [study] = records.studies(db)
    return study


def commit_before(study: records.StudyRecord) -> records.AssignmentRecord:
    """The first blinded score of the study."""
    with transaction(store()) as db:
        step = records.next_assignment(db, study_id=study.id, reader="Mae")
        assert isinstance(step, records.AssignmentRecord)
        records.commit_reading(
            db,
            assignment_id=step.id,
            reader="Mae",
            phase="before",
            cellularity=0.3,
            cannot_score_reason=None,
            confidence=None,
            seconds=1.0,
            seen_models=False,
            software="test",
            token="t",
        )
    return step


def test_an_open_study_keeps_the_models_it_was_made_with(other: str) -> None:
    first = scored_by("breast-1")
    at = study_form()
    at.button(key=state.STUDY_CREATE).click().run()
    assert not at.exception
    study = only_study()
    assert (study.state, study.model_set) == ("open", "breast-1")
    assert study.software == scored_with(first)
    put_in_use(other, reader="Ada")
    assert active().name == other
    study = only_study()
    assert (study.model_set, study.model_sha256) == ("breast-1", open_set("breast-1").sha256)
    step = commit_before(study)
    with transaction(store()) as db:
        shown = records.reveal(db, assignment_id=step.id, reader="Mae").model_scores
    assert {m: (s.value, s.low, s.high) for m, s in shown.items()} == {
        m: (s.value, s.low, s.high) for m, s in first.scores.items()
    }
    assert {(s.model_set, s.model_sha256) for s in shown.values()} == {
        ("breast-1", open_set("breast-1").sha256)
    }
    at = app("models", reader="Ada")
    at.selectbox(key=state.CARD_OF).set_value("breast-1").run()
    assert "The study that is running keeps the set it was made with." in words(at)


def test_the_models_beside_a_second_read_say_whose_scale_they_are_on(tmp_path: Path) -> None:
    """That of the study's own set, though another is in use; or that nobody knows it."""

    def of_kim(manifest: dict[str, Any]) -> None:
        manifest |= {"recalibrated_from": {"name": "breast-1"}, "scale": "Dr Kim's"}

    make_set(tmp_path, "kim", of_kim)
    put_in_use("kim", reader="Ada")
    study_form().button(key=state.STUDY_CREATE).click().run()
    put_in_use("breast-1", reader="Ada")
    study = only_study()
    commit_before(study)

    def question() -> str:
        task = next_task(study, Identity("Mae", "reader", False, None))
        assert isinstance(task, Task)
        assert task.phase == "after"
        assert [name for name, _ in task.beside] == list(METHOD_NAMES.values())
        return task.question

    assert question().endswith(" (The models' scale: Dr Kim's.)")
    (tmp_path / "models" / "kim").rename(tmp_path / "gone")
    assert "(The models' scale: not known: the model set “kim” that gave" in question()


def test_a_set_that_breaks_behind_the_form_is_said_before_a_study_is_made(
    tmp_path: Path, other: str
) -> None:
    put_in_use(other, reader="Ada")
    at = study_form()
    (tmp_path / "models" / other).rename(tmp_path / "gone")
    at.button(key=state.STUDY_CREATE).click().run()
    told = words(at)
    assert "No study was created yet: the models that this form showed cannot be used any" in told
    assert "was put in use" not in told
    at.button(key=state.STUDY_CREATE).click().run()
    assert only_study().model_set == "breast-1"


def test_a_new_study_takes_the_set_in_use(other: str) -> None:
    put_in_use(other, reader="Ada")
    at = study_form()
    at.button(key=state.STUDY_CREATE).click().run()
    assert only_study().model_set == other


def test_a_switch_behind_the_form_is_said_before_a_study_is_made(other: str) -> None:
    at = study_form()
    put_in_use(other, reader="Ada")
    at.button(key=state.STUDY_CREATE).click().run()
    with snapshot(store()) as db:
        assert records.studies(db) == []
    assert "No study was created yet: “other” was put in use" in words(at)
    at.button(key=state.STUDY_CREATE).click().run()
    assert only_study().model_set == other


def test_no_set_at_all_is_an_error_in_words(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("CELLULARITY_MODELS", str(tmp_path))
    with pytest.raises(ModelError, match="There are no models"):
        scoring.active_set()
