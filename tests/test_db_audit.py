"""The audit trail: what was altered, removed or reordered is found; erasing is not altering."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from db_support import BACKENDS, commit, new_case, open_database, opened, read_all
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Engine, Table, create_engine, event, inspect, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db import chain, records
from db.errors import RecordError
from db.schema import Base
from db.session import snapshot, transaction
from db.verify import COVERED

GUARDED = (
    "reading",
    "amendment",
    "model_score",
    "consensus",
    "assignment",
    "audit_event",
    "audit_content",
)
TABLES = [
    *sorted(entity.__tablename__ for entity in COVERED),
    "assignment",
    "audit_event",
    "audit_content",
]
COLUMNS = [(name, column.name) for name in TABLES for column in Base.metadata.tables[name].columns]


def fill(engine: Engine) -> None:
    """Rows in every table, at least two in each but `study`."""
    with transaction(engine) as db:
        made = opened(db, n_cases=2, n_training=1, repeat_share=0.5, arm="before-after")
        for reader in made.readers:
            read_all(db, made.id, reader)
        for reading in records.own_readings(db, study_id=made.id, reader="Ana")[:2]:
            records.amend(
                db,
                reading_id=reading.id,
                reader="Ana",
                cellularity=0.5,
                cannot_score_reason=None,
                why="slipped",
            )
        records.close_study(db, study_id=made.id, actor="C")
        for case in records.cases(db, made.id)[:2]:
            records.keep_consensus(db, case_id=case.id, cellularity=0.5, reason="r", by="C")
        other = opened(db, name="Second", n_cases=1)
        task = records.next_assignment(db, study_id=other.id, reader="Ana")
        assert isinstance(task, records.AssignmentRecord)
        commit(db, task, "Ana", None)


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with open_database(request.param, tmp_path, fill) as engine:
        yield engine


def intruder(engine: Engine) -> Engine:
    """The database as somebody with all rights sees it: no triggers, no references."""
    own = create_engine(engine.url)
    if engine.dialect.name == "postgresql":

        @event.listens_for(own, "connect")
        def _(connection: Any, _record: Any) -> None:
            with connection.cursor() as cursor:
                cursor.execute("SET session_replication_role = replica")
            connection.commit()

    else:
        with own.begin() as connection:
            names = connection.execute(text("SELECT name FROM sqlite_master WHERE type='trigger'"))
            for (name,) in names.all():
                connection.execute(text(f"DROP TRIGGER {name}"))
    return own


def judged(engine: Engine, head: records.Head | None = None) -> records.Verdict:
    with snapshot(engine) as db:
        return records.verify(db, head)


def noted(engine: Engine) -> records.Head:
    with snapshot(engine) as db:
        return records.head(db)


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
    with snapshot(engine) as db:
        assert not records.verify(db, head.hash).ok
        assert records.verify(db, before.hash).ok
        assert not records.verify(db, heads=[before, head]).ok
        assert not records.verify(db, records.Head(before.sequence - 1, before.hash)).ok


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
    [("reading", "created_at"), ("reading", "software"), ("audit_event", "at")],
)
def test_what_cannot_even_be_read_is_named(
    backend: str, table: str, column: str, tmp_path: Path
) -> None:
    with open_database(backend, tmp_path, fill) as engine:
        own = intruder(engine)
        value = "x'ff'" if column == "software" else "'yesterday'"
        [key] = Base.metadata.tables[table].primary_key.columns
        with own.begin() as connection:
            connection.execute(
                text(f"UPDATE {table} SET {column} = CAST({value} AS TEXT) WHERE {key.name} = 3")
            )
        own.dispose()
        verdict = judged(engine)
    assert (verdict.ok, verdict.first_bad) == (False, f"{table} 3")


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


SECRET = "Mustermann-1950"


def personal(db: Session) -> str:
    """All text of all tables, to look for what should be gone."""
    found = []
    for name in Base.metadata.tables:
        found += [str(row) for row in db.execute(text(f'SELECT * FROM "{name}"')).all()]
    return "\n".join(found)


def test_a_patient_is_erased_and_the_scores_stay(engine: Engine) -> None:
    pixels = b"\x89PNG\r\n\x1a\n" + SECRET.encode() * 3
    with transaction(engine) as db:
        made = opened(
            db,
            name="With a patient",
            cases=[
                new_case(
                    70, patient=SECRET, name=f"{SECRET}.png", png=pixels, phash="abcdef0123456789"
                ),
                new_case(71, patient=SECRET, name="b.png"),
                new_case(72),
            ],
        )
        task = records.next_assignment(db, study_id=made.id, reader="Ana")
        assert isinstance(task, records.AssignmentRecord)
        commit(db, task, "Ana", 0.42)
        before = records.study_readings(db, made.id)
        head = records.head(db)
        assert SECRET in personal(db)
    with transaction(engine) as db:
        done = records.erase_patient(
            db, patient=SECRET, study_id=made.id, actor="Admin", why="request of 3 May"
        )
    records.scrub(engine)
    assert (done.cases, done.images) == (2, 2)
    with snapshot(engine) as db:
        assert records.verify(db, head).ok
        everything = personal(db)
        after = records.study_readings(db, made.id)
        cases = {case.code: case for case in records.cases(db, made.id)}
        [note, *_] = records.events(db, limit=1)
        assert records.image(db, sha256=task.sha256) is None or task.sha256.endswith("48")
    assert SECRET not in everything
    assert SECRET.encode().hex() not in everything
    assert "abcdef0123456789" not in everything
    assert [(row.case, row.cellularity) for row in after] == [
        (row.case, row.cellularity) for row in before
    ]
    assert sorted(case.patient is None for case in cases.values()) == [False, True, True]
    assert note.new["why"] == "request of 3 May"
    with transaction(engine) as db:  # what is left to read is the third case alone
        left = 0 if cases[before[0].case].patient == "P-36" else 1
        assert read_all(db, made.id, "Ana") == left
        assert read_all(db, made.id, "Kim Weber") == 1
        assert records.next_assignment(db, study_id=made.id, reader="Ana") is None
        kim, ana = records.progress(db, made.id)
    assert (kim.done, kim.total) == (1, 1)
    assert ana.done == ana.total == 1 + left
    assert judged(engine).ok


def test_erased_bytes_leave_the_files(tmp_path: Path) -> None:
    with open_database("sqlite", tmp_path) as engine:
        with transaction(engine) as db:
            opened(db, cases=[new_case(1, patient=SECRET, name=SECRET), new_case(2)])

        def on_disk() -> bool:
            path = Path(str(engine.url.database))
            return any(SECRET.encode() in p.read_bytes() for p in path.parent.glob(path.name + "*"))

        assert on_disk()
        with transaction(engine) as db:
            records.erase_patient(db, patient=SECRET, actor="Admin", why="request")
        records.scrub(engine)
        assert not on_disk()
        assert judged(engine).ok


def test_erasing_covers_the_same_pixels_in_another_study(engine: Engine) -> None:
    with transaction(engine) as db:
        one = opened(db, name="One", cases=[new_case(80, patient=SECRET)])
        two = opened(
            db,
            name="Two",
            cases=[new_case(80, patient="other pseudonym")],
            readers=["Zoe"],
        )
        records.erase_patient(db, patient=SECRET, study_id=one.id, actor="A", why="request")
        assert [case.patient for case in records.cases(db, two.id)] == [None]
    for patient, why, words in ((SECRET, "x", "No case of any"), ("P-1", " ", "needs its reason")):
        with pytest.raises(RecordError, match=words), transaction(engine) as db:
            records.erase_patient(db, patient=patient, actor="A", why=why)


def test_content_erased_past_the_software_is_found(engine: Engine) -> None:
    with transaction(engine) as db:
        db.execute(text("UPDATE audit_content SET salt = NULL, content = NULL WHERE sequence = 4"))
    verdict = judged(engine)
    assert (verdict.first_bad, verdict.why) == (
        "audit_content 4",
        "was erased, and no erasure tells of it",
    )


def test_an_erased_score_cannot_be_guessed_from_its_hash() -> None:
    """The same content has another hash each time: there is no table of hashes to look in."""
    content = chain.canonical({"old": None, "new": {"cellularity": 0.42}})
    hashes = {chain.content_hash(chain.new_salt(), content) for _ in range(20)}
    assert len(hashes) == 20
    assert len(chain.new_salt()) == 32


def test_events_are_leafed_through(engine: Engine) -> None:
    with snapshot(engine) as db:
        end = records.head(db).sequence
        first = records.events(db, limit=10)
        second = records.events(db, limit=10, before=first[-1].sequence)
        readings = records.events(db, limit=1000, entity="reading")
    assert [e.sequence for e in first + second] == list(range(end, end - 20, -1))
    assert {e.entity for e in readings} == {"reading"}
    assert readings[-1].new["cellularity"] == 0.3


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(value=JSON)
def test_the_canonical_form_is_json_and_survives_it(value: Any) -> None:
    written = chain.canonical(value)
    assert json.loads(written) == value
    assert chain.canonical(json.loads(written)) == written


def test_hashes_are_what_they_always_were() -> None:
    """Fixed answers: a change of them would break every chain in use."""
    assert chain.canonical({"b": -0.0, "a": [True, None, "µ"]}) == '{"a":[true,null,"µ"],"b":0.0}'
    assert chain.row_hash("reading", {"id": 1, "token": None}) == chain.digest(
        '["reading","",{"id":1}]'
    )
    assert chain.digest("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    with pytest.raises(TypeError, match="no canonical form"):
        chain.canonical({1, 2})


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
