"""The audit trail: who did what, chained by hashes; written with each change.

Every function that writes ends with `record`, in the same transaction. Writers
take turns (`db.session`), so the chain has one end.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Boolean, Float, Integer, Table, insert, inspect, select
from sqlalchemy.orm import Session

from db import chain
from db.schema import AuditContent, AuditEvent, Base, utcnow

SALTED: Final = frozenset({"patch", "image", "case", "sight"})
"""Entities whose columns may be erased: hashes of their rows are salted like contents."""

ERASURE: Final = "erasure"
"""Entity of the event that lists the events whose content was erased."""


@dataclass(frozen=True, slots=True)
class Head:
    """End of the chain: number and hash of its last event; 0 and zeros before the first."""

    sequence: int
    hash: str


def row_values(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """All columns of a row, each in the type that the database gives back."""
    values: dict[str, Any] = {}
    for column in table.columns:
        value = row[column.name]
        if value is not None and not isinstance(value, bytes | str):
            if isinstance(column.type, Boolean):
                value = bool(value)
            elif isinstance(column.type, Integer):
                value = int(value) if value == int(value) else value  # SQLite keeps any number
            elif isinstance(column.type, Float):
                value = float(value)
        values[column.name] = value
    return values


def columns_of(entity: Base) -> dict[str, Any]:
    """All columns of a flushed entity, by name."""
    mapper = inspect(type(entity))
    table = mapper.local_table
    assert isinstance(table, Table)
    row = {
        column.name: getattr(entity, mapper.get_property_by_column(column).key)
        for column in table.columns
    }
    return row_values(table, row)


def record(
    session: Session,
    *,
    actor: str,
    action: str,
    entity: Base,
    old: Any = None,
    new: Any = None,
    parts: Iterable[Base] = (),
) -> None:
    """Append the event of a change to `entity`, which is flushed first.

    Parameters
    ----------
    actor, action : str
    entity : Base
        The row made or changed.
    old, new
        What is told of the values before and after. Nothing given for `new`: all
        columns.
    parts : iterable of Base
        Rows made with it that have no event of their own; its hash covers them.
    """
    session.flush()
    values = columns_of(entity)
    told = values if new is None else new
    parts = list(parts)
    if parts:
        values = values | {"parts": [columns_of(part) for part in parts]}
    mapper = inspect(type(entity))
    [key] = mapper.primary_key_from_instance(entity)
    append(
        session,
        actor=actor,
        action=action,
        entity=entity.__tablename__,
        entity_id=int(key),
        content={"old": old, "new": told},
        row=values,
    )


def append(
    session: Session,
    *,
    actor: str,
    action: str,
    entity: str,
    entity_id: int,
    content: Mapping[str, Any],
    row: Mapping[str, Any] | None,
) -> int:
    """Append an event; its number.

    `row` holds all columns of the row as the event leaves it, or is None where it
    leaves none.
    """
    told, kept = _linked(
        head(session),
        actor=actor,
        action=action,
        entity=entity,
        entity_id=entity_id,
        content=content,
        row=row,
    )
    session.execute(insert(AuditEvent).values(**told))
    session.execute(insert(AuditContent).values(**kept))
    return int(told["sequence"])


def record_all(session: Session, *, actor: str, action: str, entities: Sequence[Base]) -> None:
    """Append an event for each of new rows that were put in.

    In a few statements however many they are: writers wait for each other.
    """
    last = head(session)
    events, contents = [], []
    for entity in entities:
        values = columns_of(entity)
        [key] = inspect(type(entity)).primary_key_from_instance(entity)
        told, kept = _linked(
            last,
            actor=actor,
            action=action,
            entity=entity.__tablename__,
            entity_id=int(key),
            content={"old": None, "new": values},
            row=values,
        )
        last = Head(told["sequence"], told["hash"])
        events.append(told)
        contents.append(kept)
    if events:
        session.execute(insert(AuditEvent), events)
        session.execute(insert(AuditContent), contents)


def _linked(
    last: Head,
    *,
    actor: str,
    action: str,
    entity: str,
    entity_id: int,
    content: Mapping[str, Any],
    row: Mapping[str, Any] | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The event that follows `last`, and its content."""
    salt = chain.new_salt()
    text = chain.canonical(content)
    hashed = None if row is None else chain.row_hash(entity, row, salt if entity in SALTED else "")
    told: dict[str, Any] = {
        "sequence": last.sequence + 1,
        "at": utcnow(),
        "actor": actor,
        "action": action,
        "entity": entity,
        "entity_id": entity_id,
        "row_hash": hashed,
        "content_hash": chain.content_hash(salt, text),
        "prev_hash": last.hash,
    }
    kept = {"sequence": told["sequence"], "salt": salt, "content": text}
    return told | {"hash": chain.event_hash(**told)}, kept


def head(session: Session) -> Head:
    """End of the chain."""
    query = select(AuditEvent.sequence, AuditEvent.hash).order_by(AuditEvent.sequence.desc())
    last = session.execute(query.limit(1)).one_or_none()
    return Head(0, chain.GENESIS) if last is None else Head(last.sequence, last.hash)
