"""What was acknowledged is there: many at once, killed writers, a copy at that moment."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest
from db_support import BACKENDS, address, commit, new_case, open_database, opened
from sqlalchemy import Engine, select, text

from db import records, session
from db.errors import RecordError
from db.schema import Reading
from db.session import snapshot, transaction

READERS, EACH = 40, 50
KILLS = 100


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with open_database(request.param, tmp_path) as engine:
        yield engine


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[round(share * (len(values) - 1))]


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_forty_readers_at_once_lose_nothing(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each with a connection of its own and no pause: far more than people do."""
    names = [f"reader {k}" for k in range(READERS)]
    with transaction(engine) as db:
        made = opened(db, readers=names, cases=[new_case(k) for k in range(EACH)])
    start = Barrier(READERS)

    def read(name: str) -> list[tuple[str, float]]:
        own = session.connect(engine.url)
        with snapshot(own) as db:
            first = records.next_assignment(db, study_id=made.id, reader=name)
            assert isinstance(first, records.AssignmentRecord)
        start.wait()
        acknowledged = []
        for k in range(EACH):
            task = replace(first, id=first.id + k)  # numbers follow each other
            begun = time.perf_counter()
            with transaction(own) as db:
                kept = commit(db, task, name, k / EACH)
            acknowledged.append((f"{kept.id} {name} {kept.sha256}", time.perf_counter() - begun))
        own.dispose()
        return acknowledged

    begun = time.perf_counter()
    with ThreadPoolExecutor(READERS) as pool:
        results = [entry for found in pool.map(read, names) for entry in found]
    seconds = time.perf_counter() - begun
    with snapshot(engine) as db:
        rows = records.study_readings(db, made.id)
        verdict = records.verify(db)
        progress = records.progress(db, made.id)
    assert sorted(f"{row.id} {row.reader} {row.sha256}" for row in rows) == sorted(
        name for name, _ in results
    )
    assert len(rows) == READERS * EACH
    assert len({(row.reader, row.case) for row in rows}) == READERS * EACH
    assert [p.done for p in progress] == [EACH] * READERS
    assert verdict.ok
    waits = [wait for _, wait in results]
    with capsys.disabled():
        sys.stdout.write(
            f"\n{engine.dialect.name}: {len(rows)} readings of {READERS} readers at once in "
            f"{seconds:.1f} s; commit p50 {1000 * percentile(waits, 0.5):.0f} ms, "
            f"p95 {1000 * percentile(waits, 0.95):.0f} ms, max {1000 * max(waits):.0f} ms\n"
        )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has neither fork nor SIGKILL")
@pytest.mark.slow
def test_a_hundred_killed_writers_lose_nothing(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    with transaction(engine) as db:
        made = opened(
            db, readers=["Ana"], cases=[new_case(k) for k in range(400)], repeat_share=1.0
        )
    tests = Path(__file__).resolve().parent
    done = subprocess.run(
        [sys.executable, "db_writer.py", address(engine), str(made.id), str(KILLS), "1"],
        cwd=tests,
        env=os.environ | {"PYTHONPATH": str(tests.parent)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    with snapshot(engine) as db:
        tokens = db.scalars(select(Reading.token).order_by(Reading.id)).all()
        verdict = records.verify(db)
    assert told["bad"] == []
    assert verdict.ok
    assert len(told["said"]) == len(set(told["said"])) > KILLS
    assert set(told["said"]) <= set(tokens)
    assert len(tokens) == len(set(tokens)) <= len(told["said"]) + KILLS  # unsaid: one a kill
    with capsys.disabled():
        sys.stdout.write(
            f"\n{engine.dialect.name}: {KILLS} writers killed, {len(told['said'])} readings "
            f"acknowledged and kept, {len(tokens) - len(told['said'])} kept unacknowledged\n"
        )


def test_a_copy_at_the_moment_of_acknowledgement_holds_the_reading(tmp_path: Path) -> None:
    with open_database("sqlite", tmp_path) as engine:
        path = Path(str(engine.url.database))
        with transaction(engine) as db:
            made = opened(db, readers=["Ana"], n_cases=5)
        for k in range(5):
            with transaction(engine) as db:
                task = records.next_assignment(db, study_id=made.id, reader="Ana")
                assert isinstance(task, records.AssignmentRecord)
                kept = commit(db, task, "Ana", k / 10)
            folder = tmp_path / f"copy {k}"
            folder.mkdir()
            for part in (path, path.with_name(f"{path.name}-wal")):
                shutil.copyfile(part, folder / part.name)
            copy = session.open_records(str(folder / path.name))
            with snapshot(copy) as db:
                assert records.own_readings(db, study_id=made.id, reader="Ana")[-1] == kept
                assert records.verify(db).ok
            copy.dispose()


def test_postgresql_acknowledges_what_is_on_disk(tmp_path: Path) -> None:
    with open_database("postgresql", tmp_path) as engine:
        with engine.connect() as connection:
            name = engine.url.database
            connection.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
            connection.commit()
        engine.dispose()
        with engine.connect() as connection:
            assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == "on"
            assert connection.execute(text("SHOW fsync")).scalar_one() == "on"


@pytest.mark.parametrize("tokens", [("one", "one"), ("one", "two")])
def test_a_double_enter_at_the_same_moment_commits_once(
    engine: Engine, tokens: tuple[str, str]
) -> None:
    with transaction(engine) as db:
        made = opened(db, readers=["Ana"])
        task = records.next_assignment(db, study_id=made.id, reader="Ana")
        assert isinstance(task, records.AssignmentRecord)
    start = Barrier(2)

    def press(token: str) -> records.ReadingRecord | str:
        start.wait()
        try:
            with transaction(engine) as db:
                return commit(db, task, "Ana", 0.3, token=token)
        except RecordError as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(press, tokens)
    with snapshot(engine) as db:
        [kept] = records.own_readings(db, study_id=made.id, reader="Ana")
        assert records.verify(db).ok
    if tokens[0] == tokens[1]:
        assert first == second == kept
    else:
        assert kept in (first, second)
        assert any("committed already" in str(answer) for answer in (first, second))


def test_reading_waits_for_no_writer(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(db)
        begun = time.perf_counter()
        with snapshot(engine) as other:
            assert records.studies(other) == []
        assert time.perf_counter() - begun < 2.0
        assert made.state == "open"
    with snapshot(engine) as other:
        assert [study.id for study in records.studies(other)] == [made.id]
