"""Sign-ins, failed ones, refusals and roles in the audit trail; callbacks ask for the role."""

import ast
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from access_support import AUTH, ROOT, app, own_records, ready, user
from streamlit.testing.v1 import AppTest

from db import records
from db.session import snapshot, transaction
from pages.parts import failed_sign_in, frame, sign_in
from pages.parts.store import store

pytestmark = pytest.mark.usefixtures("own_records")
__all__ = ["own_records"]

CALLBACKS: dict[tuple[str, str], tuple[tuple[Any, ...], set[str]]] = {
    ("pages.studies", "_open"): ((1,), {"coordinator", "admin"}),
    ("pages.studies", "_close"): ((1,), {"coordinator", "admin"}),
    ("pages.studies", "_join"): ((1,), {"coordinator", "admin"}),
    ("pages.audit", "_leaf"): ((7,), {"coordinator", "admin"}),
    ("pages.parts.models_switch", "_switch"): (("none", "00"), {"admin"}),
    ("pages.parts.erasing", "_erase"): ((), {"admin"}),
    ("pages.parts.erasing", "_scrub"): ((), {"admin"}),
}
"""What a button calls, with which arguments, and who may."""

OWN = {
    ("pages.parts.reader", "_keep_choice"),
    ("pages.parts.own_reads", "_amend"),
    ("pages.parts.reading", "take"),
}
"""Callbacks that write under the caller's own name; the records check whose read it is."""


def told() -> list[tuple[str, str, str, Any]]:
    """The trail, oldest first: who, what, of what, after."""
    with snapshot(store()) as db:
        assert records.verify(db).ok
        return [(e.actor, e.action, e.entity, e.new) for e in records.events(db, limit=99)][::-1]


def give(name: str, role: records.Role) -> None:
    with transaction(store()) as db:
        records.set_role(db, name=name, role=role, actor="a test")


def call(module: str, function: str, arguments: tuple[object, ...]) -> None:
    """A page that does nothing but what a button of another page calls."""
    import importlib

    getattr(importlib.import_module(module), function)(*arguments)


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pages can be imported without being run, and are forgotten after."""
    monkeypatch.setattr(frame, "show", lambda page: None)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name in ("pages.studies", "pages.audit"):
            del sys.modules[name]


@pytest.mark.usefixtures("importable")
@pytest.mark.parametrize("which", CALLBACKS, ids=".".join)
@pytest.mark.parametrize("role", records.ROLES)
def test_a_callback_is_refused_to_a_lesser_role(which: tuple[str, str], role: records.Role) -> None:
    arguments, may = CALLBACKS[which]
    with transaction(store()) as db:
        for name in ("ada", "kim"):
            records.account(
                db, issuer="https://id.example.org", subject=name, name=name, email=None
            )
    give("kim", role)
    at = AppTest.from_function(call, args=(*which, arguments), default_timeout=30)
    at = ready(at, user("kim"), AUTH)
    is_refused = any(error.value.startswith("This is for ") for error in at.error)
    assert is_refused == (role not in may)
    assert (told()[-1][1] == "refuse") == is_refused


def _called_by_widgets() -> Iterator[tuple[str, str, ast.FunctionDef]]:
    """Functions of modules that a widget calls back, by module and name."""
    for path in sorted((ROOT / "pages").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        defined = {n.name: n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
        for node in ast.walk(tree):
            if not (isinstance(node, ast.keyword) and (node.arg or "").startswith("on_")):
                continue
            named = {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for name in named & defined.keys():
                yield module, name, defined[name]


def test_every_callback_that_writes_asks_who_calls() -> None:
    """So that a new button is either tried above or known to write the caller's own."""
    writing = set()
    for module, name, function in _called_by_widgets():
        calls = [n.func for n in ast.walk(function) if isinstance(n, ast.Call)]
        if any(isinstance(f, ast.Name) and f.id == "transaction" for f in calls):
            writing.add((module, name))
            first = next(f for f in calls if isinstance(f, ast.Attribute))
            assert ast.unparse(first) in ("access.allow", "access.require", "access.who")
    assert {("pages.studies", "_open"), ("pages.parts.erasing", "_erase")} <= writing
    assert writing <= CALLBACKS.keys() | OWN


