"""The parts of a patch that are looked at, at a size where a scale is a size in tissue."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Plane = npt.NDArray[np.float32]
T = TypeVar("T", bound=np.generic)

WORKING_MPP: Final = 0.5
"""um/px that finer patches are brought to; coarser ones stay as they are."""

WHOLE: Final = 768
"""Longest side, in pixels at that size, that is looked at as a whole."""

TILE: Final = 256
TILES: Final = 3
"""Side and number a side of the tiles, spread evenly, that stand for a larger patch."""

DENSITY: Final = (-np.log((np.arange(256) + 1) / 256)).astype(np.float32)
"""Optical density of each grey level, glass being 255."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One part of a patch.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (h, w, 3)
    tissue : ndarray of bool, shape (h, w)
    mpp : float
        um per pixel of these arrays, at least `WORKING_MPP`.
    """

    pixels: Pixels
    tissue: Mask
    mpp: float


def views(pixels: Pixels, tissue: Mask, mpp: float) -> list[View]:
    """The whole of a patch, or tiles of a large one.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
    tissue : ndarray of bool, shape (H, W)
    mpp : float
        um per pixel.

    Returns
    -------
    list of View
    """
    found = []
    scale = min(1.0, mpp / WORKING_MPP)
    for rows, columns in _windows(tissue.shape, scale):
        part: Any = np.ascontiguousarray(pixels[rows, columns])
        inside: Any = np.ascontiguousarray(tissue[rows, columns])
        if scale < 1:
            size = [max(1, round(side * scale)) for side in inside.shape[::-1]]
            part = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
            nearest = cv2.INTER_NEAREST
            inside = cv2.resize(inside.astype(np.uint8), size, interpolation=nearest).astype(bool)
        found.append(View(part, inside, max(mpp, WORKING_MPP)))
    return found


def _windows(shape: tuple[int, ...], scale: float) -> Iterator[tuple[slice, slice]]:
    side = int(TILE / scale)
    rows, columns = (
        [slice(0, length)]
        if length * scale <= WHOLE
        else [slice(s, s + side) for s in np.linspace(0, length - side, TILES, dtype=int)]
        for length in shape
    )
    for row in rows:
        for column in columns:
            yield row, column


def blocks(image: npt.NDArray[np.uint8], side: float, step: int = 1) -> npt.NDArray[np.uint8]:
    """Means of square blocks of about `side` pixels; what is left at the edges is dropped.

    Only every `step`-th row and column of blocks is made.
    """
    whole = max(1, min(round(side), *image.shape[:2]))
    height, width = (length // whole for length in image.shape[:2])
    inner = image[: height * whole, : width * whole]
    if step > 1:
        rows = inner.reshape(height, whole, *inner.shape[1:])[::step]
        height, inner = len(rows), rows.reshape(-1, *inner.shape[1:])
    means = cv2.resize(inner, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(means[:, ::step], np.uint8)


def halved(plane: npt.NDArray[T]) -> npt.NDArray[T]:
    """Every second row and column."""
    return np.ascontiguousarray(plane[::2, ::2])


def smooth(plane: Plane, sigma: float, out: Plane | None = None) -> Plane:
    """Gaussian of `sigma` pixels; written into `out` where it is given."""
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma, dst=out), np.float32)
