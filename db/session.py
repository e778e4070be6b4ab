"""Where the records live, and connections to them."""

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import (
    ArgumentError,
    DisconnectionError,
    NoSuchModuleError,
    SQLAlchemyError,
)
from sqlalchemy.orm import Session

from db.errors import RecordError
from db.storage import network_share
from db.turns import turns_at

VARIABLE: Final = "CELLULARITY_DB"
"""Environment variable with the database's URL, or the path of an SQLite file."""

BUSY_MS: Final = 60_000
"""How long a connection waits for another one's write to end."""

WRITER_LOCK: Final = 0x63656C6C
"""Advisory lock of PostgreSQL that a writing transaction holds ("cell")."""

_READ_ONLY: Final = "cellularity_read_only"

_FILE: Final = "cellularity file"
"""Of a connection: device and number of the file that it was opened on."""

_DRIVERS: Final = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}


def default_path() -> Path:
    """SQLite file in the user's own data folder, the same from whatever folder one starts."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "cellularity" / "cellularity.db"


def database_url(given: str | None = None) -> URL:
    """URL of the records: `given`, else ``CELLULARITY_DB``, else the user's own file.

    Raises
    ------
    RecordError
        If what is given is no database URL.
    """
    text = given or os.environ.get(VARIABLE) or str(default_path())
    if "://" not in text:
        return URL.create("sqlite", database=str(Path(text).expanduser().resolve()))
    try:
        url = make_url(text)
        return url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))
    except ArgumentError as error:
        raise RecordError(
            f"{VARIABLE} does not hold a database URL. Give one such as "
            "sqlite:////folder/cellularity.db or postgresql+psycopg://user@host/name."
        ) from error


def place(url: URL) -> str:
    """Where the records are, in words fit for a screen (no password)."""
    if url.get_backend_name() == "sqlite":
        return url.database or "memory"
    return url.render_as_string(hide_password=True)


def _prepare(connection: Any, _record: Any) -> None:
    """Settings every SQLite connection needs; they do not live in the file."""
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA secure_delete = ON")  # what is erased leaves no bytes behind
    cursor.close()
    # The driver would begin a transaction at the first INSERT only, so that a
    # savepoint before it commits by itself; `_begin` begins it instead.
    connection.isolation_level = None


def _prepare_postgresql(connection: Any, _record: Any) -> None:
    """See that a commit is on the server's disk before it is acknowledged."""
    cursor = connection.cursor()
    # Only where it is off: a server may ask for more than "on", such as its replicas.
    cursor.execute(
        "SELECT set_config('synchronous_commit', 'on', false) "
        "WHERE current_setting('synchronous_commit') = 'off'"
    )
    # A writer that is stuck is not waited for without end, and one that is idle lets go.
    cursor.execute(f"SET lock_timeout = {BUSY_MS}")
    cursor.execute(f"SET idle_in_transaction_session_timeout = {10 * BUSY_MS}")
    cursor.execute("SELECT current_setting('fsync')")
    [fsync] = cursor.fetchone()
    cursor.close()
    connection.commit()
    if fsync == "off":
        raise RecordError(
            "The PostgreSQL server does not write to disk what it acknowledges (fsync = off), so a "
            "power cut would lose scores. Set fsync = on in its postgresql.conf."
        )


def _is_read_only(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get(_READ_ONLY))


def _begin(connection: Connection) -> None:
    """Begin at once as a writer: one that turns writer later is refused, not made to wait."""
    connection.exec_driver_sql("BEGIN" if _is_read_only(connection) else "BEGIN IMMEDIATE")


def _take_turn(connection: Connection) -> None:
    """One writer at a time on PostgreSQL too: the audit chain has one end."""
    if not _is_read_only(connection):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITER_LOCK})")


def connect(url: URL) -> Engine:
    """Engine on `url`; makes the folder of an SQLite file, not its tables.

    Raises
    ------
    RecordError
        If the folder cannot be made, an SQLite file lies on a network share, or the
        database's driver is missing.
    """
    is_sqlite = url.get_backend_name() == "sqlite"
    try:
        if is_sqlite and url.database and url.database != ":memory:":
            _refuse_share(Path(url.database))
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        if is_sqlite:
            engine = create_engine(url)
        else:
            engine = create_engine(url, pool_pre_ping=True, isolation_level="READ COMMITTED")
    except OSError as error:
        raise RecordError(
            f"No folder can be made for the records at {place(url)} ({error.strerror}). "
            f"Set {VARIABLE} to a file you may write."
        ) from error
    except (ImportError, NoSuchModuleError) as error:
        raise RecordError(
            f"The driver of {url.drivername} is not installed ({error}). Install it (for "
            f"PostgreSQL: psycopg[binary]), or set {VARIABLE} to the path of an SQLite file."
        ) from error
    if is_sqlite:
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
        if url.database and url.database != ":memory:":
            _stay_with_file(engine, Path(url.database))
    else:
        event.listen(engine, "connect", _prepare_postgresql)
        event.listen(engine, "begin", _take_turn)
    return engine


