"""Whether a patch was cut from a slide, turned perhaps: looked for on its overview."""

import math
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from cellularity_core.overlap import (
    FINE_UM,
    PIECE,
    SAME,
    Fine,
    Pictures,
    alike,
    low_power,
    pieces,
    reduced,
    turned,
)
from cellularity_core.slides.grid import Tile
from cellularity_core.slides.reading import Slide
from cellularity_core.slides.tissue import tissue_on_overview

FACTOR: Final = 4
"""The slide is looked through at so many times `FINE_UM`: 8 um per pixel."""

_BLOCK: Final = 256
_LAP: Final = 32  # more than a piece
_DETAIL: Final = 3  # sigma in pixels, as that of `reduced`
_TRIED: Final = 8
_MARGIN: Final = 12  # pixels at FINE_UM around a place that is looked at closely


class Looked:
    """A slide, ready to be looked through.

    Parameters
    ----------
    slide : Slide
    overview : ndarray of uint8, shape (h, w, 3)
        Of that slide.
    """

    def __init__(self, slide: Slide, overview: npt.NDArray[np.uint8]) -> None:
        self._slide = slide
        pitch = slide.grid.pitch * slide.mpp  # um
        scale = pitch / (FINE_UM * FACTOR)
        size = tuple(max(1, round(side * scale)) for side in overview.shape[1::-1])
        grey = cv2.cvtColor(overview, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        detail = small - cv2.GaussianBlur(small, (0, 0), _DETAIL)
        tissue = cv2.resize(tissue_on_overview(overview).astype(np.uint8), size) > 0
        step = _BLOCK - _LAP
        self._corners = [
            (top, left)
            for top in range(0, max(1, len(detail) - _LAP), step)
            for left in range(0, max(1, detail.shape[1] - _LAP), step)
            if tissue[top : top + _BLOCK, left : left + _BLOCK].any()
        ]
        self._blocks = Pictures(
            [detail[top : top + _BLOCK, left : left + _BLOCK] for top, left in self._corners]
        )

    def holds(self, patch: Fine) -> bool:
        """Whether a patch, as `reduced` gives it, was cut from this slide.

        Raises
        ------
        SlideError
            If the slide cannot be read.
        """
        some = pieces(patch, min(PIECE, *patch.shape))
        if not some or not self._corners:
            return False
        piece = max(some, key=lambda one: float(one.std()))
        found = []
        for way in turned(piece):
            for score, number, top, left in self._blocks.places(low_power(way, FACTOR), 1):
                corner = self._corners[number]
                found.append((score, (top + corner[0]) * FACTOR, (left + corner[1]) * FACTOR, way))
        found.sort(key=lambda place: place[0], reverse=True)
        return any(self._is_there(way, top, left) for _, top, left, way in found[:_TRIED])

    def _is_there(self, piece: Fine, top: int, left: int) -> bool:
        """Whether a piece is at a place, in pixels at `FINE_UM`."""
        slide, side = self._slide, len(piece) + 2 * _MARGIN
        scale = FINE_UM / slide.mpp
        y, x = (max(0, math.floor((at - _MARGIN) * scale)) for at in (top, left))
        height = min(round(side * scale), slide.height - y)
        width = min(round(side * scale), slide.width - x)
        near = slide.patch(Tile(0, 0, x, y, width, height)).pixels
        return alike(piece, reduced(near, slide.tile_mpp), 0, 0, 2 * _MARGIN) >= SAME
