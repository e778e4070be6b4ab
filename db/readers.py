"""Readers: people who score, their names, roles and accounts."""

from dataclasses import dataclass
from typing import Final, Literal, cast

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from db import audit
from db.errors import RecordError
from db.schema import Reader

NAME_LENGTH: Final = 120

Role = Literal["admin", "coordinator", "reader"]
ROLES: Final[tuple[Role, ...]] = ("admin", "coordinator", "reader")


@dataclass(frozen=True, slots=True)
class ReaderRecord:
    """A person who scores.

    Attributes
    ----------
    id : int
    name : str
    score_first : bool
        Whether they score before they see the models.
    role : {"admin", "coordinator", "reader"}
    has_account : bool
        Whether they sign in; if not, the name is one that somebody typed.
    """

    id: int
    name: str
    score_first: bool
    role: Role
    has_account: bool


_BY_KEY: Final = select(Reader).where(Reader.key == bindparam("key"))
"""Made once, like the others that every commit asks: to make one takes as long as to ask it."""


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


def by_name(session: Session, name: str) -> Reader | None:
    """Row of the reader of that name, or None."""
    key = clean_name(name).casefold()
    return session.scalars(_BY_KEY, {"key": key}).one_or_none()


def required(session: Session, name: str) -> Reader:
    """Row of the reader of that name.

    Raises
    ------
    RecordError
        If there is none.
    """
    reader = by_name(session, name)
    if reader is None:
        raise RecordError(f"No reader is called “{clean_name(name)}”. Enrol that name first.")
    return reader


def enrolled(session: Session, name: str, *, actor: str | None = None) -> Reader:
    """Row of the reader of that name, made if there is none."""
    return by_name(session, name) or _add(session, name, "reader", actor)


def _add(session: Session, name: str, role: Role, actor: str | None) -> Reader:
    clean = clean_name(name)
    reader = Reader(name=clean, key=clean.casefold(), role=role)
    session.add(reader)
    audit.record(session, actor=actor or clean, action="enrol", entity=reader)
    return reader


def enrol(
    session: Session, *, name: str, role: Role = "reader", actor: str | None = None
) -> ReaderRecord:
    """The reader of that name, made with `role` if there is none yet.

    A known reader keeps their role. `actor` is who does it; not given: the reader.
    """
    _check_role(role)
    return plain(by_name(session, name) or _add(session, name, role, actor))


def find_reader(session: Session, *, name: str) -> ReaderRecord | None:
    """The reader of that name (upper and lower case alike), or None."""
    reader = by_name(session, name)
    return plain(reader) if reader else None


def all_readers(session: Session) -> list[ReaderRecord]:
    """Every reader, by name."""
    return [plain(reader) for reader in session.scalars(select(Reader).order_by(Reader.key))]


def keep_score_first(session: Session, *, name: str, score_first: bool) -> ReaderRecord:
    """Make "score, then reveal" this reader's default, or not; enrols a new name."""
    reader = enrolled(session, name)
    if reader.score_first != score_first:
        reader.score_first = score_first
        audit.record(
            session,
            actor=reader.name,
            action="choose score first",
            entity=reader,
            old=not score_first,
            new=score_first,
        )
    return plain(reader)


def set_role(session: Session, *, name: str, role: Role, actor: str) -> ReaderRecord:
    """Give a reader a role.

    Raises
    ------
    RecordError
        If there is no such reader or role, or no admin would be left.
    """
    _check_role(role)
    reader = required(session, name)
    if reader.role == role:
        return plain(reader)
    if reader.role == "admin" and reader.subject is not None and _admins(session) == 1:
        raise RecordError(
            f"{reader.name} is the only admin, so the role stays. Make another person admin first."
        )
    old, reader.role = reader.role, role
    audit.record(session, actor=actor, action="set role", entity=reader, old=old, new=role)
    return plain(reader)


def find_account(
    session: Session, *, issuer: str, subject: str, email: str | None
) -> ReaderRecord | None:
    """The reader of this account, or None where `account` must make it or change its e-mail."""
    query = select(Reader).where(
        Reader.issuer == issuer, Reader.subject == subject, Reader.email.is_not_distinct_from(email)
    )
    reader = session.scalars(query).one_or_none()
    return plain(reader) if reader else None


def account(
    session: Session, *, issuer: str, subject: str, name: str, email: str | None
) -> ReaderRecord:
    """The reader who signs in as this subject of this issuer, made at the first sign-in.

    Where the records have no admin yet, the first account becomes admin. An account
    never takes over the name of another reader: it gets a number behind it.

    Raises
    ------
    RecordError
        If issuer or subject is empty.
    """
    if not issuer or not subject:
        raise RecordError(
            "A sign-in without issuer and subject tells nobody apart. Let the sign-in service "
            "send both."
        )
    query = select(Reader).where(Reader.issuer == issuer, Reader.subject == subject)
    reader = session.scalars(query).one_or_none()
    if reader is None:
        clean = _free_name(session, clean_name(name))
        reader = Reader(
            name=clean,
            key=clean.casefold(),
            role="reader" if has_admin(session) else "admin",
            issuer=issuer,
            subject=subject,
            email=email,
        )
        session.add(reader)
        audit.record(session, actor=clean, action="enrol", entity=reader)
    elif reader.email != email:
        old, reader.email = reader.email, email
        audit.record(
            session, actor=reader.name, action="change email", entity=reader, old=old, new=email
        )
    return plain(reader)


def _free_name(session: Session, name: str) -> str:
    free, number = name, 1
    while by_name(session, free) is not None:
        number += 1
        ending = f" ({number})"
        free = name[: NAME_LENGTH - len(ending)].rstrip() + ending
    return free


def has_admin(session: Session) -> bool:
    """Whether anybody signs in as admin; on one machine, without sign-in, nobody does."""
    return _admins(session) > 0


def _admins(session: Session) -> int:
    """Admins who can sign in."""
    query = (
        select(func.count())
        .select_from(Reader)
        .where(Reader.role == "admin", Reader.subject.is_not(None))
    )
    return session.execute(query).scalar_one()


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise RecordError(f"There is no role “{role}”. Choose one of {', '.join(ROLES)}.")


def plain(reader: Reader) -> ReaderRecord:
    """A reader's record of its row."""
    return ReaderRecord(
        id=reader.id,
        name=reader.name,
        score_first=reader.score_first,
        role=cast(Role, reader.role),
        has_account=reader.subject is not None,
    )
