"""Results as rows: scores, nuclei, the 81 features and their shares in the score."""

import csv
import io
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from cellularity_core.conventions import CLASSES, METHODS
from cellularity_core.export.records import PURPOSE, SOFTWARE, number
from cellularity_core.features import FEATURE_NAMES
from cellularity_core.results import PatchResult

PIXEL_DECIMALS: Final = 2
"""Of a coordinate, in pixels."""

DIGITS: Final = 9
"""Significant digits of a feature. More would not be the same twice: how a sum is
rounded depends on where its terms lie in memory."""

NUCLEI_COLUMNS: Final = ("image", "x", "y", "class", "probability")

REASON_COLUMNS: Final = ("SHAP base", *(f"SHAP {name}" for name in FEATURE_NAMES))
"""The "gbt" score of an average patch, then the SHAP value of each feature."""

_FORMULA: Final = (*"=+-@\t\r\n", *"\uff1d\uff0b\uff0d\uff20")  # also as wide letters


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
        "notes",
        "model_set",
        "model_sha256",
        "scale",
        "precision",
        "views",
        "sha256",
        "software",
        "purpose",
    ]


def row(result: PatchResult, methods: Collection[str] = METHODS) -> dict[str, Any]:
    """One patch as a row of `columns`: scores and limits by method, counts by class.

    What a result does not have (a method not asked for, no tissue) is None.
    """
    values: dict[str, Any] = {
        "image": result.image,
        "width": result.width,
        "height": result.height,
        "mpp": number(result.mpp),
        **result.nuclei.counts(),
        "flags": ";".join(result.quality.flags),
        "reliable": result.quality.reliable,
        "notes": ";".join(result.notes),
        "model_set": result.model_set,
        "model_sha256": result.model_sha256,
        "scale": result.scale,
        "precision": result.precision,
        "views": result.views,
        "sha256": result.sha256,
        "software": SOFTWARE,
        "purpose": PURPOSE,
    }
    for method, score in result.scores.items():
        values[method] = number(score.value)
        values[f"{method}_low"] = number(score.low)
        values[f"{method}_high"] = number(score.high)
    return {name: values.get(name) for name in columns(methods)}


def feature_row(result: PatchResult, methods: Collection[str] = METHODS) -> dict[str, Any]:
    """`row` and the 81 features under their names, to `DIGITS`."""
    return row(result, methods) | _by_name(FEATURE_NAMES, result.features)


def reason_columns(methods: Collection[str] = METHODS) -> list[str]:
    """Columns that `reason_row` fills."""
    return [*columns(methods), *FEATURE_NAMES, *REASON_COLUMNS]


def reason_row(result: PatchResult, methods: Collection[str] = METHODS) -> dict[str, Any]:
    """`feature_row` and each feature's share in the "gbt" score (`REASON_COLUMNS`).

    The shares and the base add up to the score before it is cut to 0 to 1 and put
    on a reader's scale.
    """
    shares = (result.base_value, *result.contributions)
    return feature_row(result, methods) | _by_name(REASON_COLUMNS, shares)


def _by_name(names: Sequence[str], values: Iterable[float]) -> dict[str, float]:
    return {name: float(f"{value:.{DIGITS}g}") for name, value in zip(names, values, strict=True)}


def nuclei_rows(result: PatchResult) -> list[dict[str, Any]]:
    """Nuclei of one patch as rows of `NUCLEI_COLUMNS`, in the order of the result."""
    nuclei = result.nuclei
    return [
        {
            "image": result.image,
            "x": round(float(x), PIXEL_DECIMALS),
            "y": round(float(y), PIXEL_DECIMALS),
            "class": CLASSES[label],
            "probability": number(float(probability)),
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


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return safe_text(value) if isinstance(value, str) else value
