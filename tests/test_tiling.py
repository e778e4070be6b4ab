"""Tiles cover, overlap and blend without a seam."""

import itertools

import numpy as np
import pytest

from cellularity_core import tiling


@pytest.mark.parametrize(
    ("height", "width"), [(64, 64), (512, 512), (640, 640), (641, 300), (1000, 1700), (4096, 4096)]
)
def test_tiles_cover_with_overlap(height, width):
    tiles = tiling.plan(height, width)
    covered = np.zeros((height, width), int)
    for t in tiles:
        assert t.top >= 0 and t.left >= 0
        assert t.top + t.height <= height and t.left + t.width <= width
        covered[t.top : t.top + t.height, t.left : t.left + t.width] += 1
    assert covered.min() >= 1
    assert (len(tiles) == 1) == (max(height, width) <= tiling.WHOLE)
    lefts = sorted({t.left for t in tiles})
    for a, b in itertools.pairwise(lefts):
        assert a + tiling.FIELD - b >= tiling.OVERLAP


@pytest.mark.parametrize("side", [64, 100, 127, 128, 490, 512])
def test_cut_pads_by_reflection_to_what_networks_take(side):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (side, side, 3)).astype(np.uint8)
    piece = tiling.cut(pixels, tiling.Tile(0, 0, side, side))
    assert piece.shape[0] % 32 == 0 and piece.shape[0] >= 128
    np.testing.assert_array_equal(piece[:side, :side], pixels)
    if piece.shape[0] > side:
        np.testing.assert_array_equal(piece[side], piece[side - 1])


@pytest.mark.parametrize("side", [64, 128, 465])
def test_cut_for_a_score_alone_adds_nothing_to_a_patch(side):
    pixels = np.zeros((side, side + 1, 3), np.uint8)
    piece = tiling.cut(pixels, tiling.Tile(0, 0, side, side + 1), 1)
    assert piece.shape[:2] == (max(128, side), max(128, side + 1))


def test_blend_of_a_consistent_field_is_that_field():
    rng = np.random.default_rng(0)
    whole = rng.random((4, 900, 1100), dtype=np.float32)
    tiles = tiling.plan(900, 1100)
    parts = [(t, whole[:, t.top : t.top + t.height, t.left : t.left + t.width]) for t in tiles]
    np.testing.assert_allclose(tiling.blend(parts, 900, 1100), whole, atol=1e-6)


def test_no_seam_where_tiles_disagree():
    tiles = tiling.plan(512, 1000)
    parts = [(t, np.full((1, t.height, t.width), k, np.float32)) for k, t in enumerate(tiles)]
    row = tiling.blend(parts, 512, 1000)[0, 256]
    assert row[0] == 0 and row[-1] == len(tiles) - 1
    assert np.abs(np.diff(row)).max() < 2 / tiling.OVERLAP
