"""The audit trail: what was altered, removed or reordered is found."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from db_audit_support import COLUMNS, TABLES, fill, intruder, judged, noted
from db_support import BACKENDS, open_database
from sqlalchemy import Column, Engine, Table, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db import chain, records
from db.schema import Base
from db.session import snapshot, transaction


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with open_database(request.param, tmp_path, fill) as engine:
        yield engine


def another(column: Column[Any], value: Any) -> Any:
    """A value that `column` may hold and that is not `value`."""
    kind = column.type.python_type
    if value is None:
        return {str: "x", int: 3, float: 0.125, bytes: b"x"}[kind]
    if kind is bool:
        return not value
    if kind is int:
        return value + 1000
    if kind is float:
        return value / 2 + 0.0625
    if kind is bytes:
        return value + b"x"
    if kind is str:
        choices = {
            "arm": ["before", "before-after", "ai", "control"],
            "state": ["open", "closed"],
            "role": ["reader", "admin"],
            "phase": ["before", "after", "control"],
        }.get(column.name, [value[:-1] + ("0" if value[-1:] != "0" else "1")])
        return next(choice for choice in choices if choice != value)
    return value.replace(microsecond=(value.microsecond + 1) % 1_000_000)


def test_every_table_is_filled_and_every_row_covered(engine: Engine) -> None:
    verdict = judged(engine, noted(engine))
    with engine.connect() as connection:
        counts = {
            name: connection.execute(text(f'SELECT count(*) FROM "{name}"')).scalar_one()
            for name in TABLES
        }
    assert set(TABLES) == set(Base.metadata.tables)
    assert min(counts.values()) >= 2
    apart = counts["audit_content"] + counts["assignment"]
    assert verdict == records.Verdict(True, None, None, sum(counts.values()) - apart)


def test_the_check_tells_how_far_it_is_and_ends_where_it_is_told_to(engine: Engine) -> None:
    told: list[tuple[int, int]] = []
    with snapshot(engine) as db:
        verdict = records.verify(db, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, verdict.checked) for done in range(1, verdict.checked + 1)]

    def cancel(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), snapshot(engine) as db:
        records.verify(db, progress=cancel)
    assert judged(engine).ok


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_altered_value_is_found_in_every_column(backend: str, tmp_path: Path) -> None:
    """Each column of each table on its own: set to another value and to null, then set back."""
    with open_database(backend, tmp_path, fill) as engine:
        own = intruder(engine)
        tried = 0
        for name, column_name in COLUMNS:
            table = Base.metadata.tables[name]
            column = table.c[column_name]
            [key] = table.primary_key.columns
            with own.connect() as connection:
                row = connection.execute(table.select().order_by(key).limit(1)).mappings().one()
            old = row[column_name]
            values = [another(column, old)]
            if column.nullable and old is not None:
                values.append(None)
            for value in values:
                if not put(own, table, row[key.name], column_name, value):
                    continue
                verdict = judged(engine)
                where = f"{name}.{column_name}: {old!r} -> {value!r}"
                assert not verdict.ok, where
                assert named(verdict, name, row[key.name]), (where, verdict)
                moved = value if column is key else row[key.name]
                assert put(own, table, moved, column_name, old)
                tried += 1
        assert judged(engine).ok
        assert tried > 100
        own.dispose()


def put(own: Engine, table: Table, key: Any, column: str, value: Any) -> bool:
    """Set one value; False where a check of the table itself refuses it."""
    [key_column] = table.primary_key.columns
    with own.connect() as connection:
        if own.dialect.name == "sqlite":
            connection.execute(text("PRAGMA ignore_check_constraints = ON"))
        try:
            connection.execute(table.update().where(key_column == key).values({column: value}))
        except IntegrityError:
            return False
        connection.commit()
    return True


def named(verdict: records.Verdict, table: str, key: int) -> bool:
    """Whether the verdict names the row; an assignment goes with its membership."""
    if table == "assignment":
        return str(verdict.first_bad).split()[0] in ("membership", "assignment")
    if table == "audit_content":
        return verdict.first_bad in (f"audit_event {key}", f"audit_content {key}")
    return verdict.first_bad == f"{table} {key}"


def test_a_removed_row_is_found(engine: Engine) -> None:
    """The first and the last row of each table."""
    head = noted(engine)
    own = intruder(engine)
    for table in TABLES:
        [key] = Base.metadata.tables[table].primary_key.columns
        for pick in ("min", "max"):
            with Session(own) as db:
                number = db.execute(text(f'SELECT {pick}({key.name}) FROM "{table}"')).scalar_one()
                db.execute(text(f'DELETE FROM "{table}" WHERE {key.name} = {number}'))
                verdict = records.verify(db, head)
            assert not verdict.ok, (table, pick)
            assert named(verdict, table, number), (table, pick, verdict)
    own.dispose()
    assert judged(engine, head).ok


def test_the_end_cut_off_is_found_by_the_head_alone(engine: Engine) -> None:
    with transaction(engine) as db:
        before = records.head(db)
        records.enrol(db, name="Last")
    head = noted(engine)
    own = intruder(engine)
    with own.begin() as connection:
        for table in ("audit_content", "audit_event"):
            connection.execute(text(f"DELETE FROM {table} WHERE sequence = {head.sequence}"))
        connection.execute(text("DELETE FROM reader WHERE name = 'Last'"))
    own.dispose()
    assert judged(engine).ok
    assert judged(engine, before).ok
    verdict = judged(engine, head)
    assert (verdict.ok, verdict.first_bad) == (False, f"audit_event {head.sequence}")
    assert verdict.why == "is missing: the end of the trail was cut off"
    with snapshot(engine) as db:
        assert not records.verify(db, head.hash).ok
        assert records.verify(db, before.hash).ok
        assert not records.verify(db, heads=[before, head]).ok
        assert not records.verify(db, records.Head(before.sequence - 1, before.hash)).ok


def test_content_that_outlives_its_event_is_found(engine: Engine) -> None:
    head = noted(engine)
    own = intruder(engine)
    with own.begin() as connection:
        connection.execute(text(f"DELETE FROM audit_event WHERE sequence = {head.sequence}"))
    own.dispose()
    verdict = judged(engine)
    assert verdict.first_bad == f"audit_event {head.sequence}"
    assert verdict.why == "is missing, though its content is there"


@pytest.mark.parametrize("table", ["reading", "audit_event", "audit_content", "model_score"])
def test_two_rows_that_changed_places_are_found(engine: Engine, table: str) -> None:
    own = intruder(engine)
    [key] = Base.metadata.tables[table].primary_key.columns
    with own.begin() as connection:
        rows = connection.execute(text(f"SELECT {key.name} FROM {table} ORDER BY 1 LIMIT 2"))
        one, two = rows.scalars().all()
        for old, new in ((one, -1), (two, one), (-1, two)):
            connection.execute(
                text(f"UPDATE {table} SET {key.name} = {new} WHERE {key.name} = {old}")
            )
    own.dispose()
    verdict = judged(engine)
    assert not verdict.ok
    assert named(verdict, table, one), verdict


def test_a_row_put_in_past_the_software_is_found(engine: Engine) -> None:
    own = intruder(engine)
    for table in TABLES:
        if not table.startswith("audit"):
            with Session(own) as db:
                db.execute(text(copied_row(table)))
                verdict = records.verify(db)
            assert not verdict.ok, table
            assert named(verdict, table, 7777), (table, verdict)
    own.dispose()
    assert judged(engine).ok


def copied_row(table: str) -> str:
    """SQL that puts in a copy of a row under number 7777, unique where it must be."""
    columns = [column.name for column in Base.metadata.tables[table].columns]
    [key] = Base.metadata.tables[table].primary_key.columns
    fresh = {
        key.name: "7777",
        "sha256": "'" + "c" * 64 + "'",
        "key": "'intruder'",
        "name": "'Intruder'",
        "code": "'C-7777'",
        "rank": "7777",
        "position": "7777",
        "occasion": "1 - occasion",
        "reader_id": "7777" if table == "membership" else "reader_id",
        "patch_id": "7777" if table in ("image", "case") else "patch_id",
        "token": "'intruder'",
        "assignment_id": "7777",
        "method": "'intruder'",
        "issuer": "NULL",
        "subject": "NULL",
    }
    chosen = ", ".join(fresh.get(name, f'"{name}"') for name in columns)
    named_columns = ", ".join(f'"{name}"' for name in columns)
    return (
        f'INSERT INTO "{table}" ({named_columns}) SELECT {chosen} FROM "{table}" '
        f"ORDER BY {key.name} LIMIT 1"
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("UPDATE audit_event SET actor = 'Somebody'", "was altered"),
        ("UPDATE audit_event SET prev_hash = hash", "does not follow from the event before"),
        ("DELETE FROM audit_event", "is missing"),
        ("DELETE FROM audit_content", "has lost its content"),
        ("UPDATE audit_content SET salt = NULL", "has lost a part of its content"),
        ("UPDATE audit_content SET content = '{}'", "its content was altered"),
    ],
)
def test_it_is_said_what_is_wrong_with_an_event(tmp_path: Path, change: str, why: str) -> None:
    with open_database("sqlite", tmp_path, fill) as engine:
        own = intruder(engine)
        with own.begin() as connection:
            connection.execute(text("PRAGMA ignore_check_constraints = ON"))
            connection.execute(text(f"{change} WHERE sequence = 5"))
        own.dispose()
        verdict = judged(engine)
    assert (verdict.first_bad, verdict.why) == ("audit_event 5", why)


def test_a_forged_event_needs_all_later_hashes(engine: Engine) -> None:
    """An event altered together with its own hash breaks the next one's link."""
    own = intruder(engine)
    table = Base.metadata.tables["audit_event"]
    with own.begin() as connection:
        row = dict(connection.execute(table.select().where(table.c.sequence == 5)).mappings().one())
        row["actor"] = "Somebody"
        told = {name: value for name, value in row.items() if name != "hash"}
        connection.execute(
            table.update()
            .where(table.c.sequence == 5)
            .values(actor="Somebody", hash=chain.event_hash(**told))
        )
    own.dispose()
    verdict = judged(engine)
    assert (verdict.ok, verdict.first_bad) == (False, "audit_event 6")


