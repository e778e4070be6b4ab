"""Hot spots of a slide, and the tile behind a place: its patch, nuclei and scores."""

from typing import Final

import pandas as pd
import streamlit as st

from cellularity_core.export import file_stem
from cellularity_core.patch import Patch
from cellularity_core.slides.grid import Tile
from cellularity_core.slides.scoring import TileResult
from pages.parts import state
from pages.parts.locks import LOCKED, locked_patches
from pages.parts.score_cards import score_cards
from pages.parts.scoring import Engine, scored
from pages.parts.sights import show_to
from pages.parts.slide_run import Run
from pages.parts.slide_source import Desk
from pages.parts.state import Case
from pages.parts.viewer import Pane, drawing, viewer
from pages.parts.words import METHOD_NAMES, flags_in_words, percent, spread

KEPT: Final = "slide.drawing"

LEAST: Final = 0.1
"""Cellularity below which a tile is no hot spot, though it be the highest of its slide."""


def tile_at(run: Run, x: float, y: float) -> tuple[int, int]:
    """Row and column of the tile that holds a place, in pixels of level 0."""
    grid = run.slide.grid
    column = sum(edge <= x for edge in grid.x_edges[1:-1])
    return sum(edge <= y for edge in grid.y_edges[1:-1]), column


def looked_at(own: Desk, run: Run) -> Tile | None:
    """The tile that the user looks at."""
    place = own.place.get(run.source.key)
    return None if place is None else run.slide.grid.tile(*place)


def hot_spots(own: Desk, run: Run, hot: tuple[TileResult, ...], method: str) -> None:
    """The tiles with the highest scores; a click goes there."""
    st.subheader("Hot spots", anchor=False)
    if not hot:
        st.caption("No tile that is fit to score lies here by half or more.")
        return
    highest = hot[0].scores[method].value or 0.0
    hot = tuple(one for one in hot if (one.scores[method].value or 0.0) >= LEAST)
    if not hot:
        st.caption(f"None: no tile reaches {percent(LEAST)}. The highest has {percent(highest)}.")
        return
    key = f"{state.SLIDE_HOT}.{run.key}.{own.goto}"

    def choose() -> None:
        chosen = state.sent(key, "selection")
        if chosen and chosen["rows"]:
            tile = hot[chosen["rows"][0]].tile
            own.place[run.source.key] = (tile.row, tile.column)
            own.goto += 1

    with st.container(key=f"{state.SLIDE_HOT}.list"):
        st.dataframe(
            pd.DataFrame([_row(run, result, method) for result in hot]),
            hide_index=True,
            key=key,
            on_select=choose,
            selection_mode="single-row",
            column_config={
                METHOD_NAMES[method]: st.column_config.NumberColumn(format="%.0f %%"),
            },
            placeholder="–",
        )
    st.caption(
        f"The tiles with the highest scores, {percent(LEAST)} or more. Choose a row to go there."
    )


def _row(run: Run, result: TileResult, method: str) -> dict[str, object]:
    tile, score = result.tile, result.scores[method]
    mm = run.slide.mpp / 1000
    limits = ""
    if score.low is not None and score.high is not None:
        limits = f"{100 * score.low:.0f}–{100 * score.high:.0f}"
    return {
        METHOD_NAMES[method]: None if score.value is None else 100 * score.value,
        "90 % interval": limits,
        "Tissue": f"{100 * result.tissue:.0f} %",
        "Right (mm)": round((tile.x + tile.width / 2) * mm, 2),
        "Down (mm)": round((tile.y + tile.height / 2) * mm, 2),
        "Malignant nuclei": result.counts.get("malignant"),
        "Warnings": flags_in_words(result.quality.flags, result.quality.reliable),
    }


def tile_behind(own: Desk, run: Run, models: Engine, reader: str) -> None:
    """The tile looked at, as the page Analyse shows a patch."""
    tile = looked_at(own, run)
    if tile is None:
        return
    patch = run.slide.patch(tile)
    mm = run.slide.mpp / 1000
    text, away = st.columns([5, 1], vertical_alignment="bottom")
    text.subheader(f"Tile {tile.x * mm:.2f} mm right, {tile.y * mm:.2f} mm down", anchor=False)
    away.button(
        "Close the tile",
        key=f"{state.SLIDE_TILE}.close",
        on_click=own.place.pop,
        args=(run.source.key, None),
        width="stretch",
    )
    if patch.sha256 in locked_patches(Case(patches={patch.sha256: patch}), reader):
        st.warning(LOCKED, icon=":material/lock:")
        return
    show_to(state.case(), [patch], reader)  # a score that the reader gives later is not blind
    result = scored(patch, models).result
    score_cards(result.scores, result.scale)
    st.markdown(spread(result.scores))
    _draw(patch, models)


def _draw(patch: Patch, models: Engine) -> None:
    """The patch and what was found; kept, so that the browser keeps its zoom."""
    what = (patch.sha256, patch.mpp, models.scorer.model_set.sha256)
    kept = st.session_state.get(KEPT)
    if kept is None or kept[0] != what:
        found = scored(patch, models)
        panes = [Pane("Tile"), Pane("What was found", found.layers, found.result.nuclei)]
        name = f"{file_stem(patch.name)}-overlay.png"
        kept = st.session_state[KEPT] = (what, drawing(patch.pixels, patch.mpp, panes, name))
    viewer(kept[1], key=f"{state.SLIDE_TILE}.viewer")
