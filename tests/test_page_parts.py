"""What pages draw and say, apart from any page."""

import base64
import io
import json
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cellularity_core.blobs import BLOB_THRESHOLDS, find_blobs
from cellularity_core.boosting import explain
from cellularity_core.conventions import CLASSES, METHODS
from cellularity_core.features import FEATURE_NAMES, features
from cellularity_core.patch import Patch, Rejected
from cellularity_core.results import Nuclei, PatchResult, Quality, Score
from pages.parts import layers, words
from pages.parts import viewer as viewer_module
from pages.parts.compare_table import HERE, chosen_row
from pages.parts.figures import gain_bars, waterfall
from pages.parts.state import Case
from pages.parts.viewer import MOST_PANES, Pane, drawing

UNIT = st.floats(0, 1, allow_nan=False)


def discs(height: int, width: int, centres: list[tuple[int, int, int]]) -> np.ndarray:
    """Maps (4, H, W) with a soft disc at each (class, x, y)."""
    y, x = np.mgrid[:height, :width]
    maps = np.zeros((4, height, width), np.float32)
    for k, cx, cy in centres:
        spot = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 3.0**2))
        maps[k] = np.maximum(maps[k], spot)
    maps[3] = 1 - maps[:3].max(axis=0)
    return maps


def result(maps: np.ndarray, feature_maps: np.ndarray, size: tuple[int, int]) -> PatchResult:
    return PatchResult(
        image="a.png",
        width=size[0],
        height=size[1],
        mpp=0.5,
        sha256="0" * 64,
        scores={m: Score(0.4, 0.3, 0.5) for m in METHODS},
        nuclei=Nuclei(
            np.array([[10.0, 20.0]], np.float32),
            np.array([2], np.int8),
            *[np.ones(1, np.float32)] * 2,
        ),
        features=features(feature_maps),
        contributions=np.zeros(81),
        base_value=0.4,
        quality=Quality(),
        model_set="any",
        model_sha256="1" * 64,
        scale="weak TC",
        activations={"gbt": maps.astype(np.float16), "cascade": (maps**2).astype(np.float16)},
        feature_maps={"gbt": feature_maps, "cascade": feature_maps**2},
    )


def test_blobs_are_put_back_on_the_patch() -> None:
    """Maps at half the patch's resolution; the spots are not square to the axes."""
    centres = [(0, 12, 30), (1, 50, 9), (2, 33, 40)]
    maps = discs(60, 80, centres)
    made = layers.layers_of(result(maps, maps, (160, 120))).blobs["gbt"]
    strong = made.response > 0.3
    assert sorted(made.label[strong]) == [0, 1, 2]
    for k, x, y in centres:
        at = strong & (made.label == k)
        assert made.x[at] == pytest.approx([2 * x + 0.5])
        assert made.y[at] == pytest.approx([2 * y + 0.5])
        assert made.radius[at] == pytest.approx([3 * np.sqrt(2) * 2])
        assert made.value[at] == pytest.approx([1.0])


@pytest.mark.parametrize("threshold", BLOB_THRESHOLDS)
def test_the_browser_can_filter_blobs_by_their_contrast(threshold: float) -> None:
    maps = discs(64, 64, [(k % 3, 7 * k + 5, 60 - 6 * k) for k in range(8)])
    made = layers.layers_of(result(maps, maps, (128, 128))).blobs["gbt"]
    for k in range(len(CLASSES)):
        wanted = find_blobs(maps[k], threshold)
        assert int(((made.response > threshold) & (made.label == k)).sum()) == len(wanted)


def test_maps_keep_their_values_to_half_a_level() -> None:
    maps = discs(60, 80, [(2, 33, 40)])
    made = layers.layers_of(result(maps, maps, (80, 60))).maps["gbt"].levels()
    assert made.shape == (4, 60, 80)
    assert np.abs(made / 255.0 - maps).max() <= 0.5 / 255 + 5e-4


def test_a_map_that_methods_share_is_sent_once() -> None:
    maps = discs(60, 80, [(2, 33, 40)])
    one = result(maps, maps, (80, 60))
    shared = replace(one, activations=dict.fromkeys(("gbt", "cascade"), one.activations["gbt"]))
    assert list(layers.layers_of(one).maps) == ["gbt", "cascade"]
    assert list(layers.layers_of(shared).maps) == ["gbt"]


