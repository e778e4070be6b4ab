"""A scorer whose networks run on the machines of a cluster.

Each worker holds one `Scorer` and calls it as one process does; what comes back is the same.
"""

import socket
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self

from cellularity_core import export
from cellularity_core.cluster.connection import connected
from cellularity_core.cluster.places import Place, device_for
from cellularity_core.cluster.pool import Pool
from cellularity_core.engine import resolve_precision
from cellularity_core.errors import ClusterError, ModelError, SlideError
from cellularity_core.model_store import ModelSet, open_set
from cellularity_core.patch import Patch
from cellularity_core.results import PatchResult
from cellularity_core.slides import parts
from cellularity_core.slides.grid import Tile
from cellularity_core.slides.reading import Slide
from cellularity_core.slides.scoring import PatchScorer, TileResult, score_tiles

BATCH: Final = 8
"""Patches or tiles in a task."""

BATCH_PIXELS: Final = 2**21
"""Pixels of patches in a task from which no further one is added."""

Opener = Callable[[str, int], PatchScorer]
"""Opens a scorer on a device ("cpu" or "cuda") with so many threads."""


@dataclass(frozen=True, slots=True)
class OpenSet:
    """Opens a model set, if it is the same as on the machine that asks.

    Attributes
    ----------
    model_set : ModelSet
    methods : tuple of str
    views : int
    precision : {"f32", "bf16"}
        The same on all machines, so that a tile's score is that of any of them.
    software : str
    """

    model_set: ModelSet
    methods: tuple[str, ...]
    views: int
    precision: str
    software: str = export.SOFTWARE

    def __call__(self, device: str, threads: int) -> PatchScorer:
        """The scorer of a worker.

        Raises
        ------
        CellularityError
            If the set, the software or the device is not as it should be.
        """
        from cellularity_core.scorer import Scorer

        host = socket.gethostname()
        if self.software != export.SOFTWARE:
            raise ClusterError(
                f"The machine {host} has {export.SOFTWARE} and the command was given to "
                f"{self.software}; install the same version on every machine of the cluster."
            )
        name, folder = self.model_set.name, self.model_set.folder
        here = open_set(name, folder.parent if folder.is_dir() else None)
        if here.sha256 != self.model_set.sha256:
            raise ModelError(
                f"The model set '{name}' on the machine {host} has the checksum "
                f"{here.sha256[:12]} and not {self.model_set.sha256[:12]}; copy the same folder "
                "to every machine of the cluster, or name one they share in CELLULARITY_MODELS."
            )
        if self.precision == "bf16" != resolve_precision("auto", device):
            raise ClusterError(
                f"The processor of the machine {host} does not multiply bfloat16, as that where "
                "the command was given does, and scores would differ; give --precision f32."
            )
        return Scorer(
            here,
            device=device,
            precision=self.precision,
            methods=self.methods,
            views=self.views,
            threads=threads,
        )


@dataclass(frozen=True, slots=True)
class SlideFile:
    """A slide as a worker finds it.

    Attributes
    ----------
    path : Path
        Absolute, the same on every machine.
    mpp : float or None
        um per pixel, if the user gave it.
    size : int
        Of the files it consists of, in bytes.
    """

    path: Path
    mpp: float | None
    size: int

    @classmethod
    def of(cls, slide: Slide) -> Self:
        """Of a slide that is open here."""
        path = slide.path.absolute()
        given = slide.mpp if slide.mpp_source == "user" else None
        return cls(path, given, parts.size(path))

    def open(self) -> Slide:
        """The slide, on the machine where this is called.

        Raises
        ------
        SlideError
            If it is not there, is another one or cannot be read.
        """
        if not self.path.is_file() or parts.size(self.path) != self.size:
            what = "is another file" if self.path.is_file() else "is not there"
            raise SlideError(
                f"{self.path} {what} on the machine {socket.gethostname()}; keep slides on a "
                "drive that every machine of the cluster has under the same path."
            )
        return Slide(self.path, self.mpp)


