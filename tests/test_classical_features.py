"""Each hand-made feature of the classical peer against a slow definition or a known answer."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial import ConvexHull
from scipy.stats import skew
from skimage.feature import graycomatrix, graycoprops
from skimage.measure import regionprops

from cellularity_core.classical import cells, shape, surroundings, texture
from cellularity_core.classical.features import FEATURE_NAMES, measure
from cellularity_core.classical.segmentation import outline
from cellularity_core.classical.stains import stains

MPP = 0.5


def discs(shape_: tuple[int, int], *given: tuple[float, float, float]) -> np.ndarray:
    """Regions 1 to n of discs (x, y, radius); a later one covers an earlier one."""
    row, column = np.indices(shape_)
    regions = np.zeros(shape_, np.int32)
    for k, (x, y, radius) in enumerate(given, start=1):
        regions[(column - x) ** 2 + (row - y) ** 2 <= radius**2] = k
    return regions


@pytest.fixture
def regions() -> np.ndarray:
    """A disc, a bar, a hook, one pixel, and a disc cut by the patch's border."""
    regions = discs((60, 70), (15, 14, 8))
    regions[40:44, 10:31] = 2
    regions[5:25, 40:44] = regions[21:25, 40:60] = 3
    regions[50, 50] = 4
    row, column = np.indices(regions.shape)
    regions[(column - 69) ** 2 + (row - 40) ** 2 <= 49] = 5
    return regions


@pytest.fixture
def plane() -> np.ndarray:
    return np.random.default_rng(3).gamma(2, 0.25, (60, 70)).astype(np.float32)


def column(name: str, names: tuple[str, ...], table: np.ndarray) -> np.ndarray:
    return table[:, names.index(name)]


def test_shape_of_a_rectangle():
    regions = np.zeros((20, 20), np.int32)
    regions[3:9, 5:9] = 1
    row = dict(zip(shape.SHAPE_NAMES, shape.shape_features(regions)[0], strict=True))
    assert row["area"] == 24 * 0.25
    assert row["perimeter"] == pytest.approx(np.pi / 4 * 20 * 0.5)
    assert row["roundness"] == pytest.approx(4 * np.pi * 6 / (np.pi / 4 * 10) ** 2)
    # a side of n pixels has the variance n^2 / 12
    assert row["long axis"] == pytest.approx(4 * np.sqrt(36 / 12) * 0.5)
    assert row["short axis"] == pytest.approx(4 * np.sqrt(16 / 12) * 0.5)
    assert row["eccentricity"] == pytest.approx(np.sqrt(1 - 16 / 36))
    assert row["solidity"] == 1


def test_shapes_agree_with_a_library_and_a_slow_definition(regions):
    table = shape.shape_features(regions)
    properties = regionprops(regions)
    np.testing.assert_allclose(
        column("area", shape.SHAPE_NAMES, table), [p.area * MPP**2 for p in properties]
    )
    np.testing.assert_allclose(
        shape.centres(regions), [p.centroid[::-1] for p in properties], atol=1e-9
    )
    # the library takes a pixel for a point; a square has a second moment of 1/12 more
    major, minor = (
        np.array([p[f"axis_{which}_length"] for p in properties]) ** 2 / 16 + 1 / 12
        for which in ("major", "minor")
    )
    for name, moment in (("long axis", major), ("short axis", minor)):
        np.testing.assert_allclose(
            column(name, shape.SHAPE_NAMES, table), 4 * np.sqrt(moment) * MPP
        )
    np.testing.assert_allclose(
        column("eccentricity", shape.SHAPE_NAMES, table), np.sqrt(1 - minor / major), atol=1e-6
    )
    for k, found in enumerate(table, start=1):
        pixels = np.argwhere(regions == k)
        inside = set(map(tuple, pixels))
        sides = sum(
            (r + dr, c + dc) not in inside
            for r, c in inside
            for dr, dc in ((0, 1), (1, 0), (0, -1), (-1, 0))
        )
        perimeter = np.pi / 4 * sides * MPP
        area = len(pixels) * MPP**2
        corners = np.concatenate([pixels + d for d in ((0, 0), (0, 1), (1, 0), (1, 1))])
        row = dict(zip(shape.SHAPE_NAMES, found, strict=True))
        assert row["perimeter"] == pytest.approx(perimeter)
        assert row["roundness"] == pytest.approx(4 * np.pi * area / perimeter**2)
        # of a hull in the plane scipy calls the area its volume
        assert row["solidity"] == pytest.approx(len(pixels) / ConvexHull(corners).volume)


