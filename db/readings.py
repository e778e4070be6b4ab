"""Readings: committed once, never altered; an amendment stands beside its reading."""

import math
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import audit, blinding, look_alikes, members, patches, readers, sights, steps
from db.errors import RecordError
from db.reading_lists import AmendmentRecord, ReadingRecord, plain, plain_amendment
from db.schema import Amendment, Assignment, Reader, Reading, utcnow
from db.steps import Phase

REASON_LENGTH: Final = 500

_STAYS: Final = (
    "The {phase} score of this read is committed already and stays. "
    "Amend it with a reason if it was wrong."
)


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
        Checksum of the pixels, name, size in pixels and um/px at which they were
        shown. The name is kept as first given.
    reader : str
        Name of who scored.
    cellularity : float
        In [0, 1].
    seen_models : bool
        Whether any model's output for this patch was on the reader's screen. Kept as true
        also where the records know that it was, in whatever session.
    software : str
        Name and version of what was used.
    phash : str, optional
        Perceptual hash.

    Raises
    ------
    RecordError
        If the score is not in [0, 1], the name is empty, or the patch, or one that shows
        the same tissue, belongs to an open study of this reader.
    """
    score, _ = _score_or_reason(cellularity, None)
    person = readers.enrolled(session, reader)
    known = patches.find(session, sha256)
    mark = look_alikes.mark(sha256, patch, phash, known.turned if known is not None else None)
    if members.is_locked(mark, members.locked_marks(session, person)):
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
        seen_models=bool(seen_models) or sights.has_seen(session, person, [mark]),
        software=software,
        phase="free",
        mpp=patches.pixel_size(mpp),
    )
    session.add(reading)
    audit.record(session, actor=person.name, action="score", entity=reading)
    return plain(reading)


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

    The same `token` with the same answer again (a double Enter, a reload) gives the
    reading that it committed, and changes nothing. `seen_models` is kept as true also
    where the records know that the reader has met the models' output for the patch.

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
        Of this answer; made on the server, as it counts for all readers.
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
        if (same.cellularity, same.cannot_score_reason) != (score, reason):
            raise RecordError(_STAYS.format(phase=phase))
        return plain(same)
    _check_is_next(session, task, phase, person, now)
    reading = Reading(
        patch_id=task.case.patch_id,
        mpp=task.case.mpp,
        reader=person,
        assignment_id=assignment_id,
        phase=phase,
        cellularity=score,
        cannot_score_reason=reason,
        confidence=_confidence(confidence),
        seconds=_seconds(seconds),
        seen_models=bool(seen_models) or blinding.has_met_models(session, task, person),
        software=software,
        token=token,
    )
    session.add(reading)
    audit.record(session, actor=person.name, action="score", entity=reading)
    return plain(reading)


def _check_is_next(
    session: Session, task: Assignment, phase: Phase, person: Reader, now: datetime | None
) -> None:
    study, member = steps.part_of(session, task.membership.study_id, person.name)
    step = steps.following(session, study, member, now or utcnow())
    if isinstance(step, steps.Step) and (step.assignment_id, step.phase) == (task.id, phase):
        return
    query = select(Reading.id).where(Reading.assignment_id == task.id, Reading.phase == phase)
    if session.scalars(query).one_or_none() is not None:
        raise RecordError(_STAYS.format(phase=phase))
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
    return plain_amendment(amendment)


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
