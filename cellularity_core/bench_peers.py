"""Our whole pipeline beside the networks of others, and beside what this processor can do."""

import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from math import ceil
from typing import Any, Final

import torch
from torch.utils.flop_counter import FlopCounterMode

from cellularity_core.bench import SIDE, TURNS, Figure
from cellularity_core.engine import load_openvino, resolve_precision
from cellularity_core.patch import Patch
from cellularity_core.peers import PEERS, Peer
from cellularity_core.scorer import Scorer
from cellularity_core.threads import usable_cores
from cellularity_core.training.packaging import load_network

MATRIX: Final = 2048
"""Side of the matrices whose product says how fast this processor multiplies."""

REPEATS: Final = 3


def against_peers(scorer: Scorer, patches: Sequence[Patch]) -> Iterator[Figure]:
    """Time of each peer's network alone against ours of everything, on the same field."""
    torch.set_num_threads(usable_cores())
    ours = _fastest(lambda: list(scorer.score(patches, maps=False))) / len(patches)
    yield Figure(f"patches of {SIDE} px, all methods, everything", 1 / ours, "patches/s", ">= 10")
    side_um = SIDE * scorer.model_set.mpp
    for peer in PEERS:
        eager, fast = _peer_seconds(peer, side_um)
        detail = (
            f"{1000 * eager:.0f} ms in PyTorch eager, {1000 * fast:.0f} ms compiled as ours are, "
            f"against {1000 * ours:.0f} ms; network alone, random weights ({peer.source})"
        )
        yield Figure(f"against {peer.name}", min(eager, fast) / ours, "x", "", detail)
    yield from share_of_limit(scorer, ours)
    yield outside_networks(scorer, patches)


def share_of_limit(scorer: Scorer, seconds: float) -> Iterator[Figure]:
    """How much of a patch's time the multiplications of the networks would need at least."""
    arithmetic = sum(operations(scorer, name) for name in scorer.model_set.manifest["networks"])
    yield Figure("arithmetic of all networks", arithmetic / 1e9, "GFLOP/patch", "")
    rates = {
        precision: _matrix_rate(kind)
        for precision, kind in (("f32", torch.float32), ("bf16", torch.bfloat16))
        if precision in ("f32", resolve_precision("auto", "cpu"))
    }
    for precision, rate in rates.items():
        yield Figure(f"matrix product in {precision}", rate / 1e9, "GFLOP/s", "")
    share = 100 * arithmetic / rates[scorer.precision] / seconds
    name = f"time a patch that the matrix product would take in {scorer.precision}"
    yield Figure(name, share, "% of ours", "")


def outside_networks(scorer: Scorer, patches: Sequence[Patch]) -> Figure:
    """Processor time a patch of all that is no network: the whole less the networks, in turns."""
    tiles = [patch.pixels[None] for patch in patches]
    networks = [scorer.network(name) for name in scorer.model_set.manifest["networks"]]

    def alone() -> None:
        for network in networks:
            for tile in tiles:
                network(tile)

    def turn() -> float:
        whole = _processor_seconds(lambda: list(scorer.score(patches, maps=False)))
        return (whole - scorer.views * _processor_seconds(alone)) / len(patches)

    turn()
    spent = statistics.median(turn() for _ in range(TURNS))
    return Figure("processor time outside the networks", 1000 * spent, "ms/patch", "<= 25")


def _peer_seconds(peer: Peer, side_um: float) -> tuple[float, float]:
    """Seconds that a field takes: in PyTorch eager, and compiled with one tile a core."""
    side = round(side_um / peer.mpp)
    tiles = ceil(side / peer.step) ** 2 if peer.step else 1
    network = peer.build().eval()
    shown = torch.rand(1, 3, peer.tile or side, peer.tile or side)
    with torch.inference_mode():
        eager = _fastest(lambda: network(shown))
    openvino = load_openvino()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer that OpenVINO uses
        graph = openvino.convert_model(network, example_input=shown)
    fast = openvino.compile_model(graph, "CPU", {"INFERENCE_NUM_THREADS": usable_cores()})
    return tiles * eager, tiles * _fastest(lambda: fast(shown.numpy()))


def operations(scorer: Scorer, name: str) -> int:
    """Floating-point operations of a network for one patch; a product and a sum are two."""
    models = scorer.model_set
    described = dict(models.manifest["networks"][name])
    network = load_network(described, models.file(f"{name}.safetensors"))
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, SIDE, SIDE, 3, dtype=torch.uint8))
    return int(counter.get_total_flops()) * scorer.views


def _matrix_rate(kind: torch.dtype) -> float:
    """Floating-point operations a second of a large matrix product on all cores."""
    a, b = (torch.rand(MATRIX, MATRIX).to(kind) for _ in range(2))
    return 2 * MATRIX**3 / _fastest(lambda: a @ b)


def _processor_seconds(run: Callable[[], Any]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def _fastest(run: Callable[[], Any]) -> float:
    run()
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)
