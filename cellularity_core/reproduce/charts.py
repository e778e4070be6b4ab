"""Figures 6, 8, 9 and 10: histograms, curves and importances, as PNG."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure

from cellularity_core.reproduce.document import Picture

DPI: Final = 130
MOST: Final = 20
"""Features drawn in the figure of importances."""

TINTS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
"""Okabe & Ito, "Color Universal Design", 2008."""

Curve = Sequence[tuple[float, float]]
"""Epoch and value."""


def picture(title: str, figure: Figure, caption: str) -> Picture:
    """A drawn figure as PNG, the same bytes for the same drawing."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    width, height = (round(side * DPI) for side in figure.get_size_inches())
    return Picture(title, buffer.getvalue(), caption, (width, height))


def figure_number(made: Picture) -> int:
    """7 of "Figure 7. Patch, truth ...": the order in a report."""
    return int(made.title.removeprefix("Figure ").partition(".")[0])


def histogram(truths: Sequence[float], word: str, whose: str) -> Picture:
    """Figure 6: how cellularity is distributed.

    Parameters
    ----------
    truths : sequence of float
        In [0, 1].
    word : str
        What the values are, e.g. "weak TC".
    whose : str
        What was counted, for the caption.
    """
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.hist(truths, bins=np.linspace(0, 1, 21).tolist(), color=TINTS[0], edgecolor="white")
    axes.set(xlabel=word, ylabel="patches", xlim=(0, 1))
    return picture(
        f"Figure 6. Histogram of {word}",
        figure,
        f"{word} of {len(truths)} patches: {whose}.",
    )


def curves(
    title: str, found: Mapping[str, Mapping[str, Curve]], label: str, caption: str, *, log: bool
) -> Picture:
    """Figures 8 and 9: a metric by epoch.

    Parameters
    ----------
    title : str
    found : mapping
        Model to start (random, imagenet) to curve.
    label : str
        Of the axis.
    caption : str
    log : bool
        Draw the metric on a logarithmic axis.
    """
    figure = Figure(figsize=(6.6, 3.6), layout="constrained")
    axes = figure.subplots()
    for tint, (model, starts) in zip(_endless(), found.items(), strict=False):
        for start, points in starts.items():
            if points:
                epochs, values = zip(*points, strict=True)
                axes.plot(
                    epochs,
                    values,
                    "--" if start == "random" else "-",
                    color=tint,
                    marker=".",
                    label=f"{model}, {start}" if start else model,
                )
    axes.set(xlabel="epoch", ylabel=label)
    if log:
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
    if any(points for starts in found.values() for points in starts.values()):
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return picture(title, figure, caption)


def importance(gains: Mapping[str, Mapping[str, float]], word: str) -> Picture:
    """Figure 10: features by total gain, on a logarithmic axis.

    Parameters
    ----------
    gains : mapping
        Model to feature to gain.
    word : str
        What the trees predict, e.g. "weak TC".
    """
    figure = Figure(figsize=(6.6 * max(1, len(gains)), 4.4), layout="constrained")
    panels: Any = figure.subplots(1, max(1, len(gains)), squeeze=False)
    for axes, (model, gain) in zip(panels[0], gains.items(), strict=False):
        used = sorted(((v, k) for k, v in gain.items() if v > 0), reverse=True)[:MOST]
        names, values = [k for _, k in used][::-1], [v for v, _ in used][::-1]
        axes.barh(names, values, color=TINTS[0])
        if values:
            axes.set_xscale("log")
        axes.set(xlabel="total gain (log scale)", title=model)
        axes.tick_params(axis="y", labelsize=7)
    return picture(
        "Figure 10. Importance of the features of the boosted trees",
        figure,
        f"Total gain of the splits on each feature of the trees that predict {word}; the "
        f"{MOST} highest of 81.",
    )


def _endless() -> Any:
    while True:
        yield from TINTS
