"""Hashes of the audit chain: the format kept in the database, never to change.

A moment, a number and a text each have one spelling (`canonical`), so that the
same record has the same hash on SQLite and on PostgreSQL. A column that is null
is left out: a column added later leaves the hashes of older rows as they were.

The *content* of an event (old and new value) is hashed with a salt. Once salt
and content are erased, a score of 0 to 100 cannot be guessed from the hash.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

GENESIS: Final = "0" * 64
"""What the first event is chained to."""


def canonical(value: Any) -> str:
    """`value` as JSON with one spelling for each thing it may hold.

    Raises
    ------
    TypeError
        If it holds something that has no place in a record.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value + 0.0  # -0.0 does not survive SQLite
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence):
        return [_plain(inner) for inner in value]
    raise TypeError(f"{type(value).__name__} has no canonical form")


def digest(text: str) -> str:
    """SHA-256 of `text` in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def row_hash(table: str, row: Mapping[str, Any], salt: str = "") -> str:
    """Hash of all columns of a row; columns that are null do not count."""
    kept = {name: value for name, value in row.items() if value is not None}
    return digest(canonical([table, salt, kept]))


def content_hash(salt: str, content: str) -> str:
    """Hash of an event's content (canonical JSON)."""
    return digest(f"{salt}\n{content}")


def event_hash(
    *,
    sequence: int,
    at: datetime,
    actor: str,
    action: str,
    entity: str,
    entity_id: int,
    row_hash: str | None,
    content_hash: str,
    prev_hash: str,
) -> str:
    """Hash of an event and, through `prev_hash`, of all before it."""
    return digest(
        canonical(
            [sequence, at, actor, action, entity, entity_id, row_hash, content_hash, prev_hash]
        )
    )


def new_salt() -> str:
    """A fresh salt of 128 bits, in hex."""
    return secrets.token_hex(16)
