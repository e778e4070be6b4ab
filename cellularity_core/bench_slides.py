"""Speed and memory of whole slides, for `cellularity bench --slides`.

As a program it scores one slide and prints its tiles and seconds as JSON; a process of its
own, so that its peak of memory is that of the slide.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

from cellularity_core.bench import Figure, timed
from cellularity_core.model_store import ModelSet
from cellularity_core.patch import Patch
from cellularity_core.results import PatchResult
from cellularity_core.scorer import Scorer
from cellularity_core.slides.reading import Slide
from cellularity_core.slides.run import Scoring, score_slide
from cellularity_core.slides.scoring import score_tiles
from cellularity_core.synthetic_slide import Mosaic, write_synthetic_slide

SIDE: Final = 10_000
"""Of the slide whose speed is measured, in pixels; all of it is tissue."""

LARGE: Final = 40_000
"""Of the slide whose memory is measured; one of half the side has a quarter of its tissue."""

SAMPLE: Final = 64
"""Tiles that the scorer is timed on alone, and of a large slide all that it scores."""


def growth(model_set: ModelSet) -> Iterator[Figure]:
    """Memory and time per tile of a large slide, against a quarter of its tissue.

    The scorer, loaded, scores the first `SAMPLE` tiles; the others get the result of the
    last one, since what the networks do does not depend on the size of a slide. So what is
    timed is all but the networks: finding tissue, reading, keeping, adding up, writing.
    """
    with tempfile.TemporaryDirectory() as name:
        small, _ = _relayed(model_set, LARGE // 2, Path(name))
        large, peak = _relayed(model_set, LARGE, Path(name))
    if peak is not None:
        title = f"peak memory of a {LARGE} x {LARGE} px slide, {large['tiles']:.0f} tiles"
        yield Figure(title, peak / 2**30, "GiB", "<= 3")
    networks = (small["networks"] + large["networks"]) / 2
    beside = [run["beside"] / run["tiles"] for run in (large, small)]
    times = [networks + one for one in beside]
    yield Figure(
        "time per tile at 4x the tissue against 1x",
        times[0] / times[1],
        "x",
        "<= 1.1",
        f"{times[0] * 1e3:.4g} ms against {times[1] * 1e3:.4g} ms; but for the networks "
        f"{beside[0] * 1e3:.3g} ms against {beside[1] * 1e3:.3g} ms",
    )


def speed(scorer: Scorer) -> Iterator[Figure]:
    """A slide from its file to its maps, against the scorer on tiles that are read already."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "slide.tif"
        write_synthetic_slide(path, Mosaic.made(SIDE))
        slide = Slide(path)
        rows, columns = slide.grid.shape
        places = [divmod(k * rows * columns // SAMPLE, columns) for k in range(SAMPLE)]
        patches = [slide.patch(slide.grid.tile(*place)) for place in places]
        _scored(scorer, patches)
        before = _scored(scorer, patches)
        began = time.perf_counter()
        summary = score_slide(path, Scoring.by(scorer), Path(name) / "out")
        took = time.perf_counter() - began
        after = _scored(scorer, patches)
    rate = summary["tissue"]["tiles"] / took
    alone = 2 * len(patches) / (before + after)
    yield Figure(
        f"tiles/s of a {SIDE} x {SIDE} px slide against the scorer's patches/s",
        rate / alone,
        "x",
        ">= 0.8",
        f"{rate:.3g} against {alone:.3g} a second",
    )


class Relay:
    """Scores the first patches, and gives every other one the last of these results.

    Parameters
    ----------
    scorer : Scorer
    count : int
        Patches to score.

    Attributes
    ----------
    seconds : float
        That these took.
    """

    def __init__(self, scorer: Scorer, count: int) -> None:
        self._scorer = scorer
        self._count = count
        self.seconds = 0.0

    def score(self, patches: Iterable[Patch], maps: bool = True) -> Iterator[PatchResult]:
        """Results in the order of the patches."""
        source = iter(patches)
        began = time.perf_counter()
        result = None
        for result in self._scorer.score(islice(source, self._count), maps):
            yield result
        self.seconds = time.perf_counter() - began
        if result is not None:
            for patch in source:
                yield replace(result, image=patch.name)


def _scored(scorer: Scorer, patches: list[Patch]) -> float:
    """Seconds that the scorer takes for patches."""
    began = time.perf_counter()
    for _ in scorer.score(patches, maps=False):
        pass
    return time.perf_counter() - began


def _relayed(model_set: ModelSet, side: int, folder: Path) -> tuple[dict[str, float], int | None]:
    """What `_measure` finds in a process of its own, and its peak of memory in bytes."""
    path = folder / f"{side}.tif"
    write_synthetic_slide(path, Mosaic.made(side))
    found = folder / f"{side}.json"
    command = [sys.executable, "-m", "cellularity_core.bench_slides", model_set.name]
    _, peak = timed([*command, str(path), str(found)])
    path.unlink()
    content: dict[str, float] = json.loads(found.read_text(encoding="utf-8"))
    return content, peak


def _measure(model_set: str, path: Path) -> dict[str, Any]:
    """Tiles of a slide, seconds of the networks per tile, and all other seconds."""
    scorer = Scorer.open(model_set, device="cpu")
    relay = Relay(scorer, SAMPLE)
    scoring = replace(Scoring.by(scorer), engine=partial(score_tiles, scorer=relay))
    began = time.perf_counter()
    summary = score_slide(path, scoring, path.with_suffix(""))
    took = time.perf_counter() - began
    tiles = summary["tissue"]["tiles"]
    scored = min(SAMPLE, tiles)
    return {"tiles": tiles, "networks": relay.seconds / scored, "beside": took - relay.seconds}


if __name__ == "__main__":
    figures = _measure(sys.argv[1], Path(sys.argv[2]))
    Path(sys.argv[3]).write_text(json.dumps(figures), encoding="utf-8")
