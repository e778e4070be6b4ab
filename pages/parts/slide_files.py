"""Files of a slide, made when they are asked for: the functions that the command line uses."""

import io
from collections.abc import Callable, Iterator
from typing import Final

import streamlit as st
from shapely.geometry.base import BaseGeometry

from cellularity_core.export import file_stem
from cellularity_core.slides import maps as drawing
from cellularity_core.slides import tables
from cellularity_core.slides.region import covered, region_geojson
from cellularity_core.slides.scoring import TileResult
from cellularity_core.slides.store import Store
from cellularity_core.slides.summary import verdict
from cellularity_core.slides.writing import (
    contradiction,
    described,
    map_note,
    map_picture,
    reliability,
)
from pages.parts import state
from pages.parts.locks import slide_lock
from pages.parts.save_button import save_button
from pages.parts.slide_bed import BED
from pages.parts.slide_run import Run, maps, overview, sums, tissue

MAP: Final = "Maps (OME-TIFF, for QuPath and Fiji)"
GEOJSON: Final = "Tiles (GeoJSON, for QuPath)"
CSV: Final = "Tiles (CSV)"
OUTLINE: Final = "Outline of the bed (GeoJSON, for QuPath)"
PICTURE: Final = "Heat map over the slide (PNG)"


@st.fragment
def slide_files(run: Run, bed: BaseGeometry | None, method: str, reader: str) -> None:
    """A choice of what to save, and the button that saves it."""
    st.subheader("Files", anchor=False)
    made: dict[str, tuple[str, str, Callable[[], bytes]]] = {
        MAP: (".ome.tif", "image/tiff", lambda: ome_tiff(run, bed)),
        GEOJSON: ("-tiles.geojson", "application/geo+json", lambda: geojson(run, bed)),
        CSV: ("-tiles.csv", "text/csv", lambda: csv(run, bed)),
    }
    if run.is_done:
        made[PICTURE] = (f"-{method}.png", "image/png", lambda: picture(run, bed, method))
    if bed is not None:
        name = run.slide.name
        made[OUTLINE] = (
            "-bed.geojson", "application/geo+json", lambda: region_geojson(bed, BED, name).encode(),
        )  # fmt: skip
    choice, save = st.columns([5, 1], vertical_alignment="bottom")
    kind = choice.selectbox("What to save", list(made), key=f"{state.SLIDE_FILES}.kind")
    ending, mime, make = made[kind]
    save_button(
        save,
        make,
        is_locked=lambda: (
            slide_lock(run.folder.name, run.slide, overview(run.folder), reader) is not None
        ),
        reader=reader,
        file_name=f"{file_stem(run.slide.name)}{ending}",
        mime=mime,
        key=f"{state.SLIDE_FILES}.save",
    )
    st.caption("Every file names the slide, the model set and the scale. Research use only.")


def about(run: Run) -> dict[str, str | int]:
    """What every row says: the slide, and what scored it."""
    return {"slide": run.slide.name} | described(run.scoring)


def judged(run: Run, bed: BaseGeometry | None) -> dict[str, str | int]:
    """`about`, and whether the scores of the slide and of the bed can be relied on."""
    found = sums(run, bed, run.scoring.methods[0])
    return about(run) | {"reliable": reliability(found.whole, found.bed, run.slide)}


def _results(store: Store, bed: BaseGeometry | None) -> Iterator[tuple[TileResult, float | None]]:
    for result in store.results():
        yield result, None if bed is None else next(covered(bed, [result.tile]))


def csv(run: Run, bed: BaseGeometry | None) -> bytes:
    """Tiles with the share of each in the bed."""
    buffer, said = io.BytesIO(), about(run)
    with run.store() as store:
        rows = tables.rows(_results(store, bed), said)
        tables.write_csv(buffer, rows, tables.columns(run.scoring.methods, said))
    return buffer.getvalue()


def geojson(run: Run, bed: BaseGeometry | None) -> bytes:
    """Tiles as QuPath imports them."""
    buffer, said = io.BytesIO(), judged(run, bed)  # which has the store for itself
    with run.store() as store:
        tables.write_geojson(buffer, _results(store, bed), said)
    return buffer.getvalue()


def ome_tiff(run: Run, bed: BaseGeometry | None) -> bytes:
    """All maps as the channels of one pyramid."""
    buffer, note = io.BytesIO(), map_note(judged(run, bed))
    drawing.write_ome_tiff(buffer, maps(run), run.slide.tile_um, run.slide.name, note)
    return buffer.getvalue()


def picture(run: Run, bed: BaseGeometry | None, method: str) -> bytes:
    """The method's scores over the slide, under the name that this user knows it by.

    The one in the folder has the name of whoever had the slide scored first.
    """
    whole = sums(run, bed, method).whole
    wrong = verdict(whole) or contradiction(run.slide)
    here, there = overview(run.folder), tissue(run.folder) > 0
    return map_picture(run.slide, maps(run), here, there, "heat", method, about(run), wrong)
