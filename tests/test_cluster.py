"""Scoring on a cluster: what is lost is done again, once; what cannot be used says so."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from slide_support import FakeScorer, finished, made_slide, scoring

from cellularity_core import engine, export
from cellularity_core.cli import main
from cellularity_core.cluster import ClusterScorer, connection, pool
from cellularity_core.cluster import scorer as cluster_scorer
from cellularity_core.cluster.places import MOST_CPUS, Place, device_for, places
from cellularity_core.cluster.pool import HELD, IN_FLIGHT, LOSSES, Pool
from cellularity_core.cluster.scorer import OpenSet, SlideFile
from cellularity_core.errors import CellularityError, ClusterError, ModelError, SlideError
from cellularity_core.model_store import open_set
from cellularity_core.slides.reading import Slide
from cellularity_core.slides.run import score_slide
from cellularity_core.slides.store import FILE
from cellularity_core.synthetic import synthesise

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 240


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with slides, patches and, in ``whole``, the results of one process."""
    folder = tmp_path_factory.mktemp("cluster")
    made_slide(folder / "s.tif", 1700)
    made_slide(folder / "small.tif", 560, tissue=1)
    score_slide(folder / "s.tif", scoring(FakeScorer()), folder / "whole")
    (folder / "patches").mkdir()
    for k in range(3):
        picture = export.png(synthesise(k, 200, mpp=0.5).pixels)
        (folder / "patches" / f"{k}.png").write_bytes(picture)
    (folder / "patches" / "broken.png").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def report(made: Path) -> Iterator[dict[str, Any]]:
    """What `ray_support` found on a real cluster of two machines."""
    paths = [made / name for name in ("s.tif", "patches", "small.tif")]
    short = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # the names of sockets have a limit
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    run = subprocess.Popen(
        [sys.executable, "ray_support.py", *map(str, paths), str(made)],
        cwd=ROOT / "tests",
        env=os.environ | {"PYTHONPATH": path, "RAY_TMPDIR": short},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = run.communicate(timeout=SECONDS)
        assert run.returncode == 0, said[-5000:]
        yield json.loads((made / "report.json").read_text()) | {"said": said}
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
            run.communicate()
        shutil.rmtree(short, ignore_errors=True)


@pytest.mark.slow
def test_a_machine_killed_in_the_middle_changes_nothing(made: Path, report) -> None:
    def outputs(folder: Path) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.startswith(FILE)}

    assert outputs(made / "slide") == outputs(made / "whole")
    total = finished(made / "whole")
    assert finished(made / "slide") == total
    doomed, other = report["logs"]["doomed"], report["logs"]["other"]
    assert len(doomed) >= 5
    again = set(doomed) & set(other)
    assert again  # what was under way on the machine that was killed
    assert len(set(doomed) | set(other)) == total
    (told,) = report["told"]
    assert told.startswith("A worker on ") and told.endswith("was lost; its work is done again.")


@pytest.mark.slow
def test_the_command_scores_on_a_cluster_as_in_one_process(made: Path, report, capsys) -> None:
    code, text = report["score"]
    assert code == 1  # for the file that is no picture
    there = json.loads(text)
    local = ["--models", "gbt", "--device", "cpu"]
    assert main(["score", str(made / "patches"), "--json", "-", *local]) == 1
    here = json.loads(capsys.readouterr().out)
    for one in (*here["patches"], *there["patches"]):
        del one["seconds"]
    close = [one.pop("scores") for one in there["patches"]]
    exact = [one.pop("scores") for one in here["patches"]]
    assert there == here
    assert len(close) == 3
    for a, b in zip(close, exact, strict=True):
        assert a["gbt"] == pytest.approx(b["gbt"], abs=1e-6)
    assert "broken.png" in report["said"]

    code, text = report["slide"]
    assert code == 0 and "weak TC" in " ".join(text.split())
    assert main(["slide", str(made / "small.tif"), "--out", str(made / "local"), *local]) == 0
    for name in ("tiles.csv", "summary.json", "tiles.geojson"):
        assert (made / "command" / "small" / name).read_text() == (
            made / "local" / "small" / name
        ).read_text()


class Lost(Exception):
    """A worker that went away, as the fake Ray says it."""


