"""Who takes part in which study, and what that keeps from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, bindparam, func, select
from sqlalchemy.orm import Session

from db import look_alikes, readers
from db.errors import RecordError
from db.look_alikes import Mark
from db.schema import Case, Membership, Reader, Study

_PART: Final = select(Membership).where(
    Membership.study_id == bindparam("study"), Membership.reader_id == bindparam("reader")
)


def study_row(session: Session, study_id: int) -> Study:
    """Row of the study of that number.

    Raises
    ------
    RecordError
        If there is none.
    """
    found = session.get(Study, study_id)
    if found is None:
        raise RecordError(f"There is no study {study_id}. Choose one from the list of studies.")
    return found


def membership(session: Session, study_id: int, reader: Reader) -> Membership | None:
    """Row of a reader's part in a study, or None."""
    return session.scalars(_PART, {"study": study_id, "reader": reader.id}).one_or_none()


def count(session: Session, study_id: int) -> int:
    """How many readers take part."""
    query = select(func.count()).select_from(Membership).where(Membership.study_id == study_id)
    return session.execute(query).scalar_one()


def check_may_see_others(session: Session, *, study_id: int, asking: str | None) -> None:
    """Refuse a reader who takes part in a study of the same patches that is not closed.

    Raises
    ------
    RecordError
        If `asking` is such a reader, or the study does not exist.
    """
    study_row(session, study_id)
    person = readers.by_name(session, asking) if asking is not None else None
    other = None if person is None else shared_study(session, study_id=study_id, person=person)
    if person is not None and other is not None:
        raise RecordError(
            f"{person.name} takes part in “{other.study.name}”, so scores of others and of the "
            "models for its patches are shown only once it is closed."
        )


@dataclass(frozen=True, slots=True)
class Shared:
    """A study that has a patch of another one; names of the patch here and there."""

    study: Study
    here: str
    there: str


def shared_study(session: Session, *, study_id: int, person: Reader) -> Shared | None:
    """A study of this reader that is not closed and has a patch of that study; may be itself.

    A patch is the same by its pixels or, saved anew, resized, turned or flipped, by its
    perceptual hash.
    """
    reads = (
        select(Study)
        .join(Membership, Membership.study_id == Study.id)
        .where(Membership.reader_id == person.id, Study.state != "closed")
        .order_by(Study.id)
    )
    own: list[Mark] = []
    for other in session.scalars(reads):
        own = own or look_alikes.marks(session, _patches_of(study_id))
        theirs = look_alikes.marks(session, _patches_of(other.id))
        pair = look_alikes.first_alike(own, theirs, look_alikes.SAME_BITS)
        if pair is not None:
            return Shared(other, *(mark.name for mark in pair))
    return None


def _patches_of(study_id: int) -> Select[Any]:
    return select(Case.patch_id).where(Case.study_id == study_id)


def locked_marks(session: Session, person: Reader) -> list[Mark]:
    """What the patches of this reader's open studies are known again by."""
    query = (
        select(Case.patch_id)
        .join(Study, Study.id == Case.study_id)
        .join(Membership, Membership.study_id == Study.id)
        .where(Study.state == "open", Membership.reader_id == person.id)
    )
    return look_alikes.marks(session, query)


def is_locked(patch: Mark, locked: Sequence[Mark]) -> bool:
    """Whether a patch shows the tissue of one of an open study."""
    return look_alikes.first_alike([patch], locked, look_alikes.NEAR_BITS) is not None


def is_blinded(session: Session, *, reader: str) -> bool:
    """Whether a reader takes part in any study that is not closed."""
    query = (
        select(Study.id)
        .join(Membership, Membership.study_id == Study.id)
        .join(Reader, Reader.id == Membership.reader_id)
        .where(Study.state != "closed", Reader.key == readers.clean_name(reader).casefold())
    )
    return session.scalars(query.limit(1)).one_or_none() is not None