def _stay_with_file(engine: Engine, path: Path) -> None:
    """Refuse to go on where the file is gone, and turn to another that was put in its place.

    SQLite would write into a file that nobody finds any more, or begin an empty one.
    """
    known: set[tuple[int, int]] = set()

    def now() -> tuple[int, int]:
        try:
            found = path.stat()
        except OSError:
            raise RecordError(
                f"The records at {path} are gone: a drive may be disconnected, or the file was "
                "moved. Nothing was kept since; bring the file back, and try again."
            ) from None
        return found.st_dev, found.st_ino

    def connecting(*_: object) -> None:
        if known:
            now()

    def connected(_: object, record: Any) -> None:
        record.info[_FILE] = now()
        known.add(record.info[_FILE])

    def taken(_: object, record: Any, __: object) -> None:
        if record.info[_FILE] != now():
            raise DisconnectionError

    event.listen(engine, "do_connect", connecting)
    event.listen(engine, "connect", connected)
    event.listen(engine, "checkout", taken)


def _refuse_share(path: Path) -> None:
    kind = network_share(path)
    if kind is not None:
        raise RecordError(
            f"{path} lies on a network share ({kind}), where an SQLite file can be damaged. Set "
            f"{VARIABLE} to a file on a disk of this machine, or to a PostgreSQL database "
            "(postgresql+psycopg://user@host/name)."
        )


def migrations(connection: Connection) -> Config:
    """Alembic's settings for the migrations of this package, on `connection`."""
    config = Config()
    config.set_main_option("script_location", "db:migrations")
    config.attributes["connection"] = connection
    return config


@contextmanager
def _unlinked(connection: Connection) -> Iterator[None]:
    """Let a migration on SQLite replace a table that others refer to.

    It drops the old one, which would clear what refers to it; the check of references
    can only be switched outside a transaction (sqlite.org/lang_altertable.html, section 7).
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    raw: Any = connection.connection.driver_connection
    raw.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        raw.execute("PRAGMA foreign_keys = ON")


@contextmanager
def migrating(engine: Engine) -> Iterator[Config]:
    """Alembic's settings inside one transaction: a migration happens whole or not.

    Raises
    ------
    RecordError
        If the database cannot be reached or changed.
    """
    try:
        with engine.connect() as connection, _unlinked(connection), connection.begin():
            yield migrations(connection)
    except SQLAlchemyError as error:
        raise RecordError(
            f"The records at {place(engine.url)} cannot be opened or upgraded ({_detail(error)}). "
            f"Check that the file or server can be written, or set {VARIABLE} to another."
        ) from error


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the tables to `revision`; nothing happens where they are there already.

    Raises
    ------
    RecordError
        If the database cannot be reached or changed, or newer software wrote it.
    """
    try:
        with migrating(engine) as config:
            command.upgrade(config, revision)
    except CommandError as error:
        raise RecordError(
            f"The records were written by a newer version of this software ({error}). Nothing was "
            "changed. Update the software, or restore a back-up that this version made."
        ) from error


def downgrade(engine: Engine, revision: str = "base") -> None:
    """Take the tables back to `revision`. Records they no longer have room for are lost."""
    with migrating(engine) as config:
        command.downgrade(config, revision)


def open_records(given: str | None = None) -> Engine:
    """Engine on records whose tables are up to date."""
    engine = connect(database_url(given))
    try:
        upgrade(engine)
    except RecordError:
        engine.dispose()
        raise
    return engine


def _turn(engine: Engine) -> AbstractContextManager[None]:
    if engine.dialect.name == "sqlite":
        return turns_at(place(engine.url)).mine(BUSY_MS / 1000)
    return nullcontext()  # PostgreSQL serves whoever waits for its lock in their order


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """A session that commits at the end, or rolls back on an error; one writer at a time.

    Raises
    ------
    RecordError
        If the database refuses or cannot be reached.
    """
    try:
        with _turn(engine), Session(engine) as session, session.begin():
            yield session
    except TimeoutError as error:
        raise RecordError(
            f"The records at {place(engine.url)} are busy with others' writing. Nothing was kept; "
            "try again."
        ) from error
    except SQLAlchemyError as error:
        raise RecordError(
            f"The records at {place(engine.url)} did not take this ({_detail(error)}). "
            "Nothing was kept; try again, or look whether the disk is full or read-only."
        ) from error


@contextmanager
def snapshot(engine: Engine) -> Iterator[Session]:
    """A session for reading only: one state of the records, and no writer waits for it.

    Raises
    ------
    RecordError
        If the database cannot be read.
    """
    options: dict[str, Any] = {_READ_ONLY: True}
    if engine.dialect.name == "postgresql":
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    try:
        with Session(engine.execution_options(**options)) as session, session.begin():
            yield session
    except SQLAlchemyError as error:
        raise RecordError(
            f"The records at {place(engine.url)} cannot be read ({_detail(error)}). "
            f"Check that the file or server is there, or set {VARIABLE} to another."
        ) from error


def _detail(error: SQLAlchemyError) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]
