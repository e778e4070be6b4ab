"""Try broken inputs in a process of its own, which may crash, hang or be short of memory.

`fuzz_watch.py FOLDER SEED SECONDS PLAN` is that process, the plan being a JSON list of target,
first and last input: it prints a line of JSON for each input that goes wrong, and one for each
target. `watch` starts it, and again behind an input that ends it.
"""

import faulthandler
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

AT = "at"
"""File that says which input is tried."""

SECONDS = 5.0
"""Most processor time that an input may take."""

STUCK_SECONDS = 100.0
"""After which an input that waits for something ends the process."""

MEMORY = 768 * 2**20
"""Most memory that an input may take beyond what the process had, in bytes."""

ROOM = 3 * 2**30
"""Address space beyond what the process had; an allocation larger than this fails."""

LONGEST = 1500
"""Characters of a refusal that somebody may have to read."""

CHANGES = {
    *("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.chmod"),
    *("os.truncate", "os.utime", "sqlite3.connect", "shutil.unpack_archive"),
}
NEVER = {
    *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pickle.find_class"),
    *("socket.connect", "socket.bind", "socket.getaddrinfo", "ctypes.dlopen"),
}


@dataclass(slots=True)
class Outcome:
    """What came of a target's inputs."""

    tried: int = 0
    refused: int = 0
    slowest: float = 0.0
    memory: int = 0
    wrong: list[dict[str, Any]] = field(default_factory=list)


def watch(
    counts: Mapping[str, int], folder: Path, seed: int = 0, seconds: float = SECONDS
) -> dict[str, Outcome]:
    """Try so many inputs of each target, by a process that works in an empty folder."""
    found = {target: Outcome() for target in counts}
    left = [(target, 0, count) for target, count in counts.items()]
    program = sys.executable, str(Path(__file__))
    for start in itertools.count():
        home = folder / f"home{start}"
        home.mkdir(parents=True)
        places = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME"), str(home))
        places["CELLULARITY_DB"] = str(home / "records.db")
        done = subprocess.run(
            [*program, str(home), str(seed), str(seconds), json.dumps(left)],
            cwd=home,
            env=os.environ | places | {"PYTHONPATH": str(Path(__file__).parents[1])},
            capture_output=True,
            text=True,
            check=False,
        )
        for line in done.stdout.splitlines():
            told = json.loads(line)
            of = found[told.pop("target")]
            if "tried" in told:
                of.tried += told["tried"]
                of.refused += told["refused"]
                of.slowest = max(of.slowest, told["slowest"])
                of.memory = max(of.memory, told["memory"])
            else:
                of.wrong.append(told)
        if done.returncode == 0:
            return found
        # It ended without a word; go on behind the input that it was at.
        at = (home / AT).read_text() if (home / AT).exists() else ""
        assert at, done.stderr
        target, number = json.loads(at.partition("\n")[0])
        why = "stuck" if "Timeout" in done.stderr else f"ended with {done.returncode}"
        found[target].wrong.append({"number": number, "kind": why, "detail": done.stderr[-3000:]})
        while left[0][0] != target:
            del left[0]
        _, begun, last = left[0]
        found[target].tried += number + 1 - begun
        left[0] = target, number + 1, last
    raise AssertionError


class _Guard:
    """Notes what a reader changes outside its folder, and what no reader ever does."""

    def __init__(self) -> None:
        self.inside: str | None = None
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.inside is None:
            return
        if event in NEVER:
            self.seen.append(f"{event} {str(arguments)[:200]}")
        elif event == "open":
            path, mode, flags = arguments
            writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) if mode is None else set(
                str(mode)) & set("wax+")  # fmt: skip
            if writes and not isinstance(path, int):
                self._check(event, path)
        elif event in CHANGES:
            self._check(event, arguments[0])

    def _check(self, event: str, path: Any) -> None:
        text = os.path.realpath(os.fsdecode(path))
        if not text.startswith((f"{self.inside}/", "/dev/null")) and text != self.inside:
            self.seen.append(f"{event} {text[:200]}")


