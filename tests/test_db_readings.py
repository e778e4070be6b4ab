"""Reads of a study: what comes next, commits, amendments."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from db_support import (
    BACKENDS,
    commit,
    following,
    open_database,
    opened,
    read_all,
)
from sqlalchemy import Engine, select

from db import records
from db.errors import RecordError
from db.schema import Reading, utcnow
from db.session import transaction


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with open_database(request.param, tmp_path) as engine:
        yield engine


@pytest.mark.parametrize("arm", ["before-after", "before-after with control"])
def test_the_second_score_follows_directly(engine: Engine, arm: records.Design) -> None:
    with transaction(engine) as db:
        made = opened(db, n_cases=6, n_training=1, arm=arm)
        training = following(db, made.id)
        commit(db, training, "Ana", 0.5)
        shown = []
        for _ in range(6):
            task = following(db, made.id)
            assert (task.phase, task.before, task.is_training) == ("before", None, False)
            commit(db, task, "Ana", 0.2)
            second = following(db, made.id)
            assert (second.id, second.before, second.position) == (task.id, 0.2, task.position)
            shown.append(second.phase)
            if second.phase == "after":
                models = records.reveal(db, assignment_id=task.id, reader="Ana").model_scores
                assert {name: s.value for name, s in models.items()} == {"gbt": 0.4, "cascade": 0.6}
            else:
                assert records.reveal(db, assignment_id=task.id, reader="Ana").model_scores == {}
            commit(db, second, "Ana", 0.25)
        assert records.next_assignment(db, study_id=made.id, reader="Ana") is None
        rows = records.study_readings(db, made.id)
    assert sorted(shown) == ["after"] * (3 if "control" in arm else 6) + ["control"] * (
        3 if "control" in arm else 0
    )
    assert [row.phase for row in rows[1:3]] == ["before", shown[0]]
    assert {row.arm for row in rows if row.phase == "control"} <= {"control"}
    assert {(row.phase, row.cellularity) for row in rows[1:]} == {
        ("before", 0.2),
        *((phase, 0.25) for phase in shown),
    }


def test_a_repeat_waits_for_its_wash_out(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(db, n_cases=3, repeat_share=0.5, washout_days=14)
        assert read_all(db, made.id, "Ana") == 3
        rows = records.study_readings(db, made.id)
        waiting = records.next_assignment(db, study_id=made.id, reader="Ana")
        assert isinstance(waiting, records.Waiting)
        later = utcnow() + timedelta(days=14, minutes=1)
        task = records.next_assignment(db, study_id=made.id, reader="Ana", now=later)
        assert isinstance(task, records.AssignmentRecord)
        by_code = {case.sha256: case.code for case in records.cases(db, made.id)}
        first = next(row for row in rows if row.case == by_code[task.sha256])
        assert waiting.until == first.created_at + timedelta(days=14)
    with (
        pytest.raises(RecordError, match="not the read that comes next"),
        transaction(engine) as db,
    ):
        commit(db, task, "Ana")
    with transaction(engine) as db:
        commit(db, task, "Ana", 0.35, now=later)
        last = records.study_readings(db, made.id)[-1]
    assert (last.occasion, last.case, last.cellularity) == (1, first.case, 0.35)


@pytest.mark.parametrize(
    ("scores", "is_qualified"), [((0.4, 0.6), True), ((0.4, 0.61), False), ((0.5, None), False)]
)
def test_below_the_proficiency_line_a_reader_does_not_go_on(
    engine: Engine, scores: tuple[float | None, ...], is_qualified: bool
) -> None:
    with transaction(engine) as db:
        made = opened(db, n_training=2, proficiency=0.1)
        for score in scores:
            commit(db, following(db, made.id), "Ana", score)
        step = records.next_assignment(db, study_id=made.id, reader="Ana")
        _, ana = records.progress(db, made.id)
    assert ana.qualified is is_qualified
    assert ana.training_error == pytest.approx(
        sum(0.5 if score is None else abs(score - 0.5) for score in scores) / 2
    )
    if is_qualified:
        assert isinstance(step, records.AssignmentRecord)
    else:
        assert step == records.NotQualified(ana.training_error, 0.1)


def test_the_same_answer_commits_once_and_another_never_passes_for_it(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(db)
        task = following(db, made.id)
    with transaction(engine) as db:
        first = commit(db, task, "Ana", 0.3, token="t")
    with transaction(engine) as db:
        again = commit(db, task, "Ana", 0.3, token="t")
        assert again == first
        assert db.scalars(select(Reading.cellularity)).all() == [0.3]
    for token, words in (("t", "stays"), ("other", "committed already"), ("", "token")):
        with pytest.raises(RecordError, match=words), transaction(engine) as db:
            commit(db, task, "Ana", 0.9, token=token)
    with transaction(engine) as db:
        second = following(db, made.id)
    with pytest.raises(RecordError, match="token was used"), transaction(engine) as db:
        commit(db, second, "Ana", 0.9, token="t")


def test_only_what_comes_next_can_be_committed(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(db, arm="before-after")
        mine, kims = following(db, made.id), following(db, made.id, "Kim Weber")
    refused = [
        (mine, "Kim Weber", {}, "is not Kim Weber's"),
        (kims, "Ana", {}, "is not Ana's"),
        (mine, "Ana", {"phase": "after"}, "not the read that comes next"),
        (mine, "Ana", {"phase": "control"}, "not the read that comes next"),
        (mine, "Ana", {"assignment_id": mine.id + 1}, "not the read that comes next"),
        (mine, "Ana", {"assignment_id": 10**6}, "no read"),
        (mine, "Nobody", {}, "No reader is called"),
        (mine, "Ana", {"cellularity": 1.2}, "between 0 and 1"),
        (mine, "Ana", {"cellularity": float("nan")}, "between 0 and 1"),
        (mine, "Ana", {"cellularity": None}, "either a cellularity or the reason"),
        (mine, "Ana", {"cannot_score_reason": "fold"}, "either a cellularity or the reason"),
        (mine, "Ana", {"cellularity": None, "cannot_score_reason": " "}, "needs its reason"),
        (mine, "Ana", {"confidence": 6}, "give 1 to 5"),
        (mine, "Ana", {"seconds": -1.0}, "0 or more"),
    ]
    for task, reader, changes, words in refused:
        with pytest.raises(RecordError, match=words), transaction(engine) as db:
            commit(db, task, reader, **changes)
    with transaction(engine) as db:
        assert records.study_readings(db, made.id) == []
        commit(db, mine, "Ana", None)
        [row] = records.study_readings(db, made.id)
    assert (row.cellularity, row.cannot_score_reason) == (None, "out of focus")


def test_an_amendment_never_replaces_the_score(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(db)
        kept = commit(db, following(db, made.id), "Ana", 0.3)
        records.amend(
            db,
            reading_id=kept.id,
            reader="Ana",
            cellularity=0.8,
            cannot_score_reason=None,
            why="slipped",
        )
    for reader, why, words in (
        ("Kim Weber", "x", "has no reading"),
        ("Ana", " ", "needs its reason"),
    ):
        with pytest.raises(RecordError, match=words), transaction(engine) as db:
            records.amend(
                db,
                reading_id=kept.id,
                reader=reader,
                cellularity=0.1,
                cannot_score_reason=None,
                why=why,
            )
    with transaction(engine) as db:
        [row] = records.study_readings(db, made.id)
        [amendment] = records.amendments(db, made.id)
        [own] = records.own_readings(db, study_id=made.id, reader="Ana")
    assert (row.cellularity, row.amended) == (0.3, True)
    assert (amendment.cellularity, amendment.why, amendment.reading_id) == (0.8, "slipped", kept.id)
    assert own == kept
