"""Who uses the app and what they may do: asked on the server, in every run, for every action.

There are two ways to run the app.

On one machine, without ``[auth]`` in Streamlit's secrets, a person chooses a
name and acts in every role. Only this machine may connect, else no page opens.

On a server, with ``[auth]``, people sign in by OpenID Connect. An account is the
pair of issuer and subject; its role is in the records and is read from them each
time, so that a role taken away is gone at once.

A menu without an entry protects nothing: each page begins with `require` or
`allow`, and so does each callback or fragment that shows or changes something.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, NoReturn

import streamlit as st

from db import records
from db.errors import RecordError
from db.records import ROLES, Role
from db.session import snapshot, transaction
from pages.parts import failed_sign_in, state
from pages.parts.markdown import harmless, plain
from pages.parts.sign_in import HOW, has_sign_in, obstacle, offer
from pages.parts.store import store

Action = Literal["read", "study", "agreement", "audit", "roles"]

RIGHTS: Final[Mapping[Action, tuple[Role, ...]]] = {
    "read": ROLES,  # of cases assigned to them
    "study": ("admin", "coordinator"),  # create and change studies
    "agreement": ("admin", "coordinator"),  # other readers' scores and what is made of them
    "audit": ("admin", "coordinator"),
    "roles": ("admin",),
}
"""Which roles may do what."""

SMALL_PRINT: Final = (
    "One machine, no sign-in: whoever sits here can act in every role, and names are not checked."
)
_KEPT_NAME: Final = "access.name"

_TOLD: Final = "access.told"
"""What the audit trail was told of this session, so that each run does not tell it again."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A person who uses the app.

    Attributes
    ----------
    name : str
        As the records have it.
    role : {"admin", "coordinator", "reader"}
        On one machine "admin", and all others as well.
    verified : bool
        Whether they signed in. If not, the name is what they say.
    reader_id : int or None
        Of the reader in the records. None for a name that is not in them yet;
        `require` and `allow` put it there.
    """

    name: str
    role: Role
    verified: bool
    reader_id: int | None

    def has(self, *roles: Role) -> bool:
        """Whether the person may act in one of these roles."""
        return not self.verified or self.role in roles


@dataclass(frozen=True, slots=True)
class Entry:
    """Whether the app opens, and for whom.

    Attributes
    ----------
    is_open : bool
        Whether pages may be shown.
    person : Identity or None
    refusal : str or None
        Why no page is shown, where more than signing in is needed.
    """

    is_open: bool
    person: Identity | None = None
    refusal: str | None = None

    def visibility(self, action: Action) -> Literal["visible", "hidden"]:
        """Whether the menu has a page for that. A hidden page still opens by its address."""
        if self.is_open and self.person is None:  # nobody yet, on one machine
            return "hidden" if action == "roles" else "visible"
        return "visible" if may(self.person, action) else "hidden"

    def menu(self, pages: list[Any]) -> dict[str, list[Any]]:
        """The pages and, under the name of who signed in, the way out."""
        if self.person is None or not self.person.verified:
            return {"": pages}
        leave = st.Page(sign_out, title="Sign out", icon=":material/logout:", url_path="sign-out")
        return {"": pages, f"{plain(self.person.name)} ({self.person.role})": [leave]}


def enter() -> Entry:
    """Whether the app opens, and for whom. Draws nothing: that is for after the navigation."""
    try:
        refusal = obstacle()
        if refusal is not None:
            return Entry(False, refusal=refusal)
        if has_sign_in():
            failed_sign_in.watch(store())
        person = who()
        return Entry(person is not None or not has_sign_in(), person)
    except RecordError as error:
        return Entry(False, refusal=str(error))


def turn_away(entry: Entry) -> None:
    """Say why no page is shown, or offer to sign in."""
    if entry.refusal is None:
        offer()
    else:
        st.error(harmless(entry.refusal))


def sign_out() -> None:
    """End the session here, and at the sign-in service where it can."""
    with suppress(RecordError):  # who wants to leave may, whatever the records say
        if (person := who()) is not None:
            with transaction(store()) as db:
                records.visit(db, name=person.name, action="sign out")
    st.logout()
    st.stop()


def who() -> Identity | None:
    """The person of this session, or None if nobody signed in or gave a name.

    Raises
    ------
    RecordError
        If the records cannot be reached or the sign-in service names nobody.
    """
    return _signed_in() if has_sign_in() else _named()


def _signed_in() -> Identity | None:
    """The person whose signed cookie came with this session's connection."""
    user = st.user.to_dict()
    if user.get("is_logged_in") is not True:
        return None
    issuer, subject = user.get("iss"), user.get("sub")
    if not (isinstance(issuer, str) and issuer and isinstance(subject, str) and subject):
        _tell("fail", partial(records.fail_sign_in, why="The token lacks issuer or subject."))
        raise RecordError(
            "The sign-in service did not say who you are (issuer and subject). Its administrator "
            "must let it send an OpenID Connect identity token."
        )
    email = user.get("email")
    known = (user.get("name"), user.get("preferred_username"), email, subject)
    name = next(clean for clean in (_short(text) for text in known) if clean)
    with snapshot(store()) as db:
        account = records.find_account(db, issuer=issuer, subject=subject, email=email or None)
    if account is None:
        with transaction(store()) as db:
            account = records.account(
                db, issuer=issuer, subject=subject, name=name, email=email or None
            )
    _tell("sign in", partial(records.visit, name=account.name, action="sign in"))
    return Identity(account.name, account.role, True, account.id)


