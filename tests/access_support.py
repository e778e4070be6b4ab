"""The app on a server where people sign in, with records of its own."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit import config
from streamlit.runtime.secrets import Secrets
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Block

from db import records
from db.session import transaction
from pages.parts import sign_in
from pages.parts.store import store

ROOT = Path(__file__).resolve().parent.parent
APP = ROOT / "app.py"
PAGES = sorted(set(re.findall(r"pages/\w+\.py", APP.read_text(encoding="utf-8"))))

ISSUER = "https://id.example.org"
AUTH = {
    "redirect_uri": "https://cellularity.example.org/oauth2callback",
    "cookie_secret": "0123456789abcdef" * 2,
    "client_id": "cellularity",
    "client_secret": "secret",
    "server_metadata_url": f"{ISSUER}/.well-known/openid-configuration",
}


@pytest.fixture
def own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test has records, secrets and settings of its own."""
    monkeypatch.setenv("CELLULARITY_DB", str(tmp_path / "access.db"))
    monkeypatch.setattr(st, "secrets", Secrets())
    options = {name: config.get_option(name) for name in ("server.address", "secrets.files")}
    config.set_option("secrets.files", [str(tmp_path / "secrets.toml")])
    store.clear()
    sign_in.forget()
    yield
    sign_in.forget()
    store().dispose()
    store.clear()
    for name, value in options.items():
        config.set_option(name, value)


def user(subject: str, **claims: Any) -> dict[str, Any]:
    """What Streamlit makes of the identity token of a person who signed in."""
    return {"is_logged_in": True, "iss": ISSUER, "sub": subject, "name": subject} | claims


def app(
    person: dict[str, Any] | None = None, auth: Any = AUTH, page: str | None = None, **query: str
) -> AppTest:
    """The app on a server, as `person` sees it."""
    at = AppTest.from_file(str(APP), default_timeout=120)
    return ready(at, person, auth, page, **query)


def ready(
    at: AppTest, person: dict[str, Any] | None, auth: Any, page: str | None = None, **query: str
) -> AppTest:
    at.secrets = {"auth": auth} if auth is not None else {}
    at.user = person or {"is_logged_in": False}
    for name, value in query.items():
        at.query_params[name] = value
    if page is not None:
        at.run()
        at.switch_page(page)
    return at.run()


def drawn(at: AppTest) -> list[str]:
    """Kinds of elements that were sent, the frame around every page left out."""
    assert not at.exception
    return [
        element.type
        for element in at.main
        if not isinstance(element, Block) and element.type not in ("html", "empty")
    ]


def reader(name: str) -> records.ReaderRecord | None:
    with transaction(store()) as db:
        return records.find_reader(db, name=name)


def probe() -> None:
    """A page for coordinators with an action, as short as one can be."""
    import streamlit as st

    from pages.parts import access

    def act() -> None:
        access.require("coordinator", "admin")
        st.session_state["acted"] = True

    me = access.require("coordinator", "admin")
    st.title("Secret")
    st.markdown(f"{me.name}, {me.reader_id}")
    st.button("Act", on_click=act)


def probed(person: dict[str, Any] | None = None, auth: Any = AUTH, **query: str) -> AppTest:
    return ready(AppTest.from_function(probe), person, auth, **query)
