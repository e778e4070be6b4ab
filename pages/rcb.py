"""RCB: tumour bed, cellularity and nodes to the Residual Cancer Burden."""

from collections.abc import Callable
from typing import Final

import streamlit as st

from cellularity_core.rcb import Burden, rcb
from pages.parts import state
from pages.parts.burden import result
from pages.parts.frame import show

D1: Final = "rcb.d1"
D2: Final = "rcb.d2"
CIS: Final = "rcb.cis"
NODES: Final = "rcb.nodes"
MET: Final = "rcb.met"


def page() -> None:
    """Draw the page from top to bottom."""
    st.title("Residual Cancer Burden", anchor=False)
    st.markdown(
        "What is left in breast and lymph nodes after treatment, as one index and four classes "
        "(Symmans et al., J Clin Oncol 2007)."
    )
    bed, cancer, nodes = st.columns(3, gap="large")
    with bed:
        st.subheader("Tumour bed", anchor=False)
        d1 = _number("Largest dimension, mm", D1)
        d2 = _number("Dimension across it, mm", D2)
    with cancer:
        st.subheader("Cancer in the bed", anchor=False)
        ca = _number(
            "Cellularity, %",
            state.RCB_CA,
            "Mean over the whole bed, invasive and in situ, on a pathologist's scale. The scores "
            "on Analyse are those of one patch, and not on that scale.",
            _forget,
        )
        source = _source(ca)
        if source:
            st.caption(source)
        cis = _number("Of it in situ, %", CIS)
        left, right = st.columns(2)
        with left:
            low = _number(
                "Lowest, %",
                state.RCB_LOW,
                "Lower limit of the cellularity's 95 % interval, if known.",
            )
        with right:
            high = _number(
                "Highest, %",
                state.RCB_HIGH,
                "Upper limit; both are carried through to the class.",
            )
    with nodes:
        st.subheader("Lymph nodes", anchor=False)
        count = st.number_input("Positive nodes", value=None, step=1, key=NODES)
        met = _number("Largest metastasis, mm", MET)
    if d1 is None or d2 is None or ca is None or cis is None or count is None or met is None:
        st.info(
            "Fill in all six values; 0 for what is not there. The index appears here.",
            icon=":material/edit:",
        )
        return
    if (low is None) != (high is None):
        st.warning("Give both limits of the cellularity, or neither.")
        return
    limits = None if low is None or high is None else (low, high)
    result(rcb(Burden(d1, d2, ca, cis, count, met), limits, is_estimated=bool(source)))


def _number(
    label: str,
    key: str,
    tip: str | None = None,
    on_change: Callable[[], None] | None = None,
) -> float | None:
    """A box without limits, which `Burden` has: else what stood there before would count on."""
    return st.number_input(
        label,
        value=None,
        step=1.0,
        format="%g",
        key=key,
        help=tip,
        on_change=on_change,
    )


def _forget() -> None:
    """Forget what was said of another cellularity: its limits and where it comes from."""
    st.session_state[state.RCB_LOW] = st.session_state[state.RCB_HIGH] = None
    st.session_state.pop(state.RCB_FROM, None)


def _source(ca: float | None) -> str:
    """Where the cellularity comes from, where that is slides; forgotten once the box is empty."""
    value, told = st.session_state.get(state.RCB_FROM, (ca, ""))
    if value == ca:
        return str(told)
    del st.session_state[state.RCB_FROM]
    return ""


show(page)
