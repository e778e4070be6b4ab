"""Why a score is what it is, and when not to trust it."""

from collections.abc import Mapping
from typing import Final

import streamlit as st

from cellularity_core.boosting import explain
from cellularity_core.conventions import CLASSES
from cellularity_core.patch import Patch
from cellularity_core.quality import FLAGS
from cellularity_core.results import PatchResult
from pages.parts import state
from pages.parts.figures import gain_bars, waterfall
from pages.parts.words import METHOD_NAMES, percent

SYNTHETIC: Final = "synthetic"
"""Note of a patch that the demo drew."""


def warnings(patch: Patch, result: PatchResult) -> None:
    """A banner that says what is wrong with the patch, in sentences."""
    if SYNTHETIC in patch.notes:
        st.info(
            "This patch is synthetic: a program drew it, with known nuclei. It is no tissue.",
            icon=":material/science:",
        )
    sentences = " ".join(FLAGS[flag].text for flag in result.quality.flags)
    if not result.quality.reliable:
        st.error(f"**Do not rely on this score:** {sentences}", icon=":material/warning:")
    elif sentences:
        st.warning(sentences, icon=":material/info:")


def explanation(result: PatchResult, gain: Mapping[str, float]) -> None:
    """Reasons of the trees' score, nuclei counted, and what the trees look at in general."""
    name = METHOD_NAMES["gbt"]
    score = result.scores.get("gbt")
    st.subheader(f"Why “{name}” says {percent(score.value if score else None)}", anchor=False)
    if score is None or score.value is None:
        st.write("There is no tissue to score, so there are no reasons to give.")
        return
    reasons = explain(result.features, result.contributions)
    raw = result.base_value + float(result.contributions.sum())
    st.plotly_chart(
        waterfall(result.base_value, reasons, raw),
        key=state.WATERFALL,
        config={"displayModeBar": False, "scrollZoom": False},
    )
    if not 0.0 <= raw <= 1.0:
        st.caption(f"The sum {raw:.2f} is outside 0 to 1; the score is {percent(score.value)}.")
    counts = result.nuclei.counts()
    found = ", ".join(f"{counts[cell]} {cell}" for cell in reversed(CLASSES))
    st.markdown(f"**Nuclei found:** {len(result.nuclei)} ({found}).")
    with st.expander("All reasons in words"):
        for reason in reasons:
            st.markdown(f"- {reason.text}")
    with st.expander("What these trees look at in general (importance by gain)"):
        st.plotly_chart(
            gain_bars(gain), key=state.GAIN, config={"displayModeBar": False, "scrollZoom": False}
        )
