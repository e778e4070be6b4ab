"""Deep zoom of a slide with its maps over it, drawn in the browser (`js/slide*.js`).

The browser asks for what it lacks: the slide at low power and the maps at once, finer
pictures of what is on screen as the user comes closer. An answer holds a few pictures, so
neither side holds more than it shows. Maps, opacity and zoom are the browser's own.
"""

import base64
import hashlib
import io
import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import shapely
import streamlit as st
from PIL import Image
from shapely.geometry.base import BaseGeometry

from cellularity_core.conventions import CLASSES
from cellularity_core.errors import CellularityError
from cellularity_core.slides.grid import Tile
from cellularity_core.slides.maps import Map, nuclei_name, width_name
from cellularity_core.slides.reading import Slide
from pages.parts import access, state
from pages.parts.frame import RESEARCH_USE
from pages.parts.layers import reduced
from pages.parts.slide_run import Run, maps, overview, tissue
from pages.parts.viewer import ramp
from pages.parts.words import METHOD_NAMES

SIDE: Final = 512
"""Of a picture that the browser asks for, in pixels."""

MOST: Final = 24
"""Pictures in one answer."""

OVERVIEW_SIDE: Final = 2048
"""Longest side of the slide at low power as it is sent, in pixels."""

MASK_SIDE: Final = 1536
"""Longest side of the mask of tissue as it is sent, in pixels."""

OPACITY: Final = 50
QUALITY: Final = 85
"""Of JPEG."""

NOTHING: Final = 65535
"""Level of a place without a value; others are steps of `Layer.step`."""

MOST_POINTS: Final = 20_000
"""Of an outline drawn by hand."""

_KEY: Final = re.compile(r"(\d{1,5})/(\d{1,6})/(\d{1,6})")

_WORDS: Final = {
    "map": "Map over the slide",
    "off": "no map",
    "opacity": "Opacity",
    "unfit": "not fit to score",
    "nothing": "no tissue",
    "draw": "Draw the tumour bed",
    "drawing": "Click point after point around the bed, or hold and draw. Double click or Enter "
    "closes the outline, Esc gives it up; Space sets a point in the middle of the view.",
    "finish": "Close the outline",
    "cancel": "Give up",
    "few": "An outline needs three points or more.",
    "look": "Click a place for its tile.",
}

_FILES: Final = Path(__file__).parent / "js"


def _text(*names: str) -> str:
    return "\n".join((_FILES / name).read_text(encoding="utf-8") for name in names)


_COMPONENT: Final = st.components.v2.component(
    "cellularity.slide",
    html=_text("slide.html"),
    css=_text("viewer.css", "slide.css"),
    js=_text(
        "slide.js",
        "slide_picture.js",
        "viewer_hand.js",
        "viewer_controls.js",
        "viewer_view.js",
        "viewer_layers.js",
    ),
)


@dataclass(frozen=True, slots=True)
class Layer:
    """A map as the browser has it: levels of 16 bits, each `step` of the unit."""

    name: str
    title: str
    group: str
    unit: str
    most: float
    step: float
    levels: npt.NDArray[np.uint16]


def layers(drawn: Mapping[str, Map], methods: Sequence[str]) -> list[Layer]:
    """Maps of `maps.maps_of` for the browser, in the order of its list."""
    found = []
    for method in methods:
        found.append(_share(method, METHOD_NAMES[method], "Cellularity", drawn))
    for method in methods:
        group = "Uncertainty: width of the 90 % interval"
        found.append(_share(width_name(method), METHOD_NAMES[method], group, drawn))
    for kind in CLASSES:
        values = drawn[nuclei_name(kind)]
        most = float(np.nanmax(values, initial=1.0, where=~np.isnan(values)))
        levels = np.where(np.isnan(values), NOTHING, np.clip(values, 0, NOTHING - 1))
        found.append(
            Layer(
                nuclei_name(kind), kind.capitalize(), "Nuclei in a tile", "nuclei", most, 1.0,
                levels.astype(np.uint16),
            )
        )  # fmt: skip
    return found


