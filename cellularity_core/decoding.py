"""Bytes of a PNG, JPEG or TIFF -> upright sRGB pixels and what the file says of them.

The content decides what a file is, not its name. The size is read from the
header and checked before anything is decoded, so that a file cannot ask for
more memory than the largest patch needs.
"""

import io
import re
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from cellularity_core.colour import Space, flatten, orient, to_srgb, to_uint8
from cellularity_core.conventions import SIDE_RANGE
from cellularity_core.errors import PatchError
from cellularity_core.pixel_size import UM_PER_INCH, Claim, from_density, from_description

ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 274, 282, 283, 296
IMAGE_DESCRIPTION: Final = 270

_OBJECT: Final = re.compile(r"\s*<_io\.\w+ object at \w+>")
"""What a decoder calls the bytes it was given; it tells a user nothing."""

SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"PK\x03\x04", "ZIP"),
    (b"PK\x05\x06", "ZIP"),
    (b"PK\x07\x08", "ZIP"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"%PDF", "PDF"),
    (b"8BPS", "Photoshop file"),
    (b"\x1f\x8b", "gzip archive"),
    (b"Rar!", "RAR archive"),
    (b"7z\xbc\xaf", "7-Zip archive"),
)
SUPPORTED: Final = ("PNG", "JPEG", "TIFF")
SIGNATURE_BYTES: Final = 132
"""Bytes from the start of a file that `kind` needs."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a file holds.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        sRGB, upright, C-contiguous.
    claims : tuple of (float, float)
        um per pixel along x and y as the file claims them, best source first.
    notes : tuple of str
        Codes of `notes.NOTES`, or of `notes.page`.
    """

    pixels: npt.NDArray[np.uint8]
    claims: tuple[Claim, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Raster:
    """Samples as a file stores them, before any colour is made of them.

    Attributes
    ----------
    colour : ndarray of uint8, shape (H, W, C)
    space : {"L", "RGB", "CMYK"}
    alpha : ndarray of uint8, shape (H, W), or None
    premultiplied : bool
        Whether `colour` was multiplied by `alpha`.
    profile : bytes or None
        ICC profile.
    orientation : int
        Tag 274.
    claims, notes
        As in `Decoded`.
    """

    colour: npt.NDArray[np.uint8]
    space: Space
    alpha: npt.NDArray[np.uint8] | None
    premultiplied: bool
    profile: bytes | None
    orientation: int
    claims: tuple[Claim, ...]
    notes: tuple[str, ...]


def kind(head: bytes) -> str | None:
    """What the first bytes of a file say it is, e.g. "PNG"; None where that is unknown."""
    for signature, name in SIGNATURES:
        if head.startswith(signature):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        return "HEIF or video file"
    if head[128:132] == b"DICM":
        return "DICOM file"
    return None


def decode(data: bytes, name: str) -> Decoded:
    """Pixels of an image file.

    Parameters
    ----------
    data : bytes
        The whole file.
    name : str
        What to call it in messages.

    Returns
    -------
    Decoded

    Raises
    ------
    PatchError
        If it is no PNG, JPEG or TIFF that can be used; the message says why and
        what to do. Nothing else is raised, whatever the bytes.
    """
    what = kind(data[:SIGNATURE_BYTES])
    if what is None or what not in SUPPORTED:
        raise PatchError(refusal(data, name))
    try:
        if what == "TIFF":
            from cellularity_core.tiff import read_tiff

            raster = read_tiff(data, name)
        else:
            raster = _read_pillow(data, name, what)
        return _finish(raster)
    except PatchError:
        raise
    except Exception as error:
        raise PatchError(
            f"{name} is a {what} that is damaged, breaks off or is of a rare kind "
            f"({_reason(error)}); copy it again, or export it anew as PNG or TIFF."
        ) from error


def refusal(data: bytes, name: str) -> str:
    """Why bytes that are no PNG, JPEG or TIFF are not read."""
    if not data:
        return f"{name} is empty (0 bytes); copy or export it again."
    what = kind(data[:SIGNATURE_BYTES])
    if what == "ZIP":
        return f"{name} is a ZIP within another file; unpack it and give the images inside."
    if what:
        article = "an" if what[0] in "HR" and what != "HEIF or video file" else "a"
        return f"{name} is {article} {what}, which is not read; export it as PNG, JPEG or TIFF."
    return f"{name} is not an image; give PNG, JPEG or TIFF, or a ZIP or folder of them."


def check_size(width: int, height: int, name: str) -> None:
    """Refuse a size outside `SIDE_RANGE`.

    Raises
    ------
    PatchError
    """
    low, high = SIDE_RANGE
    if width > high or height > high:
        raise PatchError(
            f"{name} is {width} x {height} pixels, more than the {high} a patch may have a side; "
            "crop it, or open it as a slide."
        )
    if width < low or height < low:
        raise PatchError(
            f"{name} is {width} x {height} pixels, less than the {low} a patch needs a side; "
            "export a larger field."
        )


def codestream_sizes(data: bytes) -> Iterator[tuple[int, int]]:
    """Width and height from each frame header of a JPEG, or from a JPEG 2000 codestream."""
    if data[:4] == b"\xff\x4f\xff\x51" and len(data) >= 24:
        right, bottom, left, top = struct.unpack(">4I", data[8:24])
        yield right - left, bottom - top
        return
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 2
            continue
        if marker in (0xD9, 0xDA):
            return
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and at + 9 <= len(data):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            yield width, height
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def _header_sizes(data: bytes, what: str) -> Iterator[tuple[int, int]]:
    if what == "JPEG":
        yield from codestream_sizes(data)
    elif data[12:16] == b"IHDR" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        yield width, height


_PILLOW_LOCK: Final = threading.Lock()


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Pillow without its warnings about odd metadata; one of a bomb is an error.

    Warning filters belong to the process, so one thread at a time changes them.
    """
    with _PILLOW_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _read_pillow(data: bytes, name: str, what: str) -> Raster:
    for width, height in _header_sizes(data, what):
        check_size(width, height, name)
    with _quiet_pillow(), Image.open(io.BytesIO(data), formats=(what,)) as image:
        check_size(*image.size, name)
        if what == "PNG" and getattr(image, "is_animated", False):
            raise PatchError(f"{name} is an animation; export one frame of it as PNG or TIFF.")
        image.load()
        exif = image.getexif()
        profile = image.info.get("icc_profile")
        claims = _pillow_claims(image, exif)
        notes = []
        if image.mode in ("1", "L", "LA", "La", "I;16", "I;16B", "I", "F"):
            notes.append("single-channel")
        colour, space, alpha = _pillow_samples(image)
        if image.mode.startswith(("I", "F")) or _png_bits(data, what) > 8:
            notes.append("scaled-to-8-bit")
    return Raster(
        colour=colour,
        space=space,
        alpha=alpha,
        premultiplied=False,
        profile=profile if isinstance(profile, bytes) else None,
        orientation=_integer(exif.get(ORIENTATION)),
        claims=claims,
        notes=tuple(notes),
    )


def _pillow_samples(
    image: Image.Image,
) -> tuple[npt.NDArray[np.uint8], Space, npt.NDArray[np.uint8] | None]:
    """Samples, their colour space, and alpha where the image has any."""
    if image.mode.startswith("I"):
        grey = to_uint8(np.asarray(image).astype(np.uint16))
        return grey[..., None], "L", None
    if image.mode == "CMYK":
        return np.array(image), "CMYK", None
    if image.mode in ("1", "L", "LA"):
        if image.mode == "LA" or "transparency" in image.info:
            pair = np.array(image.convert("LA"))
            return pair[..., :1], "L", pair[..., 1]
        return np.array(image.convert("L"))[..., None], "L", None
    if image.mode == "RGBA" or "transparency" in image.info or image.mode == "PA":
        four = np.array(image.convert("RGBA"))
        return four[..., :3], "RGB", four[..., 3]
    return np.array(image.convert("RGB")), "RGB", None


def _png_bits(data: bytes, what: str) -> int:
    return data[24] if what == "PNG" and len(data) > 24 else 8


def _pillow_claims(image: Image.Image, exif: Image.Exif) -> tuple[Claim, ...]:
    """Pixel sizes from texts, then PNG pHYs or JFIF density, then Exif."""
    claims: list[Claim] = []
    info = image.info
    for text in (exif.get(IMAGE_DESCRIPTION), info.get("comment"), *info.values()):
        if isinstance(text, bytes) and len(text) < 65_536:
            text = text.decode("latin-1")
        if isinstance(text, str):
            claims += from_description(text)
    if "jfif_density" in info:
        unit = {1: UM_PER_INCH, 2: 1e4}.get(_integer(info.get("jfif_unit")))
        if unit:
            x, y = info["jfif_density"]
            claims += from_density(x, y, unit)
    elif image.format == "PNG" and "dpi" in info:
        x, y = info["dpi"]
        claims += from_density(x, y, UM_PER_INCH)
    unit = {2: UM_PER_INCH, 3: 1e4}.get(_integer(exif.get(RESOLUTION_UNIT, 2)))
    if unit and X_RESOLUTION in exif:
        x = exif[X_RESOLUTION]
        y = exif.get(Y_RESOLUTION, x)
        claims += from_density(x, y, unit)
    return tuple(claims)


def _finish(raster: Raster) -> Decoded:
    pixels, converted = to_srgb(raster.colour, raster.space, raster.profile)
    notes = [*raster.notes, *converted]
    if raster.alpha is not None and raster.alpha.min() < 255:
        pixels = flatten(pixels, raster.alpha, raster.premultiplied)
        notes.append("alpha-flattened")
    pixels = np.ascontiguousarray(orient(pixels, raster.orientation))
    if 2 <= raster.orientation <= 8:
        notes.append("turned")
    claims = raster.claims
    if raster.orientation in (5, 6, 7, 8):
        claims = tuple((y, x) for x, y in claims)
    return Decoded(pixels=pixels, claims=claims, notes=tuple(notes))


def _integer(value: object) -> int:
    return value if isinstance(value, int) else 0


def _reason(error: Exception) -> str:
    """The first words of a decoder's own message, on one line."""
    text = " ".join(_OBJECT.sub("", str(error)).split()) or type(error).__name__
    return text if len(text) <= 80 else f"{text[:77]}..."
