"""Running a set's networks: OpenVINO on CPU, PyTorch on CUDA.

Both read the same ``.safetensors`` file. On CPU the ``.onnx`` file beside it holds
the graph only and points into it, so that scoring starts without PyTorch.
"""

import os
import sys
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cellularity_core.errors import ModelError
from cellularity_core.tiling import SMALLEST

Tiles = npt.NDArray[np.uint8]
"""Shape (B, H, W, 3), RGB at the set's pixel size; sides in multiples of 32 where maps are made."""

DEVICES: Final = ("auto", "cpu", "cuda")

PRECISIONS: Final = ("auto", "f32", "bf16")
"""Numbers that networks multiply: single precision or bfloat16, which sums in single precision."""

_FIRST_CALL: Final = threading.Lock()
"""OpenVINO's binding fills static variables on first calls, to look at a graph as to ask a network,
and lets go of the GIL meanwhile; two threads that make one at once wait for each other for ever."""


class Network(ABC):
    """A network from tiles to what it says of them."""

    @abstractmethod
    def __call__(self, tiles: Tiles) -> tuple[npt.NDArray[np.float32], ...]:
        """Outputs of the graph: scores (B,), maps (B, 4, H, W), or both in that order."""

    @abstractmethod
    def with_places(self, tiles: Tiles) -> tuple[npt.NDArray[np.float32], ...]:
        """Outputs of the graph, and behind them, where `has_places`, those of `places`."""

    @abstractmethod
    def release(self) -> None:
        """Give back the memory of the last calls. Not while one is running."""

    has_places: bool
    """Whether its score is the mean of the scores of places, so that `places` can be asked
    for. Networks that average features are not among them: their places see too far and too
    much to one side to be put on a patch."""

    def places(self, tiles: Tiles) -> npt.NDArray[np.float32]:
        """Score of every place; the mean over a tile's places is the tile's score.

        Returns
        -------
        ndarray of float32, shape (B, h, w)
            Places lie in rows and columns that divide the tile evenly.

        Raises
        ------
        ModelError
            If the network does not average scores of places.
        """
        if not self.has_places:
            raise ModelError(
                "This network does not average scores of places, so there is none to show; "
                "check has_places first."
            )
        return self.with_places(tiles)[-1]


class CompiledNetwork(Network):
    """A graph compiled by OpenVINO for this CPU; safe to call from several threads.

    Parameters
    ----------
    graph : Path
        ONNX file, its weights in the safetensors file beside it.
    threads : int
        Calls that may run at once, one core each.
    precision : {"f32", "bf16"}
        In bfloat16 a score moves by about 0.001, and a CPU that multiplies it is about twice
        as fast; one that does not is slower.
    """

    def __init__(self, graph: Path, threads: int, precision: str = "f32") -> None:
        openvino = load_openvino()
        core = openvino.Core()
        options = {
            "INFERENCE_PRECISION_HINT": precision,
            "NUM_STREAMS": threads,
            # Pinned, the streams of several networks would queue for the same core.
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_NUM_THREADS": threads,
        }
        self._local = threading.local()
        try:
            _check_graph(graph)
            with _FIRST_CALL:
                model = core.read_model(graph)
                _pad_in_convolutions(model)
                self._outputs = len(model.outputs)
                mean = _mean_over_places(model)
                self.has_places = mean is not None
                if mean is not None:
                    # One output more; those that score stay the same to the last bit.
                    model.add_outputs([mean.input_value(0)])
            self._compiled = core.compile_model(model, "CPU", options)
            self._try()
        except Exception as error:  # OpenVINO raises what comes to it
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise ModelError(
                f"The network '{graph.name}' cannot be loaded "
                f"({(lines or [type(error).__name__])[-1].strip()}); restore the model set from "
                "the repository."
            ) from error

    def _try(self) -> None:
        """Ask the network once, alone, and look at what it gives."""
        blank = np.zeros((1, SMALLEST, SMALLEST, 3), np.uint8)
        with _FIRST_CALL:
            shapes = [each.shape for each in self(blank)]
        if self.has_places:
            self.places(blank)
        if not shapes or not {*shapes} <= {(1,), (1, 4, SMALLEST, SMALLEST)}:
            raise ValueError(f"it gives {shapes}, neither scores nor maps")

    def __call__(self, tiles: Tiles) -> tuple[npt.NDArray[np.float32], ...]:
        return self.with_places(tiles)[: self._outputs]

    def with_places(self, tiles: Tiles) -> tuple[npt.NDArray[np.float32], ...]:
        """Outputs of the graph, and behind them, where `has_places`, those of `places`."""
        request = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._compiled.create_infer_request()
        answer = request.infer({0: tiles})
        found = [np.array(answer[k]) for k in range(self._outputs + self.has_places)]
        if self.has_places:
            found[-1] = found[-1].reshape(len(tiles), *found[-1].shape[-2:])
        return tuple(found)

    def release(self) -> None:
        """Give back the memory of the last calls. Not while one is running."""
        self._local = threading.local()  # its requests hold what they read and wrote
        self._compiled.release_memory()


