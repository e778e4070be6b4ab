"""Results as JSON, tables, GeoJSON, pictures and PDF.

Pure functions from `PatchResult` to what is written: the same result gives the
same bytes, wherever it is written from. Scores are 0 to 1; points are pixels of
the image as given. Every file says which models made it, on whose scale, at which
pixel size and with which software, and that it is for research only; the table of
nuclei alone has no room for it, and goes with the others.

`sheets` (PDF) and `files` (a choice of files for a page) are imported where used.
"""

from cellularity_core.export.geometry import geojson, geojson_text, polygons
from cellularity_core.export.parquet import ParquetTable
from cellularity_core.export.pictures import (
    AREA_THRESHOLD,
    COLOURS,
    nuclei_maps,
    ome_tiff,
    overlay,
    png,
    rgb,
    strongest,
)
from cellularity_core.export.records import (
    DECIMALS,
    MOST_SHEETS,
    PURPOSE,
    SOFTWARE,
    document,
    file_stem,
    json_text,
    patch_record,
    provenance,
    provenance_text,
    scored_with,
)
from cellularity_core.export.tables import (
    DIGITS,
    NUCLEI_COLUMNS,
    PIXEL_DECIMALS,
    REASON_COLUMNS,
    columns,
    csv_text,
    feature_row,
    nuclei_rows,
    reason_columns,
    reason_row,
    row,
    safe_text,
)

__all__ = [
    "AREA_THRESHOLD",
    "COLOURS",
    "DECIMALS",
    "DIGITS",
    "MOST_SHEETS",
    "NUCLEI_COLUMNS",
    "PIXEL_DECIMALS",
    "PURPOSE",
    "REASON_COLUMNS",
    "SOFTWARE",
    "ParquetTable",
    "columns",
    "csv_text",
    "document",
    "feature_row",
    "file_stem",
    "geojson",
    "geojson_text",
    "json_text",
    "nuclei_maps",
    "nuclei_rows",
    "ome_tiff",
    "overlay",
    "patch_record",
    "png",
    "polygons",
    "provenance",
    "provenance_text",
    "reason_columns",
    "reason_row",
    "rgb",
    "row",
    "safe_text",
    "scored_with",
    "strongest",
]
