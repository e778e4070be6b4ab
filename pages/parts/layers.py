"""What the viewer draws of a result: small enough to keep, and to send to a browser."""

import base64
import io
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from cellularity_core.blobs import BLOB_THRESHOLDS, find_blobs
from cellularity_core.conventions import CLASSES
from cellularity_core.results import PatchResult

MAP_SIDE: Final = 1024
"""Longest side of a map as drawn, in pixels; a larger one is reduced."""

PICTURE_SIDE: Final = 2048
"""Longest side of a patch as drawn, in pixels."""

LOSSLESS_PIXELS: Final = 1_100_000
"""A picture up to this size is sent as it is; a larger one as JPEG."""


@dataclass(frozen=True, slots=True)
class Blobs:
    """Blobs of the three class maps of one method, on the patch's own pixels.

    Attributes
    ----------
    x, y, radius : ndarray of float32, shape (n,)
        In pixels of the patch as given; (0, 0) is the centre of its first pixel.
    response, value : ndarray of float32, shape (n,)
        LoG response, and the activation at the centre.
    label : ndarray of int8, shape (n,)
        Index into `CLASSES`.
    """

    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.float32]
    radius: npt.NDArray[np.float32]
    response: npt.NDArray[np.float32]
    value: npt.NDArray[np.float32]
    label: npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class PackedMaps:
    """Maps of the classes in 256 levels, packed as they go to the browser: a third of the memory.

    Attributes
    ----------
    shape : tuple of int
        (4, h, w), in the order of `CHANNELS`.
    packed : bytes
        By zlib.
    """

    shape: tuple[int, ...]
    packed: bytes

    @classmethod
    def of(cls, levels: npt.NDArray[np.uint8]) -> "PackedMaps":
        """Pack levels of shape (4, h, w)."""
        return cls(levels.shape, zlib.compress(np.ascontiguousarray(levels), level=1))

    def levels(self) -> npt.NDArray[np.uint8]:
        """Levels of 0 to 255; cannot be written to."""
        return np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(self.shape)


@dataclass(frozen=True, slots=True)
class Layers:
    """Maps and blobs, by method."""

    maps: Mapping[str, PackedMaps]
    blobs: Mapping[str, Blobs]


def layers_of(result: PatchResult) -> Layers:
    """Layers of a result that was scored with its maps; one where methods share a map."""
    size = (result.width, result.height)
    maps: dict[str, PackedMaps] = {}
    for name, activations in result.activations.items():
        packed = PackedMaps.of(_levels(activations))
        if packed not in maps.values():
            maps[name] = packed
    return Layers(maps, {name: _blobs(result.feature_maps[name], size) for name in maps})


def _levels(maps: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint8]:
    """Maps in 256 levels, at most `MAP_SIDE` a side."""
    channels = maps.astype(np.float32)
    return np.stack([np.rint(255.0 * reduced(m, MAP_SIDE)) for m in channels]).astype(np.uint8)


def _blobs(maps: npt.NDArray[np.float32], size: tuple[int, int]) -> Blobs:
    """Blobs above the lowest threshold; higher thresholds are subsets of them."""
    found = [find_blobs(maps[k], min(BLOB_THRESHOLDS)) for k in range(len(CLASSES))]
    fx, fy = size[0] / maps.shape[2], size[1] / maps.shape[1]

    def joined(name: str) -> npt.NDArray[np.float32]:
        return np.concatenate([getattr(b, name) for b in found]).astype(np.float32)

    return Blobs(
        x=(joined("column") + 0.5) * fx - 0.5,
        y=(joined("row") + 0.5) * fy - 0.5,
        radius=joined("sigma") * np.float32(np.sqrt(2.0 * fx * fy)),
        response=joined("response"),
        value=joined("value"),
        label=np.repeat(np.arange(len(CLASSES), dtype=np.int8), [len(b) for b in found]),
    )


def reduced(image: npt.NDArray[Any], side: int) -> npt.NDArray[Any]:
    """`image`, reduced by area where its longest side exceeds `side`."""
    height, width = image.shape[:2]
    factor = side / max(height, width)
    if factor >= 1.0:
        return image
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def picture_url(pixels: npt.NDArray[np.uint8]) -> str:
    """A patch, shape (H, W, 3), as a ``data:`` URL: nothing to fetch from anywhere."""
    shown = reduced(pixels, PICTURE_SIDE)
    if shown.shape[0] * shown.shape[1] <= LOSSLESS_PIXELS:
        return _url(shown, "png", compress_level=3)
    return _url(shown, "jpeg", quality=93, subsampling=0)


def overlay_url(picture: npt.NDArray[np.uint8]) -> str:
    """A picture with opacity, shape (h, w, 4), as a ``data:`` URL.

    Raises
    ------
    ValueError
        If it is not RGBA in 8 bits.
    """
    if picture.ndim != 3 or picture.shape[2] != 4 or picture.dtype != np.uint8:
        raise ValueError(
            f"An overlay is RGBA, uint8 of shape (h, w, 4); this one is {picture.dtype} "
            f"of shape {picture.shape}."
        )
    return _url(reduced(picture, MAP_SIDE), "png", compress_level=3)


def _url(pixels: npt.NDArray[np.uint8], kind: str, **options: int) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=kind.upper(), **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
