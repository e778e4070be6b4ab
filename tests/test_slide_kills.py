"""A slide's run that is killed at any moment goes on to the same result."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from slide_support import FakeScorer, made_slide, outputs, scoring

from cellularity_core.slides.run import score_slide

ROOT = Path(__file__).resolve().parent.parent
SIDE = 1700
KILLS = 4


@pytest.mark.parametrize("methods", [(), pytest.param(("gbt",), marks=pytest.mark.slow)])
def test_kills_at_random_change_nothing(tmp_path: Path, methods: tuple[str, ...]) -> None:
    slide, out = tmp_path / "s.tif", tmp_path / "killed"
    made_slide(slide, SIDE)
    kills = 2 if methods else KILLS
    run = subprocess.run(
        [sys.executable, "slide_kills.py", str(slide), str(out), f"{kills}", "1", *methods],
        cwd=ROOT / "tests",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert len(found) == kills
    assert all(one["same"] for one in found)
    kept = [one["kept"] for one in found]
    assert kept == sorted(kept)
    # one tile more may have been told of than was asked for; none that was told of is lost
    assert all(one["kept"] >= one["tiles"] for one in found)
    assert {one["kept"] + one["scored"] for one in found} == {kept[0] + found[0]["scored"]}
    if not methods:
        score_slide(slide, scoring(FakeScorer()), tmp_path / "here")
        assert outputs(tmp_path / "here") == outputs(tmp_path / "whole")
