"""Results as JSON, tables, GeoJSON and pictures.

Pure functions from `PatchResult` to what is written: the same result gives the
same bytes, wherever it is written from. Scores are 0 to 1; points are pixels of
the image as given.
"""

import csv
import io
import json
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cellularity_core import __version__
from cellularity_core.conventions import CLASSES, INTERVAL, METHODS
from cellularity_core.features import FEATURE_NAMES
from cellularity_core.results import PatchResult

SOFTWARE: Final = f"cellularity {__version__}"

DECIMALS: Final = 6
"""Of every score, probability and pixel size written; far below what they mean."""

PIXEL_DECIMALS: Final = 2
"""Of a coordinate, in pixels."""

DIGITS: Final = 9
"""Significant digits of a feature. More would not be the same twice: how a sum is
rounded depends on where its terms lie in memory."""

COLOURS: Final = {
    "normal": "#009E73",
    "lymphocyte": "#0072B2",
    "malignant": "#D55E00",
}
"""Class colours that the colour-blind tell apart: bluish green, blue, vermillion.

Okabe & Ito, "Color Universal Design", 2008.
"""

NUCLEI_COLUMNS: Final = ("image", "x", "y", "class", "probability")

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def patch_record(result: PatchResult) -> dict[str, Any]:
    """One entry of ``patches`` in the JSON that ``cellularity score`` writes."""
    return {
        "image": result.image,
        "width": result.width,
        "height": result.height,
        "mpp": _number(result.mpp),
        "sha256": result.sha256,
        "scores": {
            method: {
                "value": _number(score.value),
                "low": _number(score.low),
                "high": _number(score.high),
            }
            for method, score in result.scores.items()
        },
        "counts": result.nuclei.counts(),
        "quality": {
            "flags": list(result.quality.flags),
            "reliable": result.quality.reliable,
        },
        "seconds": {stage: _number(seconds) for stage, seconds in result.seconds.items()},
    }


def document(
    patches: Sequence[Mapping[str, Any]],
    errors: Sequence[tuple[str, str]],
    *,
    model_set: str,
    model_sha256: str,
    scale: str,
) -> dict[str, Any]:
    """The whole of what ``cellularity score --json`` writes.

    Parameters
    ----------
    patches : sequence of mappings
        What `patch_record` returns, in order.
    errors : sequence of (image, reason)
        Files that could not be scored.
    model_set, model_sha256, scale : str
        Which models scored, and whose scale the scores are on.
    """
    return {
        "software": SOFTWARE,
        "model_set": model_set,
        "model_sha256": model_sha256,
        "scale": scale,
        "interval": INTERVAL,
        "patches": list(patches),
        "errors": [{"image": image, "reason": reason} for image, reason in errors],
    }


def json_text(content: Mapping[str, Any]) -> str:
    """JSON of `content`, two spaces deep, with a final line end.

    Raises
    ------
    ValueError
        If it holds NaN or infinity, which JSON does not have.
    """
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def columns(methods: Collection[str] = METHODS) -> list[str]:
    """Columns of the table of patches that `row` fills, for these methods."""
    limits = [
        f"{method}{end}" for method in METHODS if method in methods for end in ("", "_low", "_high")
    ]
    return [
        "image",
        "width",
        "height",
        "mpp",
        *limits,
        *CLASSES,
        "flags",
        "reliable",
        "model_set",
        "model_sha256",
        "scale",
        "sha256",
    ]


def row(result: PatchResult, methods: Collection[str] = METHODS) -> dict[str, Any]:
    """One patch as a row of `columns`: scores and limits by method, counts by class.

    What a result does not have (a method not asked for, no tissue) is None.
    """
    values: dict[str, Any] = {
        "image": result.image,
        "width": result.width,
        "height": result.height,
        "mpp": _number(result.mpp),
        **result.nuclei.counts(),
        "flags": ";".join(result.quality.flags),
        "reliable": result.quality.reliable,
        "model_set": result.model_set,
        "model_sha256": result.model_sha256,
        "scale": result.scale,
        "sha256": result.sha256,
    }
    for method, score in result.scores.items():
        values[method] = _number(score.value)
        values[f"{method}_low"] = _number(score.low)
        values[f"{method}_high"] = _number(score.high)
    return {name: values.get(name) for name in columns(methods)}


def feature_row(result: PatchResult, methods: Collection[str] = METHODS) -> dict[str, Any]:
    """`row` and the 81 features under their names, to `DIGITS`."""
    return row(result, methods) | {
        name: float(f"{value:.{DIGITS}g}")
        for name, value in zip(FEATURE_NAMES, result.features, strict=True)
    }


def nuclei_rows(result: PatchResult) -> list[dict[str, Any]]:
    """Nuclei of one patch as rows of `NUCLEI_COLUMNS`, in the order of the result."""
    nuclei = result.nuclei
    return [
        {
            "image": result.image,
            "x": round(float(x), PIXEL_DECIMALS),
            "y": round(float(y), PIXEL_DECIMALS),
            "class": CLASSES[label],
            "probability": _number(float(probability)),
        }
        for (x, y), label, probability in zip(
            nuclei.xy, nuclei.label, nuclei.probability, strict=True
        )
    ]


