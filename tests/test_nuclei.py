"""Nuclei detection on made-up and real positions, and the point F1 rule."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from cellularity_core import nuclei as module
from cellularity_core.nuclei import PointCounts, detect_nuclei, f1, point_f1, rescaled
from cellularity_core.points import read_points
from cellularity_core.results import Nuclei

LOW = (0.1, 0.1, 0.1)


def bumps(
    xy: np.ndarray, label: np.ndarray, shape: tuple[int, int], sigma: float, height: float = 0.9
) -> np.ndarray:
    """Gaussian bumps at exact, also fractional, places; shape (4, H, W)."""
    row, column = np.mgrid[: shape[0], : shape[1]]
    maps = np.zeros((4, *shape))
    for (x, y), k in zip(xy, label, strict=True):
        bump = np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * sigma**2))
        maps[k] = np.maximum(maps[k], height * bump)
    maps[3] = 1 - maps[:3].max(axis=0)
    return maps.astype(np.float32)


def as_nuclei(xy: list[tuple[float, float]], label: list[int]) -> Nuclei:
    n = len(label)
    return Nuclei(
        np.array(xy, np.float32).reshape(-1, 2),
        np.array(label, np.int8),
        np.ones(n, np.float32),
        np.ones(n, np.float32),
    )


@pytest.mark.parametrize("joint", [True, False])
@given(
    cells=st.lists(
        st.tuples(st.floats(-0.45, 0.45), st.floats(-0.45, 0.45), st.integers(0, 2)),
        min_size=1,
        max_size=16,
    )
)
@settings(max_examples=25, deadline=None)
def test_finds_every_separate_nucleus_where_it_is(joint, cells) -> None:
    """To a fifth of a pixel, with its class; nothing else."""
    grid = [(16 + 24 * (i % 4), 16 + 24 * (i // 4)) for i in range(len(cells))]
    xy = np.array([(x + dx, y + dy) for (x, y), (dx, dy, _) in zip(grid, cells, strict=True)])
    label = np.array([k for *_, k in cells])
    found = detect_nuclei(bumps(xy, label, (104, 110), 3.0), 0.5, LOW, joint=joint)
    assert len(found) == len(cells)
    nearest = np.linalg.norm(xy[:, None] - found.xy[None], axis=2)
    assert (nearest.min(axis=1) < 0.2).all()
    assert_array_equal(found.label[nearest.argmin(axis=1)], label)
    assert_allclose(found.probability, 0.9, atol=0.03)
    assert_allclose(found.sigma, 4.0)


def test_types_are_those_of_the_contract() -> None:
    for maps in (np.zeros((4, 40, 40), np.float32), bumps([(20, 20)], [1], (40, 40), 3.0)):
        for joint in (True, False):
            found = detect_nuclei(maps, 0.5, LOW, joint=joint)
            assert found.xy.shape == (len(found), 2)
            kinds = [a.dtype for a in (found.xy, found.label, found.probability, found.sigma)]
            assert kinds == [np.float32, np.int8, np.float32, np.float32]


def test_real_nuclei_are_found_again_at_both_resolutions(data_root: Path) -> None:
    """Discs of 13 px on annotated nuclei, blurred: F1 near 1 at 3 um."""
    total = {1.0: None, 0.5: None}
    for path in sorted((data_root / "brca_m2c" / "labels").glob("*.txt"))[::30]:
        points = read_points(path)
        full = np.zeros((3, 512, 512), np.float32)
        for (x, y), k in zip(points.xy, points.label, strict=True):
            cv2.circle(full[k], (round(x), round(y)), 6, 1, -1)
        full = np.stack([cv2.GaussianBlur(m, (0, 0), 1.5) for m in full])
        half = np.stack([cv2.resize(m, (256, 256), interpolation=cv2.INTER_AREA) for m in full])
        for mpp, maps, factor in ((0.5, full, 1.0), (1.0, half, 2.0)):
            found = rescaled(detect_nuclei(maps, mpp, LOW), factor)
            counts = point_f1(points.xy, points.label, found, radius_px=6)
            total[mpp] = counts if total[mpp] is None else total[mpp] + counts
            true = np.bincount(points.label, minlength=3)
            assert_array_equal(counts.tp + counts.fn, true)
            assert_array_equal(counts.tp + counts.fp, list(found.counts().values()))
    for counts in total.values():
        assert counts.f1().min() > 0.95


def test_each_class_has_its_own_threshold() -> None:
    xy, label = np.array([(20, 20), (60, 20), (40, 50)]), np.array([0, 1, 2])
    maps = bumps(xy, label, (80, 80), 3.0)
    for joint in (True, False):
        found = detect_nuclei(maps, 0.5, (0.1, 0.8, 0.1), joint=joint)
        assert sorted(found.label) == [0, 2]


def test_joint_map_sees_a_nucleus_two_classes_share() -> None:
    """Neither class is sure, together they are; the stronger one names it."""
    both = bumps(np.array([(30, 30)]), np.array([2]), (60, 60), 3.0)
    maps = both * 0
    maps[2], maps[1] = 0.5 * both[2], 0.4 * both[2]
    limits = (0.3, 0.3, 0.3)
    assert len(detect_nuclei(maps, 0.5, limits, joint=False)) == 0
    found = detect_nuclei(maps, 0.5, limits, joint=True)
    assert_array_equal(found.label, [2])
    assert found.probability[0] == pytest.approx(0.45, abs=0.01)


@given(seed=st.integers(0, 2**32 - 1), distance=st.floats(0.5, 12))
@settings(max_examples=50, deadline=None)
def test_suppression_is_the_greedy_loop(seed: int, distance: float) -> None:
    rng = np.random.default_rng(seed)
    xy, response = rng.uniform(0, 40, (60, 2)), rng.random(60).round(1)
    kept: list[int] = []
    for i in np.argsort(-response, kind="stable"):
        if all(np.linalg.norm(xy[i] - xy[j]) > distance for j in kept):
            kept.append(int(i))
    assert list(module._suppress(xy, response, distance)) == kept


@pytest.mark.parametrize("joint", [True, False])
def test_no_two_nuclei_are_closer_than_the_distance(joint: bool) -> None:
    noise = np.random.default_rng(0).normal(size=(3, 200, 200))
    smooth = np.stack([ndimage.gaussian_filter(n, 2.0) for n in noise])
    maps = 1 / (1 + np.exp(-20 * smooth))
    found = detect_nuclei(maps, 0.5, LOW, sigma_um=0.8, min_distance_um=3.0, joint=joint)
    assert len(found) > 100
    gap = np.linalg.norm(found.xy[:, None] - found.xy[None], axis=2)
    assert gap[~np.eye(len(found), dtype=bool)].min() > 5.9  # 6 px, less subpixel rounding
    assert (found.xy >= -0.5).all()
    assert (found.xy <= 199.5).all()


def test_rescaling_keeps_pixel_areas_in_place() -> None:
    """Pixel 0 of a map at half size covers pixels 0 and 1, whose middle is 0.5."""
    half = as_nuclei([(0, 0), (3, 7)], [0, 1])
    assert_allclose(rescaled(half, 2).xy, [(0.5, 0.5), (6.5, 14.5)])
    assert_allclose(rescaled(half, 2).sigma, 2)
    assert_allclose(rescaled(half, (2.0, 1.0)).xy, [(0.5, 0), (6.5, 7)])
    assert_allclose(rescaled(rescaled(half, 3.7), 1 / 3.7).xy, half.xy, atol=1e-5)


def test_each_true_point_takes_the_nearest_free_prediction_in_file_order() -> None:
    truth, label = [(0, 0), (1, 0), (50, 50)], [0, 0, 2]
    found = as_nuclei([(1, 0), (6.5, 0), (50, 50)], [0, 0, 1])
    counts = point_f1(truth, label, found, radius_px=6)
    # the first point takes (1, 0) from the second, which gets (6.5, 0)
    assert_array_equal(counts.tp, [2, 0, 0])
    assert_array_equal(counts.fp, [0, 1, 0])
    assert_array_equal(counts.fn, [0, 0, 1])


def test_first_come_may_cost_a_match() -> None:
    """The rule published figures are made with, not the best assignment."""
    truth = [(3, 0), (0, 0)]
    found = as_nuclei([(2, 0), (8, 0)], [0, 0])
    assert point_f1(truth, [0, 0], found, radius_px=6).tp[0] == 1
    assert point_f1(truth[::-1], [0, 0], found, radius_px=6).tp[0] == 2


def test_the_radius_itself_is_too_far() -> None:
    found = as_nuclei([(6, 0)], [0])
    assert point_f1([(0, 0)], [0], found, radius_px=6).tp[0] == 0
    assert point_f1([(0, 0)], [0], found, radius_px=6.001).tp[0] == 1


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 30), m=st.integers(0, 30))
@settings(max_examples=50, deadline=None)
def test_counts_equal_the_rule_written_out(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    truth, label = rng.uniform(0, 30, (n, 2)), rng.integers(0, 3, n)
    found = as_nuclei(list(rng.uniform(0, 30, (m, 2))), list(rng.integers(0, 3, m)))
    free = set(range(m))
    tp = [0, 0, 0]
    for point, k in zip(truth, label, strict=True):
        near = [
            (np.hypot(*(point - found.xy[j].astype(float))), j)
            for j in sorted(free)
            if found.label[j] == k
        ]
        if near and min(near)[0] < 6:
            free.remove(min(near)[1])
            tp[k] += 1
    counts = point_f1(truth, label, found, radius_px=6)
    assert_array_equal(counts.tp, tp)
    assert_array_equal(counts.tp + counts.fp, np.bincount(found.label, minlength=3))
    assert_array_equal(counts.tp + counts.fn, np.bincount(label, minlength=3))


def test_f1_is_summed_over_patches_first() -> None:
    one = PointCounts(np.array([8, 0, 0]), np.array([2, 0, 0]), np.array([0, 3, 0]))
    two = PointCounts(np.array([1, 0, 0]), np.array([0, 0, 0]), np.array([9, 0, 0]))
    assert_allclose((one + two).f1(), [2 * 9 / (2 * 9 + 2 + 9), 0, np.nan])
    assert f1(1, 1, 0) == pytest.approx(2 / 3)


def test_wrong_input_is_refused_in_words() -> None:
    maps = np.zeros((4, 8, 8), np.float32)
    with pytest.raises(ValueError, match=r"shape \(2, 8, 8\).*at least 3 maps"):
        detect_nuclei(maps[:2], 0.5, LOW)
    with pytest.raises(ValueError, match="one for each class"):
        detect_nuclei(maps, 0.5, (0.1, 0.1))
    with pytest.raises(ValueError, match="one for each class"):
        detect_nuclei(maps, 0.5, (0.1, 0.0, 0.1))
    with pytest.raises(ValueError, match="positive lengths"):
        detect_nuclei(maps, 0.0, LOW)
