"""The viewer in a real browser: nothing waits for the server, and everything stays in its place."""

import base64
import io
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import ROOT, served
from PIL import Image
from scipy import ndimage
from viewer_page import HEIGHT, MPP, NUCLEI, WIDTH

from pages.parts.viewer import ramp

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.e2e

Pixels = npt.NDArray[np.uint8]
BARE, FOUND, DIRECT = range(3)

TIMED = """([name, act]) => {
  const canvas = document.querySelector('.viewer canvas') ?? find('.viewer canvas');
  function find(selector) {
    for (const node of document.querySelectorAll('*')) {
      const found = node.shadowRoot?.querySelector(selector);
      if (found) return found;
    }
  }
  const part = find(name);
  const from = performance.now();
  if (act === 'click') part.click();
  else { part.value = act; part.dispatchEvent(new Event('input', { bubbles: true })); }
  return new Promise((done) => requestAnimationFrame(() => {
    for (const one of canvas.getRootNode().querySelectorAll('canvas')) {
      one.getContext('2d').getImageData(0, 0, 1, 1);  // waits for what is drawn
    }
    done(performance.now() - from);
  }));
}"""
"""Milliseconds from a click or a slider's step until all panes are drawn."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(ROOT / "tests" / "viewer_page.py", tmp_path_factory.mktemp("v") / "v.db") as url:
        yield url


@pytest.fixture(scope="module")
def opened(chromium: "Browser", address: str) -> Iterator[tuple["Page", list[str]]]:
    """The page, and everything it asked or told the server since."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, has_touch=True)
    page = context.new_page()
    page.set_default_timeout(30_000)
    said: list[str] = []
    page.on("request", lambda one: None if one.url[:5] == "data:" else said.append(one.url))

    def listen(socket: Any) -> None:
        socket.on("framesent", lambda frame: said.append("sent"))
        socket.on("framereceived", lambda frame: said.append("received"))

    page.on("websocket", listen)
    page.goto(address)
    page.locator(".viewer[data-shown]").wait_for()
    page.locator('[data-testid=stApp][data-test-script-state="notRunning"]').wait_for()
    yield page, said
    context.close()


@pytest.fixture
def page(opened: tuple["Page", list[str]]) -> "Page":
    """The page as it is at first, without anything over the patch, the pointer on a pane."""
    page, said = opened
    page.evaluate("sessionStorage.clear()")
    page.reload()
    page.locator(".viewer[data-shown]").wait_for()
    page.locator('[data-testid=stApp][data-test-script-state="notRunning"]').wait_for()
    page.locator(".viewer-areas").click()
    page.locator(".viewer-overlay").click()
    page.locator("canvas").nth(BARE).hover(position={"x": 5, "y": 5})
    page.wait_for_load_state("networkidle")
    said.clear()
    return page


def seen(page: "Page", which: int) -> Pixels:
    """What is drawn in a pane, in the pixels of its canvas."""
    page.evaluate("() => new Promise(requestAnimationFrame)")
    url = page.locator("canvas").nth(which).evaluate("canvas => canvas.toDataURL()")
    data = base64.b64decode(url.split(",", 1)[1])
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def moved(page: "Page", act: Callable[[], Any], which: int = FOUND) -> bool:
    """Whether `act` changes what is drawn in a pane."""
    before = seen(page, which)
    act()
    return bool((before != seen(page, which)).any())


