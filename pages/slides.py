"""Slide: a whole slide in; its heat map, tumour bed and what that comes to out."""

import streamlit as st

from cellularity_core.slides.summary import verdict
from cellularity_core.slides.writing import contradiction, notes
from pages.parts import access, state
from pages.parts.frame import show
from pages.parts.locks import slide_lock
from pages.parts.scoring import Engine, chosen_engine
from pages.parts.slide_bed import (
    add_outline,
    bed_controls,
    case_of_slides,
    first_method,
    means,
    to_rcb,
)
from pages.parts.slide_files import slide_files
from pages.parts.slide_run import Run, open_run, overview, score, sums
from pages.parts.slide_source import Desk, choose, desk, opened
from pages.parts.slide_tile import hot_spots, looked_at, tile_at, tile_behind
from pages.parts.slide_view import deep_zoom
from pages.parts.words import METHOD_NAMES


def page() -> None:
    """Draw the page from top to bottom."""
    left, who = st.columns([3, 1.4], vertical_alignment="center")
    left.title("Slide", anchor=False)
    reader = access.reader_name(who)
    own = desk()
    source = choose(own)
    with st.container():  # so that what follows keeps its place when a spinner comes and goes
        models = chosen_engine()
    if source is None:
        st.info(
            "Nothing here yet. Open a whole H&E slide above: its tissue is scored in tiles of "
            "256 µm, and you see where the tumour is and what its bed comes to.",
            icon=":material/upload:",
        )
        return
    slide = opened(own, source)
    run = slide and open_run(source, slide, models)
    if run is None:
        return
    heading(own, run)
    locked = slide_lock(run.folder.name, run.slide, overview(run.folder), reader)
    with st.container():
        if locked:
            st.warning(locked, icon=":material/lock:")
        elif not run.is_done:
            score(run, models, state.SLIDE_SCORE)
    look(own, run, is_open=not locked)
    if run.is_done and not locked:
        results(own, run, models, reader)


def heading(own: Desk, run: Run) -> None:
    """Size of the slide, and where its pixel size is from; one that was typed can be changed."""
    slide = run.slide
    source = "stated by the file" if slide.mpp_source == "file" else "given by you"
    width, height = slide.width * slide.mpp / 1000, slide.height * slide.mpp / 1000
    st.caption(
        f"{slide.width} × {slide.height} pixels, {width:.1f} × {height:.1f} mm · "
        f"{slide.mpp:.3g} µm per pixel ({source})"
    )
    if run.source.key in own.mpp:
        st.button(
            "Change the pixel size",
            key=f"{state.SLIDE_SIZE}.change",
            icon=":material/straighten:",
            on_click=own.mpp.pop,
            args=(run.source.key, None),
        )


def look(own: Desk, run: Run, is_open: bool) -> None:
    """The slide, its maps and its bed."""

    def outline(points: list[tuple[float, float]]) -> None:
        add_outline(own, run, points)

    def place(x: float, y: float) -> None:
        own.place[run.source.key] = tile_at(run, x, y)

    deep_zoom(
        run,
        key=state.SLIDE_VIEW,
        is_open=is_open,
        bed=own.beds.get(run.source.key),
        looked_at=looked_at(own, run) if is_open else None,
        goto=own.goto,
        on_outline=outline,
        on_place=place,
    )


def results(own: Desk, run: Run, models: Engine, reader: str) -> None:
    """What the slide and its bed come to, and where."""
    tile_behind(own, run, models, reader)
    bed_controls(own, run)
    bed = own.beds.get(run.source.key)
    methods = list(run.scoring.methods)
    method = st.selectbox(
        "Method",
        methods,
        methods.index(first_method(run)),
        format_func=METHOD_NAMES.__getitem__,
        key=state.SLIDE_METHOD,
        persist_state="session",
    )
    found = sums(run, bed, method)
    wrong = verdict(found.whole)
    for note in notes(found.whole, found.bed, [method], contradiction(run.slide), "tumour bed"):
        (st.error if note == wrong else st.warning)(note)
    means(run, found, bed, method)
    to_rcb(own, run, case_of_slides(own, run, found, method), method)
    hot_spots(own, run, found.hot, method)
    slide_files(run, bed, method, reader)


show(page)
