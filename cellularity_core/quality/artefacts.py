"""Marker pen and folds: found where no tissue looks so, on blocks of a few um."""

from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from cellularity_core.quality.views import DENSITY, Mask, Pixels, Plane, blocks

PEN_BLOCK_UM: Final = 6.0
"""Side of the blocks in which ink is looked for; nuclei average out."""

PEN_AREA: Final = 0.015
"""Part of the patch in one piece that has the colour of ink; where green does not lead,
highest of 124 H&E patches 0.009, elsewhere 0.004."""

PEN_UM2: Final = 800.0
"""Smallest piece of ink, so that a few dark nuclei in a small patch are none; largest
piece of that colour in 124 H&E patches 510 um2."""

PEN_FATAL: Final = 0.15
"""The same, from which the score must not be relied on."""

INK_DENSITY: Final = 0.6
BLACK_DENSITY: Final = 1.5
RED_DENSITY: Final = 1.0
"""Optical density, summed over the channels, from which ink of a colour is looked for."""

BLACK_RANGE: Final = 0.08
"""Shares of the channels in black ink differ by less."""

RED_SHARE: Final = 0.15
RED_LEAD: Final = 0.12
"""Red ink absorbs less red than this, and blue nearly as much as green."""

FOLD_BLOCK_UM: Final = 2.0
FOLD_REACH: Final = 5
"""Blocks a side among which the brightest is taken: a fold has no bright gaps."""

FOLD_RATIO: Final = 1.6
FOLD_DENSITY: Final = 0.8
"""A fold is denser than this many times the patch's median, and than this at least."""

FOLD_HUE: Final = 0.05
"""Red's share of the density may be above the patch's median by this: doubled tissue keeps
its hue, while epithelium among stroma is bluer."""

FOLD_AREA: Final = 0.012
FOLD_FATAL: Final = 0.25
"""Part of the patch that a fold covers, and that makes the score unreliable."""

FOLD_LENGTH: Final = 0.65
FOLD_LENGTH_UM: Final = 150.0
"""Length of a fold as part of the patch's side, and in um; the longest dense
band of 124 H&E patches reaches over 0.57 of the side."""


def pen(pixels: Pixels, white: npt.NDArray[np.float32], mpp: float) -> float:
    """Part of a patch that is covered by a marker, in one piece.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
    white : ndarray of float32, shape (3,)
        RGB of no tissue.
    mpp : float
        um per pixel.

    Returns
    -------
    float
        0 to 1. All stains of H&E absorb green most; blue, green and black ink do
        not, and red ink absorbs no red at all.
    """
    clear = np.log((white + 1) / 256)[:, None, None]
    density = np.maximum(_density(blocks(pixels, PEN_BLOCK_UM / mpp)) + clear, 0)
    total = density.sum(axis=0)
    share = density / np.maximum(total, 1e-3)
    red, green, blue = share
    cool = (green < np.maximum(red, blue)) & (total > INK_DENSITY)
    black = (np.ptp(share, axis=0) < BLACK_RANGE) & (total > BLACK_DENSITY)
    warm = (red < RED_SHARE) & (green - blue < RED_LEAD) & (total > RED_DENSITY)
    covered = max(_largest(cool | black), _largest(warm))
    area = covered * pixels.shape[0] * pixels.shape[1] * mpp**2
    return covered if area >= PEN_UM2 else 0.0


def fold(pixels: Pixels, tissue: Mask, mpp: float) -> float:
    """Part of a patch that is covered by a fold.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
    tissue : ndarray of bool, shape (H, W)
    mpp : float
        um per pixel.

    Returns
    -------
    float
        0 to 1; 0 where no long band of doubled tissue is seen.
    """
    small: Any = blocks(pixels, FOLD_BLOCK_UM / mpp)
    height, width = small.shape[:2]
    inside = cv2.resize(
        tissue.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST
    ).astype(bool)
    if not inside.any():
        return 0.0
    brightest: Any = cv2.dilate(small, np.ones((FOLD_REACH, FOLD_REACH), np.uint8))
    density = _density(brightest)
    total = density.sum(axis=0)
    red = density[0] / np.maximum(total, 1e-3)
    stained = inside & (total > FOLD_DENSITY / 3)
    if not stained.any():
        return 0.0
    limit = max(FOLD_DENSITY, FOLD_RATIO * float(np.median(total[stained])))
    doubled = (total > limit) & (red < np.median(red[stained]) + FOLD_HUE) & inside
    dense: Any = doubled.astype(np.uint8)
    dense = cv2.morphologyEx(dense, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    dense = cv2.morphologyEx(dense, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    found = 0.0
    for _, _, wide, high, area in cv2.connectedComponentsWithStats(dense)[2][1:]:
        part = float(area / dense.size)
        long = max(wide / width, high / height) >= FOLD_LENGTH
        if part >= FOLD_AREA and long and max(wide, high) * FOLD_BLOCK_UM >= FOLD_LENGTH_UM:
            found = max(found, part)
    return found


def _density(pixels: Pixels) -> Plane:
    """Optical density of every channel, shape (3, H, W)."""
    return np.stack(cv2.split(cv2.LUT(pixels, DENSITY)))


def _largest(mask: npt.NDArray[np.bool_]) -> float:
    """Part of a mask in its largest connected piece."""
    if not mask.any():
        return 0.0
    areas = cv2.connectedComponentsWithStats(mask.astype(np.uint8))[2][1:, cv2.CC_STAT_AREA]
    return float(areas.max() / mask.size)
