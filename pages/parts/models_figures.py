"""Training curves of a model set as Plotly figures (the paper's Figs. 8 and 9)."""

from collections import Counter
from collections.abc import Sequence

import plotly.graph_objects as go

from pages.parts.agreement_figures import PALETTE, SYMBOLS
from pages.parts.figures import FONT_SIZE
from pages.parts.markdown import chart_text
from pages.parts.models_data import Curve, run_label


def curve_figure(curves: Sequence[Curve], title: str, digits: int) -> go.Figure:
    """A figure by epoch, a line each training; groups of patients share a colour.

    Parameters
    ----------
    curves : sequence of Curve
    title : str
        Of the vertical axis.
    digits : int
        Of the values on hover.
    """
    chart = go.Figure()
    drawn: Counter[str] = Counter()
    for curve in curves:
        name = run_label(curve.run, with_group=False)
        again = drawn[name]
        drawn[name] += 1
        k = list(drawn).index(name)
        chart.add_scatter(
            x=curve.epochs,
            y=curve.values,
            name=chart_text(name),
            legendgroup=name,
            showlegend=again == 0,
            mode="lines+markers",
            line={"color": PALETTE[k % len(PALETTE)]},
            marker={"symbol": SYMBOLS[(k + again) % len(SYMBOLS)], "size": 8},
            hovertemplate=f"{chart_text(run_label(curve.run))}<br>"
            f"epoch %{{x:.0f}}: %{{y:.{digits}f}}<extra></extra>",
        )
    chart.update_xaxes(title="epoch", tickfont={"size": FONT_SIZE}, rangemode="tozero")
    chart.update_yaxes(title=title, tickfont={"size": FONT_SIZE}, automargin=True)
    chart.update_layout(
        height=300 + 24 * len(drawn),
        margin={"l": 8, "r": 16, "t": 8, "b": 8},
        showlegend=True,
        legend={
            "orientation": "h",
            "x": 0,
            "xref": "container",
            "y": 0,
            "yref": "container",
            "yanchor": "bottom",
            "font": {"size": FONT_SIZE - 1},
        },
        hoverlabel={"namelength": -1},
    )
    return chart
