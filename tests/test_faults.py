"""The records in trouble: one clear sentence each, and nothing that was acknowledged is lost."""

import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from db_support import BACKENDS, address, commit, following, open_database, opened
from sqlalchemy import Engine, create_engine, event
from streamlit.testing.v1 import AppTest

from db import records, schema, session
from db.errors import RecordError
from db.session import snapshot, transaction
from pages.parts import state

APP = str(Path(__file__).resolve().parent.parent / "app.py")


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with open_database(request.param, tmp_path) as engine:
        yield engine


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Engine]:
    with open_database("sqlite", tmp_path) as engine:
        yield engine


def begun(engine: Engine, n_cases: int = 3) -> int:
    with transaction(engine) as db:
        return opened(db, n_cases=n_cases, readers=["Ana"]).id


def read_one(engine: Engine, study: int) -> records.ReadingRecord:
    with transaction(engine) as db:
        return commit(db, following(db, study), "Ana")


def kept(engine: Engine, study: int) -> list[records.ReadingRecord]:
    with snapshot(engine) as db:
        assert records.verify(db).ok
        return list(records.own_readings(db, study_id=study, reader="Ana"))


@contextmanager
def told(engine: Engine, pragma: str, after: str) -> Iterator[None]:
    """Every SQLite connection that is used meanwhile is told a pragma, and another afterwards."""

    def tell(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute(pragma)

    event.listen(engine, "checkout", tell)
    yield
    event.remove(engine, "checkout", tell)
    with closing(engine.raw_connection()) as connection:
        connection.cursor().execute(after)


def test_a_full_disk_takes_nothing_half_and_goes_on_when_there_is_room(file: Engine) -> None:
    study = begun(file, n_cases=60)
    acknowledged = [read_one(file, study)]
    with closing(file.raw_connection()) as connection:
        pages = connection.cursor().execute("PRAGMA page_count").fetchone()[0]

    def read_the_rest() -> None:
        for _ in range(59):
            acknowledged.append(read_one(file, study))

    with (
        told(file, f"PRAGMA max_page_count = {pages + 1}", "PRAGMA max_page_count = 1000000"),
        pytest.raises(RecordError, match=r"is full\). Nothing was kept; .* the disk is full"),
    ):
        read_the_rest()
    assert 1 <= len(acknowledged) < 60
    assert kept(file, study) == acknowledged
    acknowledged.append(read_one(file, study))
    assert kept(file, study) == acknowledged


def administer(engine: Engine, *statements: str) -> None:
    """Carry out statements on the server of a PostgreSQL database, from beside it."""
    url = engine.url.set(database="postgres")
    beside = create_engine(url, isolation_level="AUTOCOMMIT")
    with beside.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement.format(name=engine.url.database))
    beside.dispose()


THROW_OUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"


@contextmanager
def read_only(engine: Engine) -> Iterator[None]:
    if engine.dialect.name == "sqlite":
        with told(engine, "PRAGMA query_only = 1", "PRAGMA query_only = 0"):
            yield
        return
    setting = "ALTER DATABASE {name} SET default_transaction_read_only = "
    administer(engine, setting + "on", THROW_OUT)
    yield
    administer(engine, setting + "off", THROW_OUT)


def test_read_only_records_can_be_read_and_say_why_they_take_nothing(engine: Engine) -> None:
    study = begun(engine)
    first = read_one(engine, study)
    with read_only(engine):
        with pytest.raises(RecordError, match=r"read-?only.*Nothing was kept; try again"):
            read_one(engine, study)
        assert kept(engine, study) == [first]
    second = read_one(engine, study)
    assert kept(engine, study) == [first, second]


def test_a_server_that_was_gone_is_found_again(tmp_path: Path) -> None:
    with open_database("postgresql", tmp_path) as engine:
        study = begun(engine)
        first = read_one(engine, study)
        allow = "ALTER DATABASE {name} ALLOW_CONNECTIONS "
        administer(engine, allow + "false", THROW_OUT)
        with pytest.raises(RecordError, match=r"did not take this .* Nothing was kept; try again"):
            read_one(engine, study)
        with pytest.raises(RecordError, match=r"cannot be read .* Check that the file or server"):
            kept(engine, study)
        administer(engine, allow + "true")
        second = read_one(engine, study)
        assert kept(engine, study) == [first, second]
        # Thrown out between two reads, as when the server was started anew: nobody notices.
        administer(engine, THROW_OUT)
        third = read_one(engine, study)
        administer(engine, THROW_OUT)
        assert kept(engine, study) == [first, second, third]