def csv_text(rows: Iterable[Mapping[str, Any]], fields: Sequence[str], header: bool = True) -> str:
    """Rows as CSV that a spreadsheet opens without running anything.

    Parameters
    ----------
    rows : iterable of mappings
    fields : sequence of str
        Columns, in order.
    header : bool
        Whether the first line names them.

    Returns
    -------
    str
        Lines end in ``\\n``. None is an empty cell; a truth value is ``true``
        or ``false``.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(fields)
    writer.writerows([_cell(entry[name]) for name in fields] for entry in rows)
    return text.getvalue()


def safe_text(text: str) -> str:
    """`text` as a spreadsheet will show it rather than run it.

    A cell that begins like a formula gets an apostrophe in front, and a line
    break within a cell, at which many readers end the row, becomes a space.

    References
    ----------
    OWASP, "CSV Injection".
    """
    guarded = f"'{text}" if text.startswith(_FORMULA) else text
    return re.sub(r"[\r\n]", " ", guarded)


def geojson(result: PatchResult) -> dict[str, Any]:
    """Nuclei as a GeoJSON feature collection that QuPath imports as point detections.

    Coordinates are pixels of the image as given, x to the right, y down.
    """
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [entry["x"], entry["y"]]},
                "properties": {
                    "objectType": "detection",
                    "classification": {
                        "name": entry["class"],
                        "color": list(rgb(COLOURS[entry["class"]])),
                    },
                    "measurements": {"probability": entry["probability"]},
                },
            }
            for entry in nuclei_rows(result)
        ],
    }


def overlay(
    pixels: npt.NDArray[np.uint8],
    maps: npt.NDArray[np.floating[Any]],
    threshold: float = 0.5,
    classes: Collection[str] = CLASSES,
    opacity: float = 0.5,
) -> npt.NDArray[np.uint8]:
    """Class masks drawn over a patch in `COLOURS`.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        The patch, RGB.
    maps : ndarray of float, shape (3 or more, H, W)
        Activations in the order of `CHANNELS`, 0 to 1.
    threshold : float
        A pixel is marked where a chosen class exceeds this; the strongest of
        the chosen classes gives the colour.
    classes : collection of str
        Which of `CLASSES` to draw.
    opacity : float
        0 leaves the patch as it is, 1 hides it under the masks.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        A new picture.

    Raises
    ------
    ValueError
        If the shapes do not fit, the opacity is outside [0, 1] or a class is
        unknown.
    """
    if pixels.shape[2:] != (3,) or len(maps) < len(CLASSES) or maps.shape[1:] != pixels.shape[:2]:
        raise ValueError(
            f"Got a patch of shape {pixels.shape} and maps of shape {maps.shape}; expected "
            "(H, W, 3) and (4, H, W) of one height and width."
        )
    unknown = set(classes) - set(CLASSES)
    if unknown or not 0.0 <= opacity <= 1.0:
        raise ValueError(
            f"Got opacity {opacity} and classes {', '.join(map(str, classes))}; expected "
            f"0 to 1 and names among {', '.join(CLASSES)}."
        )
    drawn = pixels.copy()
    chosen = [k for k, name in enumerate(CLASSES) if name in classes]
    if not chosen:
        return drawn
    strongest = np.argmax(maps[chosen], axis=0)
    marked = np.max(maps[chosen], axis=0) > threshold
    palette = np.array([rgb(COLOURS[CLASSES[k]]) for k in chosen], np.float32)
    blend = (1.0 - opacity) * pixels[marked] + opacity * palette[strongest[marked]]
    drawn[marked] = np.rint(blend).astype(np.uint8)
    return drawn


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """PNG of RGB pixels, shape (H, W, 3), with no metadata."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def rgb(colour: str) -> tuple[int, int, int]:
    """``"#D55E00"`` as ``(213, 94, 0)``."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def file_stem(image: str, taken: Collection[str] = ()) -> str:
    """A file name, without ending, for what is written about one image.

    Parameters
    ----------
    image : str
        Name as given; may hold folders, a ZIP member's path or anything else.
    taken : collection of str
        Stems in use, in lower case, since some disks see no difference.

    Returns
    -------
    str
        Letters, digits, ``. _ -`` only and never a path; a number is added
        where it would be one of `taken`.
    """
    plain = re.sub(r"\.[A-Za-z]{3,4}$", "", image)
    plain = re.sub(r"[^\w.-]+", "_", plain).strip("._-")[-120:] or "patch"
    stem, number = plain, 1
    while stem.lower() in taken:
        number += 1
        stem = f"{plain}-{number}"
    return stem


def _number(value: float | None) -> float | None:
    """Rounded for writing; None for what is not a number."""
    if value is None or not math.isfinite(value):
        return None
    return round(float(value), DECIMALS)


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return safe_text(value) if isinstance(value, str) else value