def _peak(*, reset: bool = False) -> int:
    """Most resident memory since the last reset, in bytes."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _fault(refusal: str) -> str | None:
    """What is wrong with a refusal as a sentence that somebody can act on."""
    try:
        refusal.encode()
    except UnicodeEncodeError:
        return "cannot be printed"
    if not refusal.strip() or refusal.rstrip()[-1] not in ".?)":
        return "is no sentence"
    if len(refusal) > LONGEST:
        return f"has {len(refusal)} characters"
    if "\n" in refusal or "Traceback" in refusal or " object at 0x" in refusal:
        return "is a programmer's"
    if any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u2028" for c in refusal):
        return "holds control characters"
    return None


class _Tries:
    """Tries inputs and prints what goes wrong."""

    def __init__(self, home: Path, seed: int, seconds: float) -> None:
        self.home, self.work = home, home / "work"
        self.seed, self.seconds = seed, seconds
        self.guard = _Guard()
        self.progress = os.open(home / AT, os.O_WRONLY | os.O_CREAT)
        self.room = resource.getrlimit(resource.RLIMIT_AS)[1]

    def run(self, name: str, first: int, last: int) -> None:
        """Inputs `first` to `last` of a target."""
        for whole in seeds(name):
            self._attempt(name, whole)  # imports what a reader needs
        self.guard.seen.clear()
        there = set(self.home.rglob("*"))
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, self.room))
        found = Outcome()
        for number in range(first, last):
            self._one(name, number, found)
        resource.setrlimit(resource.RLIMIT_AS, (self.room, self.room))
        shutil.rmtree(self.work, ignore_errors=True)
        for left in set(self.home.rglob("*")) - there:
            self._tell(name, last, "left behind", str(left.relative_to(self.home)))
        counted = ("tried", "refused", "slowest", "memory")
        _say({"target": name} | {key: getattr(found, key) for key in counted})

    def _one(self, name: str, number: int, found: Outcome) -> None:
        os.pwrite(self.progress, f"{json.dumps([name, number])}\n".encode(), 0)
        data = b"" if name in MISBEHAVING else case(name, number, self.seed)
        faulthandler.dump_traceback_later(STUCK_SECONDS, exit=True)
        before, began = _peak(reset=True), time.process_time()
        refusals: list[str] = []
        try:
            refusals = self._attempt(name, data)
        except BaseException as error:
            self._tell(name, number, type(error).__name__, traceback.format_exc()[-3000:])
        seconds, memory = time.process_time() - began, _peak() - before
        faulthandler.cancel_dump_traceback_later()
        found.tried += 1
        found.refused += bool(refusals)
        found.slowest, found.memory = max(found.slowest, seconds), max(found.memory, memory)
        for refusal in refusals:
            if fault := _fault(refusal):
                self._tell(name, number, f"refusal {fault}", ascii(refusal[:600]))
        if seconds > self.seconds:
            self._tell(name, number, "slow", f"{seconds:.1f} s")
        if memory > MEMORY:
            self._tell(name, number, "memory", f"{memory / 1e6:.0f} MB")
        for change in self.guard.seen:
            self._tell(name, number, "touched", change)
        self.guard.seen.clear()

    def _attempt(self, name: str, data: bytes) -> list[str]:
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        try:
            self.guard.inside = os.path.realpath(self.home)
            return list(TARGETS[name].read(data, self.work))
        except (CellularityError, RecordError) as error:
            return [str(error)]
        finally:
            self.guard.inside = None

    def _tell(self, name: str, number: int, kind: str, detail: str) -> None:
        _say({"target": name, "number": number, "kind": kind, "detail": detail})


def _say(told: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def _dies(_: bytes, __: Path) -> list[str]:
    os.kill(os.getpid(), signal.SIGSEGV)
    return []


def _is_slow(_: bytes, __: Path) -> list[str]:
    until = time.process_time() + 0.7
    while time.process_time() <= until:
        pass
    return []


def _takes(size: int) -> list[str]:
    return [] if b"x" * size else [""]


def _writes(path: Path) -> list[str]:
    path.write_text("x")
    return []


MISBEHAVING: dict[str, Callable[[bytes, Path], Any]] = {
    "ZeroDivisionError": lambda data, _: [1 // len(data)],
    "touched": lambda _, folder: _writes(folder.parents[1] / "evil"),
    "left behind": lambda _, folder: _writes(folder.parent / "evil"),
    "memory": lambda *_: _takes(MEMORY + 2**25),
    "MemoryError": lambda *_: _takes(2 * ROOM),
    "refusal holds control characters": lambda *_: ["A \x1b[2J."],
    "refusal cannot be printed": lambda *_: ["A \ud800."],
    "refusal is no sentence": lambda *_: [""],
    "slow": _is_slow,
    f"ended with -{signal.SIGSEGV}": _dies,
}
"""Readers that do what none may do, by what the watch calls it; for the test of the watch."""


if __name__ == "__main__":
    from fuzz_targets import TARGETS, Target, case, seeds

    from cellularity_core.errors import CellularityError
    from db.errors import RecordError

    for of, read in MISBEHAVING.items():
        TARGETS[of] = Target(read, lambda data, _: data, list, 0)
    tries = _Tries(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
    for target, first, last in json.loads(sys.argv[4]):
        tries.run(target, first, last)
