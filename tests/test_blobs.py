"""Blobs: skimage's `blob_log` is the oracle, on activations and on awkward maps."""

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.feature import blob_log

from cellularity_core import blobs as module
from cellularity_core.blobs import (
    BLOB_THRESHOLDS,
    SIGMAS,
    Blobs,
    find_blobs,
    log_response,
    scale_space,
)
from cellularity_core.points import read_points


def reference(image: np.ndarray, threshold: float) -> np.ndarray:
    """Rows of ``row, column, sigma`` as skimage finds them, unpruned.

    Unpruned means an overlap a little above 1: at 1 skimage still drops a blob
    that touches another from inside (offset (2, 2), sigma 1 and 3), because
    rounding makes their overlap 1 + 2e-16. That is one blob in about 25,000.
    """
    return blob_log(
        image, min_sigma=1, max_sigma=4, num_sigma=4, threshold=threshold, overlap=1.001
    ).astype(float)


def as_set(found: Blobs) -> set[tuple[float, ...]]:
    return set(zip(found.row, found.column, found.sigma, strict=True))


def assert_equals_reference(image: np.ndarray) -> int:
    """Every threshold against a detection of its own; returns how many blobs."""
    found = find_blobs(image)
    for threshold in BLOB_THRESHOLDS:
        expected = reference(image, threshold)
        above = found.above(threshold)
        assert as_set(above) == set(map(tuple, expected)), threshold
        assert len(above) == len(expected), threshold
        at = expected[:, :2].astype(int)
        assert above.value.sum() == pytest.approx(image[at[:, 0], at[:, 1]].sum(dtype=float))
    return len(found)


