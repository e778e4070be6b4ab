"""The app where nobody signs in: open to its own machine only, by names that are typed."""

import pytest
import streamlit as st
from access_support import PAGES, app, drawn, own_records, probed, reader, user
from models_support import unmarked
from streamlit import config

from pages.parts import access, state

pytestmark = pytest.mark.usefixtures("own_records")
__all__ = ["own_records"]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("address", [None, "0.0.0.0", "::", "192.168.1.5", "unix://app.sock"])
def test_without_sign_in_no_page_opens_to_others(address: str | None, page: str) -> None:
    at = app(auth=None)
    config.set_option("server.address", address)
    at.switch_page(page).run()
    assert drawn(at) == ["error"]
    where = address or "every address of this machine"
    assert f"the app listens on {where}" in unmarked(at.error[0].value)
    assert "--server.address 127.0.0.1" in unmarked(at.error[0].value)
    assert "docs/server.md" in unmarked(at.error[0].value)


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "::1", "127.0.0.9"])
def test_without_sign_in_pages_open_to_this_machine(address: str) -> None:
    config.set_option("server.address", address)
    at = app(auth=None)
    assert at.title[0].value == "Analyse"


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"Host": "cellularity.example.org"}, "under the name cellularity.example.org"),
        ({"Host": "192.168.1.5:8501"}, "under the name 192.168.1.5:8501"),
        ({"Host": "localhost.example.org"}, "under the name localhost.example.org"),
        ({"Host": "127.0.0.1:8501", "X-Forwarded-For": "10.0.0.1"}, "through a proxy"),
        ({"Host": "127.0.0.1:8501", "Forwarded": "for=10.0.0.1"}, "through a proxy"),
        ({"Host": "127.0.0.1:8501"}, None),
        ({"Host": "localhost:8501"}, None),
        ({"Host": "[::1]:8501"}, None),
    ],
)
def test_a_proxy_before_the_app_opens_it_to_others(
    headers: dict[str, str], reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(st.context), "headers", property(lambda self: headers))
    at = app(auth=None, page="pages/models.py")
    if reason is None:
        assert at.title[0].value == "Models"
    else:
        assert drawn(at) == ["error"]
        assert reason in unmarked(at.error[0].value)


@pytest.mark.parametrize("page", sorted({"pages/analyse.py", "pages/models.py"}))
def test_a_page_says_that_names_are_not_checked(page: str) -> None:
    at = app(auth=None, page=page)
    assert at.caption[-1].value == access.SMALL_PRINT
    app(user("kim"))


def test_who_signed_in_sees_no_such_small_print() -> None:
    at = app(user("kim"), page="pages/models.py")
    assert access.SMALL_PRINT not in [caption.value for caption in at.caption]


def test_on_one_machine_a_name_is_asked_for_once() -> None:
    at = probed(auth=None)
    assert drawn(at) == ["info", "text_input"]
    assert "Type your name or initials first" in at.info[0].value
    at.text_input(key=state.READER).set_value(" Kim ").run()
    assert at.title[0].value == "Secret"
    known = reader("kim")
    assert at.markdown[0].value == f"Kim, {known.id}"
    assert at.run().title[0].value == "Secret"
    at.button[0].click().run()
    assert at.session_state["acted"]
    assert reader("kim") == known
    assert known.role == "reader"


def test_on_one_machine_the_address_may_name_the_reader() -> None:
    assert probed(auth=None, reader="Kim").markdown[0].value.startswith("Kim, ")
    assert drawn(probed(auth=None, reader=" ")) == ["info", "text_input"]


def test_a_name_lasts_on_pages_that_do_not_ask_for_it() -> None:
    at = app(auth=None)
    at.text_input(key=state.READER).set_value("Kim").run()
    at.switch_page("pages/models.py").run()
    at.switch_page("pages/analyse.py").run()
    assert at.text_input(key=state.READER).value == "Kim"
    assert reader("Kim") is None


def test_on_one_machine_there_are_no_roles_to_give() -> None:
    at = app(auth=None, page="pages/people.py", reader="Kim")
    assert drawn(at)[0] == "error"
    assert "on one machine everybody acts in all of them" in unmarked(at.error[0].value)
    assert not at.title


def test_a_report_says_how_far_its_blinding_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert access.blinding_note().startswith("Blinding rested on trust: readers chose")
    monkeypatch.setattr(access, "has_sign_in", lambda: True)
    assert access.blinding_note().startswith("Readers signed in by OpenID Connect")
    assert access.blinding_note(["Zoe", "Kim"]).startswith(
        "Blinding rested on trust for Kim, Zoe, who read without signing in."
    )
