"""Studies: plans, joining, opening, closing; one study at a time for a patch."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from db_support import (
    BACKENDS,
    MODELS,
    commit,
    following,
    new_case,
    open_database,
    opened,
    plan,
    sha,
)
from sqlalchemy import Engine, select

from db import records
from db.errors import RecordError
from db.schema import AuditEvent
from db.session import snapshot, transaction


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with open_database(request.param, tmp_path) as engine:
        yield engine


def test_a_study_is_read_from_the_first_case_to_the_last(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(db, n_cases=4, n_training=2)
    assert (made.state, made.n_cases, made.n_training) == ("open", 4, 2)
    assert made.readers == ("Kim Weber", "Ana")
    seen = []
    for k in range(6):
        with transaction(engine) as db:  # a new session each time: a closed tab
            task = following(db, made.id)
            assert following(db, made.id) == task
            assert (task.position, task.total, task.done, task.phase) == (k, 6, k, "before")
            assert task.is_training == (k < 2)
            assert records.image(db, sha256=task.sha256) is not None
            commit(db, task, "ana", k / 10)
            seen.append(task.sha256)
    with snapshot(engine) as db:
        assert records.next_assignment(db, study_id=made.id, reader="Ana") is None
        rows = records.study_readings(db, made.id)
        cases = {case.code: case.sha256 for case in records.cases(db, made.id)}
        kim, ana = records.progress(db, made.id)
    assert [cases[row.case] for row in rows] == seen
    assert [row.cellularity for row in rows] == [k / 10 for k in range(6)]
    assert {(row.reader, row.phase, row.occasion, row.amended) for row in rows} == {
        ("Ana", "before", 0, False)
    }
    assert (kim.done, kim.total, kim.training_error) == (0, 6, None)
    assert (ana.done, ana.training_done, ana.qualified) == (6, 2, None)
    assert ana.training_error == pytest.approx(0.45)  # |0 - 0.5| and |0.1 - 0.5|


def test_a_study_is_read_while_it_is_open(engine: Engine) -> None:
    with transaction(engine) as db:
        made = records.create_study(db, plan(), actor="C")
    for words, move in (
        ("is draft", None),
        ("cannot become open", records.close_study),
    ):
        if move:
            with transaction(engine) as db:
                move(db, study_id=made.id, actor="C")
            with pytest.raises(RecordError, match=words), transaction(engine) as db:
                records.open_study(db, study_id=made.id, actor="C")
            with pytest.raises(RecordError, match="nobody can join"), transaction(engine) as db:
                records.add_reader_to_study(db, study_id=made.id, reader="Zoe", actor="C")
        with pytest.raises(RecordError, match="nothing to read"), transaction(engine) as db:
            records.next_assignment(db, study_id=made.id, reader="Ana")
    with transaction(engine) as db:
        records.enrol(db, name="Zoe")
    with pytest.raises(RecordError, match="takes no part"), transaction(engine) as db:
        records.next_assignment(db, study_id=made.id, reader="Zoe")
    with pytest.raises(RecordError, match="no study 99"), transaction(engine) as db:
        records.study(db, 99)


def test_closing_keeps_what_was_read_and_ends_the_reading(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(db)
        task = following(db, made.id)
        commit(db, task, "Ana")
        late = following(db, made.id)
        closed = records.close_study(db, study_id=made.id, actor="C")
    assert closed.state == "closed"
    with pytest.raises(RecordError, match="is closed"), transaction(engine) as db:
        commit(db, late, "Ana")
    with transaction(engine) as db:
        assert len(records.study_readings(db, made.id)) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": " "}, "name needs 1 to 120"),
        ({"arm": "after"}, "no design"),
        ({"repeat_share": 1.1}, "share of repeats"),
        ({"washout_days": -1.0}, "wash-out"),
        ({"proficiency": 2.0}, "proficiency line"),
        ({"proficiency": 0.1}, "needs training cases"),
        ({"seed": 2**31}, "does not fit"),
        ({"cases": []}, "at least one case"),
        ({"cases": [new_case(1), new_case(1)]}, "same pixels"),
        ({"cases": [new_case(1), new_case(2, is_training=True)]}, "has no reference"),
        ({"cases": [new_case(1, reference=1.5)]}, "must lie between 0 and 1"),
        ({"cases": [new_case(1, png=b"GIF89a")]}, "must be given as PNG"),
        ({"arm": "before-after", "model_set": None}, "Choose a model set"),
    ],
)
def test_a_plan_that_does_not_hold_together_is_refused(
    engine: Engine, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(RecordError, match=words), transaction(engine) as db:
        records.create_study(db, plan(**changes), actor="C")
    with transaction(engine) as db:
        assert records.studies(db) == []
        assert records.head(db).sequence == 0


def test_two_studies_share_patches_but_not_names(engine: Engine) -> None:
    with transaction(engine) as db:
        one = records.create_study(db, plan(), actor="C")
        two = records.create_study(db, plan(name="Other", readers=["Zoe"]), actor="C")
        assert [s.id for s in records.studies(db)] == [two.id, one.id]
        assert [s.id for s in records.studies(db, reader="kim weber")] == [one.id]
    with pytest.raises(RecordError, match="already"), transaction(engine) as db:
        records.create_study(db, plan(name=" Other "), actor="C")


def test_a_patch_is_read_in_one_study_at_a_time(engine: Engine) -> None:
    with transaction(engine) as db:
        one = opened(db)
    again = plan(name="Again", readers=["Ana"])
    with pytest.raises(RecordError, match="is reading some of these"), transaction(engine) as db:
        records.create_study(db, again, actor="C")
    with transaction(engine) as db:
        records.close_study(db, study_id=one.id, actor="C")
        records.create_study(db, again, actor="C")


def test_a_study_takes_a_known_patch_at_its_own_pixel_size(engine: Engine) -> None:
    """Cases, readings and the models' scores of each study are of that study's size."""
    with transaction(engine) as db:
        old = opened(db, n_cases=1, readers=["Ana"])
        commit(db, following(db, old.id), "Ana", 0.3)
        records.close_study(db, study_id=old.id, actor="C")
        new = records.create_study(
            db, plan(name="New", cases=[new_case(0, mpp=0.25)], readers=["Ana"]), actor="C"
        )
        assert records.model_scores(db, new.id) == []  # those at 0.5 um/px are no answer
        records.keep_model_scores(
            db,
            sha256=sha(0),
            mpp=0.25,
            scores={"gbt": (0.8, 0.7, 0.9)},
            model_set="starter",
            model_sha256="f" * 64,
            software="cellularity 1.0",
        )
        records.open_study(db, study_id=new.id, actor="C")
        task = following(db, new.id)
        commit(db, task, "Ana", 0.9)
        found = {
            study.id: (
                [case.mpp for case in records.cases(db, study.id)],
                [(row.mpp, row.cellularity) for row in records.study_readings(db, study.id)],
                {(s.method, s.mpp, s.value) for s in records.model_scores(db, study.id)},
            )
            for study in (old, new)
        }
        assert records.verify(db).ok
    assert task.mpp == 0.25
    assert found == {
        old.id: ([0.5], [(0.5, 0.3)], {("gbt", 0.5, 0.4), ("cascade", 0.5, 0.6)}),
        new.id: ([0.25], [(0.25, 0.9)], {("gbt", 0.25, 0.8)}),
    }


def test_models_shown_after_the_own_score_are_of_the_cases_size(engine: Engine) -> None:
    with transaction(engine) as db:
        cases = [new_case(0, mpp=0.25)]
        made = opened(db, arm="before-after", readers=["Ana"], cases=cases)
        records.keep_model_scores(
            db,
            sha256=sha(0),
            mpp=0.5,
            scores={"gbt": (0.99, 0.9, 1.0), "direct-r": (0.99, 0.9, 1.0)},
            model_set="starter",
            model_sha256="f" * 64,
            software="cellularity 1.0",
        )
        task = following(db, made.id)
        commit(db, task, "Ana", 0.3)
        shown = records.reveal(db, assignment_id=task.id, reader="Ana").model_scores
    assert {name: (s.value, s.low, s.high) for name, s in shown.items()} == MODELS


@pytest.mark.parametrize("mpp", [0.0, -0.5, float("nan"), float("inf")])
def test_a_pixel_size_that_is_none_is_refused(engine: Engine, mpp: float) -> None:
    with pytest.raises(RecordError, match="give one above 0"), transaction(engine) as db:
        records.create_study(db, plan(cases=[new_case(0, mpp=mpp)]), actor="C")


def test_every_write_has_its_event(engine: Engine) -> None:
    """Each call that changes a row is told in the trail, by who did it."""
    with transaction(engine) as db:
        made = opened(db, n_cases=1, readers=["Ana"], arm="before-after")
        task = following(db, made.id)
        kept = commit(db, task, "Ana")
        records.amend(
            db,
            reading_id=kept.id,
            reader="Ana",
            cellularity=0.5,
            cannot_score_reason=None,
            why="w",
        )
        records.set_role(db, name="Ana", role="coordinator", actor="Admin")
        records.keep_score_first(db, name="Ana", score_first=True)
        records.close_study(db, study_id=made.id, actor="C")
        [case] = records.cases(db, made.id)
        records.keep_consensus(db, case_id=case.id, cellularity=0.5, reason="r", by="C")
        told = [
            (e.entity, e.action, e.actor)
            for e in reversed(list(db.scalars(select(AuditEvent).order_by(-AuditEvent.sequence))))
        ]
    assert told == [
        ("study", "create", "Coordinator"),
        ("patch", "remember", "Coordinator"),
        ("image", "keep image", "Coordinator"),
        ("case", "add", "Coordinator"),
        ("reader", "enrol", "Coordinator"),
        ("membership", "add", "Coordinator"),
        ("model_score", "score", "cellularity 1.0"),
        ("model_score", "score", "cellularity 1.0"),
        ("study", "open", "Coordinator"),
        ("reading", "score", "Ana"),
        ("amendment", "amend", "Ana"),
        ("reader", "set role", "Admin"),
        ("reader", "choose score first", "Ana"),
        ("study", "close", "C"),
        ("consensus", "agree", "C"),
    ]
