"""Targets, tissue and weak TC against slow definitions and the published spread."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellularity_core import datasets, masks
from cellularity_core.conventions import BACKGROUND, LYMPHOCYTE, MALIGNANT, NORMAL
from cellularity_core.training.images import load_images


def slow_discs(xy: np.ndarray, shape: tuple[int, int], diameter: float) -> np.ndarray:
    mask = np.zeros(shape, bool)
    for row in range(shape[0]):
        for column in range(shape[1]):
            mask[row, column] = any(math.hypot(column - x, row - y) <= diameter / 2 for x, y in xy)
    return mask


@given(
    points=st.lists(st.tuples(st.floats(-9, 40), st.floats(-9, 33)), max_size=6),
    diameter=st.floats(0.5, 15),
)
def test_discs_are_the_pixels_within_half_a_diameter(points, diameter):
    xy = np.array(points, float).reshape(-1, 2)
    found = masks.draw_discs(xy, (25, 31), diameter)
    np.testing.assert_array_equal(found, slow_discs(xy, (25, 31), diameter))


def test_target_channels_and_background():
    xy = np.array([[10.0, 10.0], [30.0, 10.0], [10.0, 30.0], [12.0, 30.0]])
    label = np.array([NORMAL, LYMPHOCYTE, MALIGNANT, NORMAL])
    target = masks.segmentation_target(xy, label, (40, 40), 15)
    assert target[NORMAL, 10, 10] == 1
    assert target[LYMPHOCYTE, 10, 30] == 1
    # Discs of two classes may overlap; background is where there is none.
    assert target[MALIGNANT, 30, 11] == target[NORMAL, 30, 11] == 1
    np.testing.assert_array_equal(target[BACKGROUND] == 1, target[:3].sum(axis=0) == 0)


def test_weak_cellularity_of_one_nucleus_in_full_tissue():
    pixels = np.full((101, 101, 3), 120, np.uint8)
    value = masks.weak_cellularity(pixels, np.array([[50.0, 50.0]]), np.array([MALIGNANT]))
    assert value == pytest.approx(math.pi * 20**2 / 101**2, rel=0.01)
    half = masks.weak_cellularity(pixels, np.array([[50.0, 50.0]]), np.array([MALIGNANT]), mpp=1.0)
    assert half == pytest.approx(math.pi * 10**2 / 101**2, rel=0.02)
    assert masks.weak_cellularity(pixels, np.array([[50.0, 50.0]]), np.array([NORMAL])) == 0


def test_weak_cellularity_counts_tissue_only():
    pixels = np.full((100, 200, 3), 255, np.uint8)
    pixels[:, :100] = 120
    xy = np.stack(np.meshgrid(np.arange(0, 200, 5), np.arange(0, 100, 5)), -1).reshape(-1, 2)
    label = np.full(len(xy), MALIGNANT)
    assert masks.weak_cellularity(pixels, xy.astype(float), label) == 1
    assert math.isnan(masks.weak_cellularity(np.full_like(pixels, 255), xy * 1.0, label))


def test_tissue_is_closed_by_nine_pixels_at_20x():
    pixels = np.full((60, 60, 3), 120, np.uint8)
    pixels[20:28, 20:28] = 255
    assert masks.tissue_mask(pixels)[24, 24]
    pixels[20:32, 20:32] = 255
    assert not masks.tissue_mask(pixels)[26, 26]


def test_the_90_patches_fill_the_bins_as_published(data_root: Path):
    items = load_images(datasets.brca_m2c(data_root / "brca_m2c"))
    values = [masks.weak_cellularity(i.pixels, i.points.xy, i.points.label) for i in items]
    np.testing.assert_array_equal(
        np.histogram(values, [0, 0.25, 0.5, 0.75, 1])[0], [32, 26, 20, 12]
    )
    assert max(values) == pytest.approx(0.93, abs=0.005)
