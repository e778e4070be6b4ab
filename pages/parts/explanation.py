"""Why a score is what it is, and when not to trust it."""

from collections.abc import Mapping
from functools import lru_cache

import plotly.graph_objects as go
import streamlit as st

from cellularity_core.boosting import explain
from cellularity_core.conventions import CLASSES, FEATURE_PIXELS
from cellularity_core.features import FEATURE_NAMES
from cellularity_core.notes import SYNTHETIC
from cellularity_core.patch import Patch
from cellularity_core.quality import FLAGS
from cellularity_core.results import PatchResult
from pages.parts import state
from pages.parts.figures import gain_bars, waterfall
from pages.parts.score_cards import step_cards
from pages.parts.words import METHOD_NAMES, percent


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


def _points(moved: float) -> str:
    """``-0.014`` as "−1 point"."""
    points = round(100 * moved)
    sign = "+" if points > 0 else "−" if points < 0 else ""
    return f"{sign}{abs(points)} {'point' if abs(points) == 1 else 'points'}"


def chain(result: PatchResult) -> None:
    """From mask to score, step by step, each with its figure for malignant nuclei."""
    values = dict(zip(FEATURE_NAMES, result.features, strict=True))
    moved = float(result.contributions.sum())
    largest = explain(result.features, result.contributions, top=1)[0]
    direction = "up" if moved > 0 else "down"
    before = result.uncalibrated.get("gbt")
    scaled = "" if before is None else f": {percent(before)}, put on the reader's scale"
    steps = (
        (
            "Mask",
            f"{percent(values['malignant area@0.50'] / FEATURE_PIXELS)}",
            "of the tissue is marked malignant (activation above 0.5); marks are spots within "
            "nuclei, smaller than these",
        ),
        (
            "Blobs",
            f"{values['malignant blb_cnt@0.16']:.0f}",
            "malignant blobs of contrast above 0.16 in 256 × 256 µm of tissue",
        ),
        ("Features", f"{len(FEATURE_NAMES)}", f"measurements; the largest: {largest.text}"),
        (
            "Reasons",
            _points(moved),
            f"{direction} from {percent(result.base_value)}, an average patch (SHAP)",
        ),
        (
            "Score",
            percent(result.scores["gbt"].value),
            f"cellularity by the decision trees{scaled}",
        ),
    )
    step_cards([(f"{n} {name}", value, text) for n, (name, value, text) in enumerate(steps, 1)])


def explanation(result: PatchResult, gain: Mapping[str, float]) -> None:
    """Reasons of the trees' score, nuclei counted, and what the trees look at in general."""
    name = METHOD_NAMES["gbt"]
    score = result.scores.get("gbt")
    st.subheader(f"Why “{name}” says {percent(score.value if score else None)}", anchor=False)
    if score is None or score.value is None:
        st.write("There is no tissue to score, so there are no reasons to give.")
        return
    reasons = tuple(explain(result.features, result.contributions))
    raw = result.base_value + float(result.contributions.sum())
    chain(result)
    st.plotly_chart(
        _waterfall(result.base_value, reasons, raw),
        key=state.WATERFALL,
        config={"displayModeBar": False, "scrollZoom": False},
    )
    before = result.uncalibrated.get("gbt", score.value)
    if not 0.0 <= raw <= 1.0:
        st.caption(f"The sum {raw:.2f} is outside 0 to 1; the score is {percent(before)}.")
    if "gbt" in result.uncalibrated:
        st.caption(
            f"These reasons are of {percent(before)}, the score before it was put on the reader's "
            f"scale, where it is {percent(score.value)}."
        )
    counts = result.nuclei.counts()
    found = ", ".join(f"{counts[cell]} {cell}" for cell in reversed(CLASSES))
    st.markdown(f"**Nuclei found:** {len(result.nuclei)} ({found}).")
    with st.expander("All reasons in words"):
        for reason in reasons:
            st.markdown(f"- {reason.text}")
    with st.expander("What these trees look at in general (importance by gain)"):
        st.plotly_chart(
            _gain_bars(tuple(gain.items())),
            key=state.GAIN,
            config={"displayModeBar": False, "scrollZoom": False},
        )


# To build a figure takes as long as all the rest of a page that is drawn again.
_waterfall = lru_cache(maxsize=64)(waterfall)


@lru_cache(maxsize=4)
def _gain_bars(gain: tuple[tuple[str, float], ...]) -> go.Figure:
    return gain_bars(dict(gain))
