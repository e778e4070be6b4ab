"""Compare: methods, a reader and two model sets side by side, over a set and on one patch."""

from collections.abc import Sequence
from typing import Final

import streamlit as st

from cellularity_core.model_store import available
from pages.parts import state
from pages.parts.compare_data import Side, by_disagreement, raters
from pages.parts.compare_pair import pair
from pages.parts.compare_patch import opened
from pages.parts.compare_table import table
from pages.parts.frame import show
from pages.parts.intake import ask_size, drop_box, heading, is_waiting, problems
from pages.parts.markdown import plain
from pages.parts.reader import reader_controls
from pages.parts.scoring import Engine, chosen_engine, rest, score_all, second_engine
from pages.parts.sight import Sight, in_sight
from pages.parts.sights import show_to
from pages.parts.state import Case
from pages.parts.withheld import withheld
from pages.parts.words import scale_note

TABLE: Final = "Table"
PAIR: Final = "Two by two"


def page() -> None:
    """Draw the page from top to bottom."""
    case = state.case()
    reader = reader_controls("Compare")
    drop_box(case)
    with st.container():
        problems(case)
        ask_size(case)
    if not case.patches:
        st.info(
            "Nothing to compare yet. Drop H&E patches into the box above, or load the demo; "
            "patches of the page Analyse are here as well. You get a table of all scores, the "
            "patch on which the methods disagree most first, and each method's view of it.",
            icon=":material/upload:",
        )
        return
    with st.container():
        engines = _engines()
    sight = in_sight(case, reader)
    score_all(case.results, sight.open, engines[0], case.current)
    for on in engines[1:]:  # the same patches, also where the first set was cancelled
        same = [patch for patch in sight.open if patch.sha256 in case.results]
        score_all(case.second, same, on, case.current)
    shown = {patch.sha256 for patch in sight.open if patch.sha256 in case.results}
    show_to(case, (case.patches[sha256] for sha256 in shown), reader.name)
    sides = _sides(case, engines, shown)
    some = raters(sides, sight.own, reader.name)
    order = by_disagreement(sides, case.patches)
    _scales(sides)
    section = st.segmented_control(
        "What to look at",
        [TABLE, PAIR],
        default=TABLE,
        required=True,
        key=state.COMPARE_VIEW,
        label_visibility="collapsed",
        persist_state="session",
    )
    if section == PAIR:
        seen = sum(bool(given) and given[0].seen_models for given in sight.own.values())
        pair(case, [s for s in order if s in shown], sides, some, seen)
    else:
        table(case, order, sides, some, sight.own, _why_not(case, sight, shown))
    patch = case.patch
    if patch is None:
        return
    heading(case, patch)
    if patch.sha256 in shown:
        opened(case, patch, sides, engines, some, sight.own.get(patch.sha256, []))
    else:
        withheld(case, patch, sight, reader)
    rest(engines)


def _engines() -> list[Engine]:
    """The models in use, and a second set where one is asked for."""
    left, right = st.columns(2) if len(available()) > 1 else (st.container(), st.container())
    with left:
        first = chosen_engine()
    with right:
        second = second_engine(first)
    return [first] if second is None else [first, second]


def _sides(case: Case, engines: Sequence[Engine], shown: set[str]) -> list[Side]:
    labels = ("A", "B") if len(engines) == 2 else ("",)
    return [
        Side(
            label=label,
            name=on.scorer.model_set.name,
            scale=on.scorer.model_set.scale,
            parts={method: on.scorer.model_set.parts(method) for method in on.scorer.methods},
            results={s: results[s] for s in shown if s in results},
        )
        for label, on, results in zip(labels, engines, (case.results, case.second), strict=False)
    ]


def _scales(sides: Sequence[Side]) -> None:
    """Whose scale the scores of each set are on."""
    if len(sides) == 1:
        st.caption(f"Models {plain(sides[0].name)}: {plain(scale_note(sides[0].scale))}.")
        return
    told = "; ".join(f"{s.label} is {plain(s.name)} ({plain(scale_note(s.scale))})" for s in sides)
    if len({side.scale for side in sides}) == 1:
        st.caption(f"{told}. Both sets are on one scale.")
        return
    st.warning(
        f"**The two sets are not on one scale.** {told}. The table does not subtract one from "
        "the other, and “Apart” is taken within each.",
        icon=":material/straighten:",
    )


def _why_not(case: Case, sight: Sight, shown: set[str]) -> dict[str, str]:
    """Why a patch has no scores, by its checksum."""
    open_ = {patch.sha256 for patch in sight.open}
    return {
        sha256: "in an open study"
        if sha256 in sight.locked
        else "which pixel size?"
        if is_waiting(patch)
        else "not scored yet"
        if sha256 in open_
        else "score it first"
        for sha256, patch in case.patches.items()
        if sha256 not in shown
    }


show(page)
