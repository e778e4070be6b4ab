"""Peers are built as published; what they are compared by adds up."""

import math

import pytest
import torch

from cellularity_core import bench, bench_peers
from cellularity_core.engine import resolve_precision
from cellularity_core.peers import PEERS, Peer
from cellularity_core.scorer import Scorer

HOVER, STAR, VGG = PEERS


@pytest.mark.parametrize(
    ("peer", "shown", "outputs", "parameters"),
    [
        # 37.6 and 1.4 million are what the published models of that shape hold.
        (HOVER, 256, [(2, 164), (2, 164), (6, 164)], 37.6e6),
        (STAR, 64, [(1, 32), (32, 32)], 1.43e6),
        (VGG, 64, [(8, 64)], 23.8e6),
    ],
)
def test_a_peer_has_the_shape_of_the_published_one(
    peer: Peer, shown: int, outputs: list[tuple[int, int]], parameters: float
) -> None:
    network = peer.build().eval()
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(parameters, rel=0.01)
    with torch.inference_mode():
        found = network(torch.rand(1, 3, shown, shown))
    maps = found if isinstance(found, tuple) else (found,)
    assert [(m.shape[1], m.shape[2]) for m in maps] == outputs
    if peer.step:
        assert (peer.tile, peer.step) == (shown, outputs[0][1])


def test_peers_and_the_limit_are_measured(monkeypatch) -> None:
    small = Peer("a small one", "nobody", 0.25, 64, 32, lambda: torch.nn.Conv2d(3, 2, 33))
    monkeypatch.setattr(bench_peers, "PEERS", (small,))
    monkeypatch.setattr(bench_peers, "MATRIX", 64)
    monkeypatch.setattr(bench_peers, "REPEATS", 1)
    scorer = Scorer.open(device="cpu")
    patches = bench.synthetic_patches(2, scorer.model_set.mpp)
    figures = {f.name: f for f in bench_peers.against_peers(scorer, patches)}
    assert all(math.isfinite(f.value) for f in figures.values())
    assert figures["against a small one"].value > 0
    assert len(figures) == 1 + 1 + 1 + len({"f32", resolve_precision("auto", "cpu")}) + 1 + 1


def test_operations_are_those_of_all_convolutions() -> None:
    scorer = Scorer.open(device="cpu", methods=("direct-r",))
    counted = bench_peers.operations(scorer, "direct-r")
    # EfficientNet-Lite0 is published with 407 million products at 224 px, norms included.
    assert counted == pytest.approx(2 * 407e6 * (512 / 224) ** 2, rel=0.08)
