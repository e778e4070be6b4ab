"""Size and form of each nucleus."""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from cellularity_core.classical.segmentation import WORK_MPP, Regions

Floats = npt.NDArray[np.float64]

SHAPE_NAMES: Final = (
    "area",
    "perimeter",
    "roundness",
    "long axis",
    "short axis",
    "eccentricity",
    "solidity",
)


def centres(regions: Regions) -> Floats:
    """Centre of gravity ``(x, y)`` of each nucleus in pixels, shape (n, 2)."""
    mass, x, y = _sums(regions)
    return np.column_stack([x, y]) / mass[:, None]


def shape_features(regions: Regions) -> Floats:
    """`SHAPE_NAMES` of each nucleus.

    Area in um^2; perimeter in um, by Cauchy and Crofton from the pixel sides in
    two directions, ``pi / 4`` each; roundness ``4 pi area / perimeter^2``; axes of
    the ellipse with the same second moments, in um, a pixel being a square and
    not a point; its eccentricity; solidity, the area over that of the convex hull
    of the pixels.

    Parameters
    ----------
    regions : ndarray of int32, shape (H, W)

    Returns
    -------
    ndarray of float64, shape (n, 7)
    """
    mass, x, y = _sums(regions)
    row, column = np.nonzero(regions)
    index = regions[row, column] - 1
    dx, dy = column - (x / mass)[index], row - (y / mass)[index]
    xx, yy, xy = (
        np.bincount(index, product, len(mass)) / mass for product in (dx * dx, dy * dy, dx * dy)
    )
    xx, yy = xx + 1 / 12, yy + 1 / 12
    spread = np.sqrt((xx - yy) ** 2 + 4 * xy**2)
    major, minor = (xx + yy + spread) / 2, (xx + yy - spread) / 2
    perimeter = np.pi / 4 * _sides(regions, len(mass)) * WORK_MPP
    area = mass * WORK_MPP**2
    return np.column_stack(
        [
            area,
            perimeter,
            4 * np.pi * area / perimeter**2,
            4 * np.sqrt(major) * WORK_MPP,
            4 * np.sqrt(minor) * WORK_MPP,
            np.sqrt(1 - minor / major),
            mass / _hull_areas(regions, mass),
        ]
    )


def _sums(regions: Regions) -> tuple[Floats, Floats, Floats]:
    """Pixels of each nucleus, and the sums of their columns and of their rows."""
    row, column = np.nonzero(regions)
    index = regions[row, column] - 1
    n = int(regions.max(initial=0))
    mass = np.bincount(index, minlength=n).astype(np.float64)
    x, y = (np.bincount(index, axis.astype(np.float64), n) for axis in (column, row))
    return mass, np.asarray(x, np.float64), np.asarray(y, np.float64)


def _sides(regions: Regions, n: int) -> npt.NDArray[np.int64]:
    """Pixel sides of each nucleus that border on something else."""
    framed = np.pad(regions, 1)
    total = np.zeros(n + 1, np.int64)
    for a, b in ((framed[1:], framed[:-1]), (framed[:, 1:], framed[:, :-1])):
        border = a != b
        total += np.bincount(a[border], minlength=n + 1) + np.bincount(b[border], minlength=n + 1)
    return total[1:]


def _hull_areas(regions: Regions, mass: Floats) -> Floats:
    """Area of the convex hull of each nucleus' pixels as squares, in pixels."""
    row, column = np.nonzero(regions)
    order = np.argsort(regions[row, column], kind="stable")
    corners = np.column_stack([column, row])[order].astype(np.int32)
    ends = np.cumsum(mass.astype(np.int64))
    areas = np.empty(len(mass))
    for k, end in enumerate(ends):
        points = corners[end - int(mass[k]) : end]
        squares = np.concatenate([points + step for step in ((0, 0), (0, 1), (1, 0), (1, 1))])
        areas[k] = cv2.contourArea(cv2.convexHull(squares))
    return areas