class TorchNetwork(Network):
    """The same network in PyTorch, for CUDA and as the reference in tests.

    Parameters
    ----------
    description : mapping
        What `networks.create` builds it from.
    weights : Path
        safetensors file.
    device : str
    """

    def __init__(self, description: dict[str, Any], weights: Path, device: str) -> None:
        import torch

        from cellularity_core.training.packaging import load_network

        torch.backends.cudnn.allow_tf32 = False  # by default convolutions round to 10 bits
        self._network = load_network(description, weights).to(device).eval()
        self.has_places = self._network.has_places
        self._device = device
        self._lock = threading.Lock()

    def __call__(self, tiles: Tiles) -> tuple[npt.NDArray[np.float32], ...]:
        found = self.with_places(tiles)
        return found[:-1] if self.has_places else found

    def with_places(self, tiles: Tiles) -> tuple[npt.NDArray[np.float32], ...]:
        """Outputs of the graph, and behind them, where `has_places`, those of `places`."""
        import torch

        with self._lock, torch.inference_mode():
            found = self._network.with_places(torch.from_numpy(tiles).to(self._device))
        return tuple(value.float().cpu().numpy() for value in found)

    def release(self) -> None:
        """Give back the memory of the last calls; on CUDA, what PyTorch holds in reserve."""
        import torch

        torch.cuda.empty_cache()


def load_openvino() -> Any:
    """OpenVINO without its telemetry, which would report each start to a server of Google's."""
    # None makes the import fail, for which OpenVINO has a stub of its own.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def _check_graph(graph: Path) -> None:
    """Raise where a step lacks what it needs: OpenVINO ends the process at some that do."""
    import onnx

    model = onnx.load(graph, load_external_data=False)
    context = onnx.checker.C.CheckerContext()
    context.ir_version = model.ir_version
    context.opset_imports = {each.domain: each.version for each in model.opset_import}
    for node in model.graph.node:
        onnx.checker.check_node(node, context)


def _pad_in_convolutions(model: Any) -> None:
    """Let convolutions pad by themselves where a step before them does it.

    timm gives strided ones of TensorFlow's networks ("SAME") a step of its own, whose widths at
    the near and far sides follow from the sides of the image. It took 5 % of all time, and in
    bfloat16 OpenVINO 2026.4 gets it wrong where a side is odd: scores were off by up to 0.13.
    """
    for pad in model.get_ordered_ops():
        if pad.get_type_name() != "Pad":
            continue
        readers = pad.output(0).get_target_inputs()
        if _is_same(pad) and all(_can_pad(reader.get_node()) for reader in readers):
            for reader in readers:
                reader.get_node().set_attribute("auto_pad", "same_upper")
                reader.replace_source_output(pad.input_value(0))
    model.validate_nodes_and_infer_types()


def _is_same(pad: Any) -> bool:
    """Whether a step puts zeros around an image, as many near and far as its sides ask for."""
    if pad.get_attributes()["pad_mode"] != "constant":
        return False
    value = [each.get_node() for each in pad.input_values()[3:]]
    is_zero = all(v.get_type_name() == "Constant" and not v.get_data().any() for v in value)
    return is_zero and _follows_shape(pad.input_value(1).get_node())


def _follows_shape(node: Any) -> bool:
    """Whether a value is worked out from the shape of another."""
    waiting, seen = [node], set()
    while waiting:
        node = waiting.pop()
        if node.get_type_name() == "ShapeOf":
            return True
        if node.get_name() not in seen:
            seen.add(node.get_name())
            waiting += [each.get_source_output().get_node() for each in node.inputs()]
    return False


def _can_pad(node: Any) -> bool:
    """Whether it is a convolution without padding."""
    if node.get_type_name() not in ("Convolution", "GroupConvolution"):
        return False
    told = node.get_attributes()
    return told["auto_pad"] == "explicit" and not any((*told["pads_begin"], *told["pads_end"]))


def _mean_over_places(model: Any) -> Any:
    """The node whose mean over rows and columns is a graph's score; None without one."""
    node = model.outputs[0].node.input_value(0).get_node()
    if node.get_type_name() != "ReduceMean":
        return None
    before, after = node.input_value(0).partial_shape, node.output(0).partial_shape
    return node if len(after) == 1 and len(before) in (3, 4) else None


def resolve_device(device: str) -> str:
    """``auto``, ``cpu`` or ``cuda`` to where networks run; ``auto`` asks PyTorch only
    where an NVIDIA driver is present.

    Raises
    ------
    ModelError
        If the device is unknown, or CUDA is asked for and cannot be used.
    """
    if device not in DEVICES:
        raise ModelError(f"There is no device '{device}'; choose one of {', '.join(DEVICES)}.")
    if device == "cpu" or (device == "auto" and not os.path.exists("/proc/driver/nvidia")):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise ModelError("No CUDA device can be used here; choose --device cpu.")
    return "cpu"


def _own_choice() -> str:
    """OpenVINO's own choice: bfloat16 where the CPU has instructions for it."""
    found = load_openvino().Core().get_property("CPU", "INFERENCE_PRECISION_HINT")
    return str(found.to_string())


def resolve_precision(precision: str, device: str) -> str:
    """``auto``, ``f32`` or ``bf16`` to what networks multiply; ``auto`` is bfloat16 where
    the CPU multiplies it.

    Raises
    ------
    ModelError
        If the precision is unknown, or is bfloat16 where it is of no use.
    """
    if precision not in PRECISIONS:
        raise ModelError(
            f"There is no precision '{precision}'; choose one of {', '.join(PRECISIONS)}."
        )
    if precision == "f32":
        return precision
    able = device == "cpu" and _own_choice() == "bf16"
    if precision == "bf16" and not able:
        raise ModelError(
            f"bfloat16 is of no use on {'this CPU' if device == 'cpu' else 'CUDA'}; "
            "choose the precision auto or f32."
        )
    return "bf16" if able else "f32"
