"""Sign-ins, failed sign-ins and refusals, as events of the audit trail; no row changes."""

from collections.abc import Sequence
from typing import Final, Literal

from sqlalchemy.orm import Session

from db import audit, readers

SIGN_IN: Final = "sign_in"
"""Entity of a sign-in that failed: it belongs to no reader."""

NOBODY: Final = "nobody"
"""Actor of a sign-in that failed."""


def visit(session: Session, *, name: str, action: Literal["sign in", "sign out"]) -> None:
    """Tell that this reader signed in or out.

    Raises
    ------
    RecordError
        If there is no such reader.
    """
    reader = readers.required(session, name)
    audit.record(session, actor=reader.name, action=action, entity=reader, new=reader.role)


def refuse(session: Session, *, name: str, wanted: Sequence[str]) -> None:
    """Tell that this reader asked for what only the roles `wanted` may do.

    Raises
    ------
    RecordError
        If there is no such reader.
    """
    reader = readers.required(session, name)
    told = {"has": reader.role, "needs": list(wanted)}
    audit.record(session, actor=reader.name, action="refuse", entity=reader, new=told)


def fail_sign_in(session: Session, *, why: str) -> None:
    """Tell of a sign-in that the app refused, as nobody could be named."""
    audit.append(
        session,
        actor=NOBODY,
        action="fail",
        entity=SIGN_IN,
        entity_id=0,
        content={"old": None, "new": why},
        row=None,
    )
