"""Slides scored: resumed, refused where runs would mix, and what is written."""

import csv
import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import shapely
import tifffile
from PIL import Image
from slide_support import METHODS, FakeScorer, finished, made_slide, outputs, scoring

from cellularity_core.cli import main
from cellularity_core.errors import SlideBusy, SlideError
from cellularity_core.patch import Patch
from cellularity_core.scorer import Scorer
from cellularity_core.slides import maps
from cellularity_core.slides.grid import Tile
from cellularity_core.slides.reading import Slide
from cellularity_core.slides.region import covered, read_outlines, region_geojson
from cellularity_core.slides.run import Scoring, score_slide
from cellularity_core.slides.sampling import WIDEN
from cellularity_core.slides.scoring import AHEAD, TileResult, score_tiles
from cellularity_core.slides.store import FILE, Store

SIDE = 1700
AWAY = [[900, 0], [990, 0], [990, 90], [900, 0]]
PARTLY = [[400, 0], [600, 0], [600, 90], [400, 0]]


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic slide of 4 x 4 pieces with tissue in its middle."""
    path = tmp_path_factory.mktemp("slide") / "s.tif"
    made_slide(path, SIDE)
    return path


@pytest.fixture(scope="module")
def whole(slide: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an uninterrupted run."""
    out = tmp_path_factory.mktemp("whole")
    score_slide(slide, scoring(FakeScorer()), out)
    return out


def geojson(path: Path, *polygons: list[list[float]], kind: str = "collection") -> Path:
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
            "properties": {"objectType": "annotation"},
        }
        for ring in polygons
    ]
    content = {"type": "FeatureCollection", "features": features}
    path.write_text(json.dumps(content if kind == "collection" else features))
    return path


def square(x: float, y: float, side: float) -> list[list[float]]:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side]]


def test_a_run_goes_on_where_it_stopped(slide: Path, whole: Path, tmp_path: Path) -> None:
    first, second = FakeScorer(), FakeScorer()

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_slide(slide, scoring(first), tmp_path, progress=stop)
    assert finished(tmp_path) == 5
    told: list[tuple[int, int]] = []
    score_slide(slide, scoring(second), tmp_path, progress=lambda *n: told.append(n))
    total = finished(whole)
    assert told == [(n, total) for n in range(6, total + 1)]
    assert len(second.seen) == total - 5
    assert outputs(tmp_path) == outputs(whole)
    third = FakeScorer()
    score_slide(slide, scoring(third), tmp_path)
    assert third.seen == []
    score_slide(slide, scoring(third), tmp_path, resume=False)
    assert len(third.seen) == total


def test_runs_do_not_mix(slide: Path, whole: Path, tmp_path: Path) -> None:
    same = scoring(FakeScorer())
    other_set = replace(same.model_set, sha256="0" * 64)
    for changed, mpp, words in (
        (replace(same, model_set=other_set), None, "another model set"),
        (replace(same, methods=("gbt",)), None, "another choice of methods"),
        (replace(same, views=2), None, "another number of views"),
        (replace(same, precision="bf16"), None, "another precision of the networks"),
        (same, 0.4, r"another pixel size \(0.5 um, now 0.4 um\)"),
    ):
        with pytest.raises(SlideError, match=words):
            score_slide(slide, changed, whole, mpp=mpp)
    changed_slide = tmp_path / "s.tif"
    changed_slide.write_bytes(slide.read_bytes() + b"x")
    with pytest.raises(SlideError, match=r"results of another slide .* start this one again"):
        score_slide(changed_slide, same, whole)
    moved = tmp_path / "moved.tif"
    shutil.copy(slide, moved)
    assert score_slide(moved, same, whole)["slide"]["name"] == "s.tif"
    with Store(whole, {}), pytest.raises(SlideBusy, match="Another run works in"):
        score_slide(slide, same, whole)


