"""Nuclei as connected regions: threshold on haematoxylin, then watershed."""

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

WORK_MPP: Final = 0.5
"""um/px at which nuclei are outlined and measured."""

Plane = npt.NDArray[np.float32]
Regions = npt.NDArray[np.int32]
"""0 is background, 1 to n the nuclei."""


@dataclass(frozen=True, slots=True)
class Outlining:
    """How nuclei are cut out; lengths in um.

    Attributes
    ----------
    smooth : float
        Sigma of the haematoxylin that is thresholded.
    surround : float
        Sigma of the surroundings that a nucleus stands out from.
    contrast : float
        How much it does, in units of stain.
    share : float
        Of Otsu's threshold over the tissue, which a nucleus exceeds too.
    opening : float
        Diameter of the disc that takes away threads and specks.
    seed_smooth : float
        Sigma of the haematoxylin that helps to find one seed a nucleus.
    seed_weight : float
        What a unit of it counts against one radius of 2.5 um of distance to the border.
    seed_distance : float
        Half of the side of the neighbourhood in which a seed is the highest.
    smallest : float
        Area below which a region is no nucleus, um^2.
    """

    smooth: float = 0.5
    surround: float = 7.5
    contrast: float = 0.05
    share: float = 0.8
    opening: float = 2.5
    seed_smooth: float = 1.0
    seed_weight: float = 1.5
    seed_distance: float = 2.0
    smallest: float = 7.5


def outline(
    haematoxylin: Plane, tissue: npt.NDArray[np.bool_], settings: Outlining | None = None
) -> Regions:
    """Cut out the nuclei of a patch at `WORK_MPP`.

    From the paper, as its re-implementation reads it: thresholds of one stain-like
    channel, holes filled, touching nuclei parted by a watershed. Ours: the channel
    (haematoxylin), a threshold that is local as well as global, and seeds from
    distance and stain together.

    Parameters
    ----------
    haematoxylin : ndarray of float32, shape (H, W)
        See `stains.stains`.
    tissue : ndarray of bool, shape (H, W)
    settings : Outlining, optional

    Returns
    -------
    ndarray of int32, shape (H, W)
        0 outside, 1 to n inside the nuclei; all zero where there is no tissue.
    """
    how = settings or Outlining()
    if not tissue.any():
        return np.zeros(tissue.shape, np.int32)
    smooth = _blur(haematoxylin, how.smooth)
    level = float(threshold_otsu(smooth[tissue].clip(0, 1.2)))  # type: ignore[no-untyped-call]
    stands_out = smooth > _blur(haematoxylin, how.surround) + how.contrast
    mask: Any = (stands_out & (smooth > how.share * level) & tissue).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, _disc(how.opening / 2))
    mask = ndimage.binary_fill_holes(mask).astype(np.uint8)
    inside = mask.astype(bool)

    depth = _blur(cv2.distanceTransform(mask, cv2.DIST_L2, 5), 0.5) * WORK_MPP / 2.5
    height = depth + how.seed_weight * _blur(haematoxylin, how.seed_smooth)
    peaks = (height >= cv2.dilate(height, _disc(how.seed_distance))) & inside
    seeds, _ = ndimage.label(peaks, np.ones((3, 3)))
    parted = watershed(-height, seeds, mask=inside)  # type: ignore[no-untyped-call]
    return without_small(parted, how.smallest)


def without_small(regions: npt.NDArray[Any], smallest: float) -> Regions:
    """Regions of at least `smallest` um^2, numbered 1 to n without gaps."""
    area = np.bincount(regions.ravel()) * WORK_MPP**2
    keep = area >= smallest
    keep[0] = False
    number = np.zeros(len(area), np.int32)
    number[keep] = np.arange(1, keep.sum() + 1)
    return np.asarray(number[regions], np.int32)


def _blur(plane: Any, sigma_um: float) -> Plane:
    blurred: Plane = cv2.GaussianBlur(plane, (0, 0), sigma_um / WORK_MPP)
    return blurred


def _disc(radius_um: float) -> Any:
    side = 2 * round(radius_um / WORK_MPP) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
