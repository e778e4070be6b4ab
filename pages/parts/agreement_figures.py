"""Agreement as Plotly figures: colours that the colour-blind tell apart, forms beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from cellularity_core.agreement import (
    AgreementReport,
    BlandAltman,
    Statistic,
    TrendPoint,
    bland_altman_points,
    to_bins,
)
from pages.parts.agreement_words import BINS, number, short
from pages.parts.figures import FONT_SIZE, TOTAL
from pages.parts.markdown import chart_text

Floats = npt.NDArray[np.float64]
Kind = Literal["pair", "pairs", "mean", "model"]

READERS: Final = "#0072B2"
MODELS: Final = "#D55E00"
_DOTS: Final = {"color": READERS, "size": 9, "line": {"color": "#FFFFFF", "width": 1}}
"""Rimmed, so that those that overlap can be told apart; see-through they are too faint on dark."""
PALETTE: Final = (
    "#0072B2",
    "#C07F00",
    "#009E73",
    "#CC79A7",
    "#3A96CC",
    "#D55E00",
    "#8C6D1F",
    "#7A6A9C",
)
"""Okabe & Ito's, two of them darker and others in place of yellow and black, so that each is
3 : 1 or more from a white and from a dark page."""

SYMBOLS: Final = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "pentagon")
MOST_PAIRS: Final = 15
"""Of readers with a line each in the forest plot; more stand in one line as dots."""


@dataclass(frozen=True, slots=True)
class ForestRow:
    """A line of the forest plot.

    Attributes
    ----------
    label : str
    kind : {"pair", "pairs", "mean", "model"}
    statistics : tuple of Statistic
        By ICC(A,1) and by quadratic kappa.
    dots : tuple of tuple of float
        Values of the pairs where a line stands for many; two lists as above.
    """

    label: str
    kind: Kind
    statistics: tuple[Statistic, Statistic]
    dots: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())


def forest_rows(report: AgreementReport, mean: tuple[Statistic, Statistic]) -> list[ForestRow]:
    """Pairs of readers, their mean, and each model with the readers, from the top down."""
    pairs = [pair for pair in report.pairs if pair.kinds == ("reader", "reader")]
    rows = [
        ForestRow(
            f"{short(pair.a)} – {short(pair.b)}", "pair", (pair.icc_a1, pair.kappa4_quadratic)
        )
        for pair in pairs
    ]
    if len(rows) > MOST_PAIRS:
        dots = tuple(
            tuple(s.value for row in rows if (s := row.statistics[k]).value is not None)
            for k in (0, 1)
        )
        nothing = Statistic(None)
        rows = [
            ForestRow(f"{len(pairs)} pairs of readers", "pairs", (nothing, nothing), dots)  # type: ignore[arg-type]
        ]
    if pairs:
        rows.append(ForestRow("Readers, mean of pairs", "mean", mean))
    rows += [
        ForestRow(
            f"{short(entry.model, 24)} ({entry.icc_a1.verdict})",
            "model",
            (entry.icc_a1.model, entry.kappa4_quadratic.model),
        )
        for entry in report.model_vs_readers
    ]
    return rows


def has_values(rows: Sequence[ForestRow]) -> bool:
    """Whether there is anything to draw."""
    return any(any(row.dots) or any(s.value is not None for s in row.statistics) for row in rows)


def readers_range(rows: Sequence[ForestRow], which: int) -> tuple[float, float] | None:
    """Smallest and largest agreement of two readers; None without any."""
    values = [
        *(row.statistics[which].value for row in rows if row.kind == "pair"),
        *(value for row in rows for value in row.dots[which]),
    ]
    defined = [value for value in values if value is not None]
    return (min(defined), max(defined)) if defined else None


def scale_start(rows: Sequence[ForestRow]) -> float:
    """Where the scale begins: a quarter below all limits, at 0.5 at most."""
    ends = [
        end for row in rows for s in row.statistics for end in (s.low, s.value) if end is not None
    ]
    ends += [value for row in rows for dots in row.dots for value in dots]
    return max(-1.0, min(0.5, np.floor(4 * min(ends, default=0.0)) / 4))


def forest(rows: Sequence[ForestRow]) -> go.Figure:
    """Agreement with intervals: readers with each other and models with readers, one scale.

    The band is where the pairs of readers lie, the dotted line their mean.
    """
    chart = make_subplots(
        cols=2,
        shared_yaxes=True,
        horizontal_spacing=0.04,
        subplot_titles=("ICC(A,1)", "Quadratic kappa, 4 bins"),
    )
    looks = {
        "pair": (READERS, "circle", 9),
        "pairs": (READERS, "circle", 9),
        "mean": (TOTAL, "square", 12),
        "model": (MODELS, "diamond", 13),
    }
    for which in (0, 1):
        band = readers_range(rows, which)
        if band is not None:
            look = {"fillcolor": READERS, "opacity": 0.12, "line_width": 0, "layer": "below"}
            look["exclude_empty_subplots"] = False
            chart.add_vrect(*band, row=1, col=which + 1, **look)
        mean = next((row.statistics[which].value for row in rows if row.kind == "mean"), None)
        if mean is not None:
            chart.add_vline(
                mean,
                line={"color": TOTAL, "dash": "dot"},
                row=1,
                col=which + 1,
                exclude_empty_subplots=False,
            )
        for place, row in enumerate(rows):
            colour, symbol, size = looks[row.kind]
            found = row.statistics[which]
            xs = list(row.dots[which]) or ([] if found.value is None else [found.value])
            error = None
            if found.value is not None and found.low is not None and found.high is not None:
                error = {
                    "array": [found.high - found.value],
                    "arrayminus": [found.value - found.low],
                    "thickness": 2,
                    "width": 4,
                }
            chart.add_scatter(
                x=xs,
                y=[place] * len(xs),
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": size},
                error_x=error,
                hovertemplate=f"{chart_text(row.label)}: {_told(found)}<extra></extra>"
                if not row.dots[which]
                else "%{x:.2f}<extra></extra>",
                row=1,
                col=which + 1,
            )
    chart.update_xaxes(range=[scale_start(rows) - 0.015, 1.02], dtick=0.25)
    chart.update_xaxes(showgrid=True, zeroline=False, tickfont={"size": FONT_SIZE})
    chart.update_yaxes(
        tickmode="array",
        tickvals=list(range(len(rows))),
        ticktext=[_bold(row) for row in rows],
        range=[len(rows) - 0.4, -0.6],
        automargin=True,
        showgrid=False,
        zeroline=False,
        tickfont={"size": FONT_SIZE},
    )
    chart.update_layout(
        height=90 + 30 * len(rows), margin={"l": 8, "r": 8, "t": 36, "b": 8}, showlegend=False
    )
    return chart


def _bold(row: ForestRow) -> str:
    label = chart_text(row.label)
    return label if row.kind in ("pair", "pairs") else f"<b>{label}</b>"


def _told(found: Statistic) -> str:
    if found.value is None:
        return found.reason or "undefined"
    if found.low is None:
        return f"{number(found.value)}, no interval: {found.reason}"
    return f"{number(found.value)} ({number(found.low)} to {number(found.high)}), n = {found.n}"


def scatter(cases: Sequence[str], a: Floats, b: Floats, names: tuple[str, str]) -> go.Figure:
    """Scores of two raters, the second across, with the line where they are the same."""
    chart = go.Figure()
    chart.add_scatter(
        x=[0, 100],
        y=[0, 100],
        mode="lines",
        line={"color": TOTAL, "dash": "dash"},
        hoverinfo="skip",
    )
    chart.add_scatter(
        x=100 * b,
        y=100 * a,
        mode="markers",
        marker=_DOTS,
        customdata=[chart_text(case) for case in cases],
        hovertemplate="%{customdata}: %{y:.0f} and %{x:.0f} %<extra></extra>",
    )
    axis = {"range": [-3, 103], "dtick": 25}
    chart.update_xaxes(title=f"{chart_text(short(names[1], 24))} (%)", **axis)
    chart.update_yaxes(title=f"{chart_text(short(names[0], 24))} (%)", **axis)
    return _framed(chart, 400)


def bland_altman_figure(
    cases: Sequence[str], a: Floats, b: Floats, found: BlandAltman, names: tuple[str, str]
) -> go.Figure:
    """Differences over means, with bias, limits of agreement and their intervals."""
    means, gaps = bland_altman_points(a, b)
    chart = go.Figure()
    for statistic, dash, label in (
        (found.bias, "solid", "bias"),
        (found.loa_low, "dash", "lower limit"),
        (found.loa_high, "dash", "upper limit"),
    ):
        if statistic.value is None:
            continue
        if statistic.low is not None and statistic.high is not None:
            chart.add_hrect(
                100 * statistic.low,
                100 * statistic.high,
                fillcolor=MODELS if label == "bias" else TOTAL,
                opacity=0.15,
                line_width=0,
            )
        chart.add_hline(
            100 * statistic.value,
            line={"color": MODELS if label == "bias" else TOTAL, "dash": dash},
            annotation_text=f"{label} {100 * statistic.value:.1f}",
            annotation_position="top right",
        )
    chart.add_scatter(
        x=100 * means,
        y=100 * gaps,
        mode="markers",
        marker=_DOTS,
        customdata=[chart_text(case) for case in cases],
        hovertemplate="%{customdata}: %{y:.1f} points at %{x:.0f} %<extra></extra>",
    )
    chart.update_xaxes(title="mean of the two (%)", range=[-3, 103], dtick=25)
    chart.update_yaxes(
        title=chart_text(f"{short(names[0])} less {short(names[1])} (points)"), zeroline=True
    )
    return _framed(chart, 400)


def confusion_counts(a: Floats, b: Floats) -> npt.NDArray[np.int64]:
    """Cases by bin of `a` (rows) and of `b` (columns), shape (4, 4)."""
    counts = np.zeros((len(BINS), len(BINS)), np.int64)
    np.add.at(counts, (to_bins(a), to_bins(b)), 1)
    return counts


def confusion(a: Floats, b: Floats, names: tuple[str, str]) -> go.Figure:
    """Cases by the bins of two raters, the second across, as a heat map with numbers."""
    counts = confusion_counts(a, b)
    chart = go.Figure(
        go.Heatmap(
            z=counts,
            x=BINS,
            y=BINS,
            text=counts,
            texttemplate="%{text}",
            textfont={"size": 16},
            colorscale=[[0, "#F3F1F7"], [1, "#5B3E8F"]],
            showscale=False,
            xgap=2,
            ygap=2,
            hovertemplate="%{text} cases<extra></extra>",
        )
    )
    chart.update_xaxes(title=chart_text(short(names[1], 24)), showgrid=False)
    chart.update_yaxes(title=chart_text(short(names[0], 24)), showgrid=False)
    return _framed(chart, 400)


def trend_figure(points: Sequence[TrendPoint], measure: str, title: str) -> go.Figure:
    """Agreement of each rater with the readers over time; readers filled, models open."""
    periods = list(dict.fromkeys(point.period for point in points))
    periods.sort(key=lambda name: (len(name), name))
    raters = list(dict.fromkeys(point.rater for point in points))
    chart = go.Figure()
    for place, rater in enumerate(raters):
        own = [point for point in points if point.rater == rater]
        found = [getattr(point, measure) for point in own]
        colour = PALETTE[place % len(PALETTE)]
        symbol = SYMBOLS[place % len(SYMBOLS)]
        is_model = own[0].kind == "model"
        # beside each other within a period, so that intervals do not hide each other
        shift = (place - (len(raters) - 1) / 2) * min(0.09, 0.7 / max(len(raters), 1))
        chart.add_scatter(
            x=[periods.index(point.period) + shift for point in own],
            y=[s.value for s in found],
            name=chart_text(short(rater, 24)),
            mode="lines+markers",
            line={"color": colour, "dash": "dot" if is_model else "solid", "width": 1.5},
            marker={"symbol": f"{symbol}-open" if is_model else symbol, "size": 10},
            error_y={
                "array": [_reach(s.high, s.value) for s in found],
                "arrayminus": [_reach(s.value, s.low) for s in found],
                "thickness": 1.2,
                "width": 3,
            },
            hovertext=[
                chart_text(f"{rater}, {point.period}: {_told(s)}")
                for point, s in zip(own, found, strict=True)
            ],
            hoverinfo="text",
        )
    chart.update_xaxes(
        tickmode="array",
        tickvals=list(range(len(periods))),
        ticktext=periods,
        range=[-0.6, len(periods) - 0.4],
        title=title,
    )
    values = [s for point in points if (s := getattr(point, measure)).value is not None]
    low = min((s.low if s.low is not None else s.value for s in values), default=0.0)
    chart.update_yaxes(range=[max(-1.0, min(0.0, low)) - 0.03, 1.03], zeroline=True)
    chart.update_layout(legend={"orientation": "h", "y": -0.2, "font": {"size": FONT_SIZE}})
    return _framed(chart, 460, legend=True)


def _reach(high: float | None, low: float | None) -> float | None:
    return None if high is None or low is None else high - low


def _framed(chart: go.Figure, height: int, *, legend: bool = False) -> go.Figure:
    return chart.update_layout(
        height=height, margin={"l": 8, "r": 8, "t": 24, "b": 8}, showlegend=legend
    )
