"""Where the tiles of a slide lie."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from cellularity_core.conventions import DEFAULT_MPP, SIDE_RANGE

TILE_PX: Final = 512
"""Side of a tile at `DEFAULT_MPP`: the patch of 256 um that readers score."""

TILE_UM: Final = TILE_PX * DEFAULT_MPP

CELLS: Final = (32, 64, 128)
"""Pixels of the overview along a tile, 8 to 2 um each: the fewest that show a slide well."""

OVERVIEW_PX: Final = 800
"""Longer side from which an overview shows a slide well."""


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """A rectangle of a slide.

    Attributes
    ----------
    row, column : int
        Place in the grid; a map has one pixel there.
    x, y, width, height : int
        In pixels of level 0.
    """

    row: int
    column: int
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Grid:
    """Tiles that cover a slide without gap or overlap.

    Attributes
    ----------
    x_edges, y_edges : tuple of int
        Limits of columns and rows in pixels of level 0, from 0 to the slide's size.
    cells : int
        Pixels of the overview along a tile.
    pitch : float
        Pixels of level 0 along a pixel of the overview.
    """

    x_edges: tuple[int, ...]
    y_edges: tuple[int, ...]
    cells: int
    pitch: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns: the shape of a map."""
        return len(self.y_edges) - 1, len(self.x_edges) - 1

    def tile(self, row: int, column: int) -> Tile:
        """The tile at a place."""
        x, y = self.x_edges[column], self.y_edges[row]
        return Tile(row, column, x, y, self.x_edges[column + 1] - x, self.y_edges[row + 1] - y)

    def covered(self, mask: npt.NDArray[np.bool_], share: float) -> list[Tile]:
        """Tiles of which at least a share is marked, row by row.

        Parameters
        ----------
        mask : ndarray of bool, shape (h, w)
            On the slide's overview.
        share : float
        """
        down, across = (
            [*(self.cells * k for k in range(count)), side]
            for count, side in zip(self.shape, mask.shape, strict=True)
        )
        return [
            self.tile(row, column)
            for row in range(self.shape[0])
            for column in range(self.shape[1])
            if mask[down[row] : down[row + 1], across[column] : across[column + 1]].mean() >= share
        ]


def grid(width: int, height: int, side: float, step: float) -> Grid:
    """Cover a slide with tiles.

    What is left over at the right and at the bottom is a smaller tile, or widens the
    last one where it is too small for a patch.

    Parameters
    ----------
    width, height : int
        Of the slide, in pixels of level 0.
    side : float
        Of a tile, likewise.
    step : float
        Pixels of level 0 along a pixel of the level that is read; tiles begin on whole ones.
    """
    least = SIDE_RANGE[0] / TILE_PX * side
    edges = [_edges(extent, side, step, least) for extent in (width, height)]
    longer = max(width, height) / side
    cells = next((n for n in CELLS if n * longer >= OVERVIEW_PX), CELLS[-1])
    return Grid(edges[0], edges[1], cells, side / cells)


def _edges(extent: int, side: float, step: float, least: float) -> tuple[int, ...]:
    count = max(1, int(np.ceil((extent - least) / side)))
    return (*(round(round(k * side / step) * step) for k in range(count)), extent)