def middles(is_in: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Centres (n, 2) of the connected parts, x before y, sorted."""
    labels, count = ndimage.label(is_in)
    found = ndimage.center_of_mass(is_in, labels, range(1, count + 1))
    return np.array(sorted((x, y) for y, x in found))


def squares(picture: Pixels) -> npt.NDArray[np.float64]:
    """Centres of the dark squares of the patch."""
    return middles(picture.sum(axis=2) < 300)


def test_switches_and_sliders_are_answered_in_the_browser(
    page: "Page", opened: tuple["Page", list[str]]
) -> None:
    said = opened[1]
    steps = (
        (".viewer-areas", "click", FOUND),
        (".viewer-opacity input", "80", FOUND),
        (".viewer-cut input", "0.7", FOUND),
        (".viewer-class-malignant", "click", FOUND),
        (".viewer-class-background", "click", FOUND),
        (".viewer-heat", "click", FOUND),
        (".viewer-heat-of-1", "click", FOUND),
        (".viewer-blobs", "click", FOUND),
        (".viewer-blob-cut input", "0.4", FOUND),
        (".viewer-nuclei", "click", FOUND),
        (".viewer-overlay", "click", DIRECT),
    )
    slowest = 0.0
    bare = seen(page, BARE)
    for name, act, which in steps:
        before = seen(page, which)
        slowest = max(slowest, page.evaluate(TIMED, [name, act]))
        assert (seen(page, which) != before).any(), name
    print(f"slowest of {len(steps)} switches and sliders: {slowest:.0f} ms")  # noqa: T201
    assert (seen(page, BARE) == bare).all()
    assert said == []


def test_a_saved_picture_has_a_key_of_the_colours_of_each_map(page: "Page") -> None:
    def scales() -> int:
        with page.expect_download() as download:
            page.locator(".viewer-save").click()
        saved = np.array(Image.open(download.value.path()).convert("RGB"))
        lines = saved[24 + HEIGHT :].reshape(-1, 16, saved.shape[1], 3)
        low, high = (tuple(bytes.fromhex(colour[1:])) for colour in (ramp()[0], ramp()[-1]))
        # from dark violet to yellow in 64 steps
        starts = (lines[:, 8] == low).all(axis=2)
        ends = (lines[:, 8] == high).all(axis=2)
        return int((starts[:, :-63] & ends[:, 63:]).any(axis=1).sum())

    assert scales() == 0
    page.locator(".viewer-overlay").click()
    assert scales() == 1
    page.locator(".viewer-heat").click()
    assert scales() == 2


def test_another_patch_of_the_same_size_is_drawn_anew(page: "Page") -> None:
    before = seen(page, BARE)
    token = page.locator(".viewer").get_attribute("data-shown")
    page.get_by_label("Note").fill("mirrored")
    page.keyboard.press("Enter")
    page.locator(f".viewer[data-shown]:not([data-shown='{token}'])").wait_for()
    now = seen(page, BARE).astype(int)
    assert np.abs(now[:, ::-1] - before).mean() < 1 < np.abs(now - before).mean()


def test_the_four_classes_cover_what_they_say(page: "Page") -> None:
    page.locator(".viewer-areas").click()
    status = page.locator(".viewer-status:visible").first

    def shares() -> dict[str, float]:
        status.get_by_text("Area above 0.50").wait_for()
        return {k: float(v) for k, v in re.findall(r"(\w+) ([\d.]+) %", status.inner_text())}

    total = WIDTH * HEIGHT / 100
    found = {"malignant": 50 * 70 / total, "lymphocyte": 40 * 70 / total, "normal": 0}
    assert shares() == pytest.approx(found, abs=0.06)
    page.keyboard.press("4")
    status.get_by_text("background").wait_for()
    found["background"] = 100 - sum(found.values())
    assert shares() == pytest.approx(found, abs=0.06)
    cover = (seen(page, FOUND) != seen(page, BARE)).any(axis=2).mean()
    side = seen(page, BARE).shape
    assert cover == pytest.approx(min(1.0, (side[1] / WIDTH) / (side[0] / HEIGHT)), abs=0.03)


def test_keys_work_over_the_viewer_and_nowhere_else(page: "Page") -> None:
    whole = seen(page, BARE)
    press = page.keyboard.press

    def all_press(keys: str) -> None:
        for key in keys.split():
            press(key)

    limits = ("t t t t t", "Shift+T Shift+T Shift+T Shift+T Shift+T", "l l l", "Shift+L Shift+L")
    for keys in ("h", "g", "h", "a", "o", "Shift+O", "b", *limits, "u", "1", "2", "3", "1"):
        assert moved(page, lambda keys=keys: all_press(keys)), keys
    assert moved(page, lambda: press("s"), DIRECT)
    for key in ("+", "ArrowLeft", "ArrowUp", "-"):
        assert moved(page, lambda key=key: press(key), BARE), key
    for back in ("0", "w"):
        press("+")
        press(back)
        assert (seen(page, BARE) == whole).all()

    note = page.get_by_label("Note")
    note.focus()
    page.locator("canvas").nth(BARE).hover()  # over the viewer, but typing
    assert not moved(page, lambda: page.keyboard.type("abe+0"))
    assert note.input_value() == "abe+0"
    note.blur()
    page.mouse.move(2, 2)
    assert not moved(page, lambda: press("a"))
    page.locator(".panes").focus()  # the focus alone is enough
    assert moved(page, lambda: press("a"))


def test_all_overlays_are_away_while_a_key_or_the_button_is_held(page: "Page") -> None:
    for key in "auhbs":
        page.keyboard.press(key)
    bare, found, direct = (seen(page, k) for k in range(3))
    assert (found != bare).any() and (direct != bare).any()
    button = page.locator(".viewer-hide")

    def held() -> None:
        assert (seen(page, FOUND) == bare).all() and (seen(page, DIRECT) == bare).all()

    page.keyboard.down("v")
    held()
    page.keyboard.up("v")
    assert (seen(page, FOUND) == found).all() and (seen(page, DIRECT) == direct).all()
    button.hover()
    page.mouse.down()
    held()
    page.mouse.up()
    assert (seen(page, FOUND) == found).all()


@pytest.mark.parametrize(
    ("keys", "turned"),
    [
        ("e", lambda a: np.rot90(a, -1)),
        ("q", np.rot90),
        ("x", np.fliplr),
        ("y", np.flipud),
        ("ex", lambda a: np.fliplr(np.rot90(a, -1))),
        ("xeey", lambda a: np.flipud(np.rot90(np.fliplr(a), 2))),
    ],
)
def test_nuclei_stay_on_their_pixels_when_the_patch_is_turned(
    page: "Page", keys: str, turned: Callable[[Any], Any]
) -> None:
    for key in keys:
        page.keyboard.press(key)
    page.keyboard.press("u")
    bare, found = seen(page, BARE), seen(page, FOUND)
    dots = middles((bare != found).any(axis=2))
    assert len(dots) == len(NUCLEI)
    assert np.abs(dots - squares(bare)).max() < 1.0

    marks = np.zeros((HEIGHT, WIDTH), np.bool_)
    for x, y, *_ in NUCLEI:
        marks[y, x] = True
    where = turned(marks)
    scale = min(bare.shape[1] / where.shape[1], bare.shape[0] / where.shape[0])
    middle = np.array([bare.shape[1], bare.shape[0]]) / 2 - 0.5
    wanted = (middles(where) - (np.array(where.shape[::-1]) - 1) / 2) * scale + middle
    assert np.abs(np.array(sorted(map(tuple, wanted))) - squares(bare)).max() < 1.0


def test_hovering_over_a_nucleus_tells_its_class_and_probability(page: "Page") -> None:
    canvas, tip = page.locator("canvas").nth(FOUND), page.locator(".tip").nth(FOUND)
    area = canvas.bounding_box()
    assert area is not None
    scale = min(area["width"] / WIDTH, area["height"] / HEIGHT)

    def hover(x: float, y: float) -> None:
        left = (x + 0.5 - WIDTH / 2) * scale + area["width"] / 2
        canvas.hover(position={"x": left, "y": (y + 0.5 - HEIGHT / 2) * scale + area["height"] / 2})

    hover(*NUCLEI[0][:2])
    assert tip.is_hidden()  # nuclei are not shown yet
    page.keyboard.press("u")
    for x, y, label, probability in NUCLEI:
        hover(x, y)
        kind = ("normal", "lymphocyte", "malignant")[label]
        assert tip.inner_text().split("\n") == [f"Nucleus: {kind}", f"probability {probability}"]
    hover(110, 75)
    assert tip.is_hidden()
    assert page.locator(".ring").nth(BARE).is_visible()  # the same place, in the pane beside it
    hover(30, 50)
    here = page.locator(".viewer-here:visible").first.inner_text()
    assert here == "Activation here: malignant 0.90, lymphocyte 0.00, normal 0.00, background 0.10"
    page.keyboard.press("x")
    hover(WIDTH - 1 - NUCLEI[5][0], NUCLEI[5][1])
    assert tip.inner_text().startswith("Nucleus: lymphocyte\nprobability 0.91")
    for key in ("+", "ArrowRight", "u"):  # something else may be under the pointer then
        page.keyboard.press(key)
        tip.wait_for(state="hidden")
        if key != "u":
            page.keyboard.press("0")
            hover(110, 75)
            hover(WIDTH - 1 - NUCLEI[5][0], NUCLEI[5][1])
            tip.wait_for(state="visible")


def test_the_scale_bar_is_as_long_as_it_says(page: "Page") -> None:
    """Against the two nuclei that are furthest apart, before and after turns."""
    apart = max(np.hypot(*np.subtract(a[:2], b[:2])) for a in NUCLEI for b in NUCLEI) * MPP

    def pixels_per_um() -> float:
        page.evaluate("() => new Promise(requestAnimationFrame)")
        bar = page.locator(".scale i").first.bounding_box()
        area = page.locator("canvas").first.bounding_box()
        assert bar is not None and area is not None
        assert 0 < bar["width"] <= area["width"] / 3 + 1
        said = page.locator(".scale span").first.inner_text()
        return float(bar["width"] / float(said.removesuffix(" µm")))

    for key in ("0", "e", "x"):
        page.keyboard.press(key)
        spots = squares(seen(page, BARE))
        drawn = max(np.hypot(*(a - b)) for a in spots for b in spots)
        assert pixels_per_um() == pytest.approx(drawn / apart, rel=0.02)
    before = pixels_per_um()
    page.keyboard.press("+")
    assert pixels_per_um() == pytest.approx(1.3 * before, rel=0.01)


def test_two_fingers_zoom_and_one_pans(page: "Page") -> None:
    area = page.locator("canvas").first.bounding_box()
    assert area is not None
    x, y = area["x"] + area["width"] / 2, area["y"] + area["height"] / 2
    touch = page.context.new_cdp_session(page)

    def fingers(kind: str, *at: tuple[float, float]) -> None:
        points = [{"x": px, "y": py, "id": k} for k, (px, py) in enumerate(at)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def size() -> float:
        """Pixels of the largest square; the others may be out of sight in part."""
        is_dark = seen(page, BARE).sum(axis=2) < 300
        return float(np.bincount(ndimage.label(is_dark)[0].ravel())[1:].max())

    before = size()
    fingers("touchStart", (x - 30, y), (x + 30, y))
    for k in range(1, 7):
        fingers("touchMove", (x - 30 - 5 * k, y), (x + 30 + 5 * k, y))
    fingers("touchEnd")
    assert size() == pytest.approx(4 * before, rel=0.15)  # twice as far apart
    assert page.locator(".glass").first.evaluate("g => g.style.touchAction") == "none"
    was = seen(page, BARE)
    fingers("touchStart", (x, y))
    fingers("touchMove", (x + 20, y))
    fingers("touchMove", (x + 40, y))
    fingers("touchEnd")
    now = seen(page, BARE)
    keep = np.abs(now[:, 40:].astype(int) - was[:, :-40]).mean()
    assert keep < 1 < np.abs(now.astype(int) - was).mean()


def test_a_key_and_a_button_open_the_list_of_keys(page: "Page") -> None:
    keys = page.locator(".keys")
    assert keys.is_hidden()
    page.keyboard.press("k")
    assert keys.is_visible()
    listed = set(keys.locator("kbd").all_inner_texts())
    assert {"A", "H", "B", "U", "S", "V", "1", "4", "E", "Q", "X", "Y", "F", "K"} <= listed
    assert not listed & {"?", "C", "R", "N", "P"}  # Streamlit's and the pages' own
    page.keyboard.press("Escape")
    assert keys.is_hidden()
    page.locator(".viewer-help").click()
    assert keys.is_visible()
    page.locator(".viewer-close").click()
    assert keys.is_hidden()


def test_the_full_screen_says_what_the_page_says(page: "Page") -> None:
    page.keyboard.press("f")
    page.wait_for_function("document.fullscreenElement !== null")
    assert page.locator(".use").inner_text() == "Research use only - not for diagnosis"
    assert page.locator("canvas").count() == 3
    page.keyboard.press("f")
    page.wait_for_function("document.fullscreenElement === null")
    assert page.locator(".use").is_hidden()
