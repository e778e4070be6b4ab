"""A choice of files about one patch or several, made when they are asked for."""

import io
import sys
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cellularity_core.export.geometry import geojson_text
from cellularity_core.export.parquet import ParquetTable
from cellularity_core.export.pictures import nuclei_maps, ome_tiff, overlay, png
from cellularity_core.export.records import (
    MOST_SHEETS,
    document,
    file_stem,
    json_text,
    patch_record,
    provenance_text,
)
from cellularity_core.export.tables import (
    NUCLEI_COLUMNS,
    columns,
    csv_text,
    nuclei_rows,
    reason_columns,
    reason_row,
    row,
)
from cellularity_core.results import PatchResult

Pixels = npt.NDArray[np.uint8]
Errors = Sequence[tuple[str, str]]
Made = tuple[PatchResult, Pixels]

ALL: Final = sys.maxsize
"""Of as many patches as there are."""

EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""Date of every member of a ZIP file, so that the same results give the same bytes."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file.

    Attributes
    ----------
    label, what : str
        For a menu, and what is in it.
    ending : str
        Of the file's name, after the stem; a point is part of it.
    mime : str
    drawn : int
        How many patches, from the first, are drawn, so that their results need maps.
    one_each : bool
        Whether each patch has a file of its own; several go into a ZIP file.
    make : callable
        Bytes of results with their pixels, and of files that were not scored.
    """

    label: str
    what: str
    ending: str
    mime: str
    drawn: int
    one_each: bool
    make: Callable[[Iterable[Made], Errors], bytes]


def name(kind: str, images: Sequence[str]) -> tuple[str, str]:
    """Name and MIME type of the file that `make` gives for these images."""
    chosen = KINDS[kind]
    if len(images) == 1:
        return f"{file_stem(images[0])}{chosen.ending}", chosen.mime
    if chosen.one_each:
        return f"cellularity{chosen.ending}.zip", "application/zip"
    return f"cellularity{chosen.ending}", chosen.mime


def make(kind: str, results: Iterable[Made], count: int, errors: Errors = ()) -> bytes:
    """A file about some patches.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    results : iterable of (PatchResult, pixels)
        With maps for as many as the kind draws; taken one at a time.
    count : int
        How many there are; several of a kind with a file each are a ZIP file.
    errors : sequence of (image, reason)
        Files that could not be scored.
    """
    chosen = KINDS[kind]
    if not chosen.one_each or count == 1:
        return chosen.make(results, errors)
    buffer = io.BytesIO()
    taken: set[str] = set()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for result, pixels in results:
            stem = file_stem(result.image, taken)
            taken.add(stem.lower())
            member = zipfile.ZipInfo(f"{stem}{chosen.ending}", EPOCH)
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, chosen.make([(result, pixels)], ()))
    return buffer.getvalue()


def _pdf(results: Iterable[Made], errors: Errors) -> bytes:
    from cellularity_core.export.sheets import pdf, sheet

    sheets = [
        sheet(result, pixels if k < MOST_SHEETS else None)
        for k, (result, pixels) in enumerate(results)
    ]
    return pdf(sheets, errors, **_models(sheets[0].result))


def _scores(results: Iterable[Made], errors: Errors) -> bytes:
    found = [result for result, _ in results]
    methods = _methods(found)
    return csv_text([row(result, methods) for result in found], columns(methods)).encode()


def _json(results: Iterable[Made], errors: Errors) -> bytes:
    found = [result for result, _ in results]
    content = document(
        [patch_record(result) for result in found],
        errors,
        **_models(found[0]),
    )
    return json_text(content).encode()


def _nuclei(results: Iterable[Made], errors: Errors) -> bytes:
    rows = [entry for result, _ in results for entry in nuclei_rows(result)]
    return csv_text(rows, NUCLEI_COLUMNS).encode()


def _reasons(results: Iterable[Made]) -> tuple[list[Mapping[str, Any]], list[str]]:
    found = [result for result, _ in results]
    methods = _methods(found)
    return [reason_row(r, methods) for r in found], reason_columns(methods)


def _features_csv(results: Iterable[Made], errors: Errors) -> bytes:
    return csv_text(*_reasons(results)).encode()


def _features_parquet(results: Iterable[Made], errors: Errors) -> bytes:
    rows, names = _reasons(results)
    buffer = io.BytesIO()
    with ParquetTable(buffer, names) as table:
        table.add(rows)
    return buffer.getvalue()


def _geojson(results: Iterable[Made], errors: Errors) -> bytes:
    [(result, _)] = results
    return geojson_text(result).encode()


def _overlay(results: Iterable[Made], errors: Errors) -> bytes:
    [(result, pixels)] = results
    maps = nuclei_maps(result)
    drawn = pixels if maps is None else overlay(pixels, maps)
    return png(drawn, provenance_text(result))


def _ome_tiff(results: Iterable[Made], errors: Errors) -> bytes:
    [(result, pixels)] = results
    return ome_tiff(pixels, result)


def _models(result: PatchResult) -> dict[str, str]:
    return {
        "model_set": result.model_set,
        "model_sha256": result.model_sha256,
        "scale": result.scale,
    }


def _methods(results: Sequence[PatchResult]) -> list[str]:
    return list(dict.fromkeys(method for result in results for method in result.scores))


KINDS: Final = {
    "pdf": Kind(
        "Report (PDF)",
        "A page a patch: pictures, scores, nuclei and reasons",
        ".pdf",
        "application/pdf",
        drawn=MOST_SHEETS,
        one_each=False,
        make=_pdf,
    ),
    "csv": Kind(
        "Scores (CSV)",
        "A row a patch, for a spreadsheet",
        ".csv",
        "text/csv",
        drawn=0,
        one_each=False,
        make=_scores,
    ),
    "json": Kind(
        "Scores (JSON)",
        "All but the pictures, and files that were not scored, for programs",
        ".json",
        "application/json",
        drawn=0,
        one_each=False,
        make=_json,
    ),
    "geojson": Kind(
        "Nuclei and areas for QuPath (GeoJSON)",
        "Drop it on the same image in QuPath",
        ".geojson",
        "application/geo+json",
        drawn=ALL,
        one_each=True,
        make=_geojson,
    ),
    "overlay": Kind(
        "Areas over the patch (PNG)",
        "A picture in full size",
        "-areas.png",
        "image/png",
        drawn=ALL,
        one_each=True,
        make=_overlay,
    ),
    "ome-tiff": Kind(
        "Patch and class maps (OME-TIFF)",
        "Channels with names and the pixel size, for Fiji or QuPath",
        ".ome.tiff",
        "image/tiff",
        drawn=ALL,
        one_each=True,
        make=_ome_tiff,
    ),
    "nuclei": Kind(
        "Nuclei (CSV)",
        "A row a nucleus, in pixels of the image as given",
        "-nuclei.csv",
        "text/csv",
        drawn=0,
        one_each=False,
        make=_nuclei,
    ),
    "features": Kind(
        "Features and reasons (CSV)",
        "The 81 features and the share of each in the score, a row a patch",
        "-features.csv",
        "text/csv",
        drawn=0,
        one_each=False,
        make=_features_csv,
    ),
    "features-parquet": Kind(
        "Features and reasons (Parquet)",
        "The same for Python or R",
        "-features.parquet",
        "application/vnd.apache.parquet",
        drawn=0,
        one_each=False,
        make=_features_parquet,
    ),
}
"""Kinds of files, in the order of a menu."""
