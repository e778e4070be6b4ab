"""Two model sets side by side."""

from collections.abc import Mapping
from typing import Final

import streamlit as st

from cellularity_core.model_store import ModelSet
from pages.parts.markdown import plain
from pages.parts.models_data import figures_of
from pages.parts.models_tables import figures_table, meanings
from pages.parts.words import METHOD_NAMES, scale_note

FIRST, SECOND = "models.first", "models.second"

OVERLAP: Final = (
    "A difference that is small beside the intervals may be chance: read the intervals, "
    "not the last digit."
)


def compare(sets: Mapping[str, ModelSet], active: str) -> None:
    """Let the user choose two sets, and show the figures of both.

    Parameters
    ----------
    sets : mapping of str to ModelSet
        By name; two or more.
    active : str
        Name of the set in use, which is the first of the two to begin with.
    """
    names = list(sets)
    left, right = st.columns(2)
    at = names.index(active) if active in names else 0
    one = left.selectbox("Set A", names, at, key=FIRST, persist_state="session")
    others = [name for name in names if name != one]
    two = right.selectbox("Set B", others, key=f"{SECOND}.{one}", persist_state="session")
    first, second = sets[one], sets[two]
    for warning in cautions(first, second):
        st.warning(warning, icon=":material/info:")
    figures_table({f"A: {one}": first, f"B: {two}": second})
    scale = "" if first.scale != second.scale else f"Both: {plain(scale_note(first.scale))}. "
    st.caption(scale + OVERLAP)
    meanings((first, second))


def cautions(first: ModelSet, second: ModelSet) -> list[str]:
    """Why the figures of two sets may not be compared as they stand, in sentences."""
    found = []
    if first.scale != second.scale:
        scales = "; ".join(
            f"{plain(one.name)}: {plain(scale_note(one.scale))}" for one in (first, second)
        )
        found.append(
            f"The two are not on the same scale ({scales}), so each was compared with another "
            "reference."
        )
    ours = {row.method: (row.n, row.patients) for row in figures_of(first)}
    theirs = {row.method: (row.n, row.patients) for row in figures_of(second)}
    differ = [METHOD_NAMES[m] for m in ours if m in theirs and ours[m] != theirs[m]]
    if differ:
        found.append(
            f"Not measured on the same patches: {', '.join(differ)}. A difference may come from "
            "the patches and not from the models."
        )
    return found
