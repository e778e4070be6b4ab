"""The 81 features that gradient boosting reads (METHODS 4).

Order: class by class (normal, lymphocyte, malignant); within a class
``value@total``, then for each of 7 thresholds ``area@t`` and ``value@t``, then
for each of 6 thresholds ``blb_cnt@t`` and ``blb_sum@t``: 1 + 14 + 12 = 27.

References
----------
Rakhlin et al., "Breast Tumor Cellularity Assessment using Deep Neural
Networks", ICCV Workshops 2019, section 3.3.
"""

from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from cellularity_core.blobs import BLOB_THRESHOLDS, Blobs, find_blobs
from cellularity_core.conventions import CLASSES, FEATURE_PIXELS

AREA_THRESHOLDS: Final = (0.02, 0.04, 0.08, 0.16, 0.24, 0.32, 0.50)
"""Activations above which area and value are taken."""


def _names(cell: str) -> list[str]:
    pixels = [f"{cell} {kind}@{t:.2f}" for t in AREA_THRESHOLDS for kind in ("area", "value")]
    blobs = [f"{cell} {kind}@{t:.2f}" for t in BLOB_THRESHOLDS for kind in ("blb_cnt", "blb_sum")]
    return [f"{cell} value@total", *pixels, *blobs]


FEATURE_NAMES: Final = tuple(name for cell in CLASSES for name in _names(cell))
"""Names of the features, e.g. "malignant value@0.50"."""


def features(
    maps: npt.NDArray[np.floating[Any]], blobs: Sequence[Blobs] | None = None
) -> npt.NDArray[np.float64]:
    """The 81 features of one patch.

    Parameters
    ----------
    maps : ndarray of float, shape (3 or more, H, W)
        Sigmoid activations in the order of `CHANNELS`, at 1 um/px, in [0, 1].
    blobs : sequence of Blobs, optional
        Of the three class maps, found at 0.02 or below; found here if not given.

    Returns
    -------
    ndarray of float64, shape (81,)
        In the order of `FEATURE_NAMES`. Sums, areas and counts are scaled by
        ``65536 / (H W)``, so that a map of any size reads as one of 256 x 256.

    Raises
    ------
    ValueError
        If `maps` does not hold three finite maps, or `blobs` not three entries.
    """
    if maps.ndim != 3 or maps.shape[0] < len(CLASSES) or maps[0].size == 0:
        raise ValueError(
            f"Got activations of shape {maps.shape}; expected at least {len(CLASSES)} maps "
            "in the order normal, lymphocyte, malignant, shape (3, H, W)."
        )
    if blobs is None:
        blobs = [find_blobs(image) for image in maps[: len(CLASSES)]]
    per_class = [
        [*_pixel_features(image), *_blob_features(found)]
        for image, found in zip(maps[: len(CLASSES)], blobs, strict=True)
    ]
    row = np.array(per_class).ravel()
    row *= FEATURE_PIXELS / maps[0].size
    return row


def _pixel_features(image: npt.NDArray[np.floating[Any]]) -> list[float]:
    """``value@total``, then area and value above each threshold."""
    # OpenCV knows no half precision, and adds up in double whatever it is given
    image = np.ascontiguousarray(image, np.float64 if image.dtype == np.float64 else np.float32)
    row = [cv2.sumElems(image)[0]]
    for threshold in AREA_THRESHOLDS:
        _, above = cv2.threshold(image, threshold, 0.0, cv2.THRESH_TOZERO)
        row += [float(cv2.countNonZero(above)), cv2.sumElems(above)[0]]
    return row


def _blob_features(blobs: Blobs) -> list[float]:
    """Number of blobs and sum of their values above each threshold."""
    row = []
    for threshold in BLOB_THRESHOLDS:
        found = blobs.above(threshold)
        row += [float(len(found)), float(found.value.sum())]
    return row
