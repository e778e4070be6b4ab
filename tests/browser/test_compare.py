"""The page Compare in a real browser: a click opens a patch, its views move together."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from cellularity_core.synthetic import demo_patches

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.e2e

MANY = 40
"""Patches: enough to cancel while they are scored."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Small patches of the demo's, each from another place."""
    folder = tmp_path_factory.mktemp("compare")
    sources = [patch.pixels for patch in demo_patches()]
    for k in range(MANY):
        top = 6 * k
        Image.fromarray(sources[k % 4][top : top + 224, top : top + 224]).save(
            folder / f"{k:02d}.png"
        )
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def page(chromium: "Browser", app_server: str, files: list[Path]) -> Iterator["Page"]:
    """The page with few of the patches scored."""
    context = chromium.new_context(viewport={"width": 1280, "height": 1600})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{app_server}/compare")
    page.locator("input[type=file]").set_input_files(files[:6])
    page.locator(".viewer[data-shown]").wait_for()
    settled(page)
    yield page
    context.close()


def settled(page: "Page") -> None:
    page.locator('[data-testid=stApp][data-test-script-state="notRunning"]').wait_for()


def name(page: "Page") -> str:
    return page.locator("h3").first.inner_text()


def pane(page: "Page", which: int) -> npt.NDArray[np.int16]:
    """What is drawn in the middle of a pane, without its scale bar."""
    shot = page.locator(".viewer canvas").nth(which).screenshot()
    pixels = np.array(Image.open(io.BytesIO(shot)).convert("RGB")).astype(np.int16)
    height, width = pixels.shape[:2]
    return pixels[height // 8 : height // 2, width // 8 : width // 2]


def test_to_sort_the_table_or_to_reach_it_by_tab_opens_no_other_patch(page: "Page") -> None:
    """The browser selects a first cell where none is: that is no choice of the reader's."""
    grid = page.locator("[data-testid=stDataFrame] canvas").first
    grid.scroll_into_view_if_needed()
    box = grid.bounding_box()
    assert box is not None
    before = name(page)
    for _ in range(2):  # up and down
        page.mouse.click(box["x"] + 410, box["y"] + 18)
        page.wait_for_timeout(700)
        settled(page)
        assert name(page) == before
    page.get_by_role("button", name="Fullscreen").first.focus()
    page.keyboard.press("Tab")
    page.locator("#glide-cell-0-0:focus").wait_for(state="attached")
    page.wait_for_timeout(700)
    settled(page)
    assert name(page) == before


def test_a_click_on_a_dot_or_a_row_opens_its_patch(page: "Page") -> None:
    assert name(page) == "00.png"
    page.get_by_role("radio", name="Two by two").click()
    charts = page.locator(".js-plotly-plot")
    for which in (0, 1):
        charts.nth(which).locator(".main-svg").first.wait_for()
        settled(page)
        dots = charts.nth(which).locator(".scatterlayer .trace:has(path.point)").first
        names = dots.evaluate(
            "t => t.closest('.js-plotly-plot').data.find((d) => d.customdata).customdata"
        )
        before = name(page)
        other = next(k for k, text in enumerate(names) if text != before)
        dots.locator("path.point").nth(other).click(force=True)
        page.get_by_role("heading", name=names[other], exact=True).wait_for()
        settled(page)
    page.get_by_role("radio", name="Table").click()
    grid = page.locator("[data-testid=stDataFrame] canvas").first
    grid.wait_for()
    settled(page)
    before = name(page)
    box = grid.bounding_box()
    assert box is not None
    for row in (2, 4):  # one of the two is another patch than the one that is open
        page.mouse.click(box["x"] + 120, box["y"] + 38 + 35 * row + 17)
        page.wait_for_timeout(300)
        settled(page)
    assert name(page) != before


def test_views_have_one_centre_and_zoom(page: "Page") -> None:
    chosen = page.get_by_role("combobox", name="Side by side")
    page.get_by_role("button", name="Clear all").last.click()
    for view in ("The patch alone", "Image to number"):
        chosen.click()
        page.get_by_role("option", name=view).click()
        settled(page)
    page.locator(".viewer canvas").nth(1).wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("Image to number:").wait_for()
    page.get_by_role("button", name="Score of each place").click()
    page.locator(".viewer canvas").first.scroll_into_view_if_needed()
    whole = pane(page, 0)
    assert np.abs(whole - pane(page, 1)).mean() < 3
    page.locator(".viewer canvas").first.hover(position={"x": 60, "y": 60})
    page.mouse.wheel(0, -600)
    page.wait_for_timeout(400)
    near = pane(page, 0)
    assert np.abs(near - whole).mean() > 8
    assert np.abs(near - pane(page, 1)).mean() < 3


def test_scoring_many_can_be_cancelled_and_taken_up_again(page: "Page", files: list[Path]) -> None:
    page.get_by_text("Add patches").click()
    page.locator("input[type=file]").set_input_files(files)
    page.get_by_text("of 40: scoring").wait_for()
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_text("are still to be done").wait_for()
    page.locator(".viewer[data-shown]").wait_for()
    page.get_by_role("button", name="Go on").click()
    page.get_by_text("are still to be done").wait_for(state="detached")
    page.get_by_text("of 40: scoring").wait_for(state="detached")
    settled(page)
    assert page.get_by_role("button", name="Go on").count() == 0
