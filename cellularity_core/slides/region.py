"""Regions drawn on a slide, such as the tumour bed, from GeoJSON as QuPath writes it."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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

NOT_DRAWN: Final = ("tile", "detection", "cell")
"""Objects of QuPath that are results, not outlines."""

IGNORED: Final = "*"
"""What ends the names of the classes that QuPath leaves out of its own measurements."""

UNCLASSIFIED: Final = "no class"

SMALLEST: Final = 64
"""Longer side of the smallest region, in pixels: as of the smallest patch."""

MOST_NAMED: Final = 8
"""Classes that an error names, at most."""

_BED: Final = re.compile(r"(tumou?r[ _-]*)?bed", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Outlines:
    """What a file says the region is.

    Attributes
    ----------
    region : shapely Polygon or MultiPolygon
        Union of the outlines, in pixels of level 0.
    count : int
        Outlines in it.
    kind : str
        Their class in QuPath, or `UNCLASSIFIED`.
    file : str
        Name of the file.
    slides : tuple of str
        Slides that the file says they were drawn on, if it does.
    """

    region: BaseGeometry
    count: int
    kind: str
    file: str
    slides: tuple[str, ...] = ()

    def notes(self, slide: str) -> list[str]:
        """What the user must read before the region is taken for that of a slide."""
        others = [safe_name(name) for name in self.slides if name != slide]
        return [
            f"The outline in {self.file} says that it was drawn on {name}, and this slide is "
            f"{slide}; unless they are the same slide, the region is wrong."
            for name in others[:1]
        ]


def read_outlines(path: Path, width: int, height: int) -> Outlines:
    """The region in a GeoJSON file, as `outlines_in` finds it, holes left out.

    Parameters
    ----------
    path : Path
        A feature collection, a list of features, a feature or a geometry; coordinates in
        pixels of level 0. Points and lines in it are passed over.
    width, height : int
        Of the slide, in pixels of level 0.

    Returns
    -------
    Outlines
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
    return outlines_in(text, name, width, height)


def outlines_in(text: bytes, name: str, width: int, height: int) -> Outlines:
    """Union of the outlines of one class in the text of a GeoJSON file.

    Tiles, detections and cells are passed over, and so are classes that QuPath ignores
    (`IGNORED`). Of several classes the one named "tumour bed", "tumor bed" or "bed" is
    taken; without one the file is refused, since nobody but its author knows which is
    meant. An outline that crosses itself counts with all that it encloses.

    Parameters
    ----------
    text : bytes
        UTF-8, as in `read_outlines`.
    name : str
        What errors call it.
    width, height : int
        Of the slide, in pixels of level 0.

    Returns
    -------
    Outlines
        Within the slide.

    Raises
    ------
    SlideError
        If it holds no polygon, polygons of several classes of which none is the bed, or they
        do not lie on the slide or are smaller than `SMALLEST`.
    """
    try:
        drawn = list(_areas(json.loads(text.decode("utf-8-sig"))))
        kind, areas, slides = _of_one_class(drawn, name)
        with np.errstate(invalid="ignore"):  # said below
            polygons = [shape(geometry) for geometry in areas]
        if not (np.abs(shapely.get_coordinates(polygons)) <= FARTHEST).all():
            raise ValueError("coordinates are no pixels")
        region = shapely.union_all([_enclosed(polygon) for polygon in polygons])
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
    x0, y0, x1, y1 = here.bounds
    if max(x1 - x0, y1 - y0) < SMALLEST:
        raise SlideError(
            f"The region in {name} is {x1 - x0:.3g} x {y1 - y0:.3g} pixels, too small for a bed; "
            "give its outline in pixels of the slide's full resolution, not in mm or shares."
        )
    return Outlines(here, len(areas), kind, name, slides)


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


def _enclosed(shape: BaseGeometry) -> BaseGeometry:
    """All that the outlines of a polygon enclose, but for its holes.

    The usual mending counts what an outline goes round twice as outside, so that one which
    was traced twice lost nearly all of its area.
    """
    if shape.is_valid:
        return shape

    def within(ring: BaseGeometry) -> BaseGeometry:
        noded = shapely.node(shapely.LineString(shapely.get_coordinates(ring)))
        return shapely.union_all(shapely.get_parts(shapely.polygonize([noded])))

    return shapely.union_all(
        [
            within(part.exterior).difference(shapely.union_all([*map(within, part.interiors)]))
            for part in shapely.get_parts(shape)
        ]
    )


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A polygon or multipolygon, its class and the slide it is said to lie on."""

    geometry: dict[str, Any]
    kind: str = UNCLASSIFIED
    slide: str | None = None


def _of_one_class(
    drawn: Iterable[_Drawn], name: str
) -> tuple[str, list[dict[str, Any]], tuple[str, ...]]:
    """The class that is the region, its geometries, and the slides they are said to lie on."""
    kept = [one for one in drawn if not one.kind.endswith(IGNORED)]
    kinds = list(dict.fromkeys(one.kind for one in kept))
    beds = [kind for kind in kinds if _BED.fullmatch(kind.strip())]
    if len(kinds) > 1 and len(beds) != 1:
        told = ", ".join(f"'{kind[:64]}'" for kind in kinds[:MOST_NAMED])
        raise SlideError(
            f"{name} holds outlines of several classes ({told}), and none alone is named tumour "
            "bed; export the outline of the bed alone, or give it the class 'Tumour bed' in QuPath."
        )
    kind = (beds or kinds or [UNCLASSIFIED])[0]
    chosen = [one for one in kept if one.kind == kind]
    slides = dict.fromkeys(one.slide for one in chosen if one.slide)
    return kind, [one.geometry for one in chosen], tuple(slides)


def _areas(content: Any, kind: str = UNCLASSIFIED, slide: str | None = None) -> Iterator[_Drawn]:
    """Polygons and multipolygons that were drawn, anywhere in GeoJSON."""
    if isinstance(content, list):
        for item in content:
            yield from _areas(item, kind, slide)
    elif content["type"] == "FeatureCollection":
        yield from _areas(content["features"])
    elif content["type"] == "GeometryCollection":
        yield from _areas(content["geometries"], kind, slide)
    elif content["type"] == "Feature":
        about = content.get("properties") or {}
        if content["geometry"] is not None and about.get("objectType") not in NOT_DRAWN:
            lies_on = (about.get("metadata") or {}).get("slide")
            yield from _areas(
                content["geometry"],
                _class_in(about.get("classification")),
                None if lies_on is None else str(lies_on),
            )
    elif content["type"] in _AREAS:
        yield _Drawn(content, kind, slide)


def _class_in(classification: Any) -> str:
    """Name of a class as QuPath writes it; older and newer versions differ."""
    if not classification:
        return UNCLASSIFIED
    if isinstance(classification, str):
        return classification
    names = classification.get("names") or [classification.get("name") or UNCLASSIFIED]
    return ": ".join(map(str, names))
