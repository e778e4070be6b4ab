"""Is a patch in focus? Fine detail over coarse, so that contrast does not matter."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import cv2
import numpy as np

from cellularity_core.quality.views import View, halved, smooth

SIGMAS: Final = (0.8, 1.6, 3.2)
"""Gaussian scales in pixels between which fine and coarse detail lie."""

FOCUS_FLOOR: Final = 0.5
"""Fine detail (root mean square, grey levels) that rounding and noise can feign; lowest
of 124 sharp patches 4.0."""


def focus(parts: Sequence[View]) -> float:
    """Fine detail over coarse detail within tissue.

    Parameters
    ----------
    parts : sequence of View

    Returns
    -------
    float
        Root mean square of the band between the first two of `SIGMAS` over that
        of the last two; about 0.6 to 1.4 when sharp. 0 where fine detail is no
        more than noise, infinite where there is no tissue to measure.
    """
    fine = coarse = 0.0
    measured = 0
    added = [SIGMAS[0], *((b * b - a * a) ** 0.5 for a, b in pairwise(SIGMAS))]
    for part in parts:
        grey = np.asarray(cv2.cvtColor(part.pixels, cv2.COLOR_RGB2GRAY), np.float32)
        weight = part.tissue.astype(np.float32)
        first = smooth(grey, added[0])
        second = smooth(first, added[1])
        band = first - second
        fine += float(np.vdot(band * weight, band))
        measured += int(part.tissue.sum())
        # the second is smooth enough to be followed on every other pixel
        second, weight = halved(second), halved(weight)
        band = second - smooth(second, added[2] / 2)
        coarse += 4 * float(np.vdot(band * weight, band))
    if measured == 0:
        return float("inf")
    if fine <= FOCUS_FLOOR**2 * measured:
        return 0.0
    return float(np.sqrt(fine / max(coarse, 1e-9)))