class Raised(Exception):
    """What a worker raised, as the fake Ray says it."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause


class FakeRay:
    """As much of Ray as `Pool` asks for; a call is run when it is waited for, the last first."""

    def __init__(self, cpus: dict[str, int], fails: Callable[[str, Any], Exception | None]) -> None:
        self.cpus = cpus
        self.fails = fails
        self.most = 0
        self.calls: list[tuple[str, Any]] = []
        self.exceptions = SimpleNamespace(RayError=(Lost, Raised), RayTaskError=Raised)
        strategy = SimpleNamespace(NodeAffinitySchedulingStrategy=lambda node, soft: node)
        self.util = SimpleNamespace(scheduling_strategies=strategy)

    def nodes(self) -> list[dict[str, Any]]:
        return [node(name, CPU=cpus) for name, cpus in self.cpus.items()]

    def remote(self, kind: type) -> Any:
        return SimpleNamespace(
            options=lambda **o: SimpleNamespace(remote=lambda *a: self.actor(*a))
        )

    def actor(self, name: str) -> Any:
        def method(kind: str) -> Any:
            call = SimpleNamespace(remote=lambda *a: (len(self.calls), name, kind, *a))
            call.options = lambda **o: call
            return call

        return SimpleNamespace(ready=method("ready"), work=method("work"))

    def wait(
        self, refs: list[Any], num_returns: int, timeout: float
    ) -> tuple[list[Any], list[Any]]:
        self.most = max(self.most, sum(ref[2] == "work" for ref in refs))
        return [refs[-1]], refs[:-1]

    def get(self, ref: Any) -> Any:
        _, name, kind, *content = ref
        self.calls.append((name, *content))
        error = self.fails(name, *content) if kind == "work" else None
        if error is not None:
            raise error
        return content[0] * 10 if content else None


def made_pool(ray: FakeRay, told: list[str] | None = None) -> Pool:
    say = [].append if told is None else told.append
    return Pool(ray, object, lambda place: (place.host,), "cpu", say)


def node(name: str, alive: bool = True, **resources: float) -> dict[str, Any]:
    return {"NodeID": name, "NodeManagerHostname": name, "Alive": alive, "Resources": resources}


def test_results_come_once_and_in_order_past_losses() -> None:
    losing = {("a", 3), ("b", 3), ("a", 7)}

    def fails(name: str, content: int) -> Exception | None:
        if (name, content) in losing:
            losing.remove((name, content))
            return Lost()
        return None

    ray, told = FakeRay({"a": 1, "b": 1}, fails), []
    pulled: list[int] = []

    def contents() -> Iterator[int]:
        for k in range(40):
            pulled.append(k)
            yield k

    for place, result in enumerate(made_pool(ray, told).results("work", contents(), True)):
        assert result == place * 10
        assert len(pulled) <= place + 2 * HELD + 1
    assert place == 39
    assert ray.most <= 2 * IN_FLIGHT
    assert told and all("was lost; its work is done again." in words for words in told)

    nobody = made_pool(FakeRay({}, lambda *_: None))
    assert list(nobody.results("work", [])) == []
    unordered = list(made_pool(FakeRay({"a": 1}, lambda *_: None)).results("work", range(9)))
    assert sorted(unordered) == [10 * k for k in range(9)] != unordered


def test_work_that_no_worker_survives_ends_the_run() -> None:
    ray = FakeRay(
        {"a": 1, "b": 1}, lambda name, k: Lost("killed by the system") if k == 2 else None
    )
    with pytest.raises(ClusterError, match=r"lost with 3 workers.*killed by the system.*is kept"):
        list(made_pool(ray).results("work", range(9)))
    assert sum(call[1:] == (2,) for call in ray.calls) == LOSSES


def test_what_a_worker_raises_is_raised_here() -> None:
    error = SlideError("s.svs breaks off")
    ray = FakeRay({"a": 1}, lambda name, k: Raised(error) if k == 2 else None)
    with pytest.raises(SlideError, match=r"^s\.svs breaks off$"):
        list(made_pool(ray).results("work", range(9)))


def test_a_cluster_without_a_worker_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(pool, "GLANCE_SECONDS", 0.01)
    with pytest.raises(ClusterError, match=r"0 machine\(s\) with 0 CPUs .*`ray status`"):
        list(made_pool(FakeRay({}, lambda *_: None)).results("work", range(9)))


def test_a_worker_a_gpu_or_one_for_a_few_cores() -> None:
    nodes = [
        node("head", CPU=0),
        node("big", CPU=20, memory=1e9),
        node("gone", alive=False, CPU=4),
        node("gpus", CPU=16, GPU=2),
    ]
    assert device_for(nodes, "auto") == device_for(nodes, "cuda") == "cuda"
    assert device_for(nodes, "cpu") == device_for(nodes[:3], "auto") == "cpu"
    with pytest.raises(ClusterError, match="no machine of the cluster offers a GPU"):
        device_for(nodes[:3], "cuda")
    on_gpus = places(nodes, "cuda")
    assert on_gpus == [Place("gpus", "gpus", k, 8, 1) for k in range(2)]
    assert {place.device for place in on_gpus} == {"cuda"}
    on_cpus = places(nodes, "cpu")
    assert [(p.host, p.cpus, p.gpus) for p in on_cpus] == [("big", 6, 0)] * 3 + [("gpus", 8, 0)] * 2
    assert max(place.cpus for place in on_cpus) <= MOST_CPUS


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n", b"", None])
def test_an_address_where_no_ray_answers(answer: bytes | None, monkeypatch, capsys) -> None:
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def serve() -> None:
            link, _ = server.accept()
            with link:
                if answer is not None:
                    link.sendall(answer)
                link.recv(1000)
                if answer is None:
                    link.recv(1000)  # silent until the other side gives up

        thread = threading.Thread(target=serve)
        thread.start()
        with (
            pytest.raises(ClusterError, match=f"answers at {address}"),
            connection.connected(address),
        ):
            pass
        thread.join()
    options = ["--engine", "ray", "--address", address]
    assert main(["slide", __file__, "--out", "nowhere", *options]) == 1
    assert f"No Ray cluster answers at {address} (Connection refused)" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["rubbish", "ray://10.0.0.1:10001", ":6379", "host:99999"])
def test_an_address_that_is_none(address: str) -> None:
    refused = pytest.raises(ClusterError, match=r"not understood; give HOST:PORT")
    with refused, connection.connected(address):
        pass


def test_ray_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    refused = pytest.raises(ClusterError, match=r"install it .* -e '\.\[cluster\]'")
    with refused, connection.connected(None):
        pass


@pytest.mark.parametrize("command", [["score"], ["slide", "--out", "nowhere"]])
def test_an_address_needs_the_engine(command: list[str], capsys) -> None:
    assert main([*command, __file__, "--address", "10.0.0.1:6379"]) == 2
    assert "give --engine ray too" in " ".join(capsys.readouterr().err.replace("│", " ").split())


@pytest.mark.parametrize("able", ["f32", "bf16"])
def test_all_workers_multiply_the_same(monkeypatch: pytest.MonkeyPatch, able: str) -> None:
    monkeypatch.setattr(engine, "_own_choice", lambda: able)
    for resources, precision in (({"CPU": 4}, able), ({"CPU": 4, "GPU": 1}, "f32")):
        ray = FakeRay({}, lambda *_: None)
        monkeypatch.setattr(ray, "nodes", lambda r=resources: [node("a", **r)])
        monkeypatch.setattr(cluster_scorer, "connected", lambda address, r=ray: nullcontext(r))
        with ClusterScorer.connected(None, open_set()) as scorer:
            assert scorer.precision == precision


def test_machines_that_differ_are_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(engine, "_own_choice", lambda: "f32")
    chosen = open_set()
    opens = OpenSet(chosen, ("gbt",), 1, "f32")
    for changed, kind, words in (
        (replace(opens, software="cellularity 0.0.9"), ClusterError, "given to cellularity 0.0.9"),
        (replace(opens, model_set=replace(chosen, sha256="0" * 64)), ModelError, "and not 0000000"),
        (replace(opens, precision="bf16"), ClusterError, "does not multiply bf.*--precision f32"),
    ):
        with pytest.raises(kind, match=words):
            changed("cpu", 1)
    made_slide(tmp_path / "s.tif", 560)
    file = SlideFile.of(Slide(tmp_path / "s.tif", 0.4))
    assert file.open().mpp == 0.4
    for changed_file, words in (
        (replace(file, size=7), "is another file on the machine"),
        (replace(file, path=tmp_path / "gone.tif"), "is not there on the machine"),
    ):
        with pytest.raises(CellularityError, match=words):
            changed_file.open()