def test_a_large_map_is_reduced_before_it_is_sent() -> None:
    maps = np.zeros((4, 3000, 1500), np.float32)
    maps[2, :, 750:] = 1
    made = (
        layers.layers_of(result(maps, maps[:, ::8, ::8].copy(), (1500, 3000))).maps["gbt"].levels()
    )
    assert made.shape == (4, layers.MAP_SIDE, layers.MAP_SIDE // 2)
    assert made[2].mean() == pytest.approx(127.5, abs=1)


@pytest.mark.parametrize(("side", "kind"), [(512, "png"), (3000, "jpeg")])
def test_a_picture_is_sent_as_it_is_unless_it_is_large(side: int, kind: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
    pixels = pixels.repeat(8, 0).repeat(8, 1)
    head, data = layers.picture_url(pixels).split(",", 1)
    assert head == f"data:image/{kind};base64"
    shown = np.array(Image.open(io.BytesIO(base64.b64decode(data))))
    if kind == "png":
        assert (shown == pixels).all()
    else:
        assert max(shown.shape) == layers.PICTURE_SIDE


def test_the_viewer_without_a_result_holds_the_patch_only() -> None:
    maps = discs(60, 80, [(2, 33, 40)])
    full = result(maps, maps, (80, 60))
    pixels = np.full((60, 80, 3), 200, np.uint8)
    alone = drawing(pixels, 0.5, [Pane("")]).sent.decode()
    pane = Pane("Found", layers.layers_of(full), full.nuclei)
    whole = drawing(pixels, 0.5, [pane]).sent.decode()
    for word in ("malignant", "ctivation", "blob", "nuclei", "probability"):
        assert word not in alone
        assert word in whole


def test_what_is_sent_to_the_viewer_can_be_read_back() -> None:
    """Two methods beside the bare patch: each pane has its own map, and a map is sent once."""
    maps = discs(60, 80, [(2, 33, 40)])
    full = result(maps, maps, (80, 60))
    found = layers.layers_of(full)
    panes = [
        Pane("Patch"),
        Pane("Features", found, full.nuclei, "gbt"),
        Pane("Maps", found, method="cascade"),
        Pane("Either", found),
    ]
    data = json.loads(drawing(np.zeros((60, 80, 3), np.uint8), 0.5, panes).sent)
    assert [len(pane["sources"]) for pane in data["panes"]] == [0, 1, 1, 2]
    sent = [
        np.frombuffer(zlib.decompress(base64.b64decode(one["bytes"])), np.uint8).reshape(
            one["shape"]
        )
        for one in data["maps"]
    ]
    assert len(sent) == 2
    for pane, method in ((1, "gbt"), (2, "cascade")):
        [source] = data["panes"][pane]["sources"]
        assert (sent[source["map"]] == found.maps[method].levels()).all()
        assert source["blobs"]["x"] == pytest.approx(found.blobs[method].x, abs=0.006)
        assert source["blobs"]["label"] == found.blobs[method].label.tolist()
    assert data["panes"][1]["nuclei"] == {"x": [10], "y": [20], "label": [2], "probability": [1]}
    assert "nuclei" not in data["panes"][2]


def test_a_method_without_a_map_of_its_own_shows_the_one_it_shares() -> None:
    maps = discs(60, 80, [(2, 33, 40)])
    one = result(maps, maps, (80, 60))
    shared = replace(one, activations=dict.fromkeys(("gbt", "cascade"), one.activations["gbt"]))
    pane = Pane("Maps", layers.layers_of(shared), method="cascade")
    data = json.loads(drawing(np.zeros((60, 80, 3), np.uint8), 0.5, [pane]).sent)
    assert [source["map"] for source in data["panes"][0]["sources"]] == [0]


def test_an_overlay_is_sent_with_its_opacity() -> None:
    picture = np.zeros((30, 40, 4), np.uint8)
    picture[5:9, 7:30] = (250, 10, 90, 200)
    pixels = np.zeros((60, 80, 3), np.uint8)
    shown = [Pane("Direct", overlay=picture, overlay_name="Why")]
    made = json.loads(drawing(pixels, 0.5, shown).sent)
    assert made["words"]["overlay"] == "Why"
    _, data = made["panes"][0]["overlay"].split(",", 1)
    assert (np.array(Image.open(io.BytesIO(base64.b64decode(data)))) == picture).all()
    with pytest.raises(ValueError, match=r"RGBA, uint8 of shape \(h, w, 4\).*float64"):
        drawing(pixels, 0.5, [Pane("Direct", overlay=np.zeros((30, 40)))])


@pytest.mark.parametrize("count", [0, MOST_PANES + 1])
def test_the_viewer_has_one_to_four_panes(count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} panes were given; the viewer shows 1 to 4"):
        drawing(np.zeros((60, 80, 3), np.uint8), 0.5, [Pane("")] * count)


def test_the_same_is_told_from_another_by_its_token() -> None:
    """By it the browser keeps zoom and switches, or draws anew."""
    maps = discs(60, 80, [(2, 33, 40)])
    full = result(maps, maps, (80, 60))
    pixels = np.zeros((60, 80, 3), np.uint8)
    found = Pane("Found", layers.layers_of(full), full.nuclei)
    made = [drawing(pixels, 0.5, panes) for panes in ([found], [found], [Pane("")])]
    tokens = [json.loads(each.sent)["token"] for each in made]
    assert tokens[0] == tokens[1] != tokens[2]


def test_a_drawing_goes_to_the_browser_as_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run of the page sends it again: 1 MB that need not be written anew each time."""
    calls: list[object] = []
    monkeypatch.setattr(viewer_module, "_COMPONENT", lambda *, key, data: calls.append(data))
    made = drawing(np.zeros((60, 80, 3), np.uint8), 0.5, [Pane("")])
    viewer_module.viewer(made, key="any")
    assert calls == [made.sent]
    assert isinstance(calls[0], bytes)


def test_the_waterfall_climbs_from_the_base_to_the_score() -> None:
    rng = np.random.default_rng(3)
    shares = rng.normal(0, 0.03, 81)
    reasons = explain(rng.uniform(0, 900, 81), shares)
    base, score = 0.3, 0.3 + float(shares.sum())
    [bars] = waterfall(base, reasons, score).data
    assert bars.x[0] == base
    assert sum(bars.x[:-1]) == pytest.approx(score)
    assert bars.x[-1] == pytest.approx(score)
    assert bars.measure == ("absolute", *["relative"] * len(reasons), "total")
    assert bars.text[1] == f"{reasons[0].contribution:+.2f}"


def test_the_waterfall_names_what_moved_the_score() -> None:
    shares = np.zeros(81)
    at = FEATURE_NAMES.index("malignant area@0.50")
    shares[at] = 0.12
    chart = waterfall(0.3, explain(np.full(81, 20000.0), shares, top=1), 0.42)
    assert chart.layout.yaxis.ticktext[1] == "malignant area above 0.5"
    assert chart.data[0].text[1] == "+0.12"


def test_gain_is_drawn_largest_first_on_a_log_scale() -> None:
    gain = {name: float(k) for k, name in enumerate(FEATURE_NAMES)}
    chart = gain_bars(gain, top=5)
    assert list(chart.data[0].y) == list(FEATURE_NAMES[::-1][:5])
    assert chart.layout.xaxis.type == "log"
    assert len(gain_bars({"a": 0.0, "b": 1.0}).data[0].y) == 1


def scores(*values: float | None) -> dict[str, Score]:
    return {m: Score(v, v, v) for m, v in zip(METHODS, values, strict=False)}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ((0.4, 0.4, 0.4, 0.4), "The four methods give the same score."),
        ((0.40, 0.45, 0.42, 0.38), "The four methods agree within 7 points: 38 % (Image to grade)"),
        ((0.2, 0.4, 0.3, 0.3), "The four methods are 20 points apart: 20 % (Nuclei features)"),
        ((0.1, 0.9), "The two methods disagree by 80 points"),
        ((0.40, 0.41), "agree within 1 point:"),
        ((0.4,), ""),
        ((None, None, None, None), ""),
    ],
)
def test_the_spread_in_words(values: tuple[float | None, ...], sentence: str) -> None:
    said = words.spread(scores(*values))
    assert said.startswith(sentence) if said and sentence[:3] == "The" else sentence in said
    assert bool(said) == bool(sentence)


@given(values=st.lists(UNIT, min_size=2, max_size=4))
def test_the_spread_names_the_scores_as_the_cards_do(values: list[float]) -> None:
    said = words.spread(scores(*values))
    if "same score" not in said:
        assert words.percent(min(values)) in said
        assert words.percent(max(values)) in said


@pytest.mark.parametrize(
    ("own", "sentence"),
    [
        (0.35, "Your 35 % is below all of them, by 5 points or more."),
        (0.9, "Your 90 % is above all of them, by 10 points or more."),
        (0.4, "Your 40 % is among them."),
        (0.8, "Your 80 % is among them."),
    ],
)
def test_the_own_score_beside_the_others(own: float, sentence: str) -> None:
    assert words.beside_own(own, scores(0.4, 0.8, None, 0.5)) == sentence
    assert words.beside_own(own, scores(None, None)) == ""


def patch(sha256: str, name: str) -> Patch:
    return Patch(name, np.zeros((64, 64, 3), np.uint8), 0.5, "default", sha256)


@given(steps=st.lists(st.integers(-3, 3), max_size=12), count=st.integers(0, 5))
def test_stepping_stays_within_the_patches(steps: list[int], count: int) -> None:
    case = Case()
    for k in range(count):
        case.add(patch(str(k), f"{k}.png"))
    at = 0
    for by in steps:
        case.step(by)
        at = min(max(at + by, 0), max(count - 1, 0))
    assert case.current == (str(at) if count else None)


def test_another_pixel_size_voids_the_result_but_not_the_place() -> None:
    case = Case()
    for k in range(3):
        case.add(patch(str(k), f"{k}.png"))
    maps = discs(60, 80, [])
    case.results["1"] = result(maps, maps, (80, 60))
    case.replace(replace(case.patches["1"], mpp=0.25, mpp_source="user"))
    assert list(case.patches) == ["0", "1", "2"]
    assert "1" not in case.results
    case.add(patch("2", "again.png"))
    assert case.problems == [
        Rejected("again.png", "again.png shows the same pixels as 2.png, which is here already.")
    ]


def test_a_table_says_first_what_not_to_rely_on() -> None:
    assert words.flags_in_words(["not-he", "pen"], False) == "do not rely on it: not he, pen"
    assert words.flags_in_words(["learnt-from"], True) == "learnt from"
    assert words.flags_in_words([], True) == ""


def test_the_mark_of_the_patch_on_screen_is_no_choice() -> None:
    assert chosen_row({"cells": [(3, HERE)]}) is None
    assert chosen_row({"cells": [(3, "Patch")]}) == 3
    assert chosen_row({"cells": []}) is None
