"""Every page, in all its views, light and dark, is without serious findings of axe.

The pages are those of the app's own navigation. Signing in and the page for roles are
checked where somebody signs in (test_sign_in.py).
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import pytest
from accessibility import THEMES, findings
from conftest import ROOT, served
from made_up import COORDINATOR, READERS, fill

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.e2e

SLOW: Final = 60_000
"""Milliseconds within which a page is drawn, models loaded included."""

# Taller than any page: axe judges no contrast of what is scrolled out of sight.
WIDE: Final = {"width": 1920, "height": 7000}
NARROW: Final = {"width": 820, "height": 7000}
"""A tablet: what is beside each other on a desk stands below each other, in the same colours."""

POPOVER: Final = "[data-testid=stPopoverBody]"

VIEWS: Final = "[role=tab], [role=radiogroup][aria-label='What to look at'] [role=radio]"
"""What a click on shows another part of a page."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app with a study that goes on and one that is closed."""
    database = tmp_path_factory.mktemp("accessibility") / "app.db"
    fill(database)
    with served(ROOT / "app.py", database) as url:
        yield url


@pytest.fixture(scope="module")
def page(chromium: "Browser") -> Iterator["Page"]:
    context = chromium.new_context(viewport=WIDE, reduced_motion="reduce")  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(SLOW)
    yield page
    context.close()


def settled(page: "Page") -> None:
    """Wait until nothing runs and everything is drawn."""
    page.locator('[data-testid=stApp][data-test-script-state="notRunning"]').wait_for()
    page.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')")


def scored_demo(page: "Page") -> None:
    """The demo on a page whose empty state was checked before."""
    page.locator(".st-key-analyse-demo button").click()
    page.locator(".card").first.wait_for()
    settled(page)
    page.get_by_text("Why the methods differ").click()
    page.get_by_text("points more than").wait_for()
    page.locator(".viewer").nth(1).wait_for()  # of the places, below what is opened


def half_a_score(page: "Page") -> None:
    """The reader's desk with a complaint on it."""
    page.locator("[data-shown]:not([data-shown=''])").wait_for()
    page.keyboard.press("Enter")
    page.get_by_text("Give a score first").wait_for()


READER: Final = next(iter(READERS))
STEPS: Final[dict[str, tuple[str, Callable[["Page"], None] | None]]] = {
    "Analyse": (READER, scored_demo),
    "Compare": (READER, scored_demo),
    "Read": (READER, half_a_score),
}
"""Who opens a page, and what is done on it before it is looked at again."""


def test_no_page_has_serious_findings(page: "Page", address: str) -> None:
    page.goto(address)
    page.get_by_role("navigation").get_by_role("link").first.wait_for()
    links = page.get_by_role("navigation").get_by_role("link").all()
    pages = {link.inner_text().split("\n")[-1]: str(link.get_attribute("href")) for link in links}
    assert {"Analyse", "Read", "Studies", "Models", "Agreement", "Audit"} <= set(pages)
    found, looked_at = [], []
    for name, url in pages.items():
        reader, step = STEPS.get(name, (COORDINATOR, None))
        page.goto(f"{url}?reader={reader}")
        page.locator("h1").first.wait_for()
        settled(page)
        if step is not None:
            found += findings(page, f"{name}, at first")
            step(page)
            settled(page)
        page.evaluate(
            "document.querySelectorAll('details:not([open]) > summary').forEach((s) => s.click())"
        )
        settled(page)
        found += findings(page, name)
        looked_at.append(name)
        found += in_popovers(page, name, looked_at)
        page.set_viewport_size(NARROW)  # type: ignore[arg-type]
        settled(page)
        found += findings(page, f"{name}, narrow", ["light"])
        page.set_viewport_size(WIDE)  # type: ignore[arg-type]
        settled(page)
        for view in page.locator(VIEWS).all()[1:]:
            view.click()
            settled(page)
            found += findings(page, f"{name}, {view.inner_text()}")
            looked_at.append(view.inner_text())
    assert not found, "\n".join(found)
    assert {"New study", "Two by two", "Report", "Pixel size", "Close…"} <= set(looked_at)


def in_popovers(page: "Page", name: str, looked_at: list[str]) -> list[str]:
    """Findings on the page while each of its popovers is open; what they are called is noted."""
    found = []
    for opener in page.locator("[data-testid=stPopover] button:visible:enabled").all():
        label = opener.inner_text().removesuffix("expand_more").strip().split("\n")[-1]
        opener.click()
        page.locator(POPOVER).wait_for()
        found += findings(page, f"{name}, {label}", ["light"])
        looked_at.append(label)
        page.keyboard.press("Escape")
        page.locator(POPOVER).wait_for(state="hidden")
    return found


def test_the_tour_is_put_away_for_good(page: "Page", address: str) -> None:
    page.goto(address)
    tour = page.get_by_role("region", name="First steps")
    tour.wait_for()
    assert tour.get_by_role("listitem").count() == 3
    tour.get_by_role("button", name="Got it").click()
    tour.wait_for(state="hidden")
    page.reload()
    page.get_by_text("Nothing here yet").wait_for()
    settled(page)
    assert not tour.is_visible()


def test_the_keys_of_the_desk_are_listed_and_hidden_by_one(page: "Page", address: str) -> None:
    page.goto(f"{address}/read?reader={READER}")
    keys = page.get_by_text("whole patch")
    keys.wait_for()
    page.keyboard.press("k")
    keys.wait_for(state="hidden")
    page.keyboard.press("k")
    keys.wait_for()


def test_the_check_sees_faint_text_and_a_picture_without_words(page: "Page", address: str) -> None:
    page.goto(address)
    page.locator("h1").wait_for()
    page.evaluate(
        """() => document.querySelector("h1").insertAdjacentHTML("afterend",
          '<p style="color: #888; background: #777">faint</p><img src="/favicon.png">')"""
    )
    found = findings(page, "spoilt")
    for theme in THEMES:
        for rule in ("color-contrast", "image-alt"):
            assert any(line.startswith(f"spoilt, {theme}: {rule}") for line in found)
