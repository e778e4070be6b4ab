"""An event put behind a change does not make it right: `verify` holds rows to all their events."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from db_audit_support import fill, intruder, judged, noted
from db_support import BACKENDS, open_database
from sqlalchemy import Connection, Engine, delete, select, text, update

from db import audit, records
from db.schema import AuditContent, AuditEvent, Base, Consensus, ModelScore, Reading
from db.session import transaction


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with open_database(request.param, tmp_path, fill) as engine:
        yield engine


@contextmanager
def theft(engine: Engine) -> Iterator[Connection]:
    own = intruder(engine)
    with own.begin() as thief:
        yield thief
    own.dispose()


def first(engine: Engine, table: type[Base]) -> int:
    with engine.connect() as connection:
        found = connection.execute(text(f"SELECT min(id) FROM {table.__tablename__}"))
        return int(found.scalar_one())


@pytest.mark.parametrize(
    ("table", "column"),
    [(Reading, "cellularity"), (ModelScore, "value"), (Consensus, "cellularity")],
)
def test_an_altered_row_is_found_behind_a_new_event(
    engine: Engine, table: type[Base], column: str
) -> None:
    head, key = noted(engine), first(engine, table)
    with theft(engine) as thief:
        thief.execute(update(table).where(table.__table__.c.id == key).values({column: 0.987}))
    with transaction(engine) as db:
        audit.record(db, actor="Ana", action="score", entity=db.get_one(table, key))
    verdict = judged(engine, head)
    assert (verdict.first_bad, verdict.why) == (f"{table.__tablename__} {key}", "was altered")


def test_a_removed_reading_is_found_behind_a_new_event(engine: Engine) -> None:
    head, key = noted(engine), first(engine, Consensus)
    with theft(engine) as thief:
        thief.execute(delete(Consensus).where(Consensus.id == key))
    with transaction(engine) as db:
        audit.append(
            db, actor="Ana", action="erase", entity="consensus", entity_id=key, content={}, row=None
        )
    verdict = judged(engine, head)
    assert (verdict.first_bad, verdict.why) == (f"consensus {key}", "was removed")


@pytest.mark.parametrize(
    "entity", ["reading", "amendment", "model_score", "consensus", "case", "patch", "image"]
)
def test_content_wiped_under_a_made_up_erasure_is_found(engine: Engine, entity: str) -> None:
    with engine.connect() as connection:
        told = select(AuditEvent.sequence).where(AuditEvent.entity == entity)
        erased = select(AuditContent.sequence).where(AuditContent.salt.is_(None))
        number = (
            connection.execute(
                told.where(AuditEvent.sequence.not_in(erased)).order_by(AuditEvent.sequence.desc())
            )
            .scalars()
            .first()
        )
    assert number is not None
    with theft(engine) as thief:
        wiped = update(AuditContent).where(AuditContent.sequence == number)
        thief.execute(wiped.values(salt=None, content=None))
    with transaction(engine) as db:
        audit.append(
            db,
            actor="Ana",
            action="erase",
            entity=audit.ERASURE,
            entity_id=0,
            content={"old": None, "new": {"why": "x", "events": [number]}},
            row=None,
        )
    verdict = judged(engine)
    assert verdict.first_bad == f"audit_content {number}"
    assert verdict.why == "was erased, though what it tells of was not"


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)  # PostgreSQL keeps no fraction
def test_a_fraction_in_a_column_of_whole_numbers_is_found(engine: Engine) -> None:
    key = first(engine, Reading)
    with theft(engine) as thief:
        thief.execute(text(f"UPDATE reading SET confidence = 4.25 WHERE id = {key}"))
    verdict = judged(engine)
    assert (verdict.first_bad, verdict.why) == (f"reading {key}", "was altered")


def test_records_as_written_pass(engine: Engine) -> None:
    assert records.Verdict(True, None, None, judged(engine).checked) == judged(engine)
