"""Readings, looked up: plain records and the rows that statistics take."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, cast

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from db import look_alikes, members, readers
from db.schema import Amendment, Assignment, Case, Membership, Patch, Reader, Reading
from db.steps import Phase

_CHUNK: Final = 500
_WITH_NAMES: Final = (joinedload(Reading.patch), joinedload(Reading.reader))


@dataclass(frozen=True, slots=True)
class ReadingRecord:
    """One score by one reader.

    Attributes
    ----------
    sha256 : str
        Of the patch's pixels.
    patch, reader : str
        Names, as first given.
    cellularity : float or None
        In [0, 1]; None where it could not be scored.
    seen_models : bool
        Whether the reader had seen a model's output for this patch.
    created_at : datetime
        In UTC.
    software : str
        Name and version of what was used.
    id : int
    phase : {"free", "before", "after", "control"}
        Outside a study, or which score of a study's read.
    assignment_id : int or None
    cannot_score_reason : str or None
    confidence : int or None
        1 to 5.
    seconds : float or None
        Time on task.
    mpp : float
        um/px at which the patch was shown.
    """

    sha256: str
    patch: str
    reader: str
    cellularity: float | None
    seen_models: bool
    created_at: datetime
    software: str
    id: int
    phase: Literal["free", "before", "after", "control"]
    assignment_id: int | None
    cannot_score_reason: str | None
    confidence: int | None
    seconds: float | None
    mpp: float


@dataclass(frozen=True, slots=True)
class AmendmentRecord:
    """What a reader would rather have given, and why."""

    reading_id: int
    reader: str
    cellularity: float | None
    cannot_score_reason: str | None
    why: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ReadingRow:
    """A reading of a study, as statistics take it: always the score as committed.

    Attributes
    ----------
    id, case_id : int
    case : str
        Code.
    patient : str or None
        Pseudonym.
    is_training : bool
    occasion : int
        0 first read, 1 hidden repeat.
    phase : {"before", "after", "control"}
    arm : {"ai", "control"}
    cellularity : float or None
        In [0, 1]; never an amended one.
    amended : bool
        Whether an amendment stands beside it.
    sha256, software : str
        Of the patch's pixels; name and version of what was used.
    mpp : float
        um/px of the case.
    """

    id: int
    case_id: int
    case: str
    patient: str | None
    is_training: bool
    reader: str
    occasion: int
    phase: Phase
    arm: Literal["ai", "control"]
    cellularity: float | None
    cannot_score_reason: str | None
    confidence: int | None
    seconds: float | None
    seen_models: bool
    created_at: datetime
    amended: bool
    sha256: str
    software: str
    mpp: float


def readings(
    session: Session, *, sha256s: Collection[str], reader: str | None = None
) -> dict[str, list[ReadingRecord]]:
    """Scores given outside studies, oldest first; absent where there is none.

    Parameters
    ----------
    sha256s : collection of str
        Of the patches.
    reader : str, optional
        Only this reader's. To be given wherever a reader may look.
    """
    found: dict[str, list[ReadingRecord]] = {}
    wanted = sorted(set(sha256s))
    query = select(Reading).join(Reading.patch).join(Reading.reader).order_by(Reading.id)
    query = query.where(Reading.phase == "free").options(*_WITH_NAMES)
    if reader is not None:
        query = query.where(Reader.key == readers.clean_name(reader).casefold())
    for start in range(0, len(wanted), _CHUNK):
        part = query.where(Patch.sha256.in_(wanted[start : start + _CHUNK]))
        for reading in session.scalars(part):
            found.setdefault(reading.patch.sha256, []).append(plain(reading))
    return found


def free_readings(
    session: Session, *, asking: str | None = None, since: datetime | None = None
) -> list[ReadingRecord]:
    """Scores given outside studies, oldest first: the everyday flow's own agreement.

    Parameters
    ----------
    asking : str, optional
        Reader who will see them: only of patches that this reader has scored too, and
        none that shows the tissue of an open study of theirs. Not given: all, for coordinators.
    since : datetime, optional
        Only from this moment on.
    """
    query = select(Reading).where(Reading.phase == "free").order_by(Reading.id)
    query = query.options(*_WITH_NAMES)
    if since is not None:
        query = query.where(Reading.created_at >= since)
    found = [plain(reading) for reading in session.scalars(query)]
    if asking is None:
        return found
    person = readers.required(session, asking)
    scored = select(Reading.patch_id).where(Reading.reader_id == person.id, Reading.phase == "free")
    locked = members.locked_marks(session, person)
    own = {
        mark.sha256
        for mark in look_alikes.marks(session, scored)
        if not members.is_locked(mark, locked)
    }
    return [record for record in found if record.sha256 in own]


def study_readings(
    session: Session, study_id: int, *, asking: str | None = None
) -> list[ReadingRow]:
    """Every reading of a study, oldest first; the committed scores, never amended ones.

    Parameters
    ----------
    asking : str, optional
        Reader who will see them. To be given wherever a reader may look; without it
        they are for the software itself (reports, exports).

    Raises
    ------
    RecordError
        If `asking` takes part in the study and it is not closed.
    """
    members.check_may_see_others(session, study_id=study_id, asking=asking)
    amended = set(session.scalars(select(Amendment.reading_id)))
    query = (
        select(Reading, Assignment, Case, Reader.name, Patch.sha256)
        .join(Assignment, Assignment.id == Reading.assignment_id)
        .join(Membership, Membership.id == Assignment.membership_id)
        .join(Case, Case.id == Assignment.case_id)
        .join(Patch, Patch.id == Reading.patch_id)
        .join(Reader, Reader.id == Reading.reader_id)
        .where(Membership.study_id == study_id)
        .order_by(Reading.id)
    )
    return [
        ReadingRow(
            id=reading.id,
            case_id=case.id,
            case=case.code,
            patient=case.patient,
            is_training=case.is_training,
            reader=name,
            occasion=task.occasion,
            phase=cast(Phase, reading.phase),
            arm=cast(Literal["ai", "control"], task.arm),
            cellularity=reading.cellularity,
            cannot_score_reason=reading.cannot_score_reason,
            confidence=reading.confidence,
            seconds=reading.seconds,
            seen_models=reading.seen_models,
            created_at=reading.created_at,
            amended=reading.id in amended,
            sha256=sha256,
            software=reading.software,
            mpp=reading.mpp,
        )
        for reading, task, case, name, sha256 in session.execute(query)
    ]


def own_readings(session: Session, *, study_id: int, reader: str) -> list[ReadingRecord]:
    """What a reader has committed in a study, oldest first: to look back and amend."""
    person = readers.required(session, reader)
    query = (
        select(Reading)
        .join(Assignment, Assignment.id == Reading.assignment_id)
        .join(Membership, Membership.id == Assignment.membership_id)
        .where(Membership.study_id == study_id, Reading.reader_id == person.id)
        .order_by(Reading.id)
        .options(*_WITH_NAMES)
    )
    return [plain(reading) for reading in session.scalars(query)]


def amendments(session: Session, study_id: int) -> list[AmendmentRecord]:
    """Amendments to readings of a study, oldest first."""
    query = (
        select(Amendment)
        .join(Reading, Reading.id == Amendment.reading_id)
        .join(Assignment, Assignment.id == Reading.assignment_id)
        .join(Membership, Membership.id == Assignment.membership_id)
        .where(Membership.study_id == study_id)
        .order_by(Amendment.id)
    )
    return [plain_amendment(amendment) for amendment in session.scalars(query)]


def plain(reading: Reading) -> ReadingRecord:
    """A reading's record of its row."""
    return ReadingRecord(
        sha256=reading.patch.sha256,
        patch=reading.patch.name,
        reader=reading.reader.name,
        cellularity=reading.cellularity,
        seen_models=reading.seen_models,
        created_at=reading.created_at,
        software=reading.software,
        id=reading.id,
        phase=cast(Literal["free", "before", "after", "control"], reading.phase),
        assignment_id=reading.assignment_id,
        cannot_score_reason=reading.cannot_score_reason,
        confidence=reading.confidence,
        seconds=reading.seconds,
        mpp=reading.mpp,
    )


def plain_amendment(amendment: Amendment) -> AmendmentRecord:
    """An amendment's record of its row."""
    return AmendmentRecord(
        reading_id=amendment.reading_id,
        reader=amendment.reader.name,
        cellularity=amendment.cellularity,
        cannot_score_reason=amendment.cannot_score_reason,
        why=amendment.why,
        created_at=amendment.created_at,
    )
