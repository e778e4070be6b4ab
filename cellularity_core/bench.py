"""Speed and memory on this machine, every ratio measured within one run.

What is compared runs in turns, so that a machine that slows down slows both;
the figures are medians. Patches are synthetic: what an H&E patch costs does not
depend on whose it is.
"""

import itertools
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from cellularity_core import export
from cellularity_core.blobs import BLOB_THRESHOLDS
from cellularity_core.conventions import CLASSES, FEATURE_PIXELS
from cellularity_core.engine import CompiledNetwork, Network, resolve_precision
from cellularity_core.errors import CellularityError
from cellularity_core.features import FEATURE_NAMES, features
from cellularity_core.model_store import ModelSet, open_set
from cellularity_core.outputs import STDOUT
from cellularity_core.patch import Patch, load_patch
from cellularity_core.results import PatchResult
from cellularity_core.scorer import Scorer
from cellularity_core.synthetic import synthesise
from cellularity_core.threads import usable_cores

SIDE: Final = 512
PATCHES: Final = 64
COLD_STARTS: Final = 3
WARM: Final = 9
"""Patches scored one after another, warm."""

TURNS: Final = 7
"""Turns in which what is compared runs."""

BATCH: Final = 8
"""Tiles of `SIDE` pixels in the batch on which engines are compared."""

Maps = npt.NDArray[np.float32]
A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure.

    Attributes
    ----------
    name : str
        What was measured.
    value : float
    unit : str
    goal : str
        What it should be, e.g. "<= 0.4"; empty where nothing is asked of it.
    detail : str
        What a ratio is made of.
    """

    name: str
    value: float
    unit: str
    goal: str = ""
    detail: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        if not self.goal:
            return None
        sign, limit = self.goal.split()
        return self.value <= float(limit) if sign == "<=" else self.value >= float(limit)


def run(
    model_set: str,
    *,
    naive: bool = False,
    peers: bool = False,
    slides: bool = False,
    json_path: Path | None = None,
) -> None:
    """Measure, print a table and, if asked, write the figures as JSON.

    Parameters
    ----------
    model_set : str
    naive : bool
        Also run the pipeline of `naive.NaivePipeline`.
    peers : bool
        Also time the networks of `peers.PEERS`; takes some minutes.
    slides : bool
        Also score whole slides; takes minutes.
    json_path : Path, optional
        `STDOUT` prints the JSON and no table.
    """
    from rich.console import Console

    chosen = open_set(model_set)
    figures: list[Figure] = []
    with Console(stderr=True).status("measuring") as status:
        for figure in measure(chosen, naive=naive, peers=peers, slides=slides):
            figures.append(figure)
            status.update(f"measured {figure.name}")
    if json_path != STDOUT:
        _print(figures, chosen)
    if json_path is not None:
        text = export.json_text(
            {
                "software": export.SOFTWARE,
                "model_set": chosen.name,
                "model_sha256": chosen.sha256,
                "machine": machine(),
                "figures": [asdict(figure) for figure in figures],
            }
        )
        if json_path == STDOUT:
            sys.stdout.write(text)
        else:
            json_path.write_text(text, encoding="utf-8")


def measure(
    model_set: ModelSet, *, naive: bool = False, peers: bool = False, slides: bool = False
) -> Iterator[Figure]:
    """All figures, as they are measured.

    Processes come first: one that is started carries the memory of the one that
    starts it in its peak, so this one must still be small.
    """
    from cellularity_core import bench_slides

    yield from command_line(model_set)
    if slides:
        yield from bench_slides.growth(model_set)
    patches = synthetic_patches(WARM, model_set.mpp)
    scorer = Scorer.open(model_set.name, device="cpu")
    result = next(scorer.score(patches[:1]))
    yield one_patch(scorer, patches)
    yield from blobs_against_skimage(result.feature_maps["gbt"])
    yield from engines(model_set, patches)
    if naive:
        yield from against_naive(scorer, patches)
    if peers:
        from cellularity_core.bench_peers import against_peers

        yield from against_peers(scorer, patches)
    if slides:
        yield from bench_slides.speed(scorer)


def synthetic_patches(count: int, mpp: float) -> list[Patch]:
    """Different patches of `SIDE` pixels at the pixel size the networks look at."""
    return [
        load_patch(export.png(synthesise(k, SIDE, mpp=mpp).pixels), f"{k}.png", mpp)
        for k in range(count)
    ]


def command_line(model_set: ModelSet) -> Iterator[Figure]:
    """`cellularity score` from its start: first score, then what each patch more costs."""
    patches = synthetic_patches(PATCHES, model_set.mpp)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for patch in patches:
            (folder / patch.name).write_bytes(export.png(patch.pixels))
        single = folder / patches[0].name
        cold = [_timed_command(model_set, single)[0] for _ in range(COLD_STARTS)]
        many, peak = _timed_command(model_set, folder)
    first = statistics.median(cold)
    yield Figure("first score from a cold `cellularity score`", first, "s", "<= 8")
    rate = (PATCHES - 1) / (many - first)
    yield Figure(f"{PATCHES} patches, start-up left out", rate, "patches/s", ">= 5")
    if peak is not None:
        yield Figure(f"peak memory of {PATCHES} patches", peak / 2**30, "GiB", "<= 2")


def _timed_command(model_set: ModelSet, target: Path) -> tuple[float, int | None]:
    """Seconds of a scoring process, and the most memory it held, in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "cellularity_core", "score", str(target)]
        command += ["--json", str(Path(folder) / "scores.json"), "--device", "cpu"]
        command += ["--model-set", model_set.name, "--mpp", str(model_set.mpp)]
        return timed(command)


