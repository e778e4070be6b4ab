"""The page Slide says why scores cannot be relied on, as the command line does in its notes."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import shapely
from slide_support import FakeScorer, made_slide
from streamlit.testing.v1 import AppTest

from cellularity_core.patch import Patch
from cellularity_core.results import PatchResult, Quality, Score
from cellularity_core.scorer import Scorer
from cellularity_core.slides.region import region_geojson
from pages.parts import reader, slide_bed
from pages.parts.slide_source import FOLDER, Desk

ROOT = Path(__file__).resolve().parent.parent
SIDE = 1100
BEYOND = "of the tissue has scores outside those that this reader's scale was made from"


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    """A slide of 3 x 3 tiles: the first one blurred, all others beyond the reader's scale."""

    def score(self: Scorer, patches: list[Patch], maps: bool = True) -> Iterator[PatchResult]:
        for patch in patches:
            blurred = "[0,0]" in patch.name
            quality = Quality(("blurred",) if blurred else ("beyond-reader",), not blurred)
            scores = dict.fromkeys(self.methods, Score(0.3, 0.2, 0.4))
            yield replace(FakeScorer().result(patch), scores=scores, quality=quality)

    slides = tmp_path / "slides"
    slides.mkdir()
    made_slide(slides / "a.tif", SIDE, tissue=1)
    monkeypatch.setattr(Scorer, "score", score)
    monkeypatch.setenv("CELLULARITY_DB", str(tmp_path / "records.db"))
    monkeypatch.setenv(FOLDER, str(slides))
    reader.store.clear()
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120).run()
    page.switch_page("pages/slides.py").run()
    page.button(key="slide.score.start").click().run()
    assert not page.exception, page.exception
    yield page
    reader.store().dispose()
    reader.store.clear()


def with_bed(at: AppTest, bed: shapely.Polygon) -> list[str]:
    """Warnings once the slide has a bed."""
    desk: Desk = at.session_state["slide.desk"]
    desk.beds[at.selectbox(key="slide.chosen").value.key] = bed
    at.run()
    assert not at.exception and not at.error
    return [one.value for one in at.warning]


def test_a_bed_that_is_not_fit_to_score_is_told(at: AppTest) -> None:
    """Also on the scale weak TC, and where the slide as a whole is fit."""
    told = with_bed(at, shapely.box(0, 0, 600, 512))
    assert any("In the tumour bed:" in one and "not fit to score" in one for one in told)
    told = with_bed(at, shapely.box(0, 0, 512, 512))
    assert "There is no tissue fit to score in the tumour bed, so it has no mean." in told


def test_a_mean_of_guesses_is_told_here_and_on_the_rcb(
    at: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slide_bed, "WEAK_SCALE", "another")
    told = with_bed(at, shapely.box(512, 0, SIDE, SIDE))
    assert any(one.startswith(f"Tumour bed: 100% {BEYOND}") for one in told)
    at.button(key="slide.rcb").click().run()
    at.switch_page("pages/rcb.py").run()
    assert any(f"100% {BEYOND}" in one.value for one in at.caption)


def test_a_bed_of_another_slide_is_told_where_nobody_overlooks_it(at: AppTest) -> None:
    """Not in the expander, which folds once there is a bed."""
    box = next(one for one in at.file_uploader if one.key.startswith("slide.bed"))
    text = region_geojson(shapely.box(300, 300, 800, 800), "Tumour bed", "b.tif").encode()
    box.set_value([("bed.geojson", text, "application/json")]).run()
    (expander,) = (one for one in at.expander if one.label == "Tumour bed")
    assert not expander.proto.expanded and not expander.warning
    assert any("1 outline of Tumour bed, 0.06 mm²" in one.value for one in expander.markdown)
    assert any("drawn on b.tif, and this slide is a.tif" in one.value for one in at.warning)
    at.button(key="slide.bed.remove").click().run()
    assert not any("drawn on b.tif" in one.value for one in at.warning)
