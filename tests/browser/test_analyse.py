"""The page Analyse in a real browser: what AppTest cannot see."""

import base64
import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from cellularity_core import export
from cellularity_core.conventions import CLASSES, METHODS
from cellularity_core.patch import Patch, load_patch
from cellularity_core.results import PatchResult
from cellularity_core.scorer import Scorer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.e2e

Pixels = npt.NDArray[np.uint8]
SLOW = 60_000
"""Milliseconds within which a patch is scored and drawn, models loaded included."""

ALL_TEXT = """() => {
  const texts = [];
  const walk = (root) => {
    for (const node of root.querySelectorAll('*')) {
      if (node.shadowRoot) walk(node.shadowRoot);
    }
    texts.push(root.body ? root.body.innerHTML : root.innerHTML);
  };
  walk(document);
  return texts.join('\\n');
}"""
"""Everything in the page, shadow roots included."""

TELLING = re.compile(r"data-method|[Aa]ctivation|ontrast above|weak TC")
"""Words that only a model's output brings to the page."""


@pytest.fixture
def page(chromium: "Browser") -> Iterator["Page"]:
    context = chromium.new_context(viewport={"width": 1280, "height": 1600}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(SLOW)
    yield page
    context.close()


@pytest.fixture(scope="module")
def files(data_root: Path) -> list[Path]:
    return sorted((data_root / "brca_m2c" / "images").glob("*.png"))


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer.open()


def loaded(path: Path) -> Patch:
    return load_patch(path.read_bytes(), path.name)


def result_of(scorer: Scorer, path: Path) -> PatchResult:
    [result] = scorer.score([loaded(path)])
    return result


def drop(page: "Page", *paths: Path) -> None:
    page.locator("input[type=file]").set_input_files([str(path) for path in paths])


def status(page: "Page") -> "Locator":
    """The line under the pictures that says what is drawn."""
    return page.locator(".viewer-status:visible")


def settled(page: "Page") -> None:
    """Wait until no script runs: what is on screen stays where it is."""
    page.locator('[data-testid=stApp][data-test-script-state="notRunning"]').wait_for()


def card(page: "Page", method: str) -> "Locator":
    return page.locator(f'.card[data-method="{method}"] .value')


def downloaded(page: "Page", button: "Locator") -> bytes:
    page.locator('[data-testid=stApp][data-test-script-state="notRunning"]').wait_for()
    with page.expect_download() as download:
        button.click()
    return Path(download.value.path()).read_bytes()


def shares(page: "Page") -> dict[str, float]:
    """Percent of the patch that each class covers, as the page says."""
    text = status(page).inner_text()
    return {name: float(value) for name, value in re.findall(r"(\w+) ([\d.]+) %", text)}


def expected_shares(result: PatchResult, threshold: float) -> dict[str, float]:
    maps = result.activations["gbt"][: len(CLASSES)].astype(np.float32)
    winner = np.where(maps.max(axis=0) > threshold, maps.argmax(axis=0), -1)
    return {name: 100 * float((winner == k).mean()) for k, name in enumerate(CLASSES)}


def pane(page: "Page", which: int) -> Pixels:
    """What is drawn in the left (0) or the right (1) picture, in the pixels of its canvas."""
    page.evaluate("() => new Promise(requestAnimationFrame)")
    url = page.locator(".glass canvas").nth(which).evaluate("canvas => canvas.toDataURL()")
    shot = base64.b64decode(url.split(",", 1)[1])
    return np.array(Image.open(io.BytesIO(shot)).convert("RGB"))


def overlap(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_a_real_patch_from_drop_to_download(
    page: "Page", app_server: str, files: list[Path], scorer: Scorer
) -> None:
    elsewhere: list[str] = []
    page.on(
        "request",
        lambda request: (
            elsewhere.append(request.url)
            if request.url.startswith("http") and urlparse(request.url).hostname != "127.0.0.1"
            else None
        ),
    )
    page.goto(app_server)
    drop(page, files[10])
    status(page).get_by_text("Area above 0.50").wait_for()
    result = result_of(scorer, files[10])
    for method in METHODS:
        assert card(page, method).inner_text() == f"{100 * result.scores[method].value:.0f} %"
    assert page.get_by_text("weak TC scale, not a pathologist's").count() == len(METHODS)

    at_half = shares(page)
    assert at_half == pytest.approx(expected_shares(result, 0.50), abs=0.3)
    handle = page.locator(".viewer-cut input")
    handle.focus()
    for _ in range(20):
        handle.press("ArrowLeft")
    status(page).get_by_text("Area above 0.30").wait_for()
    assert shares(page) == pytest.approx(expected_shares(result, 0.30), abs=0.3)
    assert sum(shares(page).values()) > sum(at_half.values())

    page.locator(".viewer-class-malignant").click()
    status(page).get_by_text("malignant").wait_for(state="detached")
    assert set(shares(page)) == {"lymphocyte", "normal"}

    save = page.locator(".st-key-analyse-files-save button")
    assert downloaded(page, save).startswith(b"%PDF")
    page.locator(".st-key-analyse-files-kind input").click()
    page.get_by_role("option", name="Scores (CSV)").click()
    page.get_by_text("A row a patch, for a spreadsheet.").wait_for()
    data = downloaded(page, save)
    [row] = csv.DictReader(io.StringIO(data.decode()))
    wanted = export.row(result)
    assert list(row) == export.columns()
    assert row["image"] == files[10].name
    assert row["sha256"] == result.sha256
    assert row["scale"] == "weak TC"
    for name in (*METHODS, *(f"{m}_{end}" for m in METHODS for end in ("low", "high"))):
        assert float(row[name]) == pytest.approx(wanted[name], abs=1e-4)
    counts = result.nuclei.counts()
    assert {name: int(row[name]) for name in CLASSES} == counts
    assert elsewhere == []


def test_what_is_drawn_lies_where_it_was_found(
    page: "Page", app_server: str, files: list[Path], scorer: Scorer
) -> None:
    """The picture on screen and the saved one against `export.overlay`: no flip, no shift."""
    page.goto(app_server)
    drop(page, files[10])
    status(page).get_by_text("Area above 0.50").wait_for()
    patch, result = loaded(files[10]), result_of(scorer, files[10])
    maps = result.activations["gbt"].astype(np.float32)
    drawn = export.overlay(patch.pixels, maps, 0.50, opacity=0.45)
    is_marked = (drawn != patch.pixels).any(axis=2)

    left, right = pane(page, 0), pane(page, 1)
    size = left.shape[1::-1]
    plain = cv2.resize(patch.pixels, size, interpolation=cv2.INTER_AREA).astype(int)
    keep = slice(0, int(0.9 * size[1]))  # the scale bar is at the bottom
    assert np.abs(left[keep].astype(int) - plain[keep]).mean() < 12
    seen = np.abs(right.astype(int) - left).max(axis=2) > 20
    wanted = cv2.resize(is_marked.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    assert overlap(seen[keep], wanted[keep]) > 0.8
    assert overlap(seen, wanted[::-1]) < 0.5
    assert overlap(seen, wanted[:, ::-1]) < 0.5

    saved = downloaded(page, page.locator(".viewer-save"))
    with Image.open(io.BytesIO(saved)) as opened:
        [(kind, told)] = opened.text.items()  # type: ignore[attr-defined]
        assert kind == "Description" and told.endswith(f"\n\n{export.provenance_text(result)}")
        assert told.startswith("What was found: Area above 0.50: ") and "Opacity 45 %" in told
        whole = np.array(opened.convert("RGB"))
    assert whole.shape[1] == patch.pixels.shape[1]
    picture, strip = np.split(whole, [patch.pixels.shape[0]])
    assert len(strip) % 16 == 0
    assert (strip.min(axis=(1, 2)).reshape(-1, 16).min(axis=1) < 100).all()  # a line of words each
    for colour in ("D55E00", "0072B2", "009E73"):  # what is which class
        assert (strip[:16] == tuple(bytes.fromhex(colour))).all(axis=2).sum() == 100
    bar = (strip[8] == 17).all(axis=1)
    assert bar[6:].argmin() == 50 / patch.mpp  # a third of the picture holds 50 um
    difference = np.abs(picture.astype(int) - drawn).max(axis=2)
    # 256 levels of the maps in the browser may move a border by a pixel
    assert (difference > 3).mean() < 0.005


def test_blobs_nuclei_and_heat_map_can_be_shown(
    page: "Page", app_server: str, files: list[Path], scorer: Scorer
) -> None:
    page.goto(app_server)
    drop(page, files[12])
    status(page).get_by_text("Area above 0.50").wait_for()
    before = pane(page, 1)
    shown = page.locator(".viewer-shown")
    shown.get_by_text("Areas").click()
    shown.get_by_text("Nuclei").click()
    result = result_of(scorer, files[12])
    status(page).get_by_text(f"{len(result.nuclei)} nuclei", exact=True).wait_for()
    shown.get_by_text("Blobs").click()
    status(page).get_by_text("blobs above 0.16").wait_for()
    many = int(re.findall(r"(\d+) blobs", status(page).inner_text())[0])
    handle = page.locator(".viewer-blob-cut input")
    handle.focus()
    for _ in range(30):
        handle.press("ArrowRight")
    status(page).get_by_text("blobs above 0.46").wait_for()
    few = int(re.findall(r"(\d+) blobs", status(page).inner_text())[0])
    assert 0 <= few < many
    shown.get_by_text("Heat map").click()
    page.locator(".viewer-heat-of").get_by_text("Malignant").wait_for()
    assert (pane(page, 1) != before).any()


def test_zoom_and_switches_survive_what_the_server_does(
    page: "Page", app_server: str, files: list[Path]
) -> None:
    page.goto(f"{app_server}/?reader=Zoom")
    drop(page, *files[10:12])
    status(page).get_by_text("Area above").wait_for()
    settled(page)  # what follows the viewer is drawn after it
    page.locator(".viewer-class-normal").click()
    whole = pane(page, 0)
    page.locator(".viewer-closer").click()
    middle = slice(120, 480)  # free of the page's own bars, wherever it is scrolled to
    zoomed = pane(page, 0)[middle]
    assert np.abs(whole[middle].astype(int) - zoomed).mean() > 10
    page.get_by_text("Add or correct your own score").click()
    page.get_by_label("or typed (%)").fill("40")
    page.get_by_label("or typed (%)").press("Enter")
    page.locator(".st-key-analyse-commit button:enabled").first.wait_for()
    settled(page)  # a click is lost where the page moves under the pointer
    page.locator(".st-key-analyse-commit button").first.click()
    card(page, "own").get_by_text("40 %").wait_for()
    page.locator(".viewer-class-normal[aria-pressed=false]").wait_for()
    assert np.abs(pane(page, 0)[middle].astype(int) - zoomed).mean() < 3
    page.locator(".st-key-analyse-next button").first.click()
    page.get_by_role("heading", name=files[11].name, level=3).wait_for()
    page.locator(".viewer-class-normal[aria-pressed=false]").wait_for()


def click_row(page: "Page", row: int) -> None:
    """Click the name of a patch in the table, a canvas."""
    table = page.locator("[data-testid=stDataFrame]:visible")
    page.evaluate("document.querySelector('.stMain').scrollTo(0, 0)")
    box = table.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 150, box["y"] + 36 + 35 * row + 17)


def test_the_table_and_the_pager_agree(page: "Page", app_server: str, files: list[Path]) -> None:
    page.goto(app_server)
    drop(page, *files[10:13])

    def shows(which: int) -> None:
        page.get_by_role("heading", name=files[10 + which].name, level=3).wait_for()
        page.get_by_text(f"Patch {which + 1} of 3").wait_for()

    shows(0)
    click_row(page, 2)
    shows(2)
    page.locator(".st-key-analyse-previous button").first.click()
    shows(1)
    click_row(page, 2)  # the cell that was clicked before
    shows(2)
    page.keyboard.press("p")
    shows(1)


def test_what_is_dropped_later_is_opened_and_what_is_refused_is_told(
    page: "Page", app_server: str, files: list[Path], tmp_path: Path
) -> None:
    page.goto(app_server)
    drop(page, files[10])
    page.get_by_role("heading", name=files[10].name, level=3).wait_for()
    settled(page)
    page.get_by_text("Add patches").click()
    notes = tmp_path / "notes.txt"
    notes.write_text("not a picture")
    drop(page, notes, files[11], files[12])
    page.get_by_role("heading", name=files[11].name, level=3).wait_for()
    page.get_by_text("Patch 2 of 3").wait_for()
    page.get_by_text("notes.txt is not an image; give PNG, JPEG or TIFF").wait_for()


def test_nothing_of_the_models_reaches_the_browser_before_the_score(
    page: "Page", app_server: str, files: list[Path], scorer: Scorer
) -> None:
    received: list[bytes] = []

    def listen(socket) -> None:  # type: ignore[no-untyped-def]
        socket.on(
            "framereceived",
            lambda frame: received.append(frame if isinstance(frame, bytes) else frame.encode()),
        )

    page.on("websocket", listen)
    page.goto(f"{app_server}/?reader=Blind")
    page.get_by_text("Score first, then reveal the models").click()
    drop(page, files[20], files[21])
    commit = page.locator(".st-key-analyse-commit button").first
    commit.wait_for()
    page.locator(".glass").first.wait_for()
    page.wait_for_load_state("networkidle")
    result = result_of(scorer, files[20])

    def everything() -> str:
        frames = b"\n".join(received).decode("utf-8", "replace")
        return frames + page.evaluate(ALL_TEXT)

    assert files[20].name in everything()
    assert not TELLING.search(everything())
    assert page.locator(".glass").count() == 1
    assert commit.is_disabled()

    page.get_by_label("or typed (%)").fill("35")
    page.get_by_label("or typed (%)").press("Enter")
    assert not TELLING.search(everything())
    commit.click()
    for method in METHODS:
        page.wait_for_selector(f'.card[data-method="{method}"]')
        assert card(page, method).inner_text() == f"{100 * result.scores[method].value:.0f} %"
    assert card(page, "own").inner_text() == "35 %"
    assert page.get_by_text("Given before seeing the models").count() == 1
    assert TELLING.search(everything())

    shown = len(received)
    page.locator(".st-key-analyse-next button").first.click()
    page.get_by_role("heading", name=files[21].name, level=3).wait_for()
    commit.wait_for()
    # The revealed cards of the patch before leave when the new run of the page ends.
    page.wait_for_function("document.querySelectorAll('.card').length === 0")
    later = b"\n".join(received[shown:]).decode("utf-8", "replace")
    assert "data-method" not in later


def test_two_users_at_once_see_each_their_own(
    chromium: "Browser", app_server: str, files: list[Path], scorer: Scorer
) -> None:
    contexts = [chromium.new_context() for _ in range(2)]
    pages = [context.new_page() for context in contexts]
    chosen = (files[30], files[31])
    for page, path in zip(pages, chosen, strict=True):
        page.set_default_timeout(SLOW)
        page.goto(app_server)
        drop(page, path)
    for page, path, other in zip(pages, chosen, chosen[::-1], strict=True):
        status(page).get_by_text("Area above").wait_for()
        result = result_of(scorer, path)
        assert card(page, "gbt").inner_text() == f"{100 * result.scores['gbt'].value:.0f} %"
        assert path.name in page.content()
        assert other.name not in page.content()
    for context in contexts:
        context.close()


@pytest.mark.parametrize("width", [820, 1280])
def test_nothing_is_cut_off(page: "Page", app_server: str, files: list[Path], width: int) -> None:
    page.set_viewport_size({"width": width, "height": 1100})
    page.goto(app_server)
    drop(page, files[10])
    status(page).get_by_text("Area above").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.querySelector('.stMain').scrollWidth") <= width
    for which in range(2):
        box = page.locator(".glass").nth(which).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["width"] > 0.4 * width
        assert box["height"] == pytest.approx(box["width"], rel=0.02)
    page.get_by_text("Research use only - not for diagnosis").wait_for()


def test_a_page_opened_first_by_its_address_is_inside_the_app(
    page: "Page", app_server: str
) -> None:
    page.goto(f"{app_server}/models")
    page.get_by_role("heading", name="Models", exact=True, level=1).wait_for()
    page.get_by_text("Research use only - not for diagnosis").wait_for()
    page.get_by_role("link", name="Analyse").first.wait_for()
