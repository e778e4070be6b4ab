"""Records: migrations, append-only readings, readers' defaults."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic import command
from alembic.runtime.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, inspect, text
from sqlalchemy.orm import Session

from db import records, session
from db.errors import RecordError
from db.schema import Base, UtcDateTime

SHA = "a" * 64
OTHER = "b" * 64


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = session.open_records(str(tmp_path / "deep" / "er" / "records.db"))
    yield engine
    engine.dispose()


def add(db: Session, cellularity: float = 0.4, **changes: object) -> records.ReadingRecord:
    given: dict[str, object] = {
        "sha256": SHA,
        "patch": "one.png",
        "width": 512,
        "height": 512,
        "mpp": 0.5,
        "reader": "Kim Weber",
        "cellularity": cellularity,
        "seen_models": False,
        "software": "cellularity 1.0",
    }
    return records.add_reading(db, **(given | changes))  # type: ignore[arg-type]


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names()) - {"alembic_version"}


def test_migrations_go_up_down_and_up_again(engine: Engine) -> None:
    assert tables(engine) == set(Base.metadata.tables)
    session.downgrade(engine)
    assert tables(engine) == set()
    session.upgrade(engine)
    assert tables(engine) == set(Base.metadata.tables)
    with session.migrating(engine) as config:
        command.check(config)  # raises where schema.py and the migrations differ


def test_a_second_upgrade_changes_nothing(engine: Engine) -> None:
    with session.transaction(engine) as db:
        add(db)
    session.upgrade(engine)
    with session.transaction(engine) as db:
        assert len(records.readings(db, sha256s=[SHA])[SHA]) == 1


def test_a_failed_migration_leaves_nothing_behind(tmp_path: Path) -> None:
    engine = session.connect(session.database_url(str(tmp_path / "clash.db")))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE reader (id INTEGER)"))
    with pytest.raises(RecordError, match="cannot be opened or upgraded"):
        session.upgrade(engine)
    assert tables(engine) == {"reader"}
    engine.dispose()


def test_sqlite_is_durable_and_checks_references(engine: Engine) -> None:
    with engine.connect() as connection:

        def pragma(name: str) -> object:
            return connection.execute(text(f"PRAGMA {name}")).scalar_one()

        assert pragma("journal_mode") == "wal"
        assert pragma("synchronous") == 2
        assert pragma("foreign_keys") == 1
        assert pragma("secure_delete") == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE reading SET cellularity = 0.9",
        "UPDATE reading SET seen_models = 0 WHERE id = 1",
        "DELETE FROM reading",
        "INSERT OR REPLACE INTO reading (id, patch_id, reader_id, cellularity, seen_models, "
        "software, created_at, phase) "
        "SELECT id, patch_id, reader_id, 0.9, 0, software, created_at, phase FROM reading",
    ],
)
def test_a_reading_cannot_be_altered_even_by_hand(engine: Engine, statement: str) -> None:
    with session.transaction(engine) as db:
        add(db, 0.4, seen_models=True)
    raw = sqlite3.connect(str(engine.url.database))
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        raw.execute(statement)
    raw.close()
    with session.transaction(engine) as db:
        [kept] = records.readings(db, sha256s=[SHA])[SHA]
        assert (kept.cellularity, kept.seen_models) == (0.4, True)


def test_a_correction_is_a_new_reading(engine: Engine) -> None:
    before = datetime.now(UTC)
    with session.transaction(engine) as db:
        add(db, 0.4)
    with session.transaction(engine) as db:
        add(db, 0.55, seen_models=True, patch="renamed.png", mpp=0.25)
    with session.transaction(engine) as db:
        first, second = records.readings(db, sha256s=[SHA, OTHER])[SHA]
        assert db.execute(text("SELECT count(*), max(mpp) FROM patch")).one() == (1, 0.5)
    assert (first.cellularity, second.cellularity) == (0.4, 0.55)
    assert (first.seen_models, second.seen_models) == (False, True)
    assert before <= first.created_at <= second.created_at <= datetime.now(UTC)
    assert first.created_at.utcoffset() == timedelta(0)
    assert (second.patch, second.software) == ("one.png", "cellularity 1.0")


@given(
    moment=st.datetimes(
        min_value=datetime(1990, 1, 1),
        max_value=datetime(2100, 1, 1),
        timezones=st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours))),
    )
)
def test_a_moment_comes_back_the_same_from_a_database_without_time_zones(
    moment: datetime,
) -> None:
    column = UtcDateTime()
    stored = column.process_bind_param(moment, None)  # type: ignore[arg-type]
    naive = stored.replace(tzinfo=None)
    assert column.process_result_value(naive, None) == moment  # type: ignore[arg-type]


def test_a_moment_without_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        UtcDateTime().process_bind_param(datetime(2026, 1, 1), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("cellularity", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_score_outside_the_unit_interval_is_refused(engine: Engine, cellularity: float) -> None:
    with (
        pytest.raises(RecordError, match="between 0 and 1"),
        session.transaction(engine) as db,
    ):
        add(db, cellularity)


def test_the_database_itself_refuses_what_the_code_would(engine: Engine) -> None:
    with session.transaction(engine) as db:
        add(db)
    with (
        pytest.raises(RecordError, match="ck_reading_unit_interval"),
        session.transaction(engine) as db,
    ):
        db.execute(
            text(
                "INSERT INTO reading (id, patch_id, reader_id, cellularity, seen_models, software, "
                "created_at, phase, mpp) SELECT 99, patch_id, reader_id, 1.5, 0, software, "
                "created_at, phase, mpp FROM reading"
            )
        )


def test_nothing_is_kept_when_a_transaction_fails(engine: Engine) -> None:
    def twice() -> None:
        with session.transaction(engine) as db:
            add(db, 0.2)
            add(db, 2.0)

    with pytest.raises(RecordError, match="between 0 and 1"):
        twice()
    with session.transaction(engine) as db:
        assert records.readings(db, sha256s=[SHA]) == {}
        assert records.find_reader(db, name="Kim Weber") is None


def test_a_reader_keeps_score_first_whatever_the_spelling(engine: Engine) -> None:
    with session.transaction(engine) as db:
        assert records.find_reader(db, name="Kim Weber") is None
        records.keep_score_first(db, name="  Kim   Weber ", score_first=True)
    with session.transaction(engine) as db:
        assert records.find_reader(db, name="KIM WEBER") == records.ReaderRecord(
            1, "Kim Weber", True, "reader", False
        )
        records.keep_score_first(db, name="kim weber", score_first=False)
        add(db, reader="kim weber")
    with session.transaction(engine) as db:
        assert records.find_reader(db, name="Kim Weber") == records.ReaderRecord(
            1, "Kim Weber", False, "reader", False
        )
        assert db.execute(text("SELECT count(*) FROM reader")).scalar_one() == 1


@pytest.mark.parametrize(("name", "words"), [("  ", "needs a name"), ("x" * 121, "too long")])
def test_a_reader_without_a_usable_name_is_refused(engine: Engine, name: str, words: str) -> None:
    with pytest.raises(RecordError, match=words), session.transaction(engine) as db:
        records.keep_score_first(db, name=name, score_first=True)


def test_readings_are_found_by_reader_and_for_very_many_patches(engine: Engine) -> None:
    shas = [f"{k:064x}" for k in range(1203)]
    with session.transaction(engine) as db:
        for k in (0, 600, 1202):
            add(db, k / 1202, sha256=shas[k])
            add(db, 0.5, sha256=shas[k], reader="Ana")
    with session.transaction(engine) as db:
        mine = records.readings(db, sha256s=shas, reader="kim weber")
        everyone = records.readings(db, sha256s=shas)
    assert {sha: [r.cellularity for r in rs] for sha, rs in mine.items()} == {
        shas[0]: [0.0],
        shas[600]: [600 / 1202],
        shas[1202]: [1.0],
    }
    assert [r.reader for r in everyone[shas[600]]] == ["Kim Weber", "Ana"]


def test_many_may_write_at_once_and_none_is_lost(engine: Engine) -> None:
    path = str(engine.url.database)

    def write(writer: int) -> None:
        own = session.open_records(path)
        for k in range(5):
            with session.transaction(own) as db:
                add(db, (5 * writer + k) / 100, reader=f"reader {writer % 2}")
        own.dispose()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    with session.transaction(engine) as db:
        kept = records.readings(db, sha256s=[SHA])[SHA]
        assert db.execute(text("SELECT count(*) FROM reader")).scalar_one() == 2
    assert sorted(r.cellularity for r in kept) == [k / 100 for k in range(30)]


def test_the_records_are_where_the_variable_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CELLULARITY_DB", str(tmp_path / "plain.db"))
    assert session.database_url().database == str(tmp_path / "plain.db")
    monkeypatch.setenv("CELLULARITY_DB", f"sqlite:///{tmp_path}/url.db")
    assert session.place(session.database_url()) == f"{tmp_path}/url.db"
    monkeypatch.delenv("CELLULARITY_DB")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert session.database_url().database == str(tmp_path / "cellularity" / "cellularity.db")


def test_a_password_is_never_shown() -> None:
    shown = session.place(session.database_url("postgresql+psycopg://kim:secret@db/cells"))
    assert "secret" not in shown
    assert "db/cells" in shown


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("://nothing", "does not hold a database URL"),
        ("nosuchdriver://host/name", "not installed"),
    ],
)
def test_a_wrong_url_says_what_to_give(url: str, words: str) -> None:
    with pytest.raises(RecordError, match=words):
        session.connect(session.database_url(url))


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RecordError, match="Set CELLULARITY_DB"):
        session.connect(session.database_url(str(tmp_path / "file" / "records.db")))


def test_a_file_that_is_no_database_says_so(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(RecordError, match="cannot be opened"):
        session.open_records(str(path))


def test_python_m_db_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "cli.db"
    call = [sys.executable, "-m", "db"]
    done = subprocess.run(
        [*call, "--url", str(path), "upgrade"], capture_output=True, text=True, timeout=60
    )
    engine = session.connect(session.database_url(str(path)))
    with engine.connect() as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
    engine.dispose()
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Records at {path} are at revision {revision}.\n"
    failed = subprocess.run(
        [*call, "--url", "://", "upgrade"], capture_output=True, text=True, timeout=60
    )
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("CELLULARITY_DB does not hold")
    assert subprocess.run(call, capture_output=True, timeout=60).returncode == 2
