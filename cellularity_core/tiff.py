"""TIFF pages -> samples: which page, which layout, which colours."""

import io
import logging
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tifffile

from cellularity_core import notes as notes_of_reading
from cellularity_core.colour import CHANNELS, Space, to_uint8
from cellularity_core.conventions import SIDE_RANGE
from cellularity_core.decoding import (
    ORIENTATION,
    RESOLUTION_UNIT,
    X_RESOLUTION,
    Y_RESOLUTION,
    Raster,
    check_size,
    codestream_sizes,
)
from cellularity_core.errors import PatchError
from cellularity_core.pixel_size import TIFF_UNITS_UM, Claim, from_density, from_description

# tifffile logs damage it works around; what matters is raised by the checks here.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

MINISWHITE, MINISBLACK, RGB, PALETTE, MASK, SEPARATED, YCBCR = range(7)
ICC_PROFILE: Final = 34675
MAX_PAGES: Final = 1000
"""Pages looked at for the full resolution of a pyramid."""

JPEG: Final = (6, 7, 34892, 33007)
JPEG_2000: Final = (33003, 33004, 33005, 34712)
COMPRESSIONS: Final = (
    1, 2, 3, 4, 5, 8, 32773, 32946, 50000, *JPEG, *JPEG_2000,
)  # fmt: skip
"""None, CCITT, LZW, deflate, PackBits, Zstandard, JPEG, JPEG 2000. A decoder is
given the size of its strip or tile, or its own header is read beforehand."""

SPACES: Final[dict[int, Space]] = {
    MINISWHITE: "L",
    MINISBLACK: "L",
    RGB: "RGB",
    PALETTE: "RGB",
    SEPARATED: "CMYK",
    YCBCR: "RGB",
}
MAX_TILE: Final = 2 * SIDE_RANGE[1]


def read_tiff(data: bytes, name: str) -> Raster:
    """Samples of the page of a TIFF that is the image.

    That is the first page; of a pyramid, the largest level.

    Parameters
    ----------
    data : bytes
        The whole file.
    name : str
        What to call it in messages.

    Returns
    -------
    Raster

    Raises
    ------
    PatchError
        If the page is too large, too small, incomplete or of an unsupported
        layout.
    Exception
        Whatever the TIFF library raises at a broken file.
    """
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page, notes = _choose(file)
        check_size(page.imagewidth, page.imagelength, name)
        _check_layout(page, name)
        _check_segments(page, data, name)
        description = file.pages.first.description or page.description
        samples = page.asarray(maxworkers=1)
        space = SPACES[page.photometric]
        colour, alpha, premultiplied = _split(_last_axis(samples, page.axes), page, space)
        if space == "L":
            notes.append("single-channel")
        if samples.dtype.itemsize > 1:
            notes.append("scaled-to-8-bit")
        profile = page.tags.valueof(ICC_PROFILE)
        orientation = page.tags.valueof(ORIENTATION)
        return Raster(
            colour=colour,
            space=space,
            alpha=alpha,
            premultiplied=premultiplied,
            profile=profile if isinstance(profile, bytes) else None,
            orientation=int(orientation) if isinstance(orientation, int) else 1,
            claims=_claims(page, description),
            notes=tuple(notes),
        )


def _choose(file: tifffile.TiffFile) -> tuple[tifffile.TiffPage, list[str]]:
    """The page to read, and what to note about it.

    Pages of one shape at several sizes are a pyramid. Anything else (a stack,
    a slide with its label) is pages, of which the first counts. Which page it was
    is noted wherever another one shows anything else.
    """
    first = file.pages.first
    pages = [first]
    for index in range(1, min(len(file.pages), MAX_PAGES)):
        page = file.pages[index]
        pages.append(page if isinstance(page, tifffile.TiffPage) else page.aspage())
    levels = {k: p for k, p in enumerate(pages, 1) if _is_level(p, first)}
    number = max(levels, key=lambda k: levels[k].imagewidth)
    sizes = {p.imagewidth for p in levels.values()}
    notes = ["pyramid"] if len(sizes) > 1 or first.subifds else []
    # levels that grow from the first page on may be different fields, whose first is missed
    if number > 1 or len(sizes) < len(file.pages):
        notes.append(notes_of_reading.page(number, len(file.pages)))
    return levels[number], notes


def _is_level(page: tifffile.TiffPage, first: tifffile.TiffPage) -> bool:
    """Whether a page shows the same field as the first: one aspect, same samples."""
    if min(page.imagewidth, page.imagelength) < 1 or min(first.imagewidth, first.imagelength) < 1:
        return page is first
    scale = page.imagewidth / first.imagewidth
    slack = 1 + max(1.0, scale)
    return (
        abs(page.imagelength - scale * first.imagelength) <= slack
        and page.photometric == first.photometric
        and page.samplesperpixel == first.samplesperpixel
    )


