"""Images and maps at another pixel size."""

from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

T = TypeVar("T", bound=np.generic)


def resample(image: npt.NDArray[T], factor: float) -> npt.NDArray[T]:
    """Resize by a factor: area average when shrinking, bilinear when growing.

    Parameters
    ----------
    image : ndarray, shape (H, W) or (H, W, C)
    factor : float
        Output side over input side.

    Returns
    -------
    ndarray
        Of at least 1 x 1; ``x_out = (x_in + 0.5) * factor - 0.5``.
    """
    height = max(1, round(image.shape[0] * factor))
    width = max(1, round(image.shape[1] * factor))
    return resize(image, (height, width))


def resize(image: npt.NDArray[T], shape: tuple[int, int]) -> npt.NDArray[T]:
    """Resize to a height and width: area average when shrinking, bilinear when growing."""
    if image.shape[:2] == shape:
        return image
    shrinking = shape[0] < image.shape[0]
    source: Any = image
    resized = cv2.resize(
        source, shape[::-1], interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    )
    return np.asarray(resized, dtype=image.dtype)


def resample_maps(maps: npt.NDArray[T], factor: float) -> npt.NDArray[T]:
    """`resample` of each map of an array of shape (C, H, W)."""
    height, width = (max(1, round(side * factor)) for side in maps.shape[1:])
    return resize_maps(maps, (height, width))


def resize_maps(maps: npt.NDArray[T], shape: tuple[int, int]) -> npt.NDArray[T]:
    """`resize` of each map of an array of shape (C, H, W)."""
    if maps.shape[1:] == shape:
        return maps
    return np.stack([resize(np.ascontiguousarray(m), shape) for m in maps])