def test_a_damaged_store_is_named(slide: Path, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database" * 100)
    with pytest.raises(SlideError, match=f"damaged .* delete the file {FILE}"):
        score_slide(slide, scoring(FakeScorer()), tmp_path)


def test_a_tile_is_kept_once(tmp_path: Path) -> None:
    tile = Tile(0, 0, 0, 0, 512, 512)
    result = TileResult.from_json(
        tile, {"tissue": 0.1 + 0.2, "scores": {}, "counts": {}, "flags": [], "reliable": True}
    )
    with Store(tmp_path, {}) as store:
        store.plan([tile])
        store.add(result)
        with pytest.raises(ValueError, match="which is scored"):
            store.add(result)
        assert list(store.results()) == [result]


def test_an_engine_that_loses_tiles_is_found_out(slide: Path, tmp_path: Path) -> None:
    complete = scoring(FakeScorer())
    losing = replace(complete, engine=lambda s, tiles: complete.engine(s, tiles[1:]))
    with pytest.raises(SlideError, match=r"1 tiles of s\.tif came back without"):
        score_slide(slide, losing, tmp_path)


def test_tiles_come_in_any_order(slide: Path, whole: Path, tmp_path: Path) -> None:
    one = FakeScorer()
    backwards = replace(
        scoring(one),
        engine=lambda s, tiles: score_tiles(s, reversed(tiles), one),
    )
    score_slide(slide, backwards, tmp_path)
    assert outputs(tmp_path) == outputs(whole)


def test_few_tiles_are_held(slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Slide(slide)
    tiles = opened.grid.covered(np.ones(opened.overview().shape[:2], bool), 0)
    read: list[str] = []
    lock = threading.Lock()
    patch = Slide.patch

    def counted(self: Slide, tile: Tile) -> Patch:
        with lock:
            read.append(str(tile))
        return patch(self, tile)

    monkeypatch.setattr(Slide, "patch", counted)
    for done, _ in enumerate(score_tiles(opened, tiles * 3, FakeScorer()), 1):
        assert len(read) <= done + AHEAD + 1
    assert len(read) == 3 * len(tiles)


def test_every_file_tells_the_scale_and_the_same_numbers(slide: Path, whole: Path) -> None:
    found = json.loads((whole / "summary.json").read_text())
    assert (found["scale"], found["use"]) == ("weak TC", "Research use only.")
    rows = list(csv.DictReader((whole / "tiles.csv").read_text().splitlines()))
    table = pyarrow.parquet.read_table(whole / "tiles.parquet").to_pylist()
    tiles = json.loads((whole / "tiles.geojson").read_text())
    assert {row["slide"] for row in rows} == {tiles["cellularity"]["slide"]} == {"s.tif"}
    assert {row["scale"] for row in rows} == {row["scale"] for row in table} == {"weak TC"}
    assert tiles["cellularity"]["scale"] == "weak TC"
    assert len(rows) == len(table) == finished(whole)
    scored = [row for row in table if row["gbt"] is not None]
    assert len(tiles["features"]) == len(scored)
    for row, feature in zip(scored, tiles["features"], strict=True):
        ring = shapely.geometry.shape(feature["geometry"])
        bounds = (row["x"], row["y"], row["x"] + row["width"], row["y"] + row["height"])
        assert ring.bounds == bounds
        assert feature["properties"]["objectType"] == "tile"
        assert feature["properties"]["measurements"]["combined high"] == row["combined_high"]
    with tifffile.TiffFile(whole / "maps.ome.tif") as file:
        assert file.is_ome
        assert "weak TC" in str(file.ome_metadata)
        assert 'PhysicalSizeX="256.0"' in str(file.ome_metadata)
        names = ["gbt", "combined", "gbt interval width", "combined interval width"]
        names += ["normal nuclei", "lymphocyte nuclei", "malignant nuclei", "tissue", "fit"]
        assert [f'Name="{name}"' in str(file.ome_metadata) for name in names] == [True] * 9
        drawn = dict(zip(names, file.asarray(), strict=True))
    assert drawn["gbt"].shape == (4, 4)
    for row in scored:
        at = row["row"], row["column"]
        assert drawn["gbt"][at] == pytest.approx(row["gbt"], abs=1e-6)
        width = row["gbt_high"] - row["gbt_low"]
        assert drawn["gbt interval width"][at] == pytest.approx(width, abs=2e-6)
        assert drawn["malignant nuclei"][at] == row["malignant"] == 2
    assert np.isfinite(drawn["gbt"]).sum() == len(scored)
    weights = np.array([row["tissue"] * row["width"] * row["height"] for row in scored])
    values = np.array([row["gbt"] for row in scored])
    mean = (weights * values).sum() / weights.sum()
    assert found["tissue"]["mean"]["gbt"] == pytest.approx(mean, abs=1e-5)
    assert found["tissue"]["tissue_mm2"] == pytest.approx(weights.sum() * 0.25e-6, rel=1e-4)


def test_the_picture_shows_scores_where_there_is_tissue(whole: Path) -> None:
    drawn = np.asarray(Image.open(whole / "heat-combined.png"))
    overview = np.asarray(Image.open(whole / "overview.png"))
    here = drawn[: overview.shape[0], : overview.shape[1]]
    corner = np.s_[:100, :100]  # glass
    assert (here[corner] == overview[corner]).all()
    middle = np.s_[180:220, 180:220]
    assert np.abs(here[middle].astype(int) - overview[middle]).mean() > 15


def test_a_pyramid_keeps_means(tmp_path: Path) -> None:
    values = np.full((70, 41), np.nan, np.float32)
    values[:3, :2] = [[1, 2], [3, np.nan], [5, 5]]
    with (tmp_path / "m.ome.tif").open("wb") as file:
        maps.write_ome_tiff(file, {"gbt": values, "tissue": values}, 256.0, "s", "note")
    with tifffile.TiffFile(tmp_path / "m.ome.tif") as file:
        levels = file.series[0].levels
        assert [level.shape for level in levels] == [(2, 70, 41), (2, 35, 21), (2, 18, 11)]
        half = levels[1].asarray()[0]
    assert half[0, 0] == 2
    assert half[1, 0] == 5
    assert np.isnan(half[2:]).all()


def test_a_region_is_averaged_by_area(slide: Path, tmp_path: Path) -> None:
    roi = geojson(tmp_path / "bed.geojson", square(600, 600, 300), square(800, 800, 300))
    found = score_slide(slide, scoring(FakeScorer()), tmp_path / "out", roi=roi)
    rows = pyarrow.parquet.read_table(tmp_path / "out" / "tiles.parquet").to_pylist()
    # the slow way: count pixels
    mask = np.zeros((SIDE, SIDE), bool)
    mask[600:900, 600:900] = mask[800:1100, 800:1100] = True
    total = weight = 0.0
    for row in rows:
        inside = mask[row["y"] : row["y"] + row["height"], row["x"] : row["x"] + row["width"]].sum()
        assert row["region"] == pytest.approx(inside / row["width"] / row["height"], abs=1e-6)
        if row["gbt"] is not None:
            total += inside * row["tissue"] * row["gbt"]
            weight += inside * row["tissue"]
    assert found["region"]["mean"]["gbt"] == pytest.approx(total / weight, abs=1e-5)
    assert found["region"]["tissue_mm2"] == pytest.approx(weight * 0.25e-6, rel=1e-3)
    # every tile is fit, so that only the models' error is left: half of a score and 0.1
    assert found["mean_interval"] == 0.95
    mean, low, high = (found["region"][end]["gbt"] for end in ("mean", "low", "high"))
    assert low == pytest.approx(mean - WIDEN * mean / 2, abs=2e-6)
    assert high == pytest.approx(mean + WIDEN * 0.1, abs=2e-6)
    without = score_slide(slide, scoring(again := FakeScorer()), tmp_path / "out")
    assert without["region"] is None
    assert again.seen == []


def test_regions_as_qupath_writes_them(tmp_path: Path) -> None:
    for kind in ("collection", "list"):
        path = geojson(tmp_path / "r.geojson", square(10, 20, 100), kind=kind)
        assert read_outlines(path, 500, 500).region.area == 10_000
    hole = [[*square(0, 0, 100), [0, 0]], [*square(25, 25, 50), [25, 25]]]
    path.write_text(json.dumps({"type": "MultiPolygon", "coordinates": [hole]}))
    region = read_outlines(path, 500, 500).region
    assert region.area == 7500
    assert list(covered(region, [Tile(0, 0, 0, 0, 100, 100), Tile(0, 1, 30, 30, 20, 20)])) == [
        0.75,
        0.0,
    ]
    path.write_text(region_geojson(region, "Tumour bed", "s.tif"))
    assert read_outlines(path, 500, 500).region.equals(region)
    assert json.loads(path.read_text())["features"][0]["properties"]["metadata"]["slide"] == "s.tif"
    bow_tie = [[0, 0], [100, 100], [100, 0], [0, 100]]
    assert read_outlines(geojson(path, bow_tie), 500, 500).region.area == 5000


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("no json", "is not GeoJSON"),
        ('{"type": "Polygon", "coordinates": 7}', "is not GeoJSON"),
        ("[]", "holds no polygon"),
        ('{"type": "Point", "coordinates": [1, 2]}', "holds no polygon"),
        (json.dumps({"type": "Polygon", "coordinates": [AWAY]}), "lies outside the slide of 500"),
        (json.dumps({"type": "Polygon", "coordinates": [PARTLY]}), "lies by 75% outside the slide"),
    ],
)
def test_a_region_that_cannot_be_used(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "r.geojson").write_text(content)
    with pytest.raises(SlideError, match=words):
        read_outlines(tmp_path / "r.geojson", 500, 500)


