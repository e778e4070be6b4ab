"""Who may use the app and do what, through `app.py`, where people sign in."""

import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
import streamlit as st
from access_support import (
    AUTH,
    ISSUER,
    PAGES,
    ROOT,
    app,
    drawn,
    own_records,
    probed,
    reader,
    user,
)
from models_support import unmarked
from streamlit import config
from streamlit.runtime.secrets import Secrets

from db import records
from db.session import transaction
from pages.parts import access, sign_in, state
from pages.parts.access import Action, Identity
from pages.parts.store import store

pytestmark = pytest.mark.usefixtures("own_records")
__all__ = ["own_records"]
OPEN_TO_READERS = {
    "pages/analyse.py",
    "pages/compare.py",
    "pages/models.py",
    "pages/rcb.py",
    "pages/read.py",
    "pages/slides.py",
}
"""All other pages must turn a reader away."""


def give(name: str, role: records.Role) -> None:
    with transaction(store()) as db:
        records.set_role(db, name=name, role=role, actor="a test")


@pytest.mark.parametrize("page", PAGES)
def test_no_page_is_sent_to_who_did_not_sign_in(page: str) -> None:
    at = app(page=page)
    assert drawn(at) == ["title", "markdown", "button"]
    assert at.title[0].value == "Cellularity"
    assert at.button[0].label == "Sign in"


def test_each_service_has_its_button() -> None:
    service = {name: AUTH[name] for name in ("client_id", "client_secret", "server_metadata_url")}
    shared = {name: AUTH[name] for name in ("redirect_uri", "cookie_secret")}
    at = app(auth=shared | {"keycloak": service, "hospital": service})
    assert [button.label for button in at.button] == [
        "Sign in with keycloak",
        "Sign in with hospital",
    ]


@pytest.mark.parametrize(
    "person",
    [
        user("kim") | {"is_logged_in": False},
        user("kim") | {"is_logged_in": "True"},  # as a header would say it
        {"iss": ISSUER, "sub": "kim"},
    ],
)
def test_only_a_signed_cookie_signs_in(person: dict[str, Any]) -> None:
    assert app(person).button[0].label == "Sign in"
    assert reader("kim") is None


@pytest.mark.parametrize("missing", ["iss", "sub"])
def test_a_token_that_names_nobody_is_refused(missing: str) -> None:
    at = app(user("kim") | {missing: None}, page="pages/models.py")
    assert drawn(at) == ["error"]
    assert "did not say who you are (issuer and subject)" in unmarked(at.error[0].value)


def test_the_first_account_is_admin_and_the_next_a_reader() -> None:
    assert drawn(app(user("ada"), page="pages/people.py"))[0] == "title"
    at = app(user("kim"), page="pages/people.py")
    assert drawn(at) == ["error"]
    assert unmarked(at.error[0].value) == (
        "This is for admins only, and kim is signed in as reader. "
        "Ask an admin of this app for the role."
    )
    assert (reader("ada").role, reader("kim").role) == ("admin", "reader")


@pytest.mark.parametrize("page", PAGES)
def test_a_reader_reaches_only_a_readers_pages(page: str) -> None:
    app(user("ada"))
    at = app(user("kim"), page=page)
    if page in OPEN_TO_READERS:
        assert not at.exception
        assert not any("This is for" in error.value for error in at.error)
        assert at.title
    else:
        assert drawn(at) == ["error"]
        assert "This is for" in unmarked(at.error[0].value)


def test_a_role_counts_from_the_next_run_on() -> None:
    app(user("ada"))
    at = probed(user("kim"))
    assert drawn(at) == ["error"]
    assert "Secret" not in str(at.main)
    give("kim", "coordinator")
    assert at.run().title[0].value == "Secret"
    give("kim", "reader")
    assert drawn(at.run()) == ["error"]


def test_an_action_is_checked_when_it_is_done() -> None:
    """A page that was opened before the role was taken away still has its button."""
    app(user("ada"))
    app(user("kim"))
    give("kim", "coordinator")
    at = probed(user("kim"))
    at.button[0].click().run()
    assert at.session_state["acted"]
    del at.session_state["acted"]
    give("kim", "reader")
    at.button[0].click().run()
    assert "acted" not in at.session_state
    assert drawn(at) == ["error"]


def test_signing_out_ends_what_a_page_shows() -> None:
    at = probed(user("ada"))
    assert at.title[0].value == "Secret"
    at.user = {"is_logged_in": False}
    assert drawn(at.run()) == ["error"]
    assert unmarked(at.error[0].value) == "You are signed out. Reload the page and sign in."


ALLOWED = {
    "read": {"admin", "coordinator", "reader"},
    "study": {"admin", "coordinator"},
    "agreement": {"admin", "coordinator"},
    "audit": {"admin", "coordinator"},
    "roles": {"admin"},
}


@pytest.mark.parametrize("action", get_args(Action))
def test_what_each_role_may_do(action: Action) -> None:
    may = {role for role in records.ROLES if access.may(Identity("K", role, True, 1), action)}
    assert may == ALLOWED[action]
    assert not access.may(None, action)
    assert access.may(Identity("K", "admin", False, None), action) == (action != "roles")


def test_an_account_is_issuer_and_subject_and_never_a_name() -> None:
    first = probed(user("1", name="Kim Lee")).markdown[0].value
    assert probed(user("1", name="Kim Lee-Ray")).markdown[0].value == first
    for stranger in (
        user("2", name="kim lee"),
        user("1", name="Kim Lee", iss="https://elsewhere.example.org"),
    ):
        assert drawn(probed(stranger)) == ["error"]
    assert first == f"Kim Lee, {reader('Kim Lee').id}"