def test_stain_inside_each_nucleus(regions, plane):
    table = texture.spread_features(plane, regions)
    for k, found in enumerate(table, start=1):
        values = np.sort(plane[regions == k].astype(float))
        rank = len(values) - 1
        expected = [
            values.mean(),
            values.std(),
            skew(values) if len(values) > 1 else 0.0,
            values[int(0.1 * rank)],
            values[int(0.9 * rank)],
        ]
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_cooccurrence_counts_pairs_within_one_nucleus(regions, plane):
    pairs = texture.cooccurrence(plane, regions)
    level = np.minimum(plane / texture.TOP * texture.LEVELS, texture.LEVELS - 1).astype(int)
    for k in range(1, 6):
        for d, (down, right) in enumerate(texture.OFFSETS):
            slow = np.zeros((texture.LEVELS, texture.LEVELS))
            for r, c in np.argwhere(regions == k):
                at = (r + down, c + right)
                if at[0] < 60 and 0 <= at[1] < 70 and regions[at] == k:
                    slow[level[r, c], level[at]] += 1
                    slow[level[at], level[r, c]] += 1
            np.testing.assert_allclose(pairs[:, :, k - 1, d], slow / max(1, slow.sum()))


def test_haralick_of_a_rectangle_is_scikit_images(plane):
    regions = np.zeros(plane.shape, np.int32)
    regions[10:30, 20:45] = 1
    level = np.minimum(plane / texture.TOP * texture.LEVELS, texture.LEVELS - 1).astype(np.uint8)
    whole = graycomatrix(
        level[10:30, 20:45],
        [1],
        [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4],
        levels=texture.LEVELS,
        symmetric=True,
        normed=True,
    )
    found = texture.texture_features(plane, regions)[0]
    for name in texture.HARALICK:
        at = texture.TEXTURE_NAMES.index(f"haralick {name.lower()}")
        assert found[at] == pytest.approx(graycoprops(whole, name).mean()), name


def test_local_binary_patterns_of_known_places():
    plane = np.full((30, 30), 0.5, np.float32)
    flat, peak = discs((30, 30), (8, 8, 4)), np.zeros((30, 30), np.int32)
    patterns = texture.texture_features(plane, flat)[0, -texture.LBP_BINS :]
    # all eight neighbours are as high as the centre
    assert patterns.tolist() == [0] * 8 + [1, 0]
    plane[20, 20], peak[20, 20] = 1.0, 1
    patterns = texture.texture_features(plane, peak)[0, -texture.LBP_BINS :]
    # none is
    assert patterns.tolist() == [1] + [0] * 9


def test_rim_is_the_near_ring_that_no_other_nucleus_owns(plane):
    regions = np.zeros((60, 70), np.int32)
    # even gaps, so that no pixel is as near to one as to the other
    regions[20:30, 10:20], regions[20:30, 24:34], regions[45:50, 50:60] = 1, 2, 3
    reach = surroundings.RIM_UM / MPP
    outside = np.argwhere(regions == 0)
    apart = np.stack(
        [
            np.sqrt(((outside[:, None] - np.argwhere(regions == k)[None]) ** 2).sum(-1)).min(1)
            for k in (1, 2, 3)
        ]
    )
    found = surroundings.rim_means([plane, plane**2], regions)
    for k in range(3):
        mine = outside[(apart.argmin(axis=0) == k) & (apart.min(axis=0) <= reach)]
        values = plane[mine[:, 0], mine[:, 1]].astype(float)
        np.testing.assert_allclose(found[k], [values.mean(), (values**2).mean()], rtol=1e-5)


def test_rim_of_a_nucleus_without_one_is_itself(plane):
    whole = np.ones(plane.shape, np.int32)
    assert surroundings.rim_means([plane], whole)[0, 0] == pytest.approx(plane.mean(), rel=1e-5)


def test_tissue_around_is_a_gaussian_mean():
    rng = np.random.default_rng(0)
    plane = gaussian_filter(rng.random((300, 333)), 3).astype(np.float32)
    plane = (plane - plane.min()) / np.ptp(plane)
    xy = rng.uniform(5, 290, (40, 2))
    found = surroundings.tissue_means([plane], xy)
    at = tuple(np.rint(xy[:, ::-1]).astype(int).T)
    for k, sigma in enumerate(surroundings.TISSUE_SIGMAS_UM):
        exact = gaussian_filter(plane.astype(float), sigma / MPP, mode="reflect")
        # a wide window is taken on a coarse grid
        np.testing.assert_allclose(found[:, k], exact[at], atol=0.01)


