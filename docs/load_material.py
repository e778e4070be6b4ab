"""What `load.py` works on: synthetic patches with their scores, and a study."""

import random
import re
from html import unescape
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from cellularity_core.conventions import DEFAULT_SET
from cellularity_core.fingerprint import fingerprint
from cellularity_core.patch import load_patch
from cellularity_core.results import PatchResult
from cellularity_core.scorer import Scorer
from cellularity_core.synthetic import STAINS, synthesise
from cellularity_core.wording import percent
from db import records
from db.records import NewCase, StudyPlan
from db.session import open_records, transaction

Cards = dict[str, tuple[str, str]]
"""Value and interval on each score card, by method."""

COORDINATOR = "Load coordinator"


class Patches:
    """Synthetic patches as files, each with what its score cards must show.

    Each field that is drawn gives a patch in each of its 8 orientations. They are scored here,
    one after the other, by the scorer that the app and the command line use.
    """

    def __init__(self, fields: int, side: int = 512) -> None:
        self._files: list[tuple[str, bytes]] = []
        rng = np.random.default_rng(0)
        for k in range(fields):
            stain = sorted(STAINS)[k % len(STAINS)]
            drawn = synthesise(5000 + k, side, cellularity=float(rng.uniform()), stain=stain)
            for turn in range(8):
                pixels = np.rot90(drawn.pixels if turn < 4 else drawn.pixels[:, ::-1], turn % 4)
                self._files.append((f"load {k} {turn}.png", png(pixels)))
        random.Random(0).shuffle(self._files)
        scorer = Scorer.open(DEFAULT_SET)
        patches = [load_patch(data, name) for name, data in self._files]
        self._sha256 = {patch.name: patch.sha256 for patch in patches}
        self._expected = {
            patch.name: _cards_of(result) for patch in patches for result in scorer.score([patch])
        }
        self._next = 0

    def __len__(self) -> int:
        return len(self._files)

    def take(self) -> tuple[str, bytes, str, Cards]:
        """Name, bytes, checksum and cards of one; the same again after all the others."""
        name, data = self._files[self._next % len(self._files)]
        self._next += 1
        return name, data, self._sha256[name], self._expected[name]


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """A picture, RGB, as a file."""
    _, data = cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]))
    return bytes(data)


def _cards_of(result: PatchResult) -> Cards:
    found = {}
    for method, score in result.scores.items():
        assert score.value is not None and score.low is not None and score.high is not None
        interval = f"{100 * score.low:.0f} to {percent(score.high)}"
        found[method] = (percent(score.value), interval)
    return found


def cards_on(text: str) -> Cards:
    """The models' score cards that a text of the page draws."""
    pattern = (
        r'data-method="(?!own)([\w-]+)">.*?<div class="value">(.*?)</div>'
        r'.*?<div class="small">\d+ % interval: (.*?)</div>'
    )
    return {name: (value, limits) for name, value, limits in re.findall(pattern, unescape(text))}


def prepare(database: Path, readers: list[str], cases: int) -> int:
    """Make records with one open study that all these read; its number."""
    new = []
    for k in range(cases):
        pixels = synthesise(9000 + k, 256, mpp=1.0).pixels
        patch = load_patch(png(pixels), f"case {k}.png", 1.0)
        new.append(
            NewCase(
                sha256=patch.sha256,
                name=patch.name,
                width=patch.width,
                height=patch.height,
                mpp=patch.mpp,
                phash=fingerprint(patch.pixels),
                png=png(pixels),
            )
        )
    plan = StudyPlan(
        name="Load",
        description="Synthetic patches, to see how the app holds when many use it.",
        arm="before",
        seed=1,
        repeat_share=0.0,
        washout_days=0.0,
        proficiency=None,
        show_feedback=False,
        model_set=None,
        model_sha256=None,
        software=None,
        readers=readers,
        cases=new,
    )
    engine = open_records(str(database))
    with transaction(engine) as db:
        for reader in readers:
            records.enrol(db, name=reader)
        study = records.create_study(db, plan, actor=COORDINATOR)
        records.open_study(db, study_id=study.id, actor=COORDINATOR)
    engine.dispose()
    return study.id
