"""A slide's tiles: planned, scored with progress, and kept in a folder beside the records."""

import hashlib
import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import streamlit as st
from PIL import Image
from shapely.geometry.base import BaseGeometry

from cellularity_core import export
from cellularity_core.errors import SlideBusy
from cellularity_core.slides.grid import Tile
from cellularity_core.slides.maps import Map, maps_of
from cellularity_core.slides.reading import Slide
from cellularity_core.slides.region import region_checksum
from cellularity_core.slides.run import Scoring, planned, score_slide
from cellularity_core.slides.scoring import TileResult, score_tiles
from cellularity_core.slides.stain import other_stain
from cellularity_core.slides.store import Store
from cellularity_core.slides.summary import Area, add_up, hottest
from cellularity_core.slides.tissue import tissue_on_overview
from cellularity_core.slides.writing import OVERVIEW
from db.session import database_url, default_path
from pages.parts.progress import time_left
from pages.parts.scoring import Engine, rest
from pages.parts.slide_source import Source

TURN: Final = 8
"""Tiles that a session scores before another one gets its turn."""

HOT: Final = 10
"""Tiles listed as hot spots."""

FOLDER: Final = "CELLULARITY_SLIDE_RESULTS"
"""Environment variable with the folder of results, by default beside the records."""


@dataclass(frozen=True, slots=True)
class Run:
    """A slide and its tiles.

    Attributes
    ----------
    source : Source
    slide : Slide
    scoring : Scoring
    folder : Path
        Of its results, for this model set and pixel size alone.
    done, total : int
        Tiles.
    sha256 : str
        Checksum of the slide's files, the same wherever it was opened.
    other_stain : str
        What speaks against H&E, if anything does; half a sentence.
    """

    source: Source
    slide: Slide
    scoring: Scoring
    folder: Path
    done: int
    total: int
    sha256: str
    other_stain: str = ""

    @property
    def is_done(self) -> bool:
        """Whether every tile is scored."""
        return self.done == self.total

    @property
    def key(self) -> str:
        """Of what is known of the tiles by now."""
        return f"{self.folder.name}.{self.done}"

    def store(self) -> AbstractContextManager[Store]:
        """Its tiles, for as short a time as can be: nobody else can look meanwhile."""
        return planned(self.slide, self.scoring, self.folder)


@dataclass(frozen=True, slots=True)
class Sums:
    """What a slide comes to: over its tissue, over the bed, and where it is highest."""

    whole: Area
    bed: Area | None
    hot: tuple[TileResult, ...]


def results_root() -> Path:
    """Folder of the results of slides."""
    if given := os.environ.get(FOLDER):
        return Path(given)
    database = database_url().database if database_url().get_backend_name() == "sqlite" else None
    return (Path(database) if database else default_path()).parent / "slides"


def open_run(source: Source, slide: Slide, models: Engine) -> Run | None:
    """The tiles of a slide, planned; None, with the reason, while another window scores it."""
    scoring = _in_turns(models)
    what = (
        source.key,
        f"{slide.mpp:.6g}",
        scoring.model_set.sha256,
        scoring.views,
        scoring.precision,
    )
    mark = hashlib.sha256(repr((*what, scoring.methods, export.SOFTWARE)).encode()).hexdigest()
    folder = results_root() / mark[:32]
    try:
        with (
            st.spinner("Looking for tissue…", show_time=True),
            planned(slide, scoring, folder) as store,
        ):
            done, total = store.count()
            checksum, other = store.fact("slide") or source.key, other_stain(store)
    except SlideBusy:
        st.info(
            "This slide is being scored in another window at present. Wait for it, or cancel it "
            "there, and look again.",
            icon=":material/hourglass_top:",
        )
        st.button("Look again")
        return None
    return Run(source, slide, scoring, folder, done, total, checksum, other)


