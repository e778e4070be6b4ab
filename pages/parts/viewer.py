"""The viewer: one patch in one to four panes that zoom, pan and turn together.

Each pane shows what it is given over the patch. Everything is drawn in the browser
(`js/viewer*.js`); no switch, slider or key waits for the server, and nothing is part
of what is sent but what the panes hold.

A canvas of our own, not Bokeh: when both were tried, Bokeh could not turn a picture, had
no pinch beside a mouse and no names on its sliders, and brought 3.7 MB of scripts where
these are 43 kB.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import streamlit as st

from cellularity_core.conventions import BACKGROUND, CHANNELS, LYMPHOCYTE, MALIGNANT, NORMAL
from cellularity_core.export import COLOURS, SOFTWARE, provenance_text
from cellularity_core.results import Nuclei, PatchResult
from pages.parts.frame import RESEARCH_USE
from pages.parts.layers import Blobs, Layers, PackedMaps, overlay_url, picture_url
from pages.parts.words import METHOD_CODES

THRESHOLD: Final = 0.5
BLOB_THRESHOLD: Final = 0.16
OPACITY: Final = 45
"""Where the sliders stand at first; opacity in percent."""

MOST_PANES: Final = 4

_ORDER: Final = (MALIGNANT, LYMPHOCYTE, NORMAL, BACKGROUND)
"""Classes as the user meets them; the keys 1 to 4 are in this order."""

_COLOURS: Final = {**COLOURS, "background": "#F0E442"}

_START: Final = {
    "areas": True,
    "heat": False,
    "blobs": False,
    "nuclei": False,
    "overlay": True,
    "classes": [True, True, True, False],
    "cut": THRESHOLD,
    "opacity": OPACITY,
    "blobCut": BLOB_THRESHOLD,
    "heatOf": MALIGNANT,
    "mapOf": 0,
}
_CUTS: Final = {"cut": (0.02, 0.98), "blobCut": (0.02, 0.5)}

_WORDS: Final = {
    "shown": "Shown over the patch",
    "areas": "Areas",
    "heat": "Heat map",
    "blobs": "Blobs",
    "nuclei": "Nuclei",
    "classes": "Classes",
    "cut": "Areas: activation above",
    "drawing": "These change the drawing, not the scores.",
    "opacity": "Opacity",
    "blobCut": "Blobs: contrast above",
    "heatOf": "Heat map of",
    "mapOf": "Maps of the method",
    "above": "Area above",
    "rings": "blobs above",
    "dots": "nuclei",
    "none": "Nothing is drawn over the patch.",
    "here": "Activation here",
    "dot": "Nucleus",
    "probability": "probability",
    "ring": "Blob",
    "response": "contrast",
    "value": "activation",
    "save": "Save picture",
    "classKeys": "On or off",
    "cutKeys": "Limit of the areas: up, down",
    "blobKeys": "Limit of the blobs: up, down",
    "heatKeys": "Heat map of the next class",
    "mapKeys": "Map of the next method",
}

_FILES: Final = Path(__file__).parent / "js"
_SCRIPTS: Final = (
    "viewer",
    "viewer_hand",
    "viewer_controls",
    "viewer_view",
    "viewer_layers",
    "viewer_save",
)
_COMPONENT: Final = st.components.v2.component(
    "cellularity.viewer",
    html=(_FILES / "viewer.html").read_text(encoding="utf-8"),
    css=(_FILES / "viewer.css").read_text(encoding="utf-8"),
    js="\n".join((_FILES / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS),
)


@dataclass(frozen=True, slots=True)
class Pane:
    """What one pane shows over the patch; with a title alone, the bare patch.

    Attributes
    ----------
    title : str
        Written above the pane; may be empty.
    layers : Layers, optional
        Areas, heat map and blobs of a result.
    nuclei : Nuclei, optional
        Points of a result.
    method : str, optional
        The method whose maps of `layers` are shown ("gbt", "cascade"); its map may be
        one that methods share. By default the user switches between all of them.
    overlay : ndarray of uint8, shape (h, w, 4), optional
        A ready-made picture (RGBA, not premultiplied) stretched over the whole patch,
        such as a saliency map, in the colours of `ramp` for 0 to 100 %.
    overlay_name : str
        What the switch of `overlay` is called.
    """

    title: str
    layers: Layers | None = None
    nuclei: Nuclei | None = None
    method: str | None = None
    overlay: npt.NDArray[np.uint8] | None = None
    overlay_name: str = "Saliency map"


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is sent to the browser, as JSON. Keep it: it costs some 50 ms to make."""

    sent: bytes


