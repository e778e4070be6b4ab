"""The page RCB in a real browser: a case typed in as fast as one types gives its class."""

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.e2e

TYPED = {
    "Largest dimension, mm": "20",
    "Dimension across it, mm": "15",
    "Cellularity, %": "30",
    "Of it in situ, %": "10",
    "Positive nodes": "2",
    "Largest metastasis, mm": "4",
}
"""A worked example: RCB 3.2119, class II."""


def test_a_case_typed_in_gives_its_class(chromium: "Browser", app_server: str) -> None:
    page = chromium.new_page(viewport={"width": 820, "height": 1200})
    page.set_default_timeout(60_000)
    page.goto(f"{app_server}/rcb")
    for label, value in TYPED.items():
        field = page.get_by_role("spinbutton", name=label, exact=True)
        field.click()
        page.keyboard.type(value)
        page.keyboard.press("Tab")
    metric = page.get_by_test_id("stMetric")
    expect(metric.filter(has_text="RCB index")).to_contain_text("3.21")
    expect(metric.filter(has_text="Class")).to_contain_text("RCB-II")
    expect(page.locator(".js-plotly-plot").get_by_text("RCB-III", exact=True)).to_be_visible()
    for label, value in (("Lowest, %", "12"), ("Highest, %", "55")):
        page.get_by_role("spinbutton", name=label, exact=True).click()
        page.keyboard.type(value)
        page.keyboard.press("Tab")
    page.get_by_text("The interval of the cellularity reaches into another class.").wait_for()
    expect(page.get_by_text("95 % interval of the index")).to_contain_text("2.95 to 3.41")
    for label, value, told in (
        ("Largest dimension, mm", "350", "350 was given; 0 to 300 mm is expected"),
        ("Largest dimension, mm", "-20", "-20 was given; 0 to 300 mm is expected"),
        ("Positive nodes", "101", "101 was given; 0 to 100 nodes is expected"),
    ):  # no index of the value that stood there before
        page.get_by_role("spinbutton", name=label, exact=True).fill(value)
        page.keyboard.press("Tab")
        page.get_by_text(told).wait_for()
        expect(metric).to_have_count(0)
        page.get_by_role("spinbutton", name=label, exact=True).fill(TYPED[label])
        page.keyboard.press("Tab")
        expect(metric.filter(has_text="RCB index")).to_contain_text("3.21")
    page.close()
