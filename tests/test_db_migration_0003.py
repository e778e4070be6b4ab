"""Revision 0003: records of the revision before get their pixel size, and the chain holds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from db_support import BACKENDS, MODELS, commit, empty_database, mark, new_case, opened, plan, sha
from migration_support import MOMENT, count_on, put, table
from sqlalchemy import Connection, Engine, func, select, text
from sqlalchemy.exc import IntegrityError

from db import records, session

GIVEN_MPP = 0.252600123
MPP = 0.2526


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Records at revision 0002, with a study half read."""
    with empty_database(request.param, tmp_path) as url:
        engine = session.connect(url)
        session.upgrade(engine, "0002")
        with engine.begin() as connection:
            fill_second_revision(connection)
        yield engine
        engine.dispose()


def fill_second_revision(connection: Connection) -> None:
    for number in (1, 2):
        patch = {"id": number, "sha256": sha(number), "name": f"{number}.png", "width": 512}
        patch |= {"height": 512, "mpp": GIVEN_MPP, "created_at": MOMENT, "phash": mark(number)}
        put(connection, "patch", patch)
    reader = {"id": 1, "name": "Ana", "key": "ana", "score_first": True, "created_at": MOMENT}
    put(connection, "reader", reader | {"role": "reader"})
    study = {"id": 1, "name": "Old", "description": "", "arm": "before", "seed": 1, "state": "open"}
    study |= {"repeat_share": 0.0, "washout_days": 0.0, "show_feedback": False}
    study |= {"model_set": "starter", "model_sha256": "f" * 64, "created_by": "Coordinator"}
    put(connection, "study", study | {"created_at": MOMENT})
    for number in (1, 2):
        case = {"id": number, "study_id": 1, "patch_id": number, "code": f"C-{number}"}
        put(connection, "case", case | {"patient": "P", "is_training": False})
    asked: list[tuple[str, Any]] = [
        ("assignment", {"id": n, "membership_id": 1, "case_id": n, "position": n - 1} | AI)
        for n in (1, 2)
    ]
    membership = {"id": 1, "study_id": 1, "reader_id": 1, "rank": 0}
    put(connection, "membership", membership, tuple(asked))
    given = {"reader_id": 1, "seen_models": False, "software": "s", "created_at": MOMENT}
    given |= {"cellularity": 0.3, "patch_id": 1}
    put(connection, "reading", given | {"id": 1, "assignment_id": 1, "phase": "before"})
    put(connection, "reading", given | {"id": 2, "phase": "free"})
    for number in (1, 2):
        score = {"id": number, "patch_id": number, "method": "gbt", "value": 0.4, "software": "s"}
        score |= {"model_set": "starter", "model_sha256": "f" * 64, "created_at": MOMENT}
        put(connection, "model_score", score)
    count_on(connection)


AI = {"occasion": 0, "arm": "ai"}


def noted(engine: Engine) -> records.Head:
    with session.snapshot(engine) as db:
        return records.head(db)


def test_records_of_the_revision_before_get_their_pixel_size(engine: Engine) -> None:
    before = noted(engine)
    session.upgrade(engine)
    with session.snapshot(engine) as db:
        verdict = records.verify(db, before)
        told = [e for e in records.events(db, limit=99) if e.actor == "migration 0003"]
        rows = records.study_readings(db, 1)
        scores = records.model_scores(db, 1)
        [free] = records.free_readings(db)
        cases = records.cases(db, 1)
    rows_now = 2 + 1 + 1 + 2 + 1 + 2 + 2
    later = 1  # migration 0005 tells of the study
    assert verdict == records.Verdict(True, None, None, before.sequence + 6 + later + rows_now)
    assert {(e.action, str(e.new)) for e in told} == {("add pixel size", str({"mpp": MPP}))}
    assert sorted((e.entity, e.entity_id) for e in told) == [
        (name, number) for name in ("case", "model_score", "reading") for number in (1, 2)
    ]
    assert [case.mpp for case in cases] == [MPP, MPP]
    assert [(row.case, row.cellularity, row.mpp) for row in rows] == [("C-1", 0.3, MPP)]
    assert [(score.case, score.value, score.mpp) for score in scores] == [
        ("C-1", 0.4, MPP),
        ("C-2", 0.4, MPP),
    ]
    assert (free.cellularity, free.mpp) == (0.3, MPP)


def test_the_study_goes_on_after_the_upgrade(engine: Engine) -> None:
    session.upgrade(engine)
    with session.transaction(engine) as db:
        db.execute(
            text("INSERT INTO image (patch_id, png) VALUES (2, :png)"), {"png": new_case(2).png}
        )
        task = records.next_assignment(db, study_id=1, reader="Ana")
        assert isinstance(task, records.AssignmentRecord)
        assert (task.sha256, task.mpp) == (sha(2), MPP)
        commit(db, task, "Ana", 0.7)
        assert records.study_readings(db, 1)[-1].mpp == MPP
        verdict = records.verify(db)
    assert verdict.first_bad == "image 2"  # which this test put in past the software


def test_references_hold_after_tables_were_replaced(engine: Engine) -> None:
    session.upgrade(engine)
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
    for statement in (
        'DELETE FROM "case" WHERE id = 1',
        "INSERT INTO consensus (case_id, cellularity, reason, by, created_at) "
        "VALUES (99, 0.5, 'r', 'C', '2026-01-01')",
    ):
        with pytest.raises(IntegrityError), engine.begin() as connection:
            connection.execute(text(statement))


@pytest.mark.parametrize(
    ("name", "change"),
    [("case", "reference = 0.9"), ("reading", "cellularity = 0.9"), ("model_score", "value = 0.9")],
)
def test_what_was_altered_before_the_upgrade_is_found_after_it(
    engine: Engine, name: str, change: str
) -> None:
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text(f'ALTER TABLE "{name}" DISABLE TRIGGER USER'))
        else:
            connection.execute(text(f"DROP TRIGGER IF EXISTS {name}_no_update"))
        connection.execute(text(f'UPDATE "{name}" SET {change} WHERE id = 2'))
    session.upgrade(engine)
    with session.snapshot(engine) as db:
        verdict = records.verify(db)
    assert (verdict.ok, verdict.first_bad, verdict.why) == (False, f"{name} 2", "was altered")


def test_there_and_back_and_there_again(engine: Engine) -> None:
    """Going back drops scores at another size, and tells it."""
    session.upgrade(engine)
    with session.transaction(engine) as db:
        records.close_study(db, study_id=1, actor="C")
        turned = tuple(mark(number) for number in range(8))
        cases = [new_case(9, turned=turned), new_case(1, mpp=1.0)]
        new = opened(db, name="New", readers=["Ana"], cases=cases)
        before = records.head(db)
    session.downgrade(engine, "0002")
    with engine.connect() as connection:
        score = table(connection, "model_score")
        [n_scores] = connection.execute(select(func.count()).select_from(score)).one()
    assert n_scores == 2 + len(MODELS)  # those of patch 1 at 1 um/px are gone
    session.upgrade(engine)
    with session.snapshot(engine) as db:
        assert records.verify(db, before).ok
        removed = [e for e in records.events(db, limit=999) if e.action == "remove"]
        sizes = {case.sha256: case.mpp for case in records.cases(db, new.id)}
    assert [e.entity for e in removed] == ["model_score"] * len(MODELS)
    assert sizes == {sha(9): 0.5, sha(1): MPP}
    with session.transaction(engine) as db:
        records.create_study(db, plan(name="Last", readers=["Zoe"]), actor="C")