def test_neighbours_by_their_definitions():
    rng = np.random.default_rng(1)
    xy = rng.uniform(0, 200, (50, 2))
    values = rng.random((50, 2))
    sigma = 10.0
    distance = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1)) * MPP
    weight = np.exp(-(distance**2) / (2 * sigma**2))
    weight[(distance > 3 * sigma) | np.eye(50, dtype=bool)] = 0
    found = surroundings.neighbours(xy, sigma)
    np.testing.assert_allclose(found.toarray(), weight, atol=1e-12)
    np.testing.assert_allclose(
        surroundings.neighbour_means(found, values),
        np.stack([np.average(values, axis=0, weights=w) for w in weight]),
    )
    ranked = np.sort(distance, axis=1)
    np.testing.assert_allclose(surroundings.nearest_distance(xy, 3), ranked[:, 3])
    # the share of the window within the patch, summed pixel by pixel
    centres = np.stack(np.meshgrid(np.arange(200), np.arange(200)), axis=-1).reshape(-1, 2)
    apart = ((centres[None] - xy[:, None]) ** 2).sum(-1) * MPP**2
    window = np.exp(-apart / (2 * sigma**2)).sum(axis=1) * MPP**2
    np.testing.assert_allclose(
        surroundings.density(found, xy, (200, 200), sigma),
        weight.sum(axis=1) / window * 1000,
        rtol=1e-3,
    )


def test_a_nucleus_without_neighbours():
    xy, values = np.array([[10.0, 10.0]]), np.array([[3.0]])
    alone = surroundings.neighbours(xy, 10.0)
    assert surroundings.neighbour_means(alone, values).tolist() == [[3.0]]
    assert surroundings.density(alone, xy, (50, 50), 10.0).tolist() == [0.0]
    assert surroundings.nearest_distance(xy, 1).tolist() == [surroundings.FAR_UM]


def test_cells_share_the_tissue_between_them():
    regions = np.zeros((40, 60), np.int32)
    regions[10:20, 10:20], regions[10:20, 24:34] = 1, 2
    tissue = np.ones(regions.shape, bool)
    tissue[:, :8] = False
    found = cells.cell_areas(regions, tissue)
    pixels = np.argwhere(tissue)
    apart = np.stack(
        [
            np.sqrt(((pixels[:, None] - np.argwhere(regions == k)[None]) ** 2).sum(-1)).min(1)
            for k in (1, 2)
        ]
    )
    for column_, radius in enumerate(cells.CELL_RADII_UM):
        mine = [(apart.argmin(0) == k) & (apart.min(0) * MPP <= radius) for k in range(2)]
        assert found[:, column_].tolist() == [m.sum() * MPP**2 for m in mine]
    assert cells.cell_areas(np.zeros((5, 5), np.int32), np.ones((5, 5), bool)).shape == (0, 3)


def test_touching_nuclei_are_parted_and_specks_dropped():
    stain = np.zeros((120, 160), np.float32)
    for x in (40, 54):
        stain += 0.8 * (discs(stain.shape, (x, 60, 8.5)) > 0)
    stain = np.minimum(stain, 0.8)
    stain += 0.8 * (discs(stain.shape, (110, 30, 7)) > 0)
    stain[90:92, 120:122] = 0.8
    found = outline(stain + 0.05, np.ones(stain.shape, bool))
    assert found.max() == 3
    centres = shape.centres(found)
    for true in ((40, 60), (54, 60), (110, 30)):
        assert np.hypot(*(centres - true).T).min() < 1.5
    area = column("area", shape.SHAPE_NAMES, shape.shape_features(found)).sum()
    union = (discs(stain.shape, (40, 60, 8.5), (54, 60, 8.5), (110, 30, 7)) > 0).sum()
    assert area == pytest.approx(union * MPP**2, rel=0.1)


def test_stains_are_told_apart_and_put_on_one_scale():
    rng = np.random.default_rng(0)
    vectors = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
    amount = rng.uniform(0.1, 1.0, (50, 50, 2))
    tissue = np.ones((50, 50), bool)
    planes = []
    for strength in (0.9, 1.5):
        light = 256 * np.exp(-strength * amount @ vectors) - 1
        planes.append(stains(np.rint(light).astype(np.uint8), tissue))
    for k in range(2):
        np.testing.assert_allclose(planes[0][k], planes[1][k], atol=0.06)
        assert np.corrcoef(planes[0][k].ravel(), amount[..., k].ravel())[0, 1] > 0.99
        assert np.quantile(planes[0][k], 0.99) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("grey", [255, 128])
def test_patches_without_nuclei_are_measured_too(grey):
    found = measure(np.full((96, 80, 3), grey, np.uint8), 0.5)
    assert found.xy.shape == (0, 2)
    assert found.features.shape == (0, len(FEATURE_NAMES))
    assert found.tissue == (0 if grey == 255 else 96 * 80 * MPP**2)


def test_names_are_unique():
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES)
