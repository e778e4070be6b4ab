"""Have many simulated browsers use the app at once on this machine, and say how it held.

    python docs/load.py [--browsers 30] [--minutes 5] [--pace 1] [--json F]

starts the app on a loopback port with records of its own and one study that a reader in each
browser reads. Each reader (`load_reader.py`) uploads a synthetic patch on the page Analyse,
looks at its scores, moves the slider of its own score and keeps that, then reads cases of the
study, and begins anew, with a person's pauses. Every message of the server is looked at for
errors, every score shown is compared with that of the same patch scored alone, and everything
that was kept must be in the records at the end. Exit code 1 if anything was wrong.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
from load_browser import Tab
from load_material import Patches, prepare
from load_reader import COMMIT, LOOK, MOVE, READ, READS, ROUND, Log, Reader
from scipy import stats

from db import records
from db.session import open_records, snapshot
from db.verify import verify

ROOT: Final = Path(__file__).resolve().parent.parent

SAMPLE: Final = 5.0
"""Seconds between two looks at the server."""

WARM: Final = 60.0
"""Seconds after which the server's memory is to be flat."""

LINE: Final = 0.3
"""Seconds within which 95 % of reads are to be kept."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the server: seconds since the browsers began, MB, seconds of processor, load."""

    at: float
    rss: float
    cpu: float
    load: float
    held: dict[str, int]