def test_a_whole_chain_written_anew_is_found_by_a_noted_head(engine: Engine) -> None:
    head = noted(engine)
    own = intruder(engine)
    table = Base.metadata.tables["audit_event"]
    with own.begin() as connection:
        last = chain.GENESIS
        for row in connection.execute(table.select().order_by(table.c.sequence)).mappings().all():
            told = dict(row) | {"prev_hash": last}
            told["actor"] = "Somebody" if told["sequence"] == 5 else told["actor"]
            told.pop("hash")
            last = chain.event_hash(**told)
            connection.execute(
                table.update().where(table.c.sequence == told["sequence"]).values(**told, hash=last)
            )
    own.dispose()
    assert judged(engine).ok
    assert judged(engine, head).first_bad == f"audit_event {head.sequence}"


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("reading", "created_at"),
        ("reading", "software"),
        ("audit_event", "at"),
        ("assignment", "position"),
    ],
)
def test_what_cannot_even_be_read_is_named(
    backend: str, table: str, column: str, tmp_path: Path
) -> None:
    with open_database(backend, tmp_path, fill) as engine:
        own = intruder(engine)
        value = "x'ff'" if column in ("software", "position") else "'yesterday'"
        [key] = Base.metadata.tables[table].primary_key.columns
        with own.begin() as connection:
            connection.execute(
                text(f"UPDATE {table} SET {column} = CAST({value} AS TEXT) WHERE {key.name} = 3")
            )
        own.dispose()
        verdict = judged(engine)
    assert not verdict.ok
    assert named(verdict, table, 3), verdict


def test_a_row_put_in_that_cannot_be_read_is_found(tmp_path: Path) -> None:
    """No membership lacks it, so it is told of by itself."""
    with open_database("sqlite", tmp_path, fill) as engine:
        own = intruder(engine)
        with own.begin() as connection:
            connection.execute(text(copied_row("assignment")))
            connection.execute(
                text("UPDATE assignment SET position = CAST(x'ff' AS TEXT) WHERE id = 7777")
            )
        own.dispose()
        verdict = judged(engine)
    assert (verdict.first_bad, verdict.why) == ("assignment 7777", "cannot be read")
