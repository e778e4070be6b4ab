"""What the page Read shows next, and keeps of what the desk sends."""

from collections import UserDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from db_support import open_database, opened
from sqlalchemy import Engine

from db import records
from db.session import snapshot, transaction
from pages.parts import reading
from pages.parts.access import Identity
from pages.parts.desk import Given, Task

ANA = Identity("Ana", "reader", False, None)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> "Use":
    return Use(monkeypatch)


class Use:
    """The page's parts in the hands of Ana, on the records that are asked for."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch
        patch.setattr(reading.st, "session_state", {})
        patch.setattr(reading.access, "allow", lambda _: ANA)

    def study_of(self, engine: Engine) -> records.StudyRecord:
        """The only study of `engine`, which is used from now on."""
        self.patch.setattr(reading, "store", lambda: engine)
        with snapshot(engine) as db:
            [study] = records.studies(db)
        return study

    def commit(self, study: records.StudyRecord, task: Task, value: int = 30) -> None:
        """What happens when Enter is pressed on the desk that shows `task`."""
        sent = Given(task.token, task.assignment, task.phase, task.mode, value, None, None, 1.0)
        self.patch.setattr(reading, "given", lambda _: sent)
        reading.take(study)


class BrokenOff(BaseException):
    """As Streamlit breaks off a run for the next one."""


class Session(UserDict[str, Any]):
    """A session's state, which breaks the run off once another one waits."""

    waits = False

    def look(self) -> None:
        if self.waits:
            raise BrokenOff

    def __getitem__(self, key: str) -> Any:
        self.look()
        return super().__getitem__(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self.look()
        super().__setitem__(key, value)

    def __contains__(self, key: object) -> bool:
        self.look()
        return super().__contains__(key)


def shown(study: records.StudyRecord) -> Task:
    task = reading.next_task(study, ANA)
    assert isinstance(task, Task)
    return task


def kept(engine: Engine, study: records.StudyRecord) -> list[float | None]:
    with snapshot(engine) as db:
        mine = records.own_readings(db, study_id=study.id, reader="Ana")
    return [r.cellularity for r in mine]


def test_a_read_is_known_by_its_token_in_whatever_records(use: Use, tmp_path: Path) -> None:
    """The same numbers elsewhere are another read: a score half given stays where it was."""
    numbers: set[int] = set()
    tokens: list[str] = []
    for folder in (tmp_path / "demo", tmp_path / "trial"):
        folder.mkdir()
        with open_database("sqlite", folder) as engine:
            with transaction(engine) as db:
                opened(db)
            study = use.study_of(engine)
            task = shown(study)
            assert task.token == shown(study).token
            numbers.add(task.assignment)
            tokens += [task.token]
            other = reading.next_task(study, Identity("Kim Weber", "reader", False, None))
            assert isinstance(other, Task)
            tokens += [other.token]
            use.commit(study, task)
            tokens += [shown(study).token]
            assert kept(engine, study) == [0.3]
    assert (len(numbers), len(set(tokens))) == (1, 6)


def test_a_score_of_other_records_is_refused(use: Use, tmp_path: Path) -> None:
    with open_database("sqlite", tmp_path) as engine:
        with transaction(engine) as db:
            opened(db, show_feedback=True, n_training=1)
        study = use.study_of(engine)
        task = shown(study)
        use.commit(study, replace(task, token="0" * 16))
        assert kept(engine, study) == []
        assert "given to another patch" in shown(study).error
        use.commit(study, task)
        assert kept(engine, study) == [0.3]
        answer = shown(study)
        assert (answer.mode, answer.token) == ("feedback", f"{task.token}.answer")


def test_a_repeat_cannot_be_told_by_its_token(use: Use, tmp_path: Path) -> None:
    with open_database("sqlite", tmp_path) as engine:
        with transaction(engine) as db:
            opened(db, n_cases=2, repeat_share=0.5)
        study = use.study_of(engine)
        seen: dict[str, list[str]] = {}
        while isinstance(task := reading.next_task(study, ANA), Task):
            seen.setdefault(task.png.hex(), []).append(task.token)
            use.commit(study, task)
        assert sorted(map(len, seen.values())) == [1, 2]
        assert len({token for tokens in seen.values() for token in tokens}) == 3


def test_a_click_while_a_score_is_being_kept_does_not_undo_it(
    use: Use, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session()
    monkeypatch.setattr(reading.st, "session_state", session)

    @contextmanager
    def clicked(engine: Engine) -> Iterator[Any]:
        session.waits = True
        with transaction(engine) as db:
            yield db

    with open_database("sqlite", tmp_path) as engine:
        with transaction(engine) as db:
            opened(db, show_feedback=True, n_training=1)
        study = use.study_of(engine)
        task = shown(study)
        monkeypatch.setattr(reading, "transaction", clicked)
        use.commit(study, task)
        monkeypatch.setattr(reading, "transaction", transaction)
        session.waits = False
        assert kept(engine, study) == [0.3]
        answer = shown(study)
        assert answer.mode == "feedback"
        assert (answer.kept, answer.saved[:8]) == (task.token, "Saved at")


def test_a_commit_that_comes_after_the_page_was_left_is_told(use: Use, tmp_path: Path) -> None:
    """Streamlit forgets what a page's elements hold once it is left: it is no fault of the app."""
    with open_database("sqlite", tmp_path) as engine:
        with transaction(engine) as db:
            opened(db)
        study = use.study_of(engine)
        reading.take(study)
        assert kept(engine, study) == []
        assert "Nothing was sent" in shown(study).error
