"""Records with rows in every table, and somebody who alters them past the software."""

from typing import Any

from db_support import commit, mark, opened, read_all, sha
from sqlalchemy import Engine, create_engine, event, text

from db import records
from db.schema import Base
from db.session import snapshot, transaction
from db.verify import COVERED

GUARDED = (
    "reading",
    "amendment",
    "model_score",
    "consensus",
    "assignment",
    "sight",
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
        seen = {sha(number): [mark(number)] for number in (500, 501)}
        records.note_sights(db, reader="Kim Weber", seen=seen)


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