def _share(name: str, title: str, group: str, drawn: Mapping[str, Map]) -> Layer:
    values = 100 * drawn[name].astype(np.float64)
    step = 100 / (NOTHING - 1)
    levels = np.where(np.isnan(values), NOTHING, np.rint(values / step))
    return Layer(name, title, group, "%", 100.0, step, levels.astype(np.uint16))


def deep_zoom(
    run: Run,
    *,
    key: str,
    is_open: bool,
    bed: BaseGeometry | None,
    looked_at: Tile | None,
    goto: int,
    on_outline: Callable[[list[tuple[float, float]]], None],
    on_place: Callable[[float, float], None],
) -> None:
    """Show the slide.

    Parameters
    ----------
    run : Run
    key : str
    is_open : bool
        Whether what the models say may be shown, and a bed drawn.
    bed : shapely geometry, optional
        In pixels of level 0.
    looked_at : Tile, optional
        Marked.
    goto : int
        Changes when the slide is to move to `looked_at`.
    on_outline, on_place : callable
        Told of an outline drawn by hand and of a place that was clicked, in pixels of
        level 0; the page is run again after that.
    """
    drawn = layers(maps(run), run.scoring.methods) if is_open and run.done else []
    data = _facts(run, drawn)
    data["state"] = {
        "bed": [] if bed is None else _rings(bed),
        "tile": looked_at and [looked_at.x, looked_at.y, looked_at.width, looked_at.height],
        "goto": goto,
        "mayDraw": is_open,
        "mayLook": is_open and run.is_done,
    }
    _zoom(run, key, drawn, data, on_outline, on_place)


@st.fragment
def _zoom(
    run: Run,
    key: str,
    drawn: Sequence[Layer],
    data: dict[str, Any],
    on_outline: Callable[[list[tuple[float, float]]], None],
    on_place: Callable[[float, float], None],
) -> None:
    """The part that is run again whenever the browser asks for pictures."""
    if access.has_sign_in():
        access.require()
    again, asked = f"{key}.again", f"{key}.need"

    def need() -> None:
        st.session_state[asked] = state.sent(key, "need")

    def told(name: str, tell: Callable[[list[tuple[float, float]]], None]) -> None:
        with suppress(ValueError):  # not what this viewer sends
            tell(points(state.sent(key, name), run.slide))
            st.session_state[again] = True

    if st.session_state.pop(again, False):
        st.rerun()
    needed = st.session_state.pop(asked, None)
    _COMPONENT(
        key=key,
        data=data | {"reply": None if needed is None else answer(run, drawn, needed)},
        on_need_change=need,
        on_outline_change=lambda: told("outline", on_outline),
        on_place_change=lambda: told("place", lambda spots: on_place(*spots[0])),
    )


def points(sent: Any, slide: Slide) -> list[tuple[float, float]]:
    """Points from a browser, which can send anything, kept within the slide.

    Raises
    ------
    ValueError
        If they are no points.
    """
    if not isinstance(sent, list) or not 1 <= len(sent) <= MOST_POINTS:
        raise ValueError(f"1 to {MOST_POINTS} points were expected.")
    xy = np.asarray(sent, float)
    if xy.shape != (len(sent), 2) or not np.isfinite(xy).all():
        raise ValueError("points of two numbers were expected.")
    found = np.clip(xy, 0, (slide.width - 1, slide.height - 1))
    return [(float(x), float(y)) for x, y in found]


def answer(run: Run, drawn: Sequence[Layer], needed: Any) -> dict[str, Any]:
    """What the browser asked for, with the number of its question.

    Parameters
    ----------
    needed : {"serial": int, "keys": list of str}
        Keys are "overview", "tissue", "map NAME" and "ZOOM/COLUMN/ROW" of a picture.
    """
    keys = needed.get("keys", []) if isinstance(needed, dict) else []
    found: dict[str, Any] = {}
    fault = None
    for key in [k for k in keys if isinstance(k, str)][: MOST + len(drawn) + 1]:
        try:
            found[key] = _piece(run, drawn, key)
        except CellularityError as error:
            found[key] = None
            fault = str(error)
    serial = needed.get("serial") if isinstance(needed, dict) else None
    return {"serial": serial, "found": found, "fault": fault}


