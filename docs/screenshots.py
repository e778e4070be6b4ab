"""Make the pictures in this folder from the running app, synthetic patches and made-up readers.

    python docs/screenshots.py [--out FOLDER] [NAME...]

starts the app with records of its own, drives a headless Chromium (see
``CHROMIUM`` in README.md) and writes PNG files below 300 kB each. With names
(analyse, read, ...) only the pictures of those pages.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from made_up import COORDINATOR, fill
from PIL import Image, ImageColor
from playwright.sync_api import Page, sync_playwright

from cellularity_core.export import COLOURS
from cellularity_core.synthetic_slide import Mosaic, write_synthetic_slide

ROOT = Path(__file__).resolve().parent.parent
PORT = int(os.environ.get("PORT", "8799"))
URL = f"http://127.0.0.1:{PORT}"
MOST_BYTES = 300_000
MOST_COLOURS = 96
WIDE, TABLET = 1280, 820
RCB = {
    "Largest dimension, mm": "20",
    "Dimension across it, mm": "15",
    "Cellularity, %": "30",
    "Of it in situ, %": "10",
    "Lowest, %": "12",
    "Highest, %": "55",
    "Positive nodes": "2",
    "Largest metastasis, mm": "4",
}
BED = ((-0.3, -0.1), (-0.15, -0.3), (0.15, -0.28), (0.3, -0.05), (0.2, 0.25), (-0.15, 0.3))
"""Outline of the tumour bed, from the middle of the slide, in heights of the picture."""

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")


READY = '[data-testid=stApp][data-test-script-state="notRunning"]'
"""The app once it has drawn everything."""


@contextmanager
def running_app() -> Iterator[None]:
    """The app on a port of its own, with records of made-up studies."""
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder) / "shots.db")
        command = [sys.executable, "-m", "streamlit", "run", "app.py"]
        command += ["--server.headless", "true", "--server.address", "127.0.0.1"]
        command += ["--server.port", str(PORT), "--server.fileWatcherType", "none"]
        slide = Path(folder) / "slides" / "synthetic slide.tif"
        slide.parent.mkdir()
        write_synthetic_slide(slide, Mosaic.made(4000, tissue=0.6))
        environment = os.environ | {"CELLULARITY_DB": str(Path(folder) / "shots.db")}
        environment |= {"CELLULARITY_SLIDES": str(slide.parent)}
        server = subprocess.Popen(command, cwd=ROOT, env=environment)
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"{URL}/_stcore/health", timeout=2).close()
                    break
                except OSError:
                    time.sleep(0.2)
            yield
        finally:
            server.terminate()
            try:
                server.wait(timeout=15)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def shoot(page: Page, out: Path, name: str, height: int | None = None) -> None:
    """Save the page, as high as its content or as `height`, in few colours."""
    width = page.viewport_size["width"] if page.viewport_size else WIDE
    page.mouse.move(0, 0)
    page.locator(READY).wait_for()
    page.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')")
    page.wait_for_timeout(1000)
    if height is None:
        height = int(page.evaluate("document.querySelector('.stMain').scrollHeight")) + 20
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_timeout(1500)
    path = out / name
    page.screenshot(path=path)
    with Image.open(path) as shot:
        few_colours(shot.convert("RGB")).save(path, optimize=True)
    size = path.stat().st_size
    sys.stdout.write(f"{name}: {size / 1000:.0f} kB\n")
    if size > MOST_BYTES:
        raise SystemExit(f"{name} is larger than {MOST_BYTES / 1000:.0f} kB")


def few_colours(shot: Image.Image) -> Image.Image:
    """`shot` in a palette that keeps the colours with a meaning, however rare they are."""
    sample = shot.copy()
    sample.thumbnail((640, 640))
    kept = [ImageColor.getrgb(c) for c in (*COLOURS.values(), "#5B3E8F", "#FFF3C4", "#FFFFFF")]
    wide = Image.new("RGB", (sample.width, sample.height + 12 * len(kept)))
    wide.paste(sample, (0, 0))
    for k, colour in enumerate(kept):
        wide.paste(colour, (0, sample.height + 12 * k, sample.width, sample.height + 12 * (k + 1)))
    palette = wide.quantize(MOST_COLOURS, dither=Image.Dither.NONE)
    return shot.quantize(palette=palette, dither=Image.Dither.NONE)


def analyse(page: Page, out: Path) -> None:
    """The demo: scores and pictures, wide and on a tablet, and the layers drawn as points."""
    page.goto(URL)
    page.locator(".st-key-analyse-demo button").click()
    page.locator(".viewer-status:visible").get_by_text("Area above").wait_for()
    shoot(page, out, "analyse.png", height=1560)
    page.get_by_text("Why “Nuclei features”").scroll_into_view_if_needed()
    page.locator(".st-key-analyse-waterfall").screenshot(path=out / "reasons.png")
    page.set_viewport_size({"width": TABLET, "height": 1180})
    shoot(page, out, "analyse-tablet.png", height=1400)


def score_first(page: Page, out: Path) -> None:
    """A patch before the reader has scored it."""
    page.goto(f"{URL}/?reader=KW")
    page.get_by_text("Score first, then reveal the models").click()
    page.locator(".st-key-analyse-demo button").click()
    commit = page.locator(".st-key-analyse-commit button").first
    commit.wait_for()
    page.set_viewport_size({"width": WIDE, "height": 900})
    shoot(page, out, "score-first.png", height=1180)


def compare(page: Page, out: Path) -> None:
    """The demo's patches by disagreement, and the first of them method beside method."""
    page.goto(f"{URL}/compare")
    page.locator(".st-key-analyse-demo button").click()
    page.locator(".viewer-status:visible").get_by_text("Area above").wait_for()
    shoot(page, out, "compare.png", height=1560)


