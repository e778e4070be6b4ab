"""Nuclei and class areas as GeoJSON that QuPath opens."""

import json
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cellularity_core.conventions import CLASSES, CORNER
from cellularity_core.export.pictures import AREA_THRESHOLD, COLOURS, nuclei_maps, rgb, strongest
from cellularity_core.export.records import number, provenance
from cellularity_core.export.tables import nuclei_rows
from cellularity_core.results import PatchResult

Ring = list[list[float]]


SMALL: Final = 50
"""Pixels inside a ring below which its corners are kept, lest its area be off by 1 %."""

CUT: Final = 1 / 16
"""What is then cut off a corner, in pixels, so that rings still never touch."""


def geojson(result: PatchResult) -> dict[str, Any]:
    """Class areas as annotations and nuclei as point detections, for QuPath.

    Parameters
    ----------
    result : PatchResult
        With its maps; without them there are no areas.

    Returns
    -------
    dict
        A FeatureCollection. Coordinates are pixels of the image as given, x to the
        right, y down, (0, 0) the corner of the first pixel. An area is what
        `strongest` marks on the map that the nuclei were found on: one
        MultiPolygon a class, its rings closed, outer ones with a positive signed
        area and holes with a negative one. The member ``provenance``, which
        readers of GeoJSON pass over, says where all of it comes from; QuPath 0.5
        and later keeps that as the metadata of each area too.

    References
    ----------
    RFC 7946, sections 3.1.6 (rings), 6.1 (foreign members), with y down as all
    image software has it. QuPath 0.4: `objectType`, `classification`, `measurements`.
    """
    return {
        "type": "FeatureCollection",
        "provenance": provenance(result),
        "features": [*_areas(result), *_detections(result)],
    }


def geojson_text(result: PatchResult) -> str:
    """`geojson` as a file holds it, without the spaces that polygons would swell by."""
    text = json.dumps(geojson(result), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return f"{text}\n"


def polygons(mask: npt.NDArray[np.bool_]) -> list[list[Ring]]:
    """Outlines of a mask, halfway between its pixels and their neighbours.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)

    Returns
    -------
    list of polygons
        Each a closed outer ring and its holes. Corners are cut, so that pixels that
        touch at a corner only never make rings touch: a ring holds half a pixel less
        than what it outlines, or a hundredth of one where that is below `SMALL`.
    """
    import contourpy

    outlines = contourpy.contour_generator(
        z=np.pad(mask, 1).astype(np.float64), fill_type=contourpy.FillType.OuterOffset
    )
    # a padded grid, whose index 1 is the centre of the first pixel
    shapes = outlines.filled(0.5, np.inf)
    return [
        [_ring(points[first:last] - 1 + CORNER) for first, last in pairwise(offsets)]
        for points, offsets in zip(*shapes, strict=True)
    ]


def _ring(points: npt.NDArray[np.float64]) -> Ring:
    """A closed ring without the points in the middle of straight lines."""
    corners = points[:-1]
    after = np.roll(corners, -1, axis=0)
    doubled = (corners[:, 0] * after[:, 1] - after[:, 0] * corners[:, 1]).sum()
    if abs(doubled) < 2 * SMALL:
        corners = _squared(corners, after)
    into = corners - np.roll(corners, 1, axis=0)
    out_of = np.roll(corners, -1, axis=0) - corners
    kept = corners[into[:, 0] * out_of[:, 1] != into[:, 1] * out_of[:, 0]]
    closed: Ring = np.concatenate([kept, kept[:1]]).tolist()
    return closed


def _squared(
    start: npt.NDArray[np.float64], end: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Corners, with each slanting line between two sides of a pixel led along the sides."""
    corner = np.where(start % 1 == 0, start, end)  # sides of pixels are at whole numbers
    near = 1 - 2 * CUT
    points = np.stack([start, start + near * (corner - start), end + near * (corner - end)], axis=1)
    slants = (start != end).all(axis=1)
    kept: npt.NDArray[np.float64] = points[np.stack([slants | True, slants, slants], axis=1)]
    return kept


def _areas(result: PatchResult) -> list[dict[str, Any]]:
    maps = nuclei_maps(result)
    if maps is None:
        return []
    winner = strongest(maps, AREA_THRESHOLD)
    areas = []
    for k, name in enumerate(CLASSES):
        mask = winner == k
        pixels = int(mask.sum())
        if not pixels:
            continue
        measurements = {
            "Mask area px": pixels,
            "Mask area um^2": number(pixels * result.mpp**2),
            "Mask share of patch": number(pixels / mask.size),
        }
        geometry = {"type": "MultiPolygon", "coordinates": polygons(mask)}
        properties = _properties("annotation", name, measurements) | {
            "name": f"{name} area above {AREA_THRESHOLD:g}",
            "isLocked": True,
            "metadata": {key: str(value) for key, value in provenance(result).items()},
        }
        areas.append({"type": "Feature", "geometry": geometry, "properties": properties})
    return areas


def _detections(result: PatchResult) -> list[dict[str, Any]]:
    return [
        {
            "type": "Feature",
            "geometry": {
                "type": "Point",
                "coordinates": [round(nucleus[axis] + CORNER, 2) for axis in ("x", "y")],
            },
            "properties": _properties(
                "detection", nucleus["class"], {"probability": nucleus["probability"]}
            ),
        }
        for nucleus in nuclei_rows(result)
    ]


def _properties(kind: str, name: str, measurements: dict[str, Any]) -> dict[str, Any]:
    return {
        "objectType": kind,
        "classification": {"name": name, "color": list(rgb(COLOURS[name]))},
        "measurements": measurements,
    }
