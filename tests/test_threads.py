"""Networks that give way leave the cores to others, and score the same."""

import os
import sys
from pathlib import Path

import pytest

from cellularity_core.scorer import Scorer
from cellularity_core.synthetic import demo_patches

TASKS = Path("/proc/self/task")


def used() -> dict[str, tuple[int, int]]:
    """Ticks of processor and niceness of each thread of this process."""
    found = {}
    for task in TASKS.iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        found[task.name] = int(fields[11]) + int(fields[12]), int(fields[16])
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a priority on Linux only")
def test_networks_give_way_and_score_the_same() -> None:
    patches = demo_patches()
    plain = [r.scores["gbt"].value for r in Scorer.open(methods=["gbt"]).score(patches)]
    scorer = Scorer.open(methods=["gbt"], gives_way=True)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    before = used()
    assert [r.scores["gbt"].value for r in scorer.score(patches)] == plain
    work = {True: 0, False: 0}
    for name, (ticks, nice) in used().items():
        work[nice > own] += ticks - before.get(name, (0, 0))[0]
    assert work[True] > work[False]