def drawing(
    pixels: npt.NDArray[np.uint8],
    mpp: float,
    panes: Sequence[Pane],
    file_name: str = "overlay.png",
    results: Sequence[PatchResult] = (),
) -> Drawing:
    """Prepare what `viewer` shows.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        The patch as given; all panes show it.
    mpp : float
        um per pixel, for the scale bar.
    panes : sequence of Pane
        One to four, from left to right.
    file_name : str
        Of the picture that the button "Save picture" writes.
    results : sequence of PatchResult
        What is shown is from: said in and below a saved picture.

    Raises
    ------
    ValueError
        If there are no panes or more than four.
    """
    if not 1 <= len(panes) <= MOST_PANES:
        raise ValueError(f"{len(panes)} panes were given; the viewer shows 1 to {MOST_PANES}.")
    height, width = pixels.shape[:2]
    maps: list[dict[str, Any]] = []
    data: dict[str, Any] = {
        "size": (width, height),
        "mpp": mpp,
        "patch": picture_url(pixels),
        "file_name": file_name,
        "use": RESEARCH_USE,
        "panes": [_pane(pane, maps) for pane in panes],
        "maps": maps,
        "start": {"mapOf": 0},
        "words": {},
    }
    # no word of a model goes out with a patch that is still to be scored
    if any(pane.layers or pane.nuclei or pane.overlay is not None for pane in panes):
        data |= _vocabulary(panes) | {"origin": _origin(results, mpp)}
    # told apart by its token alone, so that the same drawing keeps its zoom
    data["token"] = ""
    before, after = json.dumps(data).rsplit('""', 1)
    token = hashlib.sha256(before.encode()).hexdigest()
    return Drawing(f'{before}"{token}"{after}'.encode())


def viewer(shown: Drawing, *, key: str) -> None:
    """Show a drawing. While its patch is the same, the browser keeps zoom and turn."""
    # ready-made: Streamlit would write JSON of 1 MB twice a run, with all other sessions waiting
    _COMPONENT(key=key, data=shown.sent)


def _vocabulary(panes: Sequence[Pane]) -> dict[str, Any]:
    """Words, colours and limits for panes that show what was found."""
    nuclei = [pane.nuclei for pane in panes if pane.nuclei is not None]
    counts = nuclei[0].counts() if nuclei and all(n is nuclei[0] for n in nuclei) else {}
    names = [pane.overlay_name for pane in panes if pane.overlay is not None]
    return {
        "start": _START,
        "words": _WORDS | {"overlay": names[0] if names else ""},
        "order": _ORDER,
        "classes": [
            {
                "name": name,
                "title": name.capitalize(),
                "label": name.capitalize() + (f" ({counts[name]})" if name in counts else ""),
                "colour": _COLOURS[name],
            }
            for name in CHANNELS
        ],
        "ramp": ramp(),
        "cuts": _CUTS,
    }


def _origin(results: Sequence[PatchResult], mpp: float) -> dict[str, Any]:
    """Where a saved picture comes from: in full for the file, and in short below the picture."""
    sets = [f"{result.model_set} {result.model_sha256[:12]}" for result in results]
    poor = any(not result.quality.reliable for result in results)
    strip = [RESEARCH_USE, *sets, f"{mpp:g} µm/px", SOFTWARE]
    return {
        "strip": [*strip, "do not rely on these scores"] if poor else strip,
        "text": "\n\n".join(provenance_text(result) for result in results) or RESEARCH_USE,
    }


def _pane(pane: Pane, maps: list[dict[str, Any]]) -> dict[str, Any]:
    """One pane; its maps are put into `maps` unless they are there already."""
    sources = []
    if pane.layers is not None and pane.layers.maps:
        shared = next(iter(pane.layers.maps))
        one = pane.method if pane.method in pane.layers.maps else shared
        for name in pane.layers.maps if pane.method is None else (one,):
            packed = _packed(pane.layers.maps[name])
            if packed not in maps:
                maps.append(packed)
            blobs = pane.layers.blobs.get(name)
            sources.append(
                {
                    "name": f"Map for {METHOD_CODES[name]}",
                    "map": maps.index(packed),
                    "blobs": None if blobs is None else _blobs(blobs),
                }
            )
    shown: dict[str, Any] = {"title": pane.title, "sources": sources}
    if pane.nuclei is not None:
        shown["nuclei"] = _nuclei(pane.nuclei)
    if pane.overlay is not None:
        shown |= {"overlay": overlay_url(pane.overlay), "overlay_name": pane.overlay_name}
    return shown


def _packed(maps: PackedMaps) -> dict[str, Any]:
    return {"shape": maps.shape, "bytes": base64.b64encode(maps.packed).decode("ascii")}


def _blobs(blobs: Blobs) -> dict[str, list[Any]]:
    numbers = {name: _list(getattr(blobs, name), 2) for name in ("x", "y", "radius")}
    shown = {name: _list(getattr(blobs, name), 4) for name in ("response", "value")}
    return numbers | shown | {"label": blobs.label.tolist()}


def _nuclei(nuclei: Nuclei) -> dict[str, list[Any]]:
    return {
        "x": _list(nuclei.xy[:, 0], 2),
        "y": _list(nuclei.xy[:, 1], 2),
        "label": nuclei.label.tolist(),
        "probability": _list(nuclei.probability, 4),
    }


def _list(values: npt.NDArray[np.float32], decimals: int) -> list[float]:
    rounded: list[float] = np.round(values.astype(np.float64), decimals).tolist()
    return rounded


def ramp() -> list[str]:
    """Colours of the heat map, activation 0 to 1 in 256 steps."""
    levels = np.arange(256, dtype=np.uint8)[:, None]
    colours = cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)[:, 0]
    return [f"#{red:02X}{green:02X}{blue:02X}" for blue, green, red in colours]