def timed(command: Sequence[str]) -> tuple[float, int | None]:
    """Seconds of a process, and the most memory it held, in bytes.

    Raises
    ------
    CellularityError
        If it fails.
    """
    began = time.perf_counter()
    process = subprocess.Popen(command)
    peak = None
    if hasattr(os, "wait4"):
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    code = process.wait()
    seconds = time.perf_counter() - began
    if code != 0:
        raise CellularityError(
            f"`{' '.join(command[1:4])}` ended with exit code {code}, so nothing can be measured; "
            "run `cellularity score` on one patch to see why."
        )
    return seconds, peak


def one_patch(scorer: Scorer, patches: Sequence[Patch]) -> Figure:
    """A patch on its own, warm: all scores, masks, blobs, features and SHAP values."""
    seconds = [_seconds(partial(_all, scorer, [patch])) for patch in patches]
    return Figure(
        f"one {SIDE} x {SIDE} patch, everything, warm", statistics.median(seconds), "s", "<= 0.4"
    )


def blobs_against_skimage(maps: Maps) -> Iterator[Figure]:
    """Blobs and 81 features of one patch against 18 calls of `blob_log` on its maps."""
    from cellularity_core.naive import all_blobs

    def reference() -> list[int]:
        return [len(all_blobs(m, t)) for m in maps[: len(CLASSES)] for t in BLOB_THRESHOLDS]

    ratio, detail, found, counts = _compare(lambda: features(maps), reference, repeats=10)
    counted = [k for k, name in enumerate(FEATURE_NAMES) if "blb_cnt" in name]
    ours = found[counted] * maps[0].size / FEATURE_PIXELS
    yield Figure("blobs + 81 features against 18 x skimage blob_log", ratio, "x", ">= 25", detail)
    difference = float(np.abs(ours - counts).max())
    yield Figure("difference of blob counts", difference, "blobs", "<= 0")


