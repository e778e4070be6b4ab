"""Scores a slide while it is killed again and again: run by the tests, not by pytest.

``python slide_kills.py SLIDE OUT KILLS SEED [METHOD ...]`` scores with the fake scorer, or by
methods of the default model set. It prints what became of each kill as JSON.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from bisect import bisect
from pathlib import Path

from slide_support import FakeScorer, outputs, scoring

from cellularity_core.scorer import Scorer
from cellularity_core.slides.run import Scoring, score_slide


def started(slide: Path, out: Path, methods: tuple[str, ...]) -> tuple[int, int]:
    """A process that scores a slide: its number, and a pipe that gets a byte for each tile."""
    told, tell = os.pipe()
    child = os.fork()
    if child:
        os.close(tell)
        return child, told
    try:
        if methods:
            by = Scoring.by(Scorer.open(device="cpu", methods=methods))
        else:
            by = scoring(FakeScorer(0.01))
        score_slide(slide, by, out, progress=lambda *_: os.write(tell, b".") and None)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def ended(slide: Path, out: Path, methods: tuple[str, ...]) -> list[float]:
    """Let a run end; seconds from its start to each tile it scored, and to its end."""
    began = time.monotonic()
    child, told = started(slide, out, methods)
    moments = []
    while os.read(told, 1):
        moments.append(time.monotonic() - began)
    os.close(told)
    if os.waitpid(child, 0)[1] != 0:
        raise SystemExit("a run that nobody kills fails")
    return [*moments, time.monotonic() - began]


def killed(slide: Path, out: Path, methods: tuple[str, ...], tiles: int, seconds: float) -> bool:
    """Kill a run so long after so many tiles; whether it was alive by then."""
    child, told = started(slide, out, methods)
    while tiles > 0 and os.read(told, 1):
        tiles -= 1
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    os.close(told)
    return os.WIFSIGNALED(status)


def kill_and_resume(
    slide: Path, out: Path, kills: int, seed: int, methods: tuple[str, ...] = ()
) -> list[dict[str, float]]:
    """Kill a run at random moments of its life, each time going on with what was kept.

    The moments are those of a run that nobody kills, each told as the tiles that it had by
    then and the time since, so that it meets a run alive whether tiles are few or many,
    the machine fast or slow. Where a run ended before its kill after all, that kill is done
    again, in half the time.

    Returns
    -------
    list of dict
        For each kill: `tiles` done when it was due and `seconds` since, tiles `kept`, those
        `scored` by a run that went on to the end, and whether that gave the `same` files.
    """
    rng = random.Random(seed)
    whole, before, copy = (out.parent / name for name in ("whole", "before", "copy"))
    moments = [0.0, *ended(slide, whole, methods)]
    total, wanted, found = len(moments) - 2, outputs(whole), []
    out.mkdir()
    kept = 0
    for moment in sorted(rng.uniform(0, moments[-1]) for _ in range(kills)):
        tiles = bisect(moments, moment) - 1
        seconds = moment - moments[tiles]
        shutil.copytree(out, before)
        while not killed(slide, out, methods, tiles - kept, seconds):
            seconds /= 2
            shutil.rmtree(out)
            shutil.copytree(before, out)
        shutil.rmtree(before)
        shutil.copytree(out, copy)
        scored = len(ended(slide, copy, methods)) - 1
        kept = total - scored
        row = {"tiles": tiles, "seconds": seconds, "kept": kept, "scored": scored}
        found.append(row | {"same": outputs(copy) == wanted})
        shutil.rmtree(copy)
    return found


if __name__ == "__main__":
    given = kill_and_resume(
        *map(Path, sys.argv[1:3]), *map(int, sys.argv[3:5]), tuple(sys.argv[5:])
    )
    sys.stdout.write(json.dumps(given))
