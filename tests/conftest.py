"""Fixtures shared by all tests: real data, a browser, the running app.

What a developer's machine may lack (data, browser) skips with its reason
there; with ``CI`` set it is a failure.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parent.parent
BROWSER_NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
START_SECONDS = 90.0

# how long an example takes says more about the machine than about the code
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")


def unavailable(reason: str) -> NoReturn:
    """Skip on a developer's machine, fail in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (a failure because CI is set)", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def _records_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test writes into the records of the person who runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELLULARITY_DB", str(tmp_path_factory.mktemp("records") / "tests.db"))
        yield


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of the real data: ``CELLULARITY_DATA``, by default ../shared/data."""
    root = Path(os.environ.get("CELLULARITY_DATA") or ROOT.parent / "shared" / "data").resolve()
    if not (root / "brca_m2c").is_dir():
        unavailable(
            f"no real data in {root}; point CELLULARITY_DATA at the folder that holds brca_m2c/"
        )
    return root


def browser_path(bundled: str) -> str | None:
    """An installed Chromium: ``CHROMIUM``, Playwright's own, or the system's."""
    wanted = os.environ.get("CHROMIUM")
    if wanted:
        return shutil.which(wanted)
    if Path(bundled).is_file():
        return bundled
    return next((path for path in map(shutil.which, BROWSER_NAMES) if path), None)


@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    """A headless Chromium.

    One a module, because Playwright keeps an event loop in this thread while
    it runs and later tests may want their own.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = browser_path(playwright.chromium.executable_path)
        if path is None:
            unavailable(
                "no Chromium found; run `python -m playwright install chromium`, install the "
                "system's package, or point CHROMIUM at an executable"
            )
        browser = playwright.chromium.launch(executable_path=path, args=list(BROWSER_FLAGS))
        yield browser
        browser.close()


def free_port() -> int:
    """A loopback port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def healthy(url: str) -> bool:
    """Whether the app answers at `url`."""
    try:
        with urllib.request.urlopen(f"{url}/_stcore/health", timeout=2) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="session")
def app_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SQLite file with the records of `app_server`."""
    return tmp_path_factory.mktemp("app") / "app.db"


@contextmanager
def served(script: Path, records: Path) -> Iterator[str]:
    """Address of a running Streamlit script with records of its own."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "streamlit", "run", str(script)]
    command += ["--server.headless", "true", "--server.address", "127.0.0.1"]
    command += ["--server.port", str(port), "--server.fileWatcherType", "none"]
    command += ["--browser.gatherUsageStats", "false"]
    log = records.parent / "server.log"
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"CELLULARITY_DB": str(records), "PYTHONPATH": path}
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            deadline = time.monotonic() + START_SECONDS
            while not healthy(url):
                if server.poll() is not None or time.monotonic() > deadline:
                    tail = log.read_text(errors="replace")[-2000:]
                    pytest.fail(f"the app did not start (exit {server.poll()}):\n{tail}")
                time.sleep(0.2)
            yield url
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(timeout=15)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


@pytest.fixture(scope="session")
def app_server(app_records: Path) -> Iterator[str]:
    """Address of the running app, e.g. ``http://127.0.0.1:8501``."""
    with served(ROOT / "app.py", app_records) as url:
        yield url
