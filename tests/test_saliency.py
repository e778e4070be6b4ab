"""The map of places adds up to the score, and lies on the patch where it belongs."""

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from cellularity_core import tiling
from cellularity_core.conventions import MALIGNANT
from cellularity_core.engine import CompiledNetwork
from cellularity_core.errors import ModelError
from cellularity_core.masks import draw_discs
from cellularity_core.patch import Patch, load_patch, pixel_digest
from cellularity_core.points import read_points
from cellularity_core.results import Nuclei
from cellularity_core.saliency import CELL, PlaceMap, as_seen, covered, place_map, tissue_cells
from cellularity_core.scorer import Scorer

PLACED = ("cascade", "direct-r", "direct-c")
"""Methods of the set whose score is the mean of the scores of places."""


def made(pixels: np.ndarray, mpp: float = 0.5) -> Patch:
    pixels = np.ascontiguousarray(pixels)
    return Patch("made", pixels, mpp, "user", pixel_digest(pixels))


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer.open(methods=("gbt", *PLACED))


@pytest.fixture(scope="module")
def field(data_root) -> np.ndarray:
    """Two fields beside each other, 480 x 960: tissue of two patients."""
    files = sorted((data_root / "brca_m2c" / "images").glob("*.png"))[:2]
    halves = [load_patch(f.read_bytes(), f.name, 0.5).pixels[:480, :480] for f in files]
    return np.concatenate(halves, axis=1)


@pytest.mark.parametrize(
    ("height", "width", "mpp"),
    [(480, 480, 0.5), (201, 333, 0.5), (70, 90, 0.5), (480, 960, 0.5), (300, 500, 0.25)],
)
def test_the_map_adds_up_to_the_score(scorer, field, height, width, mpp):
    """Whole, of odd sides, reflected, cut into tiles, and resampled."""
    patch = made(field[:height, :width], mpp)
    [result] = scorer.score([patch], maps=False)
    found = scorer.places(patch)
    assert list(found) == list(PLACED)
    for method in PLACED:
        assert found[method].mean == pytest.approx(result.scores[method].value, abs=1e-4)
        assert found[method].weights.sum() == pytest.approx(1, abs=1e-9)


def test_the_map_adds_up_over_tiles_of_another_pixel_size_with_glass_and_views(field, scorer):
    pixels = np.repeat(np.repeat(field[:400], 2, axis=0), 2, axis=1)
    pixels[:, 1200:] = 243
    patch = made(pixels, 0.27)
    turned = Scorer(scorer.model_set, methods=["direct-r"], views=2)
    [result] = turned.score([patch], maps=False)
    [found] = turned.places(patch).values()
    assert found.mean == pytest.approx(result.scores["direct-r"].value, abs=1e-4)
    rows, columns = found.values.shape
    # the pixels of the network are whole, so a side may round by one of them
    assert (rows - 1) * found.cell < pixels.shape[0] <= rows * found.cell + 1
    assert (columns - 1) * found.cell < pixels.shape[1] <= columns * found.cell + 1


def test_asking_for_places_changes_no_score(scorer, field):
    """A network with the output of its places gives what one without it gives."""
    import openvino

    core = openvino.Core()
    tiles = tiling.cut(field, tiling.Tile(0, 0, 256, 320))[None]
    for name in PLACED:
        graph = scorer.model_set.file(f"{name}.onnx")
        plain = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        ours = CompiledNetwork(graph, 1)(tiles)
        assert len(ours) == len(plain.outputs)
        for k, values in enumerate(ours):
            assert np.array_equal(values, plain({0: tiles})[k])


def test_a_network_that_averages_features_says_that_it_has_no_places(tmp_path):
    nodes = [
        helper.make_node("Cast", ["tiles"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["x"], ["features"], axes=[1, 2], keepdims=0),
        helper.make_node("Sigmoid", ["features"], ["levels"]),
        helper.make_node("ReduceMax", ["levels"], ["score"], axes=[1], keepdims=0),
    ]
    tiles = helper.make_tensor_value_info("tiles", TensorProto.UINT8, ["b", "h", "w", 3])
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["b"])
    graph = helper.make_graph(nodes, "direct", [tiles], [score])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "direct.onnx")
    network = CompiledNetwork(tmp_path / "direct.onnx", 1)
    assert not network.has_places
    with pytest.raises(ModelError, match="does not average scores of places"):
        network.places(np.zeros((1, 128, 128, 3), np.uint8))


def test_the_map_lies_on_the_tumour_that_pathologists_marked(scorer, data_root):
    """Shifted by a place to any side it would fit the annotated nuclei less well."""
    folder = data_root / "brca_m2c"
    steps = {"here": (0, 0), "up": (-32, 0), "down": (32, 0), "left": (0, -32), "right": (0, 32)}
    seen: dict[tuple[str, str], list[np.ndarray]] = {}
    for path in sorted((folder / "images").glob("*.png"))[::7]:
        patch = load_patch(path.read_bytes(), path.name, 0.5)
        truth = read_points(folder / "labels" / f"{path.stem}_gt_class_coords.txt")
        height, width = patch.pixels.shape[:2]
        marked = draw_discs(truth.xy[truth.label == MALIGNANT].astype(float), (height, width), 40.0)
        marked = cv2.GaussianBlur(marked.astype(np.float32), (0, 0), 30)
        for method, places in scorer.places(patch).items():
            inner = places.on((height, width))[48:-48, 48:-48]
            for name, (dy, dx) in steps.items():
                other = marked[48 + dy : height - 48 + dy, 48 + dx : width - 48 + dx]
                pair = np.stack([inner.ravel(), other.ravel()])[:, ::7]
                seen.setdefault((method, name), []).append(pair)
    for method in PLACED:
        fit = {
            name: np.corrcoef(np.concatenate(seen[method, name], axis=1))[0, 1] for name in steps
        }
        assert fit["here"] > 0.5
        assert max(fit, key=fit.get) == "here", fit


