"""The drill: back up while readers read, restore elsewhere; what is damaged is refused."""

import errno
import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from db_support import (
    BACKENDS,
    address,
    commit,
    empty_database,
    following,
    open_database,
    opened,
    sha,
)
from migration_support import fill_first_revision, fill_second_revision
from sqlalchemy import Engine

from db import backup, records, session
from db.__main__ import main
from db.errors import RecordError
from db.session import snapshot, transaction


@pytest.fixture(autouse=True)
def _heads_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CELLULARITY_HEADS", str(tmp_path / "heads.jsonl"))


def fill(engine: Engine) -> None:
    with transaction(engine) as db:
        opened(db, readers=["Ana"])


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with open_database(request.param, tmp_path, fill) as engine:
        yield engine


def scores(engine: Engine) -> list[float | None]:
    """Those of all readings, in the order of their commits."""
    with snapshot(engine) as db:
        rows = sorted(records.study_readings(db, 1), key=lambda row: row.id)
        return [row.cellularity for row in rows]


def test_a_backup_amid_commits_holds_all_that_came_before_it(
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def read(score: float) -> None:
        with transaction(engine) as db:
            commit(db, following(db, 1, "Ana"), "Ana", score)

    def verified(*given: Any) -> records.Head:
        read(0.2)  # the records are copied, the back-up is not yet there
        return really(*given)

    really, saved, new = backup._verified, tmp_path / "saved", str(tmp_path / "else" / "new.db")
    read(1 / 3)
    with monkeypatch.context() as patch:
        patch.setattr(backup, "_verified", verified)
        assert main(["--url", address(engine), "backup", str(saved)]) == 0
    read(0.4)
    assert main(["--url", new, "restore", str(saved)]) == 0
    end = json.loads(backup.beside(saved).read_text())["head"]["hash"]
    assert main(["--url", new, "verify", "--head", end]) == 0
    assert main(["--url", address(engine), "verify", "--head", end]) == 0
    assert capsys.readouterr().err == ""
    restored = session.connect(session.database_url(new))
    assert scores(restored) == [1 / 3]
    restored.dispose()
    assert scores(engine) == [1 / 3, 0.2, 0.4]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A sound back-up of an SQLite file."""
    with open_database("sqlite", tmp_path, fill) as engine:
        return backup.backup(engine, tmp_path / "saved").path


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (flip, "not as it was written"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "not as it was written"),
        (lambda path: path.write_bytes(b""), "not as it was written"),
        (lambda path: path.unlink(), "There is no back-up at"),
        (lambda path: backup.beside(path).unlink(), "saved.json cannot be read"),
        (lambda path: backup.beside(path).write_text("{"), "it is damaged"),
        (lambda path: backup.beside(path).write_text("[]"), "it is damaged"),
        (lambda path: backup.beside(path).write_bytes(b"\xff"), "it is damaged"),
    ],
)
def test_a_damaged_backup_is_refused_in_a_sentence(
    saved: Path,
    tmp_path: Path,
    damage: Callable[[Path], None],
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(saved)
    new = tmp_path / "new.db"
    assert main(["--url", str(new), "restore", str(saved)]) == 1
    said = capsys.readouterr()
    assert told in said.err
    assert said.err.count("\n") == 1 and said.err.endswith(".\n")
    assert said.out == ""
    assert list(tmp_path.glob("new.db*")) == []


def test_a_full_disk_leaves_nothing_half_written(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fills_up(source: object, target: object) -> None:
        target.write(b"half")  # type: ignore[attr-defined]
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", fills_up)
    with pytest.raises(RecordError, match="No space left on device"):
        backup.restore(saved, session.database_url(str(tmp_path / "new" / "new.db")))
    assert list((tmp_path / "new").iterdir()) == []
    with (
        open_database("sqlite", tmp_path, fill) as engine,
        pytest.raises(RecordError, match="No space left on device"),
    ):
        backup.backup(engine, tmp_path / "to" / "saved")
    assert list((tmp_path / "to").iterdir()) == []


def by_hand(engine: Engine, path: Path) -> Path:
    """A back-up as software of an earlier revision made it."""
    with closing(sqlite3.connect(str(engine.url.database))) as raw:
        raw.execute("VACUUM INTO ?", (str(path),))
        query = "SELECT sequence, hash FROM audit_event ORDER BY sequence DESC"
        sequence, end = raw.execute(query).fetchone()
    told = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    backup.beside(path).write_text(json.dumps(told | {"head": {"sequence": sequence, "hash": end}}))
    return path


@pytest.mark.parametrize("target", BACKENDS)
def test_a_backup_of_earlier_software_comes_back_up_to_date(tmp_path: Path, target: str) -> None:
    (tmp_path / "old").mkdir()
    with empty_database("sqlite", tmp_path / "old") as url:
        old = session.connect(url)
        session.upgrade(old, "0001")
        fill_first_revision(old)
        session.upgrade(old, "0002")
        fill_second_revision(old)
        made = by_hand(old, tmp_path / "saved")
        old.dispose()
    with empty_database(target, tmp_path) as url:
        backup.restore(made, url)
        new = session.connect(url)
        with transaction(new) as db:
            assert records.verify(db).ok
            assert [row.cellularity for row in records.study_readings(db, 11)] == [0.3, 2 / 3]
            assert following(db, 12, "Zoe").sha256 == sha(12)
        new.dispose()


def test_a_backup_of_newer_software_is_refused(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(saved)) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
        raw.commit()
    promised = json.loads(backup.beside(saved).read_text())
    promised["sha256"] = hashlib.sha256(saved.read_bytes()).hexdigest()
    backup.beside(saved).write_text(json.dumps(promised))
    assert main(["--url", str(tmp_path / "new.db"), "restore", str(saved)]) == 1
    assert "newer version" in capsys.readouterr().err
    assert not (tmp_path / "new.db").exists()
