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
