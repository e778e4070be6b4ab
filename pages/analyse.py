"""Analyse: patches in; scores, what they rest on and why they differ out."""

from collections.abc import Hashable, Sequence

import streamlit as st

from cellularity_core.export import file_stem
from cellularity_core.patch import Patch
from db.records import ReadingRecord
from pages.parts import state
from pages.parts.batch import batch_table, steps
from pages.parts.explanation import explanation, warnings
from pages.parts.files import files_area
from pages.parts.frame import show
from pages.parts.intake import ask_size, drop_box, heading, is_waiting, problems
from pages.parts.locks import LOCKED
from pages.parts.reader import Reader, own_score_form, reader_controls
from pages.parts.score_cards import score_cards
from pages.parts.scoring import Engine, chosen_engine, score_all, scored
from pages.parts.sight import in_sight
from pages.parts.state import Case
from pages.parts.tour import tour
from pages.parts.viewer import Pane, drawing, viewer
from pages.parts.words import beside_own, spread


def page() -> None:
    """Draw the page from top to bottom."""
    case = state.case()
    reader = reader_controls("Analyse")
    drop_box(case)
    with st.container():
        problems(case)
        ask_size(case)
    if not case.patches:
        st.info(
            "Nothing here yet. Drop one or more H&E patches into the box above, or load the demo. "
            "Four methods score each patch, and you see the nuclei that the scores rest on.",
            icon=":material/upload:",
        )
        tour()
        chosen_engine()  # loads the models while the user looks for a patch
        return
    with st.container():  # so that what follows keeps its place when a spinner comes and goes
        models = chosen_engine()
    sight = in_sight(case, reader)
    own = sight.own
    score_all(case.results, sight.open, models, case.current)
    shown = [patch.sha256 for patch in sight.open if patch.sha256 in case.results]
    case.shown.update(shown)
    if len(case.patches) > 1:
        batch_table(case, shown, own if reader.name or reader.score_first else None)
        steps(case)
    patch = case.patch
    if patch is None:
        return
    heading(case, patch)
    if patch.sha256 in sight.locked:
        st.warning(LOCKED, icon=":material/lock:")
    elif is_waiting(patch):
        st.info("This patch is scored as soon as its pixel size is given above.")
    elif patch.sha256 in shown:
        _open(case, patch, models, reader, own.get(patch.sha256, []))
        items = [(case.patches[s], case.results[s]) for s in shown]
        files_area(items, case.problems, patch.sha256, models)
    else:
        picture, form = st.columns([2, 1])
        with picture:
            _draw(case, patch, (patch.sha256, patch.mpp))
        with form:
            st.markdown("**What share of the tumour bed is covered by malignant cells?**")
            own_score_form(case, patch, reader)


def _open(
    case: Case, patch: Patch, models: Engine, reader: Reader, own: Sequence[ReadingRecord]
) -> None:
    """Scores, pictures and reasons of one patch."""
    result = case.results[patch.sha256]
    with st.container():
        warnings(patch, result)
    score_cards(result.scores, result.scale, own)
    beside = beside_own(own[-1].cellularity, result.scores) if own else ""
    st.markdown(f"{spread(result.scores)} {beside}")
    _draw(case, patch, (patch.sha256, patch.mpp, result.model_sha256), models)
    with st.expander("Add or correct your own score", icon=":material/edit:"):
        own_score_form(case, patch, reader)
    explanation(result, models.gain)


def _draw(case: Case, patch: Patch, what: Hashable, models: Engine | None = None) -> None:
    """Show the patch, with what the models found if they are given.

    The drawing is made once for `what`: as long as it is the same object, the
    browser keeps its zoom and its switches.
    """
    if case.view is None or case.view[0] != what:
        panes = [Pane("")]
        if models:
            layers = scored(patch, models).layers
            panes = [
                Pane("Patch"),
                Pane("What was found", layers, case.results[patch.sha256].nuclei),
            ]
        name = f"{file_stem(patch.name)}-overlay.png"
        case.view = (what, drawing(patch.pixels, patch.mpp, panes, name))
    viewer(case.view[1], key=state.VIEWER)


show(page)
