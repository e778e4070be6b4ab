"""Rows and their events, as a migration reads and writes them.

Migrations use these functions, so what they do must not change.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from db import chain

Row = dict[str, Any]


def table(name: str) -> sa.Table:
    """The table as it is now."""
    return sa.Table(name, sa.MetaData(), autoload_with=op.get_bind(), resolve_fks=False)


def as_written(name: str, *, is_salted: bool) -> list[Row]:
    """Rows that are as their last event says; `is_salted`: hashed with the salt of that event."""
    bind = op.get_bind()
    rows, event, content = (table(one) for one in (name, "audit_event", "audit_content"))
    told = (
        sa.select(event.c.entity_id, event.c.row_hash, content.c.salt)
        .join(content, content.c.sequence == event.c.sequence)
        .where(event.c.entity == name)
        .order_by(event.c.sequence)
    )
    last = {key: (hashed, salt or "") for key, hashed, salt in bind.execute(told)}
    found = []
    for read in bind.execute(sa.select(rows).order_by(rows.c.id)).mappings():
        row = {column: _aware(value) for column, value in read.items()}
        hashed, salt = last.get(row["id"], (None, ""))
        if chain.row_hash(name, row, salt if is_salted else "") == hashed:
            found.append(row)
    return found


def _aware(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value


def tell(
    name: str,
    action: str,
    rows: Iterable[tuple[int, Row | None, Row | None]],
    *,
    revision: str,
    is_salted: bool,
) -> None:
    """Append an event for each row: its number, what it is now, what is told of it."""
    bind = op.get_bind()
    event, content = table("audit_event"), table("audit_content")
    end = sa.select(event.c.sequence, event.c.hash).order_by(event.c.sequence.desc()).limit(1)
    sequence, last = bind.execute(end).one_or_none() or (0, chain.GENESIS)
    events, contents = [], []
    for key, row, new in rows:
        sequence += 1
        salt = chain.new_salt()
        written = chain.canonical({"old": None, "new": new})
        row_salt = salt if is_salted else ""
        told: Row = {
            "sequence": sequence,
            "at": datetime.now(UTC),
            "actor": f"migration {revision}",
            "action": action,
            "entity": name,
            "entity_id": key,
            "row_hash": None if row is None else chain.row_hash(name, row, row_salt),
            "content_hash": chain.content_hash(salt, written),
            "prev_hash": last,
        }
        last = chain.event_hash(**told)
        events.append(told | {"hash": last})
        contents.append({"sequence": sequence, "salt": salt, "content": written})
    if events:
        bind.execute(sa.insert(event), events)
        bind.execute(sa.insert(content), contents)