class Worker:
    """What runs on the cluster: one scorer, loaded once.

    Parameters
    ----------
    opener : callable
    device : {"cpu", "cuda"}
    threads : int
    """

    def __init__(self, opener: Opener, device: str, threads: int) -> None:
        self._opener = opener
        self._device = device
        self._threads = threads
        self._lock = threading.Lock()
        self._scorer: PatchScorer | None = None
        self._slide: tuple[SlideFile, Slide] | None = None

    def ready(self) -> None:
        """Load the model, if it is not there yet."""
        self._open_scorer()

    def patches(self, task: tuple[Sequence[Patch], bool]) -> list[PatchResult]:
        """Results of patches, with maps or without."""
        patches, maps = task
        return list(self._open_scorer().score(patches, maps))

    def tiles(self, task: tuple[SlideFile, Sequence[Tile]]) -> list[TileResult]:
        """Results of tiles of a slide, which is read here."""
        file, tiles = task
        return list(score_tiles(self._open_slide(file), tiles, self._open_scorer()))

    def _open_scorer(self) -> PatchScorer:
        with self._lock:
            if self._scorer is None:
                self._scorer = self._opener(self._device, self._threads)
            return self._scorer

    def _open_slide(self, file: SlideFile) -> Slide:
        with self._lock:
            if self._slide is None or self._slide[0] != file:
                self._slide = file, file.open()
            return self._slide[1]


class ClusterScorer:
    """Scores patches and tiles of slides on a cluster.

    Attributes
    ----------
    model_set : ModelSet
    methods : tuple of str
    views : int
    precision : {"f32", "bf16"}
        Of all workers.
    """

    def __init__(
        self,
        model_set: ModelSet,
        methods: tuple[str, ...],
        views: int,
        precision: str,
        pool: Pool,
    ) -> None:
        self.model_set = model_set
        self.methods = methods
        self.views = views
        self.precision = precision
        self._pool = pool

    @classmethod
    @contextmanager
    def connected(
        cls,
        address: str | None,
        model_set: ModelSet,
        *,
        device: str = "auto",
        precision: str = "auto",
        methods: tuple[str, ...] | None = None,
        views: int | None = None,
        opener: Opener | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> Iterator[Self]:
        """Workers on a cluster, for as long as the block lasts.

        Parameters
        ----------
        address : str or None
            As in `connection.connected`.
        model_set : ModelSet
        device : {"auto", "cpu", "cuda"}
            The same for all workers: CUDA by default where Ray knows of a GPU.
        precision : {"auto", "f32", "bf16"}
            The same for all workers: by default what suits this machine's CPU, f32 on GPUs.
        methods : tuple of str, optional
        views : int, optional
        opener : callable, optional
            Opens the scorer of a worker; by default `OpenSet`.
        tell : callable, optional
            Told in a sentence of workers that are lost.

        Raises
        ------
        ClusterError
            If the cluster cannot be used.
        ModelError
            If the precision cannot.
        """
        methods = methods or model_set.methods
        views = views or model_set.views
        with connected(address) as ray:
            device = device_for(ray.nodes(), device)
            precision = resolve_precision(precision, device)
            opens = opener or OpenSet(model_set, methods, views, precision)

            def arguments(place: Place) -> tuple[Any, ...]:
                return opens, place.device, max(1, place.cpus)

            pool = Pool(ray, Worker, arguments, device, tell)
            yield cls(model_set, methods, views, precision, pool)

    def score(self, patches: Iterable[Patch], maps: bool = True) -> Iterator[PatchResult]:
        """Score patches, in order, as `Scorer.score` does."""
        tasks = ((batch, maps) for batch in _batches(patches))
        for results in self._pool.results("patches", tasks, in_order=True):
            yield from results

    def tiles(self, slide: Slide, tiles: Iterable[Tile]) -> Generator[TileResult]:
        """Score tiles of a slide, in any order; workers read them from the file themselves."""
        file = SlideFile.of(slide)
        left = iter(tiles)
        groups = iter(lambda: list(islice(left, BATCH)), [])
        for results in self._pool.results("tiles", ((file, group) for group in groups)):
            yield from results


def _batches(patches: Iterable[Patch]) -> Iterator[list[Patch]]:
    batch: list[Patch] = []
    for patch in patches:
        batch.append(patch)
        if len(batch) == BATCH or sum(p.width * p.height for p in batch) >= BATCH_PIXELS:
            yield batch
            batch = []
    if batch:
        yield batch
