"""Images in many formats, for tests of what comes in."""

import io
import struct
import zlib

import numpy as np
import tifffile
from PIL import Image

FIELD = np.random.default_rng(1).integers(0, 256, (70, 96, 3), np.uint8)
"""Noise, 70 rows by 96 columns, so that any shift or swap shows."""

SMOOTH = np.stack(
    np.broadcast_arrays(np.arange(96) + 90, np.arange(70)[:, None] + 60, np.uint8(170)), axis=-1
).astype(np.uint8)
"""A gradient that JPEG keeps to a level or two."""


def save(image: Image.Image, kind: str, **options: object) -> bytes:
    """Bytes of an image as Pillow writes them."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(pixels: np.ndarray = FIELD, **options: object) -> bytes:
    """Bytes of a PNG."""
    return save(Image.fromarray(pixels), "PNG", **options)


def tiff(pixels: np.ndarray = FIELD, **options: object) -> bytes:
    """Bytes of a TIFF as tifffile writes them."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def bare_png(width: int, height: int) -> bytes:
    """A PNG that is its header alone."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + header + struct.pack(">I", zlib.crc32(header))


def bare_jpeg(width: int, height: int) -> bytes:
    """A JPEG that is its frame header alone."""
    frame = struct.pack(">HBHHB", 17, 8, height, width, 3) + bytes(9)
    return b"\xff\xd8\xff\xc0" + frame


WHOLE = {
    "png": png(),
    "jpeg": save(Image.fromarray(SMOOTH), "JPEG"),
    "tiff-strips": tiff(photometric="rgb", compression="lzw", rowsperstrip=16),
    "tiff-tiles": tiff(photometric="rgb", tile=(32, 32)),
    "tiff-jpeg": tiff(SMOOTH, photometric="rgb", compression="jpeg", tile=(64, 64)),
    "tiff-float": tiff((FIELD / 255).astype("f4"), photometric="rgb", compression="zlib"),
    "tiff-palette": save(Image.fromarray(SMOOTH).quantize(16), "TIFF"),
    "png-palette": save(Image.fromarray(SMOOTH).quantize(16), "PNG", transparency=3),
}
"""Small files of the kinds that are read, by the way their pixels are kept."""
