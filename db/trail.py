"""The audit trail, leafed through."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import members
from db.schema import AuditContent, AuditEvent

_BLINDING: Final = frozenset(
    {"reading", "amendment", "model_score", "consensus", "case", "membership", "study"}
)
"""Entities whose values would tell a reader scores, references or repeats: a study's seed and
share of repeats give their order."""


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the trail; `old` and `new` are None where not there, erased or withheld.

    Attributes
    ----------
    sequence : int
        From 1, without gaps.
    at : datetime
        By the server's clock, in UTC.
    is_erased : bool
        Whether old and new value were erased at a patient's request.
    is_withheld : bool
        Whether they are kept from who asks, as that reader takes part in a study that
        is not closed.
    """

    sequence: int
    at: datetime
    actor: str
    action: str
    entity: str
    entity_id: int
    old: Any
    new: Any
    is_erased: bool
    is_withheld: bool
    hash: str


def events(
    session: Session,
    *,
    limit: int,
    before: int | None = None,
    entity: str | None = None,
    asking: str | None = None,
) -> list[Event]:
    """The latest events, newest first.

    Parameters
    ----------
    limit : int
        At most so many.
    before : int, optional
        Only events with a smaller number: to leaf through them.
    entity : str, optional
        Only events of this table, e.g. "reading".
    asking : str, optional
        Reader who will see them. To be given wherever a reader may look: one who takes
        part in a study that is not closed gets no scores, references and orders.
    """
    is_blinded = asking is not None and members.is_blinded(session, reader=asking)
    query = (
        select(AuditEvent, AuditContent.content)
        .outerjoin(AuditContent, AuditContent.sequence == AuditEvent.sequence)
        .order_by(AuditEvent.sequence.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(AuditEvent.sequence < before)
    if entity is not None:
        query = query.where(AuditEvent.entity == entity)
    found = []
    for event, content in session.execute(query):
        is_withheld = is_blinded and event.entity in _BLINDING
        told = {} if content is None or is_withheld else json.loads(content)
        found.append(
            Event(
                sequence=event.sequence,
                at=event.at,
                actor=event.actor,
                action=event.action,
                entity=event.entity,
                entity_id=event.entity_id,
                old=told.get("old"),
                new=told.get("new"),
                is_erased=content is None,
                is_withheld=is_withheld,
                hash=event.hash,
            )
        )
    return found
