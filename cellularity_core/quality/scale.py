"""At which pixel size is this tissue shown? Judged from nuclei and texture.

Nuclei are blobs that absorb red, fibres are fine lines that do not. How strong
their structure is at each size, how skewed, how many dark blobs there are of
each size, and how thick what is dark is, tell the scale; a small regression
puts these numbers together.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from cellularity_core.quality.views import DENSITY, WORKING_MPP, View, halved, smooth

OCTAVES: Final = 5
BAND_SIGMAS: Final = (0.8, 1.386)
"""Two bands an octave: each image of the pyramid less itself smoothed by the first, and
that less itself smoothed by the second too."""

BLOB_STRENGTH: Final = 0.7
"""A blob stands out by this many root mean squares of its band."""

THICKNESS: Final = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
"""Depths in pixels at which what is dark is counted."""

NUCLEAR_SIGMA: Final = 1.2
"""Smoothing, in pixels, before dark is parted from bright."""

MEASURABLE: Final = 20_000
"""Pixels of tissue (at 0.5 um or coarser) from which a scale is judged: 140 x 140."""

LIMIT: Final = 5.0
"""Standard deviations beyond which a measure counts no further."""

_CROSS: Final = np.ones((3, 3), np.uint8)

Vector = npt.NDArray[np.float64]


def measures(parts: Sequence[View]) -> Vector | None:
    """What the scale is judged from.

    Parameters
    ----------
    parts : sequence of View
        Of one patch.

    Returns
    -------
    ndarray, shape (50,), or None
        None where there is too little tissue to tell.
    """
    if sum(np.count_nonzero(part.tissue) for part in parts) < MEASURABLE:
        return None
    moments = sum(_moments(part) for part in parts)
    assert isinstance(moments, np.ndarray)
    weight, square, cube, fourth, blobs = moments.T
    weight = np.maximum(weight, 1.0)
    square, cube, fourth = (m / weight + 1e-12 for m in (square, cube, fourth))
    level = 0.5 * np.log(square)
    thickness = sum(_thickness(part) for part in parts)
    assert isinstance(thickness, np.ndarray)
    dark, depth, tissue = thickness[-3:]
    dark = max(dark, 1.0)
    return np.concatenate(
        [
            level - level[2:8].mean(),
            cube / square**1.5,
            np.log(fourth / square**2),
            np.log(blobs[2:] / weight[2:] + 1e-4),
            np.log(thickness[:-3] / dark + 1e-3),
            [np.log(depth / dark), dark / tissue, np.log2(parts[0].mpp / WORKING_MPP)],
        ]
    )


def _moments(part: View) -> npt.NDArray[np.float64]:
    """Sums over tissue by band: weight, 2nd, 3rd and 4th power, blobs; shape (10, 5)."""
    plane = np.asarray(cv2.LUT(cv2.extractChannel(part.pixels, 0), DENSITY), np.float32)
    weight = part.tissue.astype(np.float32)
    rows = []
    for octave in range(OCTAVES):
        # arrays of this size are dear to allocate, so each is used again
        spare, square, weighted = (np.empty_like(plane) for _ in range(3))
        total = float(weight.sum())
        for sigma in BAND_SIGMAS:
            smoother = smooth(plane, sigma, out=spare)
            band = np.subtract(plane, smoother, out=plane)
            np.multiply(band, band, out=square)
            np.multiply(square, weight, out=weighted)
            second = float(weighted.sum())
            third, fourth = float(np.vdot(weighted, band)), float(np.vdot(weighted, square))
            blobs = 0
            if octave > 0:
                limit = BLOB_STRENGTH * (second / max(total, 1.0)) ** 0.5
                peak = np.asarray(cv2.dilate(band, _CROSS)) == band
                blobs = int(np.count_nonzero(peak & (band > limit) & (weight > 0)))
            rows.append([total, second, third, fourth, blobs])
            plane, spare = smoother, band
        plane, weight = halved(plane), halved(weight)
    return np.array(rows)


def _thickness(part: View) -> npt.NDArray[np.float64]:
    """How much of what is dark lies how deep; then its area, mean depth x area, tissue."""
    red: Any = cv2.GaussianBlur(cv2.extractChannel(part.pixels, 0), (0, 0), NUCLEAR_SIGMA)
    inside = red[part.tissue]
    if len(inside) == 0:
        return np.zeros(len(THICKNESS) + 3)
    level = cv2.threshold(inside.reshape(-1, 1), 0, 255, cv2.THRESH_OTSU)[0]
    dark = ((red <= level) & part.tissue).astype(np.uint8)
    depth = np.asarray(cv2.distanceTransform(dark, cv2.DIST_L2, 3))
    deeper = [np.count_nonzero(depth > limit) for limit in THICKNESS]
    return np.array([*deeper, cv2.countNonZero(dark), depth.sum(), len(inside)], float)


def magnification(measured: Vector, model: Mapping[str, Any]) -> float:
    """How much larger the tissue is shown than the pixel size claims, as log2.

    Parameters
    ----------
    measured : ndarray
        From `measures`.
    model : mapping
        ``centre``, ``spread`` (a number a measure), and ``layers``: pairs of a
        matrix and an offset, with tanh between them.

    Returns
    -------
    float
        0 where the claim is right, 1 for twice as large, -1 for half.
    """
    x = (measured - np.asarray(model["centre"])) / np.asarray(model["spread"])
    x = np.clip(x, -LIMIT, LIMIT)
    layers = model["layers"]
    for number, (matrix, offset) in enumerate(layers):
        x = x @ np.asarray(matrix) + np.asarray(offset)
        if number < len(layers) - 1:
            x = np.tanh(x)
    return float(x[0])
