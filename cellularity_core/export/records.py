"""What every file says of where it comes from, and results as JSON."""

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from cellularity_core import __version__
from cellularity_core.conventions import INTERVAL
from cellularity_core.messages import printable
from cellularity_core.results import PatchResult

SOFTWARE: Final = f"cellularity {__version__}"

PURPOSE: Final = "Research use only - not for diagnosis"
"""Said in every file."""

MOST_SHEETS: Final = 50
"""Patches of a batch that have a page each in its PDF; the table on top holds all of them."""

DECIMALS: Final = 6
"""Of every score, probability and pixel size written; far below what they mean."""


def provenance(result: PatchResult) -> dict[str, str | float | bool | None]:
    """Where a file about one patch comes from: plain values, in a fixed order.

    Whether the scores can be relied on is part of it, so that a picture or a mask
    that travels alone still says so.
    """
    return {
        "purpose": PURPOSE,
        "image": result.image,
        "sha256": result.sha256,
        "mpp": number(result.mpp),
        "software": SOFTWARE,
        "model_set": result.model_set,
        "model_sha256": result.model_sha256,
        "scale": result.scale,
        "precision": result.precision,
        "views": result.views,
        "reliable": result.quality.reliable,
        "flags": ";".join(result.quality.flags),
        "notes": ";".join(result.notes),
    }


def scored_with(result: PatchResult) -> str:
    """The software and what its networks multiplied, as the records keep it of a score."""
    return f"{SOFTWARE}, {result.precision}"


def provenance_text(result: PatchResult) -> str:
    """`provenance` as lines ``name: value``, for formats that take a description."""
    lines = {**provenance(result), "reliable": "yes" if result.quality.reliable else "NO"}
    return "\n".join(f"{name}: {printable(str(value))}" for name, value in lines.items())


def patch_record(result: PatchResult) -> dict[str, Any]:
    """One entry of ``patches`` in the JSON that ``cellularity score`` writes."""
    return {
        "image": result.image,
        "width": result.width,
        "height": result.height,
        "mpp": number(result.mpp),
        "notes": list(result.notes),
        "sha256": result.sha256,
        "scores": {
            method: {
                "value": number(score.value),
                "low": number(score.low),
                "high": number(score.high),
            }
            for method, score in result.scores.items()
        },
        "counts": result.nuclei.counts(),
        "quality": {
            "flags": list(result.quality.flags),
            "reliable": result.quality.reliable,
        },
        "precision": result.precision,
        "views": result.views,
        "seconds": {stage: number(seconds) for stage, seconds in result.seconds.items()},
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
        "purpose": PURPOSE,
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


def number(value: float | None) -> float | None:
    """Rounded for writing; None for what is not a number."""
    if value is None or not math.isfinite(value):
        return None
    return round(float(value), DECIMALS)
