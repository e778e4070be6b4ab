"""How people get in: the settings of sign-in, and whether others than this machine can connect."""

from collections.abc import Iterator, Mapping
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import streamlit as st

from db.errors import RecordError

HOW: Final = "docs/server.md says how."

SECRET_LENGTH: Final = 32
"""Fewest letters of the secret that signs the cookies; who guesses it can be anyone."""

_PROXY_HEADERS: Final = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip")


@cache
def settings() -> Mapping[str, Any] | None:
    """The section ``[auth]`` of Streamlit's secrets, or None; read once.

    Streamlit watches the secrets. Were they asked again, a file that is empty
    for a moment while it is edited would make everyone an admin.

    Raises
    ------
    RecordError
        If there are secrets, but they cannot be read.
    """
    try:
        section = st.secrets.to_dict().get("auth")
    except FileNotFoundError as error:  # Streamlit's for any secrets it cannot use
        for path in map(Path, st.get_option("secrets.files")):
            if path.exists():
                raise RecordError(
                    f"The secrets in {path.name} cannot be read, so nobody can sign in. "
                    "Correct the file (it is TOML) and start the app again."
                ) from error
        return None
    if section is not None and not isinstance(section, Mapping):
        raise RecordError(
            "“auth” in the secrets is not a section. Write [auth] with its settings below it "
            f"and start the app again; {HOW}"
        )
    return section


def forget() -> None:
    """Read the secrets again at the next question; for tests."""
    settings.cache_clear()


def has_sign_in() -> bool:
    """Whether people sign in, as on a server; else names are chosen on one machine."""
    return settings() is not None


def providers(auth: Mapping[str, Any]) -> dict[str | None, Mapping[str, Any]]:
    """Settings of each sign-in service by its name; None is the one without a name."""
    named: dict[str | None, Mapping[str, Any]] = {
        name: section
        for name, section in auth.items()
        if isinstance(section, Mapping) and name != "client_kwargs"
    }
    return named or {None: auth}


def is_loopback(host: str | None) -> bool:
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
    address = urlsplit(str(auth.get("redirect_uri") or ""))
    if address.scheme == "http" and not is_loopback(address.hostname):
        yield "redirect_uri does not begin with https://, so that cookies could be read on the way"
    for name, section in providers(auth).items():
        place = f"[auth.{name}]" if name else "[auth]"
        for key in ("client_id", "client_secret", "server_metadata_url"):
            if not section.get(key):
                yield f"{key} is missing in {place}"
    if st.get_option("server.trustedUserHeaders"):
        yield "server.trustedUserHeaders lets a request say whose it is, so it must go"


def _openness() -> str | None:
    """Why others than this machine could use the app, or None."""
    address = st.get_option("server.address")
    if not is_loopback(address):
        return f"the app listens on {address or 'every address of this machine'}"
    headers = st.context.headers
    host = headers.get("Host")
    if host is not None and not is_loopback(urlsplit(f"//{host}").hostname):
        return f"it was asked for under the name {host}"
    if any(header in headers for header in _PROXY_HEADERS):
        return "it was asked for through a proxy"
    return None


def obstacle() -> str | None:
    """Why nobody may use the app as it is set up, or None.

    Raises
    ------
    RecordError
        If there are secrets, but they cannot be read.
    """
    auth = settings()
    if auth is not None:
        wrong = "; ".join(_faults(auth))
        if not wrong:
            return None
        return f"Nobody can sign in: {wrong}. Put it right and start the app again; {HOW}"
    why = _openness()
    if why is None:
        return None
    return (
        f"No page is shown, because names are not checked here and {why}. Start the app with "
        "`--server.address 127.0.0.1` and open it on this machine, or set up sign-in; " + HOW
    )


def offer() -> None:
    """Ask to sign in, with one button for each service."""
    st.title("Cellularity", anchor=False)
    st.markdown("Sign in to see the patches and to score them.")
    for name in providers(settings() or {}):
        label = f"Sign in with {name}" if name else "Sign in"
        if st.button(label, key=f"sign_in.{name or 'default'}", type="primary"):
            st.login(name)
