"""A network of a model set as it ships, graph and weights; see `fuzz_targets`.

The manifest's checksums are those of the broken files, so that their parsers are reached.
"""

import functools
import json
import random
from hashlib import sha256
from pathlib import Path

import fuzz_mutation as mutation
import numpy as np
import onnx
from onnx import TensorProto, helper
from safetensors.numpy import save

from cellularity_core.conventions import DEFAULT_SET
from cellularity_core.engine import CompiledNetwork
from cellularity_core.model_store import MANIFEST, default_root, open_set

NAME = "direct-r"


@functools.cache
def weights() -> bytes:
    """A kernel that reads three colours, in half precision."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(0, 0.1, (1, 3, 3, 3)).astype(np.float16)
    return save({"kernel": kernel, "bias": np.zeros(1, np.float32)})


@functools.cache
def graph() -> bytes:
    """From tiles to the mean of a score of each place; its weights are in the other file."""
    data = weights()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    tensors, kinds = [], {"F16": TensorProto.FLOAT16, "F32": TensorProto.FLOAT}
    for name in ("kernel", "bias"):
        told = header[name]
        begin, end = told["data_offsets"]
        tensor = onnx.TensorProto(
            name=name,
            data_type=kinds[told["dtype"]],
            dims=told["shape"],
            data_location=TensorProto.EXTERNAL,
        )
        where = {"location": f"{NAME}.safetensors", "offset": 8 + size + begin}
        for key, value in (where | {"length": end - begin}).items():
            tensor.external_data.add(key=key, value=str(value))
        tensors.append(tensor)
    nodes = [
        helper.make_node("Cast", ["kernel"], ["kernel32"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["tiles"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["image"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["image", "kernel32", "bias"], ["seen"], pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["seen"], ["places"]),
        helper.make_node("ReduceMean", ["places"], ["score"], axes=[1, 2, 3], keepdims=0),
    ]
    tiles = helper.make_tensor_value_info("tiles", TensorProto.UINT8, ["b", "h", "w", 3])
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["b"])
    made = helper.make_graph(nodes, "direct", [tiles], [score], tensors)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


PLACES = (
    *("../../../../etc/passwd", "/dev/zero", "/etc/passwd", "..", "", "manifest.json"),
    *(f"{NAME}.onnx", f"./{NAME}.safetensors", f"{NAME}.safetensors/../x"),
)
"""Where a graph may say that its weights are."""

STEPS = ("Expand", "Tile", "Pad", "Reshape", "Loop", "If", "Gather", "Resize", "ConvTranspose", "x")


def in_graph(data: bytes, rng: random.Random) -> bytes:
    """Sizes, places of weights, settings, names and steps of a graph changed; or bytes."""
    if rng.random() < 0.3:
        return mutation.in_bytes(data, rng)
    model = onnx.load_from_string(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        node = rng.choice(model.graph.node)
        tensor = rng.choice(model.graph.initializer)
        number = rng.choice(mutation.NUMBERS) - rng.choice((0, 0, 1, 2**33))
        match rng.randrange(7):
            case 0:
                tensor.dims[rng.randrange(len(tensor.dims))] = number
            case 1:
                tensor.external_data[0].value = rng.choice(PLACES)
            case 2:
                tensor.external_data[rng.choice((1, 2))].value = str(number)
            case 3:
                tensor.data_type = rng.randrange(24)
            case 4:
                node.op_type = rng.choice(STEPS)
            case 5:
                names = [name for each in model.graph.node for name in (*each.input, *each.output)]
                node.input[rng.randrange(len(node.input))] = rng.choice(names)
            case _ if node.attribute:
                setting = rng.choice(node.attribute)
                setting.i = number
                setting.ints.extend([number] * rng.choice((0, 1, 5)))
    return bytes(model.SerializeToString())


def network_set(folder: Path, graph: bytes, weights: bytes) -> None:
    """The model set "m" with these files of a network."""
    (folder / "m").mkdir()
    manifest = json.loads((default_root() / DEFAULT_SET / MANIFEST).read_bytes())
    manifest["files"] = {}
    for ending, data in ((".onnx", graph), (".safetensors", weights)):
        (folder / "m" / f"{NAME}{ending}").write_bytes(data)
        manifest["files"][f"{NAME}{ending}"] = sha256(data).hexdigest()
    (folder / "m" / MANIFEST).write_text(json.dumps(manifest))


def run(folder: Path) -> list[str]:
    """The network of the set "m", asked once."""
    models = open_set("m", folder)
    models.file(f"{NAME}.safetensors")
    network = CompiledNetwork(models.file(f"{NAME}.onnx"), 1)
    (score,) = network(np.full((1, 64, 96, 3), 200, np.uint8))
    assert score.shape == (1,)
    if network.has_places:
        assert len(network.places(np.zeros((1, 64, 64, 3), np.uint8))) == 1
    return []


def read_graph(data: bytes, folder: Path) -> list[str]:
    network_set(folder, data, weights())
    return run(folder)


def read_weights(data: bytes, folder: Path) -> list[str]:
    network_set(folder, graph(), data)
    return run(folder)


def graphs() -> list[bytes]:
    return [graph()]


def tensors() -> list[bytes]:
    return [weights()]