def activations(points: Path, rng: np.random.Generator, size: int = 256) -> np.ndarray:
    """Maps as a network would give: discs on real nuclei, blurred, doubted, squashed."""
    nuclei = read_points(points)
    maps = []
    for label in range(3):
        disc = np.zeros((2 * size, 2 * size), np.float32)
        for x, y in nuclei.xy[nuclei.label == label]:
            cv2.circle(disc, (round(x), round(y)), 7, 1, -1)
        image = cv2.resize(disc, (size, size), interpolation=cv2.INTER_AREA)
        noise = ndimage.gaussian_filter(rng.normal(size=image.shape), 1.5)
        logit = 8 * (ndimage.gaussian_filter(image, 1) + 0.2 * noise) - 4
        maps.append(1 / (1 + np.exp(-logit)))
    return np.stack(maps)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_equals_eighteen_blob_logs_on_real_nuclei(data_root: Path, kind: type) -> None:
    files = sorted((data_root / "brca_m2c" / "labels").glob("*.txt"))
    rng = np.random.default_rng(4)
    total = 0
    for points in files[:: len(files) // 3]:
        for image in activations(points, rng).astype(kind):
            total += assert_equals_reference(image)
    assert total > 500  # the maps do hold blobs


@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    smooth=st.floats(0.5, 6),
    single=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_equals_blob_log_on_smooth_maps_of_any_size(seed, height, width, smooth, single) -> None:
    image = ndimage.gaussian_filter(np.random.default_rng(seed).random((height, width)), smooth)
    image = (image - image.min()) / max(np.ptp(image), 1e-9)
    assert_equals_reference(image.astype(np.float32 if single else np.float64))


@given(seed=st.integers(0, 2**32 - 1), single=st.booleans())
@settings(max_examples=40, deadline=None)
def test_equals_blob_log_where_symmetry_makes_ties(seed, single) -> None:
    """Even rectangles have 2 or 4 equal centres; only the last bit tells them apart."""
    rng = np.random.default_rng(seed)
    image = np.zeros(rng.integers(20, 60, 2), np.float32 if single else np.float64)
    for _ in range(12):
        row, column = rng.integers(0, 55, 2)
        height, width = rng.integers(1, 9, 2)
        image[row : row + height, column : column + width] = rng.choice([0.5, 1.0])
    assert_equals_reference(image)


def test_many_doubtful_pixels_are_settled_on_the_whole_map() -> None:
    lattice = np.zeros((64, 64))
    lattice[3::8, 3::8] = lattice[4::8, 3::8] = lattice[3::8, 4::8] = lattice[4::8, 4::8] = 1.0
    assert assert_equals_reference(lattice) >= 64


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_settling_is_scipys_to_the_last_bit(kind: type) -> None:
    """Pixel by pixel from cut-outs, or all from the whole map: the same numbers."""
    rng = np.random.default_rng(9)
    image = ndimage.gaussian_filter(rng.random((300, 260)), 1.5).astype(kind)
    cube = np.stack([-ndimage.gaussian_laplace(image, kind(s)) * kind(s) ** 2 for s in SIGMAS])
    is_maximum = cube == ndimage.maximum_filter(cube, size=3, mode="nearest")
    in_plane = cube == ndimage.maximum_filter(cube, size=(1, 3, 3), mode="nearest")
    edge = [np.ravel_multi_index((k, r, c), cube.shape) for k, r, c in [(0, 0, 0), (3, 299, 259)]]
    some = rng.choice(np.flatnonzero(in_plane), 40, replace=False)
    every = np.flatnonzero(in_plane)
    for flat in (np.concatenate([edge, some]), every):
        response, peak = module._settle(image, *np.unravel_index(flat, cube.shape))
        np.testing.assert_array_equal(response, cube.ravel()[flat])
        np.testing.assert_array_equal(peak, is_maximum.ravel()[flat])
        assert 0 < peak.sum() < len(peak)


def test_a_response_next_to_a_threshold_is_settled() -> None:
    """Steps of 1e-9 around 0.5, finer than single precision tells apart."""
    row, column = np.mgrid[-20:21, -20:21]
    image = np.exp(-(row**2 + column**2) / 18.0)
    strongest = -9 * ndimage.gaussian_laplace(image, 3.0)[20, 20]
    counts = []
    for step in range(-20, 21):
        scaled = image * ((0.5 + step * 1e-9) / strongest)
        counts.append(len(find_blobs(scaled).above(0.5)))
        assert counts[-1] == len(reference(scaled, 0.5))
    assert set(counts) == {0, 1}


def test_scale_space_is_scipys() -> None:
    image = ndimage.gaussian_filter(np.random.default_rng(0).random((50, 41)), 1)
    expected = [-(s**2) * ndimage.gaussian_laplace(image, s) for s in SIGMAS]
    space = scale_space(image)
    assert space.dtype == np.float32
    np.testing.assert_allclose(space, expected, atol=1e-6)


def test_response_of_a_gaussian_is_the_textbooks() -> None:
    """A Gaussian of scale s answers 2 s^2 t^2 / (s^2 + t^2)^2 at its centre at scale t."""
    row, column = np.mgrid[-40:41, -40:41]
    scale = 3.0
    image = np.exp(-(row**2 + column**2) / (2 * scale**2)).astype(np.float32)
    for sigma in SIGMAS:
        expected = 2 * sigma**2 * scale**2 / (scale**2 + sigma**2) ** 2
        assert log_response(image, sigma)[40, 40] == pytest.approx(expected, rel=2e-3)
    found = find_blobs(image)
    assert as_set(found) == {(40, 40, 3.0)}
    assert found.response[0] == pytest.approx(0.5, rel=2e-3)
    assert found.value[0] == pytest.approx(1.0)


def test_a_blob_touching_a_larger_one_from_inside_is_kept() -> None:
    """Where skimage's pruning at an overlap of 1 drops one by rounding."""
    image = ndimage.gaussian_filter(np.random.default_rng(190).random((6, 25)), 1.0)
    image = ((image - image.min()) / np.ptp(image)).astype(np.float32)
    found = as_set(find_blobs(image))
    pruned = blob_log(image, min_sigma=1, max_sigma=4, num_sigma=4, threshold=0.02, overlap=1)
    assert found - set(map(tuple, pruned.astype(float))) == {(2, 2, 1)}


def test_strongest_first_and_nested(data_root: Path) -> None:
    points = sorted((data_root / "brca_m2c" / "labels").glob("*.txt"))[0]
    image = activations(points, np.random.default_rng(1))[0]
    found = find_blobs(image)
    assert (np.diff(found.response) <= 0).all()
    sets = [as_set(found.above(t)) for t in BLOB_THRESHOLDS]
    assert all(inner <= outer for outer, inner in pairwise(sets))
    assert len(sets[0]) > len(sets[-1])


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_flat_maps_have_no_blobs(level: float) -> None:
    assert len(find_blobs(np.full((64, 64), level, np.float32), threshold=0.01)) == 0


def test_input_is_left_alone() -> None:
    image = np.random.default_rng(2).random((40, 40)).astype(np.float32)
    before = image.copy()
    find_blobs(image)
    np.testing.assert_array_equal(image, before)


def test_wrong_input_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 8, 8\).*expected one activation map"):
        find_blobs(np.zeros((3, 8, 8)))
    with pytest.raises(ValueError, match=r"type uint8.*of floats"):
        find_blobs(np.zeros((8, 8), np.uint8))
    with pytest.raises(ValueError, match="NaN or infinity"):
        find_blobs(np.array([[0.0, np.nan]]))
    with pytest.raises(ValueError, match=r"at least 0\.01"):
        find_blobs(np.zeros((8, 8)), threshold=0.0)
