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

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Literal, NoReturn
from urllib.parse import urlsplit

import streamlit as st

from db import records
from db.errors import RecordError
from db.session import transaction
from pages.parts import state
from pages.parts.store import store

Role = Literal["admin", "coordinator", "reader"]
Action = Literal["read", "study", "agreement", "audit", "roles"]

ROLES: Final[tuple[Role, ...]] = ("admin", "coordinator", "reader")

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
SECRET_LENGTH: Final = 32
"""Fewest letters of the secret that signs the cookies; who guesses it can be anyone."""

_KEPT_NAME: Final = "access.name"
_HOW: Final = "docs/server.md says how."
_PROXY_HEADERS: Final = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip")


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


@cache
def _auth() -> Mapping[str, Any] | None:
    """The section ``[auth]`` of the secrets, or None; read once.

    The secrets are watched by Streamlit. Were they asked again, a file that is
    empty for a moment while it is edited would make everyone an admin.

    Raises
    ------
    RecordError
        If there are secrets, but they cannot be read.
    """
    try:
        section = st.secrets.to_dict().get("auth")
    except FileNotFoundError as error:
        paths = [Path(path) for path in st.get_option("secrets.files")]
        for path in paths:
            if path.exists():
                raise RecordError(
                    f"{path.name} cannot be read, so nobody can sign in. Correct it (it is TOML) "
                    "and start the app again."
                ) from error
        return None
    if section is not None and not isinstance(section, Mapping):
        raise RecordError(
            "“auth” in the secrets is not a section. Write [auth] with its settings below it "
            f"and start the app again; {_HOW}"
        )
    return section


def forget() -> None:
    """Read the secrets again at the next question; for tests."""
    _auth.cache_clear()


def has_sign_in() -> bool:
    """Whether people sign in, as on a server; else names are chosen on one machine."""
    return _auth() is not None


def _providers(auth: Mapping[str, Any]) -> dict[str | None, Mapping[str, Any]]:
    """Settings of each sign-in service by its name; None is the one without a name."""
    named: dict[str | None, Mapping[str, Any]] = {
        name: section
        for name, section in auth.items()
        if isinstance(section, Mapping) and name != "client_kwargs"
    }
    return named or {None: auth}


def _is_loopback(host: str | None) -> bool:
    """Whether `host` is a name or number of this machine that no other can reach."""
    name = (host or "").lower().rstrip(".")
    if name == "localhost":
        return True
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _faults(auth: Mapping[str, Any]) -> Iterator[str]:
    """What must be put right in the settings before anyone can sign in."""
    for key in ("redirect_uri", "cookie_secret"):
        if not auth.get(key):
            yield f"{key} is missing in [auth]"
    if 0 < len(str(auth.get("cookie_secret") or "")) < SECRET_LENGTH:
        yield f"cookie_secret is shorter than {SECRET_LENGTH} letters"
    if st.get_option("server.trustedUserHeaders"):
        yield "server.trustedUserHeaders would let a request say whose it is; take it out"
    address = urlsplit(str(auth.get("redirect_uri") or ""))
    if address.scheme == "http" and not _is_loopback(address.hostname):
        yield "redirect_uri does not begin with https://, so that cookies could be read on the way"
    for name, section in _providers(auth).items():
        place = f"[auth.{name}]" if name else "[auth]"
        for key in ("client_id", "client_secret", "server_metadata_url"):
            if not section.get(key):
                yield f"{key} is missing in {place}"


def _openness() -> str | None:
    """Why others than this machine can connect, or None."""
    address = st.get_option("server.address")
    if not _is_loopback(address):
        return f"the app listens on {address or 'every address of this machine'}"
    headers = st.context.headers
    host = headers.get("Host")
    if host is not None and not _is_loopback(urlsplit(f"//{host}").hostname):
        return f"it was asked for under the name {host}"
    if any(header in headers for header in _PROXY_HEADERS):
        return "it was asked for through a proxy"
    return None


