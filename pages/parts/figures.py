"""Statistics as Plotly figures."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Final

import plotly.graph_objects as go

from cellularity_core.boosting import Reason

RAISES: Final = "#B5477A"
LOWERS: Final = "#3F7FA6"
TOTAL: Final = "#7A6A9C"
"""Colours of reasons for and against, and of sums; not those of the classes."""

FONT_SIZE: Final = 14

_BESIDE: Final = 0.16
"""Share of a waterfall's width that is kept free at either end."""


def waterfall(base: float, reasons: Sequence[Reason], score: float) -> go.Figure:
    """From the score of an average patch, reason by reason, to this one's.

    Parameters
    ----------
    base : float
        Score before any feature is known.
    reasons : sequence of Reason
        Contributions sum to the score less the base.
    score : float
        What the trees give, before it is cut to 0 to 1.
    """
    labels = ["an average patch", *(_label(reason) for reason in reasons), "this patch"]
    values = [base, *(reason.contribution for reason in reasons), score]
    kinds = ["absolute", *("relative" for _ in reasons), "total"]
    texts = [f"{base:.2f}", *(f"{reason.contribution:+.2f}" for reason in reasons), f"{score:.2f}"]
    chart = go.Figure(
        go.Waterfall(
            orientation="h",
            y=list(range(len(labels))),
            x=values,
            measure=kinds,
            text=texts,
            textposition="outside",
            textfont={"size": FONT_SIZE},
            cliponaxis=False,
            increasing={"marker": {"color": RAISES}},
            decreasing={"marker": {"color": LOWERS}},
            totals={"marker": {"color": TOTAL}},
            hovertext=[*("" for _ in labels[:1]), *(reason.text for reason in reasons), ""],
            hoverinfo="text",
        )
    )
    chart.update_yaxes(
        tickmode="array",
        tickvals=list(range(len(labels))),
        ticktext=labels,
        autorange="reversed",
        automargin=True,
        showgrid=False,
        tickfont={"size": FONT_SIZE},
    )
    reached = [0.0, *accumulate(values[:-1]), score]
    low, high = min(reached), max(reached)
    room = _BESIDE * (high - low)  # for the number beside a bar
    chart.update_xaxes(title="cellularity, 0 to 1", zeroline=True, range=[low - room, high + room])
    chart.update_layout(
        height=90 + 34 * len(labels), margin={"l": 8, "r": 48, "t": 8, "b": 8}, showlegend=False
    )
    return chart


def _label(reason: Reason) -> str:
    """What moved the score, without its amount, which stands at the bar."""
    return reason.text.rpartition(": ")[0] or reason.text


def gain_bars(gain: Mapping[str, float], top: int = 20) -> go.Figure:
    """Features by total gain, log scale (the paper's Fig. 10), the largest `top` of them."""
    largest = sorted(gain.items(), key=lambda item: -item[1])[:top]
    largest = [(name, value) for name, value in largest if value > 0]
    chart = go.Figure(
        go.Bar(
            orientation="h",
            y=[name for name, _ in largest],
            x=[value for _, value in largest],
            marker={"color": TOTAL},
            hovertemplate="%{y}: %{x:.3g}<extra></extra>",
        )
    )
    chart.update_yaxes(autorange="reversed", automargin=True, tickfont={"size": FONT_SIZE})
    chart.update_xaxes(type="log", title="total gain, log scale")
    chart.update_layout(height=90 + 24 * len(largest), margin={"l": 8, "r": 16, "t": 8, "b": 8})
    return chart
