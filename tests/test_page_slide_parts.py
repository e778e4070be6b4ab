"""What the page Slide is made of: what a browser gets and sends, files, sessions in turns."""

import base64
import csv
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import shapely
import tifffile
from PIL import Image
from slide_support import FakeScorer, made_slide, scoring

from cellularity_core.conventions import DEFAULT_SET
from cellularity_core.model_store import open_set
from cellularity_core.slides.maps import maps_of
from cellularity_core.slides.reading import Slide
from cellularity_core.slides.region import read_outlines, region_geojson
from cellularity_core.slides.run import planned, score_slide
from cellularity_core.slides.summary import MeanError
from pages.parts import slide_bed, slide_run, slide_view
from pages.parts.slide_files import csv as csv_of
from pages.parts.slide_files import geojson, ome_tiff, picture
from pages.parts.slide_source import Desk, Source

SIDE = 1100
BED = [[300, 300], [800, 300], [800, 800], [300, 800], [300, 300]]


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a slide of 3 x 3 tiles."""
    folder = tmp_path_factory.mktemp("slides")
    made_slide(folder / "a.tif", SIDE, tissue=1)
    return folder


def run_of(slide: Path, folder: Path) -> slide_run.Run:
    """A finished run of a slide, without a page."""
    by = scoring(FakeScorer())
    score_slide(slide, by, folder)
    opened = Slide(slide)
    with planned(opened, by, folder) as store:
        done, total = store.count()
    return slide_run.Run(Source(slide, slide.name, "k"), opened, by, folder, done, total, "c")


@pytest.fixture(scope="module")
def run(slides: Path, tmp_path_factory: pytest.TempPathFactory) -> slide_run.Run:
    return run_of(slides / "a.tif", tmp_path_factory.mktemp("run") / "out")


def test_what_an_interval_is_made_of_is_told() -> None:
    for sampled, words in ((0.021, "2"), (0.0004, "less than 1")):
        told = slide_bed._split(MeanError(sampled, below=0.118, above=0.152))
        assert told == (
            "Models' error: 12 points below the mean, 15 above; tiles not fit to score: "
            f"{words} either way."
        )


def test_the_browser_gets_what_it_asks_for(run: slide_run.Run) -> None:
    with run.store() as store:
        drawn = maps_of(store.results(), run.slide.grid.shape, run.scoring.methods)
    sent = slide_view.layers(drawn, run.scoring.methods)
    assert [one.name for one in sent][:2] == ["gbt", "combined"]
    keys = ["overview", "map gbt", "map malignant nuclei", "1/1/2", "2/0/0"]
    reply = slide_view.answer(run, sent, {"serial": 7, "keys": keys})
    assert reply["serial"] == 7 and reply["fault"] is None
    for layer in (sent[0], sent[-1]):
        piece = reply["found"][f"map {layer.name}"]
        levels = np.frombuffer(zlib.decompress(base64.b64decode(piece["bytes"])), "<u2")
        values = np.where(levels == slide_view.NOTHING, np.nan, levels * layer.step)
        factor = 100 if layer.unit == "%" else 1
        np.testing.assert_allclose(
            values.reshape(piece["shape"]), factor * drawn[layer.name], atol=0.002
        )
    for key, shape in (("1/1/2", (76, 512)), ("2/0/0", (512, 512))):
        url = reply["found"][key]
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))))
        assert picture.shape == (*shape, 3)
    fine = run.slide.picture(512, 1024, 512, 1)
    got = np.asarray(
        Image.open(io.BytesIO(base64.b64decode(reply["found"]["1/1/2"].split(",")[1])))
    )
    assert np.abs(got.astype(int) - fine).mean() < 6
    (sent_mask,) = slide_view.answer(run, sent, {"keys": ["tissue"]})["found"].values()
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(sent_mask.split(",")[1]))))[..., 1]
    assert 0.4 < (mask > 0).mean() <= 1
    nonsense = ["1/9/9", "3/0/0", "map secret", "../x", "1/1", 5, None]
    assert set(slide_view.answer(run, sent, {"keys": nonsense})["found"].values()) == {None}
    assert slide_view.answer(run, sent, "x")["found"] == {}
    assert slide_view.answer(run, [], {"keys": ["map gbt"]})["found"] == {"map gbt": None}


def test_an_outline_from_a_browser_is_checked(run: slide_run.Run) -> None:
    inside = slide_view.points([[-5, 20], [99_999, 30]], run.slide)
    assert inside == [(0.0, 20.0), (SIDE - 1.0, 30.0)]
    for wrong in ("x", [], [[1]], [[1, "a"]], [[float("nan"), 1]], [[1, 2, 3]]):
        with pytest.raises(ValueError, match=r"points|could not convert"):
            slide_view.points(wrong, run.slide)
    desk = Desk()
    slide_bed.add_outline(desk, run, [(0, 0), (100, 0), (100, 100)])
    slide_bed.add_outline(desk, run, [(500, 500), (600, 500), (600, 600), (500, 600)])
    assert desk.beds["k"].area == 15_000
    slide_bed.add_outline(desk, run, [(0, 0), (1, 1)])
    assert "your outline" in desk.problems[0]
    assert desk.beds["k"].area == 15_000


def test_what_was_imported_as_the_bed_is_kept(run: slide_run.Run) -> None:
    desk = Desk()
    outline = region_geojson(shapely.Polygon(BED), "Tumour bed", "b.tif").encode()
    slide_bed.import_outlines(desk, run, outline, "bed.geojson")
    [told] = desk.imported["k"]
    assert (told.file, told.count, told.kind) == ("bed.geojson", 1, "Tumour bed")
    slide_bed.import_outlines(desk, run, b"{}", "none.geojson")
    assert "none.geojson" in desk.problems[0]
    assert len(desk.imported["k"]) == 1


def test_files_name_the_slide_and_carry_the_bed(run: slide_run.Run, tmp_path: Path) -> None:
    bed = shapely.Polygon(BED)
    rows = list(csv.DictReader(csv_of(run, bed).decode().splitlines()))
    assert {row["slide"] for row in rows} == {"a.tif"}
    assert len(rows) == 9
    inside = sum(float(r["region"]) * int(r["width"]) * int(r["height"]) for r in rows)
    assert inside == pytest.approx(bed.area, rel=1e-3)
    tiles = json.loads(geojson(run, None))
    assert tiles["cellularity"]["slide"] == "a.tif"
    assert "region" not in tiles["features"][0]["properties"]["measurements"]
    assert tiles["cellularity"]["reliable"] == "yes"
    with tifffile.TiffFile(io.BytesIO(ome_tiff(run, None))) as file:
        assert file.is_ome and "a.tif" in str(file.ome_metadata)
        assert "Research use only. Reliable: yes" in str(file.ome_metadata)
    outside = shapely.box(9 * SIDE, 0, 9 * SIDE + 9, 9)
    assert json.loads(geojson(run, outside))["cellularity"]["reliable"] == (
        "NO. The region has no tissue."
    )
    again = tmp_path / "bed.geojson"
    again.write_text(region_geojson(bed, "Tumour bed", "a.tif"))
    assert read_outlines(again, SIDE, SIDE).region.equals(bed)


def test_a_heat_map_has_no_name_that_another_user_gave(
    run: slide_run.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same slide under two names is one run, whose folder has the first name."""
    first = (run.folder / "heat-combined.png").read_bytes()
    assert picture(run, None, "combined") == first
    monkeypatch.setattr(run.slide, "name", "study-017.tif")
    assert picture(run, None, "combined") != first


def test_sessions_take_turns(slides: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []

    @contextmanager
    def turn() -> Iterator[None]:
        held.append(0)
        yield
        held.append(len(fake.seen))

    fake = FakeScorer()
    fake.model_set, fake.methods, fake.views = open_set(DEFAULT_SET), ("gbt",), 1
    models = SimpleNamespace(scorer=fake, turn=turn)
    slide = Slide(slides / "a.tif")
    tiles = [slide.grid.tile(0, 0)] * 20
    assert len(list(slide_run._in_turns(models).engine(slide, tiles))) == 20
    assert held == [0, 8, 0, 16, 0, 20]