def engines(model_set: ModelSet, patches: Sequence[Patch]) -> Iterator[Figure]:
    """Each network of a set, compiled and in PyTorch eager, on one batch.

    Both use all cores: eager by threads within the batch, the compiled network
    by one tile a core, as `Scorer` runs it. In bfloat16 only where the CPU multiplies it.
    """
    import torch

    from cellularity_core.naive import EagerNetwork

    cores = usable_cores()
    precisions = dict.fromkeys(("f32", resolve_precision("auto", "cpu")))
    torch.set_num_threads(cores)
    tiles = np.stack([patch.pixels for patch in patches[:BATCH]])
    with ThreadPoolExecutor(cores) as pool:
        for name, precision in itertools.product(model_set.manifest["networks"], precisions):
            compiled = CompiledNetwork(model_set.file(f"{name}.onnx"), cores, precision)
            eager = EagerNetwork(model_set, name)
            ratio, detail, ours, theirs = _compare(
                partial(_by_tile, pool, compiled, tiles),
                partial(eager, tiles),
            )
            what = f"{name}, {precision}"
            yield Figure(f"{what}: compiled against PyTorch eager", ratio, "x", ">= 2.5", detail)
            difference = max(
                float(np.abs(np.concatenate(parts) - whole).max())
                for parts, whole in zip(zip(*ours, strict=True), theirs, strict=True)
            )
            goal = "<= 1e-3" if precision == "f32" else ""
            yield Figure(f"{what}: largest difference of outputs", difference, "", goal)


def against_naive(scorer: Scorer, patches: Sequence[Patch]) -> Iterator[Figure]:
    """The whole pipeline against `naive.NaivePipeline` on the same patches."""
    import torch

    from cellularity_core.naive import NaivePipeline

    torch.set_num_threads(usable_cores())
    pipeline = NaivePipeline(scorer.model_set)
    pipeline.score(patches[0])
    ratio, detail, _, theirs = _compare(
        partial(_all, scorer, patches, maps=False),
        lambda: [pipeline.score(patch)[0] for patch in patches],
    )
    yield Figure("patches/s against the naive pipeline", ratio, "x", "", detail)
    exact = Scorer(scorer.model_set, device="cpu", precision="f32")
    ours = exact.score(patches, maps=False)
    difference = max(
        abs(score - value)
        for result, scores in zip(ours, theirs, strict=True)
        for method, score in scores.items()
        if (value := result.scores[method].value) is not None
    )
    yield Figure(
        "largest difference of scores to the naive pipeline, both in f32", difference, "", "<= 1e-3"
    )


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": usable_cores(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _all(scorer: Scorer, patches: Sequence[Patch], maps: bool = True) -> list[PatchResult]:
    return list(scorer.score(patches, maps))


def _by_tile(
    pool: ThreadPoolExecutor, network: Network, tiles: npt.NDArray[np.uint8]
) -> list[tuple[Maps, ...]]:
    return list(pool.map(network, tiles[:, None]))


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _compare(
    ours: Callable[[], A], theirs: Callable[[], B], repeats: int = 1
) -> tuple[float, str, A, B]:
    """How many times faster `ours` is, both times in words, and what both return.

    Parameters
    ----------
    ours, theirs : callable
        Called in turns, after one call each that is not timed.
    repeats : int
        Calls of `ours` in a turn, where it is too short to be timed once.
    """
    mine, other = ours(), theirs()
    fast, slow = [], []
    for _ in range(TURNS):
        fast += [_seconds(ours) for _ in range(repeats)]
        slow.append(_seconds(theirs))
    took, took_other = statistics.median(fast), statistics.median(slow)
    detail = f"{took * 1e3:.3g} ms against {took_other * 1e3:.3g} ms"
    return took_other / took, detail, mine, other


def _print(figures: Sequence[Figure], model_set: ModelSet) -> None:
    from rich.console import Console
    from rich.table import Table

    here = machine()
    table = Table(
        caption=f"Model set {model_set.name}, {model_set.views} view(s), on {here['cores']} cores "
        f"of {here['processor']}. Medians of one run."
    )
    for name in ("measured", "value", "", "goal", "reached"):
        table.add_column(name, justify="right" if name == "value" else "left")
    for figure in figures:
        answer = {True: "yes", False: "NO", None: ""}[figure.reached]
        table.add_row(
            figure.name, f"{figure.value:.3g} {figure.unit}", figure.detail, figure.goal, answer
        )
    Console().print(table)
