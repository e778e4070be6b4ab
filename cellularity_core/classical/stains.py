"""How much of each stain lies on every pixel, on a scale that patches share."""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from skimage.color import hed_from_rgb

_OPTICAL_DENSITY: Final = -np.log((np.arange(256, dtype=np.float32) + 1) / 256)

_UNMIX: Final = np.ascontiguousarray(hed_from_rgb.T[:2], dtype=np.float32)

FULL_STAIN: Final = 0.99
"""Quantile of a stain over the tissue that counts as 1."""

FAINTEST: Final = 0.1
"""A stain weaker than this is not brought up to 1: it would be noise."""


def stains(
    pixels: npt.NDArray[np.uint8], tissue: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Haematoxylin and eosin by colour deconvolution.

    The paper, as its re-implementation reads it, normalises the stain of a patch
    and stretches its colours apart before it segments; ours is the classical
    deconvolution with fixed colours, each stain then divided by its own strong end
    in the patch, so that pale and dark slides meet the same thresholds and features.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        RGB.
    tissue : ndarray of bool, shape (H, W)
        Where the strong end is looked for; anywhere if it is empty.

    Returns
    -------
    haematoxylin, eosin : ndarray of float32, shape (H, W)
        0 is none, 1 about as much as the patch's most stained tissue has.

    References
    ----------
    Ruifrok & Johnston, Anal Quant Cytol Histol 2001, 23:291.
    """
    amounts = np.maximum(cv2.transform(_OPTICAL_DENSITY[pixels], _UNMIX), 0)
    inside = amounts[tissue] if tissue.any() else amounts.reshape(-1, 2)
    full = np.maximum(np.quantile(inside, FULL_STAIN, axis=0), FAINTEST)
    scaled = (amounts / full).astype(np.float32)
    return np.ascontiguousarray(scaled[..., 0]), np.ascontiguousarray(scaled[..., 1])
