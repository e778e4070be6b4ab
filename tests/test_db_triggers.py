"""The database itself refuses to alter what is append-only."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from db_audit_support import GUARDED, fill, judged
from db_support import BACKENDS, open_database
from sqlalchemy import Engine, inspect, text

from db.errors import RecordError
from db.schema import Base
from db.session import transaction


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with open_database(request.param, tmp_path, fill) as engine:
        yield engine


def test_the_database_refuses_to_alter_what_is_append_only(engine: Engine) -> None:
    told = {"audit_event": "actor = 'x'", "audit_content": "content = 'x'"}
    for table in GUARDED:
        [key] = Base.metadata.tables[table].primary_key.columns
        statements = [
            f"UPDATE {table} SET {told.get(table, f'{key.name} = {key.name}')}",
            f"DELETE FROM {table}",
            f"DELETE FROM {table} WHERE {key.name} = 1",
        ]
        if engine.dialect.name == "postgresql":
            statements.append(f"TRUNCATE {table} CASCADE")
        else:
            statements.append(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}")
        for statement in statements:
            with pytest.raises(RecordError, match="append-only"), transaction(engine) as db:
                db.execute(text(statement))
    assert judged(engine).ok


@pytest.mark.parametrize(
    "change",
    [
        "salt = NULL",
        "content = NULL",
        "salt = NULL, content = ''",
        "sequence = 9999, salt = NULL, content = NULL",
    ],
)
def test_content_can_be_erased_whole_and_not_be_changed(engine: Engine, change: str) -> None:
    if change == "salt = NULL":
        with transaction(engine) as db:  # whole: what erasure does
            db.execute(
                text("UPDATE audit_content SET salt = NULL, content = NULL WHERE sequence = 1")
            )
            db.rollback()
    with pytest.raises(RecordError, match="append-only"), transaction(engine) as db:
        db.execute(text(f"UPDATE audit_content SET {change} WHERE sequence = 1"))


@pytest.mark.parametrize("constraint", ["token", "assignment_id, phase"])
def test_no_replace_by_another_key(tmp_path: Path, constraint: str) -> None:
    """INSERT OR REPLACE with a new id must not push out a row with the same token or phase."""
    with open_database("sqlite", tmp_path, fill) as engine:
        columns = [c.name for c in Base.metadata.tables["reading"].columns]
        fresh = {"id": "7777"}
        if constraint != "token":
            fresh["token"] = "'other'"
        else:
            fresh |= {"assignment_id": "NULL", "phase": "'free'"}
        chosen = ", ".join(fresh.get(name, name) for name in columns)
        with (
            pytest.raises(RecordError, match="append-only"),
            transaction(engine) as db,
        ):
            db.execute(
                text(
                    f"INSERT OR REPLACE INTO reading ({', '.join(columns)}) "
                    f"SELECT {chosen} FROM reading WHERE id = 1"
                )
            )


def test_old_trigger_names_are_gone(engine: Engine) -> None:
    """One set of triggers on each guarded table, none elsewhere."""
    if engine.dialect.name == "sqlite":
        query = "SELECT tbl_name, name FROM sqlite_master WHERE type = 'trigger'"
        kinds = ("update", "delete", "replace")
    else:
        query = "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal"
        kinds = ("update", "delete", "truncate")
    with engine.connect() as connection:
        found = {tuple(row) for row in connection.execute(text(query))}
    assert found == {(table, f"{table}_no_{kind}") for table in GUARDED for kind in kinds}
    assert set(inspect(engine).get_table_names()) - {"alembic_version"} == set(Base.metadata.tables)
