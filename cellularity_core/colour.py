"""Samples of any bit depth and colour space -> sRGB, 8 bit, opaque."""

import io
import math
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

Space = Literal["L", "RGB", "CMYK"]
"""Colour space of samples, by Pillow's names; "L" is grey."""

CHANNELS: Final[dict[Space, int]] = {"L": 1, "RGB": 3, "CMYK": 4}

PROFILE_SPACES: Final[dict[str, Space]] = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}
"""The colour space a profile names, and the samples it can be applied to."""

SAME_PROFILE_LEVELS: Final = 1
"""A profile that moves no colour by more levels than this is sRGB itself."""


def to_uint8(samples: npt.NDArray[Any], bits: int | None = None) -> npt.NDArray[np.uint8]:
    """Samples scaled to 0..255.

    Parameters
    ----------
    samples : ndarray of bool, integer or float, any shape
        Integers hold 0 to 2**bits - 1. Floats hold 0 to 1, 0 to 255 or 0 to
        65535, the smallest of these that fits all of them.
    bits : int, optional
        Significant bits of each integer. By default all of the type, except
        that cameras store 8 and 12 bits in 16: where no sample is larger,
        those are meant.

    Returns
    -------
    ndarray of uint8, the same shape

    Raises
    ------
    ValueError
        If samples are negative, not finite, above 65535 in floats, or of
        another type.
    """
    kind = samples.dtype.kind
    if samples.dtype == np.uint8 and bits in (None, 8):
        return samples
    if kind == "b":
        return np.where(samples, 255, 0).astype(np.uint8)
    low, high = samples.min().item(), samples.max().item()
    if kind == "f":
        if not (math.isfinite(low) and math.isfinite(high)) or low < 0 or high > 65535:
            raise ValueError(f"floating-point samples from {low} to {high}")
        scale = next(s for s in (1.0, 255.0, 65535.0) if high <= s)
        return np.rint(samples.astype(np.float64) * (255.0 / scale)).astype(np.uint8)
    if kind not in "iu" or low < 0:
        raise ValueError(f"samples of type {samples.dtype} from {low} to {high}")
    if bits is None:
        bits = samples.dtype.itemsize * 8 - (kind == "i")
        if bits in (15, 16):
            bits = next(b for b in (8, 12, bits) if high < 1 << b)
    if bits >= 8:
        scaled = np.minimum(samples >> (bits - 8), 255)
    else:
        scaled = samples.astype(np.uint16) * 255 // ((1 << bits) - 1)
    return np.asarray(scaled, np.uint8)


def to_srgb(
    colour: npt.NDArray[np.uint8], space: Space, profile: bytes | None
) -> tuple[npt.NDArray[np.uint8], list[str]]:
    """Colours in sRGB, through the embedded profile where there is a usable one.

    Parameters
    ----------
    colour : ndarray of uint8, shape (H, W, C)
        C as `CHANNELS` says. CMYK has 0 for no ink.
    space : {"L", "RGB", "CMYK"}
    profile : bytes or None
        ICC profile of the file.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
    list of str
        Codes of `notes` of what was done. A profile that is broken or made for
        another colour space is left out, and the samples count as sRGB.
    """
    height, width = colour.shape[:2]
    samples = np.ascontiguousarray(colour[..., 0] if space == "L" else colour)
    image = Image.frombuffer(space, (width, height), samples.tobytes(), "raw", space, 0, 1)
    transform = _transform(profile, space) if profile else None
    plain = image.convert("RGB")
    if transform is None:
        notes = ["icc-ignored"] if profile else []
        return np.array(plain), [*notes, "cmyk-converted"] if space == "CMYK" else notes
    if space == "RGB" and _is_srgb(transform):
        return np.array(plain), []
    return np.array(ImageCms.applyTransform(image, transform)), ["icc-converted"]


def _is_srgb(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether a profile is sRGB itself, so that no colour need move by rounding."""
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
    moved = ImageCms.applyTransform(Image.fromarray(grid), transform)
    return bool(np.abs(np.array(moved, np.int16) - grid).max() <= SAME_PROFILE_LEVELS)


def _transform(profile: bytes, space: Space) -> ImageCms.ImageCmsTransform | None:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if PROFILE_SPACES.get(source.profile.xcolor_space.strip()) != space:
            return None
        return ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            space,
            "RGB",
            ImageCms.Intent(ImageCms.getDefaultIntent(source)),
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError):
        return None


def flatten(
    colour: npt.NDArray[np.uint8], alpha: npt.NDArray[np.uint8], premultiplied: bool = False
) -> npt.NDArray[np.uint8]:
    """Colours as seen on white.

    Parameters
    ----------
    colour : ndarray of uint8, shape (H, W, 3)
    alpha : ndarray of uint8, shape (H, W)
        255 is opaque.
    premultiplied : bool
        Whether the colours were multiplied by alpha already ("associated").

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
    """
    cover = alpha.astype(np.uint16)[..., None]
    light = colour.astype(np.uint16)
    if premultiplied:
        return np.asarray(np.minimum(light + (255 - cover), 255), np.uint8)
    return np.asarray((light * cover + 255 * (255 - cover) + 127) // 255, np.uint8)


def orient(pixels: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """Pixels turned upright.

    Parameters
    ----------
    pixels : ndarray, shape (H, W, ...)
    orientation : int
        Exif and TIFF tag 274: 1 upright, 2 to 8 mirrored or turned. Any other
        value counts as 1.

    Returns
    -------
    ndarray, shape (H, W, ...) or (W, H, ...)

    References
    ----------
    TIFF 6.0, section 8, "Orientation".
    """
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
