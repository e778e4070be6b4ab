"""Back-up, restore, heads noted outside, export, the command line."""

import csv
import hashlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import pytest
from db_support import (
    BACKENDS,
    address,
    commit,
    empty_database,
    new_case,
    open_database,
    opened,
    read_all,
    sha,
)
from sqlalchemy import Engine, text

from cellularity_core.export import safe_text
from db import backup, heads, records, session
from db import export as db_export
from db.__main__ import main
from db.errors import RecordError
from db.export import export
from db.schema import Base
from db.session import snapshot, transaction

STUDY = "Readers 2026"


def fill(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(
            db, n_cases=3, n_training=1, repeat_share=0.5, arm="before-after with control"
        )
        for reader in made.readers:
            read_all(db, made.id, reader, 0.25)
        records.add_reading(
            db,
            sha256="d" * 64,
            patch="free, “quoted”.png",
            width=512,
            height=512,
            mpp=0.5,
            reader="Zoe",
            cellularity=1 / 3,
            seen_models=True,
            software="cellularity 1.0",
        )


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with open_database(request.param, tmp_path, fill) as engine:
        yield engine


@pytest.fixture(autouse=True)
def noted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "noted" / "heads.jsonl"
    monkeypatch.setenv("CELLULARITY_HEADS", str(path))
    return path


def everything(engine: Engine) -> dict[str, list[tuple[object, ...]]]:
    with engine.connect() as connection:
        return {
            table.name: [
                tuple(row)
                for row in connection.execute(table.select().order_by(*table.primary_key.columns))
            ]
            for table in Base.metadata.sorted_tables
        }


@pytest.mark.parametrize("target", BACKENDS)
def test_a_backup_brings_everything_back_on_either_database(
    engine: Engine, target: str, tmp_path: Path, noted: Path
) -> None:
    before = everything(engine)
    made = backup.backup(engine, tmp_path / "to" / "records.backup")
    told = json.loads((tmp_path / "to" / "records.backup.json").read_text())
    assert told["sha256"] == hashlib.sha256(made.path.read_bytes()).hexdigest() == made.sha256
    with snapshot(engine) as db:
        assert made.head == records.head(db)
        assert told["head"] == {"sequence": made.head.sequence, "hash": made.head.hash}
    assert [
        p.name for p in made.path.parent.iterdir() if "-wal" in p.name or "-shm" in p.name
    ] == []
    with empty_database(target, tmp_path) as url:
        backup.restore(made.path, url)
        restored = session.connect(url)
        assert everything(restored) == before
        with transaction(restored) as db:
            assert records.verify(db, made.head).ok
            # Numbers go on behind the restored ones.
            more = opened(db, name="Afterwards", readers=["Zoe"])
            read_all(db, more.id, "Zoe")
            assert records.verify(db).ok
        restored.dispose()
    lines = [json.loads(line) for line in noted.read_text().splitlines()]
    assert [line["reason"] for line in lines] == ["back-up records.backup", "restore"]
    assert {line["hash"] for line in lines} == {made.head.hash}


def test_a_backup_runs_while_others_write(engine: Engine, tmp_path: Path) -> None:
    with transaction(engine) as db:
        other = opened(db, name="Open", readers=["Zoe"])
    with ExitStack() as stack:
        db = stack.enter_context(transaction(engine))
        task = records.next_assignment(db, study_id=other.id, reader="Zoe")
        assert isinstance(task, records.AssignmentRecord)
        commit(db, task, "Zoe")
        made = backup.backup(engine, tmp_path / "one")
    with snapshot(engine) as db:
        assert records.verify(db, made.head).ok
        assert records.head(db).sequence == made.head.sequence + 1


def test_a_backup_overwrites_nothing(engine: Engine, tmp_path: Path) -> None:
    backup.backup(engine, tmp_path / "one")
    with pytest.raises(RecordError, match="exists and is not overwritten"):
        backup.backup(engine, tmp_path / "one")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RecordError, match="cannot be written"):
        backup.backup(engine, tmp_path / "file" / "two")


def test_records_that_do_not_verify_are_not_backed_up(engine: Engine, tmp_path: Path) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE patch SET name = 'x' WHERE id = 2"))
    with pytest.raises(RecordError, match="patch 2 was altered"):
        backup.backup(engine, tmp_path / "one")
    assert not (tmp_path / "one").exists()


