"""Switches and sliders of the viewer; all of them work in the browser."""

from collections.abc import Sequence
from typing import Any, Final

from bokeh.layouts import column, row
from bokeh.models import (
    Button,
    CheckboxButtonGroup,
    CustomJS,
    Div,
    InlineStyleSheet,
    LayoutDOM,
    RadioButtonGroup,
    Slider,
    Toggle,
)
from bokeh.palettes import Viridis256
from bokeh.plotting import figure

from cellularity_core.conventions import CLASSES, MALIGNANT
from cellularity_core.export import COLOURS
from cellularity_core.results import Nuclei
from pages.parts.words import METHOD_CODES

RAMP: Final = Viridis256
"""Colours of the heat map, activation 0 to 1."""

THRESHOLD: Final = 0.5
BLOB_THRESHOLD: Final = 0.16
OPACITY: Final = 45
"""Where the sliders stand at first."""

_PLAIN: Final = """
:host, * { font-family: var(--st-font); }
:host { font-size: 0.95rem; color: var(--st-text-color); }
label, .bk-slider-title, .bk-btn { font-size: 0.95rem; }
.bk-btn { min-height: 2.2rem; }
.bk-btn, .bk-btn:hover {
  background: var(--st-background-color); color: var(--st-text-color);
}
.bk-btn-group > .bk-btn.bk-active, .bk-btn.bk-active {
  background: var(--st-primary-color); border-color: var(--st-primary-color); color: #fff;
}
.bk-btn:focus-visible, .noUi-handle:focus-visible { outline: 2px solid var(--st-primary-color); }
.noUi-handle { min-width: 16px; min-height: 22px; }
"""

_CHIP: Final = """
:host .bk-btn, :host .bk-btn.bk-active {
  background: transparent; color: var(--st-text-color); border: 1px dashed COLOUR;
  border-left: 4px solid COLOUR; box-shadow: none; opacity: 0.6;
}
:host .bk-btn.bk-active { border: 2px solid COLOUR; border-left-width: 14px; opacity: 1; }
"""


def sheet() -> InlineStyleSheet:
    """The look of the page's own controls, light or dark."""
    return InlineStyleSheet(css=_PLAIN)


def controls(methods: Sequence[str], nuclei: Nuclei) -> dict[str, Any]:
    """Every switch and slider, by the name `repaint.js` knows it by.

    Parameters
    ----------
    methods : sequence of str
        Methods with a map of their own; a choice among several is offered.
    nuclei : Nuclei
        Counted on the switches of the classes.
    """
    counts = nuclei.counts()
    made: dict[str, Any] = {
        "shown": CheckboxButtonGroup(
            labels=["Areas", "Heat map", "Blobs", "Nuclei"],
            active=[0],
            css_classes=["viewer-shown"],
            stylesheets=[sheet()],
        )
    }
    for k, name in reversed(list(enumerate(CLASSES))):
        made[f"classes{k}"] = Toggle(
            label=f"{name.capitalize()} ({counts[name]})",
            active=True,
            css_classes=[f"viewer-class-{name}"],
            stylesheets=[sheet(), InlineStyleSheet(css=_CHIP.replace("COLOUR", COLOURS[name]))],
        )
    made["cut"] = _slider("cut", "Areas: activation above", (0.02, 0.98, 0.01), THRESHOLD)
    made["opacity"] = _slider("opacity", "Opacity (%)", (5, 100, 5), OPACITY)
    made["blob_cut"] = _slider(
        "blob-cut", "Blobs: contrast above", (0.02, 0.5, 0.01), BLOB_THRESHOLD
    )
    made["heat_of"] = RadioButtonGroup(
        labels=[name.capitalize() for name in CLASSES],
        active=MALIGNANT,
        css_classes=["viewer-heat-of"],
        stylesheets=[sheet()],
    )
    if len(methods) > 1:
        made["map_of"] = RadioButtonGroup(
            labels=[f"Map for {METHOD_CODES[name]}" for name in methods],
            active=0,
            css_classes=["viewer-map-of"],
            stylesheets=[sheet()],
        )
    return made


def _slider(name: str, title: str, steps: tuple[float, float, float], at: float) -> Slider:
    start, end, step = steps
    return Slider(
        title=title,
        start=start,
        end=end,
        step=step,
        value=at,
        width=210,
        css_classes=[f"viewer-{name}"],
        stylesheets=[sheet()],
    )


def heat_box(heat_of: RadioButtonGroup) -> LayoutDOM:
    """Choice of the class whose activation is shown, and what its colours mean."""
    stops = ", ".join(RAMP[::51])
    legend = Div(
        text="<span>Heat map of &nbsp; 0 <span style='display:inline-block; width:7rem; "
        f"height:.7rem; background:linear-gradient(to right, {stops})'></span> 1</span>",
        stylesheets=[sheet()],
    )
    return column(legend, heat_of, spacing=2)


def button(label: str, name: str, script: CustomJS, width: int = 48) -> Button:
    """A button that runs a script in the browser."""
    made = Button(label=label, width=width, css_classes=[f"viewer-{name}"], stylesheets=[sheet()])
    made.js_on_event("button_click", script)
    return made


def zoom_buttons(pane: figure, size: tuple[int, int]) -> LayoutDOM:
    """Closer, further and whole patch, for fingers and for those who do not scroll."""
    width, height = size
    code = """
    for (const [range, whole] of [[x_range, x_whole], [y_range, y_whole]]) {
      const middle = (range.start + range.end) / 2, half = (range.end - range.start) / 2 * factor;
      range.setv(factor === 0 ? { start: whole[0], end: whole[1] }
                              : { start: middle - half, end: middle + half });
    }
    """
    whole = {"x_whole": [-0.5, width - 0.5], "y_whole": [height - 0.5, -0.5]}
    ranges = {"x_range": pane.x_range, "y_range": pane.y_range}
    return row(
        *(
            button(label, name, CustomJS(args={**ranges, **whole, "factor": factor}, code=code))
            for label, name, factor in (
                ("+", "closer", 0.7),
                ("−", "further", 1 / 0.7),
                ("Fit", "fit", 0),
            )
        ),
        spacing=4,
    )


def strip(*parts: LayoutDOM) -> LayoutDOM:
    """Controls side by side, on further lines where the window is narrow."""
    return row(
        *parts,
        sizing_mode="stretch_width",
        styles={"flex-wrap": "wrap", "gap": "6px 18px", "align-items": "center"},
    )
