"""How far a bed's mean may be off: by hand, against the slow definition, and by simulation."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import ndtri, stdtrit

from cellularity_core.cli import main
from cellularity_core.errors import SlideError
from cellularity_core.slides import bed_coverage, sampling
from cellularity_core.slides.burden import bed_cellularity
from cellularity_core.slides.grid import Tile
from cellularity_core.slides.sampling import (
    LEVEL,
    WIDEN,
    Sampling,
    limits,
    model_half_width,
    sampling_error,
)
from cellularity_core.slides.scoring import TileResult
from cellularity_core.slides.summary import HALVES, Area, MeanError

NAN = float("nan")


def area_of(*tiles: tuple[float | None, float], column: int = 0) -> Area:
    """Tiles in a row: score, or None where unfit, and share of tissue; interval -0.1 +0.2."""
    area = Area()
    for k, (score, tissue) in enumerate(tiles, column):
        value = 0.0 if score is None else score
        area.add(
            TileResult.from_json(
                Tile(0, k, 100 * k, 0, 100, 100),
                {
                    "tissue": tissue,
                    "scores": {"gbt": [value, value - 0.1, value + 0.2]},
                    "counts": {},
                    "flags": [] if score is not None else ["blurred"],
                    "reliable": score is not None,
                },
            ),
            0.5,
        )
    return area


def test_a_bed_that_is_scored_whole_has_no_sampling_error():
    assert sampling_error([[0.1, 0.9], [NAN, 0.4]], [[1, 2], [0, 3]]) == Sampling(0.0, math.inf)
    assert sampling_error([[0.3]], [[1]]) == Sampling(0.0)


def test_few_tiles_are_the_textbook_case():
    scores = np.array([[0.1, NAN, 0.4], [NAN, 0.5, NAN], [0.2, NAN, 0.7]])
    found = sampling_error(scores, np.ones((3, 3)))
    variance = (1 - 5 / 9) * np.var([0.1, 0.4, 0.5, 0.2, 0.7], ddof=1) / 5
    assert found is not None
    assert_allclose(found.sd, math.sqrt(variance))
    assert_allclose(found.df, 4)
    assert_allclose(found.half_width, 2.776445 * found.sd, rtol=1e-6)


def test_tiles_weigh_by_their_tissue():
    scores, weights = [[0.1, NAN, 0.5, 0.2, NAN]], [[1, 2, 3, 0.5, 1.5]]
    contrast = np.array([1, 0, 3, 0.5, 0]) / 4.5 - np.array(weights[0]) / 8
    found = sampling_error(scores, weights)
    assert found is not None
    assert_allclose(found.sd**2, np.var([0.1, 0.5, 0.2], ddof=1) * (contrast**2).sum())


@pytest.mark.parametrize(
    "scores",
    [
        [[NAN, NAN, NAN]],
        [[0.3, NAN]],  # one of two
        [[0.3, 0.4, NAN, NAN, NAN]],  # nothing is known of such distances
        [[]],
    ],
)
def test_no_false_precision(scores):
    assert sampling_error(scores, np.ones_like(scores)) is None


def test_few_clumps_are_told_by_their_own_spread():
    scores = np.full((12, 12), NAN)
    scores[1:4, 1:4], scores[8:11, 2:4], scores[4:7, 9:11] = 0.2, 0.5, 0.8
    scores += 0.01 * np.random.default_rng(1).standard_normal(scores.shape)
    weights = np.where(np.arange(12) < 6, 1.0, 2.0) * np.ones((12, 1))
    clumps = ([scores[1:4, 1:4], 9], [scores[8:11, 2:4], 6], [scores[4:7, 9:11], 12])
    shares = np.array([weight / 27 for _, weight in clumps])
    means = np.array([np.mean(tiles) for tiles, _ in clumps])
    apart = shares * (means - shares @ means)
    found = sampling_error(scores, weights)
    assert found is not None
    assert_allclose(found.sd, math.sqrt((apart**2).sum() * 3 / 2))
    assert found.df == 2
    one = np.where(np.arange(12) < 5, scores, NAN)
    one[8:11, 2:4] = NAN
    assert sampling_error(one, weights) is None


@pytest.mark.parametrize("length", [1.0, 4.0])
def test_few_clumps_hold_the_mean_as_often_as_they_say(length):
    rng = np.random.default_rng(4)
    bed, draw = bed_coverage.ellipse(24), bed_coverage.gaussian_fields(24, length, rng)
    four = bed_coverage._blocks(4, 3)
    held = []
    for _ in range(200):
        truth = 0.5 + bed_coverage.FIELD_SD * next(draw)
        found = bed_coverage.bed_interval(truth, bed, four(bed, rng), 0.0, rng)
        if found is not None:
            held.append(found[0] <= truth[bed].mean() <= found[1])
    assert len(held) > 150
    assert 0.92 <= np.mean(held) <= 0.99  # 0.85 by a fitted variogram alone


def test_equal_tiles_do_not_prove_the_rest_equal():
    scores = np.full((4, 10), 0.25)
    scores[::2, ::2] = NAN
    found = sampling_error(scores, np.ones((4, 10)))
    assert found is not None
    assert_allclose(found.half_width, 10 / 40 * 3 / 30)


def slow_sd(scores: np.ndarray, weights: np.ndarray) -> float:
    """The definition, pair by pair; the correlated fit is taken to be the better."""
    bed = np.argwhere(weights > 0)
    scored = np.isfinite(scores[tuple(bed.T)])
    values, areas = scores[tuple(bed.T)], weights[tuple(bed.T)]
    apart = np.hypot(*(bed[:, None] - bed[None]).transpose(2, 0, 1))
    one, other = np.triu_indices(scored.sum(), 1)
    distance = apart[np.ix_(scored, scored)][one, other]
    halved = (values[scored][one] - values[scored][other]) ** 2 / 2
    bins = np.round(distance).astype(int) * (distance <= distance.max() / 2)
    kept = [b for b in range(1, bins.max() + 1) if (bins == b).sum() >= sampling.FEWEST_PAIRS]
    best = (math.inf, None)
    for length in sampling.LENGTHS:
        for nugget in sampling.NUGGETS:
            for decline in (lambda d, s: np.exp(-d / s), lambda d, s: np.exp(-(d**2) / 2 / s**2)):

                def rise(d, decline=decline, length=length, nugget=nugget):
                    return np.where(d == 0, 0, 1 - (1 - nugget) * decline(d, length))

                n, seen, unit = np.transpose(
                    [
                        (np.sum(at), halved[at].mean(), rise(distance[at]).mean())
                        for at in (bins == b for b in kept)
                    ]
                )
                sill = (n * seen * unit).sum() / (n * unit**2).sum()
                misfit = (n * (seen - sill * unit) ** 2).sum()
                if misfit < best[0]:
                    best = misfit, sill * (1 - rise(apart))
    contrast = np.where(scored, areas, 0) / areas[scored].sum() - areas / areas.sum()
    return math.sqrt(contrast @ best[1] @ contrast)


def test_correlated_tiles_against_the_slow_definition():
    rng = np.random.default_rng(3)
    truth = 0.5 + 0.1 * next(bed_coverage.gaussian_fields(16, 2.5, rng))
    weights = rng.uniform(0.2, 1, (16, 16)) * bed_coverage.ellipse(16)
    scores = np.where(rng.random((16, 16)) < 0.5, truth, NAN)
    scores[4:9, 4:9] = NAN
    found = sampling_error(scores, weights)
    assert found is not None
    assert_allclose(found.sd, slow_sd(scores, weights), rtol=1e-6)
    seen = np.isfinite(scores) & (weights > 0)
    assert found.df < 0.5 * seen.sum()
    moved = sampling_error(
        np.pad(1 - scores.T / 2, 3, constant_values=NAN), np.pad(7 * weights.T, 3)
    )
    assert moved is not None
    assert_allclose((moved.sd, moved.df), (found.sd / 2, found.df), rtol=1e-6)


def test_errors_of_models_add_up_or_cancel():
    widths, shares = np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.25, 0.25])
    once, squares = (shares * widths).sum(), ((shares * widths) ** 2).sum()
    assert_allclose(WIDEN, 1.959964 / 1.644854, rtol=1e-6)
    assert_allclose(model_half_width(once, squares), WIDEN * 0.175)
    assert_allclose(model_half_width(once, squares, 0), WIDEN * math.sqrt(squares))
    between = WIDEN**2 * (0.4 * 0.175**2 + 0.6 * squares)
    assert_allclose(model_half_width(once, squares, 0.4) ** 2, between)


def test_limits_stay_within_the_scale():
    assert_allclose(limits(0.5, (0.03, 0.04), (0.06, 0.08)), (0.45, 0.6))
    assert_allclose(limits(0.02, (0.3,), (0.4,)), (0, 0.42))
    assert_allclose(limits(0.9, (0.1,), (0.4,)), (0.8, 1))


def test_the_mean_of_an_area_has_limits():
    area = area_of((0.4, 1), (0.6, 0.5))
    mean = (0.4 + 0.3) / 1.5
    assert_allclose(area.interval("gbt"), (mean - WIDEN * 0.1, mean + WIDEN * 0.2))
    alone = math.sqrt((2 / 3) ** 2 + (1 / 3) ** 2)
    assert_allclose(
        area.interval("gbt", 0), (mean - WIDEN * 0.1 * alone, mean + WIDEN * 0.2 * alone)
    )
    record = area.record(("gbt",), {"gbt": 0.0})
    assert_allclose((record["low"]["gbt"], record["high"]["gbt"]), area.interval("gbt", 0), 1e-5)
    assert area.interval("cascade") is None
    assert area_of((0.4, 1)).interval("gbt") == pytest.approx(
        (0.4 - WIDEN * 0.1, 0.4 + WIDEN * 0.2)
    )


def test_tiles_that_are_not_fit_make_it_wider():
    area = area_of((0.4, 1), (0.5, 1), (None, 1), (0.6, 1))
    sd = math.sqrt(0.25 * 0.01 / 3)
    half = float(stdtrit(2, (1 + LEVEL) / 2)) * sd
    low, high = area.interval("gbt")
    assert_allclose(low, 0.5 - math.hypot(half, WIDEN * 0.1))
    assert_allclose(high, 0.5 + math.hypot(half, WIDEN * 0.2))
    # what is each tile's own cancels over the tiles of the whole bed
    low, _ = area.interval("gbt", 0)
    assert_allclose(low, 0.5 - math.hypot(half, WIDEN * 0.1 / math.sqrt(4)))


def test_an_area_says_where_it_cannot_tell():
    record = area_of((0.4, 1), (None, 1)).record(("gbt",))
    assert record["mean"] == {"gbt": 0.4}
    assert record["low"] == record["high"] == {"gbt": None}
    assert area_of((None, 1)).record(("gbt",))["low"] == {"gbt": None}


FEW = 25
"""Fields simulated here."""


@pytest.fixture(scope="module")
def found() -> list[bed_coverage.BedCoverage]:
    return list(bed_coverage.simulate(FEW, seed=1))


def test_intervals_hold_the_mean_as_often_as_they_say(found):
    assert len(found) == len(bed_coverage.DESIGNS) * 9
    whole = [c for c in found if c.design == "all tiles"]
    assert {c.covered for c in whole if c.model_sd == 0} == {1.0}
    sampled = [c for c in found if c not in whole]
    assert all(c.unknown == 0 and c.covered >= 0.76 for c in found)
    for one in (
        [c for c in sampled if c.model_sd == 0 and not c.design.startswith("every")],
        [c for c in found if c.model_sd > 0],
    ):
        assert 0.92 <= np.mean([c.covered for c in one]) <= 0.98
    shared = math.sqrt(bed_coverage.SHARED) * bed_coverage.MODEL_SDS[1] * float(ndtri(0.975))
    for c in whole:
        if c.model_sd:
            share = c.model_sd / bed_coverage.MODEL_SDS[1]
            assert c.half_width == pytest.approx(share * shared, rel=0.01)
    # half a field's tiles, and most of them: the mean that is wanted is that of this bed
    widths = {c.design: c.half_width for c in sampled if c.model_sd == 0 and c.length == 4}
    assert widths["all but 6 blocks of 5 x 5"] < 0.015
    assert widths["every 2nd of rows and columns"] < 0.005


def test_small_beds_hold_the_mean_too():
    found = list(bed_coverage.simulate(FEW, seed=2, small=True))
    assert {c.tiles for c in found} == {112, 332} and {c.model_sd for c in found} == {0.0}
    assert len(found) == 2 * 3 * len(bed_coverage.SMALL_DESIGNS)
    assert 0.93 <= np.mean([c.covered for c in found]) <= 0.99


def test_the_coverage_command(tmp_path, capsys, monkeypatch, found):
    asked = []
    monkeypatch.setattr(
        bed_coverage, "simulate", lambda *given, small: asked.append((*given, small)) or found
    )
    target = tmp_path / "c.json"
    options = ["--fields", f"{FEW}", "--seed", "1"]
    assert main(["bed-coverage", *options, "--json", str(target)]) == 0
    assert asked == [(FEW, 1, False)]
    entries = json.loads(target.read_text())["coverage"]
    assert {e["length"] for e in entries} == set(bed_coverage.LENGTHS)
    assert {e["model_sd"] for e in entries} == set(bed_coverage.MODEL_SDS)
    one = next(e for e in entries if 0 < e["covered"] < 1)
    assert_allclose(one["standard_error"] ** 2 * FEW, one["covered"] * (1 - one["covered"]))
    assert main(["bed-coverage", *options]) == 0
    told = capsys.readouterr().out
    assert "15 blocks of 4 x 4" in told
    assert f"{one['covered']:.1%} ({one['half_width']:.3f})" in told
    assert "8.5 points of it" in told


def summary(path: Path, slide: str = "s1", **other: object) -> Path:
    region = {
        "tissue_mm2": 30.0,
        "mean": {"combined": 0.4, "gbt": None, "direct-r": 0.4},
        "low": {"combined": 0.25, "gbt": None, "direct-r": None},
        "high": {"combined": 0.5, "gbt": None, "direct-r": None},
    }
    made = {"scale": "reader: A.B.", "reliable": True, "notes": [], "region": region}
    made |= {"model_sha256": "m1", "slide": {"sha256": slide}} | other
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(made))
    return path


GIVEN = ["--d1", "20", "--d2", "15", "--cis", "0", "--nodes", "0", "--met", "0"]


def test_the_burden_takes_the_mean_of_a_slide(tmp_path, capsys):
    path = summary(tmp_path / "s.json")
    assert main(["rcb", *GIVEN, "--slide", str(path), "--json", "-"]) == 0
    slide = json.loads(capsys.readouterr().out)
    typed = ["--ca", "40", "--ca-low", "25", "--ca-high", "50"]
    assert main(["rcb", *GIVEN, *typed, "--json", "-"]) == 0
    assert slide.pop("note").startswith("RCB-0 is not among these")
    told = json.loads(capsys.readouterr().out)
    assert told.pop("note") is None
    [source] = slide.pop("sources")
    assert told.pop("sources") == []
    assert slide == told
    assert (source["scale"], source["slide_sha256"], source["method"]) == (
        "reader: A.B.",
        "s1",
        "combined",
    )
    assert slide["interval"][0] < slide["rcb"] < slide["interval"][1]
    assert main(["rcb", *GIVEN, "--slide", str(path), "--ca", "40"]) == 2


@pytest.mark.parametrize(
    ("other", "method", "words"),
    [
        ({"scale": "weak TC"}, None, "no pathologist's, so they cannot enter .* recalibrate"),
        ({"reliable": False, "notes": ["This slide is not H&E."]}, None, "is not H&E"),
        ({"region": None}, None, "no region, .* --roi"),
        ({}, "cascade", "no scores by 'cascade', but by combined, gbt"),
        ({}, "direct-r", "Too few tiles are fit to score in the region .* --ca"),
        ({}, "gbt", "No tissue is fit to score in the region"),
        ({"region": {"mean": {}}}, None, "is no summary of a slide"),
    ],
)
def test_the_burden_refuses_what_is_no_bed_on_a_readers_scale(tmp_path, other, method, words):
    with pytest.raises(SlideError, match=words):
        bed_cellularity([summary(tmp_path / "s.json", **other)], method)


def test_slides_of_a_case_are_averaged_by_area(tmp_path, capsys):
    ends = ((0.1, 0.05, 0.2), (0.4, 0.25, 0.5))
    made = []
    for slide, mm2, each in zip("ab", (10.0, 30.0), ends, strict=True):
        region = {"tissue_mm2": mm2}
        region |= {k: {"combined": v} for k, v in zip(("mean", "low", "high"), each, strict=True)}
        made.append(summary(tmp_path / slide / "summary.json", slide, region=region))
    bed = bed_cellularity(made)
    assert_allclose((bed.mean, *bed.limits), (32.5, 20, 42.5))
    both = [word for path in made for word in ("--slide", str(path))]
    assert main(["rcb", *GIVEN, *both, "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert_allclose(found["f_inv"], 0.325)
    assert sum(found["probabilities"].values()) == pytest.approx(1)
    assert [source["slide_sha256"] for source in found["sources"]] == ["a", "b"]
    with pytest.raises(SlideError, match=r"b/summary\.json is of a slide that is given already"):
        bed_cellularity([*made, made[1]])
    other = summary(tmp_path / "c" / "summary.json", "c", model_sha256="m2")
    with pytest.raises(
        SlideError, match=r"a/summary\.json and c/summary\.json are not by the same"
    ):
        bed_cellularity([*made, other])


def test_the_sampling_of_one_slide_has_nothing_to_do_with_that_of_another(tmp_path):
    made = []
    for slide, mm2, mean, halves in (
        ("a", 10.0, 0.2, (0.04, 0.1, 0.2)),
        ("b", 30.0, 0.4, (0.08,) * 3),
    ):
        error = MeanError(*halves)
        ends = (mean, *error.around(mean))
        region = {"tissue_mm2": mm2}
        region |= {k: {"combined": v} for k, v in zip(("mean", "low", "high"), ends, strict=True)}
        region |= {k: {"combined": v} for k, v in zip(HALVES, halves, strict=True)}
        made.append(summary(tmp_path / slide / "summary.json", slide, region=region))
    for path, mean, error in zip(made, (20, 40), ((0.04, 0.1, 0.2), (0.08,) * 3), strict=True):
        low, high = MeanError(*error).around(mean / 100)
        bed = bed_cellularity([path])
        assert_allclose((bed.mean, *bed.limits), (mean, 100 * low, 100 * high))
    bed = bed_cellularity(made)
    mean, (low, high) = bed.mean, bed.limits
    sampled = math.hypot(0.25 * 4, 0.75 * 8)
    assert_allclose(mean, 35)
    assert_allclose(low, 35 - math.hypot(sampled, 0.25 * 10 + 0.75 * 8))
    assert_allclose(high, 35 + math.hypot(sampled, 0.25 * 20 + 0.75 * 8))
    region[HALVES[0]] = {"combined": -0.1}
    with pytest.raises(SlideError, match=r"no summary of a slide .*half widths"):
        bed_cellularity([summary(tmp_path / "c" / "summary.json", "c", region=region)])


def test_the_burden_refuses_another_file(tmp_path):
    (tmp_path / "s.json").write_text("[]")
    with pytest.raises(SlideError, match="no summary"):
        bed_cellularity([tmp_path / "s.json"])
    with pytest.raises(SlideError, match="cannot be read"):
        bed_cellularity([tmp_path / "gone.json"])
