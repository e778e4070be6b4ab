"""Trained networks as files that ship: safetensors weights and an ONNX graph.

Matrices are stored in half precision, vectors (batch norm, biases) in single. The
ONNX graph holds no weights: its tensors point into the safetensors file, so both
engines read the same bytes under one checksum.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from cellularity_core.errors import ModelError
from cellularity_core.networks import create
from cellularity_core.networks.cascade import Cascade
from cellularity_core.networks.segmentation import Segmentation

OPSET: Final = 17


class Deployed(nn.Module):
    """A network as it ships: 8-bit tiles in, scores and activations out.

    Parameters
    ----------
    network : nn.Module
        `Segmentation`, `Cascade` or `Direct`.
    pool : int
        Side of the squares of input pixels averaged before the network.
    """

    def __init__(self, network: nn.Module, pool: int = 1) -> None:
        super().__init__()
        self.network = network
        self.pool = pool

    def forward(self, tiles: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Scores (B,) and/or activations (B, 4, H, W) of uint8 tiles (B, H, W, 3)."""
        found = self.with_places(tiles)
        kept = found[:-1] if self.has_places else found
        return kept if len(kept) > 1 else kept[0]

    @property
    def has_places(self) -> bool:
        """Whether the score is the mean of the scores of places."""
        head = self.network.regressor if isinstance(self.network, Cascade) else self.network
        return getattr(head, "average", None) == "scores"

    def with_places(self, tiles: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Scores and/or activations, and behind them the scores of places (B, h, w), if any."""
        x = tiles.permute(0, 3, 1, 2).float() / 127.5 - 1
        if self.pool > 1:
            x = F.avg_pool2d(x, self.pool)
        if isinstance(self.network, Segmentation):
            return (self.network(x).sigmoid(),)
        head: Any = self.network
        maps: tuple[torch.Tensor, ...] = ()
        if isinstance(self.network, Cascade):
            logits = self.network.segmentation(x)
            maps, head, x = (logits.sigmoid(),), self.network.regressor, self.network.pooled(logits)
        raw = head.logits(x)
        places = (head.places(raw),) if self.has_places else ()
        return (head.score(raw), *maps, *places)


def save_network(network: nn.Module, path: Path, pool: int = 1) -> None:
    """Write ``path.safetensors`` and ``path.onnx``.

    Parameters
    ----------
    network : nn.Module
    path : Path
        Without a suffix.
    pool : int
        See `Deployed`.
    """
    state = {
        name: (value.half() if value.ndim > 1 else value.float()).contiguous().cpu()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    weights = path.with_name(path.name + ".safetensors")
    save_file(state, weights)
    network.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    deployed = Deployed(network, pool).cpu().eval().to(memory_format=torch.contiguous_format)
    graph = path.with_name(path.name + ".onnx")
    outputs = _output_names(network)
    axes = {0: "batch", 1: "height", 2: "width"}
    torch.onnx.export(
        deployed,
        (torch.zeros(1, 128, 128, 3, dtype=torch.uint8),),
        graph,
        dynamo=False,
        opset_version=OPSET,
        # PRESERVE keeps batch norms apart, so that every tensor has its name.
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
        input_names=["tiles"],
        output_names=outputs,
        dynamic_axes={
            "tiles": axes,
            **{
                o: {0: "batch"} if o == "score" else {0: "batch", 2: "height", 3: "width"}
                for o in outputs
            },
        },
    )
    _point_into(graph, weights)


def load_network(description: Mapping[str, Any], weights: Path) -> Deployed:
    """Rebuild a shipped network in PyTorch.

    Parameters
    ----------
    description : mapping
        Of `networks.create`, and ``input_pool``, the `pool` of `Deployed`.
    weights : Path
        safetensors file.

    Raises
    ------
    ModelError
        If the weights cannot be read or do not fit the description.
    """
    arguments = dict(description)
    pool = int(arguments.pop("input_pool", 1))
    network = create(arguments)
    try:
        state = {name: value.float() for name, value in load_file(weights).items()}
        missing, unexpected = network.load_state_dict(state, strict=False)
    except (SafetensorError, OSError, RuntimeError) as error:  # broken, gone, of another shape
        raise ModelError(
            f"'{weights.name}' cannot be used ({str(error).splitlines()[-1].strip()}); restore "
            "the model set from the repository."
        ) from error
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise ModelError(
            f"'{weights.name}' does not fit its description: {len(missing)} tensors missing, "
            f"{len(unexpected)} not expected; restore the model set from the repository."
        )
    return Deployed(network, pool).eval()


def _output_names(network: nn.Module) -> list[str]:
    if isinstance(network, Segmentation):
        return ["maps"]
    return ["score", "maps"] if isinstance(network, Cascade) else ["score"]


def _point_into(graph: Path, weights: Path) -> None:
    with weights.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    model = onnx.load(graph)
    kept, casts = [], []
    for tensor in model.graph.initializer:
        name = tensor.name.removeprefix("network.")
        if name not in header:
            kept.append(tensor)
            continue
        entry = header[name]
        begin, end = entry["data_offsets"]
        half = entry["dtype"] == "F16"
        pointer = onnx.TensorProto(
            name=f"{tensor.name}.half" if half else tensor.name,
            data_type=TensorProto.FLOAT16 if half else TensorProto.FLOAT,
            dims=entry["shape"],
            data_location=TensorProto.EXTERNAL,
        )
        for key, value in (
            ("location", weights.name),
            ("offset", str(8 + size + begin)),
            ("length", str(end - begin)),
        ):
            pointer.external_data.add(key=key, value=value)
        kept.append(pointer)
        if half:
            casts.append(
                helper.make_node("Cast", [pointer.name], [tensor.name], to=TensorProto.FLOAT)
            )
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for node in model.graph.node:
        node.doc_string = ""
    graph.write_bytes(model.SerializeToString(deterministic=True))