def test_a_name_that_was_typed_on_one_machine_is_not_taken_over() -> None:
    with transaction(store()) as db:
        typed = records.enrol(db, name="Kim")
    app(user("kim", name="Kim"))
    assert reader("Kim").id == typed.id
    assert reader("Kim (2)").role == "admin"


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"name": "  Kim   Lee "}, "Kim Lee"),
        ({"name": None, "preferred_username": "klee", "email": "k@x.org"}, "klee"),
        ({"name": " ", "email": "k@x.org"}, "k@x.org"),
        ({"name": None}, "kim"),
        ({"name": "K" * 300}, "K" * records.NAME_LENGTH),
    ],
)
def test_the_name_comes_from_the_token(claims: dict[str, Any], name: str) -> None:
    at = probed(user("kim", **claims))
    assert at.markdown[0].value.startswith(f"{name}, ")


def test_the_reader_is_who_signed_in_whatever_the_address_says() -> None:
    at = app(user("kim", name="Kim *Lee*"), reader="Eve")
    assert not at.text_input
    assert at.markdown[0].value == r"Reader: **Kim \*Lee\***"
    at.toggle(key=state.SCORE_FIRST).set_value(True).run()
    assert not at.exception
    assert reader("Kim *Lee*").score_first
    assert reader("Eve") is None


def test_an_admin_gives_roles_and_the_last_admin_stays() -> None:
    app(user("ada"))
    app(user("kim"))
    at = app(user("ada"), page="pages/people.py")
    assert dict(at.dataframe[0].value.to_numpy()) == {"ada": "admin", "kim": "reader"}

    def choose(name: str, role: str) -> None:
        at.selectbox(key="people.person").select(name)
        at.selectbox(key="people.role").select(role).run()
        at.button(key="people.give").click().run()
        assert not at.exception

    choose("ada", "reader")
    assert "ada is the only admin" in unmarked(at.error[0].value)
    choose("kim", "admin")
    assert dict(at.dataframe[0].value.to_numpy()) == {"ada": "admin", "kim": "admin"}
    with transaction(store()) as db:
        [last] = records.events(db, limit=1)
    assert (last.actor, last.action) == ("ada", "set role")
    choose("ada", "reader")
    assert drawn(at) == ["error"]
    assert reader("ada").role == "reader"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cookie_secret": ""}, r"cookie_secret is missing in \[auth\]"),
        ({"cookie_secret": "short"}, "cookie_secret is shorter than 32 letters"),
        ({"redirect_uri": ""}, r"redirect_uri is missing in \[auth\]"),
        ({"redirect_uri": "http://x.org/oauth2callback"}, "does not begin with https://"),
        ({"client_id": ""}, r"client_id is missing in \[auth\]"),
        ({"client_secret": ""}, r"client_secret is missing in \[auth\]"),
        ({"server_metadata_url": ""}, r"server_metadata_url is missing in \[auth\]"),
        ({"okta": {"client_id": "x", "client_secret": "y"}}, r"is missing in \[auth.okta\]"),
    ],
)
def test_settings_that_are_unsafe_or_not_complete(change: dict[str, Any], message: str) -> None:
    at = app(user("kim"), auth=AUTH | change, page="pages/models.py")
    assert drawn(at) == ["error"]
    assert re.search(
        f"^Nobody can sign in: .*{message}.*docs/server.md", unmarked(at.error[0].value)
    )


def test_plain_http_is_enough_on_this_machine() -> None:
    at = app(auth=AUTH | {"redirect_uri": "http://localhost:8501/oauth2callback"})
    assert at.button[0].label == "Sign in"


def test_headers_cannot_say_who_somebody_is() -> None:
    config.set_option("server.trustedUserHeaders", {"X-Sub": "sub"})
    try:
        at = app(user("kim"))
    finally:
        config.set_option("server.trustedUserHeaders", {})
    assert "server.trustedUserHeaders lets a request say whose it is" in unmarked(at.error[0].value)


def test_secrets_that_cannot_be_read_open_nothing(tmp_path: Path) -> None:
    (tmp_path / "secrets.toml").write_text('[auth\ncookie_secret = "x"', encoding="utf-8")
    at = app(auth=None, page="pages/models.py")
    assert drawn(at) == ["error"]
    assert "secrets.toml cannot be read, so nobody can sign in" in unmarked(at.error[0].value)


def test_a_section_that_is_none_opens_nothing() -> None:
    at = app(auth="yes")
    assert drawn(at) == ["error"]
    assert "“auth” in the secrets is not a section" in unmarked(at.error[0].value)


def test_sign_in_that_vanishes_while_the_app_runs_opens_nothing(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets.toml"
    secrets.write_text("[auth]\n" + "".join(f'{k} = "{v}"\n' for k, v in AUTH.items()))
    assert app(auth=None).button[0].label == "Sign in"
    secrets.write_text("")
    st.secrets = Secrets()
    assert app(auth=None).button[0].label == "Sign in"


def test_the_settings_in_the_manual_lack_nothing_but_secrets() -> None:
    manual = (ROOT / "docs" / "server.md").read_text(encoding="utf-8")
    [settings] = re.findall(r"```toml\n(.*?)```", manual, re.DOTALL)
    auth = tomllib.loads(settings)["auth"]
    at = app(auth=auth)
    assert unmarked(at.error[0].value).startswith(
        "Nobody can sign in: cookie_secret is shorter than 32 letters. "
    )
    sign_in.forget()
    assert app(auth=auth | {"cookie_secret": "0" * 64}).button[0].label == "Sign in"
