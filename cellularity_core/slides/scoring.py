"""Tiles -> what the methods say of them, read ahead while the networks run.

`score_tiles` is the only way from a slide and its tiles to results, on this machine and on
any other: slides, tiles and results are picklable.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

from cellularity_core.masks import tissue_mask
from cellularity_core.patch import Patch
from cellularity_core.results import PatchResult, Quality, Score
from cellularity_core.slides.grid import Tile
from cellularity_core.slides.reading import READERS, Slide

AHEAD: Final = 4
"""Tiles read and not yet taken by the scorer, at most."""


class PatchScorer(Protocol):
    """What scores patches: `scorer.Scorer`."""

    def score(self, patches: Iterable[Patch], maps: bool = True) -> Iterator[PatchResult]:
        """Results in the order of the patches, which are read lazily."""
        ...


@dataclass(frozen=True, slots=True)
class TileResult:
    """What the methods say of one tile.

    Attributes
    ----------
    tile : Tile
    tissue : float
        Share of the tile that is tissue by `masks.tissue_mask`, 0 to 1.
    scores : mapping of str to Score
        By method; all None where there is no tissue.
    counts : mapping of str to int
        Nuclei by class.
    quality : Quality
    """

    tile: Tile
    tissue: float
    scores: Mapping[str, Score]
    counts: Mapping[str, int]
    quality: Quality

    def to_json(self) -> dict[str, Any]:
        """All but the tile, exact to the last digit."""
        return {
            "tissue": self.tissue,
            "scores": {m: [s.value, s.low, s.high] for m, s in self.scores.items()},
            "counts": dict(self.counts),
            "flags": list(self.quality.flags),
            "reliable": self.quality.reliable,
        }

    @classmethod
    def from_json(cls, tile: Tile, content: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`."""
        return cls(
            tile,
            content["tissue"],
            {method: Score(*limits) for method, limits in content["scores"].items()},
            content["counts"],
            Quality(tuple(content["flags"]), content["reliable"]),
        )


Engine = Callable[[Slide, Sequence[Tile]], Generator[TileResult]]
"""Scores tiles of a slide, each once, in any order; `score_tiles` with its scorer is one."""


def score_tiles(slide: Slide, tiles: Iterable[Tile], scorer: PatchScorer) -> Generator[TileResult]:
    """Score tiles of a slide, in order.

    Threads read the next tiles while the scorer works; a few are held at a time.

    Raises
    ------
    SlideError
        If a tile cannot be read.
    """
    waiting: deque[tuple[Tile, float]] = deque()

    def patches(pool: Executor) -> Iterator[Patch]:
        for tile, patch, tissue in _read_ahead(slide, tiles, pool):
            waiting.append((tile, tissue))
            yield patch

    pool = ThreadPoolExecutor(READERS, thread_name_prefix="slide")
    try:
        for result in scorer.score(patches(pool), maps=False):
            tile, tissue = waiting.popleft()
            yield TileResult(
                tile, tissue, dict(result.scores), result.nuclei.counts(), result.quality
            )
    finally:
        pool.shutdown(cancel_futures=True)


def _read_ahead(
    slide: Slide, tiles: Iterable[Tile], pool: Executor
) -> Iterator[tuple[Tile, Patch, float]]:
    def read(tile: Tile) -> tuple[Tile, Patch, float]:
        patch = slide.patch(tile)
        return tile, patch, float(tissue_mask(patch.pixels, patch.mpp).mean())

    reading: deque[Future[tuple[Tile, Patch, float]]] = deque()
    for tile in tiles:
        reading.append(pool.submit(read, tile))
        if len(reading) > AHEAD:
            yield reading.popleft().result()
    while reading:
        yield reading.popleft().result()
