"""Results of tiles as maps, one pixel a tile, and as OME-TIFF."""

import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
import tifffile

from cellularity_core.conventions import CLASSES
from cellularity_core.export import SOFTWARE
from cellularity_core.slides.scoring import TileResult

Map = npt.NDArray[np.float32]

SMALLEST: Final = 32
"""Side below which a pyramid has no further level."""

TIFF_TILE: Final = (128, 128)


def maps_of(
    results: Iterable[TileResult], shape: tuple[int, int], methods: Sequence[str]
) -> dict[str, Map]:
    """Maps by name.

    Parameters
    ----------
    results : iterable of TileResult
    shape : tuple of int
        Rows and columns of the grid.
    methods : sequence of str

    Returns
    -------
    dict of str to ndarray of float32, shape `shape`
        Each method's score and, as "NAME interval width", high minus low of its 90 %
        interval, 0 to 1, where the tile is fit to score; nuclei of each class in a tile;
        "tissue", its share of a tile; "fit", 1 where a tile is fit to score and 0 where it
        is not. NaN elsewhere.
    """
    names = (
        *methods,
        *map(width_name, methods),
        *map(nuclei_name, CLASSES),
        "tissue",
        "fit",
    )
    maps = {name: np.full(shape, np.nan, np.float32) for name in names}
    for result in results:
        at = result.tile.row, result.tile.column
        maps["tissue"][at] = result.tissue
        if "no-tissue" in result.quality.flags:
            continue
        maps["fit"][at] = result.quality.reliable
        for name, count in result.counts.items():
            maps[nuclei_name(name)][at] = count
        if not result.quality.reliable:
            continue
        for method, score in result.scores.items():
            if score.value is not None and score.low is not None and score.high is not None:
                maps[method][at] = score.value
                maps[width_name(method)][at] = score.high - score.low
    return maps


def width_name(method: str) -> str:
    """Name of the map of a method's uncertainty."""
    return f"{method} interval width"


def nuclei_name(kind: str) -> str:
    """Name of the map of a class's nuclei."""
    return f"{kind} nuclei"


def write_ome_tiff(
    file: BinaryIO, maps: Mapping[str, Map], tile_um: float, name: str, note: str
) -> None:
    """Maps as the channels of one pyramid, float32; NaN where a map has no value.

    Half-sized levels are means of what values there are, for viewing.

    Parameters
    ----------
    file : binary file, open for writing
    maps : mapping of str to ndarray of float32, shape (h, w)
    tile_um : float
        Side of a pixel.
    name, note : str
        Name of the image and what to say of it.
    """
    level = np.stack(list(maps.values()))
    levels = [level]
    while max(levels[-1].shape[1:]) > SMALLEST:
        levels.append(_halved(levels[-1]))
    metadata: dict[str, Any] = {
        "axes": "CYX",
        "Name": name,
        "Description": note,
        "PhysicalSizeX": tile_um,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": tile_um,
        "PhysicalSizeYUnit": "µm",
        "Channel": {"Name": list(maps)},
        # of the content, so that the same maps give the same bytes
        "UUID": str(uuid.uuid5(uuid.NAMESPACE_OID, hashlib.sha256(level.tobytes()).hexdigest())),
        "Creator": SOFTWARE,
    }
    options: dict[str, Any] = {
        "photometric": "minisblack",
        "tile": TIFF_TILE,
        "compression": "zlib",
        "software": False,
    }
    with tifffile.TiffWriter(file, ome=True) as writer:
        writer.write(level, subifds=len(levels) - 1, metadata=metadata, **options)
        for smaller in levels[1:]:
            writer.write(smaller, subfiletype=1, metadata=None, **options)


def _halved(maps: Map) -> Map:
    """Means of 2 x 2 pixels, of those that have a value."""
    pad = [(0, 0), *((0, side % 2) for side in maps.shape[1:])]
    padded = np.pad(maps, pad, constant_values=np.nan)
    channels, height, width = padded.shape
    blocks = padded.reshape(channels, height // 2, 2, width // 2, 2)
    known = ~np.isnan(blocks)
    count = known.sum(axis=(2, 4))
    total = np.where(known, blocks, 0).sum(axis=(2, 4))
    mean = np.divide(total, count, where=count > 0, out=np.full(count.shape, np.nan))
    return np.asarray(mean, np.float32)
