"""From malignant nuclei to cellularity, by areas."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cellularity_core.classical.segmentation import WORK_MPP, Regions

Floats = npt.NDArray[np.float64]

CELL_RADII_UM: Final = (3.0, 4.5, 6.0)
"""Widths of cytoplasm that training chooses from."""


def cell_areas(regions: Regions, tissue: npt.NDArray[np.bool_]) -> Floats:
    """Area of the cell around each nucleus.

    From the paper: a cell's area is estimated from its nucleus, and cellularity
    from the area that malignant cells cover. Ours: a cell is its nucleus and the
    tissue within a width of it, nearer to it than to any other nucleus, so that
    the cells of a patch never overlap and their areas add up.

    Parameters
    ----------
    regions : ndarray of int32, shape (H, W)
        0 outside, 1 to n inside the nuclei.
    tissue : ndarray of bool, shape (H, W)

    Returns
    -------
    ndarray of float64, shape (n, len(CELL_RADII_UM))
        In um^2, for each width.
    """
    n = int(regions.max(initial=0))
    if n == 0:
        return np.empty((0, len(CELL_RADII_UM)))
    distance, nearest = ndimage.distance_transform_edt(regions == 0, return_indices=True)
    owner = regions[tuple(nearest)]
    columns = [
        np.bincount(owner[(distance * WORK_MPP <= radius) & tissue], minlength=n + 1)[1:]
        for radius in CELL_RADII_UM
    ]
    return np.asarray(np.column_stack(columns) * WORK_MPP**2, np.float64)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Straight line from the covered share of the tissue to cellularity.

    Attributes
    ----------
    slope, offset : float
    """

    slope: float
    offset: float

    def __call__(self, covered: npt.ArrayLike) -> Floats:
        """Cellularity, clipped to [0, 1]; NaN stays NaN."""
        return np.clip(self.offset + self.slope * np.asarray(covered, np.float64), 0.0, 1.0)


def calibrate(covered: npt.ArrayLike, truth: npt.ArrayLike) -> Calibration:
    """Least-squares line that does not fall.

    Ours; a published re-implementation of the paper corrects by a line as well
    (Pei et al., Comput Math Methods Med 2019:3041250).

    Parameters
    ----------
    covered, truth : array_like, shape (n,)
        Share of the tissue covered by cells called malignant, of patients that the
        classes were not learnt from, and their cellularity.

    Returns
    -------
    Calibration
        Constant at the mean of `truth` where `covered` does not vary or falls as
        it grows.
    """
    x, y = np.asarray(covered, np.float64), np.asarray(truth, np.float64)
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread if spread > 0 else 0.0
    slope = max(0.0, slope)
    return Calibration(slope, float(y.mean() - slope * x.mean()))
