"""The patch that is looked at on the page Compare: what each method sees, pane beside pane."""

from collections.abc import Mapping, Sequence
from typing import Final

import streamlit as st

from cellularity_core.export import file_stem
from cellularity_core.patch import Patch
from cellularity_core.quality import FLAGS
from cellularity_core.results import PatchResult
from db.records import ReadingRecord
from pages.parts import state
from pages.parts.compare_data import Rater, Side, own_flags
from pages.parts.differences import (
    MAP_KEY,
    MAP_NAME,
    differences_expander,
    place_picture,
    shown_score,
)
from pages.parts.explanation import warnings
from pages.parts.markdown import plain
from pages.parts.score_cards import score_cards
from pages.parts.scoring import Engine, places_of, scored
from pages.parts.set_differences import sets_expander
from pages.parts.state import Case
from pages.parts.viewer import MOST_PANES, Pane, drawing, viewer
from pages.parts.words import percent, spread

BARE: Final = "The patch alone"

MAPPED: Final = ("gbt", "cascade")
"""Methods that look at maps of nuclei, which can be drawn."""

VIEWS: Final = (*MAPPED, "direct-r", "direct-c")
"""Methods with a view of their own; a mean has none."""


def opened(
    case: Case,
    patch: Patch,
    sides: Sequence[Side],
    engines: Sequence[Engine],
    some: Sequence[Rater],
    own: Sequence[ReadingRecord],
) -> None:
    """Warnings, score cards of each set, and two to four views of one patch."""
    with st.container():
        warnings(patch, sides[0].results[patch.sha256])
        for label, flags in own_flags(sides, patch.sha256)[1:]:
            if flags:
                sentences = " ".join(FLAGS[flag].text for flag in flags)
                st.warning(f"Set {label}: {sentences}", icon=":material/info:")
    for side in sides:
        result = side.results[patch.sha256]
        if side.label:
            st.markdown(f"**Set {side.label}: {plain(side.name)}.** {spread(result.scores)}")
        score_cards(result.scores, result.scale, own if side is sides[0] else ())
        if not side.label:
            st.markdown(spread(result.scores))
    views = {rater.name: rater for rater in some if rater.method in VIEWS}
    wanted = st.multiselect(
        "Side by side",
        [BARE, *views],
        _at_first(views),
        max_selections=MOST_PANES,
        key=f"{state.COMPARE_PANES}.{len(sides)}",
        persist_state="session",
        help=f"Up to {MOST_PANES} views of the patch; they zoom and move together.",
    )
    what = (
        "compare",
        patch.sha256,
        patch.mpp,
        *wanted,
        *(e.scorer.model_set.sha256 for e in engines),
    )
    if case.view is None or case.view[0] != what:
        found = dict(zip((side.label for side in sides), engines, strict=True))
        of = {side.label: side.results[patch.sha256] for side in sides}
        panes = [_pane(patch, views.get(name), found, of) for name in wanted] or [Pane(BARE)]
        name = f"{file_stem(patch.name)}-compared.png"
        case.view = (what, drawing(patch.pixels, patch.mpp, panes, name, list(of.values())))
    viewer(case.view[1], key=state.COMPARE_VIEWER)
    if any(name in views and views[name].method not in MAPPED for name in wanted):
        st.caption(MAP_KEY)
    for side, on in zip(sides, engines, strict=True):
        of = f" of set {side.label}" if side.label else ""
        key = f"{state.COMPARE_WHY}.{side.label}"
        differences_expander(patch, side.results[patch.sha256], on, key, of)
    if len(sides) > 1:
        sets_expander(patch, sides, engines, f"{state.COMPARE_WHY}.sets")


def _at_first(views: Mapping[str, Rater]) -> list[str]:
    """The bare patch, and the nuclei of each set."""
    return [BARE, *(name for name, rater in views.items() if rater.method == "gbt")]


def _pane(
    patch: Patch,
    rater: Rater | None,
    engines: Mapping[str, Engine],
    results: Mapping[str, PatchResult],
) -> Pane:
    """What one method sees, its score above it; the patch alone where it gives no map."""
    if rater is None:
        return Pane(BARE)
    title = f"{rater.name}: {percent(rater.scores.get(patch.sha256))}"
    if rater.method not in MAPPED:
        places = places_of(patch, engines[rater.side]).get(rater.method)
        if places is None:
            return Pane(f"{title} (of the whole picture, no map)")
        picture = place_picture(places, patch.pixels.shape[:2])
        title = f"{rater.name}: {shown_score(results[rater.side], rater.method)}"
        return Pane(title, overlay=picture, overlay_name=MAP_NAME)
    found = scored(patch, engines[rater.side])
    return Pane(title, found.layers, found.result.nuclei, rater.method)