@given(
    height=st.integers(64, 900),
    width=st.integers(64, 900),
    seed=st.integers(0, 99),
    stride=st.sampled_from([32, 64]),
    step=st.sampled_from([1, 32]),
)
def test_any_size_of_patch_adds_up(height, width, seed, stride, step):
    rng = np.random.default_rng(seed)
    tiles = tiling.plan(height, width)
    blank = np.zeros((height, width, 3), np.uint8)
    padded = [tiling.cut(blank, tile, step).shape[:2] for tile in tiles]
    places = [rng.random((-(-h // stride), -(-w // stride))) for h, w in padded]
    tissue = np.ones((height, width), bool)
    tissue[:, CELL * int(rng.integers(width // CELL + 1)) :] = False
    found = place_map(tiles, places, tissue_cells(tissue), padded=padded, factor=1.0)
    # pixel by pixel: the mean of what is said of it, by each tile and in each reflection
    total, seen = np.zeros((2, height, width))
    for tile, place, (tall, wide) in zip(tiles, places, padded, strict=True):
        drawn = np.kron(place, np.ones((stride, stride)))
        above, left = (drawn.shape[0] - tall) // 2, (drawn.shape[1] - wide) // 2
        rows, columns = (
            start + np.pad(np.arange(extent), (0, side - extent), mode="symmetric")
            for start, extent, side in (
                (tile.top, tile.height, tall),
                (tile.left, tile.width, wide),
            )
        )
        at = np.ix_(rows, columns)
        np.add.at(total, at, drawn[above : above + tall, left : left + wide])
        np.add.at(seen, at, 1)
    wanted = (total / seen)[tissue if tissue.any() else slice(None)].mean()
    assert found.mean == pytest.approx(wanted, abs=0.02)
    assert found.weights.sum() == pytest.approx(1)
    assert found.values.shape == (-(-height // CELL), -(-width // CELL))
    assert (found.values >= 0).all()
    assert (found.values <= 1).all()


def test_a_place_lies_where_the_network_saw_it():
    """Reflected pixels count for what they reflect, whatever lies beyond the patch."""
    places = np.zeros((4, 4))
    places[0, 2] = 1.0  # rows 0 to 31, columns 64 to 95 of 80: 64 to 79 and their reflection
    found = place_map(
        [tiling.Tile(0, 0, 128, 80)],
        [places],
        tissue_cells(np.ones((128, 80), bool)),
        padded=[(128, 128)],
        factor=0.5,
    )
    assert found.cell == 2 * CELL
    rows, columns = np.nonzero(found.values)
    assert set(rows) == {0, 1}
    assert set(columns) == {4}
    assert found.mean == pytest.approx(2 / 40)  # of the cells, each of which counts once


def test_the_map_on_the_patch_keeps_its_centres():
    values = np.array([[0.0, 1.0], [0.5, 0.5]])
    found = PlaceMap(values, np.full((2, 2), 0.25), 8.0)
    drawn = found.on((16, 16))
    assert drawn.shape == (16, 16)
    assert drawn[0, 0] == 0
    assert drawn[0, 15] == 1
    assert drawn[3:5, 7:9].mean() == pytest.approx(0.5, abs=0.02)
    assert drawn.mean() == pytest.approx(0.5, abs=1e-3)


def test_territory_of_malignant_nuclei_by_cell():
    rng = np.random.default_rng(2)
    xy = rng.uniform(0, 320, (60, 2)).astype(np.float32)
    label = rng.integers(0, 3, 60).astype(np.int8)
    nuclei = Nuclei(xy, label, np.ones(60, np.float32), np.ones(60, np.float32))
    grid = PlaceMap(np.zeros((20, 20)), np.full((20, 20), 1 / 400), 16.0)
    found = covered(nuclei, 0.5, grid)
    fine = draw_discs(xy[label == MALIGNANT].astype(float), (320, 320), 40.0)
    wanted = fine.reshape(20, 16, 20, 16).mean(axis=(1, 3))
    np.testing.assert_allclose(found, wanted, atol=0.12)
    assert found.mean() == pytest.approx(wanted.mean(), abs=0.005)
    assert as_seen(found, 0.5, grid).mean() == pytest.approx(found.mean(), abs=0.02)


def test_no_nuclei_cover_nothing():
    none = Nuclei(np.empty((0, 2), np.float32), *(np.empty(0, t) for t in ("i1", "f4", "f4")))
    grid = PlaceMap(np.zeros((7, 5)), np.full((7, 5), 1 / 35), 14.3)
    assert (covered(none, 0.56, grid) == 0).all()
