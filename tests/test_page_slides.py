"""The page Slide: what it opens and refuses, scores, shows, averages and saves."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
from images import png
from slide_support import FakeScorer, made_slide, scoring
from sqlalchemy import delete
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec
from streamlit.testing.v1 import AppTest

from cellularity_core.conventions import DEFAULT_SET
from cellularity_core.errors import SlideError
from cellularity_core.fingerprint import fingerprint
from cellularity_core.model_store import open_set
from cellularity_core.patch import Patch
from cellularity_core.quality.spoiling import grey
from cellularity_core.results import PatchResult
from cellularity_core.scorer import Scorer
from cellularity_core.slides.grid import Tile
from cellularity_core.slides.reading import Slide
from cellularity_core.slides.run import score_slide
from cellularity_core.slides.summary import NOT_HE
from cellularity_core.synthetic_slide import Mosaic, write_synthetic_slide
from db import records
from db.errors import RecordError
from db.schema import Image
from db.session import snapshot, transaction
from pages.parts import access, locks, reader, slide_bed, slide_run, slide_source, slide_tile
from pages.parts.slide_source import FOLDER, Desk
from pages.parts.words import METHOD_NAMES

ROOT = Path(__file__).resolve().parent.parent
SIDE = 1100
BED = [[300, 300], [800, 300], [800, 800], [300, 800], [300, 300]]
SCORE = Scorer.score


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a slide of 3 x 3 tiles and slides that are refused."""
    folder = tmp_path_factory.mktemp("slides")
    made_slide(folder / "a.tif", SIDE, tissue=1)
    made_slide(folder / "bare.tif", SIDE, tissue=1, stated=False)
    (folder / "broken.tif").write_bytes((folder / "a.tif").read_bytes()[:20_000])
    (folder / "text.svs").write_text("no slide at all")
    return folder


