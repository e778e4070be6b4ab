"""Records with rows in every table, from the first revision through all that followed."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from db_support import BACKENDS, PNG, address, commit, empty_database, following, sha
from migration_support import (
    fill_first_revision,
    fill_fourth_revision,
    fill_second_revision,
    table,
)
from sqlalchemy import Connection, Engine, inspect, select, text

from db import records, session
from db.__main__ import main
from db.errors import RecordError
from db.schema import Base

Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _heads_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CELLULARITY_HEADS", str(tmp_path / "heads.jsonl"))


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with empty_database(request.param, tmp_path) as url:
        engine = session.connect(url)
        yield engine
        engine.dispose()


FILLS: dict[str, Callable[[Engine], None]] = {
    "0001": fill_first_revision,
    "0002": fill_second_revision,
    "0004": fill_fourth_revision,
}
"""What each revision brought room for, as its software wrote it."""


def rows(connection: Connection) -> Rows:
    """All that is in the database, by table."""
    found = {}
    for name in set(inspect(connection).get_table_names()) - {"alembic_version"}:
        kept = table(connection, name)
        query = select(kept).order_by(*kept.primary_key.columns)
        found[name] = [dict(row) for row in connection.execute(query).mappings()]
    return found


@pytest.fixture
def filled(engine: Engine) -> list[Rows]:
    """What was there at each revision but the last; the database stands at the last but one."""
    states = []
    with engine.connect() as connection:
        script = ScriptDirectory.from_config(session.migrations(connection))
    *earlier, _last = [step.revision for step in script.walk_revisions()][::-1]
    for revision in earlier:
        session.upgrade(engine, revision)
        FILLS.get(revision, lambda _: None)(engine)
        with engine.connect() as connection:
            states.append(rows(connection))
    return states


def test_every_row_of_every_revision_is_there_unchanged(
    engine: Engine, filled: list[Rows], capsys: pytest.CaptureFixture[str]
) -> None:
    before = filled[-1]
    assert set(before) == set(Base.metadata.tables), "a new table needs rows in FILLS"
    assert all(before.values()), "every table needs rows in FILLS"
    end = before["audit_event"][-1]["hash"]
    url = address(engine)
    assert main(["--url", url, "upgrade"]) == 0
    assert " are at revision " in capsys.readouterr().out
    assert main(["--url", url, "verify", "--head", end]) == 0
    assert " are as written: " in capsys.readouterr().out
    with engine.connect() as connection:
        after = rows(connection)
        if engine.dialect.name == "sqlite":
            assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
    for state in filled:
        for name, old in state.items():
            kept = [
                {column: value for column, value in new.items() if column in was}
                for was, new in zip(old, after[name], strict=False)
            ]
            assert kept == old, name
            if not name.startswith("audit"):
                assert len(after[name]) == len(filled[-1][name])


def test_records_are_read_as_before_and_the_study_goes_on(
    engine: Engine, filled: list[Rows], tmp_path: Path
) -> None:
    assert filled
    session.upgrade(engine)
    with session.snapshot(engine) as db:
        reads = [(r.case, r.cellularity, r.seconds) for r in records.study_readings(db, 11)]
        free = [(r.reader, r.cellularity) for r in records.free_readings(db)]
        [changed] = records.amendments(db, 12)
        [score] = [s for s in records.model_scores(db, 11) if s.value is not None]
        [agreed] = records.consensus(db, 11)
        assert records.image(db, sha256=sha(12)) == PNG + bytes([12])
        account = records.find_account(db, issuer="https://id", subject="s", email="e@x")
    assert reads == [("C-1", 0.3, 1 / 3), ("C-2", 2 / 3, 1 / 3)]
    assert free == [("R1", 0.1), ("R2", 0.2), ("R1", 1 / 3), ("Zoe", 0.9)]
    assert (changed.cellularity, changed.why) == (0.7, "a better picture")
    assert (score.method, score.value, score.low, score.high) == ("gbt", 0.4, 0.1, 0.8)
    assert (agreed.case, agreed.cellularity) == ("C-1", 0.35)
    assert account is not None and (account.name, account.role) == ("Zoe", "coordinator")
    with session.transaction(engine) as db:
        task = following(db, 12, "Zoe")
        assert task.sha256 == sha(12)
        commit(db, task, "Zoe", 0.5)
        assert records.verify(db).ok
    assert main(["--url", address(engine), "export", "--out", str(tmp_path / "out")]) == 0


def test_records_of_newer_software_are_left_alone_and_told_of(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    session.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(RecordError, match=r"newer version .* Update the software"):
        session.upgrade(engine)
    assert main(["--url", address(engine), "verify"]) == 1
    said = capsys.readouterr()
    assert "9999" in said.err and "Traceback" not in said.err
    with closing(engine.raw_connection()) as raw:
        cursor = raw.cursor()
        cursor.execute("SELECT version_num FROM alembic_version")
        assert cursor.fetchone()[0] == "9999"