def test_every_transaction_of_a_page_knows_who_writes() -> None:
    """A write that names an actor gets it from the sign-in, never from the browser."""
    for path in sorted((ROOT / "pages").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "transaction(store())" in text:
            # `sights` is told the name by the pages, which have it from there
            assert "access." in text or path.name in ("access.py", "sights.py"), path.name


def test_sign_in_and_roles_are_in_the_trail_once_a_session() -> None:
    at = app(user("ada"))
    at.run()
    app(user("kim"))
    give("kim", "coordinator")
    assert [event[:3] for event in told()] == [
        ("ada", "enrol", "reader"),
        ("ada", "sign in", "reader"),
        ("kim", "enrol", "reader"),
        ("kim", "sign in", "reader"),
        ("a test", "set role", "reader"),
    ]
    app(user("kim"))
    assert told()[-1] == ("kim", "sign in", "reader", "coordinator")


def test_who_signs_out_is_in_the_trail(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave() -> None:
        from pages.parts import access

        access.sign_out()

    left = []
    monkeypatch.setattr("streamlit.logout", lambda: left.append(1))
    ready(AppTest.from_function(leave), user("ada"), AUTH)
    assert left == [1]
    assert [event[1] for event in told()] == ["enrol", "sign in", "sign out"]


def test_a_refusal_is_in_the_trail_once_a_session() -> None:
    app(user("ada"))
    at = app(user("kim"), page="pages/audit.py")
    at.run()
    refusals = [event for event in told() if event[1] == "refuse"]
    needs = {"has": "reader", "needs": ["admin", "coordinator"]}
    assert refusals == [("kim", "refuse", "reader", needs)]


def test_a_token_that_names_nobody_is_in_the_trail() -> None:
    at = app(user("kim") | {"sub": None})
    at.run()
    why = "The token lacks issuer or subject."
    assert told() == [("nobody", "fail", "sign_in", why)]


def test_on_one_machine_nobody_signs_in() -> None:
    app(auth=None, reader="Kim", page="pages/audit.py")
    assert [event[1] for event in told()] == ["enrol"]


def test_what_the_provider_refuses_is_in_the_trail() -> None:
    """Whom it bars, or does not know, comes back with an error, of which Streamlit's log tells."""
    from streamlit.web.server.starlette import starlette_auth_routes as routes

    app()
    watch = failed_sign_in.watch(store())
    watch.forget()
    assert routes._LOGGER.name == failed_sign_in.SOURCE
    routes._LOGGER.warning("Missing provider for OAuth callback; this is how signing out ends.")
    for _ in range(3):
        routes._LOGGER.error("Error during authentication: %s.", "access_denied\n" + 300 * "x")
    assert watch.writing is not None
    watch.writing.join(30)
    [event] = told()
    assert event[:3] == ("nobody", "fail", "sign_in")
    assert event[3].startswith("Error during authentication: access_denied xxx")
    assert len(event[3]) == failed_sign_in.LENGTH
    watch.forget(keep_count=True)
    routes._LOGGER.warning("OAuth token exchange failed.")
    watch.writing.join(30)
    assert told()[-1][3] == "OAuth token exchange failed. (2 more since the event before)"


def test_records_that_are_gone_do_not_stop_the_server(caplog: pytest.LogCaptureFixture) -> None:
    watch = failed_sign_in.watch(store())
    watch.forget()
    assert len([h for h in logging.getLogger(failed_sign_in.SOURCE).handlers if h is watch]) == 1
    Path(str(store().url.database)).unlink()
    logging.getLogger(failed_sign_in.SOURCE).error("no")
    assert watch.writing is not None
    watch.writing.join(30)
    assert "A failed sign-in was not recorded" in caplog.text


def test_no_secret_reaches_a_page_or_the_trail() -> None:
    secret = "s3cr3t-of-the-client"
    auth = AUTH | {"client_secret": secret, "cookie_secret": secret * 2, "client_id": ""}
    assert secret not in str(app(user("ada"), auth=auth).main)
    sign_in.forget()
    at = app(user("ada"), auth=auth | {"client_id": "x"}, page="pages/audit.py")
    assert secret not in str(at.main)
    assert secret not in str(told())
