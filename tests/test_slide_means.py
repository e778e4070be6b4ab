"""Means of slides, of beds and of cases, their intervals, and where they are highest."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from slide_support import FakeScorer, made_slide, scoring

from cellularity_core.slides import summary
from cellularity_core.slides.grid import Tile
from cellularity_core.slides.run import score_slide
from cellularity_core.slides.sampling import WIDEN, sampling_error
from cellularity_core.slides.scoring import TileResult


def test_a_blank_slide_is_told(tmp_path: Path) -> None:
    made_slide(tmp_path / "s.tif", 1100, tissue=0)
    found = score_slide(tmp_path / "s.tif", scoring(FakeScorer()), tmp_path / "out")
    assert found["notes"] == [summary.NO_TISSUE]
    assert found["tissue"]["tiles"] == 0


def test_a_slide_mostly_unfit_says_why() -> None:
    tile = Tile(0, 0, 0, 0, 100, 100)
    content = {"tissue": 1.0, "scores": {"gbt": [0.5, 0.4, 0.6]}, "counts": {}}
    area = summary.Area()
    for flags, reliable in ((["fold", "blurred"], False), (["fold"], True), (["blurred"], False)):
        entry = content | {"flags": flags, "reliable": reliable}
        area.add(TileResult.from_json(tile, entry), 0.5)
    assert "67% of the tissue is not fit to score, mostly for the flag blurred" in str(
        summary.verdict(area)
    )
    assert area.record(("gbt",))["mean"] == {"gbt": 0.5}


def tile_result(x: int, value: float, half: float, **changes: object) -> TileResult:
    scores = {"gbt": [value, value - half, value + half]}
    content = {"tissue": 1.0, "scores": scores, "counts": {}, "flags": [], "reliable": True}
    return TileResult.from_json(Tile(0, x // 100, x, 0, 100, 100), content | changes)


def test_an_interval_of_a_mean_is_that_of_tiles_that_err_alike() -> None:
    small = tile_result(0, 0.2, 0.1, tissue=0.5)
    large = tile_result(100, 0.5, 0.2)
    area, _ = summary.add_up([small, large], 0.5)
    assert area.mean("gbt") == pytest.approx((0.5 * 0.2 + 0.5) / 1.5)
    # an error of each tile that is the same share of its own half width
    for share in (-1, 1):
        wide = share * WIDEN
        shifted = (0.5 * (0.2 + wide * 0.1) + 0.5 + wide * 0.2) / 1.5
        assert area.interval("gbt")[share > 0] == pytest.approx(shifted)
    record = area.record(("gbt", "cascade"))
    ends = record["low"]["gbt"], record["high"]["gbt"]
    assert ends == pytest.approx(area.interval("gbt"), abs=1e-6)
    assert record["low"]["cascade"] is record["mean"]["cascade"] is None
    assert summary.Area().interval("gbt") is summary.Area().mean("gbt") is None


def test_a_tile_with_two_flags_for_its_stain_counts_once() -> None:
    both = tile_result(0, 0.5, 0.1, flags=["greyscale", "not-he"], reliable=False)
    rest = [tile_result(100 * k, 0.5, 0.1) for k in (1, 2, 3)]
    area, _ = summary.add_up([both, *rest], 0.5)
    assert area.record(("gbt",))["flagged"] == {"greyscale": 0.25, "not-he": 0.25}
    assert not summary.is_other_stain(area)
    assert summary.verdict(area) is None
    half, _ = summary.add_up([both, rest[0]], 0.5)
    assert summary.verdict(half) == summary.NOT_HE
    assert summary.is_other_stain(summary.joined([half, half]))
    assert not summary.is_other_stain(summary.joined([half, area]))


def test_slides_of_a_case_count_by_their_area() -> None:
    first, _ = summary.add_up([tile_result(0, 0.25, 0.125)], 0.5)
    second, _ = summary.add_up([tile_result(0, 0.75, 0.125)] * 3, 0.5)
    both, _ = summary.add_up([tile_result(0, 0.25, 0.125), *[tile_result(0, 0.75, 0.125)] * 3], 0.5)
    case = summary.joined([first, second])
    assert case == replace(both, slides=[*first.slides, *second.slides])
    assert case.interval("gbt") == pytest.approx((0.625 - WIDEN * 0.125, 0.625 + WIDEN * 0.125))
    assert both.mean("gbt") == pytest.approx(0.625)
    assert first.mean("gbt") == pytest.approx(0.25)


def test_a_slide_with_unfit_tiles_counts_by_all_its_tissue() -> None:
    whole, _ = summary.add_up([tile_result(0, 0.25, 0.125)], 0.5)
    values = (0.7, 0.75, 0.8)
    tiles = [tile_result(100 * k, value, 0.125) for k, value in enumerate(values, 1)]
    unfit = tile_result(0, 0.1, 0.125, reliable=False)
    part, _ = summary.add_up([unfit, *tiles], 0.5)
    case = summary.joined([whole, part])
    assert case.mean("gbt") == pytest.approx((0.25 + 4 * 0.75) / 5)
    sampled = sampling_error([[np.nan, *values]], np.ones((1, 4))).half_width * 4 / 5
    for shared, of_tile in ((1, 1), (0, ((1 / 5) ** 2 + (4 / 5) ** 2 / 4) ** 0.5)):
        half = np.hypot(sampled, WIDEN * 0.125 * of_tile)
        assert case.interval("gbt", shared) == pytest.approx((0.65 - half, min(1, 0.65 + half)))
    nothing, _ = summary.add_up([unfit], 0.5)
    case = summary.joined([whole, nothing])
    assert case.mean("gbt") == pytest.approx(0.25)
    assert case.interval("gbt") is None


def test_the_record_tells_what_a_mean_may_be_off_by() -> None:
    values = (0.2, 0.4, 0.6)
    tiles = [tile_result(100 * k, value, 0.1) for k, value in enumerate(values)]
    tiles.append(tile_result(300, 0.4, 0.1, reliable=False))
    area, _ = summary.add_up(tiles, 0.5)
    found = area.record(("gbt", "cascade"), {"gbt": 0.0})
    sampled = sampling_error([[*values, np.nan]], np.ones((1, 4))).half_width
    model = WIDEN * 0.1 / 2  # of four tiles that err each by itself
    assert found["sampling_half_width"]["gbt"] == pytest.approx(sampled, abs=1e-6)
    for side, end, sign in (("below", "low", -1), ("above", "high", 1)):
        assert found[f"model_half_width_{side}"]["gbt"] == pytest.approx(model, abs=1e-6)
        limit = np.clip(0.4 + sign * np.hypot(sampled, model), 0, 1)
        assert found[end]["gbt"] == pytest.approx(limit, abs=1e-6)
    names = ("sampling_half_width", "model_half_width_below", "model_half_width_above")
    assert {found[name]["cascade"] for name in names} == {None}


def test_hot_spots_are_fit_and_within_the_region() -> None:
    tiles = [tile_result(100 * k, value, 0.1) for k, value in enumerate((0.1, 0.9, 0.5, 0.7))]
    tiles.append(tile_result(400, 1.0, 0.1, reliable=False))
    assert [t.tile.column for t in summary.hottest(tiles, "gbt", 3)] == [1, 3, 2]
    bed = shapely.box(0, 0, 251, 100)
    assert [t.tile.column for t in summary.hottest(tiles, "gbt", 3, bed)] == [1, 2, 0]
    assert summary.hottest(tiles, "cascade", 3) == []
