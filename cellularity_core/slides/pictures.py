"""A slide's map laid over its overview, as a picture for people."""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from cellularity_core.pdf_text import font_file
from cellularity_core.slides.maps import Map

Pixels = npt.NDArray[np.uint8]

OPACITY: Final = 0.6
UNFIT: Final = (128, 128, 128)
"""Colour of tissue that is not fit to score."""

LONGEST: Final = 2000
"""Longer side of a picture, in pixels."""

MARGIN: Final = 16
LEGEND: Final = 340
"""Width of the legend, in pixels."""

BAR: Final = (28, 260)
FONT: Final = 16

_RAMP: Final = cv2.COLORMAP_VIRIDIS


def heat_picture(
    overview: Pixels,
    tissue: npt.NDArray[np.bool_],
    values: Map,
    fit: Map,
    cells: int,
    title: str,
    lines: tuple[str, ...],
) -> Pixels:
    """The overview with a map over its tissue, smooth between tiles, and a legend.

    Parameters
    ----------
    overview : ndarray of uint8, shape (h, w, 3)
    tissue : ndarray of bool, shape (h, w)
    values : ndarray of float32, shape (rows, columns)
        0 to 1, NaN where there is none.
    fit : ndarray of float32, shape (rows, columns)
        0 where there is tissue that is not fit to score.
    cells : int
        Pixels of the overview along a tile.
    title : str
        What the map shows.
    lines : tuple of str
        What else the legend says.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
    """
    known = ~np.isnan(values)
    shape = overview.shape[:2]
    weight = _stretched(known.astype(np.float32), cells, shape)
    smooth = _stretched(np.nan_to_num(values), cells, shape) / np.maximum(weight, 1e-6)
    shown = _at(known, cells, shape) & tissue
    unfit = _at(fit == 0, cells, shape) & tissue
    grey = cv2.cvtColor(overview, cv2.COLOR_RGB2GRAY)[..., None].repeat(3, axis=-1)
    ramp = cv2.applyColorMap(np.rint(smooth.clip(0, 1) * 255).astype(np.uint8), _RAMP)[..., ::-1]
    drawn = overview.copy()
    for where, colour in ((shown, ramp[shown]), (unfit, np.array(UNFIT))):
        drawn[where] = np.rint(OPACITY * colour + (1 - OPACITY) * grey[where]).astype(np.uint8)
    scale = min(1.0, LONGEST / max(shape))
    size = round(shape[1] * scale), round(shape[0] * scale)
    picture = np.asarray(cv2.resize(drawn, size, interpolation=cv2.INTER_AREA), np.uint8)
    return _with_legend(picture, title, lines, bool(unfit.any()))


def _stretched(values: Map, cells: int, shape: tuple[int, int]) -> Map:
    """A map on the overview, linear between the middles of tiles."""
    size = values.shape[1] * cells, values.shape[0] * cells
    wide = cv2.resize(values, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(_fitted(np.asarray(wide), shape), np.float32)


def _at(marks: npt.NDArray[np.bool_], cells: int, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Marks of tiles on the overview."""
    return np.asarray(_fitted(marks.repeat(cells, axis=0).repeat(cells, axis=1), shape), np.bool_)


def _fitted(wide: npt.NDArray[np.generic], shape: tuple[int, int]) -> npt.NDArray[np.generic]:
    """Cut, or continued by its edge, since the last tile may be narrower or wider."""
    more = [(0, max(0, want - have)) for want, have in zip(shape, wide.shape, strict=True)]
    return np.pad(wide, more, mode="edge")[: shape[0], : shape[1]]


def _with_legend(picture: Pixels, title: str, lines: tuple[str, ...], unfit: bool) -> Pixels:
    font = ImageFont.truetype(font_file(), FONT)
    step = FONT + 8
    wrapped = [part for line in lines for part in _wrapped(line, font)]
    heading = _wrapped(title, font)
    need = 4 * MARGIN + step * (len(heading) + len(wrapped) + 2) + BAR[1]
    height = max(picture.shape[0], need)
    canvas = Image.new("RGB", (picture.shape[1] + LEGEND, height), "white")
    canvas.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(canvas)
    left, top = picture.shape[1] + MARGIN, MARGIN
    for line in heading:
        draw.text((left, top), line, "black", font)
        top += step
    top += MARGIN // 2
    ramp = np.linspace(255, 0, BAR[1]).round().astype(np.uint8)[:, None].repeat(BAR[0], axis=1)
    canvas.paste(Image.fromarray(cv2.applyColorMap(ramp, _RAMP)[..., ::-1].copy()), (left, top))
    for share in (1.0, 0.75, 0.5, 0.25, 0.0):
        at = top + round((1 - share) * (BAR[1] - 1))
        draw.text((left + BAR[0] + 8, at), f"{share:.0%}", "black", font, anchor="lm")
    top += BAR[1] + MARGIN
    if unfit:
        draw.rectangle((left, top, left + BAR[0], top + FONT), UNFIT)
        draw.text((left + BAR[0] + 8, top), "tissue not fit to score", "black", font)
        top += step
    for line in wrapped:
        draw.text((left, top), line, "black", font)
        top += step
    return np.asarray(canvas)


def _wrapped(text: str, font: ImageFont.FreeTypeFont) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) > LEGEND - 2 * MARGIN and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
