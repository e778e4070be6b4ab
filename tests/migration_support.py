"""Records as earlier software wrote them, put in past the software of today."""

from datetime import UTC, datetime
from typing import Any

from db_support import PNG, mark, sha
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


def fill_second_revision(engine: Engine) -> None:
    """A study that is closed and one half read, with what readers do in them.

    Behind the patches, readers and readings of the first revision: numbers begin at 11.
    """
    made = {"created_at": MOMENT}
    by_model = {"model_set": "starter", "model_sha256": "f" * 64}
    with engine.begin() as db:
        for key in (11, 12):
            patch = {"id": key, "sha256": sha(key), "name": f"{key}.png", "phash": mark(key)}
            put(db, "patch", patch | made | {"width": 512, "height": 512, "mpp": 0.252600123})
            put(db, "image", {"patch_id": key, "png": PNG + bytes([key])})
        account = {"role": "coordinator", "issuer": "https://id", "subject": "s", "email": "e@x"}
        zoe = {"id": 11, "name": "Zoe", "key": "zoe", "score_first": False}
        put(db, "reader", zoe | made | account)
        for key, state in ((11, "closed"), (12, "open")):
            study = {"id": key, "name": f"Study {key}", "description": "d", "arm": "before"}
            study |= {"seed": 7, "state": state, "created_by": "Zoe", "repeat_share": 0.0}
            study |= {"washout_days": 0.0, "proficiency": 0.1, "show_feedback": True}
            put(db, "study", study | made | by_model)
            case = {"id": key, "study_id": key, "patch_id": 11, "code": "C-1", "patient": "P"}
            put(db, "case", case | {"is_training": False, "reference": 0.4})
            case |= {"id": key + 10, "patch_id": 12, "code": "C-2", "patient": None}
            put(db, "case", case | {"is_training": False})
            member = {"id": key, "study_id": key, "reader_id": 11, "rank": 0}
            steps = tuple(
                (
                    "assignment",
                    {"id": key + more, "membership_id": key, "case_id": key + more}
                    | {"position": more // 10, "occasion": 0, "arm": "ai"},
                )
                for more in (0, 10)
            )
            put(db, "membership", member, steps)
        given = {"reader_id": 11, "seen_models": False, "software": "cellularity 0.2"} | made
        read = {"phase": "before", "confidence": 4, "seconds": 1 / 3}
        for key, patch, score in ((11, 11, 0.3), (21, 12, 2 / 3), (12, 11, None)):
            reading = given | read | {"id": key, "patch_id": patch, "assignment_id": key}
            reading |= {"cellularity": score, "token": f"t{key}"}
            put(db, "reading", reading | ({} if score else {"cannot_score_reason": "folded"}))
        put(db, "reading", given | {"id": 31, "patch_id": 12, "cellularity": 0.9, "phase": "free"})
        amendment = {"id": 11, "reading_id": 12, "reader_id": 11, "cellularity": 0.7}
        put(db, "amendment", amendment | made | {"why": "a better picture"})
        score = {"id": 11, "patch_id": 11, "method": "gbt", "value": 0.4, "low": 0.1, "high": 0.8}
        put(db, "model_score", score | made | by_model | {"software": "cellularity 0.2"})
        agreed = {"id": 11, "case_id": 11, "cellularity": 0.35, "reason": "both looked"}
        put(db, "consensus", agreed | made | {"by": "Zoe"})
        count_on(db)


def fill_fourth_revision(engine: Engine) -> None:
    """What a reader saw of the models."""
    with engine.begin() as db:
        for key, patch in ((11, 11), (12, 40)):
            sight = {"id": key, "reader_id": 11, "sha256": sha(patch), "turned": mark(patch)}
            put(db, "sight", sight)
        count_on(db)


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
