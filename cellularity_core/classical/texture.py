"""Stain and texture inside each nucleus."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from skimage.feature import graycoprops, local_binary_pattern

from cellularity_core.classical.segmentation import Plane, Regions

Floats = npt.NDArray[np.float64]

LEVELS: Final = 8
"""Steps of haematoxylin from 0 to `TOP` in a co-occurrence matrix."""

TOP: Final = 1.2
"""Amount of stain at which the highest step begins to saturate."""

OFFSETS: Final = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Row and column from a pixel to its partner: four directions, one pixel away."""

HARALICK: Final = ("contrast", "dissimilarity", "homogeneity", "ASM", "correlation", "entropy")
"""Properties by the names of `skimage.feature.graycoprops`."""

LBP_POINTS: Final = 8
LBP_BINS: Final = LBP_POINTS + 2
"""Rotation-invariant uniform patterns of 8 neighbours at radius 1."""

TEXTURE_NAMES: Final = (
    *(f"haralick {name.lower()}" for name in HARALICK),
    *(f"lbp {k}" for k in range(LBP_BINS)),
)

SPREAD_NAMES: Final = ("mean", "deviation", "skewness", "tenth", "ninetieth")


def spread_features(plane: Plane, regions: Regions) -> Floats:
    """Mean, standard deviation, skewness, 10 % and 90 % quantile inside each nucleus.

    Parameters
    ----------
    plane : ndarray of float32, shape (H, W)
    regions : ndarray of int32, shape (H, W)

    Returns
    -------
    ndarray of float64, shape (n, 5)
        Skewness is 0 where nothing varies; a quantile is the value at rank
        ``floor(q (pixels - 1))``.
    """
    inside = regions > 0
    index, values = regions[inside] - 1, plane[inside].astype(np.float64)
    n = int(regions.max(initial=0))
    mass = np.bincount(index, minlength=n)
    mean = np.bincount(index, values, n) / mass
    off = values - mean[index]
    variance = np.bincount(index, off**2, n) / mass
    third = np.bincount(index, off**3, n) / mass
    deviation = np.sqrt(variance)
    skewness = np.divide(third, deviation**3, out=np.zeros(n), where=deviation > 1e-6)
    ranked = values[np.lexsort((values, index))]
    first = np.cumsum(mass) - mass
    low, high = (ranked[first + ((mass - 1) * q).astype(np.int64)] for q in (0.1, 0.9))
    return np.column_stack([mean, deviation, skewness, low, high])


def texture_features(haematoxylin: Plane, regions: Regions) -> Floats:
    """`TEXTURE_NAMES` of each nucleus.

    Parameters
    ----------
    haematoxylin : ndarray of float32, shape (H, W)
    regions : ndarray of int32, shape (H, W)

    Returns
    -------
    ndarray of float64, shape (n, 16)
        Haralick's properties as means over four directions, of pairs of pixels
        that lie both in the nucleus; then the share of each local binary pattern.

    References
    ----------
    Haralick et al., IEEE Trans Syst Man Cybern 1973, 3:610. Ojala et al., IEEE
    Trans Pattern Anal 2002, 24:971.
    """
    pairs = cooccurrence(haematoxylin, regions)
    haralick = [_haralick(pairs, name) for name in HARALICK]
    patterns = local_binary_pattern(  # type: ignore[no-untyped-call]
        _steps(haematoxylin, 256), LBP_POINTS, 1, "uniform"
    )
    inside = regions > 0
    n = int(regions.max(initial=0))
    cell = (regions[inside] - 1) * LBP_BINS + patterns[inside].astype(np.int64)
    counts = np.bincount(cell, minlength=n * LBP_BINS).reshape(n, LBP_BINS)
    return np.column_stack([*haralick, counts / counts.sum(axis=1, keepdims=True)])


def cooccurrence(haematoxylin: Plane, regions: Regions) -> Any:
    """Symmetric grey-level co-occurrence of each nucleus' own pixels.

    Returns
    -------
    ndarray of float64, shape (LEVELS, LEVELS, n, 4)
        As `skimage.feature.graycomatrix` lays it out, the nuclei in place of
        distances: every (level, level) matrix sums to 1, or to 0 without a pair.
    """
    level = _steps(haematoxylin, LEVELS).astype(np.int64)
    n = int(regions.max(initial=0))
    height, width = regions.shape
    out = np.zeros((n, len(OFFSETS), LEVELS, LEVELS))
    for k, (down, right) in enumerate(OFFSETS):
        here = (slice(0, height - down), slice(max(0, -right), width - max(0, right)))
        there = (slice(down, height), slice(max(0, right), width + min(0, right)))
        own = (regions[here] > 0) & (regions[here] == regions[there])
        cell = ((regions[here][own] - 1) * LEVELS + level[here][own]) * LEVELS + level[there][own]
        counts = np.bincount(cell, minlength=n * LEVELS**2).reshape(n, LEVELS, LEVELS)
        out[:, k] = counts + counts.transpose(0, 2, 1)
    total = out.sum(axis=(2, 3), keepdims=True)
    return (out / np.maximum(total, 1)).transpose(2, 3, 0, 1)


def _haralick(pairs: Any, name: str) -> Floats:
    values = graycoprops(pairs, name)  # type: ignore[no-untyped-call]
    return np.asarray(values.mean(axis=1), np.float64)


def _steps(plane: Plane, levels: int) -> npt.NDArray[np.uint8]:
    return np.asarray((plane * (levels / TOP)).clip(0, levels - 1), np.uint8)