def _piece(run: Run, drawn: Sequence[Layer], key: str) -> Any:
    if key == "overview":
        return jpeg(reduced(overview(run.folder), OVERVIEW_SIDE))
    if key == "tissue" and drawn:
        return png(reduced(tissue(run.folder), MASK_SIDE))
    if key.startswith("map "):
        layer = next((one for one in drawn if f"map {one.name}" == key), None)
        return None if layer is None else _packed(layer.levels)
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    zoom, column, row = map(int, match.groups())
    x, y = column * SIDE * zoom, row * SIDE * zoom
    if zoom not in run.slide.zooms() or x >= run.slide.width or y >= run.slide.height:
        return None
    return jpeg(run.slide.picture(x, y, SIDE, zoom))


def jpeg(pixels: npt.NDArray[np.uint8]) -> str:
    """A picture as a ``data:`` URL."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def png(mask: npt.NDArray[np.uint8]) -> str:
    """A mask, shape (h, w), as the opacity of a ``data:`` URL."""
    buffer = io.BytesIO()
    Image.fromarray(np.stack([mask, mask], axis=-1), "LA").save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _packed(levels: npt.NDArray[np.uint16]) -> dict[str, Any]:
    packed = zlib.compress(levels.astype("<u2").tobytes(), level=1)
    return {"shape": levels.shape, "bytes": base64.b64encode(packed).decode("ascii")}


def _facts(run: Run, drawn: Sequence[Layer]) -> dict[str, Any]:
    """What the browser must know before it asks; the same as long as nothing is scored anew."""
    slide = run.slide
    facts: dict[str, Any] = {
        "size": (slide.width, slide.height),
        "mpp": slide.mpp,
        "side": SIDE,
        "most": MOST,
        "zooms": slide.zooms(),
        "pitch": slide.grid.pitch,
        "edges": {"x": slide.grid.x_edges, "y": slide.grid.y_edges},
        "maps": [
            {
                "name": one.name, "title": one.title, "group": one.group, "unit": one.unit,
                "most": one.most, "step": one.step,
            }
            for one in drawn
        ],
        "nothing": NOTHING,
        "unfit": [],
        "start": {"map": _first(run, drawn), "opacity": OPACITY},
        "ramp": ramp() if drawn else [],
        "words": _WORDS if drawn else {name: _WORDS[name] for name in _BARE},
        "use": RESEARCH_USE,
    }  # fmt: skip
    if drawn:
        rows, columns = np.nonzero(maps(run)["fit"] == 0)
        facts["unfit"] = np.stack([columns, rows], axis=1).tolist()
    of = (run.source.key, run.key, facts)
    facts["token"] = hashlib.sha256(json.dumps(of).encode()).hexdigest()
    facts["slide"] = hashlib.sha256(f"{run.source.key} {slide.mpp}".encode()).hexdigest()
    return facts


_BARE: Final = ("draw", "drawing", "finish", "cancel", "few", "look")
"""Words that a slide without maps needs."""


def _first(run: Run, drawn: Sequence[Layer]) -> str:
    """The map that is shown at first: the score to read first."""
    if not drawn:
        return ""
    headline = run.scoring.model_set.headline
    return headline if headline in run.scoring.methods else drawn[0].name


def _rings(bed: BaseGeometry) -> list[list[list[float]]]:
    """Outlines of a region, holes among them."""
    found: list[list[list[float]]] = []
    for part in shapely.get_parts(bed):
        if part.geom_type == "Polygon":
            for ring in (part.exterior, *part.interiors):
                found.append(np.round(shapely.get_coordinates(ring), 1).tolist())
    return found
