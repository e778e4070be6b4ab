"""A Residual Cancer Burden on screen."""

from typing import Final

import plotly.graph_objects as go
import streamlit as st

from cellularity_core.rcb import CLASSES, CUTS, Rcb, written

MEANING: Final = {
    "RCB-0": "no invasive cancer left in breast and nodes",
    "RCB-I": "minimal burden",
    "RCB-II": "moderate burden",
    "RCB-III": "extensive burden",
}

_SHADES: Final = ("#DCD3EC", "#B9A6DA", "#8F76C0")
_END: Final = 5.0
"""Where the drawn axis ends unless the index lies beyond it; most indices are below."""


def result(found: Rcb) -> None:
    """Index, class and what the cellularity's interval makes of them."""
    burden = found.burden
    index, name, share, size = st.columns(4)
    index.metric("RCB index", written(found.index), help=_terms(found))
    name.metric("Class", found.name, help=MEANING[found.name])
    share.metric("Invasive share of the bed", f"{100 * burden.f_inv:.1f} %")
    size.metric("Size of the bed", f"{burden.d_prim_mm:.1f} mm")
    with st.container(key="rcb-scale"):
        st.plotly_chart(scale(found), width="stretch", config={"displayModeBar": False})
    if found.interval is None or found.probabilities is None:
        st.markdown(f"**{found.name}**: {MEANING[found.name]}.")
        return
    low, high = found.interval
    likely = [
        f"**{name}** {_share(p)}" for name, p in found.probabilities.items() if round(100 * p)
    ]
    st.markdown(
        f"95 % interval of the index {low:.2f} to {high:.2f}. Probability of each class: "
        f"{', '.join(likely)}. Both come from the interval of the cellularity alone; bed and "
        "nodes are taken as exact."
    )
    if found.note:
        st.info(found.note, icon=":material/visibility:")
    if max(found.probabilities.values()) < 0.95:
        st.warning(
            "The interval of the cellularity reaches into another class. Settle the cellularity "
            "before the class is used.",
            icon=":material/warning:",
        )


def scale(found: Rcb) -> go.Figure:
    """The index on a line of the three classes above 0, with its interval."""
    end = max(_END, found.index + 0.5)
    edges = (0.0, *CUTS, end)
    chart = go.Figure()
    for k, name in enumerate(CLASSES[1:]):
        chart.add_shape(
            type="rect", x0=edges[k], x1=edges[k + 1], y0=0, y1=1, line_width=0,
            fillcolor=_SHADES[k], layer="below",
        )  # fmt: skip
        chart.add_annotation(
            x=(edges[k] + edges[k + 1]) / 2, y=0.5, text=name, showarrow=False,
            font={"size": 14, "color": "#1F1B24"}, yshift=-24,
        )  # fmt: skip
    if found.interval is not None:
        chart.add_trace(
            go.Scatter(
                x=list(found.interval), y=[0.6, 0.6], mode="lines", hoverinfo="skip",
                line={"color": "#1F1B24", "width": 4},
            )
        )  # fmt: skip
    chart.add_trace(
        go.Scatter(
            x=[found.index], y=[0.6], mode="markers", hovertemplate="RCB %{x:.2f}<extra></extra>",
            marker={"size": 16, "color": "#1F1B24", "line": {"color": "#FFFFFF", "width": 2}},
        )
    )  # fmt: skip
    chart.update_xaxes(range=[0, end], tickvals=[0, *CUTS], showgrid=False, zeroline=False)
    chart.update_yaxes(range=[0, 1], visible=False, fixedrange=True)
    chart.update_layout(height=130, margin={"l": 8, "r": 8, "t": 4, "b": 28}, showlegend=False)
    return chart


def _terms(found: Rcb) -> str:
    return f"Primary {found.burden.primary_term:.2f} + nodes {found.burden.nodal_term:.2f}"


def _share(probability: float) -> str:
    return f"{100 * probability:.0f} %"
