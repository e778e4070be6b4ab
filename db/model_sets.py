"""The model set in use: chosen by an admin; each choice is an event of the audit trail.

There is no table of its own: the chain already holds who chose what and when, refuses
changes and is verified.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import audit, readers
from db.errors import RecordError
from db.schema import AuditContent, AuditEvent

ENTITY: Final = "model_set"
"""Entity of the events; its number counts the choices from 1."""

_NAME_LENGTH: Final = 120  # of model_set in the tables of scores and studies


@dataclass(frozen=True, slots=True)
class ActiveSet:
    """A model set that was put in use.

    Attributes
    ----------
    name, sha256 : str
        Of the model set: its name and the checksum of its manifest and weights.
    chosen_by : str
        Name of the admin.
    chosen_at : datetime
        In UTC.
    """

    name: str
    sha256: str
    chosen_by: str
    chosen_at: datetime


def active(session: Session) -> ActiveSet | None:
    """The model set chosen last; None where none was chosen yet."""
    return next(iter(_told(session, last=1)), None)


def choices(session: Session) -> list[ActiveSet]:
    """Every choice of a model set, oldest first."""
    return _told(session)[::-1]


def choose(session: Session, *, name: str, sha256: str, actor: str) -> ActiveSet:
    """Put a model set in use for everybody; nothing happens if it is in use already.

    Parameters
    ----------
    name, sha256 : str
        Of the model set.
    actor : str
        Name of who chooses: an admin. Where nobody in the records signs in as admin
        (one machine, names not checked) everybody acts in that role.

    Raises
    ------
    RecordError
        If the actor is no admin, or name or checksum are none.
    """
    person = readers.required(session, actor)
    if person.role != "admin" and readers.has_admin(session):
        raise RecordError(
            f"{person.name} is {person.role} here, and only an admin puts a model set in use. "
            "Ask an admin of this app."
        )
    if not 1 <= len(name) <= _NAME_LENGTH or name != name.strip():
        raise RecordError(
            f"A model set's name needs 1 to {_NAME_LENGTH} letters without spaces around them, "
            f"not “{name}”."
        )
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise RecordError(
            f"“{sha256}” is no checksum of a model set; give its SHA-256, 64 hexadecimal digits."
        )
    before = active(session)
    if before is not None and (before.name, before.sha256) == (name, sha256):
        return before
    old = None if before is None else {"name": before.name, "sha256": before.sha256}
    audit.append(
        session,
        actor=person.name,
        action="choose",
        entity=ENTITY,
        entity_id=len(choices(session)) + 1,
        content={"old": old, "new": {"name": name, "sha256": sha256}},
        row=None,
    )
    chosen = active(session)
    assert chosen is not None
    return chosen


def _told(session: Session, last: int | None = None) -> list[ActiveSet]:
    """The choices, newest first; with `last` only so many."""
    query = (
        select(AuditEvent.actor, AuditEvent.at, AuditContent.content)
        .join(AuditContent, AuditContent.sequence == AuditEvent.sequence)
        .where(AuditEvent.entity == ENTITY)
        .order_by(AuditEvent.sequence.desc())
        .limit(last)
    )
    found = []
    for actor, at, content in session.execute(query):
        assert content is not None  # a choice is about no patient, so it is never erased
        new = json.loads(content)["new"]
        found.append(ActiveSet(new["name"], new["sha256"], actor, at))
    return found
