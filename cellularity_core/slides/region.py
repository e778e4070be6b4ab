"""Regions drawn on a slide, such as the tumour bed, from GeoJSON as QuPath writes it."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from shapely.geometry import mapping, shape
from shapely.geometry.base import BaseGeometry

from cellularity_core.archive import safe_name
from cellularity_core.errors import SlideError
from cellularity_core.slides.grid import Tile

MAX_BYTES: Final = 100_000_000

FARTHEST: Final = 1e8
"""Largest coordinate that is believed, in pixels; slides are a thousandth of it."""

INSIDE: Final = 0.99
"""Share of a region that lies on its slide, at least; less points to another scale."""

_AREAS: Final = ("Polygon", "MultiPolygon")


def read_region(path: Path, width: int, height: int) -> BaseGeometry:
    """Union of the polygons in a GeoJSON file, holes left out.

    Parameters
    ----------
    path : Path
        A feature collection, a list of features, a feature or a geometry; coordinates in
        pixels of level 0. Points and lines in it are passed over.
    width, height : int
        Of the slide, in pixels of level 0.

    Returns
    -------
    shapely Polygon or MultiPolygon
        Within the slide.

    Raises
    ------
    SlideError
        If the file holds no polygon, or they do not lie on the slide.
    """
    name = safe_name(path.name)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SlideError(f"{name} is too large for a drawn region; export the outline alone.")
        text = path.read_bytes()
    except OSError as error:
        raise SlideError(f"{name} cannot be read ({error.strerror}); check its path.") from None
    return region_in(text, name, width, height)


def region_in(text: bytes, name: str, width: int, height: int) -> BaseGeometry:
    """Union of the polygons in the text of a GeoJSON file.

    Parameters
    ----------
    text : bytes
        UTF-8, as in `read_region`.
    name : str
        What errors call it.
    width, height : int
        Of the slide, in pixels of level 0.

    Returns
    -------
    shapely Polygon or MultiPolygon
        Within the slide.

    Raises
    ------
    SlideError
        If it holds no polygon, or they do not lie on the slide.
    """
    try:
        areas = list(_areas(json.loads(text.decode("utf-8-sig"))))
        with np.errstate(invalid="ignore"):  # said below
            polygons = [shape(geometry) for geometry in areas]
        if not (np.abs(shapely.get_coordinates(polygons)) <= FARTHEST).all():
            raise ValueError("coordinates are no pixels")
        region = shapely.union_all([shapely.make_valid(polygon) for polygon in polygons])
    except (
        *(ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError),
        *(RecursionError, shapely.errors.ShapelyError),
    ) as error:
        raise SlideError(
            f"{name} is not GeoJSON with polygons ({type(error).__name__}); export the "
            "annotation from QuPath as GeoJSON."
        ) from None
    if region.area == 0:
        raise SlideError(
            f"{name} holds no polygon with an area; draw the tumour bed as a closed outline and "
            "export it as GeoJSON."
        )
    here = _polygonal(region.intersection(shapely.box(0, 0, width, height)))
    if here.area < INSIDE * region.area:
        where = "outside" if here.area == 0 else f"by {1 - here.area / region.area:.0%} outside"
        x0, y0, x1, y1 = (f"{edge:.0f}" for edge in region.bounds)
        raise SlideError(
            f"The region in {name} (x {x0} to {x1}, y {y0} to {y1}) lies {where} the slide of "
            f"{width} x {height} pixels; export it from this slide, in pixels of its full "
            "resolution."
        )
    return here


def region_geojson(region: BaseGeometry, name: str, slide: str) -> str:
    """A region as an annotation that QuPath imports.

    Parameters
    ----------
    region : shapely geometry
        Coordinates in pixels of level 0.
    name : str
        Of its class in QuPath.
    slide : str
        Name of the slide that it lies on.
    """
    feature = {
        "type": "Feature",
        "geometry": mapping(region),
        "properties": {
            "objectType": "annotation",
            "classification": {"name": name},
            "metadata": {"slide": slide},
        },
    }
    return json.dumps({"type": "FeatureCollection", "features": [feature]}, allow_nan=False)


def covered(region: BaseGeometry, tiles: Iterable[Tile]) -> Iterator[float]:
    """Share of each tile that lies in a region, 0 to 1."""
    shapely.prepare(region)
    for tile in tiles:
        box = shapely.box(tile.x, tile.y, tile.x + tile.width, tile.y + tile.height)
        if region.contains(box):
            yield 1.0
        else:
            yield region.intersection(box).area / box.area if region.intersects(box) else 0.0


def region_checksum(region: BaseGeometry) -> str:
    """SHA-256 of a region's outline."""
    return hashlib.sha256(shapely.normalize(region).wkb).hexdigest()


def _polygonal(region: BaseGeometry) -> BaseGeometry:
    """A region without the lines and points that a mended outline may leave behind."""
    if not isinstance(region, shapely.GeometryCollection) or isinstance(
        region, shapely.MultiPolygon
    ):
        return region
    parts = shapely.get_parts(shapely.get_parts(region))
    return shapely.union_all([part for part in parts if part.area > 0])


def _areas(content: Any) -> Iterator[dict[str, Any]]:
    """Polygons and multipolygons anywhere in GeoJSON."""
    if isinstance(content, list):
        for item in content:
            yield from _areas(item)
    elif content["type"] == "FeatureCollection":
        yield from _areas(content["features"])
    elif content["type"] == "GeometryCollection":
        yield from _areas(content["geometries"])
    elif content["type"] == "Feature":
        if content["geometry"] is not None:
            yield from _areas(content["geometry"])
    elif content["type"] in _AREAS:
        yield content