@pytest.fixture(autouse=True)
def seen(tmp_path: Path, slides: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Records and results of its own; names of the tiles that are scored, quickly."""
    fake = FakeScorer()

    def score(self: Scorer, patches: list[Patch], maps: bool = True) -> Iterator[PatchResult]:
        if maps:
            yield from SCORE(self, patches)
            return
        for patch in patches:
            fake.seen.append(patch.name)
            result = fake.result(patch)
            yield replace(result, scores=dict.fromkeys(self.methods, result.scores["gbt"]))

    monkeypatch.setattr(Scorer, "score", score)
    monkeypatch.setenv("CELLULARITY_DB", str(tmp_path / "records.db"))
    monkeypatch.setenv(FOLDER, str(slides))
    reader.store.clear()
    yield fake.seen
    reader.store().dispose()
    reader.store.clear()


def page() -> AppTest:
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120).run()
    return at.switch_page("pages/slides.py").run()


def opened(name: str = "a.tif") -> AppTest:
    """The page with one of the slides on it."""
    at = page()
    at.selectbox(key="slide.chosen").select(name).run()
    assert not at.exception, at.exception
    return at


def scored(name: str = "a.tif") -> AppTest:
    at = opened(name)
    at.button(key="slide.score.start").click().run()
    assert not at.exception, at.exception
    return at


def said(at: AppTest) -> str:
    kinds = (at.markdown, at.caption, at.text, at.info, at.warning, at.error, at.subheader)
    return "\n".join(element.value for kind in kinds for element in kind)


@pytest.fixture(scope="module")
def expected(slides: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the core says of the slide and of the bed on it."""
    bed = tmp_path_factory.mktemp("bed") / "bed.geojson"
    bed.write_text(json.dumps({"type": "Polygon", "coordinates": [BED]}))
    return score_slide(slides / "a.tif", scoring(FakeScorer()), bed.parent / "out", roi=bed)


def ends(area: dict[str, dict[str, float]]) -> tuple[float, float]:
    """Limits of the mean of an area in a summary."""
    return area["low"]["gbt"], area["high"]["gbt"]


def test_it_scores_a_slide_and_says_what_the_core_says(
    seen: list[str], expected: dict[str, object]
) -> None:
    at = opened()
    assert "**9** tiles of 256 µm" in said(at)
    assert not at.metric
    at.button(key="slide.score.start").click().run()
    assert not at.exception
    assert len(seen) == 9
    mean = expected["tissue"]["mean"]["gbt"]
    low, high = (f"{100 * end:.0f}" for end in ends(expected["tissue"]))
    shown = {m.label: m.value for m in at.metric}
    assert shown["Whole tissue: mean cellularity"] == f"{100 * mean:.0f} %"
    assert f"interval {low} to {high} %" in said(at)
    tissue = expected["tissue"]
    below, above = (100 * tissue[f"model_half_width_{side}"]["gbt"] for side in ("below", "above"))
    assert f"error: {below:.0f} points below the mean, {above:.0f} above; every" in said(at)
    assert f"{expected['tissue']['tissue_mm2']:.2f} mm²" == shown["Whole tissue: area"]
    assert "weak TC, not a pathologist's" in said(at)
    assert open_set(DEFAULT_SET).sha256[:12] in said(at)
    again = opened()
    assert len(seen) == 9
    assert {m.label: m.value for m in again.metric} == shown


def test_what_cannot_be_used_is_refused_in_a_sentence(slides: Path) -> None:
    at = opened("broken.tif")
    assert "breaks off" in at.error[0].value
    assert "text.svs is not a slide" in opened("text.svs").error[0].value
    at = opened("bare.tif")
    assert "does not state a pixel size" in said(at)
    assert not at.button(key="slide.size_set").value
    at.number_input(key="slide.size").set_value(50.0).run()
    assert "50 µm/px was given for bare.tif, and a patch has 0.1 to 2" in at.error[0].value
    assert at.button(key="slide.size_set").disabled
    at.number_input(key="slide.size").set_value(0.1).run()
    at.button(key="slide.size_set").click().run()
    at.button(key="slide.size.change").click().run()  # it was a slip
    assert "does not state a pixel size" in said(at)
    at.number_input(key="slide.size").set_value(0.5).run()
    at.button(key="slide.size_set").click().run()
    assert "0.5 µm per pixel (given by you)" in said(at)
    assert at.button(key="slide.score.start")


def files_held(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Gives the names of the uploads from now on whose bytes are still in memory."""
    files: list[tuple[MemoryUploadedFileManager, str, UploadedFileRec]] = []
    add = MemoryUploadedFileManager.add_file

    def watched(self: MemoryUploadedFileManager, session: str, file: UploadedFileRec) -> None:
        files.append((self, session, file))
        add(self, session, file)

    monkeypatch.setattr(MemoryUploadedFileManager, "add_file", watched)
    return lambda: [
        file.name for at, session, file in files if at.get_files(session, [file.file_id])
    ]


def test_an_upload_is_opened_and_scored_once(
    slides: Path, seen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = page()
    held = files_held(monkeypatch)
    content = (slides / "a.tif").read_bytes()
    for _ in range(2):
        at.file_uploader[0].set_value([("../mine.tif", content, "image/tiff")]).run()
        assert not at.exception
        assert held() == []
        assert at.selectbox(key="slide.chosen").options[0] == "mine.tif"
        assert at.selectbox(key="slide.chosen").options.count("mine.tif") == 1
        if start := [b for b in at.button if b.key == "slide.score.start"]:
            start[0].click().run()
    assert len(seen) == 9
    assert at.metric


def test_slides_of_one_name_are_told_apart(slides: Path, tmp_path: Path) -> None:
    at = page()
    sides = (1300, 1200, SIDE)
    for side in sides[:2]:
        made_slide(tmp_path / "x.tif", side, tissue=1)
        content = (tmp_path / "x.tif").read_bytes()
        at.file_uploader[0].set_value([("a.tif", content, "image/tiff")]).run()
        assert f"{side} × {side} pixels" in said(at)  # the one that was just uploaded
    names = ("a.tif", "a.tif (2)", "a.tif (in the folder)")
    assert at.selectbox(key="slide.chosen").options[:3] == [names[1], names[0], names[2]]
    for name, side in zip(names, sides, strict=True):
        at.selectbox(key="slide.chosen").select(name).run()
        for _ in range(2):  # it stays the one that was chosen
            assert f"{side} × {side} pixels" in said(at)
            at.run()


def test_hot_spots_are_hot(monkeypatch: pytest.MonkeyPatch) -> None:
    at = scored()
    hottest = hot_spots_of(at)[METHOD_NAMES["combined"]]
    monkeypatch.setattr(slide_tile, "LEAST", hottest.iloc[3] / 100 - 1e-9)
    at.run()
    assert list(hot_spots_of(at)[METHOD_NAMES["combined"]]) == list(hottest[:4])
    monkeypatch.setattr(slide_tile, "LEAST", 0.99)
    at.run()
    assert f"no tile reaches 99 %. The highest has {hottest.max():.0f} %." in said(at)
    assert not any("Right (mm)" in table.value for table in at.dataframe)


def hot_spots_of(at: AppTest) -> pd.DataFrame:
    """The tiles with the highest scores, as shown."""
    found: pd.DataFrame = next(d.value for d in at.dataframe if "Right (mm)" in d.value)
    assert found[METHOD_NAMES["combined"]].is_monotonic_decreasing
    return found


def test_a_bed_is_imported_averaged_and_removed(
    expected: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = scored()
    held = files_held(monkeypatch)
    box = next(f for f in at.file_uploader if f.key.startswith("slide.bed"))
    text = json.dumps({"type": "Polygon", "coordinates": [BED]}).encode()
    box.set_value([("bed.geojson", text, "application/json")]).run()
    assert held() == []
    shown = {m.label: m.value for m in at.metric}
    mean = expected["region"]["mean"]["gbt"]
    assert shown["Tumour bed: mean cellularity"] == f"{100 * mean:.0f} %"
    assert shown["Tumour bed: area"] == "0.06 mm²"
    regions = next(d.value for d in at.dataframe if slide_bed.MEASURE in d.value)
    regions = regions.set_index(slide_bed.MEASURE)
    assert list(regions.columns) == [slide_bed.TISSUE, slide_bed.BED]
    told, region = regions[slide_bed.BED], expected["region"]
    nuclei = float(told["Malignant nuclei per mm²"].replace(",", "")) * region["tissue_mm2"]
    assert nuclei == pytest.approx(region["nuclei"]["malignant"], abs=0.6)  # both are rounded
    assert told["Tiles"] == f"{region['tiles']}"
    low, high = (f"{100 * end:.0f}" for end in ends(region))
    assert told[METHOD_NAMES["gbt"]] == f"{100 * mean:.0f} % ({low}–{high})"
    # a quarter of each of four tiles
    assert "No tile that is fit to score lies here by half or more." in said(at)
    at.button(key="slide.bed.remove").click().run()
    assert "Whole tissue: area" in {m.label for m in at.metric}
    everywhere = hot_spots_of(at)
    assert everywhere["Right (mm)"].max() > 0.25
    desk: Desk = at.session_state["slide.desk"]
    desk.beds[at.selectbox(key="slide.chosen").value.key] = shapely.box(0, 0, 512, SIDE)
    at.run()
    left = everywhere[everywhere["Right (mm)"] < 0.25]
    assert 0 < len(left) < len(everywhere)
    assert hot_spots_of(at).to_dict("list") == left.to_dict("list")
    at.button(key="slide.bed.remove").click().run()
    box = next(f for f in at.file_uploader if f.key.startswith("slide.bed"))
    box.set_value([("bed.geojson", b"{}", "application/json")]).run()
    assert "bed.geojson is not GeoJSON" in at.error[0].value
    away = [[x + 1e6, y] for x, y in BED]
    text = json.dumps({"type": "Polygon", "coordinates": [away]}).encode()
    box = next(f for f in at.file_uploader if f.key.startswith("slide.bed"))
    box.set_value([("bed.geojson", text, "application/json")]).run()
    assert "region in bed.geojson (x 1000300" in at.error[0].value
    assert "lies outside the slide of 1100 x 1100 pixels" in at.error[0].value
    assert "Whole tissue: area" in {m.label for m in at.metric}


def test_a_mean_goes_to_the_rcb_on_a_readers_scale_only(
    monkeypatch: pytest.MonkeyPatch, expected: dict[str, object]
) -> None:
    at = scored()
    assert "cellularity recalibrate" in said(at)
    assert not [b for b in at.button if b.key == "slide.rcb"]
    monkeypatch.setattr(slide_bed, "WEAK_SCALE", "another")
    at.run()
    assert "the whole tissue is not the bed" in said(at)
    desk: Desk = at.session_state["slide.desk"]
    key = at.selectbox(key="slide.chosen").value.key
    desk.beds[key] = shapely.Polygon(BED)
    at.run()
    at.button(key="slide.case.count").click().run()
    (part,) = desk.parts.values()
    for sentence in (slide_bed.NO_BED, NOT_HE):
        desk.parts["other"] = replace(part, name="b.tif", why_not=sentence)
        at.run()
        assert f"b.tif: {sentence}" in said(at)
        assert not [b for b in at.button if b.key == "slide.rcb"]
    desk.parts["other"] = replace(part, name="b.tif", why_not=None)
    at.run()
    assert "Of a.tif and b.tif" in {one.value for one in at.caption}
    at.button(key="slide.case.count").click().run()  # so that the open slide is not in the case
    assert "a.tif is not counted in the case of b.tif: count it, or begin another" in said(at)
    assert not [b for b in at.button if b.key == "slide.rcb"]
    at.button(key="slide.case.clear").click().run()
    assert "Of a.tif" in {one.value for one in at.caption}
    at.button(key="slide.rcb").click().run()
    at.switch_page("pages/rcb.py").run()
    mean = expected["region"]["mean"]["gbt"]
    value = round(100 * mean, 1)
    low, high = ends(expected["region"])
    assert at.number_input(key="rcb.ca").value == value
    assert low < mean < high
    assert at.number_input(key="rcb.low").value == pytest.approx(100 * low, abs=0.06)
    assert at.number_input(key="rcb.high").value == pytest.approx(100 * high, abs=0.06)
    assert "a.tif" in said(at)


def test_slides_of_a_case_are_averaged_by_area(slides: Path) -> None:
    at = scored()
    desk: Desk = at.session_state["slide.desk"]
    at.button(key="slide.case.count").click().run()
    ((key, part),) = desk.parts.items()
    area = part.area
    # a third of its tissue is fit to score, and that stands for all of it
    other = replace(area, tissue_um2=3 * area.tissue_um2, sums=dict.fromkeys(area.sums, 0.0))
    desk.parts["other"] = replace(part, name="b.tif", area=other, why_not=None)
    at.run()
    mean = area.mean("combined")
    assert mean
    assert f"Mean of the case, {METHOD_NAMES['combined']}: **{25 * mean:.0f} %" in said(at)
    desk.parts["old"] = replace(part, models="0" * 64)
    at.run()
    assert set(desk.parts) == {key, "other"}
    assert "Case: 2 slides counted" in {e.label for e in at.expander}
    at.button(key="slide.case.clear").click().run()
    assert not desk.parts
    assert "Case on several slides" in {e.label for e in at.expander}


def test_a_slide_opened_from_two_places_counts_once(slides: Path) -> None:
    at = scored()
    at.button(key="slide.case.count").click().run()
    content = (slides / "a.tif").read_bytes()
    at.file_uploader[0].set_value([("mine.tif", content, "image/tiff")]).run()
    at.button(key="slide.score.start").click().run()
    assert at.selectbox(key="slide.chosen").value.name == "mine.tif"
    assert "Case: 1 slide counted" in {e.label for e in at.expander}
    assert at.button(key="slide.case.count").label == "Count this slide no more"


def test_a_run_that_ended_early_goes_on(monkeypatch: pytest.MonkeyPatch, seen: list[str]) -> None:
    monkeypatch.setattr(slide_run, "TURN", 1)
    quick = Scorer.score

    def failing(self: Scorer, patches: list[Patch], maps: bool = True) -> Iterator[PatchResult]:
        if len(seen) == 4:
            raise SlideError("the disk is full")
        yield from quick(self, patches, maps)

    monkeypatch.setattr(Scorer, "score", failing)
    at = opened()
    at.button(key="slide.score.start").click().run()
    assert "the disk is full" in at.error[0].value
    monkeypatch.setattr(Scorer, "score", quick)
    at.button(key="slide.score.cancel").click().run()
    assert "**5 of 9** tiles are still to be scored" in said(at)
    at.button(key="slide.score.start").click().run()
    assert len(seen) == len(set(seen)) == 9
    assert at.metric


def test_another_stain_is_told_before_it_is_scored(
    tmp_path: Path, seen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mosaic = Mosaic.made(SIDE, tissue=1)
    pieces = tuple(map(grey, mosaic.pieces))
    write_synthetic_slide(tmp_path / "grey.tif", replace(mosaic, pieces=pieces))
    monkeypatch.setenv(FOLDER, str(tmp_path))
    at = opened("grey.tif")
    (warning,) = (text.value for text in at.warning)
    assert "does not look like H&E: 9 of 9 tiles" in warning and "open the H&E slide" in warning
    assert seen == []
    button = at.button(key="slide.score.start")
    assert button.label == "Score it anyway"
    button.click().run()
    assert not at.exception and len(seen) == 9


def test_a_tile_is_shown_as_analyse_shows_a_patch(slides: Path) -> None:
    at = scored()
    at.text_input(key="reader").set_value("Ana").run()
    desk: Desk = at.session_state["slide.desk"]
    key = at.selectbox(key="slide.chosen").value.key
    desk.place[key] = (1, 1)
    at.run()
    assert not at.exception
    assert "Tile 0.26 mm right, 0.26 mm down" in said(at)
    assert said(at).count('data-method="') == 5
    slide = Slide(slides / "a.tif")
    sha256 = slide.patch(slide.grid.tile(1, 1)).sha256
    assert sha256 in at.session_state["case"].shown
    with snapshot(reader.store()) as db:
        assert records.unnoted(db, reader="Ana", sha256s=[sha256]) == set()
    at.button(key="slide.tile.close").click().run()
    assert 'data-method="' not in said(at)


def test_a_slide_with_a_patch_of_an_open_study_stays_without_scores(
    slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered: list[Callable[[], bytes]] = []
    button = DeltaGenerator.download_button

    def watched(self: DeltaGenerator, label: str, make: Callable[[], bytes], **how: Any) -> bool:
        offered.append(make)
        return button(self, label, make, **how)

    monkeypatch.setattr(DeltaGenerator, "download_button", watched)
    at = scored()
    save = offered[-1]
    assert len(save()) > 1000
    slide = Slide(slides / "a.tif")
    pixels = np.rot90(slide.patch(Tile(0, 0, 150, 190, 512, 512)).pixels).copy()
    engine = reader.store()
    with transaction(engine) as db:
        plan = records.StudyPlan(
            name="Open", description="", arm="before", seed=1, repeat_share=0.0, washout_days=0.0,
            proficiency=None, show_feedback=False, model_set="", model_sha256="", software="s",
            readers=["Ana"],
            cases=[
                records.NewCase(
                    sha256="f" * 64, name="p.png", width=512, height=512, mpp=0.5,
                    phash=fingerprint(pixels), png=png(pixels),
                )
            ],
        )  # fmt: skip
        made = records.create_study(db, plan, actor="Coordinator")
        records.open_study(db, study_id=made.id, actor="Coordinator")
    with pytest.raises(RecordError, match="may not be saved any more"):
        save()
    at.download_button(key="slide.files.save").click().run()
    assert "holds a patch of a study that is still open" in said(at)
    assert not at.metric
    at.text_input(key="reader").set_value("Bea").run()
    assert "study that is still open" not in said(at)
    assert at.metric
    as_wrong = Slide(slides / "bare.tif", 0.25)  # the same pixels
    assert locks.slide_lock("wrong", as_wrong, as_wrong.overview(), "Ana") == locks.LOCKED_SLIDE
    write_synthetic_slide(tmp_path / "other.tif", Mosaic.made(SIDE, seed=9), 0.5)
    other = Slide(tmp_path / "other.tif")
    assert locks.slide_lock("other", other, other.overview(), "Ana") is None
    with transaction(engine) as db:
        db.execute(delete(Image))
    assert locks.slide_lock("other", other, other.overview(), "Ana") == locks.UNSURE


def test_a_servers_folders_are_nobodys_to_read(
    slides: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FOLDER)
    monkeypatch.setattr(slide_source.st, "session_state", {"slide.path": str(slides / "a.tif")})
    assert [s.name for s in slide_source._known(Desk())] == ["a.tif"]
    monkeypatch.setattr(access, "has_sign_in", lambda: True)
    assert slide_source._known(Desk()) == []
    monkeypatch.setenv(FOLDER, str(slides))
    assert len(slide_source._known(Desk())) == 4
