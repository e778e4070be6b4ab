"""A region of a slide: whether to rely on it, which region files are of, and its areas."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slide_support import FakeScorer, made_slide, scoring

from cellularity_core.results import Quality, Score
from cellularity_core.slides import cohort, reading, writing
from cellularity_core.slides.grid import Tile
from cellularity_core.slides.reading import Slide
from cellularity_core.slides.run import Scoring, score_slide
from cellularity_core.slides.scoring import TileResult

BED = 1024
"""Side of the upper left square, in pixels: the bed, four tiles of which three are blurred."""


def square(path: Path, left: int, side: int) -> Path:
    right = left + side
    ring = [[left, left], [right, left], [right, right], [left, right], [left, left]]
    polygon = {"type": "Polygon", "coordinates": [ring]}
    path.write_text(json.dumps({"type": "Feature", "geometry": polygon, "properties": {}}))
    return path


def partly_blurred() -> Scoring:
    def engine(slide: Slide, tiles: Sequence[Tile]) -> Iterator[TileResult]:
        for tile in tiles:
            blurred = 0 < max(tile.x, tile.y) < BED
            quality = Quality(("blurred",) if blurred else (), not blurred)
            score = Score(0.3, 0.2, 0.4)
            counts = dict.fromkeys(("normal", "lymphocyte", "malignant"), 1)
            yield TileResult(tile, 1.0, dict.fromkeys(("gbt", "combined"), score), counts, quality)

    return replace(scoring(FakeScorer()), engine=engine)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slide") / "s.tif"
    made_slide(path, side=3072, tissue=1.0)
    return path


def test_a_bed_that_is_mostly_unfit_is_not_relied_on(slide: Path, tmp_path: Path) -> None:
    """Though the slide as a whole is."""
    by = partly_blurred()
    whole = score_slide(slide, by, tmp_path / "whole")
    assert (whole["reliable"], whole["notes"]) == (True, [])
    bed = score_slide(slide, by, tmp_path / "bed", roi=square(tmp_path / "b.geojson", 0, BED))
    assert bed["reliable"] is False
    [note] = [note for note in bed["notes"] if "not fit to score" in note]
    assert note.startswith("In the region: 75% of the tissue is not fit to score")


def test_a_bed_beyond_the_readers_scale_is_told(slide: Path, tmp_path: Path) -> None:
    """Its scores are guesses; they count, but not without a word."""

    def engine(slide: Slide, tiles: Sequence[Tile]) -> Iterator[TileResult]:
        for tile in tiles:
            flags = ("beyond-reader",) if max(tile.x, tile.y) < BED else ()
            counts = dict.fromkeys(("normal", "lymphocyte", "malignant"), 1)
            scores = dict.fromkeys(("gbt", "combined"), Score(0.9, 0.8, 1.0))
            yield TileResult(tile, 1.0, scores, counts, Quality(flags, True))

    by = replace(scoring(FakeScorer()), engine=engine)
    bed = score_slide(slide, by, tmp_path / "bed", roi=square(tmp_path / "b.geojson", 0, 2048))
    assert bed["reliable"] is True
    tissue, region = (note for note in bed["notes"] if "this reader's scale" in note)
    assert tissue.startswith("Tissue: 11% of the tissue")
    assert region.startswith("Region: 25% of the tissue")


def test_files_of_two_regions_never_pass_for_those_of_one(
    slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by, out = partly_blurred(), tmp_path / "out"
    first = square(tmp_path / "a.geojson", 0, 2048)
    second = square(tmp_path / "b.geojson", 2048, 512)
    made = score_slide(slide, by, out, roi=first)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(writing.maps, "write_ome_tiff", killed)
        with pytest.raises(KeyboardInterrupt):
            score_slide(slide, by, out, roi=second)
    assert not (out / "summary.json").exists()  # or the burden would take the first region's
    again = score_slide(slide, by, out, roi=first)
    assert again["region"] == made["region"]
    with (out / "tiles.csv").open() as file:
        inside = sum(float(row["region"]) for row in csv.DictReader(file))
    assert inside == pytest.approx(16)  # tiles of 512 pixels, as before


def test_a_summary_of_before_does_not_outlive_its_tiles(slide: Path, tmp_path: Path) -> None:
    by, out = scoring(FakeScorer()), tmp_path / "out"
    score_slide(slide, by, out)
    other = tmp_path / "other.tif"
    made_slide(other, side=1600)

    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_slide(other, by, out, resume=False, progress=stop)
    assert not (out / "summary.json").exists()


def test_the_report_tells_tissue_from_what_is_fit_to_score(slide: Path, tmp_path: Path) -> None:
    entry = cohort.Entry(slide, None, square(tmp_path / "b.geojson", 0, BED))
    [made], _ = cohort.score_slides([entry], partly_blurred(), tmp_path / "out")
    with (tmp_path / "out" / "slides.csv").open() as file:
        [row] = csv.DictReader(file)
    for area in ("tissue", "region"):
        assert float(row[f"{area}_mm2"]) == pytest.approx(made[area]["tissue_mm2"])
        assert float(row[f"{area}_fit_mm2"]) == pytest.approx(made[area]["fit_mm2"])
    assert float(row["region_fit_mm2"]) < 0.5 * float(row["region_mm2"])


def test_a_slide_is_counted_from_where_it_was_scanned(
    slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As QuPath counts MRXS and others that lie on a larger empty plane."""
    real, left, top, wide, tall = reading._open, 1024, 512, 1536, 2048

    class Plane:
        """The same file, which says where on it was scanned."""

        def __init__(self, path: Path, name: str) -> None:
            self.file = real(path, name)
            bounds = {"x": left, "y": top, "width": wide, "height": tall}
            told = {f"openslide.bounds-{key}": str(value) for key, value in bounds.items()}
            self.properties = dict(self.file.properties) | told

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    whole = Slide(slide)
    monkeypatch.setattr(reading, "_open", Plane)
    scanned = Slide(slide)
    assert (scanned.width, scanned.height) == (wide, tall)
    tile = scanned.grid.tile(1, 0)
    there = whole.grid.tile(1 + top // 512, left // 512)
    assert (there.x, there.y) == (left + tile.x, top + tile.y)
    np.testing.assert_array_equal(scanned.patch(tile).pixels, whole.patch(there).pixels)
    bed = square(tmp_path / "b.geojson", 0, 512)
    made = score_slide(slide, partly_blurred(), tmp_path / "out", roi=bed)
    assert made["region"]["tiles"] == 1