def admit() -> bool:
    """Whether pages may be shown; where not, say why or offer to sign in."""
    try:
        auth = _auth()
        if auth is None:
            why = _openness()
            if why is None:
                return True
            st.error(
                f"No page is shown, because names are not checked here and {why}. Start the app "
                "with `--server.address 127.0.0.1` and open it on this machine, or set up "
                f"sign-in; {_HOW}"
            )
            return False
        faults = "; ".join(_faults(auth))
        if faults:
            st.error(f"Nobody can sign in: {faults}. Put it right and start the app again; {_HOW}")
            return False
        if _signed_in(auth) is not None:
            return True
    except RecordError as error:
        st.error(str(error))
        return False
    st.title("Cellularity", anchor=False)
    st.markdown("Sign in to see the patches and to score them.")
    for name in _providers(auth):
        label = f"Sign in with {name}" if name else "Sign in"
        st.button(label, key=f"access.login.{name or ''}", type="primary", on_click=_login(name))
    return False


def _login(provider: str | None) -> Any:
    return lambda: st.login(provider) if provider else st.login()


def sign_out() -> None:
    """End the session here, and at the sign-in service where it can."""
    st.logout()
    st.stop()


def who() -> Identity | None:
    """The person of this session, or None if nobody signed in or gave a name.

    Raises
    ------
    RecordError
        If the records cannot be reached or the sign-in service names nobody.
    """
    auth = _auth()
    return _named() if auth is None else _signed_in(auth)


def _signed_in(auth: Mapping[str, Any]) -> Identity | None:
    """The person whose signed cookie came with this session's connection."""
    user = st.user.to_dict()
    if user.get("is_logged_in") is not True:
        return None
    issuer, subject = user.get("iss"), user.get("sub")
    if not (isinstance(issuer, str) and issuer and isinstance(subject, str) and subject):
        raise RecordError(
            "The sign-in service did not say who you are (issuer and subject). Its administrator "
            "must let it send an OpenID Connect identity token."
        )
    email = user.get("email")
    known = (user.get("name"), user.get("preferred_username"), email, subject)
    name = next(clean for clean in (_short(text) for text in known) if clean)
    with transaction(store()) as db:
        account = records.account(
            db, issuer=issuer, subject=subject, name=name, email=email or None
        )
    return Identity(account.name, account.role, True, account.id)


def _named() -> Identity | None:
    """The person whose name was chosen on this machine."""
    if state.READER in st.session_state:
        st.session_state[_KEPT_NAME] = st.session_state[state.READER]
    chosen = st.session_state.get(_KEPT_NAME)
    name = _short(chosen if chosen is not None else st.query_params.get(state.READER))
    if not name:
        return None
    with transaction(store()) as db:
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


def visibility(identity: Identity | None, action: Action) -> Literal["visible", "hidden"]:
    """Whether a page appears in the menu. A hidden one still opens by its address."""
    if not has_sign_in():
        return "hidden" if action == "roles" else "visible"
    return "visible" if may(identity, action) else "hidden"


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
    identity = require(*RIGHTS[action])
    if not may(identity, action):
        st.error(
            "There are no roles to give: on one machine everybody acts in all of them. "
            f"Set up sign-in for roles; {_HOW}"
        )
        st.stop()
    return identity


def _refuse(identity: Identity, roles: Collection[Role]) -> NoReturn:
    wanted = " or ".join(f"{role}s" for role in ROLES if role in roles)
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
        name_field(st)
    st.stop()


def _enrolled(identity: Identity) -> Identity:
    if identity.reader_id is not None:
        return identity
    with transaction(store()) as db:
        known = records.enrol(db, name=identity.name)
    return Identity(known.name, identity.role, identity.verified, known.id)


def name_field(place: Any) -> str:
    """Let a person on one machine choose their name, in `place`; the name.

    Kept for the whole session, also on pages that do not ask for it.
    """
    kept = st.session_state.get(_KEPT_NAME)
    if kept and state.READER not in st.session_state:
        st.session_state[state.READER] = kept
    name: str = place.text_input(
        "Reader",
        key=state.READER,
        placeholder="Reader: name or initials",
        label_visibility="collapsed",
        max_chars=records.NAME_LENGTH,
        bind="query-params",
        help="Your scores and your choice on the right are kept under this name.",
    )
    st.session_state[_KEPT_NAME] = name
    return name.strip()


def plain(text: str) -> str:
    """`text` so that Markdown shows it letter by letter."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()<>#+-.!|~$:^=" else c for c in text)


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
