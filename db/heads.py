"""Heads of the audit chain, noted outside the database.

One JSON line each: number, hash, moment, where the records are, and why it was
noted. Written at each back-up and each report, never for a single reading.
"""

import json
import os
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from db import audit
from db.audit import Head
from db.errors import RecordError
from db.schema import utcnow
from db.session import default_path, place

VARIABLE: Final = "CELLULARITY_HEADS"
"""Environment variable with the path of the file; best on another disk or machine."""

RESTORED: Final = "restore"
"""Reason noted with a head after which older ones count only up to its number."""


def heads_path(url: URL) -> Path:
    """The file: ``CELLULARITY_HEADS``, else beside an SQLite file, else the user's own."""
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given).expanduser()
    return _beside(url) or default_path().with_name("heads.jsonl")


def _beside(url: URL) -> Path | None:
    """File of one SQLite file's heads alone, which may move with it."""
    if url.get_backend_name() == "sqlite" and url.database:
        return Path(f"{url.database}.heads.jsonl")
    return None


def record_head(session: Session, *, reason: str, path: Path | None = None) -> Head:
    """Note the end of the chain, on disk before this returns.

    Parameters
    ----------
    reason : str
        E.g. "report of study 3".
    path : Path, optional
        The file; not given: `heads_path`.

    Raises
    ------
    RecordError
        If the file cannot be written.
    """
    engine = session.get_bind()
    assert isinstance(engine, Engine)
    head = audit.head(session)
    line = {
        "sequence": head.sequence,
        "hash": head.hash,
        "at": utcnow().isoformat(timespec="seconds"),
        "records": place(engine.url),
        "reason": reason,
    }
    path = path or heads_path(engine.url)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise RecordError(
            f"The head of the audit trail cannot be noted in {path} ({error.strerror}). "
            f"Set {VARIABLE} to a file you may write."
        ) from error
    return head


def noted_heads(url: URL, path: Path | None = None) -> list[Head]:
    """Heads noted for these records that their chain must still hold, oldest first.

    After a restore of an older back-up those noted between the two no longer count.

    Raises
    ------
    RecordError
        If the file cannot be read.
    """
    path = path or heads_path(url)
    if not path.is_file():
        return []
    is_shared = path != _beside(url)
    kept: list[Head] = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            noted: dict[str, Any] = json.loads(line)
            if is_shared and noted["records"] != place(url):
                continue
            head = Head(int(noted["sequence"]), str(noted["hash"]))
            if noted["reason"] == RESTORED:
                kept = [known for known in kept if known.sequence <= head.sequence]
            kept.append(head)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(
            f"The heads noted in {path} cannot be read ({error}). Repair its last line, or set "
            f"{VARIABLE} to a copy of it."
        ) from error
    return kept
