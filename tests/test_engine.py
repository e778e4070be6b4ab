"""What runs the networks: engines agree, threads and precisions hold, nothing more is loaded."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from cellularity_core import engine, model_store, tiling
from cellularity_core.engine import CompiledNetwork, TorchNetwork
from cellularity_core.errors import ModelError
from cellularity_core.patch import load_patch
from cellularity_core.synthetic import synthesise


@pytest.mark.parametrize("name", ["cascade", "direct-r", "direct-c"])
def test_both_engines_give_the_same_numbers(data_root, name):
    chosen = model_store.open_set()
    weights = chosen.file(f"{name}.safetensors")
    compiled = CompiledNetwork(chosen.file(f"{name}.onnx"), 2)
    reference = TorchNetwork(dict(chosen.manifest["networks"][name]), weights, "cpu")
    path = min((data_root / "brca_m2c" / "images").glob("*.png"))
    pixels = load_patch(path.read_bytes(), path.name, 0.5).pixels
    tiles = tiling.cut(pixels, tiling.Tile(0, 0, 320, 256))[None]
    for a, b in zip(compiled(tiles), reference(tiles), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)


def outputs(name, precision, sides):
    """What a shipped network says of real-looking tiles of these sides."""
    network = CompiledNetwork(model_store.open_set().file(f"{name}.onnx"), 1, precision)
    pixels = synthesise(1, 512).pixels
    tiles = [np.ascontiguousarray(pixels[None, :height, :width]) for height, width in sides]
    return [network(tile) for tile in tiles]


@pytest.mark.parametrize("name", ["cascade", "direct-r", "direct-c"])
def test_convolutions_that_pad_by_themselves_change_no_bit(monkeypatch, name):
    sides = [(512, 512), (288, 480)] if name == "cascade" else [(512, 512), (494, 330)]
    padded = outputs(name, "f32", sides)
    monkeypatch.setattr(engine, "_pad_in_convolutions", lambda model: None)
    for ours, theirs in zip(padded, outputs(name, "f32", sides), strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)


def test_bfloat16_is_near_single_precision_where_a_side_is_odd():
    """OpenVINO's own step of padding is wrong there: by 0.011 here, in the first pair."""
    sides = [(401, 399), (512, 333)]
    pairs = zip(outputs("direct-r", "f32", sides), outputs("direct-r", "bf16", sides), strict=True)
    for (exact,), (fast,) in pairs:
        np.testing.assert_allclose(fast, exact, atol=0.004)


def convolved(near, far, mode="constant", value=0):
    """A graph that pads an image at these sides, by one or to even sides, and convolves it."""
    ops = engine.load_openvino().opset13
    image = ops.parameter([1, 3, -1, -1], np.float32)
    mask = np.array([0, 0, 1, 1])
    odd = ops.multiply(ops.floor_mod(ops.shape_of(image), np.int64(2)), mask)
    widths = {"none": ops.constant(0 * mask), "one": ops.constant(mask), "odd": odd}
    padded = ops.pad(image, widths[near], widths[far], mode, np.float32(value))
    weights = np.ones((4, 3, 3, 3), np.float32)
    found = ops.convolution(padded, weights, [2, 2], [0, 0], [0, 0], [1, 1])
    return engine.load_openvino().Model([found], [image])


@pytest.mark.parametrize(
    ("padding", "left"),
    [
        (("odd", "odd"), 0),
        (("one", "one"), 1),
        (("none", "odd"), 1),  # of a transformer
        (("odd", "odd", "reflect"), 1),
        (("odd", "odd", "constant", 1), 1),
    ],
)
def test_only_zeros_near_and_far_that_follow_the_image_are_left_to_convolutions(padding, left):
    model = convolved(*padding)
    engine._pad_in_convolutions(model)
    assert [op.get_type_name() for op in model.get_ops()].count("Pad") == left


def test_no_graph_is_looked_at_beside_another(monkeypatch):
    """OpenVINO's binding deadlocks there too: one start of the scorer in four hung."""
    alone = []

    def spied(look):
        def spy(model):
            alone.append(engine._FIRST_CALL.locked())
            return look(model)

        return spy

    for name in ("_pad_in_convolutions", "_mean_over_places"):
        monkeypatch.setattr(engine, name, spied(getattr(engine, name)))
    CompiledNetwork(model_store.open_set().file("direct-r.onnx"), 1)
    assert alone == [True, True]


def test_no_network_makes_its_first_call_beside_another():
    """OpenVINO's binding deadlocks when two threads make their first calls at once."""
    alone = []

    class Spied(CompiledNetwork):
        def __call__(self, tiles):
            alone.append(engine._FIRST_CALL.locked())
            return super().__call__(tiles)

    spied = Spied(model_store.open_set().file("direct-r.onnx"), 1)
    assert alone == [True]
    spied(np.zeros((1, 128, 128, 3), np.uint8))
    assert alone == [True, False]


def test_fresh_processes_score_from_several_threads_at_once():
    code = (
        "import sys; sys.setswitchinterval(1e-6)\n"
        "import numpy as np\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from cellularity_core.engine import CompiledNetwork\n"
        "from cellularity_core.model_store import open_set\n"
        "path = open_set().file('direct-r.onnx')\n"
        "tiles = np.zeros((1, 128, 128, 3), np.uint8)\n"
        "with ThreadPoolExecutor(4) as pool:\n"
        "    list(pool.map(lambda _: CompiledNetwork(path, 2)(tiles), range(4)))\n"
    )
    for _ in range(3):
        subprocess.run([sys.executable, "-c", code], timeout=120, check=True)


def test_bfloat16_is_the_default_where_the_processor_multiplies_it(monkeypatch):
    class Core:
        hint = "bf16"

        def get_property(self, device, name):
            assert (device, name) == ("CPU", "INFERENCE_PRECISION_HINT")
            return SimpleNamespace(to_string=lambda: self.hint)

    monkeypatch.setattr(engine, "load_openvino", lambda: SimpleNamespace(Core=Core))
    assert [engine.resolve_precision(p, "cpu") for p in engine.PRECISIONS] == [
        "bf16",
        "f32",
        "bf16",
    ]
    assert engine.resolve_precision("auto", "cuda") == "f32"
    Core.hint = "f32"
    assert engine.resolve_precision("auto", "cpu") == "f32"
    with pytest.raises(ModelError, match="of no use on this CPU"):
        engine.resolve_precision("bf16", "cpu")


def test_scoring_starts_without_training_libraries_and_leaves_the_cores_to_networks():
    code = (
        "import cv2, sys; cv2.setNumThreads(4); "
        "from cellularity_core.scorer import Scorer; Scorer.open(); "
        "print([m for m in ('torch','timm','segmentation_models_pytorch','shap','streamlit') "
        "if m in sys.modules], cv2.getNumThreads())"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert out.stdout.strip() == "[] 1"


def test_openvino_reports_nothing_to_anybody():
    """Its telemetry sends a message at import unless it is kept from loading."""
    told = (
        "import sys; from cellularity_core import engine; from cellularity_core.model_store import "
        "open_set; engine.CompiledNetwork(open_set().file('direct-r.onnx'), 1);"
        "print([m for m, v in sys.modules.items() if 'openvino_telemetry' in m and v])"
    )
    done = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"
