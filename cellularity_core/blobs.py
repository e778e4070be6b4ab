"""Blobs of an activation map: local maxima of its LoG scale space.

The definition is that of `skimage.feature.blob_log` at sigma 1, 2, 3, 4 without
pruning (METHODS 4), and so are the results, to the blob. What differs is the
cost. Six nested thresholds share one detection, and the scale space is computed
in float32 by separable filters; where float32 cannot settle whether a pixel is
a maximum, or lies above a threshold, that pixel alone is recomputed the
reference way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

SIGMAS: Final = (1.0, 2.0, 3.0, 4.0)
"""Scales, in pixels of a map at 1 um/px."""

BLOB_THRESHOLDS: Final = (0.02, 0.04, 0.08, 0.16, 0.24, 0.50)
"""Thresholds of the scale-normalised response at which blobs become features."""

MIN_THRESHOLD: Final = 0.01
"""Lowest threshold. Cut kernels answer 0.0013 to flat ground at 1; that is no blob."""

_TRUNCATE: Final = 4.0

_DOUBT: Final = 2e-5
"""Difference of two float32 responses, per unit of activation, that settles nothing.

Two passes of at most 33 taps in float32, kernels of absolute sum <= 1, two
terms: a response is off by less than 8.5e-6 in the worst case, so a difference
of two by less than 1.7e-5. (Seen on real maps: 1.3e-7.)
"""

_RING: Final = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], np.uint8)
"""The 8 neighbours of a pixel."""

FloatMap = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Blobs:
    """Blobs of one map, strongest first, one entry a blob in every array.

    Attributes
    ----------
    row, column : ndarray of int64, shape (n,)
        Centre, in pixels of the map.
    sigma : ndarray of float64, shape (n,)
        Scale in pixels of the map; a blob's radius is about ``sigma * sqrt(2)``.
    response : ndarray of float32 or float64, shape (n,)
        ``-sigma**2 * LoG`` at the centre, dimensionless; in the map's precision.
    value : ndarray of float64, shape (n,)
        The map at the centre.
    """

    row: npt.NDArray[np.int64]
    column: npt.NDArray[np.int64]
    sigma: npt.NDArray[np.float64]
    response: FloatMap
    value: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.row)

    def above(self, threshold: float) -> "Blobs":
        """Blobs whose response exceeds `threshold`.

        Equal to a new detection at `threshold`, as long as it is not below the
        threshold of this one.
        """
        keep = self.response > self.response.dtype.type(threshold)
        return Blobs(
            self.row[keep],
            self.column[keep],
            self.sigma[keep],
            self.response[keep],
            self.value[keep],
        )


def _radius(sigma: float) -> int:
    """Pixels to either side of its centre that a kernel reaches."""
    return int(_TRUNCATE * sigma + 0.5)


@cache
def _kernels(sigma: float) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Gaussian and ``-sigma**2`` times its second derivative, as SciPy samples them."""
    radius = _radius(sigma)
    x = np.arange(-radius, radius + 1, dtype=np.float64)
    gauss = np.exp(-0.5 * (x / sigma) ** 2)
    gauss /= gauss.sum()
    second = gauss * (1.0 - (x / sigma) ** 2)
    return gauss.astype(np.float32), second.astype(np.float32)


