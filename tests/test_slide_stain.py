"""A slide that is not H&E is told before hours are spent on it."""

import json
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import tifffile
from slide_support import FakeScorer, finished, scoring

from cellularity_core.cli import main
from cellularity_core.errors import SlideError
from cellularity_core.quality.spoiling import grey, immunostained
from cellularity_core.slides import cohort, summary
from cellularity_core.slides.reading import Slide
from cellularity_core.slides.run import planned, score_slide
from cellularity_core.slides.stain import other_stain
from cellularity_core.synthetic_slide import Mosaic, write_synthetic_slide


def restained_slide(path: Path, stain: str) -> Mosaic:
    """Write a slide of 9 tiles without the colours of H&E; what it was made of."""
    change = {"grey": grey, "immunostain": lambda p: immunostained(p, "nuclear", 1.0, 0)}[stain]
    mosaic = Mosaic.made(1100, tissue=1)
    pieces = (mosaic.pieces[0], *map(change, mosaic.pieces[1:]))
    write_synthetic_slide(path, replace(mosaic, pieces=pieces))
    return mosaic


@pytest.mark.parametrize("stain", ["immunostain", "grey"])
def test_another_stain_is_told_before_the_scoring(tmp_path: Path, stain: str, capsys) -> None:
    path = tmp_path / "ihc.tif"
    mosaic = restained_slide(path, stain)
    scorer = FakeScorer(strict=True)
    with pytest.raises(SlideError) as refused:
        score_slide(path, scoring(scorer), tmp_path / "ihc")
    assert str(refused.value) == (
        "ihc.tif is not scored, as 9 of 9 tiles looked at do not have the colours of haematoxylin "
        "and eosin (an immunostain, fluorescence or grey?); give the H&E slide, or --any-stain to "
        "score this one all the same."
    )
    assert scorer.seen == [] and finished(tmp_path / "ihc") == 0
    # in a cohort the others are scored
    slides = [tmp_path / "ihc.tif", tmp_path / "he.tif"]
    write_synthetic_slide(slides[1], mosaic)
    _, errors = cohort.score_slides(map(cohort.Entry, slides), scoring(scorer), tmp_path / "all")
    assert errors == [("ihc.tif", str(refused.value))]
    assert {name.split()[0] for name in scorer.seen} == {"he.tif"}
    if stain == "grey":
        options = ["--models", "gbt", "--device", "cpu", "--out", str(tmp_path / "command")]
        assert main(["slide", str(path), *options]) == 1
        assert str(refused.value) in capsys.readouterr().err


def test_another_stain_is_scored_on_request_and_has_no_mean(tmp_path: Path) -> None:
    restained_slide(tmp_path / "ihc.tif", "immunostain")
    strict = scoring(FakeScorer(strict=True))
    found = score_slide(tmp_path / "ihc.tif", strict, tmp_path / "ihc", any_stain=True)
    assert found["notes"] == [summary.NOT_HE]
    assert found["reliable"] is False
    assert found["tissue"]["mean"] == {"gbt": None, "combined": None}
    assert np.isnan(tifffile.imread(tmp_path / "ihc" / "maps.ome.tif")[0]).all()
    with tifffile.TiffFile(tmp_path / "ihc" / "maps.ome.tif") as file:
        assert f"Reliable: NO. {summary.NOT_HE}" in unescape(str(file.ome_metadata))
    tiles = json.loads((tmp_path / "ihc" / "tiles.geojson").read_text())
    assert tiles["cellularity"]["reliable"] == f"NO. {summary.NOT_HE}"
    assert (tiles["cellularity"]["views"], tiles["cellularity"]["precision"]) == (1, "f32")
    feature = tiles["features"][0]
    assert feature["properties"]["classification"]["name"] == "not fit to score"
    assert "gbt" not in feature["properties"]["measurements"]
    # were all tiles fit after all, the summary would still say what was seen
    lax = score_slide(tmp_path / "ihc.tif", scoring(FakeScorer()), tmp_path / "lax", any_stain=True)
    assert lax["notes"][0].startswith("This slide was scored on request, although 9 of 9 tiles")


def test_the_stain_is_that_of_most_of_the_tissue(tmp_path: Path) -> None:
    mosaic = Mosaic.made(2560, tissue=1)
    brown = tuple(immunostained(piece, "stroma", 1.0, 0) for piece in mosaic.pieces[1:])
    kinds = np.tile(np.arange(1, 5), (5, 2))[:, :5]
    for columns, is_told in ((2, False), (3, True)):
        mixed = kinds.copy()
        mixed[:, :columns] += 4
        path = tmp_path / f"{columns}.tif"
        made = replace(mosaic, pieces=(*mosaic.pieces, *brown), kinds=mixed)
        write_synthetic_slide(path, made)
        slide = Slide(path)
        with planned(slide, scoring(FakeScorer()), tmp_path / str(columns)) as store:
            assert (
                other_stain(store).startswith("14 of 24 tiles") is is_told
            )  # one brown is passed over
            assert is_told or other_stain(store) == ""
