"""A trained network as it ships: what both engines read of its two files is the network."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cellularity_core.engine import CompiledNetwork, TorchNetwork
from cellularity_core.errors import ModelError
from cellularity_core.networks import create
from cellularity_core.training.packaging import load_network, save_network

MAPS = {"encoder": "test_resnet", "decoder": "fpn-light"}
DIRECT = {"kind": "direct", "encoder": "test_resnet", "average": "scores"}
KINDS = {
    "segmentation": {"kind": "segmentation", **MAPS},
    "cascade": {
        "kind": "cascade",
        "segmentation": MAPS,
        "regressor": {"encoder": "test_resnet", "average": "scores"},
    },
    "direct": {**DIRECT, "input_pool": 2},
    "classes": {"kind": "direct", "encoder": "test_resnet", "head": "classification"},
}


def made(description: dict, path: Path) -> torch.nn.Module:
    """A network of random weights, as files; the same in memory."""
    torch.manual_seed(1)
    arguments = dict(description)
    pool = arguments.pop("input_pool", 1)
    network = create(arguments)
    with torch.no_grad():  # as new, heads are near 0 and batch norms do nothing
        for value in network.parameters():
            value.add_(0.05 * torch.randn_like(value))
        for name, value in network.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                value.add_(0.1 * torch.rand_like(value))
    network.eval()
    with warnings.catch_warnings():  # PyTorch's exporter warns of itself and of what it traces
        warnings.simplefilter("ignore")
        save_network(network, path, pool)
    return network


@pytest.mark.parametrize("kind", KINDS)
def test_both_engines_give_what_the_network_gives(tmp_path: Path, kind: str) -> None:
    """On another number and size of tiles than the graph was written with, places too."""
    network = made(KINDS[kind], tmp_path / "net")
    tiles = np.random.default_rng(0).integers(0, 256, (2, 192, 128, 3)).astype(np.uint8)
    tiles[0] //= 4
    compiled = CompiledNetwork(tmp_path / "net.onnx", 1)
    plain = TorchNetwork(KINDS[kind], tmp_path / "net.safetensors", "cpu")
    asked = compiled.with_places(tiles), plain.with_places(tiles)
    outputs = {"segmentation": 1, "cascade": 3, "direct": 2, "classes": 1}[kind]
    assert [len(found) for found in asked] == [outputs, outputs]
    for first, second in zip(*asked, strict=True):
        np.testing.assert_allclose(first, second, atol=2e-5)
    assert asked[1][0].std() > 3e-4  # two tiles differ by more than is allowed below
    with torch.inference_mode():  # by hand
        x = torch.from_numpy(tiles).permute(0, 3, 1, 2).float() / 127.5 - 1
        if kind == "direct":
            x = x.unfold(2, 2, 2).unfold(3, 2, 2).mean((-2, -1))
        if kind == "segmentation":
            expected = torch.sigmoid(network(x))
        elif kind == "cascade":
            expected = network.regressor(network.pooled(network.segmentation(x)))
        else:
            expected = network(x)
    np.testing.assert_allclose(asked[1][0], expected.numpy(), atol=1e-5)


def test_the_graph_holds_no_weights_and_the_network_is_left_as_it_ships(tmp_path: Path) -> None:
    network = made(DIRECT, tmp_path / "net")
    files = load_file(tmp_path / "net.safetensors")
    assert {v.dtype for v in files.values() if v.ndim > 1} == {torch.float16}
    assert {v.dtype for v in files.values() if v.ndim <= 1} == {torch.float32}
    for name, value in network.state_dict().items():  # rounded: figures are of what ships
        if name in files:
            assert torch.equal(value, files[name].float())
    before = CompiledNetwork(tmp_path / "net.onnx", 1)
    tiles = np.full((1, 128, 128, 3), 90, np.uint8)
    save_file({name: 0 * value + 1 for name, value in files.items()}, tmp_path / "net.safetensors")
    after = CompiledNetwork(tmp_path / "net.onnx", 1)
    assert before(tiles)[0] != after(tiles)[0]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda files: files.popitem(), "1 tensors missing, 0 not expected; restore"),
        (lambda files: files.update(more=torch.ones(2)), "0 tensors missing, 1 not expected"),
        (lambda files: files.update({min(files): torch.ones(5, 5)}), "size mismatch.*; restore"),
    ],
    ids=["missing", "more", "another shape"],
)
def test_weights_of_another_network_are_refused(tmp_path: Path, spoil, said: str) -> None:
    made(DIRECT, tmp_path / "net")
    path = tmp_path / "net.safetensors"
    files = load_file(path)
    spoil(files)
    save_file(files, path)
    with pytest.raises(ModelError, match=f"'net.safetensors' .*{said}"):
        load_network(DIRECT, path)


@pytest.mark.parametrize("kept", [0, 1000])
def test_weights_cut_off_are_refused(tmp_path: Path, kept: int) -> None:
    made(DIRECT, tmp_path / "net")
    path = tmp_path / "net.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ModelError, match=r"'net.safetensors' cannot be used .*; restore the model"):
        load_network(DIRECT, path)
