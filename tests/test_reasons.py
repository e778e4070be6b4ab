"""What is said of a gap is what was put there, and nothing is said that was not found."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellularity_core.conventions import METHODS
from cellularity_core.features import FEATURE_NAMES
from cellularity_core.model_store import ModelSet, open_set
from cellularity_core.reasons import Gap, region, where, why_apart
from cellularity_core.results import Nuclei, PatchResult, Quality, Score
from cellularity_core.saliency import PlaceMap

NAMES = {"gbt": "Features", "cascade": "Maps", "direct-r": "Number", "direct-c": "Grade"}
NAMES["combined"] = "Combined"
SIDE = 32
HALF_WIDTH = 0.1
MODELS = open_set()


def score(value: float, half: float = HALF_WIDTH) -> Score:
    return Score(value, max(0.0, value - half), min(1.0, value + half))


def patch_result(values: dict[str, float], xy: np.ndarray | None = None) -> PatchResult:
    """A patch of 512 px whose malignant nuclei lie at `xy`."""
    xy = np.empty((0, 2)) if xy is None else xy
    nuclei = Nuclei(
        xy.astype(np.float32),
        np.full(len(xy), 2, np.int8),
        *(np.ones(len(xy), np.float32) for _ in range(2)),
    )
    return PatchResult(
        image="a.png",
        width=512,
        height=512,
        mpp=0.5,
        sha256="0" * 64,
        scores={m: score(v) for m, v in values.items()},
        nuclei=nuclei,
        features=np.zeros(81),
        contributions=np.zeros(81),
        base_value=0.3,
        quality=Quality(),
        model_set="breast-1",
        model_sha256="1" * 64,
        scale="weak TC",
    )


def places(values: np.ndarray) -> PlaceMap:
    return PlaceMap(values, np.full(values.shape, 1 / values.size), 16.0)


def corner(value: float, rest: float = 0.0) -> np.ndarray:
    """A map with `value` in the upper left quarter."""
    grid = np.full((SIDE, SIDE), rest)
    grid[: SIDE // 2, : SIDE // 2] = value
    return grid


def everywhere() -> np.ndarray:
    """Nuclei so dense that they cover the whole patch."""
    x, y = np.meshgrid(np.arange(4, 512, 16), np.arange(4, 512, 16))
    return np.column_stack([x.ravel(), y.ravel()]).astype(float)


@pytest.fixture
def models() -> ModelSet:
    return MODELS


def test_tumour_that_the_segmentation_left_unmarked_is_named(models: ModelSet) -> None:
    seen = places(corner(0.8))
    found = why_apart(
        patch_result({"gbt": 0.02, "direct-r": 0.2}),
        "gbt",
        "direct-r",
        models,
        {"direct-r": seen},
        NAMES,
    )
    assert found.points == 18
    assert found.summary.startswith("Number gives 20 %, 18 points more than Features (2 %).")
    assert found.reasons[0] == (
        "Number scores more than the marked malignant nuclei cover: in the upper left, 25 % of the "
        "tissue. There it scores 80 %, they cover 0 %; that adds 20 points to it."
    )
    assert "cover 0 % of the tissue; Features gives 2 %" in found.reasons[1]


def test_a_region_is_told_as_its_share_of_the_tissue(models: ModelSet) -> None:
    """The right half is glass, so a quarter of the patch is half of the tissue."""
    weights = np.zeros((SIDE, SIDE))
    weights[:, : SIDE // 2] = 2 / SIDE**2
    seen = replace(places(corner(0.8)), weights=weights)
    given = patch_result({"gbt": 0.02, "direct-r": seen.mean})
    more = why_apart(given, "gbt", "direct-r", models, {"direct-r": seen}, NAMES).reasons[0]
    assert seen.mean == pytest.approx(0.4)
    assert "in the upper left, 50 % of the tissue." in more and "adds 40 points" in more


def test_marked_nuclei_that_the_network_does_not_count_are_named(models: ModelSet) -> None:
    seen = places(corner(0.0, rest=1.0))
    found = why_apart(
        patch_result({"gbt": 0.97, "direct-r": 0.75}, everywhere()),
        "direct-r",
        "gbt",
        models,
        {"direct-r": seen},
        NAMES,
    )
    assert found.reasons[0] == (
        "Number scores less than the marked malignant nuclei cover: in the upper left, 25 % of the "
        "tissue. There it scores 0 %, they cover 100 %; that takes 25 points from "
        "it."
    )


def test_what_speaks_against_the_gap_comes_second_and_is_said_to(models: ModelSet) -> None:
    """Number is the higher although it scores 0 in a corner that nuclei cover."""
    seen = places(corner(0.0, rest=1.0))
    found = why_apart(
        patch_result({"gbt": 0.6, "direct-r": 0.75}, everywhere()),
        "direct-r",
        "gbt",
        models,
        {"direct-r": seen},
        NAMES,
    )
    assert found.reasons[0].startswith("Against the gap: Number scores less than the marked")


def test_a_map_that_does_not_add_up_to_the_score_is_worth_nothing(models: ModelSet) -> None:
    """As after a map to a reader's scale."""
    found = why_apart(
        patch_result({"gbt": 0.02, "direct-r": 0.4}),
        "gbt",
        "direct-r",
        models,
        {"direct-r": places(corner(0.8))},
        NAMES,
    )
    assert "cover 0 %." in found.reasons[0]
    assert "adds" not in found.reasons[0]


