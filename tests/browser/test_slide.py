"""The page Slide in a real browser: deep zoom, the map, the bed, the tile behind a place."""

import io
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from accessibility import findings
from conftest import ROOT, served
from PIL import Image
from slide_support import made_slide

from cellularity_core.slides.reading import Slide
from pages.parts.slide_source import FOLDER
from pages.parts.viewer import ramp

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, WebSocketRoute

pytestmark = pytest.mark.e2e

SIDE = 1500
READY = '[data-testid=stApp][data-test-script-state="notRunning"]'


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slides") / "slide.tif"
    made_slide(path, SIDE, tissue=1)
    return path


@pytest.fixture(scope="module")
def page(
    chromium: "Browser", slide: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator["Page"]:
    """The page with a slide that was scored on it."""
    records = tmp_path_factory.mktemp("slide") / "app.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER, str(slide.parent))
        with served(ROOT / "app.py", records) as url:
            context = chromium.new_context(
                viewport={"width": 1280, "height": 3500}, reduced_motion="reduce"
            )
            page = context.new_page()
            page.set_default_timeout(90_000)
            page.goto(f"{url}/slides")
            page.get_by_role("button", name="Score the slide").click()
            page.get_by_text("Whole tissue: mean cellularity").wait_for()
            complete(page)
            yield page
            context.close()


def complete(page: "Page") -> None:
    """Wait until nothing runs and every picture of the view is there."""
    page.locator(READY).wait_for()
    page.locator(".slide[data-shown]:not([data-shown=''])[data-lacking='0']").wait_for()


def canvas(page: "Page") -> npt.NDArray[np.int16]:
    """What is drawn, without the scale bar."""
    shot = page.locator(".slide canvas").screenshot()
    pixels = np.array(Image.open(io.BytesIO(shot)).convert("RGB")).astype(np.int16)
    return pixels[: int(0.85 * pixels.shape[0])]


def test_deep_zoom_shows_the_slide_where_it_is_and_sharp(page: "Page", slide: Path) -> None:
    page.get_by_role("combobox", name="Map over the slide").select_option("")
    page.locator(".slide canvas").hover(position={"x": 560, "y": 300})
    for _ in range(5):
        page.mouse.wheel(0, -500)
    page.mouse.move(5, 5)
    slide_view = page.locator(".slide").element_handle()
    page.wait_for_function("view => Number(view.dataset.zoom) > 1.5", arg=slide_view)
    complete(page)
    box = page.locator(".slide canvas").bounding_box()
    assert box is not None
    attribute = page.locator(".slide").get_attribute
    x, y = map(int, str(attribute("data-centre")).split(","))
    scale = float(str(attribute("data-zoom"))) * box["height"] / SIDE
    shown = canvas(page)[50:-50, 300:900]
    half = 300 / scale
    first = shown.shape[0]
    middle = 600 - box["width"] / 2
    top = y + (50 - box["height"] / 2) / scale
    left = x + (middle - 300) / scale
    opened = Slide(slide)
    matrix = np.array([[1 / scale, 0, left], [0, 1 / scale, top]])
    whole = opened.picture(0, 0, SIDE, 1)
    size = (round(2 * half * scale), first)
    wanted = cv2.warpAffine(whole, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    coarse = cv2.resize(opened.overview(), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    dull = cv2.warpAffine(coarse, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    inside = (wanted > 0).all(axis=-1)
    assert inside.mean() > 0.5
    error = np.abs(shown - wanted)[inside].mean()
    assert error < 6
    assert error < 0.7 * np.abs(shown - dull)[inside].mean()


def test_map_and_opacity_wait_for_no_server(page: "Page") -> None:
    page.get_by_role("button", name="Whole", exact=True).click()
    complete(page)
    bare = canvas(page)
    page.evaluate(
        """() => { window.sent = 0; const send = WebSocket.prototype.send;
        WebSocket.prototype.send = function (...all) {
          window.sent += 1; send.apply(this, all); } }"""
    )
    page.get_by_role("combobox", name="Map over the slide").select_option("combined")
    page.locator(".slide .legend", has_text="100 %").wait_for()
    page.wait_for_timeout(200)
    half = canvas(page)
    slider = page.get_by_role("slider", name="Opacity")
    slider.fill("100")
    page.wait_for_timeout(200)
    full = canvas(page)
    assert np.abs(half - bare).mean() > 3
    assert np.abs(full - bare).mean() > 1.5 * np.abs(half - bare).mean()
    page.locator(".slide .panes").focus()
    page.keyboard.down("v")
    page.wait_for_timeout(200)
    assert np.abs(canvas(page) - bare).mean() < 1
    page.keyboard.up("v")
    assert page.evaluate("window.sent") == 0


def test_the_tissue_shows_where_a_map_is_low(page: "Page") -> None:
    choice = page.get_by_role("combobox", name="Map over the slide")
    choice.select_option("normal nuclei")
    legend = page.locator(".slide .legend").inner_text()
    most = re.search(r"0 nuclei\s+(\d+) nuclei", legend)
    assert most is not None
    page.get_by_role("slider", name="Opacity").fill("50")
    box = page.locator(".slide canvas").bounding_box()
    assert box is not None
    scale, middle = box["height"] / SIDE, box["width"] / 2
    found = {}
    for column, row in product((256, 768), (256, 768)):
        x, y = middle + (column - SIDE / 2) * scale, row * scale
        page.mouse.move(box["x"] + x, box["y"] + y)
        tip = page.locator(".slide .tip")
        tip.filter(has_text=re.compile(r"\d+ nuclei")).wait_for()
        count = re.search(r"(\d+) nuclei", tip.inner_text())
        assert count is not None
        found[int(x), int(y)] = int(count[1]) / int(most[1])
        page.mouse.move(5, 5)
        tip.wait_for(state="hidden")
    laid = canvas(page)
    choice.select_option("")
    for _ in range(2):  # it is drawn before the next frame
        page.evaluate("() => new Promise(requestAnimationFrame)")
    bare = canvas(page)
    assert min(found.values()) < 0.2
    for (x, y), level in found.items():
        here = np.s_[y - 12 : y + 12, x - 12 : x + 12]
        colour = np.array(list(bytes.fromhex(ramp()[round(255 * level)][1:])))
        share = 0.5 * min(1, 4 * level)
        wanted = bare[here] + share * (colour - bare[here])
        assert np.median(np.abs(laid[here] - wanted)) <= 3


def test_a_bed_is_drawn_and_a_place_opened(page: "Page") -> None:
    page.get_by_role("button", name="Draw the tumour bed").click()
    box = page.locator(".slide canvas").bounding_box()
    assert box is not None
    side = box["height"] / 2  # half of the slide each way, around its middle
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    for right, down in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        page.mouse.click(x + right * side / 2, y + down * side / 2)
    page.get_by_role("button", name="Close the outline").click()
    page.get_by_text("Tumour bed: mean cellularity").wait_for()
    complete(page)
    metric = page.get_by_test_id("stMetric").filter(has_text="Tumour bed: area").inner_text()
    area = re.search(r"([\d.]+) mm²", metric)
    assert area is not None
    assert float(area[1]) == pytest.approx((SIDE / 2 * 0.5e-3) ** 2, abs=0.006)
    page.mouse.click(x, y)
    page.get_by_role("heading", name="Tile 0.26 mm right, 0.26 mm down").wait_for()
    page.locator(".viewer-status:visible").get_by_text("Area above").wait_for()
    complete(page)
    found = findings(page, "Slide")
    page.set_viewport_size({"width": 820, "height": 3500})
    complete(page)
    found += findings(page, "Slide, narrow")
    page.set_viewport_size({"width": 1280, "height": 3500})
    complete(page)
    assert not found, "\n".join(found)


def test_what_is_done_while_another_page_comes_changes_nothing(page: "Page") -> None:
    """The slide is still on screen, and is clicked, after a link was followed."""
    sent: list[str | bytes] = []
    answers: list[str | bytes] = []
    sockets: list[WebSocketRoute] = []
    holds = False

    def stand_between(socket: "WebSocketRoute") -> None:
        server = socket.connect_to_server()
        socket.on_message(lambda m: (sent.append(m), server.send(m)))  # type: ignore[func-returns-value]
        server.on_message(lambda m: answers.append(m) if holds else socket.send(m))
        sockets.append(socket)

    left = page.context.new_page()
    left.set_default_timeout(60_000)
    left.route_web_socket(re.compile("_stcore/stream"), stand_between)
    left.goto(page.url)
    left.locator(".slide").wait_for()
    complete(left)
    with left.expect_popup() as opened:  # by a link that leaves the page where it is
        left.evaluate(
            """() => {
                const link = document.createElement("a");
                Object.assign(link, {href: "/elsewhere", target: "_blank"});
                document.body.append(link);
                link.click();
                link.remove();
            }"""
        )
    opened.value.close()
    said = len(sent)
    left.locator(".slide canvas").click(position={"x": 560, "y": 300})
    for _ in range(100):
        if len(sent) > said:
            break
        left.wait_for_timeout(100)
    assert len(sent) > said
    complete(left)
    holds = True
    said = len(sent)
    left.get_by_role("link", name="Models").click()
    left.locator(".slide canvas").click(position={"x": 560, "y": 300})
    left.wait_for_timeout(1000)
    assert len(sent) == said + 1  # that the link was followed
    holds = False
    for answer in answers:
        sockets[-1].send(answer)
    left.get_by_text("In use:").wait_for()
    left.close()


def test_a_hot_spot_is_gone_to(page: "Page") -> None:
    view = page.locator(".slide").element_handle()
    before = page.locator(".slide").get_attribute("data-centre")
    grid = page.locator(".st-key-slide-hot-list [data-testid=stDataFrame] canvas").first
    grid.scroll_into_view_if_needed()
    place = grid.bounding_box()
    assert place is not None
    page.mouse.click(place["x"] + 16, place["y"] + 35 + 17)
    page.wait_for_function("([view, before]) => view.dataset.centre !== before", arg=[view, before])
    complete(page)
