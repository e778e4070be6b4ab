"""One model set: its figures, what it is made of, how it was trained, its cards."""

import re
from typing import Final

import streamlit as st

from cellularity_core.boosting import BoostedTrees
from cellularity_core.conventions import WEAK_SCALE
from cellularity_core.model_store import ModelSet
from pages.parts import state
from pages.parts.figures import gain_bars
from pages.parts.markdown import document, plain
from pages.parts.models_data import (
    COLUMNS,
    ablation,
    curves,
    nuclei_note,
    origin,
    run_label,
    unmeasured,
)
from pages.parts.models_figures import curve_figure
from pages.parts.models_tables import ablation_table, figures_table, meanings, remarks
from pages.parts.words import METHOD_NAMES, counted, scale_name

_QUIET: Final = {"displayModeBar": False, "scrollZoom": False}

OVERLAP_HELP: Final = (
    "Jaccard index: the area where the map found and the true discs around nuclei overlap, over "
    "the area that either covers, mean of the classes. 1 is perfect."
)


def heading(models: ModelSet) -> None:
    """What the set is, in two sentences."""
    views = "one view" if models.views == 1 else f"{models.views} views of each patch, mirrored"
    st.markdown(
        f"**{plain(models.name)}** looks at {models.mpp:g} µm per pixel, in {views}. "
        f"Its scores are on this scale: **{plain(scale_name(models.scale))}**. "
        f"Checksum `{models.sha256[:12]}`.",
        help="The checksum changes whenever a score could: another training, another setting.",
    )
    if base := origin(models.manifest):
        st.info(
            f"A recalibrated set: it finds what “{plain(base)}” finds, and its scores are mapped "
            f"to another scale ({plain(models.scale)}) by patches that were scored on it.",
            icon=":material/tune:",
        )


def figures(models: ModelSet) -> None:
    """How well each method does, and what gave how much."""
    st.subheader("How well it does", anchor=False)
    figures_table({models.name: models})
    reference = (
        "weak TC, the area around tumour nuclei that were marked by hand: not a pathologist's score"
        if models.scale == WEAK_SCALE
        else f"scores on this scale: {plain(models.scale)}"
    )
    how = (
        "On the patches that a reader scored for it; each was mapped to that reader's scale by "
        "what the other patients told."
        if origin(models.manifest)
        else "Each patch was scored by a model trained in the same way without that patient."
    )
    st.caption(f"{how} Reference: {reference}. Small: 95 % interval. {plain(nuclei_note(models))}")
    meanings([models])
    if rows := ablation(models):
        st.subheader("What each ingredient gave", anchor=False)
        codes = ", ".join(f"`{m}`: {METHOD_NAMES.get(m, m)}" for m in models.methods)
        with st.expander(counted(len(rows), "trial"), icon=":material/experiment:"):
            ablation_table(rows, float(models.manifest["nuclei"].get("radius_um", 3)))
            st.caption(
                f"Tried on validation patients while the set was made. {codes}. A fold is a group "
                "of patients kept aside while the others train."
            )
            for k, remark in enumerate(remarks(rows), 1):
                st.caption(f"({k}) {plain(remark)}")


def training(models: ModelSet) -> None:
    """Training curves, or that there are none."""
    st.subheader("How it was trained", anchor=False)
    if not models.manifest.get("curves"):
        base = origin(models.manifest)
        st.markdown(
            f"The networks are those of “{plain(base)}”; look there for the curves."
            if base
            else "This model set came without a log of its training, so there are no curves."
        )
        return
    overlap, error = curves(models.manifest, "jaccard"), curves(models.manifest, "mse")
    left, right = st.columns(2)
    with left:
        st.markdown("**Nuclei found, by epoch**", help=OVERLAP_HELP)
        if overlap:
            chart = curve_figure(overlap, "Jaccard index, 0 to 1", 3)
            st.plotly_chart(chart, key="models.jaccard", config=_QUIET)
        else:
            st.markdown("Not measured while this set was trained.")
    with right:
        st.markdown("**Error of the score, by epoch**", help=COLUMNS[1].meaning)
        if error:
            chart = curve_figure(error, "mean squared error (MSE)", 4)
            st.plotly_chart(chart, key="models.mse", config=_QUIET)
        else:
            st.markdown("Not measured while this set was trained.")
    st.caption(
        "An epoch is one pass over the training patches. Left: the overlap of nuclei found with "
        "nuclei marked (Jaccard index), higher is better. Right: the mean squared difference from "
        f"the reference ({plain(scale_name(models.scale))}), lower is better. Measured on a group "
        "of patients kept aside from that training, a line each group; a point alone was measured "
        "at the end only."
    )
    if rest := unmeasured(models.manifest, ("jaccard", "mse")):
        names = plain(", ".join(map(run_label, rest)))
        st.caption(
            f"No curve: {names}. While these trained, no patients were kept aside to measure on."
        )


def importances(models: ModelSet) -> None:
    """What the trees look at (the paper's Fig. 10)."""
    name = METHOD_NAMES["gbt"]
    if "gbt" not in models.methods:
        return
    st.subheader(f"What the trees of “{name}” look at", anchor=False)
    st.caption(
        "The 20 of 81 measurements that helped the trees most: total gain, which is how much the "
        "error fell where trees asked for it. Log scale: each number on the axis is ten times the "
        "one before. A map says how sure the network is, 0 to 1, that a pixel belongs to a "
        "nucleus of the class; “area@0.16” is the area above 0.16, “value” the sum of the map "
        "there, “blb_cnt” the number of nucleus-like spots as clear as that, “blb_sum” the sum of "
        "the map at their centres."
    )
    chart = gain_bars(_gain(models.sha256, models))
    chart.update_xaxes(dtick=1)
    st.plotly_chart(chart, key=state.CARD_GAIN, config=_QUIET)


@st.cache_data(show_spinner=False)
def _gain(sha256: str, _models: ModelSet) -> dict[str, float]:
    return BoostedTrees.load(_models.file("gbt.txt")).gain()


def cards(models: ModelSet) -> None:
    """The set's card, and those of its networks."""
    st.subheader("Model cards", anchor=False)
    with st.expander(f"The whole set: {plain(models.name)}", icon=":material/description:"):
        st.markdown(_text(models.card()) or "This model set has no card.")
    for path in sorted(models.folder.glob("*.md")):
        if path.name != "README.md":
            text = path.read_text(encoding="utf-8")
            with st.expander(plain(text.partition("\n")[0].lstrip("# ") or path.stem)):
                st.markdown(_text(text))


def _text(card: str) -> str:
    """A card without pictures, and without links to other files, which lead nowhere in an app."""
    return document(re.sub(r"\[([^\]]*)\]\(\w[\w-]*\.md\)", r"\1", card))