def rcb(page: Page, out: Path) -> None:
    """A Residual Cancer Burden whose class the cellularity does not settle."""
    page.goto(f"{URL}/rcb")
    for label, value in RCB.items():
        field = page.get_by_role("spinbutton", name=label)
        field.fill(value)
        field.press("Enter")
        page.locator(READY).wait_for()
    page.locator(".stPlotlyChart .main-svg").first.wait_for()
    shoot(page, out, "rcb.png", height=900)


def slides(page: Page, out: Path) -> None:
    """A synthetic slide, its heat map and the bed on it."""
    page.goto(f"{URL}/slides")
    page.get_by_role("button", name="Score the slide").click()
    page.get_by_text("Whole tissue: mean cellularity").wait_for()
    page.locator(READY).wait_for()
    page.get_by_role("button", name="Draw the tumour bed").click()
    box = page.locator(".slide canvas").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    for right, down in BED:
        page.mouse.click(x + right * box["height"], y + down * box["height"])
    page.get_by_role("button", name="Close the outline").click()
    page.get_by_text("Tumour bed: mean cellularity").wait_for()
    page.locator(".slide[data-lacking='0']").wait_for()
    page.get_by_role("heading", name="Slide").scroll_into_view_if_needed()
    shoot(page, out, "slides.png", height=1330)


def read(page: Page, out: Path) -> None:
    """The reader's desk, with a score half given."""
    page.goto(f"{URL}/read?reader=Reader+A")
    page.locator("[data-shown]:not([data-shown=''])").wait_for()
    page.keyboard.press("4")
    page.keyboard.press("ArrowRight")
    page.locator("output.value").get_by_text("41 %").wait_for()
    shoot(page, out, "read.png", height=900)


def studies(page: Page, out: Path) -> None:
    """A study that goes on and one that is closed."""
    page.goto(f"{URL}/studies?reader={COORDINATOR}")
    page.get_by_text("Made-up study 2").first.wait_for()
    shoot(page, out, "studies.png")


def agreement(page: Page, out: Path) -> None:
    """The closed study at a glance."""
    page.goto(f"{URL}/agreement?study=1&reader={COORDINATOR}")
    page.locator(".st-key-agreement-forest .main-svg").first.wait_for()
    shoot(page, out, "agreement.png")


def audit(page: Page, out: Path) -> None:
    """The trail of both studies, checked."""
    page.goto(f"{URL}/audit?reader={COORDINATOR}")
    page.locator(".st-key-audit-verify button").click()
    page.get_by_text("Nothing was altered").wait_for()
    shoot(page, out, "audit.png", height=900)


def models(page: Page, out: Path) -> None:
    """The model set in use and its figures."""
    page.goto(f"{URL}/models?reader={COORDINATOR}")
    page.get_by_role("heading", name="Models", exact=True, level=1).wait_for()
    page.locator(".st-key-models-gain .main-svg").first.wait_for()
    shoot(page, out, "models.png", height=1100)


PAGES = {
    take.__name__: take
    for take in (
        analyse,
        compare,
        score_first,
        read,
        studies,
        agreement,
        slides,
        rcb,
        models,
        audit,
    )
}


def main() -> None:
    """Take the pictures asked for."""
    parser = argparse.ArgumentParser(description="Make the pictures of the documentation.")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder of the pictures")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(PAGES)}; none: all")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in PAGES]:
        parser.error(f"there is no picture {unknown[0]!r}; choose from {', '.join(PAGES)}")
    given.out.mkdir(parents=True, exist_ok=True)
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with running_app(), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        for name in given.names or PAGES:
            page = browser.new_page(viewport={"width": WIDE, "height": 900}, color_scheme="light")
            page.set_default_timeout(90_000)
            PAGES[name](page, given.out)
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
