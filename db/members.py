"""Who takes part in which study, and what that keeps from them."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db import look_alikes, readers
from db.errors import RecordError
from db.look_alikes import Mark
from db.schema import Case, Membership, Patch, Reader, Study


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
    query = select(Membership).where(
        Membership.study_id == study_id, Membership.reader_id == reader.id
    )
    return session.scalars(query).one_or_none()


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
            f"{person.name} takes part in “{other.name}”, so scores of others and of the models "
            "for its patches are shown only once it is closed."
        )


def shared_study(session: Session, *, study_id: int, person: Reader) -> Study | None:
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
    patches = select(Case.patch_id).where(Case.study_id == study_id)
    same = reads.join(Case, Case.study_id == Study.id).where(Case.patch_id.in_(patches))
    found = session.scalars(same.limit(1)).first()
    if found is not None:
        return found
    marks: list[Mark] = []
    for other in session.scalars(reads):
        marks = marks or _marks(session, study_id)
        if look_alikes.any_alike(marks, _marks(session, other.id)):
            return other
    return None


def _marks(session: Session, study_id: int) -> list[Mark]:
    """What the patches of a study are known again by."""
    query = select(Patch).join(Case, Case.patch_id == Patch.id).where(Case.study_id == study_id)
    marks = (look_alikes.mark(patch) for patch in session.scalars(query))
    return [mark for mark in marks if mark is not None]


def is_blinded(session: Session, *, reader: str) -> bool:
    """Whether a reader takes part in any study that is not closed."""
    query = (
        select(Study.id)
        .join(Membership, Membership.study_id == Study.id)
        .join(Reader, Reader.id == Membership.reader_id)
        .where(Study.state != "closed", Reader.key == readers.clean_name(reader).casefold())
    )
    return session.scalars(query.limit(1)).one_or_none() is not None
