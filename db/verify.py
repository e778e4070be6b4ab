"""Proof that nothing was altered: the chain, then every row it covers.

A chain cannot see its own end cut off. So heads are noted outside the database
(`db.heads`), and a head given here must be part of the chain.
"""

import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Table, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from db import chain
from db.audit import ERASURE, SALTED, Head, row_values
from db.schema import (
    Amendment,
    Assignment,
    AuditContent,
    AuditEvent,
    Base,
    Case,
    Consensus,
    Image,
    Membership,
    ModelScore,
    Patch,
    Reader,
    Reading,
    Sight,
    Study,
)

COVERED: Final[tuple[type[Base], ...]] = (
    Patch,
    Image,
    Reader,
    Study,
    Case,
    Membership,
    Reading,
    Amendment,
    ModelScore,
    Consensus,
    Sight,
)
"""Tables of which each row has an event. Assignments are covered by their membership's."""

_Key = tuple[str, int]
"""Table and number of a row."""

_CHUNK: Final = 200
_CHUNK_OF_IMAGES: Final = 16
_LAST: Final = 2**62
_UNREADABLE: Final = (ValueError, TypeError, LookupError, SQLAlchemyError)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the records are as they were written.

    Attributes
    ----------
    ok : bool
    first_bad : str or None
        The first row that is not, e.g. "reading 17": of the audit trail, else of the
        others in the order in which they were last written.
    why : str or None
        What is wrong with it.
    checked : int
        Events and rows looked at.
    """

    ok: bool
    first_bad: str | None
    why: str | None
    checked: int


@dataclass(frozen=True, slots=True)
class _Finding:
    sequence: int
    row: str
    why: str


@dataclass(slots=True)
class _Told:
    """What the events say of a row: all but the last one are `earlier`."""

    sequence: int
    row_hash: str | None
    salt: str
    earlier: tuple[str | None, ...] = ()


class _Trail:
    """The events, read and checked in their order."""

    def __init__(self, session: Session, tell: Callable[[], object]) -> None:
        self.told: dict[_Key, _Told] = {}
        self.hashes: dict[str, int] = {}
        self.finding: _Finding | None = None
        self._contents: dict[int, dict[str, Any] | None] = dict(_rows(session, AuditContent))
        self.erased: dict[int, _Key] = {}
        self.erasures: set[_Key] = set()
        self._erasable: set[int] = set()
        self._end = chain.GENESIS
        for key, event in _rows(session, AuditEvent):
            tell()
            expected = len(self.hashes) + 1
            why = self._check(event, expected)
            if why is not None:
                row = f"audit_event {min(key, expected)}"
                self.finding = _Finding(expected, row, why)
                return
        for number in sorted(self._contents):
            why = "is missing, though its content is there"
            self.finding = _Finding(number, f"audit_event {number}", why)
            return
        for number in sorted(self.erased.keys() - self._erasable):
            why = "was erased, and no erasure tells of it"
            self.finding = _Finding(number, f"audit_content {number}", why)
            return

    def _check(self, event: dict[str, Any] | None, expected: int) -> str | None:
        """What is wrong with the event that should be number `expected`; take it in."""
        if event is None:
            return "cannot be read"
        if event["sequence"] != expected:
            return "is missing"
        if event["prev_hash"] != self._end:
            return "does not follow from the event before"
        told = {name: value for name, value in event.items() if name != "hash"}
        if chain.event_hash(**told) != event["hash"]:
            return "was altered"
        content = self._contents.pop(expected, None)
        if content is None:
            return "has lost its content"
        salt, text = content["salt"], content["content"]
        if salt is None and text is None:
            self.erased[expected] = (event["entity"], event["entity_id"])
        elif salt is None or text is None:
            return "has lost a part of its content"
        elif chain.content_hash(salt, text) != event["content_hash"]:
            return "its content was altered"
        elif event["entity"] == ERASURE:
            self._erasable.update(json.loads(text)["new"]["events"])
        self._end = event["hash"]
        self.hashes[self._end] = expected
        if event["entity"] in _TABLES:
            key = (event["entity"], event["entity_id"])
            before = self.told.get(key)
            earlier = () if before is None else (*before.earlier, before.row_hash)
            kept = earlier if event["entity"] in _APPENDED else ()
            self.told[key] = _Told(expected, event["row_hash"], salt or "", kept)
            if event["action"] == "erase":
                self.erasures.add(key)
        return None


_TABLES: Final = frozenset(entity.__tablename__ for entity in COVERED)

_APPENDED: Final = {
    "reading": {"mpp"},
    "amendment": set[str](),
    "model_score": {"mpp"},
    "consensus": set[str](),
}
"""Tables whose rows never change: each event of a row must be true of it today, but for the
columns that a migration filled later. So an event put behind an altered row does not cover it."""

_SUBJECTS: Final[dict[str, tuple[str, Any, Any]]] = {
    "reading": ("patch", Reading.id, select(Reading.id, Reading.patch_id)),
    "model_score": ("patch", ModelScore.id, select(ModelScore.id, ModelScore.patch_id)),
    "amendment": ("patch", Amendment.id, select(Amendment.id, Reading.patch_id).join(Reading)),
    "consensus": ("case", Consensus.id, select(Consensus.id, Consensus.case_id)),
}
"""Of rows whose events may lose their content: what must have been erased, and how to find it."""

_REMOVED: Final = frozenset({"model_score"})
"""Those of them whose rows a migration removes on its way back."""


def verify(
    session: Session,
    head: Head | str | None = None,
    *,
    heads: Collection[Head] = (),
    progress: Callable[[int, int], object] | None = None,
) -> Verdict:
    """Check the audit trail and each row it covers; the first that is not as written.

    Parameters
    ----------
    head : Head or str, optional
        Noted earlier outside the database, or only its hash: that the end was cut off
        since then can be seen by it alone.
    heads : collection of Head
        More of them.
    progress : callable, optional
        Told at each event and row how many are done, and how many there are. What it
        raises ends the check.
    """
    tell = _counter(session, progress)
    trail = _Trail(session, tell)
    checked = len(trail.hashes)
    if trail.finding is not None:
        return Verdict(False, trail.finding.row, trail.finding.why, checked)
    for noted in (*heads, *(() if head is None else (head,))):
        lost = _lost(trail, noted)
        if lost is not None:
            return Verdict(False, lost, "is missing: the end of the trail was cut off", checked)
    findings = list(_check_erased(session, trail))
    for finding in _check_rows(session, trail):
        tell()
        checked += 1
        if finding is not None:
            findings.append(finding)
    if not findings:
        return Verdict(True, None, None, checked)
    first = min(findings, key=lambda finding: finding.sequence)
    return Verdict(False, first.row, first.why, checked)


def _counter(
    session: Session, progress: Callable[[int, int], object] | None
) -> Callable[[], object]:
    """What is called at each event and row, and tells `progress` how far the check is."""
    if progress is None:
        return lambda: None
    entities: tuple[type[Base], ...] = (AuditEvent, *COVERED)
    counts = (select(func.count()).select_from(entity) for entity in entities)
    total = sum(session.scalar(count) or 0 for count in counts)
    done = itertools.count(1)
    return lambda: progress(next(done), total)


def _lost(trail: _Trail, noted: Head | str) -> str | None:
    """The event that a noted head proves and that is not there."""
    if isinstance(noted, Head):
        if noted == Head(0, chain.GENESIS) or trail.hashes.get(noted.hash) == noted.sequence:
            return None
        return f"audit_event {noted.sequence}"
    if noted == chain.GENESIS or noted in trail.hashes:
        return None
    return f"the audit_event of head {noted}"


def _check_rows(session: Session, trail: _Trail) -> Iterator[_Finding | None]:
    """A finding, or None, for each row that is or should be there."""
    waiting = {
        key: told
        for key, told in trail.told.items()
        if told.row_hash is not None or (key[0] in _APPENDED and key[0] not in _REMOVED)
    }
    parts: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for key, row in _rows(session, Assignment):
        if row is None:
            yield _Finding(_LAST, f"assignment {key}", "cannot be read")
        else:
            parts[row["membership_id"]].append(row)
    for entity in COVERED:
        name = entity.__tablename__
        for key, row in _rows(session, entity):
            told = waiting.pop((name, key), None)
            if entity is Membership and row is not None:
                row["parts"] = parts.pop(key, [])
            if told is None:
                yield _Finding(_LAST, f"{name} {key}", "was put in past the software")
            elif row is None:
                yield _Finding(told.sequence, f"{name} {key}", "cannot be read")
            else:
                is_same = _is_as_told(name, row, told)
                yield None if is_same else _Finding(told.sequence, f"{name} {key}", "was altered")
    for (name, key), told in waiting.items():
        yield _Finding(told.sequence, f"{name} {key}", "was removed")
    for rows in parts.values():
        yield _Finding(_LAST, f"assignment {rows[0]['id']}", "belongs to nobody")


def _is_as_told(name: str, row: dict[str, Any], told: _Told) -> bool:
    """Whether the last event is true of a row; all of its events where rows never change."""
    now = chain.row_hash(name, row, told.salt if name in SALTED else "")
    if now != told.row_hash:
        return False
    if not told.earlier:
        return True
    before = {column: value for column, value in row.items() if column not in _APPENDED[name]}
    return {now, chain.row_hash(name, before)}.issuperset(told.earlier)


def _check_erased(session: Session, trail: _Trail) -> Iterator[_Finding]:
    """Events whose content is gone although the patch or case they tell of was never erased."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for name, key in sorted(set(trail.erased.values())):
        numbers[name].append(key)
    subjects: dict[_Key, _Key] = {}
    for name, (subject, key_column, query) in _SUBJECTS.items():
        for start in range(0, len(numbers[name]), _CHUNK):
            some = numbers[name][start : start + _CHUNK]
            for key, of in session.execute(query.where(key_column.in_(some))):
                subjects[name, key] = (subject, of)
    for sequence, row in trail.erased.items():
        if subjects.get(row, row) not in trail.erasures:
            why = "was erased, though what it tells of was not"
            yield _Finding(sequence, f"audit_content {sequence}", why)


def _rows(session: Session, entity: type[Base]) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Primary key and columns of each row, by key; None for a row that cannot be read."""
    table = entity.__table__
    assert isinstance(table, Table)
    [key_column] = table.primary_key.columns
    keys = session.scalars(select(key_column).order_by(key_column)).all()
    size = _CHUNK if entity is not Image else _CHUNK_OF_IMAGES
    for start in range(0, len(keys), size):
        some = keys[start : start + size]
        query = select(table).where(key_column.in_(some)).order_by(key_column)
        try:
            found = [
                (int(row[key_column.name]), row_values(table, dict(row)))
                for row in session.execute(query).mappings()
            ]
        except _UNREADABLE:
            found = []
            for key in some:
                yield key, _row(session, table, key)
        yield from found


def _row(session: Session, table: Table, key: int) -> dict[str, Any] | None:
    [key_column] = table.primary_key.columns
    try:
        with session.begin_nested():
            row = session.execute(select(table).where(key_column == key)).mappings().one()
            return row_values(table, dict(row))
    except _UNREADABLE:
        return None