def test_a_pixel_size_unlike_the_files_is_told(slide: Path, tmp_path: Path) -> None:
    found = score_slide(slide, scoring(FakeScorer()), tmp_path, mpp=0.25)
    assert found["notes"][0].startswith("The file says 0.5 µm/px and 0.25 was given")
    assert found["reliable"] is False
    tiles = json.loads((tmp_path / "tiles.geojson").read_text())
    assert tiles["cellularity"]["reliable"].startswith("NO. The file says 0.5 µm/px")
    assert found["slide"]["mpp_source"] == "user"


def test_the_command_scores_as_the_scorer_does(tmp_path: Path, capsys) -> None:
    path = tmp_path / "s.tif"
    made_slide(path, 560, tissue=1)
    out = tmp_path / "out"
    options = ["--models", "gbt", "--device", "cpu"]
    assert main(["slide", str(path), "--out", str(out), *options]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "weak TC" in told and "95% interval" in told
    means = json.loads((out / "s" / "summary.json").read_text())["tissue"]
    mean, low, high = (100 * means[end]["gbt"] for end in ("mean", "low", "high"))
    assert f"{mean:.0f}% ({low:.0f} to {high:.0f})" in told
    (row,) = pyarrow.parquet.read_table(out / "s" / "tiles.parquet").to_pylist()
    slide = Slide(path)
    scorer = Scorer.open(device="cpu", methods=("gbt",))
    (direct,) = scorer.score([slide.patch(slide.grid.tile(0, 0))], maps=True)
    assert row["gbt"] == pytest.approx(direct.scores["gbt"].value, abs=1e-6)
    assert row["gbt_low"] == pytest.approx(direct.scores["gbt"].low, abs=1e-6)
    assert row["malignant"] == direct.nuclei.counts()["malignant"]
    assert Scoring.by(scorer).methods == ("gbt",)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["{slide}"], "--out"),
        (["gone.svs", "--out", "{tmp}/o"], "there is no gone.svs"),
        (["{folder}", "--out", "{folder}/o"], "would be scored too"),
        (["{slide}", "--out", "{slide}"], "is a file"),
        (["{slide}", "--out", "{tmp}/o", "--roi", "no.geojson"], "there is no file no.geojson"),
        (["{slide}", "{slide}", "--out", "{tmp}/o", "--roi", "{slide}"], "cannot lie on 2 slides"),
        (["{slide}", "--out", "{tmp}/o", "--mpp", "72"], "--mpp"),
        (["{tmp}", "--out", "{slide}.o"], "there is no slide in"),
    ],
)
def test_wrong_usage_is_two(slide: Path, tmp_path: Path, options, words, capsys) -> None:
    places = {"slide": slide, "folder": slide.parent, "tmp": tmp_path}
    assert main(["slide", *(o.format(**places) for o in options)]) == 2
    assert words in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_the_command_says_that_a_region_lies_outside(slide: Path, tmp_path: Path, capsys) -> None:
    roi = geojson(tmp_path / "bed.geojson", square(5000, 5000, 300))
    options = ["--roi", str(roi), "--models", "gbt", "--device", "cpu"]
    assert main(["slide", str(slide), "--out", str(tmp_path / "out"), *options]) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert told.count("lies outside the slide of 1700 x 1700 pixels; export it from") == 1
    assert "Traceback" not in told


def test_methods_of_the_fake_are_the_sets() -> None:
    assert set(METHODS) <= set(scoring(FakeScorer()).model_set.methods)
