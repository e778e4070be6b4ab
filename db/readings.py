"""Readings: committed once, never altered; an amendment stands beside its reading."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import audit, blinding, patches, readers, steps
from db.errors import RecordError
from db.schema import Amendment, Assignment, Case, Membership, Patch, Reader, Reading, utcnow
from db.steps import AssignmentRecord, Phase

REASON_LENGTH: Final = 500
_CHUNK: Final = 500


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
    phash: str | None = None,
) -> ReadingRecord:
    """Append a score outside a study; the patch and the reader are remembered with it.

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
    phash : str, optional
        Perceptual hash.

    Raises
    ------
    RecordError
        If the score is not in [0, 1], the name is empty, or the patch belongs to an
        open study of this reader.
    """
    score, _ = _score_or_reason(cellularity, None)
    person = readers.enrolled(session, reader)
    if sha256 in {locked for locked, _ in blinding.locked_patches(session, reader=person.name)}:
        raise RecordError(
            f"{patch} belongs to an open study in which {person.name} takes part. "
            "Score it on the Read page."
        )
    reading = Reading(
        patch=patches.remembered(
            session,
            sha256=sha256,
            name=patch,
            width=width,
            height=height,
            mpp=mpp,
            phash=phash,
            actor=person.name,
        ),
        reader=person,
        cellularity=score,
        seen_models=bool(seen_models),
        software=software,
        phase="free",
    )
    session.add(reading)
    audit.record(session, actor=person.name, action="score", entity=reading)
    return _plain(reading)


def commit_reading(
    session: Session,
    *,
    assignment_id: int,
    reader: str,
    phase: Phase,
    cellularity: float | None,
    cannot_score_reason: str | None,
    confidence: int | None,
    seconds: float | None,
    seen_models: bool,
    software: str,
    token: str,
    now: datetime | None = None,
) -> ReadingRecord:
    """Commit what a reader gives for the read that comes next in a study.

    The same `token` again (a double Enter, a reload) gives the reading that it
    committed, and changes nothing.

    Parameters
    ----------
    assignment_id, phase
        As `db.steps.next_assignment` gave them.
    cellularity : float or None
        In [0, 1]; None with a `cannot_score_reason`.
    confidence : int or None
        1 to 5.
    seconds : float or None
        Time on task.
    token : str
        Made by the page, one for each time a patch is shown.
    now : datetime, optional
        Moment at which a wash-out must have passed; not given: the server's clock.

    Raises
    ------
    RecordError
        If it is not what comes next for this reader, was committed before, or is
        neither a score nor a reason.
    """
    score, reason = _score_or_reason(cellularity, cannot_score_reason)
    if not token or len(token) > 64:
        raise RecordError("A reading needs a token of 1 to 64 letters. Reload the page.")
    task = session.get(Assignment, assignment_id)
    if task is None:
        raise RecordError(f"There is no read {assignment_id} to commit. Reload the page.")
    person = readers.required(session, reader)
    if task.membership.reader_id != person.id:
        raise RecordError(
            f"This read is not {person.name}'s. Reload the page to go on with your own."
        )
    same = session.scalars(select(Reading).where(Reading.token == token)).one_or_none()
    if same is not None:
        if (same.assignment_id, same.phase) != (assignment_id, phase):
            raise RecordError("This token was used for another read. Reload the page.")
        return _plain(same)
    _check_is_next(session, task, phase, person, now)
    reading = Reading(
        patch_id=task.case.patch_id,
        reader=person,
        assignment_id=assignment_id,
        phase=phase,
        cellularity=score,
        cannot_score_reason=reason,
        confidence=_confidence(confidence),
        seconds=_seconds(seconds),
        seen_models=bool(seen_models),
        software=software,
        token=token,
    )
    session.add(reading)
    audit.record(session, actor=person.name, action="score", entity=reading)
    return _plain(reading)


def _check_is_next(
    session: Session, task: Assignment, phase: Phase, person: Reader, now: datetime | None
) -> None:
    member = task.membership
    study, _ = steps.part_of(session, member.study_id, person.name)
    taken = steps.steps(session, member.study_id, member=member).get(person.name, [])
    given = next(step.given for step in taken if step.id == task.id)
    if phase in given:
        raise RecordError(
            f"The {phase} score of this read is committed already and stays. "
            "Amend it with a reason if it was wrong."
        )
    following = steps.after(study, taken, now or utcnow())
    if not (
        isinstance(following, AssignmentRecord)
        and (following.id, following.phase) == (task.id, phase)
    ):
        raise RecordError(
            "This is not the read that comes next. Reload the page to go on where you left off."
        )


def amend(
    session: Session,
    *,
    reading_id: int,
    reader: str,
    cellularity: float | None,
    cannot_score_reason: str | None,
    why: str,
) -> AmendmentRecord:
    """Put an amendment beside a reader's own reading; statistics keep the reading.

    Raises
    ------
    RecordError
        If the reading is another's, or no reason is given.
    """
    score, reason = _score_or_reason(cellularity, cannot_score_reason)
    why = _text(why, "An amendment needs its reason")
    person = readers.required(session, reader)
    reading = session.get(Reading, reading_id)
    if reading is None or reading.reader_id != person.id:
        raise RecordError(f"{person.name} has no reading {reading_id}, so it cannot be amended.")
    amendment = Amendment(
        reading=reading, reader=person, cellularity=score, cannot_score_reason=reason, why=why
    )
    session.add(amendment)
    audit.record(
        session,
        actor=person.name,
        action="amend",
        entity=amendment,
        old={
            "cellularity": reading.cellularity,
            "cannot_score_reason": reading.cannot_score_reason,
        },
    )
    return _plain_amendment(amendment)


def readings(
    session: Session, *, sha256s: Collection[str], reader: str | None = None
) -> dict[str, list[ReadingRecord]]:
    """Scores given outside studies, oldest first; absent where there is none.

    Parameters
    ----------
    sha256s : collection of str
        Of the patches.
    reader : str, optional
        Only this reader's.
    """
    found: dict[str, list[ReadingRecord]] = {}
    wanted = sorted(set(sha256s))
    query = select(Reading).join(Reading.patch).join(Reading.reader).order_by(Reading.id)
    query = query.where(Reading.phase == "free")
    if reader is not None:
        query = query.where(Reader.key == readers.clean_name(reader).casefold())
    for start in range(0, len(wanted), _CHUNK):
        part = query.where(Patch.sha256.in_(wanted[start : start + _CHUNK]))
        for reading in session.scalars(part):
            found.setdefault(reading.patch.sha256, []).append(_plain(reading))
    return found


def free_readings(
    session: Session, *, asking: str | None = None, since: datetime | None = None
) -> list[ReadingRecord]:
    """Scores given outside studies, oldest first: the everyday flow's own agreement.

    Parameters
    ----------
    asking : str, optional
        Reader who will see them: only of patches that this reader has scored too, and
        none of an open study of theirs. Not given: all, for coordinators.
    since : datetime, optional
        Only from this moment on.
    """
    query = select(Reading).where(Reading.phase == "free").order_by(Reading.id)
    if since is not None:
        query = query.where(Reading.created_at >= since)
    found = [_plain(reading) for reading in session.scalars(query)]
    if asking is None:
        return found
    person = readers.required(session, asking)
    own = set(
        session.scalars(
            select(Patch.sha256)
            .join(Reading, Reading.patch_id == Patch.id)
            .where(Reading.reader_id == person.id, Reading.phase == "free")
        )
    )
    own -= {sha256 for sha256, _ in blinding.locked_patches(session, reader=asking)}
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
    blinding.check_may_see_peers(session, study_id=study_id, asking=asking)
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
    )
    return [_plain(reading) for reading in session.scalars(query)]


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
    return [_plain_amendment(amendment) for amendment in session.scalars(query)]


def _score_or_reason(
    cellularity: float | None, reason: str | None
) -> tuple[float | None, str | None]:
    if (cellularity is None) == (reason is None):
        raise RecordError("Give either a cellularity or the reason why there can be none.")
    if reason is not None:
        return None, _text(reason, "A patch that cannot be scored needs its reason")
    assert cellularity is not None
    if not (math.isfinite(cellularity) and 0.0 <= cellularity <= 1.0):
        raise RecordError(
            f"A cellularity of {cellularity} cannot be kept; it must lie between 0 and 1."
        )
    return float(cellularity), None


def _text(text: str, what: str) -> str:
    clean = " ".join(text.split())
    if not 1 <= len(clean) <= REASON_LENGTH:
        raise RecordError(f"{what}, in 1 to {REASON_LENGTH} letters; this one has {len(clean)}.")
    return clean


def _confidence(confidence: int | None) -> int | None:
    if confidence is not None and confidence not in range(1, 6):
        raise RecordError(f"A confidence of {confidence} cannot be kept; give 1 to 5.")
    return None if confidence is None else int(confidence)


def _seconds(seconds: float | None) -> float | None:
    if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
        raise RecordError(f"A time on task of {seconds} s cannot be kept; give 0 or more.")
    return None if seconds is None else float(seconds)


def _plain(reading: Reading) -> ReadingRecord:
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
    )


def _plain_amendment(amendment: Amendment) -> AmendmentRecord:
    return AmendmentRecord(
        reading_id=amendment.reading_id,
        reader=amendment.reader.name,
        cellularity=amendment.cellularity,
        cannot_score_reason=amendment.cannot_score_reason,
        why=amendment.why,
        created_at=amendment.created_at,
    )
