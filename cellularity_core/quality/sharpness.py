"""Is a patch in focus? Fine detail over coarse, so that contrast does not matter.

Fine detail is measured along four directions and the least counts: a picture that was
moved keeps its detail across the movement.
"""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from cellularity_core.quality.views import Plane, View, halved, smooth

FINE_SIGMA: Final = 0.8
"""Gaussian scale in pixels at which fine detail is looked for, one pixel to the next."""

COARSE_SIGMAS: Final = (1.6, 3.2)
"""Gaussian scales in pixels between which coarse detail lies."""

DIRECTIONS: Final = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Steps (down, right) along which detail is measured."""

FOCUS_FLOOR: Final = 0.5
"""Fine detail (root mean square, grey levels) that rounding and noise can feign; lowest
of 124 sharp patches 3.0."""


def focus(parts: Sequence[View]) -> float:
    """Fine detail over coarse detail within tissue.

    Parameters
    ----------
    parts : sequence of View

    Returns
    -------
    float
        Root mean square of the second difference in the direction that has least,
        over that of the band between `COARSE_SIGMAS`; about 0.5 to 0.8 when sharp.
        0 where fine detail is no more than noise, infinite where there is no tissue
        to measure.
    """
    fine = np.zeros(len(DIRECTIONS))
    coarse = 0.0
    measured = 0
    for part in parts:
        grey = np.asarray(cv2.cvtColor(part.pixels, cv2.COLOR_RGB2GRAY), np.float32)
        tissue = part.tissue.view(np.uint8)
        measured += cv2.countNonZero(tissue)
        first = smooth(grey, FINE_SIGMA)
        fine += _bending(first, tissue)
        low, high = COARSE_SIGMAS
        second = smooth(first, (low**2 - FINE_SIGMA**2) ** 0.5, out=grey)
        # smooth enough to be followed on every other pixel
        second = halved(second)
        band = second - smooth(second, (high**2 - low**2) ** 0.5 / 2)
        coarse += 4 * cv2.norm(band, cv2.NORM_L2SQR, halved(tissue))
    if measured == 0:
        return float("inf")
    least = float(fine.min())
    if least <= FOCUS_FLOOR**2 * measured:
        return 0.0
    return float(np.sqrt(least / max(coarse, 1e-9)))


def _bending(plane: Plane, tissue: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Sum of squared second differences along each of `DIRECTIONS` within tissue."""
    found = []
    bend = np.empty_like(plane)
    for down, right in DIRECTIONS:
        kernel = np.zeros((3, 3), np.float32)
        kernel[1 + down, 1 + right] = kernel[1 - down, 1 - right] = -1
        kernel[1, 1] = 2
        cv2.filter2D(plane, -1, kernel / (down**2 + right**2), dst=bend)
        found.append(cv2.norm(bend, cv2.NORM_L2SQR, tissue))
    return np.array(found)
