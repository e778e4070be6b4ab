"""Records as earlier software wrote them, put in past the software of today."""

from datetime import UTC, datetime
from typing import Any

from db_support import sha
from sqlalchemy import Connection, Engine, MetaData, Table, insert, inspect, select, text

from db import chain
from db.audit import SALTED

MOMENT = datetime(2026, 3, 4, 5, 6, 7, 123456, tzinfo=UTC)


def table(connection: Connection, name: str) -> Table:
    return Table(name, MetaData(), autoload_with=connection, resolve_fks=False)


def fill_first_revision(engine: Engine) -> None:
    """What revision 0001 could hold: two readers, two patches, three readings."""
    with engine.begin() as connection:
        moment = {"at": MOMENT.replace(tzinfo=None) if engine.dialect.name == "sqlite" else MOMENT}
        for number in (1, 2):
            connection.execute(
                text(
                    "INSERT INTO patch (sha256, name, width, height, mpp, created_at) "
                    "VALUES (:sha, :name, 512, 512, 0.5, :at)"
                ),
                {"sha": sha(number), "name": f"{number}.png"} | moment,
            )
            connection.execute(
                text(
                    "INSERT INTO reader (name, key, score_first, created_at) "
                    "VALUES (:name, :key, :first, :at)"
                ),
                {"name": f"R{number}", "key": f"r{number}", "first": number == 1} | moment,
            )
        for patch, reader, score in ((1, 1, 0.1), (1, 2, 0.2), (2, 1, 1 / 3)):
            connection.execute(
                text(
                    "INSERT INTO reading (patch_id, reader_id, cellularity, seen_models, software, "
                    "created_at) VALUES (:patch, :reader, :score, :seen, 'cellularity 1.0', :at)"
                ),
                {"patch": patch, "reader": reader, "score": score, "seen": patch == 1} | moment,
            )


def put(
    connection: Connection, name: str, row: dict[str, Any], parts: tuple[tuple[str, Any], ...] = ()
) -> None:
    """A row and its event, as the software since revision 0002 wrote them."""
    if connection.dialect.name == "sqlite":
        stored = {k: v.replace(tzinfo=None) if v is MOMENT else v for k, v in row.items()}
    else:
        stored = row
    connection.execute(insert(table(connection, name)).values(**stored))
    for part, values in parts:
        connection.execute(insert(table(connection, part)).values(**values))
    event, content = table(connection, "audit_event"), table(connection, "audit_content")
    end = select(event.c.sequence, event.c.hash).order_by(event.c.sequence.desc()).limit(1)
    sequence, last = connection.execute(end).one_or_none() or (0, chain.GENESIS)
    salt, written = chain.new_salt(), chain.canonical({"old": None, "new": row})
    covered = row | ({"parts": [values for _, values in parts]} if parts else {})
    [key] = inspect(connection).get_pk_constraint(name)["constrained_columns"]
    told: dict[str, Any] = {
        "sequence": sequence + 1,
        "at": MOMENT,
        "actor": "Coordinator",
        "action": "add",
        "entity": name,
        "entity_id": row[key],
        "row_hash": chain.row_hash(name, covered, salt if name in SALTED else ""),
        "content_hash": chain.content_hash(salt, written),
        "prev_hash": last,
    }
    told["hash"] = chain.event_hash(**told)
    if connection.dialect.name == "sqlite":
        told["at"] = MOMENT.replace(tzinfo=None)
    connection.execute(insert(event).values(**told))
    connection.execute(insert(content).values(sequence=sequence + 1, salt=salt, content=written))


def count_on(connection: Connection) -> None:
    """Let PostgreSQL number new rows behind those that came with their numbers."""
    if connection.dialect.name == "postgresql":
        for name in inspect(connection).get_table_names():
            rows = table(connection, name)
            if "id" in rows.c:
                counter = f"pg_get_serial_sequence('\"{name}\"', 'id')"
                connection.execute(
                    text(f'SELECT setval({counter}, max(id)) FROM "{name}" HAVING count(*) > 0')
                )
