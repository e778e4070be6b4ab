"""Back-up to one file, and restore from it.

A back-up is an SQLite file whatever the records are in: rows and chain are the same
on SQLite and PostgreSQL, so it is the way from one to the other too. Beside it lies
``FILE.json`` with its SHA-256 and the head of its chain.
"""

import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, Integer, Table, func, insert, select, text
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from db import audit, heads
from db.audit import Head
from db.errors import RecordError
from db.schema import AuditEvent, Base, utcnow
from db.session import connect, open_records, place, snapshot, transaction, upgrade
from db.verify import verify

_CHUNK: Final = 100
_BUSY_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Backup:
    """A back-up that was made or restored; `aside` is where replaced records are now."""

    path: Path
    sha256: str
    head: Head
    aside: Path | None = None


def beside(path: Path) -> Path:
    """File with the SHA-256 and the head of the back-up `path`."""
    return path.with_name(f"{path.name}.json")


def backup(engine: Engine, path: Path) -> Backup:
    """Copy the records to `path` while others go on writing; the copy is verified.

    Raises
    ------
    RecordError
        If `path` exists, cannot be written, or the records do not verify.
    """
    path = path.expanduser().resolve()
    for taken in (path, beside(path)):
        if taken.exists():
            raise RecordError(f"{taken} exists and is not overwritten. Give another name.")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.db"
        if engine.dialect.name == "sqlite":
            _copy_file(Path(str(engine.url.database)), copy)
        else:
            _copy_rows_out(engine, copy)
        head = _verified(copy, None, f"The records at {place(engine.url)}")
        sha256 = _sha256(copy)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            told = {
                "sha256": sha256,
                "head": {"sequence": head.sequence, "hash": head.hash},
                "at": utcnow().isoformat(timespec="seconds"),
                "records": place(engine.url),
            }
            _put(copy, path)
            beside(path).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise RecordError(
                f"The back-up cannot be written to {path} ({error.strerror}). Give another place."
            ) from error
    with snapshot(engine) as session:
        heads.record_head(session, reason=f"back-up {path.name}")
    return Backup(path, sha256, head)


def restore(path: Path, url: URL, *, replace: bool = False) -> Backup:
    """Put the records of a back-up at `url`, once they are proved to be whole.

    Parameters
    ----------
    replace : bool
        Whether records in an SQLite file there may be moved aside.

    Raises
    ------
    RecordError
        If the back-up was altered, there are records already, or the app is running.
    """
    path = path.expanduser().resolve()
    sha256, head = _promised(path)
    if _sha256(path) != sha256:
        raise RecordError(
            f"{path} is not as it was written (its SHA-256 differs from that in "
            f"{beside(path).name}). Restore another back-up."
        )
    aside = None
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.db"
        shutil.copyfile(path, copy)
        _verified(copy, head, str(path))
        if url.get_backend_name() == "sqlite":
            aside = _install(copy, Path(str(url.database)), replace)
        else:
            _copy_rows_in(copy, url)
    engine = open_records(url.render_as_string(hide_password=False))
    try:
        with snapshot(engine) as session:
            verdict = verify(session, head)
            if not verdict.ok:
                raise RecordError(
                    f"What was restored to {place(url)} does not verify "
                    f"({verdict.first_bad} {verdict.why}). Restore to another place."
                )
            heads.record_head(session, reason=heads.RESTORED)
    finally:
        engine.dispose()
    return Backup(path, sha256, head, aside)