def _in_turns(models: Engine) -> Scoring:
    """The scorer of a model set, given back to other sessions after a few tiles."""

    def engine(slide: Slide, tiles: Sequence[Tile]) -> Generator[TileResult]:
        for first in range(0, len(tiles), TURN):
            with models.turn():
                found = list(score_tiles(slide, tiles[first : first + TURN], models.scorer))
            yield from found

    scorer = models.scorer
    return Scoring(scorer.model_set, scorer.methods, scorer.views, scorer.precision, engine)


def score(run: Run, models: Engine, key: str) -> None:
    """Offer to score what is left of a slide, and do so with progress.

    A click on anything ends it between two turns; what is scored is kept.
    """
    asked = f"{key}.asked"
    left = run.total - run.done
    if run.other_stain:
        st.warning(
            f"This slide does not look like H&E: {run.other_stain}. Its scores could not be "
            "relied on, so open the H&E slide instead.",
            icon=":material/palette:",
        )
    with st.empty().container(border=True):  # so that what was there before goes at once
        text, button = st.columns([5, 1], vertical_alignment="center")
        if st.session_state.get(asked) != run.folder.name:
            what = f"**{run.total}** tiles of {run.slide.tile_um:.0f} µm hold tissue"
            if run.done:
                what = f"**{left} of {run.total}** tiles are still to be scored"
            text.markdown(
                f":material/grid_on: {what}. What is scored is kept, also when you leave."
            )
            button.button(
                "Go on"
                if run.done
                else "Score it anyway"
                if run.other_stain
                else "Score the slide",
                type="secondary" if run.other_stain else "primary",
                key=f"{key}.start",
                on_click=st.session_state.__setitem__,
                args=(asked, run.folder.name),
                width="stretch",
            )
            return
        button.button(
            "Cancel",
            key=f"{key}.cancel",
            on_click=st.session_state.pop,
            args=(asked, None),
            width="stretch",
        )
        score_slide(
            run.source.path,
            run.scoring,
            run.folder,
            mpp=run.slide.mpp if run.slide.mpp_source == "user" else None,
            any_stain=True,  # who saw the warning has pressed the button
            progress=_teller(text.progress(run.done / run.total, text="Reading…"), run.done),
        )
    st.session_state.pop(asked, None)
    rest([models])
    st.rerun()


def _teller(bar: Any, before: int) -> Callable[[int, int], None]:
    """Tells of progress at the end of a turn, when every tile of it is kept."""
    began = time.monotonic()

    def tell(done: int, total: int) -> None:
        if (done - before) % TURN == 0 or done == total:
            left = time_left(time.monotonic() - began, done - before, total - done)
            bar.progress(done / total, text=f"{done} of {total} tiles scored{left}")

    return tell


@st.cache_resource(max_entries=4, show_spinner=False)
def overview(folder: Path) -> npt.NDArray[np.uint8]:
    """The slide at low power, shape (h, w, 3)."""
    with Image.open(folder / OVERVIEW) as image:
        return np.asarray(image.convert("RGB"))


@st.cache_resource(max_entries=4, show_spinner=False)
def tissue(folder: Path) -> npt.NDArray[np.uint8]:
    """Where on it there is tissue, 255, and where there is none, 0; shape (h, w)."""
    return 255 * tissue_on_overview(overview(folder)).astype(np.uint8)


def maps(run: Run) -> dict[str, Map]:
    """Maps of the tiles that are scored by now."""
    return _maps(run.key, run)


@st.cache_resource(max_entries=8, show_spinner=False)
def _maps(key: str, _run: Run) -> dict[str, Map]:
    with _run.store() as store:
        return maps_of(store.results(), _run.slide.grid.shape, _run.scoring.methods)


def sums(run: Run, bed: BaseGeometry | None, method: str) -> Sums:
    """What a finished slide comes to."""
    return _sums(run.key, region_checksum(bed) if bed is not None else "", method, run, bed)


@st.cache_resource(max_entries=64, show_spinner="Adding up the tiles…")
def _sums(key: str, outline: str, method: str, _run: Run, _bed: BaseGeometry | None) -> Sums:
    with _run.store() as store:
        whole, inside = add_up(store.results(), _run.slide.mpp, _bed)
        return Sums(whole, inside, tuple(hottest(store.results(), method, HOT, _bed)))
