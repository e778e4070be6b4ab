"""Where is there tissue on a slide? Judged on its overview, to choose tiles."""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from cellularity_core.masks import TISSUE_GREY

SATURATION_LIMITS: Final = (0.04, 0.12)
"""Limits of the threshold of saturation: a slide that is all glass, or all tissue, has no
valley between the two for Otsu's method to find."""

GREY_SLIDE: Final = 0.02
"""Saturation that 1 % of a slide exceeds unless the slide is grey."""

VISITED: Final = 0.01
"""Share of tissue on the overview from which a tile is read. Low on purpose: what counts
as tissue is decided on the tile, by `masks.tissue_mask` (METHODS 9)."""


def tissue_on_overview(overview: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Dark enough to be tissue, and coloured.

    Grey below 225 as on a patch, and saturation above Otsu's threshold, which leaves out
    dust, bubbles, black borders and tinted glass. On a slide without any colour, grey
    decides alone.

    Parameters
    ----------
    overview : ndarray of uint8, shape (h, w, 3)

    Returns
    -------
    ndarray of bool, shape (h, w)

    References
    ----------
    Otsu, IEEE Trans Syst Man Cybern 1979, 9:62.
    """
    dark = cv2.cvtColor(overview, cv2.COLOR_RGB2GRAY) < TISSUE_GREY
    saturation = np.ascontiguousarray(cv2.cvtColor(overview, cv2.COLOR_RGB2HSV)[..., 1])
    if np.percentile(saturation, 99) < GREY_SLIDE * 255:
        return np.asarray(dark)
    otsu, _ = cv2.threshold(saturation, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    low, high = (limit * 255 for limit in SATURATION_LIMITS)
    return np.asarray(dark & (saturation > np.clip(otsu, low, high)))
