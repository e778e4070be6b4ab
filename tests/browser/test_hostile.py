"""Names that would run, fetch, link or draw something, on every page in a real browser.

Each is seen letter by letter; no script of theirs runs, nothing is fetched but from the app.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import pytest
from agreement_support import seeded_study
from conftest import ROOT, served
from hostile_page import PLACES, TEXTS
from models_support import make_set
from slide_support import made_slide

from cellularity_core.errors import readable
from cellularity_core.export import png
from cellularity_core.model_store import open_set
from cellularity_core.synthetic import synthesise
from db import model_sets, records
from db.session import open_records, transaction
from pages.parts.slide_source import FOLDER

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.e2e

SLOW: Final = 60_000

FETCHING: Final = "<img src=x onerror=ran=1>![p](http://evil.example/p)"
DRAWING: Final = (
    ":streamlit: :material_skull: :red[x] $x^2$ `c` **b** www.evil.example e@evil.example"
)
READER: Final = f"Ana {FETCHING}"
OTHER: Final = f"Ben {DRAWING}"
STUDY: Final = f"Study {FETCHING} [l](javascript:ran=1)"
OPEN: Final = f"Open {DRAWING}"
WORDS: Final = f"{FETCHING} {DRAWING}\n\n<script>ran=1</script> <iframe src=//evil.io></iframe>"
MODELS: Final = "set <img src=x onerror=ran=1> :streamlit: $x^2$ **b** www.evil.example"
SCALE: Final = f"reader: {READER}"
PATCH: Final = f"patch {DRAWING} <b>b.png"
BROKEN: Final = f"broken {FETCHING}.png"
LONG: Final = "n" * 220 + ".png"
SLIDE: Final = "slide :streamlit: $x^2$ **b** <b>b.tif"

DIAGRAM: Final = "```mermaid\ngraph TD\n```\n<img src=x onerror=ran=1>\n"

MADE_OF_NAMES: Final = ", ".join(
    (
        "a[href*='evil']",
        "a[href^='javascript']",
        "a[href^='mailto']",
        "img[src*='evil']",
        "img[src='x']",
        "img[alt='Streamlit logo']",
        "iframe",
        "[aria-label='skull icon']",
        ".katex",
        ".stMarkdownColoredText",
        "svg a",
        "[data-testid=stException]",
    )
)
"""What a name may not become."""


class Watch:
    """What a page does that no name may make it do."""

    def __init__(self, page: "Page", address: str) -> None:
        self.page = page
        self.seen: list[str] = []
        own = (address, address.replace("http", "ws", 1), "data:", "blob:", "about:")
        page.on("dialog", lambda dialog: self.seen.append(f"dialog {dialog.message}"))
        page.on(
            "request",
            lambda asked: None if asked.url.startswith(own) else self.seen.append(asked.url),
        )

    def nothing_came_of_names(self, where: str) -> None:
        settled(self.page)
        assert self.page.evaluate("window.ran === undefined"), where
        assert self.page.locator(MADE_OF_NAMES).count() == 0, (
            where,
            self.page.locator(MADE_OF_NAMES).first.evaluate("e => e.outerHTML"),
        )
        assert self.seen == [], where


def settled(page: "Page") -> None:
    page.locator('[data-testid=stApp][data-test-script-state="notRunning"]').wait_for()
    page.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')")


def recalibrated(manifest: dict[str, object]) -> None:
    manifest["scale"] = SCALE
    manifest["recalibrated_from"] = {"name": MODELS}
    manifest["ablation"] = [{"ingredient": WORDS, "icc": 0.5}]
    manifest["curves"] = {WORDS: {"mse": [0.1, 0.05]}}


def fill(folder: Path) -> None:
    """Records, a model set and a slide whose every name is hostile."""
    make_set(folder, "breast-1")
    make_set(folder, MODELS, recalibrated)
    card = folder / "models" / MODELS / "README.md"
    card.write_text(f"# Card\n\n![p](http://picture.example/p.png)\n\n{DIAGRAM}")
    made_slide(folder / "slides" / SLIDE, 600)
    engine = open_records(str(folder / "app.db"))
    changes = {"readers": [READER, OTHER], "description": WORDS, "model_set": MODELS}
    closed = seeded_study(engine, n_cases=6, **changes, name=STUDY)  # type: ignore[arg-type]
    seeded_study(
        engine, n_cases=2, first=100, close=False, read=[], **changes, name=OPEN, arm="before"
    )  # type: ignore[arg-type]
    with transaction(engine) as db:
        case = records.cases(db, closed.id)[0]
        records.keep_consensus(db, case_id=case.id, cellularity=0.5, reason=WORDS, by=READER)
        used = open_set(MODELS, folder / "models")
        model_sets.choose(db, name=used.name, sha256=used.sha256, actor=READER)
    engine.dispose()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "slides").mkdir()
    fill(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELLULARITY_MODELS", str(folder / "models"))
        patch.setenv(FOLDER, str(folder / "slides"))
        with served(ROOT / "app.py", folder / "app.db") as url:
            yield url


@pytest.fixture
def page(chromium: "Browser") -> Iterator["Page"]:
    context = chromium.new_context(viewport={"width": 1280, "height": 2400})
    page = context.new_page()
    page.set_default_timeout(SLOW)
    yield page
    context.close()


def see(page: "Page", text: str) -> None:
    """Wait until a text is on the page letter by letter, or is what is chosen in a field."""
    text = " ".join(readable(text).split())
    chosen = page.locator(f"input[value={json.dumps(text)}]")
    page.get_by_text(text).or_(chosen).filter(visible=True).first.wait_for()


def go(page: "Page", name: str) -> None:
    page.get_by_role("link", name=name).click()
    page.get_by_role("heading", name=name, exact=True, level=1).wait_for()
    settled(page)


def unfold(page: "Page") -> None:
    page.evaluate(
        "document.querySelectorAll('details:not([open]) > summary').forEach((s) => s.click())"
    )
    settled(page)


def test_no_page_makes_anything_of_a_name(page: "Page", address: str) -> None:
    watch = Watch(page, address)
    page.goto(f"{address}/?reader={quote(READER)}")
    files = [
        {"name": PATCH, "mimeType": "image/png", "buffer": png(synthesise(1).pixels)},
        {"name": LONG, "mimeType": "image/png", "buffer": png(synthesise(2).pixels)},
        {"name": BROKEN, "mimeType": "image/png", "buffer": b"words"},
    ]
    page.locator("input[type=file]").set_input_files(files)  # type: ignore[arg-type]
    page.locator(".card").first.wait_for()
    for text in (PATCH, BROKEN, SCALE):
        see(page, text)
    watch.nothing_came_of_names("Analyse")

    go(page, "Compare")
    see(page, f"Models {MODELS}: scale: {SCALE}.")
    watch.nothing_came_of_names("Compare")
    page.get_by_role("combobox", name="Beside them, a second model set").click()
    page.get_by_role("option", name="breast-1").click()
    see(page, f"A is {MODELS} (scale: {SCALE})")
    page.get_by_text("Why sets A and B differ").click()
    see(page, f"set A: {SCALE}")
    watch.nothing_came_of_names("Compare, two sets")

    go(page, "Read")
    see(page, OPEN)
    watch.nothing_came_of_names("Read")

    go(page, "Studies")
    for text in (STUDY, OPEN, WORDS, f"models {MODELS}"):
        see(page, text)
    watch.nothing_came_of_names("Studies")
    page.get_by_role("tab", name="New study").click()
    page.get_by_role("button", name="Take 2 patches of the page Analyse").click()
    page.get_by_text("2 cases to read and 0 training cases.").wait_for()
    watch.nothing_came_of_names("New study")

    go(page, "Slide")
    see(page, SLIDE)
    watch.nothing_came_of_names("Slide")

    go(page, "Models")
    see(page, f"In use: {MODELS} (chosen by {READER},")
    see(page, f"it finds what “{MODELS}” finds")
    unfold(page)
    see(page, "graph TD")
    watch.nothing_came_of_names("Models")
    page.get_by_role("tab", name="Two side by side").click()
    see(page, f"{MODELS}: scale: {SCALE}")
    watch.nothing_came_of_names("Models, two sets")

    go(page, "Agreement")
    page.get_by_role("combobox", name="Study, or everyday scores").click()
    page.get_by_role("option", name="(closed)").click()
    see(page, f"{STUDY} (closed)")
    page.get_by_role("radio", name="At a glance").wait_for()
    for view in page.locator("[aria-label='What to look at'] [role=radio]").all():
        view.click()
        settled(page)
        watch.nothing_came_of_names(f"Agreement, {view.inner_text()}")

    go(page, "Audit")
    page.get_by_role("button", name="Check that nothing was altered").click()
    page.get_by_text("Nothing was altered").wait_for()
    watch.nothing_came_of_names("Audit")
    # The buttons of a table; that which saves it would leave formulas in it.
    page.locator("[data-testid=stDataFrame]").hover()
    page.get_by_role("button", name="Search").wait_for()
    assert page.get_by_role("button", name="Download as CSV").count() == 0

    page.get_by_role("link", name="RCB").click()
    page.get_by_role("heading", name="Residual Cancer Burden").wait_for()
    watch.nothing_came_of_names("RCB")


def test_each_text_is_seen_letter_by_letter(page: "Page", tmp_path: Path) -> None:
    with served(ROOT / "tests" / "hostile_page.py", tmp_path / "no.db") as url:
        watch = Watch(page, url)
        page.goto(url)
        page.locator(".js-plotly-plot .main-svg").first.wait_for()
        settled(page)
        for number, text in enumerate(TEXTS):
            there = page.locator(f".st-key-text-{number}")
            seen = " ".join(readable(text).split())
            words = [
                " ".join(each.split()).removeprefix("keyboard_arrow_right ")
                for each in there.locator("p, h3").all_inner_texts()
            ]
            assert len(words) == PLACES
            assert set(words) == {seen, f"{seen} {seen}", seen.replace("`", "'")}, text
        labels = page.locator(".ytick text").all_text_contents()
        assert [" ".join(label.split()) for label in labels] == [
            " ".join(readable(text[:60]).split()) for text in TEXTS
        ]
        page.locator(".js-plotly-plot .bars path").first.hover(force=True)
        page.locator(".hovertext").wait_for()
        assert "<a href='http://evil.io'>%{x}</a>" in str(page.locator(".hovertext").text_content())
        watch.nothing_came_of_names("the page of names")