def _copy_file(source: Path, target: Path) -> None:
    """SQLite's online back-up, as one file without a log beside it."""
    try:
        with (
            closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            old.execute("PRAGMA busy_timeout = 60000")
            old.backup(new)
            new.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise RecordError(
            f"The records at {source} cannot be copied ({error}). Look whether the disk is full."
        ) from error


def _copy_rows_out(engine: Engine, target: Path) -> None:
    new = open_records(str(target))
    try:
        with snapshot(engine) as source, transaction(new) as destination:
            _copy_rows(source, destination)
    finally:
        new.dispose()
    with closing(sqlite3.connect(target)) as raw:
        raw.execute("PRAGMA journal_mode = DELETE")


def _copy_rows_in(copy: Path, url: URL) -> None:
    old, new = connect(_file_url(copy)), connect(url)
    try:
        upgrade(new)
        with snapshot(old) as source, transaction(new) as destination:
            if _has_records(destination):
                raise RecordError(
                    f"There are records at {place(url)} already. Restore to a new, empty database."
                )
            _copy_rows(source, destination)
            for table in Base.metadata.sorted_tables:
                _continue_numbering(destination, table)
    finally:
        old.dispose()
        new.dispose()


def _copy_rows(source: Session, destination: Session) -> None:
    for table in Base.metadata.sorted_tables:
        query = select(table).order_by(*table.primary_key.columns)
        rows = source.execute(query, execution_options={"yield_per": _CHUNK})
        for part in rows.mappings().partitions(_CHUNK):
            destination.execute(insert(table), [dict(row) for row in part])


def _continue_numbering(session: Session, table: Table) -> None:
    """Rows came with their numbers; let PostgreSQL count on behind them."""
    [key] = table.primary_key.columns
    if key.autoincrement is not False and isinstance(key.type, Integer):
        highest = session.execute(select(func.max(key))).scalar_one()
        if highest is not None:
            name = f'"{table.name}"'
            session.execute(
                text("SELECT setval(pg_get_serial_sequence(:name, :key), :highest)"),
                {"name": name, "key": key.name, "highest": highest},
            )


def _has_records(session: Session) -> bool:
    return session.execute(select(func.count()).select_from(AuditEvent)).scalar_one() > 0


def _verified(copy: Path, head: Head | None, what: str) -> Head:
    """Bring a copy up to date and prove its chain; its head."""
    engine = open_records(str(copy))
    try:
        with snapshot(engine) as session:
            verdict = verify(session, head)
            if not verdict.ok:
                raise RecordError(
                    f"{what} do not verify: {verdict.first_bad} {verdict.why}. "
                    "`python -m db verify` says more; restore an older back-up."
                )
            found = audit.head(session)
    finally:
        engine.dispose()
    with closing(sqlite3.connect(copy)) as raw:
        raw.execute("PRAGMA journal_mode = DELETE")
    return found


def _promised(path: Path) -> tuple[str, Head]:
    """SHA-256 and head that were written beside a back-up."""
    if not path.is_file():
        raise RecordError(f"There is no back-up at {path}. Give a file that `backup` made.")
    try:
        told: dict[str, Any] = json.loads(beside(path).read_text(encoding="utf-8"))
        head = Head(int(told["head"]["sequence"]), str(told["head"]["hash"]))
        return str(told["sha256"]), head
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is damaged"
        raise RecordError(
            f"{beside(path)} cannot be read ({why}), so nothing shows that the back-up is "
            "whole. Put it back beside the back-up."
        ) from error


def _install(copy: Path, target: Path, replace: bool) -> Path | None:
    """Move the copy to `target`; where the file that was there is now."""
    connect(_file_url(target)).dispose()  # refuses a network share, makes the folder
    aside = None
    if target.exists():
        if not replace and _is_used(target):
            raise RecordError(
                f"There are records at {target} already. Give --replace to move them aside."
            )
        _close(target)
        aside = target.with_name(f"{target.name}.{utcnow():%Y%m%dT%H%M%SZ}.replaced")
        target.rename(aside)
    try:
        _put(copy, target)
    except OSError as error:
        if aside is not None:
            aside.rename(target)
        raise RecordError(
            f"The records cannot be written to {target} ({error.strerror}). Nothing was changed."
        ) from error
    return aside


def _is_used(path: Path) -> bool:
    engine = open_records(str(path))
    try:
        with snapshot(engine) as session:
            return _has_records(session)
    finally:
        engine.dispose()


def _close(path: Path) -> None:
    """Bring an SQLite file and its log together; refused while anybody has it open."""
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY_SECONDS)) as raw:
            raw.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise RecordError(
            f"{path} cannot be moved aside ({error}). Stop the app if it runs; if that does not "
            "help, move the file by hand."
        ) from error


def _file_url(path: Path) -> URL:
    return URL.create("sqlite", database=str(path))


def _put(source: Path, target: Path) -> None:
    """Copy a file so that `target` is whole or not there, also after a power cut."""
    partial = target.with_name(f"{target.name}.partial")
    try:
        with source.open("rb") as old, partial.open("wb") as new:
            shutil.copyfileobj(old, new)
            new.flush()
            os.fsync(new.fileno())
        partial.replace(target)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)  # a full disk needs the room
        raise


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RecordError(f"{path} cannot be read ({error.strerror}).") from error
