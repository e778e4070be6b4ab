"""Cutting a large patch into the network's field, and blending what comes back."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from cellularity_core.masks import tissue_mask

FIELD: Final = 512
"""Side of a tile, in pixels of the network."""

WHOLE: Final = 640
"""A patch whose sides are at most this goes through the network in one piece."""

OVERLAP: Final = 128
"""Least overlap of neighbouring tiles, in pixels of the network."""

STRIDE: Final = 32
SMALLEST: Final = 128


@dataclass(frozen=True, slots=True)
class Tile:
    """A rectangle of the patch: rows and columns ``[top, top + height)`` and so on."""

    top: int
    left: int
    height: int
    width: int


def plan(height: int, width: int) -> list[Tile]:
    """Tiles that cover an image, evenly placed; one tile where it fits.

    Parameters
    ----------
    height, width : int
        Of the image, in pixels of the network.

    Returns
    -------
    list of Tile
    """
    if max(height, width) <= WHOLE:
        return [Tile(0, 0, height, width)]
    rows, tall = _starts(height)
    columns, wide = _starts(width)
    return [Tile(top, left, tall, wide) for top in rows for left in columns]


def _starts(extent: int) -> tuple[list[int], int]:
    if extent <= FIELD:
        return [0], extent
    count = int(np.ceil((extent - OVERLAP) / (FIELD - OVERLAP)))
    return [round(k * (extent - FIELD) / max(1, count - 1)) for k in range(count)], FIELD


def cut(pixels: npt.NDArray[np.uint8], tile: Tile, stride: int = STRIDE) -> npt.NDArray[np.uint8]:
    """A tile, padded by reflection at the bottom and right to what the network takes.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
    tile : Tile
    stride : int
        Sides become multiples of it. A network that gives a score and no map takes any
        side, and its score is to be of the tissue alone: 1.

    Returns
    -------
    ndarray of uint8, shape (h, w, 3)
        h and w multiples of `stride`, at least 128.
    """
    piece = pixels[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]
    pad = [(0, all_ - side) for all_, side in zip(padded(tile, stride), piece.shape, strict=False)]
    if any(after for _, after in pad):
        piece = np.pad(piece, [*pad, (0, 0)], mode="symmetric")
    return np.ascontiguousarray(piece)


def padded(tile: Tile, stride: int = STRIDE) -> tuple[int, int]:
    """Height and width of a tile as `cut` gives it."""
    height, width = (max(SMALLEST, -(-n // stride) * stride) for n in (tile.height, tile.width))
    return height, width


def tissue_shares(
    pixels: npt.NDArray[np.uint8], tiles: Sequence[Tile], mpp: float
) -> npt.NDArray[np.float64]:
    """Share of each tile in the score of the patch, shape (n,): its tissue; they sum to 1."""
    if len(tiles) == 1:
        return np.ones(1)
    tissue = tissue_mask(pixels, mpp)
    area = np.array(
        [tissue[t.top : t.top + t.height, t.left : t.left + t.width].sum() for t in tiles],
        float,
    )
    return area / area.sum() if area.sum() > 0 else np.full(len(area), 1 / len(area))


def blend(
    maps: Iterable[tuple[Tile, npt.NDArray[np.float32]]], height: int, width: int
) -> npt.NDArray[np.float32]:
    """Join the maps of tiles; where they overlap, each fades towards its edge.

    Parameters
    ----------
    maps : iterable of (Tile, ndarray of float32, shape (C, h, w))
        Maps as the network gave them, padding included.
    height, width : int
        Of the whole.

    Returns
    -------
    ndarray of float32, shape (C, height, width)
    """
    pairs = list(maps)
    if len(pairs) == 1:
        return pairs[0][1][:, :height, :width]
    total = np.zeros((len(pairs[0][1]), height, width), np.float32)
    weight = np.zeros((height, width), np.float32)
    for tile, values in pairs:
        fade = np.outer(_fade(tile.height), _fade(tile.width)).astype(np.float32)
        rows = slice(tile.top, tile.top + tile.height)
        columns = slice(tile.left, tile.left + tile.width)
        total[:, rows, columns] += values[:, : tile.height, : tile.width] * fade
        weight[rows, columns] += fade
    return total / weight


def _fade(side: int) -> npt.NDArray[np.float64]:
    edge = np.minimum(np.arange(side), np.arange(side)[::-1]) + 1
    return np.minimum(edge / OVERLAP, 1.0)
