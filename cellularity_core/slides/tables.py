"""Tiles of a slide as CSV, Parquet and GeoJSON, a few rows in memory at a time."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, BinaryIO, Final

from cellularity_core.conventions import CLASSES
from cellularity_core.export import DECIMALS, csv_text
from cellularity_core.slides.scoring import TileResult

ROWS: Final = 512
"""Rows written at a time."""

UNFIT: Final = {"name": "not fit to score", "color": [128, 128, 128]}
"""QuPath's class of tiles whose scores must not be relied on."""

PLACE: Final = ("row", "column", "x", "y", "width", "height")

Share = float | None


About = Mapping[str, str | int]
"""What is the same of all tiles: the slide, and what scored it."""


def columns(methods: Sequence[str], about: About) -> list[str]:
    """Columns of the table of tiles; `about` holds what is the same in every row."""
    limits = [f"{method}{end}" for method in methods for end in ("", "_low", "_high")]
    return [*PLACE, "tissue", "region", *limits, *CLASSES, "flags", "reliable", *about]


def rows(results: Iterable[tuple[TileResult, Share]], about: About) -> Iterator[dict[str, Any]]:
    """Tiles as rows of `columns`.

    Parameters
    ----------
    results : iterable of (TileResult, float or None)
        With the share of the tile that lies in the region drawn, None where there is none.
    about : mapping of str to str or int
    """
    for result, share in results:
        row: dict[str, Any] = {name: getattr(result.tile, name) for name in PLACE}
        row |= {"tissue": _rounded(result.tissue), "region": _rounded(share)}
        for method, score in result.scores.items():
            row[method] = _rounded(score.value)
            row[f"{method}_low"] = _rounded(score.low)
            row[f"{method}_high"] = _rounded(score.high)
        row |= result.counts
        row |= {"flags": ";".join(result.quality.flags), "reliable": result.quality.reliable}
        yield row | dict(about)


def write_csv(file: BinaryIO, entries: Iterable[dict[str, Any]], names: Sequence[str]) -> None:
    """Rows as CSV, under a line of their names."""
    file.write(csv_text([], names).encode())
    for group in _groups(entries):
        file.write(csv_text(group, names, header=False).encode())


def write_parquet(file: BinaryIO, entries: Iterable[dict[str, Any]], names: Sequence[str]) -> None:
    """Rows as Parquet."""
    import pyarrow as pa
    from pyarrow import parquet

    kinds = dict.fromkeys((*PLACE, *CLASSES, "views"), pa.int32()) | {"reliable": pa.bool_()}
    numbers = {"tissue", "region"} | {n for n in names if f"{n}_low" in names or n.endswith("_low")}
    numbers |= {name for name in names if name.endswith("_high")}
    kinds |= dict.fromkeys(numbers, pa.float64())
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in names])
    with parquet.ParquetWriter(file, schema) as writer:
        for group in _groups(entries):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))


def write_geojson(
    file: BinaryIO, results: Iterable[tuple[TileResult, Share]], about: About
) -> None:
    """Tiles with tissue as GeoJSON that QuPath imports as tile objects with measurements.

    Coordinates are pixels of level 0. Where a tile is not fit to score its class says so
    and it has no scores.
    """
    head = json.dumps({"type": "FeatureCollection", "cellularity": dict(about)})
    file.write(f'{head[:-1]}, "features": ['.encode())
    mark = "\n"
    for result, share in results:
        if "no-tissue" not in result.quality.flags:
            feature = json.dumps(_feature(result, share, str(about["scale"])), allow_nan=False)
            file.write(f"{mark}{feature}".encode())
            mark = ",\n"
    file.write(b"\n]}\n")


def _feature(result: TileResult, share: Share, scale: str) -> dict[str, Any]:
    tile, reliable = result.tile, result.quality.reliable
    left, top, right, bottom = tile.x, tile.y, tile.x + tile.width, tile.y + tile.height
    measured = {
        f"{method}{end}": _rounded(value)
        for method, score in result.scores.items()
        for end, value in (("", score.value), (" low", score.low), (" high", score.high))
        if reliable and value is not None
    }
    measured |= {f"{name} nuclei": count for name, count in result.counts.items()}
    measured["tissue"] = _rounded(result.tissue)
    if share is not None:
        measured["region"] = _rounded(share)
    properties: dict[str, Any] = {
        "objectType": "tile",
        "measurements": measured,
        "metadata": {"scale": scale, "flags": ";".join(result.quality.flags)},
    }
    if not reliable:
        properties["classification"] = UNFIT
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": properties,
    }


def _groups(entries: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    left = iter(entries)
    while group := list(islice(left, ROWS)):
        yield group


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DECIMALS)