def test_who_waits_for_a_locked_file_is_served_when_it_is_free(
    file: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = begun(file)
    path = str(file.url.database)
    locked, free = threading.Event(), threading.Event()

    def hold() -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            locked.set()
            free.wait(60)
            other.execute("ROLLBACK")

    holder = threading.Thread(target=hold)
    holder.start()
    locked.wait(60)
    threading.Timer(1.0, free.set).start()
    began = time.monotonic()
    first = read_one(file, study)
    assert time.monotonic() - began > 0.5
    holder.join()
    assert kept(file, study) == [first]


def test_a_file_that_is_gone_is_missed_and_no_empty_one_begun(file: Engine, tmp_path: Path) -> None:
    study = begun(file)
    first = read_one(file, study)
    path, away = Path(str(file.url.database)), tmp_path / "unplugged"
    for is_connected in (True, False):
        if not is_connected:
            file.dispose()
        away.mkdir()
        for part in path.parent.glob(f"{path.name}*"):
            shutil.move(part, away / part.name)
        for attempt in (read_one, kept):
            with pytest.raises(RecordError, match=r"are gone: .* bring the file back, and try"):
                attempt(file, study)
        assert not path.exists()
        for part in away.iterdir():
            shutil.move(part, path.parent / part.name)
        away.rmdir()
        assert kept(file, study) == [first]
    second = read_one(file, study)
    assert kept(file, study) == [first, second]


def test_a_copy_put_in_place_of_the_file_is_what_is_written_to(
    file: Engine, tmp_path: Path
) -> None:
    study = begun(file)
    first = read_one(file, study)
    path, copy = Path(str(file.url.database)), tmp_path / "copy.db"
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    for part in path.parent.glob(f"{path.name}*"):
        part.unlink()
    shutil.move(copy, path)
    second = read_one(file, study)
    with open_again(file) as again:
        assert kept(again, study) == [first, second]


@contextmanager
def open_again(engine: Engine) -> Iterator[Engine]:
    """The same records as another process has them."""
    other = session.connect(session.database_url(address(engine)))
    yield other
    other.dispose()


def test_a_clock_that_is_set_back_changes_no_order(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) - timedelta(days=400)

    study = begun(engine)
    first = read_one(engine, study)
    with monkeypatch.context() as patched:
        patched.setattr(schema, "datetime", Slow)
        second = read_one(engine, study)
    third = read_one(engine, study)
    assert second.created_at < first.created_at < third.created_at
    assert kept(engine, study) == [first, second, third]
    with snapshot(engine) as db:
        events = records.events(db, limit=100)
    assert [e.sequence for e in events] == list(range(len(events), 0, -1))


def test_a_page_says_that_the_records_are_gone_and_goes_on_when_they_are_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own" / "own.db"
    monkeypatch.setenv("CELLULARITY_DB", str(path))
    at = AppTest.from_file(APP, default_timeout=120)
    at.query_params["reader"] = "Kim"
    at.run()
    at.button(key=state.DEMO).click().run()
    sha256 = at.session_state[state.CASE].current
    at.number_input(key=state.own_key(sha256, "number")).set_value(35).run()
    path.parent.rename(tmp_path / "unplugged")
    at.button(key=state.COMMIT).click().run()
    assert not at.exception
    assert any("are gone" in e.value and "bring the file back" in e.value for e in at.error)
    assert not path.exists()
    (tmp_path / "unplugged").rename(path.parent)
    at.run()
    assert not at.error
    at.number_input(key=state.own_key(sha256, "number")).set_value(35).run()
    at.button(key=state.COMMIT).click().run()
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT cellularity FROM reading").fetchall() == [(0.35,)]