def _tell(what: str, write: Callable[[Any], None]) -> None:
    """Have the audit trail told by `write`, once in a session for each `what`."""
    told: set[str] = st.session_state.setdefault(_TOLD, set())
    if what not in told:
        with transaction(store()) as db:
            write(db)
        told.add(what)


def _named() -> Identity | None:
    """The person whose name was chosen on this machine."""
    if state.READER in st.session_state:
        st.session_state[_KEPT_NAME] = st.session_state[state.READER]
    elif _KEPT_NAME not in st.session_state:
        st.session_state[_KEPT_NAME] = st.query_params.get(state.READER, "")
    name = _short(st.session_state[_KEPT_NAME])
    if not name:
        return None
    with snapshot(store()) as db:
        known = records.find_reader(db, name=name)
    if known is None:
        return Identity(name, "admin", False, None)
    return Identity(known.name, "admin", False, known.id)


def _short(name: object) -> str:
    """A name with single spaces, cut to what the records hold; "" for none."""
    return " ".join(str(name or "").split())[: records.NAME_LENGTH].strip()


def may(identity: Identity | None, action: Action) -> bool:
    """Whether this person may do that; on one machine anything but giving roles."""
    if identity is None:
        return False
    if not identity.verified:
        return action != "roles"
    return identity.has(*RIGHTS[action])


def small_print() -> None:
    """What a page says at its end where names are not checked."""
    if not has_sign_in():
        st.caption(SMALL_PRINT)


def require(*roles: Role) -> Identity:
    """The person of this session, if they have one of the roles; else stop with the reason.

    To be called before anything of a page is drawn, and first in a callback.
    No role given: anybody who is known.
    """
    identity = who()
    if identity is None:
        _ask()
    if roles and not identity.has(*roles):
        _refuse(identity, roles)
    return _enrolled(identity)


def allow(action: Action) -> Identity:
    """As `require`, with the roles that `RIGHTS` gives for `action`."""
    if action == "roles" and not has_sign_in():
        st.error(
            "There are no roles to give: on one machine everybody acts in all of them. "
            f"Set up sign-in for roles; {HOW}"
        )
        st.stop()
    return require(*RIGHTS[action])


def _refuse(identity: Identity, roles: Collection[Role]) -> NoReturn:
    needs = [role for role in ROLES if role in roles]
    _tell(f"refuse {needs}", partial(records.refuse, name=identity.name, wanted=needs))
    wanted = " or ".join(f"{role}s" for role in needs)
    st.error(
        f"This is for {wanted} only, and {plain(identity.name)} is signed in as {identity.role}. "
        "Ask an admin of this app for the role."
    )
    st.stop()


def _ask() -> NoReturn:
    if has_sign_in():
        st.error("You are signed out. Reload the page and sign in.")
    else:
        st.info("Type your name or initials first: what you do here is kept under them.")
        reader_name(st)
    st.stop()


def _enrolled(identity: Identity) -> Identity:
    if identity.reader_id is not None:
        return identity
    with transaction(store()) as db:
        known = records.enrol(db, name=identity.name)
    return Identity(known.name, identity.role, identity.verified, known.id)


def is_known(name: str) -> bool:
    """Whether who a page was drawn for may have something of it now.

    For what is asked for apart from any run, where nobody's cookie is at hand: on a server the
    reader needs an account still.
    """
    if not has_sign_in():
        return True
    with snapshot(store()) as db:
        known = records.find_reader(db, name=name) if name else None
    return known is not None and known.has_account


def reader_name(place: Any) -> str:
    """Show in `place` who signed in or, on one machine, let them choose a name; the name.

    A chosen name lasts for the session, also on pages that do not ask for it.
    """
    if has_sign_in():
        name = require().name
        place.markdown(f"Reader: **{plain(name)}**")
        return name
    kept = st.session_state.get(_KEPT_NAME)
    if kept and state.READER not in st.session_state:
        st.session_state[state.READER] = kept
    typed: str = place.text_input(
        "Reader",
        key=state.READER,
        placeholder="Reader: name or initials",
        label_visibility="collapsed",
        max_chars=records.NAME_LENGTH,
        bind="query-params",
        help="What you do and choose is kept under this name.",
    )
    st.session_state[_KEPT_NAME] = typed
    return typed.strip()


def blinding_note(unverified: Collection[str] = ()) -> str:
    """What a report must say about how far its blinding can be relied on.

    Parameters
    ----------
    unverified : collection of str
        Names of its readers who have no account, having read on one machine.
    """
    if not has_sign_in():
        return (
            "Blinding rested on trust: readers chose their names on one machine without "
            "signing in, and whoever used it could act in every role."
        )
    if unverified:
        names = ", ".join(sorted(unverified))
        return (
            f"Blinding rested on trust for {names}, who read without signing in. "
            "The other readers signed in by OpenID Connect, and roles were checked on the server."
        )
    return "Readers signed in by OpenID Connect, and roles were checked on the server."
