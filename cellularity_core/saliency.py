"""Where in a patch a network finds its score: a score for every place, put back on the patch.

A network that averages the scores of places says itself where its score comes from, and
nothing has to be estimated by gradients. Cellularity is a share of the tissue, so the score
of a patch is the mean of its places by their tissue: bare glass counts for nothing, and
where tiles overlap a place still counts once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from cellularity_core.conventions import MALIGNANT
from cellularity_core.masks import TERRITORY_RADIUS_UM, draw_discs
from cellularity_core.results import Nuclei
from cellularity_core.tiling import STRIDE, Tile

CELL: Final = STRIDE // 2
"""Side of a cell of a map, in pixels of the network: places of tiles meet at its edges
or within half of it."""

FIELD_UM: Final = 25.0
"""How far a place looks: standard deviation of the squared gradient of a place's score.
The cascade of breast-1 gave 25.4 um, its direct networks 25.6 and 24.0 um (6 patches of
BRCA-M2C, 3 places each). Their maps fit annotated tumour best where they lie."""

DRAWN_MPP: Final = 1.0
"""um per pixel at which the territory of nuclei is drawn."""

Grid = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class PlaceMap:
    """Scores of the places of one patch by one network, on square cells.

    Attributes
    ----------
    values : ndarray of float64, shape (rows, columns)
        Score of each cell, in [0, 1].
    weights : ndarray of float64, shape (rows, columns)
        Share of each cell in the mean: its part of the tissue; they sum to 1.
    cell : float
        Side of a cell in pixels of the patch as given. The first begins at the patch's
        upper left corner; the last row and column may reach beyond its end.
    """

    values: Grid
    weights: Grid
    cell: float

    @property
    def mean(self) -> float:
        """Weighted mean of the values: the network's score, before any `calibration`."""
        return float((self.weights * self.values).sum())

    def on(self, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
        """The values on a patch's pixels, without steps between cells.

        Parameters
        ----------
        shape : tuple of int
            Height and width of the patch as given.

        Returns
        -------
        ndarray of float32, shape `shape`
        """
        rows, columns = (
            ((np.arange(side) + 0.5) / self.cell - 0.5).astype(np.float32) for side in shape
        )
        x, y = np.meshgrid(columns, rows)
        values = self.values.astype(np.float32)
        drawn = cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(drawn, np.float32)


def place_map(
    tiles: Sequence[Tile],
    places: Sequence[npt.NDArray[np.floating]],
    tissue: Grid,
    *,
    padded: Sequence[tuple[int, int]],
    factor: float,
) -> PlaceMap:
    """Put the places of tiles back on their patch.

    What a place sees beyond the patch is its own reflection, so that part of it counts for
    the pixels that were reflected.

    Parameters
    ----------
    tiles : sequence of Tile
        Of the patch, in pixels of the network.
    places : sequence of ndarray, shape (h, w)
        Scores of the places of each tile.
    tissue : ndarray of float64, shape (rows, columns)
        `tissue_cells` of the patch.
    padded : sequence of (int, int)
        Height and width of each tile as the network saw it.
    factor : float
        Pixels of the network per pixel of the patch as given.

    Returns
    -------
    PlaceMap
        Its `mean` is the score of the patch.
    """
    total, seen = np.zeros((2, *tissue.shape))
    for tile, found, (tall, wide) in zip(tiles, places, padded, strict=True):
        down = _spread(found.shape[0], tile.top, tile.height, tall, tissue.shape[0])
        across = _spread(found.shape[1], tile.left, tile.width, wide, tissue.shape[1])
        total += down.T @ found.astype(np.float64) @ across
        seen += np.outer(down.sum(axis=0), across.sum(axis=0))
    return PlaceMap(total / seen, tissue / tissue.sum(), CELL / factor)


def tissue_cells(tissue: npt.NDArray[np.bool_]) -> Grid:
    """Pixels of tissue in each cell; of the whole cell in each where there is none at all.

    Parameters
    ----------
    tissue : ndarray of bool, shape (H, W)
        Of a patch, in pixels of the network.

    Returns
    -------
    ndarray of float64, shape (ceil(H / CELL), ceil(W / CELL))
    """
    counted = tissue if tissue.any() else np.ones_like(tissue)
    padded = np.pad(counted, [(0, -side % CELL) for side in counted.shape])
    rows, columns = (side // CELL for side in padded.shape)
    cells: Grid = padded.reshape(rows, CELL, columns, CELL).sum(axis=(1, 3), dtype=np.float64)
    return cells


def _spread(places: int, start: int, extent: int, padded: int, cells: int) -> Grid:
    """Share of each place of one axis that lies in each cell, shape (places, cells)."""
    pixel = np.pad(np.arange(extent), (0, padded - extent), mode="symmetric") + start
    # A network whose padding depends on the side has its places about the middle.
    stride = 2 ** round(np.log2(padded / places))
    begin = (padded - places * stride) / 2
    place = ((np.arange(padded) + 0.5 - begin) // stride).astype(int).clip(0, places - 1)
    count = np.zeros((places, cells))
    np.add.at(count, (place, pixel // CELL), 1.0)
    share: Grid = count / count.sum(axis=1, keepdims=True) / places
    return share


def covered(nuclei: Nuclei, mpp: float, like: PlaceMap) -> Grid:
    """Share of each cell within 10 um of a malignant nucleus.

    Parameters
    ----------
    nuclei : Nuclei
    mpp : float
        um per pixel of the patch as given.
    like : PlaceMap
        Of the same patch: whose cells.

    Returns
    -------
    ndarray of float64, shape of ``like.values``
        The area that "weak TC" counts (METHODS 9), cell by cell.
    """
    side = like.cell * mpp / DRAWN_MPP
    rows, columns = like.values.shape
    malignant = nuclei.xy[nuclei.label == MALIGNANT].astype(np.float64)
    drawn = draw_discs(
        (malignant + 0.5) * mpp / DRAWN_MPP - 0.5,
        (int(np.ceil(rows * side)), int(np.ceil(columns * side))),
        2 * TERRITORY_RADIUS_UM / DRAWN_MPP,
    ).astype(np.float64)
    for axis, count in enumerate((rows, columns)):
        starts = np.rint(np.arange(count) * side).astype(np.int64)
        sums = np.add.reduceat(drawn, starts, axis=axis)
        widths = np.diff(starts, append=drawn.shape[axis])
        drawn = sums / (widths[:, None] if axis == 0 else widths)
    return drawn


def as_seen(grid: Grid, mpp: float, like: PlaceMap) -> Grid:
    """A grid of cells blurred to what a place can tell apart (`FIELD_UM`)."""
    sigma = FIELD_UM / (like.cell * mpp)
    blurred = cv2.GaussianBlur(grid, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, np.float64)
