"""Analyse: patches in; scores, what they rest on and why they differ out."""

from collections.abc import Sequence

import streamlit as st

from cellularity_core.export import file_stem
from cellularity_core.patch import Patch
from db.records import ReadingRecord
from pages.parts import state
from pages.parts.batch import batch_table, steps
from pages.parts.differences import differences_expander
from pages.parts.explanation import explanation, warnings
from pages.parts.files import files_area
from pages.parts.frame import show
from pages.parts.intake import ask_size, drop_box, heading, problems
from pages.parts.reader import Reader, own_score_form, reader_controls
from pages.parts.score_cards import score_cards
from pages.parts.scoring import Engine, chosen_engine, score_all, scored
from pages.parts.sight import in_sight
from pages.parts.sights import show_to
from pages.parts.state import Case
from pages.parts.tour import tour
from pages.parts.viewer import Pane, drawing, viewer
from pages.parts.withheld import withheld
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
    show_to(case, (case.patches[sha256] for sha256 in shown), reader.name)
    if len(case.patches) > 1:
        batch_table(case, shown, own if reader.name or reader.score_first else None)
        steps(case)
    patch = case.patch
    if patch is None:
        return
    heading(case, patch)
    if patch.sha256 in shown:
        _open(case, patch, models, reader, own.get(patch.sha256, []))
        items = [(case.patches[s], case.results[s]) for s in shown]
        files_area(items, case.problems, patch.sha256, models, reader.name)
    else:
        withheld(case, patch, sight, reader)


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
    _draw(case, patch, models)
    with st.expander("Add or correct your own score", icon=":material/edit:"):
        own_score_form(case, patch, reader)
    explanation(result, models.gain)
    differences_expander(patch, result, models, state.DIFFERENCES)


def _draw(case: Case, patch: Patch, models: Engine) -> None:
    """Show the patch, and beside it what the models found.

    The drawing is made once: as long as it is the same object, the browser keeps its zoom
    and its switches.
    """
    what = (patch.sha256, patch.mpp, models.scorer.model_set.sha256)
    if case.view is None or case.view[0] != what:
        found = scored(patch, models)
        panes = [Pane("Patch"), Pane("What was found", found.layers, found.result.nuclei)]
        name = f"{file_stem(patch.name)}-overlay.png"
        case.view = (what, drawing(patch.pixels, patch.mpp, panes, name, [found.result]))
    viewer(case.view[1], key=state.VIEWER)


show(page)
