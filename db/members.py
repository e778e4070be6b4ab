"""Who takes part in which study, and what that keeps from them."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db import readers
from db.errors import RecordError
from db.schema import Membership, Reader, Study


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
    """Refuse a reader who takes part in a study that is not closed.

    Raises
    ------
    RecordError
        If `asking` is such a reader, or the study does not exist.
    """
    study = study_row(session, study_id)
    if asking is None or study.state == "closed":
        return
    person = readers.by_name(session, asking)
    if person is not None and membership(session, study_id, person) is not None:
        raise RecordError(
            f"{person.name} takes part in “{study.name}”, so scores of others and of the models "
            "are shown only once it is closed."
        )


def is_blinded(session: Session, *, reader: str) -> bool:
    """Whether a reader takes part in any study that is not closed."""
    query = (
        select(Study.id)
        .join(Membership, Membership.study_id == Study.id)
        .join(Reader, Reader.id == Membership.reader_id)
        .where(Study.state != "closed", Reader.key == readers.clean_name(reader).casefold())
    )
    return session.scalars(query.limit(1)).one_or_none() is not None