def test_reasons_on_a_reader_s_scale_are_of_the_scores_before_it(models: ModelSet) -> None:
    def why(shown: dict[str, float], before: dict[str, float]) -> Gap:
        result = replace(patch_result(shown), uncalibrated=before)
        a, b, *_ = shown
        return why_apart(result, a, b, models, {"direct-r": places(corner(0.8))}, NAMES)

    told = (
        "Before the scores were put on the reader's scale, Number gave 20 %, 18 points more than "
        "Features (2 %). What follows explains that gap, not the one above."
    )
    for shown in ({"gbt": 0.1, "direct-r": 0.6}, {"gbt": 0.4, "direct-r": 0.3}):
        found = why(shown, {"gbt": 0.02, "direct-r": 0.2})
        assert found.points == round(100 * abs(shown["direct-r"] - shown["gbt"]))
        assert found.reasons[0] == told
        assert "that adds 20 points to it" in found.reasons[1]
        assert "Features gives 2 %." in found.reasons[2]
    same = why({"gbt": 0.1, "direct-r": 0.6}, {"gbt": 0.2, "direct-r": 0.202})
    assert same.points == 50
    assert same.reasons == (
        "Before the scores were put on the reader's scale, both gave 20 %, so that scale alone "
        "makes the gap.",
    )
    before = {"combined": 0.3, "gbt": 0.1, "cascade": 0.3, "direct-r": 0.5, "direct-c": 0.3}
    mean = why({m: v / 2 + 0.02 for m, v in before.items()}, before).reasons
    assert (
        mean[1]
        == "Combined is the mean of Features (10 %), Maps (30 %), Number (50 %) and Grade (30 %)."
    )


def test_where_no_place_differs_none_is_named(models: ModelSet) -> None:
    found = why_apart(
        patch_result({"gbt": 0.05, "direct-r": 0.2}),
        "gbt",
        "direct-r",
        models,
        {"direct-r": places(np.full((SIDE, SIDE), 0.2))},
        NAMES,
    )
    assert found.reasons[0].startswith("No part of the patch stands out")


def test_two_networks_that_read_the_picture(models: ModelSet) -> None:
    one = places(corner(0.8, 0.15))
    other = places(corner(0.2, 0.3))
    result = patch_result({"direct-r": one.mean, "direct-c": other.mean})
    found = why_apart(
        result, "direct-r", "direct-c", models, {"direct-r": one, "direct-c": other}, NAMES
    )
    assert found.reasons == (
        "Number scores higher than Grade in the upper left, on 25 % of the tissue: 80 % against "
        "20 % there, worth 15 points.",
        "Against the gap: Grade scores higher than Number in several parts, on 75 % of the "
        "tissue: 30 % against 15 % there, worth 11 points.",
    )


def test_methods_that_share_a_map_differ_in_how_they_read_it(models: ModelSet) -> None:
    shares = np.zeros(81)
    shares[FEATURE_NAMES.index("malignant area@0.50")] = 0.12
    shares[FEATURE_NAMES.index("lymphocyte blb_cnt@0.16")] = -0.03
    values = np.zeros(81)
    values[FEATURE_NAMES.index("malignant area@0.50")] = 0.31 * 65536
    result = replace(
        patch_result({"gbt": 0.4, "cascade": 0.3}), contributions=shares, features=values
    )
    found = why_apart(result, "gbt", "cascade", models, {}, NAMES)
    assert "the same map of nuclei" in found.reasons[0]
    area = "malignant area above 0.5 (31 % of the tissue) raises it by 12 points"
    blobs = "lymphocyte blobs of contrast above 0.16 (0 in 256 × 256 µm of tissue)"
    blobs = f"{blobs} lowers it by 3 points"
    start = "Features starts from 30 %, an average patch; "
    assert found.reasons[1:] == (
        f"{start}of its measurements, {area}.",
        f"Against the gap: {blobs}.",
    )
    # where the trees give less, what raises them is no reason for it
    lower = replace(result, scores=patch_result({"gbt": 0.4, "cascade": 0.5}).scores)
    assert why_apart(lower, "gbt", "cascade", models, {}, NAMES).reasons[1:] == (
        f"{start}of its measurements, {blobs}.",
        f"Against the gap: {area}.",
    )
    only = replace(lower, contributions=np.maximum(shares, 0))
    assert why_apart(only, "gbt", "cascade", models, {}, NAMES).reasons[1:] == (
        f"{start}none of its measurements moves it down by a point, so they do not explain the "
        "gap.",
        f"Against the gap: {area}.",
    )
    own = replace(models, manifest={**models.manifest, "looks_through": {}})
    assert "of its own" in why_apart(result, "gbt", "cascade", own, {}, NAMES).reasons[0]


