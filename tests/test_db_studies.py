"""Studies: plans, orders, what comes next, commits, amendments, blinding."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from db_support import (
    BACKENDS,
    commit,
    open_database,
    opened,
)
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from db import records
from db.session import snapshot, transaction


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with open_database(request.param, tmp_path) as engine:
        yield engine


def following(db: Session, study_id: int, reader: str = "Ana") -> records.AssignmentRecord:
    task = records.next_assignment(db, study_id=study_id, reader=reader)
    assert isinstance(task, records.AssignmentRecord)
    return task


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
