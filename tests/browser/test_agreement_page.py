"""The page Agreement in a real browser: pictures, downloads, the queue and a consensus."""

import csv
import io
import os
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

import pytest
from agreement_support import seeded_study
from conftest import ROOT, START_SECONDS, free_port, healthy
from pypdf import PdfReader
from sqlalchemy import Engine

from db import records
from db.session import open_records, snapshot

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Download, Page

pytestmark = pytest.mark.e2e

SLOW = 60_000
"""Milliseconds within which anything is there, the first start of the app included."""

EXTENT = """() => {
  const main = document.querySelector('.stMain');
  const charts = [...document.querySelectorAll('.js-plotly-plot')].map((chart) => {
    const box = chart.getBoundingClientRect();
    return [box.left, box.right];
  });
  return [main.clientWidth, main.scrollWidth, charts];
}"""
"""Width of the page and of what is in it, and where each chart begins and ends."""


@dataclass(frozen=True)
class Served:
    """The running app, its records and the study in them."""

    url: str
    records: Engine
    study: records.StudyRecord


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("agreement")
    place = str(folder / "app.db")
    engine = open_records(place)
    study = seeded_study(engine)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true"]
    command += ["--server.address", "127.0.0.1", "--server.port", str(port)]
    command += ["--server.fileWatcherType", "none", "--browser.gatherUsageStats", "false"]
    log = folder / "app.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"CELLULARITY_DB": place},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + START_SECONDS
            while not healthy(url):
                if server.poll() is not None or time.monotonic() > deadline:
                    tail = log.read_text(errors="replace")[-2000:]
                    pytest.fail(f"the app did not start (exit {server.poll()}):\n{tail}")
                time.sleep(0.2)
            yield Served(url, engine, study)
        finally:
            server.terminate()
            try:
                server.wait(timeout=15)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
            engine.dispose()


@pytest.fixture
def page(chromium: "Browser") -> Iterator["Page"]:
    context = chromium.new_context(viewport={"width": 1280, "height": 1400}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(SLOW)
    yield page
    context.close()


def settled(page: "Page") -> None:
    page.locator('[data-testid=stApp][data-test-script-state="notRunning"]').wait_for()


def look_at(page: "Page", section: str) -> None:
    page.get_by_role("radio", name=section).click()
    settled(page)


def download(page: "Page", label: str) -> "Download":
    with page.expect_download() as waiting:
        page.get_by_role("button", name=label).click()
    return waiting.value


def test_a_study_is_picked_and_its_picture_drawn(page: "Page", served: Served) -> None:
    """Everything the page needs comes from this machine."""
    hosts: set[str | None] = set()
    page.on("request", lambda request: hosts.add(urlparse(request.url).hostname))
    page.goto(f"{served.url}/agreement?reader=Cora")
    page.get_by_text("4 readers scored 12 cases").wait_for()
    assert f"study={served.study.id}" in page.url
    chart = page.locator(".st-key-agreement-forest .js-plotly-plot")
    chart.wait_for()
    assert chart.get_by_text("Readers, mean of pairs").count() == 1
    labels = chart.locator(".yaxislayer-above .ytick, .yaxislayer-below .ytick").all_inner_texts()
    assert len(labels) == 6 + 1 + 4
    assert chart.locator("path.point").count() == 2 * len(labels)
    page.get_by_role("combobox").first.click()
    page.get_by_role("option", name="Everyday scores, outside studies").click()
    page.get_by_text("No everyday score counts here yet").wait_for()
    assert "study=0" in page.url
    assert hosts <= {"127.0.0.1", None, ""}


@pytest.mark.parametrize("width", [1280, 820])
def test_nothing_is_cut_off_sideways(page: "Page", served: Served, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 1400})
    page.goto(f"{served.url}/agreement?reader=Cora&study={served.study.id}")
    page.get_by_text("4 readers scored 12 cases").wait_for()
    for section, there in (
        ("At a glance", ".st-key-agreement-forest .main-svg"),
        ("Statistics", "h3:has-text('Readers together')"),
        ("Two by two", ".st-key-agreement-bland_altman .main-svg"),
        ("Over time", ".st-key-agreement-trend .main-svg"),
        ("Disagreements", "h3:has-text('Case C-')"),
    ):
        look_at(page, section)
        page.locator(there).first.wait_for()
        settled(page)
        inside, whole, edges = page.evaluate(EXTENT)
        assert whole <= inside, section
        assert all(0 <= left < right <= width for left, right in edges), section


def test_the_report_is_downloaded(page: "Page", served: Served, tmp_path: Path) -> None:
    page.goto(f"{served.url}/agreement?reader=Cora&study={served.study.id}")
    look_at(page, "Report")
    page.get_by_role("button", name="Make the report").click()
    page.get_by_text("Audit trail: event").wait_for()
    with snapshot(served.records) as db:
        head = records.head(db)
        rows = records.study_readings(db, served.study.id)
    path = tmp_path / "report.pdf"
    found = download(page, "Report (PDF)")
    assert found.suggested_filename == "agreement-Readers_2026.pdf"
    found.save_as(path)
    text = re.sub(r"\s+", " ", " ".join(p.extract_text() for p in PdfReader(path).pages))
    assert head.hash in text
    assert "Blinding rested on trust: readers chose their names on one machine" in text
    headline = page.get_by_text("4 readers scored 12 cases").inner_text()
    assert re.sub(r"\s+", " ", headline) in text
    archive = tmp_path / "report.zip"
    download(page, "Readings and statistics (CSV)").save_as(archive)
    with zipfile.ZipFile(archive) as files:
        readings = list(csv.DictReader(io.StringIO(files.read("readings.csv").decode())))
    assert len(readings) == len(rows)
    download(page, "Statistics (JSON)").save_as(tmp_path / "report.json")
    assert records.noted_heads(served.records.url)[-1] == head


def test_a_consensus_is_kept_from_the_queue(page: "Page", served: Served) -> None:
    page.goto(f"{served.url}/agreement?reader=Cora&study={served.study.id}")
    look_at(page, "Disagreements")
    heading = page.get_by_role("heading", name=re.compile("Case C-"))
    heading.wait_for()
    picture = page.locator("[data-testid=stImage] img")
    assert picture.evaluate("image => image.naturalWidth") > 0
    case = heading.inner_text().removeprefix("Case ")
    page.get_by_label("Consensus (%)").fill("45")
    page.get_by_label("Reason").fill("Stroma was counted")
    page.get_by_role("button", name="Keep the consensus").click()
    page.get_by_role("heading", name="Consensus so far").wait_for()
    with snapshot(served.records) as db:
        [kept] = records.consensus(db, served.study.id)
    assert (kept.case, kept.cellularity) == (case, 0.45)
    assert (kept.reason, kept.by) == ("Stroma was counted", "Cora")
