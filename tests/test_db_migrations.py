"""Migrations on both databases: records of earlier revisions, triggers after each step."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from db_support import BACKENDS, empty_database, opened, read_all, sha
from migration_support import MOMENT, fill_first_revision
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from db import records, session
from db.errors import RecordError
from db.schema import Base


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with empty_database(request.param, tmp_path) as url:
        engine = session.connect(url)
        yield engine
        engine.dispose()


def revisions(engine: Engine) -> list[str]:
    """From the first to the last."""
    with engine.connect() as connection:
        script = ScriptDirectory.from_config(session.migrations(connection))
    return [step.revision for step in script.walk_revisions()][::-1]


def test_up_down_and_up_again(engine: Engine) -> None:
    for _ in range(2):
        session.upgrade(engine)
        assert set(inspect(engine).get_table_names()) - {"alembic_version"} == set(
            Base.metadata.tables
        )
        with session.migrating(engine) as config:
            command.check(config)
        session.downgrade(engine)
        assert set(inspect(engine).get_table_names()) == {"alembic_version"}


def test_readings_of_the_first_revision_live_on_and_are_covered(engine: Engine) -> None:
    session.upgrade(engine, "0001")
    fill_first_revision(engine)
    session.upgrade(engine)
    with session.snapshot(engine) as db:
        found = records.readings(db, sha256s=[sha(1), sha(2)])
        assert records.verify(db) == records.Verdict(True, None, None, 17)
        assert {event.actor for event in records.events(db, limit=99)} == {
            "migration 0002",
            "migration 0003",
        }
        readers = records.all_readers(db)
        assert records.free_readings(db)
    assert [
        (r.id, r.reader, r.cellularity, r.seen_models, r.phase, r.created_at) for r in found[sha(1)]
    ] == [(1, "R1", 0.1, True, "free", MOMENT), (2, "R2", 0.2, True, "free", MOMENT)]
    assert found[sha(2)][0].cellularity == 1 / 3
    assert [(r.name, r.score_first, r.role) for r in readers] == [
        ("R1", True, "reader"),
        ("R2", False, "reader"),
    ]
    with session.transaction(engine) as db:
        made = opened(db, readers=["r1"])
        read_all(db, made.id, "R1")
        records.add_reading(
            db,
            sha256=sha(9),
            patch="9.png",
            width=1,
            height=1,
            mpp=0.5,
            reader="R1",
            cellularity=0.5,
            seen_models=False,
            software="s",
        )
        assert records.verify(db).ok
    with session.transaction(engine) as db:
        db.execute(text("ALTER TABLE reading ADD COLUMN extra INTEGER"))
        assert records.verify(db).ok  # a column that is null changes no hash


def test_what_was_altered_after_the_upgrade_is_found(engine: Engine) -> None:
    session.upgrade(engine, "0001")
    fill_first_revision(engine)
    session.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE patch SET name = 'x' WHERE id = 2"))
    with session.snapshot(engine) as db:
        assert records.verify(db).first_bad == "patch 2"


def test_readings_stay_append_only_after_every_migration(engine: Engine) -> None:
    """Up to the last revision and down again, one step at a time."""
    steps = revisions(engine)
    assert steps[0] == "0001"
    session.upgrade(engine, steps[0])
    fill_first_revision(engine)
    has_postgresql = engine.dialect.name == "postgresql"
    for revision in (*steps, *steps[-2::-1]):
        session.upgrade(engine, revision)
        session.downgrade(engine, revision)
        if revision == "0001" and has_postgresql:
            continue  # it had no triggers on PostgreSQL
        statements = [
            "UPDATE reading SET cellularity = 0.9",
            "UPDATE reading SET cellularity = 0.9 WHERE id = 2",
            "DELETE FROM reading WHERE id = 3",
        ]
        statements.append(
            "TRUNCATE reading CASCADE"
            if has_postgresql
            else "INSERT OR REPLACE INTO reading SELECT * FROM reading WHERE id = 1"
        )
        for statement in statements:
            with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
                connection.execute(text(statement))
        with engine.connect() as connection:
            scores = connection.execute(text("SELECT cellularity FROM reading ORDER BY id"))
            assert scores.scalars().all() == [0.1, 0.2, 1 / 3], revision


def test_going_back_keeps_what_the_first_revision_has_room_for(engine: Engine) -> None:
    session.upgrade(engine, "0001")
    fill_first_revision(engine)
    session.upgrade(engine)
    with session.transaction(engine) as db:
        made = opened(db, readers=["R1"])
        read_all(db, made.id, "R1")
    session.downgrade(engine, "0001")
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT id, cellularity FROM reading ORDER BY id")).all()
        names = set(inspect(connection).get_table_names())
    assert [tuple(row) for row in rows] == [(1, 0.1), (2, 0.2), (3, 1 / 3)]
    assert names == {"patch", "reader", "reading", "alembic_version"}
    session.upgrade(engine)
    with session.snapshot(engine) as db:
        assert records.verify(db).ok


def test_a_failed_migration_leaves_nothing_behind(engine: Engine) -> None:
    session.upgrade(engine, "0001")
    fill_first_revision(engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE audit_event (id INTEGER)"))  # in its way
    with pytest.raises(RecordError, match="cannot be opened or upgraded"):
        session.upgrade(engine)
    with engine.connect() as connection:
        assert set(inspect(connection).get_table_names()) == {
            *("patch", "reader", "reading", "alembic_version", "audit_event")
        }
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        columns = {column["name"] for column in inspect(connection).get_columns("reader")}
    assert revision == "0001"
    assert "role" not in columns
