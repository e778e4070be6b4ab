"""A slide from its file to a folder of results."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cellularity_core import export
from cellularity_core.errors import SlideError, SlideFolderError
from cellularity_core.model_store import ModelSet
from cellularity_core.outputs import whole_file
from cellularity_core.slides import parts
from cellularity_core.slides.reading import Slide
from cellularity_core.slides.region import read_outlines, region_checksum
from cellularity_core.slides.scoring import Engine, score_tiles
from cellularity_core.slides.stain import look_at_stain, other_stain
from cellularity_core.slides.store import Store, writable
from cellularity_core.slides.tissue import VISITED, tissue_on_overview
from cellularity_core.slides.writing import OVERVIEW, SUMMARY, write

if TYPE_CHECKING:
    from cellularity_core.cluster import ClusterScorer
    from cellularity_core.scorer import Scorer

Progress = Callable[[int, int], None]
"""Told how many tiles are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """What scores tiles, and how.

    Attributes
    ----------
    model_set : ModelSet
    methods : tuple of str
    views : int
        Test-time views.
    precision : str
        What networks multiply, "f32" or "bf16".
    engine : Engine
    """

    model_set: ModelSet
    methods: tuple[str, ...]
    views: int
    precision: str
    engine: Engine

    @classmethod
    def by(cls, scorer: "Scorer | ClusterScorer") -> Self:
        """By a scorer on this machine, or on those of a cluster."""
        engine = getattr(scorer, "tiles", None) or partial(score_tiles, scorer=scorer)
        return cls(scorer.model_set, scorer.methods, scorer.views, scorer.precision, engine)


def score_slide(
    path: Path,
    scoring: Scoring,
    folder: Path,
    *,
    mpp: float | None = None,
    roi: Path | None = None,
    resume: bool = True,
    any_stain: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score a slide, or what is left of it, and write its results.

    Parameters
    ----------
    path : Path
    scoring : Scoring
    folder : Path
        Of this slide's results, made where it is missing; see `writing.write`.
    mpp : float, optional
        um per pixel of level 0; the file's own by default.
    roi : Path, optional
        GeoJSON of a region, such as the tumour bed, over which scores are averaged too.
    resume : bool
        Whether to keep tiles that are done.
    any_stain : bool
        Whether to score a slide that does not look like H&E too.
    progress : callable, optional

    Returns
    -------
    dict
        The summary, as it is in ``summary.json``.

    Raises
    ------
    CellularityError
        If the slide, the region, the pixel size or the folder cannot be used, or the slide
        does not look like H&E.
    """
    slide = Slide(path, mpp)
    drawn = None if roi is None else read_outlines(roi, slide.width, slide.height)
    outline = "" if drawn is None else region_checksum(drawn.region)
    with planned(slide, scoring, folder, resume) as store:
        if store.fact("written") == outline and (folder / SUMMARY).is_file():
            with suppress(OSError, ValueError):  # damaged: it is written again
                summary: dict[str, Any] = json.loads((folder / SUMMARY).read_text("utf-8"))
                return summary
        if (other := other_stain(store)) and not any_stain:
            raise SlideError(
                f"{slide.name} is not scored, as {other}; give the H&E slide, or --any-stain to "
                "score this one all the same."
            )
        _score(slide, scoring.engine, store, progress)
        store.note("written", "not yet")  # or files of two regions would pass for one's
        with writable(folder):
            _forget_summary(folder)
            summary = write(slide, store, folder, scoring, drawn)
        store.note("written", outline)
        return summary


@contextmanager
def planned(slide: Slide, scoring: Scoring, folder: Path, resume: bool = True) -> Iterator[Store]:
    """Tiles of a slide in a folder, planned where they are not; a context manager.

    Its overview is in the folder then, and a few tiles were looked at for the slide's stain
    (`stain.other_stain`). While it is open nobody else can open it.

    Raises
    ------
    SlideError
        If the folder holds another run, or cannot be used.
    """
    with Store(folder, _identity(slide, scoring), fresh=not resume) as store:
        _check_slide(slide, store, folder)
        if store.fact("written") is None:
            _forget_summary(folder)
        _plan(slide, store, folder)
        look_at_stain(slide, store)
        yield store


def _forget_summary(folder: Path) -> None:
    """Drop the summary of an earlier run, which would pass for that of this one if it stops."""
    (folder / SUMMARY).unlink(missing_ok=True)


def _identity(slide: Slide, scoring: Scoring) -> dict[str, str]:
    """What tiles of one map have in common, beside the slide."""
    return {
        "software": export.SOFTWARE,
        "model set": f"{scoring.model_set.name} {scoring.model_set.sha256}",
        "choice of methods": ", ".join(scoring.methods),
        "number of views": str(scoring.views),
        "precision of the networks": scoring.precision,
        "pixel size": f"{slide.mpp:.6g} um",
    }


def _check_slide(slide: Slide, store: Store, folder: Path) -> None:
    """Refuse another slide; the checksum is taken anew only where a file of it changed."""
    stamp = parts.stamp(slide.path)
    if store.fact("stamp") == stamp:
        return
    checksum, found = parts.checksum(slide.path), store.fact("slide")
    if found not in (None, checksum):
        raise SlideFolderError(
            f"{folder.name} holds the results of another slide (checksum {str(found)[:12]}, that "
            f"of {slide.name} is {checksum[:12]}); choose another folder, or start this one again."
        )
    store.note("slide", checksum)
    store.note("stamp", stamp)


def _plan(slide: Slide, store: Store, folder: Path) -> None:
    planned = store.fact("planned") is not None
    if planned and (folder / OVERVIEW).is_file():
        return
    overview = slide.overview()
    with writable(folder), whole_file(folder / OVERVIEW) as file:
        file.write(export.png(overview))
    if not planned:
        store.plan(slide.grid.covered(tissue_on_overview(overview), VISITED))


def _score(slide: Slide, engine: Engine, store: Store, progress: Progress | None) -> None:
    waiting = store.waiting()
    total = int(store.fact("planned") or 0)
    done = total - len(waiting)
    with closing(engine(slide, waiting)) as results:
        for result in results:
            store.add(result)
            done += 1
            if progress is not None:
                progress(done, total)
    if done < total:
        raise SlideError(
            f"{total - done} tiles of {slide.name} came back without a result; run the command "
            "again, and only these are scored."
        )