def test_the_combined_score_names_its_parts(models: ModelSet) -> None:
    parts = {"gbt": 0.2, "cascade": 0.3, "direct-r": 0.4, "direct-c": 0.3}
    result = patch_result(parts | {"combined": 0.3})
    found = why_apart(result, "combined", "gbt", models, {}, NAMES)
    assert found.reasons[0] == (
        "Combined is the mean of Features (20 %), Maps (30 %), Number (40 %) and Grade (30 %)."
    )
    assert "Number and Features" in found.reasons[1]
    # on a reader's own scale the mean of the parts is not the score
    off = replace(result, scores={**result.scores, "combined": score(0.5)})
    assert why_apart(off, "combined", "gbt", models, {}, NAMES).reasons == ()


@pytest.mark.parametrize(
    ("low", "half", "said"),
    [(0.45, 0.1, "no more than the usual"), (0.35, 0.1, "overlap"), (0.2, 0.1, "do not meet")],
)
def test_intervals(models: ModelSet, low: float, half: float, said: str) -> None:
    result = patch_result({})
    result = replace(result, scores={"gbt": score(0.5, half), "cascade": score(low, half)})
    assert said in why_apart(result, "gbt", "cascade", models, {}, NAMES).summary


def test_no_gap_and_no_tissue_are_said(models: ModelSet) -> None:
    same = why_apart(
        patch_result({"gbt": 0.401, "cascade": 0.399}), "cascade", "gbt", models, {}, NAMES
    )
    assert same == Gap(0, "Features and Maps both give 40 %: there is no gap to explain.")
    none = replace(
        patch_result({}), scores={m: Score(None, None, None) for m in ("gbt", "cascade")}
    )
    assert "no tissue" in why_apart(none, "gbt", "cascade", models, {}, NAMES).summary


@settings(max_examples=30)
@given(values=st.lists(st.floats(0, 1), min_size=5, max_size=5), seed=st.integers(0, 99))
def test_the_order_does_not_matter_and_swapping_scores_swaps_the_words(values, seed) -> None:
    models = MODELS
    rng = np.random.default_rng(seed)
    result = patch_result(dict(zip(METHODS, values, strict=True)), rng.uniform(0, 512, (40, 2)))
    found = {m: places(rng.random((SIDE, SIDE))) for m in ("direct-r", "direct-c")}
    for a, b in permutations(METHODS, 2):
        gap = why_apart(result, a, b, models, found, NAMES)
        assert gap == why_apart(result, b, a, models, found, NAMES)
        assert bool(gap.points) == ("more than" in gap.summary)
        if gap.points == 0:
            assert gap.reasons == ()
        else:
            swapped = {**result.scores, a: result.scores[b], b: result.scores[a]}
            turned = why_apart(replace(result, scores=swapped), a, b, models, found, NAMES)
            one, other = f"{NAMES[a]} gives", f"{NAMES[b]} gives"
            assert gap.summary.startswith((one, other))
            assert gap.summary.startswith(one) != turned.summary.startswith(one)


@pytest.mark.parametrize(
    ("rows", "columns", "said"),
    [
        (slice(0, 5), slice(0, 5), "in the upper left"),
        (slice(8, 12), slice(7, 12), "in the lower right"),
        (slice(0, 4), slice(0, 12), "in the upper half"),
        (slice(0, 12), slice(8, 12), "in the right half"),
        (slice(4, 8), slice(4, 8), "in the middle"),
        (slice(0, 12), slice(0, 12), "in several parts"),
    ],
)
def test_places_have_names(rows: slice, columns: slice, said: str) -> None:
    amount = np.zeros((12, 12))
    amount[rows, columns] = 1
    assert where(amount) == said


def test_a_rim_lies_along_the_edges() -> None:
    amount = np.ones((16, 16))
    amount[2:-2, 2:-2] = 0
    assert where(amount) == "along the edges"


def test_a_region_worth_less_than_a_point_is_none() -> None:
    weights = np.full((10, 10), 0.01)
    one = np.zeros((10, 10))
    one[0, 0] = 0.9
    assert region(one, np.zeros((10, 10)), weights, 0.25) is None
    one[0, 1] = 0.3
    found = region(one, np.zeros((10, 10)), weights, 0.25)
    assert found is not None
    assert (found.share, found.worth) == pytest.approx((0.02, 0.012))
