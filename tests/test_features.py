"""The 81 features against their definition written out slowly, and their symmetries."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage
from skimage.feature import blob_log

from cellularity_core.blobs import find_blobs
from cellularity_core.features import FEATURE_NAMES, features


def slow_features(maps: np.ndarray) -> dict[str, float]:
    """METHODS 4, word for word."""
    _, height, width = maps.shape
    scale = 65536 / (height * width)
    row = {}
    for name, p in zip(("normal", "lymphocyte", "malignant"), maps, strict=False):
        row[f"{name} value@total"] = p.sum(dtype=float) * scale
        for t in (0.02, 0.04, 0.08, 0.16, 0.24, 0.32, 0.50):
            row[f"{name} area@{t:.2f}"] = (p > t).sum() * scale
            row[f"{name} value@{t:.2f}"] = p[p > t].sum(dtype=float) * scale
        for t in (0.02, 0.04, 0.08, 0.16, 0.24, 0.50):
            # overlap above 1: no pruning, not even by rounding
            found = blob_log(p, min_sigma=1, max_sigma=4, num_sigma=4, threshold=t, overlap=1.001)
            at = found[:, :2].astype(int)
            row[f"{name} blb_cnt@{t:.2f}"] = len(found) * scale
            row[f"{name} blb_sum@{t:.2f}"] = p[at[:, 0], at[:, 1]].sum(dtype=float) * scale
    return row


def smooth_maps(seed: int, height: int, width: int, channels: int = 3) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(channels, height, width))
    smooth = np.stack([ndimage.gaussian_filter(n, 2.5) for n in noise])
    return (1 / (1 + np.exp(-12 * smooth))).astype(np.float32)


maps_strategy = st.builds(
    smooth_maps, st.integers(0, 2**32 - 1), st.integers(16, 80), st.integers(16, 80)
)


def test_names_are_81_in_the_documented_order() -> None:
    assert len(FEATURE_NAMES) == len(set(FEATURE_NAMES)) == 81
    assert tuple(slow_features(smooth_maps(0, 32, 32))) == FEATURE_NAMES


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("size", [(256, 256), (128, 100), (300, 41)])
def test_equals_the_slow_definition(size: tuple[int, int], kind: type) -> None:
    maps = smooth_maps(3, *size).astype(kind)
    expected = np.array(list(slow_features(maps).values()))
    row = features(maps)
    assert row.dtype == np.float64
    assert_allclose(row, expected, rtol=1e-9)
    assert (expected > 0).sum() > 70  # every threshold is reached somewhere


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_equality_at_a_threshold_is_not_above_it(kind: type) -> None:
    thresholds = (0.02, 0.04, 0.08, 0.16, 0.24, 0.32, 0.50)
    for below, threshold in pairwise(thresholds):
        maps = np.full((3, 64, 64), threshold, kind)
        row = dict(zip(FEATURE_NAMES, features(maps), strict=True))
        assert row[f"normal area@{threshold:.2f}"] == 0
        assert row[f"normal area@{below:.2f}"] == 65536
        assert row[f"normal value@{below:.2f}"] == pytest.approx(65536 * threshold)


def test_every_precision_of_the_maps_counts_as_it_is() -> None:
    """A hair above a threshold is above it in double; half precision reads as its values."""
    maps = np.full((3, 64, 64), 0.5 + 1e-12)
    row = dict(zip(FEATURE_NAMES, features(maps), strict=True))
    assert row["normal area@0.50"] == 65536
    half = smooth_maps(4, 64, 64).astype(np.float16)
    blobs = [find_blobs(m) for m in half.astype(np.float32)]
    assert_array_equal(features(half, blobs), features(half.astype(np.float32), blobs))


def test_maps_of_one_pixel_are_maps() -> None:
    row = dict(zip(FEATURE_NAMES, features(np.full((3, 1, 1), 0.25)), strict=True))
    assert row["malignant value@total"] == 65536 / 4


def test_a_fourth_channel_is_not_read() -> None:
    maps = smooth_maps(5, 64, 64, channels=4)
    assert_array_equal(features(maps), features(maps[:3]))


def test_blobs_already_found_are_used() -> None:
    maps = smooth_maps(6, 64, 64)
    assert_array_equal(features(maps, [find_blobs(m) for m in maps]), features(maps))


@given(maps=maps_strategy, turns=st.integers(0, 3), mirrored=st.booleans())
@settings(max_examples=30, deadline=None)
def test_turning_and_mirroring_change_nothing(maps, turns, mirrored) -> None:
    moved = np.rot90(maps, turns, axes=(1, 2))
    moved = moved[:, :, ::-1] if mirrored else moved
    assert_allclose(features(moved), features(maps), rtol=1e-9, atol=1e-9)


@given(maps=maps_strategy)
@settings(max_examples=30, deadline=None)
def test_higher_thresholds_hold_less(maps) -> None:
    row = dict(zip(FEATURE_NAMES, features(maps), strict=True))
    for cell in ("normal", "lymphocyte", "malignant"):
        for kind in ("area", "value", "blb_cnt", "blb_sum"):
            series = [v for name, v in row.items() if name.startswith(f"{cell} {kind}@0")]
            assert len(series) == (7 if kind in ("area", "value") else 6)
            assert all(a >= b for a, b in pairwise(series))
        assert row[f"{cell} value@total"] >= row[f"{cell} value@0.02"]


@given(maps=maps_strategy)
@settings(max_examples=20, deadline=None)
def test_twice_the_tissue_reads_the_same(maps) -> None:
    """A patch beside its mirror image is a larger patch of the same tissue.

    Reflection at the border makes the two scale spaces meet, so even blobs are
    doubled; those on the seam itself merge or stay, hence only pixels are exact.
    """
    double = np.concatenate([maps, maps[:, :, ::-1]], axis=2)
    once, twice = features(maps), features(double)
    pixels = ["blb" not in name for name in FEATURE_NAMES]
    assert_allclose(twice[pixels], once[pixels], rtol=1e-9)


def test_swapping_classes_swaps_their_features() -> None:
    maps = smooth_maps(8, 64, 64)
    assert_array_equal(
        features(maps[[2, 1, 0]]).reshape(3, 27)[[2, 1, 0]], features(maps).reshape(3, 27)
    )


def test_empty_activation_is_all_zero() -> None:
    assert_array_equal(features(np.zeros((4, 64, 64), np.float32)), np.zeros(81))


def test_wrong_input_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 8, 8\).*at least 3 maps"):
        features(np.zeros((2, 8, 8)))
    with pytest.raises(ValueError, match=r"shape \(3, 0, 8\).*at least 3 maps"):
        features(np.zeros((3, 0, 8)))
    with pytest.raises(ValueError, match="NaN"):
        features(np.full((3, 8, 8), np.nan))
    with pytest.raises(ValueError, match="shorter"):
        features(np.zeros((3, 8, 8)), [find_blobs(np.zeros((8, 8)))] * 2)
