"""What is kept and read. Every function takes a session and returns plain records.

Readings are append-only: a correction is a new reading.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.errors import RecordError
from db.schema import Patch, Reader, Reading

NAME_LENGTH = 120
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class ReaderRecord:
    """A person who scores, and whether they score before they see the models."""

    name: str
    score_first: bool


@dataclass(frozen=True, slots=True)
class ReadingRecord:
    """One score by one reader.

    Attributes
    ----------
    sha256 : str
        Of the patch's pixels.
    patch, reader : str
        Names, as first given.
    cellularity : float
        In [0, 1].
    seen_models : bool
        Whether the reader had seen a model's output for this patch.
    created_at : datetime
        In UTC.
    software : str
        Name and version of what was used.
    """

    sha256: str
    patch: str
    reader: str
    cellularity: float
    seen_models: bool
    created_at: datetime
    software: str


def clean_name(name: str) -> str:
    """`name` with single spaces.

    Raises
    ------
    RecordError
        If nothing is left or it is too long.
    """
    clean = " ".join(name.split())
    if not clean:
        raise RecordError("A reader needs a name. Type your name or initials.")
    if len(clean) > NAME_LENGTH:
        raise RecordError(
            f"A reader's name of {len(clean)} letters is too long; use at most {NAME_LENGTH}."
        )
    return clean


def _reader(session: Session, name: str) -> Reader | None:
    key = clean_name(name).casefold()
    return session.scalars(select(Reader).where(Reader.key == key)).one_or_none()


def _enrolled(session: Session, name: str) -> Reader:
    reader = _reader(session, name)
    if reader is not None:
        return reader
    clean = clean_name(name)
    try:
        with session.begin_nested():
            reader = Reader(name=clean, key=clean.casefold())
            session.add(reader)
        return reader
    except IntegrityError:  # another process enrolled the same name meanwhile
        reader = _reader(session, name)
        if reader is None:
            raise
        return reader


def find_reader(session: Session, *, name: str) -> ReaderRecord | None:
    """The reader of that name (upper and lower case alike), or None."""
    reader = _reader(session, name)
    return ReaderRecord(reader.name, reader.score_first) if reader else None


def keep_score_first(session: Session, *, name: str, score_first: bool) -> ReaderRecord:
    """Make "score, then reveal" this reader's default, or not; enrols a new name."""
    reader = _enrolled(session, name)
    reader.score_first = score_first
    session.flush()
    return ReaderRecord(reader.name, reader.score_first)


def _remembered(
    session: Session, sha256: str, name: str, width: int, height: int, mpp: float
) -> Patch:
    query = select(Patch).where(Patch.sha256 == sha256)
    patch = session.scalars(query).one_or_none()
    if patch is not None:
        return patch
    try:
        with session.begin_nested():
            patch = Patch(sha256=sha256, name=name, width=width, height=height, mpp=mpp)
            session.add(patch)
        return patch
    except IntegrityError:
        known = session.scalars(query).one_or_none()
        if known is None:
            raise
        return known


def add_reading(
    session: Session,
    *,
    sha256: str,
    patch: str,
    width: int,
    height: int,
    mpp: float,
    reader: str,
    cellularity: float,
    seen_models: bool,
    software: str,
) -> ReadingRecord:
    """Append a score; the patch and the reader are remembered with it.

    Parameters
    ----------
    sha256, patch, width, height, mpp
        Checksum of the pixels, name, size in pixels and um/px. Name and um/px
        are kept as first given.
    reader : str
        Name of who scored.
    cellularity : float
        In [0, 1].
    seen_models : bool
        Whether any model's output for this patch was on the reader's screen.
    software : str
        Name and version of what was used.

    Raises
    ------
    RecordError
        If the score is not in [0, 1] or the name is empty.
    """
    if not (math.isfinite(cellularity) and 0.0 <= cellularity <= 1.0):
        raise RecordError(
            f"A cellularity of {cellularity} cannot be kept; it must lie between 0 and 1."
        )
    reading = Reading(
        patch=_remembered(session, sha256, patch, width, height, mpp),
        reader=_enrolled(session, reader),
        cellularity=float(cellularity),
        seen_models=seen_models,
        software=software,
    )
    session.add(reading)
    session.flush()
    return _plain(reading)


def readings(
    session: Session, *, sha256s: Collection[str], reader: str | None = None
) -> dict[str, list[ReadingRecord]]:
    """Scores of the patches with these checksums, oldest first; absent where there is none.

    Parameters
    ----------
    sha256s : collection of str
    reader : str, optional
        Only this reader's.
    """
    found: dict[str, list[ReadingRecord]] = {}
    wanted = sorted(set(sha256s))
    query = select(Reading).join(Reading.patch).join(Reading.reader).order_by(Reading.id)
    if reader is not None:
        query = query.where(Reader.key == clean_name(reader).casefold())
    for start in range(0, len(wanted), _CHUNK):
        part = query.where(Patch.sha256.in_(wanted[start : start + _CHUNK]))
        for reading in session.scalars(part):
            found.setdefault(reading.patch.sha256, []).append(_plain(reading))
    return found


def _plain(reading: Reading) -> ReadingRecord:
    return ReadingRecord(
        sha256=reading.patch.sha256,
        patch=reading.patch.name,
        reader=reading.reader.name,
        cellularity=reading.cellularity,
        seen_models=reading.seen_models,
        created_at=reading.created_at,
        software=reading.software,
    )