def log_response(image: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[np.float32]:
    """Scale-normalised Laplacian of Gaussian, positive on bright blobs.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W)
    sigma : float
        In pixels.

    Returns
    -------
    ndarray of float32, shape (H, W)
        ``-sigma**2 * scipy.ndimage.gaussian_laplace(image, sigma)`` (reflected
        at the border, kernels cut at 4 sigma) within float32's rounding.
    """
    gauss, second = _kernels(float(sigma))
    # a call for each axis: OpenCV's separable filter takes a quarter longer than its plain one
    down = _filtered(_filtered(image, gauss[None]), second[:, None])
    across = _filtered(_filtered(image, gauss[:, None]), second[None])
    return np.asarray(cv2.add(down, across, dst=down))


def _filtered(
    image: npt.NDArray[np.float32], kernel: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    return np.asarray(cv2.filter2D(image, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT))


def scale_space(image: FloatMap) -> npt.NDArray[np.float32]:
    """LoG scale space of one map at `SIGMAS`.

    Parameters
    ----------
    image : ndarray of float, shape (H, W)
        One class map at 1 um/px.

    Returns
    -------
    ndarray of float32, shape (4, H, W)
        ``-sigma**2 * LoG``, as in `skimage.feature.blob_log`, within 1e-6 for a
        map in [0, 1].

    Raises
    ------
    ValueError
        If `image` is not a finite two-dimensional array of floats.

    References
    ----------
    Lindeberg, Int J Comput Vision 1998, 30:79 (scale-normalised derivatives).
    """
    _check(image)
    single = np.ascontiguousarray(image, dtype=np.float32)
    return np.stack([log_response(single, sigma) for sigma in SIGMAS])


def find_blobs(image: FloatMap, threshold: float = BLOB_THRESHOLDS[0]) -> Blobs:
    """Find every local maximum of the scale space above a threshold.

    A blob is a pixel whose response is nowhere exceeded among its neighbours in
    space and scale (3 x 3 x 3) and exceeds `threshold`; blobs at the border
    count, and overlapping blobs are all kept. The set equals that of
    ``skimage.feature.blob_log(image, min_sigma=1, max_sigma=4, num_sigma=4,
    threshold=threshold, overlap=1.001)``, and so does every ``.above(t)`` for t
    in `BLOB_THRESHOLDS`; for another t, a blob whose response is within 1e-6 of
    it may fall on either side. (At ``overlap=1`` skimage's rounding drops about
    one blob in 25,000, one that touches a larger one from inside.)

    Parameters
    ----------
    image : ndarray of float, shape (H, W)
        One class map at 1 um/px, in [0, 1].
    threshold : float
        Lowest response, at least `MIN_THRESHOLD`.

    Returns
    -------
    Blobs
        Strongest first.

    Raises
    ------
    ValueError
        If `image` is not a finite two-dimensional array of floats, or the
        threshold is too low.
    """
    if not threshold >= MIN_THRESHOLD:
        raise ValueError(
            f"The blob threshold is {threshold}; it must be at least {MIN_THRESHOLD}, "
            "below which flat ground would be counted."
        )
    space = scale_space(image)
    doubt = _DOUBT * max(1.0, float(np.abs(image).max(initial=0.0)))
    flat, rival = _candidates(space, threshold, doubt)
    level, row, column = np.unravel_index(flat, space.shape)
    response = space.ravel()[flat].astype(_precision(image))

    limits = np.array(sorted({threshold, *BLOB_THRESHOLDS}))
    near_limit = np.abs(response - limits[:, None]).min(axis=0) <= doubt
    peak = response > rival
    unsettled = (np.abs(response - rival) <= doubt) | (peak & near_limit)
    if unsettled.any():
        response[unsettled], peak[unsettled] = _settle(
            image, level[unsettled], row[unsettled], column[unsettled]
        )
    # in the map's own precision, as the reference compares
    keep = peak & (response > response.dtype.type(threshold))
    chosen = np.flatnonzero(keep)
    chosen = chosen[np.argsort(-response[chosen], kind="stable")]
    return Blobs(
        row=row[chosen],
        column=column[chosen],
        sigma=np.asarray(SIGMAS)[level[chosen]],
        response=response[chosen],
        value=image[row[chosen], column[chosen]].astype(np.float64),
    )


def _check(image: FloatMap) -> None:
    if image.ndim != 2 or image.size == 0 or not np.issubdtype(image.dtype, np.floating):
        raise ValueError(
            f"Got an array of shape {image.shape} and type {image.dtype}; expected one "
            "activation map of floats, shape (H, W)."
        )
    if not np.isfinite(image).all():
        raise ValueError("The activation map holds NaN or infinity; check the network's output.")


def _precision(image: FloatMap) -> type[np.floating[Any]]:
    """Type the reference computes in: double for double, single for the rest."""
    return np.float64 if image.dtype == np.float64 else np.float32


def _candidates(
    space: npt.NDArray[np.float32], threshold: float, doubt: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Flat indices of what may be a maximum of its plane above `threshold`.

    With each comes its rival: the highest response among its up to 26 neighbours.
    """
    around = np.empty_like(space)
    planes = []
    for k, plane in enumerate(space):
        cv2.dilate(plane, _RING, dst=around[k])
        chosen = (plane >= around[k] - np.float32(doubt)) & (plane >= threshold - doubt)
        planes.append(np.flatnonzero(chosen) + k * plane.size)
    flat = np.concatenate(planes)
    rival = around.ravel()[flat]
    for step in (-space[0].size, space[0].size):
        other = flat + step
        inside = (other >= 0) & (other < space.size)
        for highest in (space, around):
            rival[inside] = np.maximum(rival[inside], highest.ravel()[other[inside]])
    return flat, rival


def _settle(
    image: FloatMap,
    level: npt.NDArray[np.int64],
    row: npt.NDArray[np.int64],
    column: npt.NDArray[np.int64],
) -> tuple[FloatMap, npt.NDArray[np.bool_]]:
    """Response of given pixels and whether they are maxima, by SciPy to the last bit.

    A filtered value depends on its window alone, so each pixel's neighbourhood is
    cut out with a kernel's reach around it, and the cuts are filtered as one image, at
    the scales of the pixels and the next ones.
    """
    source = image.astype(_precision(image), copy=False)
    first = max(0, int(level.min()) - 1)
    sigmas, level = SIGMAS[first : int(level.max()) + 2], level - first
    reach = _radius(sigmas[-1]) + 1
    side = 2 * reach + 1
    if len(row) * side * side < source.size:
        padded = np.pad(source, reach, mode="symmetric")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side))
        stack = windows[row, column]  # (n, side, side)
        middle = slice(reach - 1, reach + 2)
        cube = np.stack(
            [
                plane.reshape(stack.shape)[:, middle, middle]
                for plane in _reference_space(stack.reshape(-1, side), sigmas)
            ],
            axis=1,
        )
    else:
        space = np.stack(_reference_space(source, sigmas))
        padded = np.pad(space, ((0, 0), (1, 1), (1, 1)), mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
        cube = windows[:, row, column].swapaxes(0, 1)  # (n, 2 to 4, 3, 3)
    each = np.arange(len(row))
    centre = cube[each, level, 1, 1]
    per_level = cube.max(axis=(2, 3))
    highest = np.maximum.reduce(
        [per_level[each, (level + d).clip(0, len(sigmas) - 1)] for d in (-1, 0, 1)]
    )
    return centre, centre == highest


def _reference_space(image: FloatMap, sigmas: Sequence[float]) -> list[FloatMap]:
    """Scale space in the words of `skimage.feature.blob_log`."""
    one = image.dtype.type
    return [
        -ndimage.gaussian_laplace(image, one(sigma)) * np.mean(one(sigma)) ** 2 for sigma in sigmas
    ]
