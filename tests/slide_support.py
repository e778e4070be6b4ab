"""A fast scorer and small slides, for tests of whole slides."""

import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from cellularity_core import quality
from cellularity_core.conventions import DEFAULT_SET
from cellularity_core.model_store import open_set
from cellularity_core.patch import Patch
from cellularity_core.results import Nuclei, PatchResult, Quality, Score
from cellularity_core.slides.run import Scoring
from cellularity_core.slides.scoring import score_tiles
from cellularity_core.slides.store import FILE, Store
from cellularity_core.synthetic_slide import Mosaic, write_synthetic_slide

METHODS = ("gbt", "combined")


class FakeScorer:
    """Scores by mean brightness; nuclei by the same. Slow or strict if asked."""

    precision = "f32"

    def __init__(self, seconds: float = 0.0, strict: bool = False) -> None:
        self.seconds = seconds
        self.strict = strict
        self.seen: list[str] = []

    def score(self, patches: Iterable[Patch], maps: bool = True) -> Iterator[PatchResult]:
        assert not maps
        for patch in patches:
            time.sleep(self.seconds)
            self.seen.append(patch.name)
            yield self.result(patch)

    def result(self, patch: Patch) -> PatchResult:
        blank = bool(patch.pixels.min(axis=-1).mean() > 235)
        value = float(1 - patch.pixels.mean() / 255)
        score = Score(None, None, None) if blank else Score(value, value / 2, min(1, value + 0.1))
        flags = ("no-tissue",) if blank else ()
        judged = quality.assess(patch) if self.strict else Quality(flags, not blank)
        label = np.array([0, 2, 2] * (not blank), np.int8)
        nothing = np.zeros(len(label), np.float32)
        return PatchResult(
            image=patch.name,
            width=patch.width,
            height=patch.height,
            mpp=patch.mpp,
            sha256=patch.sha256,
            scores=dict.fromkeys(METHODS, score),
            nuclei=Nuclei(np.zeros((len(label), 2), np.float32), label, nothing, nothing),
            features=np.zeros(81),
            contributions=np.zeros(81),
            base_value=0.0,
            quality=judged,
            model_set="x",
            model_sha256="x",
            scale="x",
        )


def scoring(scorer: FakeScorer) -> Scoring:
    """By a fake scorer, in the name of the default model set."""
    return Scoring(open_set(DEFAULT_SET), METHODS, 1, "f32", partial(score_tiles, scorer=scorer))


def made_slide(
    path: Path, side: int = 1600, mpp: float = 0.5, tissue: float = 0.6, stated: bool = True
) -> Mosaic:
    """Write a synthetic slide and say what is on it."""
    mosaic = Mosaic.made(side, mpp, tissue)
    write_synthetic_slide(path, mosaic, mpp if stated else None)
    return mosaic


def finished(folder: Path) -> int:
    """Tiles with a result."""
    with Store(folder, {}) as store:
        return sum(1 for _ in store.results())


def outputs(folder: Path) -> dict[str, bytes]:
    """What a run wrote, but for its store of tiles."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.startswith(FILE)}
