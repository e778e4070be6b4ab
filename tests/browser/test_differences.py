"""Why methods differ, in a real browser: the fold opens, says why, and draws the maps."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.e2e

PICTURES = "all => all.map(canvas => canvas.toDataURL())"


def test_the_fold_opens_on_sentences_and_a_map_beside_the_nuclei(
    chromium: "Browser", app_server: str
) -> None:
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(60_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(app_server)
    page.locator(".st-key-analyse-demo button").click()
    page.locator(".st-key-analyse-waterfall").wait_for()
    assert page.locator(".steps .card").count() == 5
    page.locator(".viewer[data-shown]").first.wait_for()
    assert page.locator(".viewer").count() == 1
    page.get_by_text("Why the methods differ, and where in the patch").click()
    page.get_by_text("points more than").wait_for()
    page.locator(".viewer[data-shown]").nth(1).wait_for()
    maps = page.locator(".viewer").nth(1)
    marked, *placed = maps.locator("canvas").evaluate_all(PICTURES)
    assert len(placed) == 3
    assert len({marked, *placed}) == 4
    maps.locator(".viewer-overlay").click()
    page.evaluate("() => new Promise(requestAnimationFrame)")
    bare = maps.locator("canvas").evaluate_all(PICTURES)
    # without their maps all show the same bare patch; the nuclei stay
    assert bare[0] == marked
    assert len(set(bare[1:])) == 1
    assert bare[1] not in placed
    assert not errors
    page.close()
