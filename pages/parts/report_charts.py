"""The charts of a PDF report, as vectors.

By `reportlab.graphics`, which comes with the library that writes the PDF: the
statistics are a handful of points, lines and numbers, and a second plotting
library only for them would be one more to keep.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from reportlab.graphics.shapes import Circle, Drawing, Line, Polygon, Rect, String
from reportlab.lib.colors import Color, HexColor, white

from cellularity_core.agreement import (
    BlandAltman,
    Statistic,
    TrendPoint,
    bland_altman_points,
)
from cellularity_core.pdf_text import BOLD, FONT, fitted
from pages.parts.agreement_figures import (
    MODELS,
    PALETTE,
    READERS,
    ForestRow,
    confusion_counts,
    readers_range,
    scale_start,
)
from pages.parts.agreement_words import BINS, number, points, short
from pages.parts.figures import TOTAL

Floats = npt.NDArray[np.float64]

INK: Final = HexColor("#222222")
FAINT: Final = HexColor("#BBBBBB")
SMALL: Final = 6.5
LINE: Final = 12.0
"""Points between lines of the forest plot."""


def _text(
    drawing: Drawing,
    x: float,
    y: float,
    text: str,
    size: float = SMALL,
    anchor: str = "start",
    bold: bool = False,
    colour: Color = INK,
) -> None:
    shown, font = fitted(text, BOLD if bold else FONT)
    drawing.add(
        String(x, y, shown, fontName=font, fontSize=size, textAnchor=anchor, fillColor=colour)
    )


def _marker(drawing: Drawing, kind: str, x: float, y: float, size: float, colour: Color) -> None:
    half = size / 2
    if kind == "model":
        corners = [x - half, y, x, y + half, x + half, y, x, y - half]
        drawing.add(Polygon(corners, fillColor=colour, strokeColor=None))
    elif kind == "mean":
        drawing.add(Rect(x - half, y - half, size, size, fillColor=colour, strokeColor=None))
    else:
        drawing.add(Circle(x, y, half, fillColor=colour, strokeColor=None))


def forest_drawing(rows: Sequence[ForestRow], width: float) -> Drawing:
    """The forest plot of the page: two panels, readers, their mean, models; with numbers."""
    label, numbers, gap = 0.27 * width, 0.155 * width, 0.02 * width
    panel = (width - label - 2 * (numbers + gap)) / 2
    height = LINE * len(rows) + 32
    drawing = Drawing(width, height)
    start = scale_start(rows)
    bottom, top = 16.0, 16.0 + LINE * len(rows)
    for which, title in enumerate(("ICC(A,1)", "Quadratic kappa, 4 bins")):
        left = label + which * (panel + numbers + 2 * gap)

        def at(value: float, left: float = left) -> float:
            # an ICC has no lower end; its number stands beside the panel
            return left + panel * (max(value, start) - start) / (1 - start)

        _text(drawing, left, top + 6, title, 7.5, bold=True)
        band = readers_range(rows, which)
        if band is not None:
            tint = HexColor(READERS)
            tint.alpha = 0.15
            drawing.add(
                Rect(
                    at(band[0]),
                    bottom,
                    max(at(band[1]) - at(band[0]), 0.5),
                    top - bottom,
                    fillColor=tint,
                    strokeColor=None,
                )
            )
        for tick in np.arange(start, 1.001, 0.25):
            drawing.add(Line(at(tick), bottom, at(tick), top, strokeColor=FAINT, strokeWidth=0.3))
            _text(drawing, at(tick), 7, f"{tick:g}", 6, "middle")
        mean = next((row.statistics[which].value for row in rows if row.kind == "mean"), None)
        if mean is not None:
            drawing.add(
                Line(
                    at(mean),
                    bottom,
                    at(mean),
                    top,
                    strokeColor=HexColor(TOTAL),
                    strokeDashArray=[1, 2],
                )
            )
        for place, row in enumerate(rows):
            y = top - LINE * (place + 0.5)
            colour = HexColor({"mean": TOTAL, "model": MODELS}.get(row.kind, READERS))
            if which == 0:
                _text(drawing, 0, y - 2, row.label, bold=row.kind in ("mean", "model"))
            for value in row.dots[which]:
                _marker(drawing, "pair", at(value), y, 3, colour)
            found = row.statistics[which]
            if found.value is None:
                continue
            if found.low is not None and found.high is not None:
                ends = at(found.low), y, at(found.high), y
                drawing.add(Line(*ends, strokeColor=colour, strokeWidth=1))
            _marker(drawing, row.kind, at(found.value), y, 5, colour)
            told = number(found.value)
            if found.low is not None and found.high is not None:
                told += f" ({number(found.low)}, {number(found.high)})"
            _text(drawing, left + panel + gap / 2, y - 2, told, 6)
    return drawing


def pair_drawing(
    width: float, a: Floats, b: Floats, names: tuple[str, str], found: BlandAltman
) -> Drawing:
    """Three small charts of two raters: scatter, Bland-Altman, cases by bin."""
    side = 100.0
    gap = (width - 3 * side - 50) / 2
    drawing = Drawing(width, side + 26)
    base = 22.0
    _scatter(drawing, 22, base, side, a, b, names)
    _bland_altman(drawing, 22 + side + gap, base, side, a, b, found)
    _confusion(drawing, 28 + 2 * (side + gap), base, side - 4, a, b)
    return drawing


def _frame(drawing: Drawing, x: float, y: float, side: float) -> None:
    drawing.add(Rect(x, y, side, side, fillColor=None, strokeColor=FAINT, strokeWidth=0.5))


def _scatter(
    drawing: Drawing, x: float, y: float, side: float, a: Floats, b: Floats, names: tuple[str, str]
) -> None:
    _frame(drawing, x, y, side)
    drawing.add(Line(x, y, x + side, y + side, strokeColor=HexColor(TOTAL), strokeDashArray=[3, 2]))
    for one, other in zip(a, b, strict=True):
        _dot(drawing, x + side * other, y + side * one)
    for tick in (0.0, 0.5, 1.0):
        _text(drawing, x + side * tick, y - 7, f"{100 * tick:.0f}", 5.5, "middle")
        _text(drawing, x - 2, y + side * tick - 2, f"{100 * tick:.0f}", 5.5, "end")
    _text(
        drawing,
        x + side / 2,
        y - 16,
        f"up: {short(names[0])}, across: {short(names[1])} (%)",
        6,
        "middle",
    )


def _bland_altman(
    drawing: Drawing, x: float, y: float, side: float, a: Floats, b: Floats, found: BlandAltman
) -> None:
    _frame(drawing, x, y, side)
    means, gaps = bland_altman_points(a, b)
    drawn = [
        value
        for s in (found.bias, found.loa_low, found.loa_high)
        for value in (s.low, s.value, s.high)
        if value is not None
    ]
    reach = max(0.1, float(np.abs(gaps).max(initial=0)), *(abs(value) for value in drawn))

    def at(gap: float) -> float:
        return y + side * (gap + reach) / (2 * reach)

    drawing.add(Line(x, at(0), x + side, at(0), strokeColor=FAINT, strokeWidth=0.4))
    for statistic, colour, dash in (
        (found.bias, HexColor(MODELS), None),
        (found.loa_low, HexColor(TOTAL), [3, 2]),
        (found.loa_high, HexColor(TOTAL), [3, 2]),
    ):
        if statistic.value is None:
            continue
        if statistic.low is not None and statistic.high is not None:
            tint = Color(colour.red, colour.green, colour.blue, alpha=0.18)
            drawing.add(
                Rect(
                    x,
                    at(statistic.low),
                    side,
                    at(statistic.high) - at(statistic.low),
                    fillColor=tint,
                    strokeColor=None,
                )
            )
        level = at(statistic.value)
        drawing.add(Line(x, level, x + side, level, strokeColor=colour, strokeDashArray=dash))
        _text(drawing, x + side + 2, level - 2, points(statistic.value), 5.5)
    for mean, gap in zip(means, gaps, strict=True):
        _dot(drawing, x + side * mean, at(gap))
    for tick in (0.0, 0.5, 1.0):
        _text(drawing, x + side * tick, y - 7, f"{100 * tick:.0f}", 5.5, "middle")
    _text(drawing, x + side / 2, y - 16, "difference (points) over mean (%)", 6, "middle")


def _confusion(drawing: Drawing, x: float, y: float, side: float, a: Floats, b: Floats) -> None:
    counts = confusion_counts(a, b)
    cell = side / len(BINS)
    most = max(int(counts.max()), 1)
    deep = HexColor("#5B3E8F")
    for row in range(len(BINS)):
        for column in range(len(BINS)):
            count = int(counts[row, column])
            share = count / most
            shade = Color(*(1 - share * (1 - part) for part in (deep.red, deep.green, deep.blue)))
            left, base = x + cell * column, y + cell * row
            drawing.add(Rect(left, base, cell, cell, fillColor=shade, strokeColor=FAINT))
            _text(
                drawing,
                left + cell / 2,
                base + cell / 2 - 3,
                str(count),
                7,
                "middle",
                colour=white if share > 0.5 else INK,
            )
    for place, name in enumerate(BINS):
        short = name.removesuffix(" %")
        _text(drawing, x + cell * (place + 0.5), y - 7, short, 5.5, "middle")
        _text(drawing, x - 2, y + cell * (place + 0.5) - 2, short, 5.5, "end")
    _text(drawing, x + side / 2, y - 16, "cases by bin (%), axes as left", 6, "middle")


def _dot(drawing: Drawing, x: float, y: float) -> None:
    colour = HexColor(READERS)
    colour.alpha = 0.55
    drawing.add(Circle(x, y, 1.6, fillColor=colour, strokeColor=None))


def trend_drawing(
    found: Sequence[TrendPoint], pick: Callable[[TrendPoint], Statistic], width: float
) -> Drawing:
    """Small charts, a rater each: agreement with the readers by period, with intervals."""
    raters = list(dict.fromkeys(point.rater for point in found))
    periods = list(dict.fromkeys(point.period for point in found))
    across = 4
    wide, high = width / across, 84.0
    lines = -(-len(raters) // across)
    drawing = Drawing(width, high * lines)
    lowest = min((s.low for p in found if (s := pick(p)).low is not None), default=0.0)
    start = min(0.0, max(lowest, -1.0))
    for place, rater in enumerate(raters):
        left = wide * (place % across) + 16
        base = high * (lines - 1 - place // across) + 14
        side, tall = wide - 24, high - 32

        def at(value: float, base: float = base, tall: float = tall) -> float:
            return base + tall * (max(value, start) - start) / (1 - start)

        colour = HexColor(PALETTE[place % len(PALETTE)])
        drawing.add(Rect(left, base, side, tall, fillColor=None, strokeColor=FAINT))
        _text(drawing, left, base + tall + 4, short(rater, 24), 6.5, bold=True)
        for tick in (start, 0.5, 1.0):
            _text(drawing, left - 2, at(tick) - 2, f"{tick:.2g}", 5, "end")
        before: tuple[float, float] | None = None
        for point in (p for p in found if p.rater == rater):
            x = left + side * (periods.index(point.period) + 0.5) / len(periods)
            _text(drawing, x, base - 7, point.period, 5, "middle")
            statistic = pick(point)
            if statistic.value is None:
                before = None
                continue
            y = at(statistic.value)
            if statistic.low is not None and statistic.high is not None:
                ends = x, at(statistic.low), x, at(statistic.high)
                drawing.add(Line(*ends, strokeColor=colour))
            if before is not None:
                drawing.add(Line(*before, x, y, strokeColor=colour, strokeWidth=0.6))
            _marker(drawing, "model" if point.kind == "model" else "pair", x, y, 4.5, colour)
            before = (x, y)
    return drawing
