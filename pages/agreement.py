"""Agreement: readers with each other, models with readers, what is disputed, the report."""

from collections.abc import Callable
from typing import Final

import streamlit as st

from pages.parts import access, state
from pages.parts.agreement_pairs import two_by_two
from pages.parts.agreement_queue import disagreements
from pages.parts.agreement_source import Chosen, chosen_source
from pages.parts.agreement_stats import report_of
from pages.parts.agreement_tables import at_a_glance, statistics
from pages.parts.agreement_time import after_ai, over_time
from pages.parts.agreement_words import headline, models_notes
from pages.parts.frame import show
from pages.parts.markdown import plain
from pages.parts.report_section import report_section
from pages.parts.words import models_scale

SECTIONS: Final[dict[str, Callable[[Chosen], None]]] = {
    "At a glance": at_a_glance,
    "Statistics": statistics,
    "Two by two": two_by_two,
    "Over time": over_time,
    "After AI": after_ai,
    "Disagreements": disagreements,
    "Report": report_section,
}


def page() -> None:
    """Draw the page from top to bottom."""
    identity = access.allow("agreement")
    chosen = chosen_source(identity)
    if chosen is None:
        return
    material = chosen.material
    with st.container():  # so that what follows keeps its place without progress
        report = report_of(material.key, material)
    st.markdown(f"**{plain(headline(report))}**")
    if report.models and material.model_set is not None:
        scale = models_scale(material.model_set, material.scale)
        st.caption(plain(f"Scale of the models' scores: {scale}."))
        for note in models_notes(material):
            st.warning(plain(note), icon=":material/warning:")
    section = st.segmented_control(
        "What to look at",
        list(SECTIONS),
        default="At a glance",
        required=True,
        key=state.AGREEMENT_SECTION,
        label_visibility="collapsed",
        persist_state="session",
    )
    SECTIONS[section or "At a glance"](chosen)


show(page)
