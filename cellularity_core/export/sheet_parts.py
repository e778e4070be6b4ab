"""Drawings on a patch's page: the pictures with their scale bar, and a score's interval."""

import io
import math
from typing import Final

import numpy as np
import numpy.typing as npt
from reportlab.graphics.shapes import Drawing, Line, Rect
from reportlab.lib.colors import HexColor, black, white
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.platypus import Flowable

from cellularity_core.pdf_page import WIDTH
from cellularity_core.pdf_text import FONT
from cellularity_core.resample import resample
from cellularity_core.results import Score

PICTURE_SIDE: Final = 1024
"""Longest side of a picture in the file, in pixels."""

ROOM: Final = (0.5 * (WIDTH - 4 * mm), 82 * mm)
"""Room for one of the two pictures, in points."""

_RANGE: Final = HexColor("#7A6A9C")
_SCALE: Final = HexColor("#EAE7EF")


class Picture(Flowable):  # type: ignore[misc]
    """A picture with a bar of a round length in um."""

    def __init__(self, data: bytes, extent: tuple[float, float]) -> None:
        super().__init__()
        self._data, self._extent = data, extent
        scale = min(ROOM[0] / extent[0], ROOM[1] / extent[1])
        self.width, self.height = extent[0] * scale, extent[1] * scale
        self.hAlign = "CENTER"

    def wrap(self, *_: float) -> tuple[float, float]:
        return self.width, self.height

    def draw(self) -> None:
        image = ImageReader(io.BytesIO(self._data))
        self.canv.drawImage(image, 0, 0, self.width, self.height)
        length = round_length(0.25 * self._extent[0])
        points = self.width * length / self._extent[0]
        self.canv.setFillColor(white)
        self.canv.rect(4, 4, max(points, 26) + 8, 15, stroke=0, fill=1)
        self.canv.setFillColor(black)
        self.canv.rect(8, 7, points, 2, stroke=0, fill=1)
        self.canv.setFont(FONT, 6.5)
        self.canv.drawString(8, 11, f"{length:g} µm")


def round_length(most: float) -> float:
    """The longest of 1, 2, 5, 10, 20, ... that is not above `most`."""
    decade = 10.0 ** math.floor(math.log10(most))
    return max(step * decade for step in (1, 2, 5) if step * decade <= most)


def bar(score: Score, width: float) -> Drawing:
    """A score and its interval on a scale of 0 to 1, `width` points wide."""
    height = 9.0
    drawing = Drawing(width, height)
    drawing.add(Rect(0, 2, width, 5, fillColor=_SCALE, strokeColor=None))
    if score.value is not None and score.low is not None and score.high is not None:
        start, span = score.low * width, (score.high - score.low) * width
        drawing.add(Rect(start, 2, span, 5, fillColor=_RANGE, fillOpacity=0.55, strokeColor=None))
        at = score.value * width
        drawing.add(Line(at, 0, at, height, strokeColor=black, strokeWidth=1.6))
    return drawing


def jpeg(pixels: npt.NDArray[np.uint8]) -> bytes:
    """JPEG of a picture, shape (H, W, 3), at most `PICTURE_SIDE` a side."""
    from PIL import Image

    buffer = io.BytesIO()
    factor = PICTURE_SIDE / max(pixels.shape)
    picture = pixels if factor >= 1 else resample(pixels, factor)
    Image.fromarray(picture).save(buffer, format="JPEG", quality=92, subsampling=0)
    return buffer.getvalue()
