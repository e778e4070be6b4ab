"""Targets and weak labels made from nuclei points and pixels."""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from cellularity_core.conventions import (
    BACKGROUND,
    CHANNELS,
    CLASSES,
    DEFAULT_MPP,
    MALIGNANT,
)

DISC_DIAMETER_PX: Final = 15.0
"""Diameter of a nucleus on a target, in pixels at 20x (paper, section 4.1)."""

TERRITORY_RADIUS_UM: Final = 10.0
"""A tumour cell's territory: 20 px at 0.5 um/px (METHODS 9)."""

CLOSING_UM: Final = 4.5
"""Side of the square that closes gaps in the tissue: 9 px at 20x (METHODS 9)."""

TISSUE_GREY: Final = 225
"""BT.601 grey at and above which a pixel is empty glass (METHODS 9)."""


def draw_discs(
    xy: npt.NDArray[np.floating], shape: tuple[int, int], diameter: float
) -> npt.NDArray[np.bool_]:
    """Union of discs.

    Parameters
    ----------
    xy : ndarray, shape (n, 2)
        Centres in pixels; those outside `shape` may reach into it.
    shape : tuple of int
        Height and width of the mask.
    diameter : float
        In pixels. A pixel is covered when its centre is at most half of this
        from a disc's centre.

    Returns
    -------
    ndarray of bool, shape `shape`
    """
    mask = np.zeros(shape, bool)
    if len(xy) == 0:
        return mask
    radius = diameter / 2
    reach = int(np.ceil(radius)) + 1
    span = np.arange(-reach, reach + 1)
    centre = np.rint(xy).astype(np.int64)
    columns = centre[:, 0, None] + span
    rows = centre[:, 1, None] + span
    near = (rows - xy[:, 1, None])[:, :, None] ** 2 + (columns - xy[:, 0, None])[:, None, :] ** 2
    row, column = np.broadcast_arrays(rows[:, :, None], columns[:, None, :])
    inside = (
        (near <= radius**2) & (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    )
    mask[row[inside], column[inside]] = True
    return mask


def segmentation_target(
    xy: npt.NDArray[np.floating],
    label: npt.NDArray[np.integer],
    shape: tuple[int, int],
    diameter: float = DISC_DIAMETER_PX,
) -> npt.NDArray[np.float32]:
    """Discs of each class, and background where there is none (METHODS 2).

    Parameters
    ----------
    xy, label : ndarray, shapes (n, 2) and (n,)
        Nuclei in pixels of the target and their class, an index into `CLASSES`.
    shape : tuple of int
        Height and width of the target.
    diameter : float
        Of a disc, in pixels of the target.

    Returns
    -------
    ndarray of float32, shape (4, H, W)
        0 or 1, in the order of `CHANNELS`.
    """
    target = np.zeros((len(CHANNELS), *shape), np.float32)
    for k in range(len(CLASSES)):
        target[k] = draw_discs(xy[label == k], shape, diameter)
    target[BACKGROUND] = target[:BACKGROUND].max(axis=0) == 0
    return target


def tissue_mask(pixels: npt.NDArray[np.uint8], mpp: float = DEFAULT_MPP) -> npt.NDArray[np.bool_]:
    """Where there is tissue: grey below 225, closed with a 4.5 um square (METHODS 9).

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        RGB.
    mpp : float
        um per pixel; at 0.5 the square is 9 x 9.

    Returns
    -------
    ndarray of bool, shape (H, W)
    """
    grey = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
    dark = (grey < TISSUE_GREY).astype(np.uint8)
    side = max(1, 2 * int(CLOSING_UM / mpp / 2) + 1)
    return cv2.morphologyEx(dark, cv2.MORPH_CLOSE, np.ones((side, side), np.uint8)).astype(bool)


def tissue_share(pixels: npt.NDArray[np.uint8], mpp: float = DEFAULT_MPP) -> float:
    """Share of an image (H, W, 3) that is tissue, in (0, 1]; 1 where there is none at all.

    What is counted over a whole image, divided by it, is that of the tissue.
    """
    return float(tissue_mask(pixels, mpp).mean()) or 1.0


def weak_cellularity(
    pixels: npt.NDArray[np.uint8],
    xy: npt.NDArray[np.floating],
    label: npt.NDArray[np.integer],
    mpp: float = DEFAULT_MPP,
) -> float:
    """Share of the tissue within 10 um of a tumour nucleus: "weak TC" (METHODS 9).

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
    xy, label : ndarray, shapes (n, 2) and (n,)
        Nuclei in pixels and their class, an index into `CLASSES`.
    mpp : float
        um per pixel.

    Returns
    -------
    float
        In [0, 1]; NaN where there is no tissue. Not a pathologist's score.
    """
    tissue = tissue_mask(pixels, mpp)
    area = int(tissue.sum())
    if area == 0:
        return float("nan")
    territory = draw_discs(xy[label == MALIGNANT], tissue.shape, 2 * TERRITORY_RADIUS_UM / mpp)
    return float((territory & tissue).sum() / area)
