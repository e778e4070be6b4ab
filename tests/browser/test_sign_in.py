"""Signing in, roles and signing out: a real browser, the app and an OpenID Connect provider."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from accessibility import findings
from conftest import ROOT, START_SECONDS, free_port, unavailable
from sqlalchemy import Engine

from db import records
from db.session import connect, database_url, snapshot, transaction

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.e2e

SLOW = 60_000
"""Milliseconds within which a page is there, the first start of the app included."""

PEOPLE = (
    {"sub": "sub-ada", "name": "Ada Admin", "email": "ada@example.org"},
    {"sub": "sub-kim", "name": "Kim *Lee*", "email": "kim@example.org"},
    {"sub": "sub-eve", "name": "<img src=x onerror=alert(1)>![](http://127.0.0.1:9/a.png)"},
)
SECRETS = """
[auth]
redirect_uri = "{app}/oauth2callback"
cookie_secret = "a secret of this test, longer than 32 letters"
client_id = "cellularity"
client_secret = "known to both"
server_metadata_url = "{provider}/.well-known/openid-configuration"
"""
HEADING = "Readers and roles"
"""What only the page for admins says."""


@dataclass(frozen=True)
class Served:
    """The running app and its records."""

    url: str
    records: Engine

    def give(self, name: str, role: records.Role) -> None:
        with transaction(self.records) as db:
            records.set_role(db, name=name, role=role, actor="a test")

    def role(self, name: str) -> str:
        with transaction(self.records) as db:
            found = records.find_reader(db, name=name)
        assert found is not None
        return found.role


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def serving(command: Sequence[str], ready: str, log: Path, **environment: str) -> Iterator[None]:
    """`command` runs, and answers at the address `ready`."""
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + START_SECONDS
            while not answers(ready):
                if server.poll() is not None or time.monotonic() > deadline:
                    tail = log.read_text(errors="replace")[-2000:]
                    pytest.fail(f"{command[0]} did not start (exit {server.poll()}):\n{tail}")
                time.sleep(0.2)
            yield
        finally:
            server.terminate()
            try:
                server.wait(timeout=15)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


@contextmanager
def app(folder: Path, port: int, address: str, *options: str) -> Iterator[Served]:
    url = f"http://127.0.0.1:{port}"
    command = ["streamlit", "run", "app.py", "--server.headless", "true"]
    command += ["--server.address", address, "--server.port", str(port)]
    command += ["--server.fileWatcherType", "none", "--browser.gatherUsageStats", "false"]
    place = str(folder / "app.db")
    ready = f"{url}/_stcore/health"
    with serving([*command, *options], ready, folder / "app.log", CELLULARITY_DB=place):
        engine = connect(database_url(place))
        try:
            yield Served(url, engine)
        finally:
            engine.dispose()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The app with sign-in, beside the provider that it sends people to."""
    if find_spec("oidc_provider_mock") is None:
        unavailable("no OpenID Connect provider; install requirements-dev.txt")
    folder = tmp_path_factory.mktemp("sign_in")
    ours, theirs = free_port(), free_port()
    provider = f"http://127.0.0.1:{theirs}"
    secrets = folder / "secrets.toml"
    secrets.write_text(SECRETS.format(app=f"http://127.0.0.1:{ours}", provider=provider))
    command = ["oidc_provider_mock", "--port", str(theirs), "--require-nonce", "true"]
    for person in PEOPLE:
        command += ["--user-claims", json.dumps(person)]
    ready = f"{provider}/.well-known/openid-configuration"
    with (
        serving(command, ready, folder / "provider.log"),
        app(folder, ours, "127.0.0.1", "--secrets.files", str(secrets)) as running,
    ):
        yield running


@pytest.fixture
def context(chromium: "Browser") -> Iterator["BrowserContext"]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(SLOW)
    yield context
    context.close()


def listened(page: "Page") -> list[bytes]:
    """All that the app sends to this page from now on."""
    received: list[bytes] = []

    def listen(socket) -> None:  # type: ignore[no-untyped-def]
        socket.on(
            "framereceived",
            lambda frame: received.append(frame if isinstance(frame, bytes) else frame.encode()),
        )

    page.on("websocket", listen)
    return received


def sign_in(page: "Page", served: Served, subject: str) -> None:
    """Through the provider's own page."""
    page.goto(served.url)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Authorize Client").wait_for()
    page.get_by_role("button", name=subject).click()
    page.get_by_role("heading", name="Analyse").wait_for()


def sign_out(page: "Page", served: Served, name: str) -> None:
    page.get_by_role("button", name=name).click()
    page.get_by_role("menuitem", name="Sign out").click()
    page.get_by_role("button", name="End session").click()
    page.get_by_role("button", name="Sign in").wait_for()


def choose(page: "Page", label: str, option: str) -> None:
    page.get_by_role("combobox", name=label).click()
    page.get_by_role("option", name=option).click()


