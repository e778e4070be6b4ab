"""Synthetic whole slides: a test bench for what reads and scores slides, never evidence.

A mosaic of a few synthetic patches and of empty glass, written as a tiled pyramid strip by
strip, so that a slide may be larger than memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tifffile

from cellularity_core.conventions import DEFAULT_MPP
from cellularity_core.resample import resize
from cellularity_core.synthetic import GLASS, synthesise

CELL: Final = 512
"""Side of a piece of the mosaic at full resolution, in pixels."""

TIFF_TILE: Final = 256
DOWNSAMPLES: Final = (1, 4, 16)
KINDS: Final = 4
QUALITY: Final = 85
"""Of the JPEG compression."""

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Mosaic:
    """What a synthetic slide shows.

    Attributes
    ----------
    side : int
        Of the slide at full resolution, in pixels.
    kinds : ndarray of int, shape (n, n)
        Piece at each place; 0 is glass.
    pieces : tuple of ndarray of uint8, shape (CELL, CELL, 3)
    """

    side: int
    kinds: npt.NDArray[np.intp]
    pieces: tuple[Pixels, ...]

    @classmethod
    def made(
        cls, side: int, mpp: float = DEFAULT_MPP, tissue: float = 1.0, seed: int = 0
    ) -> "Mosaic":
        """Tissue over a share of a slide, around its middle.

        Parameters
        ----------
        side : int
            In pixels.
        mpp : float
            um per pixel.
        tissue : float
            Share of the slide, 0 to 1.
        seed : int
        """
        rng = np.random.default_rng(seed)
        count = -(-side // CELL)
        kinds = rng.integers(1, KINDS + 1, (count, count))
        middle = np.arange(count) - (count - 1) / 2
        away = np.hypot(middle[:, None], middle[None])
        order = np.argsort(away, axis=None, kind="stable")
        kinds.ravel()[order[round(tissue * kinds.size) :]] = 0
        glass = np.asarray(GLASS) + rng.standard_normal((CELL, CELL, 3))
        pieces = (np.rint(glass).clip(0, 255).astype(np.uint8), *_tissues(seed, mpp))
        return cls(side, kinds, pieces)

    def block(self, top: int, left: int, size: int, downsample: int = 1) -> Pixels:
        """A square of the slide at a level; positions and size in pixels of that level.

        Beyond the mosaic it repeats glass.
        """
        cell = CELL // downsample
        first = top // cell, left // cell
        last = -(-(top + size) // cell), -(-(left + size) // cell)
        rows = []
        for row in range(first[0], last[0]):
            pieces = [self._piece(row, column, cell) for column in range(first[1], last[1])]
            rows.append(np.concatenate(pieces, axis=1))
        whole = np.concatenate(rows)
        y, x = top - first[0] * cell, left - first[1] * cell
        return np.ascontiguousarray(whole[y : y + size, x : x + size])

    def _piece(self, row: int, column: int, cell: int) -> Pixels:
        inside = row < len(self.kinds) and column < len(self.kinds)
        return resize(self.pieces[int(self.kinds[row, column]) if inside else 0], (cell, cell))


@lru_cache(maxsize=4)
def _tissues(seed: int, mpp: float) -> tuple[Pixels, ...]:
    return tuple(synthesise(seed + k, CELL, 0.15 + 0.2 * k, mpp).pixels for k in range(KINDS))


def write_synthetic_slide(path: Path, mosaic: Mosaic, mpp: float | None = DEFAULT_MPP) -> None:
    """Write a mosaic as a tiled TIFF with a pyramid, JPEG compressed, as scanners do.

    Parameters
    ----------
    path : Path
    mosaic : Mosaic
    mpp : float, optional
        um per pixel that the file states; nothing where it is None.
    """
    options: dict[str, Any] = {
        "tile": (TIFF_TILE, TIFF_TILE),
        "compression": "jpeg",
        "compressionargs": {"level": QUALITY},
        "photometric": "rgb",
        "metadata": None,
        "software": False,
        "dtype": np.uint8,
    }
    with tifffile.TiffWriter(path, bigtiff=mosaic.side > 2**15) as writer:
        for downsample in DOWNSAMPLES:
            side = mosaic.side // downsample
            if mpp is not None:
                per_cm = 1e4 / (mpp * downsample)
                options |= {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
            writer.write(
                _tiles(mosaic, side, downsample),
                shape=(side, side, 3),
                subfiletype=int(downsample > 1),
                **options,
            )


def _tiles(mosaic: Mosaic, side: int, downsample: int) -> Iterator[Pixels]:
    for top in range(0, side, TIFF_TILE):
        for left in range(0, side, TIFF_TILE):
            yield mosaic.block(top, left, TIFF_TILE, downsample)