@pytest.mark.parametrize("backend", ["sqlite"])
def test_an_altered_backup_is_refused(backend: str, tmp_path: Path) -> None:
    with open_database(backend, tmp_path, fill) as engine:
        made = backup.backup(engine, tmp_path / "one")
    url = session.database_url(str(tmp_path / "new.db"))
    sound = made.path.read_bytes()
    beside = made.path.with_name("one.json")
    promise = beside.read_text()

    made.path.write_bytes(sound[:-1] + b"x")
    with pytest.raises(RecordError, match="SHA-256 differs"):
        backup.restore(made.path, url)

    made.path.write_bytes(sound)
    raw = sqlite3.connect(made.path)
    raw.execute("UPDATE patch SET mpp = 0.25 WHERE id = 1")
    raw.commit()
    raw.close()
    forged = json.loads(promise) | {"sha256": hashlib.sha256(made.path.read_bytes()).hexdigest()}
    beside.write_text(json.dumps(forged))
    with pytest.raises(RecordError, match="patch 1 was altered"):
        backup.restore(made.path, url)

    made.path.write_bytes(sound)
    later = json.loads(promise)
    later["head"] = {"sequence": later["head"]["sequence"] + 1, "hash": "a" * 64}
    beside.write_text(json.dumps(later))
    with pytest.raises(RecordError, match="end of the trail was cut off"):
        backup.restore(made.path, url)

    beside.write_text("{}")
    with pytest.raises(RecordError, match="cannot be read"):
        backup.restore(made.path, url)
    assert not (tmp_path / "new.db").exists()


def test_records_that_are_there_are_moved_aside_only_when_asked(tmp_path: Path) -> None:
    with open_database("sqlite", tmp_path, fill) as engine:
        made = backup.backup(engine, tmp_path / "one")
        with transaction(engine) as db:
            records.enrol(db, name="Later")
            late = records.record_head(db, reason="report")
        url = engine.url
        with pytest.raises(RecordError, match="--replace"):
            backup.restore(made.path, url)
        with pytest.raises(RecordError, match="Stop the app"):  # it has the file open
            backup.restore(made.path, url, replace=True)
        with snapshot(engine) as db:
            assert records.verify(db, late).ok
    done = backup.restore(made.path, url, replace=True)
    assert done.aside is not None
    for path, names in ((str(url.database), 0), (str(done.aside), 1)):
        engine = session.connect(session.database_url(path))
        with snapshot(engine) as db:
            assert (records.find_reader(db, name="Later") is not None) == bool(names)
            assert records.verify(db, made.head).ok
            assert records.verify(db, late).ok == bool(names)
        engine.dispose()
    assert late not in heads.noted_heads(url)
    assert made.head in heads.noted_heads(url)


def test_records_in_postgresql_are_never_replaced(tmp_path: Path) -> None:
    with open_database("postgresql", tmp_path, fill) as engine:
        made = backup.backup(engine, tmp_path / "one")
        before = everything(engine)
        for replace in (False, True):
            with pytest.raises(RecordError, match="new, empty database"):
                backup.restore(made.path, engine.url, replace=replace)
        assert everything(engine) == before


