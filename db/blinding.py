"""What a reader may not see yet, kept from them on the data's side."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import not_, or_, select
from sqlalchemy.orm import Session

from db import audit, look_alikes, readers, sights
from db.errors import RecordError
from db.schema import (
    Assignment,
    AuditEvent,
    Case,
    Image,
    Membership,
    Patch,
    Reader,
    Reading,
    Study,
)
from db.scores import ModelScoreRecord, of_case

_REVEAL: Final = "reveal"


@dataclass(frozen=True, slots=True)
class Revealed:
    """What a reader may see once their own score of a read is committed.

    Attributes
    ----------
    model_scores : dict of str to ModelScoreRecord
        By method; empty except in the AI arm of a study "before, then after AI".
    reference : float or None
        Of a training case in a study with feedback.
    """

    model_scores: dict[str, ModelScoreRecord]
    reference: float | None


def reveal(session: Session, *, assignment_id: int, reader: str) -> Revealed:
    """What this reader may see of this read now; no peer's score is ever in it.

    The first time is an event of the audit trail: that it stands behind the event of
    the reader's own score proves the blinding. So this needs a writing transaction.

    Raises
    ------
    RecordError
        If the read is another's, or its own blinded score is not committed yet.
    """
    person = readers.required(session, reader)
    task = session.get(Assignment, assignment_id)
    if task is None or task.membership.reader_id != person.id:
        raise RecordError(f"{person.name} has no read {assignment_id}, so nothing can be shown.")
    committed = session.scalars(
        select(Reading.id).where(Reading.assignment_id == task.id, Reading.phase == "before")
    ).one_or_none()
    if committed is None:
        raise RecordError("Nothing can be shown before your own score is committed. Score first.")
    study, case = task.membership.study, task.case
    reference = case.reference if case.is_training and study.show_feedback else None
    scores: dict[str, ModelScoreRecord] = {}
    if not case.is_training and study.arm != "before" and task.arm == "ai":
        scores = of_case(session, case.id)
    if scores or reference is not None:
        _note(session, person, task, scores, reference)
    return Revealed(scores, reference)


def _note(
    session: Session,
    person: Reader,
    task: Assignment,
    scores: dict[str, ModelScoreRecord],
    reference: float | None,
) -> None:
    known = select(AuditEvent.sequence).where(
        AuditEvent.entity == _REVEAL, AuditEvent.entity_id == task.id
    )
    if session.scalars(known.limit(1)).one_or_none() is None:
        audit.append(
            session,
            actor=person.name,
            action="see",
            entity=_REVEAL,
            entity_id=task.id,
            content={
                "old": None,
                "new": {"methods": sorted(scores), "reference": reference is not None},
            },
            row=None,
        )


def has_met_models(session: Session, task: Assignment, person: Reader) -> bool:
    """Whether the records tell that this reader saw the models' output for the tissue.

    An earlier second score after AI, a reveal, a score outside a study, behind which the
    page shows the models, or their scores on a page outside a study; of the patch itself
    or of a look-alike.
    """
    scored = select(Reading.patch_id).where(
        Reading.reader_id == person.id,
        or_(Reading.phase.in_(("after", "free")), Reading.seen_models),
    )
    revealed = (
        select(Case.patch_id)
        .select_from(AuditEvent)
        .join(Assignment, Assignment.id == AuditEvent.entity_id)
        .join(Membership, Membership.id == Assignment.membership_id)
        .join(Case, Case.id == Assignment.case_id)
        .where(
            AuditEvent.entity == _REVEAL,
            Membership.reader_id == person.id,
            not_(Case.is_training),
        )
    )
    shown = look_alikes.marks(session, select(Case.patch_id).where(Case.id == task.case_id))
    met = look_alikes.marks(session, scored) + look_alikes.marks(session, revealed)
    if look_alikes.first_alike(shown, met, look_alikes.SAME_BITS) is not None:
        return True
    return sights.has_seen(session, person, shown)


@dataclass(frozen=True, slots=True)
class LockedPatch:
    """A patch of an open study.

    Attributes
    ----------
    sha256 : str
    phash : str or None
        Perceptual hash as given; None where none is kept.
    mpp : float
        um per pixel of the case.
    has_image : bool
        Whether its pixels are kept.
    """

    sha256: str
    phash: str | None
    mpp: float
    has_image: bool


def locked_patches(session: Session, *, reader: str) -> list[LockedPatch]:
    """The patches of the open studies of this reader, by checksum."""
    query = (
        select(Patch.sha256, Patch.phash, Case.mpp, Image.patch_id.is_not(None))
        .join(Case, Case.patch_id == Patch.id)
        .join(Study, Study.id == Case.study_id)
        .join(Membership, Membership.study_id == Study.id)
        .join(Reader, Reader.id == Membership.reader_id)
        .outerjoin(Image, Image.patch_id == Patch.id)
        .where(Study.state == "open", Reader.key == readers.clean_name(reader).casefold())
        .distinct()
        .order_by(Patch.sha256, Case.mpp)
    )
    return [LockedPatch(*row) for row in session.execute(query)]
