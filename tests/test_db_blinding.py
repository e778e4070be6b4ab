"""Blinding: what a reader gets and when, and what the records remember of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from db_support import (
    BACKENDS,
    MODELS,
    commit,
    following,
    mark,
    open_database,
    opened,
    plan,
    read_all,
    sha,
)
from sqlalchemy import Engine

from db import records
from db.errors import RecordError
from db.session import snapshot, transaction


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with open_database(request.param, tmp_path) as engine:
        yield engine


def test_what_a_reader_gets_does_not_tell_a_repeat(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(db, n_cases=2, repeat_share=1.0)
        tasks = []
        for _ in range(4):
            task = following(db, made.id)
            commit(db, task, "Ana")
            tasks.append(task)
    for task in tasks:
        told = {name: getattr(task, name) for name in task.__slots__}
        assert set(told) == {
            *("id", "study_id", "phase", "is_training", "position", "total", "done"),
            *("sha256", "png", "width", "height", "mpp", "before"),
        }
        assert "C-0001" not in str(told) and "C-0002" not in str(told)
    assert len({task.id for task in tasks}) == 4
    assert len({task.sha256 for task in tasks}) == 2


def test_feedback_comes_after_the_own_training_score_only(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(db, n_training=1, show_feedback=True, arm="before-after")
        task = following(db, made.id)
        with pytest.raises(RecordError, match="before your own score is committed"):
            records.reveal(db, assignment_id=task.id, reader="Ana")
        commit(db, task, "Ana", 0.7)
        shown = records.reveal(db, assignment_id=task.id, reader="Ana")
    assert (shown.reference, shown.model_scores) == (0.5, {})


def test_a_closed_study_tells_nothing_of_a_patch_that_is_still_read(engine: Engine) -> None:
    with transaction(engine) as db:
        old = opened(db, readers=["Kim Weber"])
        commit(db, following(db, old.id, "Kim Weber"), "Kim Weber", 0.55)
        records.close_study(db, study_id=old.id, actor="C")
        new = opened(db, name="New", readers=["Ana"])
    for ask in (records.study_readings, records.model_scores):
        with pytest.raises(RecordError, match="New"), snapshot(engine) as db:
            ask(db, old.id, asking="ana")
    with transaction(engine) as db:
        assert records.study_readings(db, old.id, asking="Kim Weber")
        records.close_study(db, study_id=new.id, actor="C")
        assert records.study_readings(db, old.id, asking="ana")


def test_a_blinded_score_of_who_met_the_models_is_marked(engine: Engine) -> None:
    """By the records alone: the page of another session or day knows nothing of it."""
    with transaction(engine) as db:
        shown = opened(db, arm="before-after", n_cases=1, readers=["Ana"])
        commit(db, following(db, shown.id), "Ana", 0.3)
        commit(db, following(db, shown.id), "Ana", 0.4)
        records.close_study(db, study_id=shown.id, actor="C")
        again = opened(db, name="Again", n_cases=1, readers=["Ana", "Kim Weber"])
        marked = commit(db, following(db, again.id), "Ana", 0.4)
        blind = commit(db, following(db, again.id, "Kim Weber"), "Kim Weber", 0.4)
    assert (marked.phase, marked.seen_models) == ("before", True)
    assert (blind.phase, blind.seen_models) == ("before", False)


def test_nothing_of_models_or_peers_before_the_own_score(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(db, arm="before-after")
        read_all(db, made.id, "Kim Weber", 0.7654321)  # more digits than a moment has
        task = following(db, made.id)
        for reader, words in (
            ("Ana", "before your own score is committed"),
            ("Kim Weber", "has no read"),
        ):
            with pytest.raises(RecordError, match=words):
                records.reveal(db, assignment_id=task.id, reader=reader)
        with pytest.raises(RecordError, match="only once it is closed"):
            records.study_readings(db, made.id, asking="ana")
        with pytest.raises(RecordError, match="only once it is closed"):
            records.model_scores(db, made.id, asking="ANA")
        assert records.study_readings(db, made.id, asking="A coordinator")
        assert records.model_scores(db, made.id, asking="A coordinator")
        told = str(records.events(db, limit=999, asking="ana"))
        assert "0.7654321" not in told and "gbt" not in told and "C-0001" not in told
        assert "0.7654321" in str(records.events(db, limit=999, asking="A coordinator"))
        assert len(records.own_readings(db, study_id=made.id, reader="Ana")) == 0
        commit(db, task, "Ana", 0.1)
        shown = records.reveal(db, assignment_id=task.id, reader="Ana")
        assert set(shown.model_scores) == set(MODELS)
        assert "0.7654321" not in str(shown)
        records.close_study(db, study_id=made.id, actor="C")
        assert len(records.study_readings(db, made.id, asking="ana")) == 9
        assert "0.7654321" in str(records.events(db, limit=999, asking="ana"))


def test_a_study_before_ai_only_reveals_nothing_at_all(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(db)
        task = following(db, made.id)
        commit(db, task, "Ana")
        shown = records.reveal(db, assignment_id=task.id, reader="Ana")
    assert shown == records.Revealed({}, None)


def test_the_trail_proves_that_the_own_score_came_first(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(db, arm="before-after")
        task = following(db, made.id)
        commit(db, task, "Ana")
        for _ in range(3):
            records.reveal(db, assignment_id=task.id, reader="Ana")
        [seen] = records.events(db, limit=9, entity="reveal")
        [scored] = records.events(db, limit=9, entity="reading")
    assert (seen.actor, seen.entity_id, seen.new["methods"]) == ("Ana", task.id, sorted(MODELS))
    assert scored.sequence < seen.sequence
    assert scored.new["assignment_id"] == task.id


def test_patches_of_open_studies_are_locked_for_their_readers(engine: Engine) -> None:
    free = {
        "patch": "p",
        "width": 512,
        "height": 512,
        "mpp": 0.5,
        "seen_models": True,
        "software": "s",
        "cellularity": 0.5,
    }
    with transaction(engine) as db:
        draft = records.create_study(db, plan(n_cases=2), actor="C")
        assert records.locked_patches(db, reader="Ana") == []
        records.open_study(db, study_id=draft.id, actor="C")
        locked = [records.LockedPatch(sha(k), mark(k), 0.5, True) for k in range(2)]
        assert records.locked_patches(db, reader="ANA") == locked
        assert records.locked_patches(db, reader="Zoe") == []
        records.add_reading(db, sha256=sha(0), reader="Zoe", **free)
        with pytest.raises(RecordError, match="belongs to an open study"):
            records.add_reading(db, sha256=sha(0), reader="Ana", **free)
        records.close_study(db, study_id=draft.id, actor="C")
        assert records.locked_patches(db, reader="Ana") == []
        records.add_reading(db, sha256=sha(0), reader="Ana", **free)