def _check_layout(page: tifffile.TiffPage, name: str) -> None:
    if page.compression not in COMPRESSIONS:
        raise PatchError(
            f"{name} is compressed in a way that is not read (TIFF compression "
            f"{int(page.compression)}); save it with LZW, JPEG or deflate compression."
        )
    if page.photometric not in SPACES:
        raise PatchError(
            f"{name} holds colours in a way that is not read (TIFF photometric "
            f"{int(page.photometric)}); save it as an RGB TIFF or PNG."
        )
    needed = 1 if page.photometric == PALETTE else CHANNELS[SPACES[page.photometric]]
    extra = page.samplesperpixel - needed
    if extra not in (0, 1) or page.imagedepth != 1 or page.tiledepth not in (0, 1):
        raise PatchError(
            f"{name} holds {page.samplesperpixel} channels and {page.imagedepth} planes, not one "
            "colour image; export it as an RGB TIFF or PNG."
        )
    if page.is_tiled and not (1 <= page.tilewidth <= MAX_TILE and 1 <= page.tilelength <= MAX_TILE):
        raise PatchError(
            f"{name} has tiles of {page.tilewidth} x {page.tilelength} pixels, larger than a "
            "patch may be; save it without tiles."
        )


def _check_segments(page: tifffile.TiffPage, data: bytes, name: str) -> None:
    """Refuse strips or tiles that lie outside the file or unpack to more than they should."""
    width, height = page.imagewidth, page.imagelength
    if page.is_tiled:
        across = -(-width // page.tilewidth) * -(-height // page.tilelength)
    else:
        across = -(-height // max(1, min(page.rowsperstrip, height)))
    needed = across * (page.samplesperpixel if page.planarconfig == 2 else 1)
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    whole = page.compression == 1 and len(segments) == 1
    if len(segments) < needed and not whole:
        raise PatchError(_incomplete(name))
    for start, length in segments:
        if start <= 0 or length <= 0 or start + length > len(data):
            raise PatchError(_incomplete(name))
        if page.compression in JPEG or page.compression in JPEG_2000:
            for wide, high in codestream_sizes(data[start : start + length]):
                if not (0 < wide <= MAX_TILE and 0 < high <= MAX_TILE):
                    raise PatchError(_incomplete(name))


def _incomplete(name: str) -> str:
    return f"{name} is a TIFF that breaks off or lacks parts; copy or export it again."


def _last_axis(samples: npt.NDArray[Any], axes: str) -> npt.NDArray[Any]:
    """Samples with their channels last: (H, W, C)."""
    if "S" not in axes:
        return samples.reshape(*samples.shape[-2:], 1)
    return np.moveaxis(samples, axes.index("S"), -1)


def _split(
    samples: npt.NDArray[Any], page: tifffile.TiffPage, space: Space
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8] | None, bool]:
    """Colours, alpha where a channel is declared to be it, and whether it is multiplied in."""
    declared = int(page.bitspersample) if np.ndim(page.bitspersample) == 0 else 8
    bits = None if declared in (8, 16, 32, 64) or samples.dtype.kind in "bf" else declared
    if page.photometric == PALETTE:
        table = (np.asarray(page.colormap) >> 8).astype(np.uint8)
        return table[:, samples[..., 0].astype(np.intp)].transpose(1, 2, 0), None, False
    count = CHANNELS[space]
    colour = to_uint8(samples[..., :count], bits)
    if page.photometric == MINISWHITE:
        colour = 255 - colour
    if page.photometric == YCBCR and page.compression not in JPEG:
        colour = _from_ycbcr(colour)
    role = int(page.extrasamples[0]) if page.extrasamples else 0
    if samples.shape[-1] > count and role in (1, 2):
        return colour, to_uint8(samples[..., count], bits), role == 1
    return colour, None, False


def _from_ycbcr(samples: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """RGB of full-range YCbCr (TIFF 6.0, section 21, with the default coefficients)."""
    y, cb, cr = np.moveaxis(samples.astype(np.float32), -1, 0)
    cb, cr = cb - 128, cr - 128
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=-1)
    return np.asarray(np.clip(np.rint(rgb), 0, 255), np.uint8)


def _claims(page: tifffile.TiffPage, description: str) -> tuple[Claim, ...]:
    """Pixel sizes from the description, then from the resolution tags."""
    x = page.tags.valueof(X_RESOLUTION)
    y = page.tags.valueof(Y_RESOLUTION, x)
    claims = from_description(description, (x, y))
    unit = page.tags.valueof(RESOLUTION_UNIT, 2)
    if isinstance(unit, int) and int(unit) in TIFF_UNITS_UM:
        claims += from_density(x, y, TIFF_UNITS_UM[int(unit)])
    return tuple(claims)
