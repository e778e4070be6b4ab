"""A Ray cluster of two machines on this one, for tests of scoring on a cluster.

As a program it scores a slide on both while one is killed, then runs the command on the other.
Ray changes the process that it runs in (signals, threads, standard output), so it is not the
tests' own.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

from slide_support import METHODS, FakeScorer

from cellularity_core import cluster
from cellularity_core.cli import main
from cellularity_core.cluster import ClusterScorer
from cellularity_core.conventions import DEFAULT_SET
from cellularity_core.model_store import open_set
from cellularity_core.patch import Patch
from cellularity_core.results import PatchResult
from cellularity_core.slides.run import Scoring, score_slide

MEMORY = 80 * 2**20
"""Of a machine's object store, in bytes: about what Ray needs at least."""

SECONDS = 90.0
"""For what a test waits for."""

SETTINGS = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 20_000,
    "health_check_failure_threshold": 6,
}
"""A machine that is gone is noticed within seconds; one that is slow is not taken for gone."""


@contextmanager
def two_machines() -> Iterator[tuple[Any, Any]]:
    """The cluster, and the machine of it that may be killed."""
    from ray.cluster_utils import Cluster

    sizes = {"num_cpus": 1, "object_store_memory": MEMORY, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=sizes | {"_system_config": SETTINGS})
    try:
        yield made, made.add_node(**sizes)
    finally:
        made.shutdown()


def until(done: Path) -> None:
    """Wait for a file."""
    limit = time.monotonic() + SECONDS
    while not done.exists():
        if time.monotonic() > limit:
            raise TimeoutError(f"there is no {done.name} after {SECONDS:.0f} s")
        time.sleep(0.05)


class WatchedScorer(FakeScorer):
    """Notes where it scores what.

    On the doomed machine it stops in its fifth tile, for ever; elsewhere it waits for that in
    its second, so that both machines have work when one is killed.
    """

    def __init__(self, folder: Path, doomed: str) -> None:
        super().__init__()
        self.folder = folder
        self.doomed = doomed
        self.count = 0
        self.lock = threading.Lock()

    def result(self, patch: Patch) -> PatchResult:
        import ray

        node = ray.get_runtime_context().get_node_id()
        with self.lock:
            self.count += 1
            number = self.count
        with (self.folder / f"{node}.log").open("a") as file:
            file.write(f"{patch.name}\n")
        stuck = self.folder / "stuck"
        if node == self.doomed and number >= 5:
            stuck.touch()
            time.sleep(10 * SECONDS)
        if node != self.doomed and number >= 2:
            until(stuck)
        return super().result(patch)


class Opener:
    """Opens a `WatchedScorer`."""

    def __init__(self, folder: Path, doomed: str) -> None:
        self.folder = folder
        self.doomed = doomed

    def __call__(self, device: str, threads: int) -> WatchedScorer:
        assert (device, threads) == ("cpu", 1)
        return WatchedScorer(self.folder, self.doomed)


def score_and_kill(made: Any, doomed: Any, slide: Path, out: Path, log: Path) -> dict[str, Any]:
    """Score a slide on both machines, kill one while it works; what was seen."""

    def kill() -> None:
        until(log / "stuck")
        made.remove_node(doomed, allow_graceful=False)
        (log / "killed").touch()

    killer = threading.Thread(target=kill)
    killer.start()
    told: list[str] = []
    cluster.scorer.BATCH = 2
    opener = Opener(log, doomed.node_id)
    began = time.monotonic()
    with ClusterScorer.connected(
        made.address,
        open_set(DEFAULT_SET),
        methods=METHODS,
        views=1,
        precision=FakeScorer.precision,
        opener=opener,
        tell=told.append,
    ) as scorer:
        score_slide(slide, Scoring.by(scorer), out)
    killer.join()
    logs = {
        "doomed" if path.stem == doomed.node_id else "other": path.read_text().splitlines()
        for path in log.glob("*.log")
    }
    return {"told": told, "seconds": time.monotonic() - began, "logs": logs}


def run_command(*arguments: str) -> tuple[int, str]:
    """Exit code of the command, and what it wrote to standard output."""
    written = TextIOWrapper(BytesIO(), encoding="utf-8")
    with redirect_stdout(written):
        code = main(arguments)
        written.flush()
    return code, written.buffer.getvalue().decode()


def report(slide: Path, patches: Path, small: Path, folder: Path) -> dict[str, Any]:
    """Everything that the tests judge."""
    (folder / "log").mkdir()
    with two_machines() as (made, doomed):
        found = score_and_kill(made, doomed, slide, folder / "slide", folder / "log")
        ray = ["--engine", "ray", "--address", made.address, "--models", "gbt", "--device", "cpu"]
        found["score"] = run_command("score", str(patches), "--json", "-", *ray)
        out = str(folder / "command")
        found["slide"] = run_command("slide", str(small), "--out", out, *ray)
    return found


if __name__ == "__main__":
    folder = Path(sys.argv[4])
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    began = time.monotonic()
    found = report(*map(Path, sys.argv[1:4]), folder)
    (folder / "report.json").write_text(json.dumps(found | {"all": time.monotonic() - began}))