def test_heads_are_noted_outside_and_asked_for(
    tmp_path: Path, noted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_database("sqlite", tmp_path, fill) as engine:
        with transaction(engine) as db:
            records.enrol(db, name="Last")
        with snapshot(engine) as db:
            head = records.record_head(db, reason="report of study 1")
        url = str(engine.url.database)
    [line] = [json.loads(line) for line in noted.read_text().splitlines()]
    assert (line["sequence"], line["hash"], line["reason"]) == (
        head.sequence,
        head.hash,
        "report of study 1",
    )
    assert datetime.fromisoformat(line["at"]).utcoffset() is not None
    assert main(["--url", url, "verify"]) == 0
    assert "1 head noted outside" in capsys.readouterr().out

    raw = sqlite3.connect(url)  # the end is cut off
    for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        raw.execute(f"DROP TRIGGER {name}")
    for table in ("audit_content", "audit_event"):
        raw.execute(f"DELETE FROM {table} WHERE sequence = ?", (head.sequence,))
    raw.execute("DELETE FROM reader WHERE name = 'Last'")
    raw.commit()
    raw.close()
    assert main(["--url", url, "verify"]) == 1
    assert f"audit_event {head.sequence} is missing" in capsys.readouterr().err
    monkeypatch.setenv("CELLULARITY_HEADS", str(tmp_path / "none"))
    assert main(["--url", url, "verify"]) == 0
    assert main(["--url", url, "verify", "--head", head.hash]) == 1
    capsys.readouterr()
    (tmp_path / "none").write_text('{"records"')
    assert main(["--url", url, "verify"]) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_heads_lie_beside_an_sqlite_file_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CELLULARITY_HEADS")
    with open_database("sqlite", tmp_path, fill) as engine:
        with snapshot(engine) as db:
            head = records.record_head(db, reason="report")
        assert (tmp_path / "records.db.heads.jsonl").is_file()
        assert heads.noted_heads(engine.url) == [head]
        moved = tmp_path / "moved.db"
        (tmp_path / "records.db.heads.jsonl").rename(tmp_path / "moved.db.heads.jsonl")
        assert heads.noted_heads(session.database_url(str(moved))) == [head]
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    if sys.platform == "linux":
        url = session.database_url("postgresql://host/name")
        assert heads.heads_path(url) == tmp_path / "cellularity" / "heads.jsonl"


def test_heads_that_cannot_be_noted_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("CELLULARITY_HEADS", str(tmp_path / "file" / "heads"))
    with (
        open_database("sqlite", tmp_path, fill) as engine,
        snapshot(engine) as db,
        pytest.raises(RecordError, match="Set CELLULARITY_HEADS"),
    ):
        records.record_head(db, reason="report")


def test_readings_are_exported_one_a_row(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with snapshot(engine) as db:
        written = export(db, folder, imrmc=True)
        rows = records.study_readings(db, 1)
    assert sorted(path.name for path in written) == [
        "amendments.csv",
        "consensus.csv",
        "imrmc-1.csv",
        "model_scores.csv",
        "model_sets.csv",
        "readings.csv",
    ]
    table = read(folder / "readings.csv")
    assert len(table) == len(rows) + 1
    for told, row in zip(table, rows, strict=False):
        assert told["study"] == STUDY
        assert (told["reader"], told["case"], told["phase"]) == (row.reader, row.case, row.phase)
        assert float(told["cellularity"]) == row.cellularity
        assert datetime.fromisoformat(told["created_at"]) == row.created_at
        assert told["is_training"] == str(int(row.is_training))
    free = table[-1]
    assert (free["study"], free["reader"], free["phase"]) == ("", "Zoe", "free")
    assert float(free["cellularity"]) == 1 / 3
    imrmc = read(folder / "imrmc-1.csv")
    assert list(imrmc[0]) == ["readerID", "caseID", "modalityID", "score"]
    assert len(imrmc) == sum(not row.is_training for row in rows)
    keys = [(row["readerID"], row["caseID"], row["modalityID"]) for row in imrmc]
    assert len(set(keys)) == len(keys)  # one observation of each
    assert {row["modalityID"] for row in imrmc} >= {"before", "before-repeat", "after"}
    with pytest.raises(RecordError, match="exists and is not overwritten"), snapshot(engine) as db:
        export(db, folder)


@pytest.mark.parametrize("begin", [*"=+-@\t\r", *"\uff1d\uff0b\uff0d\uff20"])
def test_no_written_table_of_records_holds_a_formula(begin: str) -> None:
    """As the tables that the app offers have it (`cellularity_core.export`)."""
    text = f"{begin}HYPERLINK(1)\n"
    assert db_export._cell(text) == safe_text(text)
    assert db_export._cell(text).startswith("'")
    assert db_export._cell(f"a{text}") == safe_text(f"a{text}")
    assert db_export._cell(-0.5) == -0.5


def test_a_formula_in_a_name_is_text_in_the_export(tmp_path: Path) -> None:
    with open_database("sqlite", tmp_path) as engine:
        with transaction(engine) as db:
            records.add_reading(
                db,
                sha256="ab" * 32,
                patch="=1+1.png",
                width=64,
                height=64,
                mpp=0.5,
                reader="@SUM(1)",
                cellularity=0.5,
                seen_models=False,
                software="a test",
            )
        with snapshot(engine) as db:
            export(db, tmp_path / "out")
    [row] = read(tmp_path / "out" / "readings.csv")
    assert row["reader"] == "'@SUM(1)"


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_command_line_from_end_to_end(engine: Engine, tmp_path: Path) -> None:
    def run(*arguments: str, url: str = address(engine)) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "db", "--url", url, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
        )

    saved = str(tmp_path / "saved")
    new = str(tmp_path / "new.db")
    assert run("backup", saved).returncode == 0
    done = run("restore", saved, url=new)
    assert (done.returncode, done.stderr) == (0, "")
    done = run("verify", url=new)
    assert done.returncode == 0
    assert " are as written: " in done.stdout
    done = run("restore", saved, url=new)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Give --replace" in done.stderr
    assert run("restore", saved, "--replace", url=new).returncode == 0
    done = run("export", "--out", str(tmp_path / "out"), "--imrmc", url=new)
    assert len(done.stdout.splitlines()) == 6
    assert run("export", url=new).returncode == 2
    done = run("verify", "--head", "0" * 63 + "1", url=new)
    assert done.returncode == 1
    assert "is missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_patient_is_erased_by_command(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    with transaction(engine) as db:
        opened(db, name="Asked", readers=["Zoe"], cases=[new_case(77, patient="P-77")])
    url = address(engine)
    asked = ["--url", url, "erase", "--actor", "C", "--why", "letter of 24 November"]
    assert main([*asked, "P-77"]) == 0
    assert "Erased 1 case, 1 image" in capsys.readouterr().out
    with snapshot(engine) as db:
        assert records.image(db, sha256=sha(77)) is None
    assert main(["--url", url, "verify"]) == 0
    assert main([*asked, "P-77"]) == 1
    assert "P-77" in capsys.readouterr().err
