"""The patch and what was found in it, side by side, zoomed and panned together.

Bokeh draws. Every switch and slider works in the browser (`js/repaint.js`);
nothing waits for the server.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from bokeh.document import Document
from bokeh.events import DocumentReady, MouseLeave, MouseMove
from bokeh.layouts import column, row
from bokeh.models import (
    ColumnDataSource,
    CustomJS,
    CustomJSHover,
    Div,
    HoverTool,
    LayoutDOM,
    PanTool,
    Range1d,
    Slider,
    WheelZoomTool,
)
from bokeh.plotting import figure
from bokeh.transform import linear_cmap

from cellularity_core.conventions import CLASSES
from cellularity_core.export import COLOURS, rgb
from cellularity_core.results import Nuclei
from pages.parts.layers import Layers, picture_url
from pages.parts.viewer_controls import (
    RAMP,
    button,
    controls,
    heat_box,
    sheet,
    strip,
    zoom_buttons,
)

_SCRIPTS: Final = Path(__file__).parent / "js"
REPAINT, SCALE_BAR, HERE, SAVE = (
    (_SCRIPTS / f"{name}.js").read_text(encoding="utf-8")
    for name in ("repaint", "scalebar", "here", "save")
)

_BLOB_COLUMNS: Final = ("x", "y", "radius", "response", "value", "label")


def viewer(
    pixels: npt.NDArray[np.uint8],
    mpp: float,
    layers: Layers | None = None,
    nuclei: Nuclei | None = None,
    file_name: str = "overlay.png",
) -> LayoutDOM:
    """The patch alone, or beside what was found in it.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        The patch as given.
    mpp : float
        um per pixel, for the scale bar.
    layers, nuclei : optional
        Of the patch's result. Without them no output of a model is part of what
        is returned.
    file_name : str
        Of the picture that the button "Save picture" writes.

    Returns
    -------
    LayoutDOM
        To be given to ``streamlit_bokeh``; the only root of its document.
    """
    height, width = pixels.shape[:2]
    picture = ColumnDataSource({"url": [picture_url(pixels)]})
    left = _pane((width, height), picture)
    zoom = zoom_buttons(left, (width, height))
    document = Document()
    if layers is None or nuclei is None or not layers.maps:
        panes = [left]
        root = _root(strip(zoom), row(left, sizing_mode="stretch_width"))
    else:
        right = _pane((width, height), picture, left)
        panes = [left, right]
        shared = _overlays(right, layers, nuclei) | {"patch": [width, height]}
        repaint = CustomJS(args=shared | {"starting": False}, code=REPAINT)
        for control in shared["controls"].values():
            control.js_on_change("value" if isinstance(control, Slider) else "active", repaint)
        document.js_on_event(
            DocumentReady, CustomJS(args=shared | {"starting": True}, code=REPAINT)
        )
        right.js_on_event(MouseMove, CustomJS(args=shared, code=HERE))
        clear = CustomJS(args=shared, code='here.text = ""')
        right.js_on_event(MouseLeave, clear)
        given = shared | {"picture": picture, "file_name": file_name}
        save = button("Save picture", "save", CustomJS(args=given, code=SAVE), width=120)
        parts = [part for name, part in shared["controls"].items() if name != "heat_of"]
        root = _root(
            strip(zoom, *parts, shared["heat_box"], save),
            row(*panes, sizing_mode="stretch_width", spacing=8),
            strip(shared["status"], shared["here"]),
        )
    _scale_bar(panes, mpp, document)
    document.add_root(root)
    return root


def _root(*parts: LayoutDOM) -> LayoutDOM:
    """A column as high as its parts; the Streamlit component would fix its height."""
    return column(*parts, width_policy="max", height_policy="fit", spacing=8)


def _pane(size: tuple[int, int], picture: ColumnDataSource, linked: figure | None = None) -> figure:
    """A picture without axes, (0, 0) at the centre of its first pixel, y down."""
    width, height = size
    if linked is None:
        limits: dict[str, Any] = {
            "x_range": Range1d(-0.5, width - 0.5, min_interval=width / 20, max_interval=3 * width),
            "y_range": Range1d(
                height - 0.5, -0.5, min_interval=height / 20, max_interval=3 * height
            ),
        }
    else:
        limits = {"x_range": linked.x_range, "y_range": linked.y_range}
    wheel = WheelZoomTool(zoom_on_axis=False)
    pane = figure(
        **limits,
        tools=[PanTool(), wheel],
        active_scroll=wheel,
        toolbar_location=None,
        aspect_ratio=width / height,
        sizing_mode="scale_width",
        min_border=0,
        outline_line_color=None,
    )
    pane.axis.visible = False
    pane.grid.visible = False
    pane.image_url(url="url", x=-0.5, y=-0.5, w=width, h=height, anchor="top_left", source=picture)
    return pane


def _scale_bar(panes: list[figure], mpp: float, document: Document) -> None:
    """Draw a bar of a round length in um, measured anew whenever the view changes."""
    bar = ColumnDataSource({"x0": [], "x1": [], "y": [], "middle": [], "text": []})
    ranges = {"x_range": panes[0].x_range, "y_range": panes[0].y_range}
    measure = CustomJS(args={**ranges, "bar": bar, "mpp": mpp}, code=SCALE_BAR)
    document.js_on_event(DocumentReady, measure)
    for name in ("start", "end"):
        panes[0].x_range.js_on_change(name, measure)
    for pane in panes:
        for width, colour in ((9, "#ffffff"), (4, "#111111")):
            pane.segment(
                x0="x0",
                x1="x1",
                y0="y",
                y1="y",
                source=bar,
                line_width=width,
                line_color=colour,
                level="annotation",
            )
        pane.text(
            x="middle",
            y="y",
            text="text",
            source=bar,
            text_align="center",
            text_baseline="bottom",
            y_offset=-7,
            text_font_size="13px",
            text_font_style="bold",
            text_color="#111111",
            background_fill_color="#ffffff",
            background_fill_alpha=0.8,
            padding=2,
            level="annotation",
        )


def _overlays(pane: figure, layers: Layers, nuclei: Nuclei) -> dict[str, Any]:
    """Put what can be drawn on `pane`; everything the scripts work with, by name."""
    methods = list(layers.maps)
    overlay = ColumnDataSource({"image": [np.zeros((1, 1), np.uint32)]})
    spans = {"dw": pane.x_range.end + 0.5, "dh": pane.y_range.start + 0.5}
    pane.image_rgba(image="image", x=-0.5, y=-0.5, **spans, source=overlay)
    all_nuclei = {
        "x": nuclei.xy[:, 0],
        "y": nuclei.xy[:, 1],
        "label": nuclei.label,
        "probability": nuclei.probability,
    }
    all_blobs = {
        f"{method}.{name}": [getattr(blobs, name)]
        for method, blobs in layers.blobs.items()
        for name in _BLOB_COLUMNS
    }
    blobs = ColumnDataSource({name: [] for name in _BLOB_COLUMNS})
    dots = ColumnDataSource({name: [] for name in all_nuclei})
    _draw_points(pane, blobs, dots)
    made = controls(methods, nuclei)
    return {
        "controls": made,
        "heat_box": heat_box(made["heat_of"]),
        "status": Div(text="", css_classes=["viewer-status"], stylesheets=[sheet()]),
        "here": Div(text="", css_classes=["viewer-here"], stylesheets=[sheet()]),
        "store": ColumnDataSource({name: [maps] for name, maps in layers.maps.items()}),
        "overlay": overlay,
        "all_blobs": ColumnDataSource(all_blobs),
        "blobs": blobs,
        "all_nuclei": ColumnDataSource(all_nuclei),
        "nuclei": dots,
        "methods": methods,
        "names": list(CLASSES),
        "colours": [_little_endian(COLOURS[name]) for name in CLASSES],
        "ramp": [_little_endian(colour) for colour in RAMP],
    }


def _draw_points(pane: figure, blobs: ColumnDataSource, nuclei: ColumnDataSource) -> None:
    """Blobs as circles of their size, nuclei as dots; hovering says what each is."""
    colour = linear_cmap("label", [COLOURS[name] for name in CLASSES], 0, len(CLASSES) - 1)
    rings = pane.circle(
        "x", "y", radius="radius", source=blobs, fill_alpha=0, line_color=colour, line_width=2
    )
    dots = pane.scatter(
        "x", "y", size=9, source=nuclei, fill_color=colour, line_color="white", line_width=1.2
    )
    kind = CustomJSHover(args={"names": list(CLASSES)}, code="return names[value]")
    tips = (
        (dots, [("Nucleus", "@label{custom}"), ("probability", "@probability{0.00}")]),
        (
            rings,
            [
                ("Blob", "@label{custom}"),
                ("contrast", "@response{0.00}"),
                ("activation", "@value{0.00}"),
            ],
        ),
    )
    for renderer, lines in tips:
        pane.add_tools(HoverTool(renderers=[renderer], tooltips=lines, formatters={"@label": kind}))


def _little_endian(colour: str) -> int:
    """``"#RRGGBB"`` as 0xBBGGRR: the bytes R, G, B in the order a canvas has them."""
    red, green, blue = rgb(colour)
    return red | green << 8 | blue << 16