@contextmanager
def serving(folder: Path, database: Path) -> Iterator[tuple[str, int]]:
    """The app on a free port: its address and process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(ROOT / "docs" / "load_server.py"), str(folder / "held.json")]
    command += ["app.py", "--server.headless", "true", "--server.address", "127.0.0.1"]
    command += ["--server.port", str(port), "--server.fileWatcherType", "none"]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"CELLULARITY_DB": str(database), "PYTHONPATH": path}
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(300):
            with suppress(httpx.HTTPError):
                if httpx.get(f"{url}/_stcore/health", timeout=2).is_success:
                    break
            time.sleep(0.2)
        yield url, server.pid
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(timeout=15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def told(folder: Path) -> dict[str, int]:
    """What the server last wrote of what it holds; nothing where it has not written yet."""
    file = folder / "held.json"
    found: dict[str, int] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return found


def look(pid: int, folder: Path, began: float) -> Sample:
    """What the server takes now; NaN for memory and processor where there is no /proc."""
    rss = cpu = float("nan")
    with suppress(OSError):
        [kib] = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        rss, cpu = int(kib) / 1024, (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
    return Sample(time.monotonic() - began, rss, cpu, os.getloadavg()[0], told(folder))


def growth(samples: list[Sample]) -> list[float] | None:
    """MB a minute after the first, and its 95 % interval; None from too few looks."""
    late = [s for s in samples if s.at >= WARM and s.rss == s.rss]
    if len(late) < 10:
        return None
    fit = stats.linregress([s.at / 60 for s in late], [s.rss for s in late])
    width = float(stats.t.ppf(0.975, len(late) - 2) * fit.stderr)
    return [float(fit.slope), float(fit.slope) - width, float(fit.slope) + width]


def lowest(samples: list[Sample], since: float) -> float:
    """Least memory in MB in the minute from `since` on: what stays when nobody is scored for."""
    return min((s.rss for s in samples if since <= s.at <= since + WARM), default=float("nan"))


async def drive(
    url: str,
    readers: list[str],
    seconds: float,
    pace: float,
    files: Patches,
    log: Log,
    see: Callable[[float], Sample],
) -> list[Sample]:
    """Let all readers work, come in the course of a round, and look at the server meanwhile.

    It is looked at until the time is over, when readers begin to leave.
    """
    began = time.monotonic()
    samples: list[Sample] = []

    async def watch() -> None:
        while (left := began + seconds - time.monotonic()) > 0:
            samples.append(see(began))
            await asyncio.sleep(min(SAMPLE, left))
        samples.append(see(began))

    watching = asyncio.create_task(watch())
    people = [
        Reader(name, Tab(url), files, log, began + seconds, pace, random.Random(name))
        for name in readers
    ]

    async def arrive(k: int, person: Reader) -> None:
        await asyncio.sleep(min(ROUND * pace, seconds / 4) * k / len(people))
        await person.work()

    await asyncio.gather(*(arrive(k, person) for k, person in enumerate(people)))
    if watching.cancel():  # all have left before the time was over
        samples.append(see(began))
    return samples


def check(database: Path, study: int, log: Log) -> None:
    """Compare the records with what the browsers were told was kept."""
    engine = open_records(str(database))
    with snapshot(engine) as db:
        verdict = verify(db)
        if not verdict.ok:
            log.errors[f"the records were altered: {verdict.first_bad}, {verdict.why}"] += 1
        for name in {*log.reads, *log.own}:
            kept = [r.cellularity for r in records.own_readings(db, study_id=study, reader=name)]
            if kept != log.reads[name]:
                log.errors[f"{name}: {len(kept)} reads kept, {len(log.reads[name])} told"] += 1
            told = log.own[name]
            found = records.readings(db, sha256s=[s for s, _ in told], reader=name)
            own = [(s, r.cellularity) for s in found for r in found[s]]
            if sorted(own) != sorted(told):
                log.errors[f"{name}: {len(own)} own scores kept, {len(told)} told"] += 1
    engine.dispose()


def report(log: Log, samples: list[Sample], held: dict[str, int]) -> dict[str, Any]:
    """The figures; `held` is what the server said when it ended."""
    actions = {
        what: {
            "n": len(taken),
            "median_ms": 1000 * float(np.median(taken)),
            "p95_ms": 1000 * float(np.quantile(taken, 0.95)),
            "max_ms": 1000 * max(taken),
        }
        for what, taken in log.seconds.items()
    }
    took = samples[-1].at - samples[0].at
    return {
        "seconds": took,
        "actions": actions,
        "errors": dict(log.errors),
        "reads_kept": sum(map(len, log.reads.values())),
        "own_scores_kept": sum(map(len, log.own.values())),
        "uploads_that_waited": sum(place > 0 for place in log.places),
        "longest_queue": max(log.places, default=0),
        "scorers_made": held.get("made", 0),
        "collections": held.get("collections", 0),
        "threads": max((s.held.get("threads", 0) for s in samples), default=0),
        "memory_mb": [s.rss for s in samples],
        "memory_at_s": [s.at for s in samples],
        "growth_mb_per_minute": growth(samples),
        "lowest_mb": [lowest(samples, WARM), lowest(samples, took - WARM)],
        "server_cores": (samples[-1].cpu - samples[0].cpu) / took,
        "load_average": float(np.mean([s.load for s in samples])),
    }


def tell(figures: dict[str, Any], browsers: int, pace: float) -> Iterator[str]:
    """The figures in words."""
    yield f"{browsers} browsers for {figures['seconds']:.0f} s; a reader looks at scores for "
    yield f"{LOOK[0]:g} to {LOOK[1]:g} s, moves the slider every {MOVE[0]:g} to {MOVE[1]:g} s and "
    yield f"reads a case in {READ[0]:g} to {READ[1]:g} s, all times {pace:g}.\n\n"
    yield f"{'':20}{'n':>6}{'median':>10}{'p95':>10}{'most':>10}\n"
    for what, a in figures["actions"].items():
        times = "".join(f"{a[key]:>7.0f} ms" for key in ("median_ms", "p95_ms", "max_ms"))
        yield f"{what:20}{a['n']:>6}{times}\n"
    yield f"\nKept: {figures['reads_kept']} reads and {figures['own_scores_kept']} own scores.\n"
    waited, longest = figures["uploads_that_waited"], figures["longest_queue"]
    yield f"{waited} uploads were told to wait, with at most {longest} before them.\n"
    yield f"Scorers opened: {figures['scorers_made']}. Threads, at most: {figures['threads']}.\n"
    yield f"All garbage was collected {figures['collections']} times.\n"
    memory = [mb for mb in figures["memory_mb"] if mb == mb]
    if memory:
        yield f"Memory: {memory[0]:.0f} MB, at most {max(memory):.0f}, at the end {memory[-1]:.0f}"
        if slope := figures["growth_mb_per_minute"]:
            yield f"; after {WARM:.0f} s {slope[0]:+.1f} MB a minute"
            yield f" ({slope[1]:+.1f} to {slope[2]:+.1f}); lowest in the second minute "
            yield "{:.0f}, in the last {:.0f}".format(*figures["lowest_mb"])
        yield ".\n"
    yield f"Processor: the app used {figures['server_cores']:.2f} of {os.cpu_count()} cores; "
    yield f"load average {figures['load_average']:.1f}.\n"
    p95 = figures["actions"].get(COMMIT, {}).get("p95_ms", float("nan"))
    yield f"95 % of reads were kept within {p95:.0f} ms (line: {1000 * LINE:.0f} ms).\n"
    yield f"Errors: {sum(figures['errors'].values())}\n"
    for error, count in list(figures["errors"].items())[:20]:
        yield f"  {count} x {error}\n"


def run(
    browsers: int, seconds: float, pace: float, folder: Path, side: int = 512
) -> dict[str, Any]:
    """Everything; the figures."""
    rounds = seconds / (ROUND * pace) + 1
    files = Patches(max(1, round(browsers * rounds / 8)), side)
    readers = [f"Load reader {k + 1:02}" for k in range(browsers)]
    database = folder / "load.db"
    study = prepare(database, readers, cases=round(1.5 * READS * rounds))
    log = Log()
    with serving(folder, database) as (url, pid):
        see = partial(look, pid, folder)
        samples = asyncio.run(drive(url, readers, seconds, pace, files, log, see))
    held = told(folder)  # with what it wrote at its end
    check(database, study, log)
    for line in (folder / "server.log").read_text(errors="replace").splitlines():
        if "Traceback" in line or " ERROR " in line:
            log.errors[f"the server's log: {line.strip()}"] += 1
    return report(log, samples, held)


def main() -> None:
    """Take the options, run, tell."""
    parser = argparse.ArgumentParser(description="Many simulated browsers use the app at once.")
    parser.add_argument("--browsers", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--pace", type=float, default=1.0, help="times the pauses of a reader")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args()
    if not (1 <= given.browsers <= 200 and 0 < given.minutes <= 60 and given.pace > 0):
        parser.error("give 1 to 200 browsers, up to 60 minutes and a pace above 0")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and the app ends with it
    with tempfile.TemporaryDirectory() as folder:
        figures = run(given.browsers, 60 * given.minutes, given.pace, Path(folder))
    sys.stdout.writelines(tell(figures, given.browsers, given.pace))
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    sys.exit(1 if figures["errors"] else 0)


if __name__ == "__main__":
    main()