def test_a_reader_signs_in_is_promoted_demoted_and_signs_out(
    chromium: "Browser", context: "BrowserContext", served: Served
) -> None:
    admin = chromium.new_context()
    admin.set_default_timeout(SLOW)
    first = admin.new_page()
    first.goto(served.url)
    first.get_by_role("button", name="Sign in").wait_for()
    assert not findings(first, "Sign-in")
    sign_in(first, served, "sub-ada")
    assert served.role("Ada Admin") == "admin"
    first.get_by_role("link", name="People").click()
    first.get_by_role("heading", name=HEADING).wait_for()
    first.get_by_role("button", name="Give this role").wait_for()
    assert not findings(first, "People")
    admin.close()

    page = context.new_page()
    received = listened(page)
    page.goto(f"{served.url}/people")
    page.get_by_role("button", name="Sign in").wait_for()
    assert page.get_by_role("link", name="Analyse").count() == 0
    sign_in(page, served, "sub-kim")
    page.get_by_text("Reader: Kim *Lee*", exact=True).wait_for()
    page.get_by_text("Kim *Lee* (reader)", exact=True).wait_for()
    assert page.get_by_placeholder("Reader: name or initials").count() == 0
    assert page.get_by_role("link", name="People").count() == 0
    assert served.role("Kim *Lee*") == "reader"

    page.goto(f"{served.url}/people")
    page.get_by_text(
        "This is for admins only, and Kim *Lee* is signed in as reader. "
        "Ask an admin of this app for the role."
    ).wait_for()
    everything = b"".join(received)
    assert b"This is for admins only" in everything
    assert HEADING.encode() not in everything
    assert b"Ada" not in everything

    served.give("Kim *Lee*", "admin")
    page.get_by_role("link", name="Models").click()
    page.get_by_role("heading", name="Models", exact=True, level=1).wait_for()
    page.get_by_role("link", name="People").click()
    page.get_by_role("heading", name=HEADING).wait_for()
    page.get_by_text("Kim *Lee* (admin)", exact=True).wait_for()

    choose(page, "Person", "Ada Admin")
    choose(page, "Role", "reader")
    # Drawn for an admin to the end; demoted only then, for the click itself to be refused.
    page.get_by_role("button", name="Give this role", disabled=False).wait_for()
    page.locator('[data-testid=stApp][data-test-script-state="notRunning"]').wait_for()
    served.give("Kim *Lee*", "reader")
    page.get_by_role("button", name="Give this role").click()
    page.get_by_text("This is for admins only").wait_for()
    page.get_by_role("heading", name=HEADING).wait_for(state="detached")
    assert served.role("Ada Admin") == "admin"

    sign_out(page, served, "Kim *Lee* (reader)")
    page.goto(f"{served.url}/models")
    page.get_by_role("button", name="Sign in").wait_for()
    assert page.get_by_role("heading", name="Models").count() == 0


def test_a_cookie_that_the_app_did_not_sign_is_worth_nothing(
    context: "BrowserContext", served: Served
) -> None:
    person = {"is_logged_in": True, "origin": served.url, "iss": "x", "sub": "sub-ada"}
    cookie = {"name": "_streamlit_user", "value": json.dumps(person), "url": served.url}
    context.add_cookies([cookie])  # type: ignore[list-item]
    page = context.new_page()
    page.goto(f"{served.url}/people")
    page.get_by_role("button", name="Sign in").wait_for()


def test_a_name_runs_nothing_and_loads_nothing(context: "BrowserContext", served: Served) -> None:
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: pytest.fail(f"a name ran a script: {dialog.message}"))
    name = PEOPLE[2]["name"]
    sign_in(page, served, PEOPLE[2]["sub"])
    page.get_by_text(f"Reader: {name}", exact=True).wait_for()
    page.goto(f"{served.url}/read")
    page.get_by_text(f"There is nothing to read for {name}.").wait_for()
    assert page.locator("img[src=x]").count() == 0
    assert not [url for url in asked if ":9/" in url or url.endswith("/x")]


def test_who_is_refused_by_the_provider_leaves_an_event(
    context: "BrowserContext", served: Served
) -> None:
    page = context.new_page()
    page.goto(served.url)
    page.get_by_role("button", name="Sign in").wait_for()
    page.goto(f"{served.url}/oauth2callback?error=access_denied&error_description=barred")
    page.get_by_role("button", name="Sign in").wait_for()
    deadline = time.monotonic() + START_SECONDS
    while True:
        with snapshot(served.records) as db:
            found = records.events(db, limit=1, entity="sign_in")
        if found:
            break
        assert time.monotonic() < deadline, "no event of the failed sign-in"
        time.sleep(0.1)
    assert (found[0].actor, found[0].action) == ("nobody", "fail")
    assert "access_denied" in found[0].new
    assert "barred" in found[0].new


def test_without_sign_in_an_app_open_to_others_shows_no_page(
    context: "BrowserContext", tmp_path: Path
) -> None:
    with app(tmp_path, free_port(), "0.0.0.0") as running:
        page = context.new_page()
        received = listened(page)
        for path in ("", "/models", "/people"):
            page.goto(running.url + path)
            page.get_by_text("names are not checked here and the app listens on").wait_for()
        assert b"Drop one or more" not in b"".join(received)
        assert page.get_by_role("link", name="Analyse").count() == 0


def test_a_request_through_a_proxy_shows_no_page_without_sign_in(
    chromium: "Browser", app_server: str
) -> None:
    context = chromium.new_context(extra_http_headers={"X-Forwarded-For": "192.0.2.1"})
    context.set_default_timeout(SLOW)
    page = context.new_page()
    page.goto(f"{app_server}/models")
    page.get_by_text("names are not checked here and it was asked for through a proxy").wait_for()
    context.close()
