"""From activation maps to nuclei, and from nuclei to point F1 (METHODS 10).

Coordinates are ``(x, y)`` in pixels, (0, 0) being the *centre* of the top left
pixel. Where a map has been resized by a factor f, a centre therefore moves to
``(x + 0.5) * f - 0.5``; see `rescaled`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from cellularity_core.blobs import MIN_THRESHOLD, log_response
from cellularity_core.conventions import CLASSES
from cellularity_core.results import Nuclei

MIN_DISTANCE_UM: Final = 3.0
"""Of two nuclei closer than this the weaker is dropped, um."""

SIGMA_UM: Final = 2.0
"""Scale at which nuclei are looked for, um: a disc of radius ``sigma * sqrt(2)``."""


def detect_nuclei(
    maps: npt.NDArray[np.floating[Any]],
    mpp: float,
    thresholds: Sequence[float],
    *,
    min_distance_um: float = MIN_DISTANCE_UM,
    sigma_um: float = SIGMA_UM,
    joint: bool = True,
) -> Nuclei:
    """Find nuclei as blobs of the class maps.

    A nucleus is a local maximum of the scale-normalised LoG response at one
    scale, above the threshold of its class. Of nuclei closer than
    `min_distance_um` the one with the strongest response stays.

    Parameters
    ----------
    maps : ndarray of float, shape (3 or more, H, W)
        Sigmoid activations in the order of `CHANNELS`.
    mpp : float
        um per pixel of the maps.
    thresholds : sequence of 3 floats
        Lowest LoG response by class, each above 0.
    min_distance_um, sigma_um : float
        In um.
    joint : bool
        True: blobs of the sum of the three class maps (at most 1), each with the
        class whose map is the strongest around it. False: blobs of each class
        map by itself.

    Returns
    -------
    Nuclei
        Strongest response first; ``xy`` (sub-pixel) and ``sigma`` in pixels of
        the *maps*, ``probability`` the class activation at the centre.

    Raises
    ------
    ValueError
        If shapes, pixel size or thresholds are not as described.
    """
    limits = np.asarray(thresholds, dtype=np.float64)
    if maps.ndim != 3 or maps.shape[0] < len(CLASSES) or maps[0].size == 0:
        raise ValueError(
            f"Got activations of shape {maps.shape}; expected at least {len(CLASSES)} maps "
            "in the order normal, lymphocyte, malignant, shape (3, H, W)."
        )
    if limits.shape != (len(CLASSES),) or not (limits >= MIN_THRESHOLD).all():
        raise ValueError(
            f"Got thresholds {thresholds}; expected {len(CLASSES)} of at least {MIN_THRESHOLD}, "
            "one for each class."
        )
    if not (mpp > 0 and sigma_um > 0 and min_distance_um >= 0):
        raise ValueError(
            f"Got {mpp} µm/px, sigma {sigma_um} µm, distance {min_distance_um} µm; "
            "expected positive lengths."
        )
    cells = np.ascontiguousarray(maps[: len(CLASSES)], dtype=np.float32)
    sigma = sigma_um / mpp
    if joint:
        xy, response, label = _joint_peaks(cells, sigma, float(limits.min()))
    else:
        xy, response, label = _class_peaks(cells, sigma, limits)
    above = response > limits[label]
    xy, response, label = xy[above], response[above], label[above]
    keep = _suppress(xy, response, min_distance_um / mpp)
    xy, label = xy[keep], label[keep]
    return Nuclei(
        xy=xy.astype(np.float32),
        label=label.astype(np.int8),
        probability=_at(cells, xy, label),
        sigma=np.full(len(keep), sigma, dtype=np.float32),
    )


def rescaled(nuclei: Nuclei, factor: float | tuple[float, float]) -> Nuclei:
    """The same nuclei on a grid whose pixels are `factor` times as many a side.

    Parameters
    ----------
    nuclei : Nuclei
    factor : float or (float, float)
        Pixels of the new grid per pixel of the old one, or that for x and for y.

    Returns
    -------
    Nuclei
        With ``xy`` and ``sigma`` in pixels of the new grid.
    """
    fx, fy = factor if isinstance(factor, tuple) else (factor, factor)
    scale = np.array([fx, fy])
    return Nuclei(
        xy=((nuclei.xy + 0.5) * scale - 0.5).astype(np.float32),
        label=nuclei.label,
        probability=nuclei.probability,
        sigma=(nuclei.sigma * np.sqrt(fx * fy)).astype(np.float32),
    )


@dataclass(frozen=True, slots=True)
class PointCounts:
    """Matches of predicted and true points by class; counts of patches add up.

    Attributes
    ----------
    tp, fp, fn : ndarray of int64, shape (3,)
        True positives, false positives and misses, in the order of `CLASSES`.
    """

    tp: npt.NDArray[np.int64]
    fp: npt.NDArray[np.int64]
    fn: npt.NDArray[np.int64]

    def __add__(self, other: "PointCounts") -> "PointCounts":
        return PointCounts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    def f1(self) -> npt.NDArray[np.float64]:
        """F1 of each class, shape (3,)."""
        return f1(self.tp, self.fp, self.fn)


def point_f1(
    truth_xy: npt.ArrayLike, truth_label: npt.ArrayLike, found: Nuclei, radius_px: float
) -> PointCounts:
    """Match the nuclei found in one patch to its true points.

    Per class, each true point in file order takes the nearest free prediction
    nearer than `radius_px`. This greedy rule is the one published figures are
    made with; it may find fewer pairs than an optimal assignment.

    Parameters
    ----------
    truth_xy : array, shape (n, 2)
        True ``(x, y)`` in file order, in the same pixels as `found`.
    truth_label : array of int, shape (n,)
        Index into `CLASSES`.
    found : Nuclei
    radius_px : float
        A pair is nearer than this.

    Returns
    -------
    PointCounts
        Sum them over patches before taking F1, and state the radius beside it.
    """
    true_xy = np.asarray(truth_xy, dtype=np.float64).reshape(-1, 2)
    true_label = np.asarray(truth_label)
    tp, fp, fn = (np.zeros(len(CLASSES), dtype=np.int64) for _ in range(3))
    for k in range(len(CLASSES)):
        truth = true_xy[true_label == k]
        predicted = found.xy[found.label == k].astype(np.float64)
        tp[k] = _greedy_matches(truth, predicted, radius_px)
        fp[k] = len(predicted) - tp[k]
        fn[k] = len(truth) - tp[k]
    return PointCounts(tp, fp, fn)


def f1(tp: npt.ArrayLike, fp: npt.ArrayLike, fn: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """``2 tp / (2 tp + fp + fn)`` element by element; NaN where all three are 0."""
    hit, extra, miss = (np.asarray(a, dtype=np.float64) for a in (tp, fp, fn))
    whole = 2 * hit + extra + miss
    return np.divide(2 * hit, whole, out=np.full_like(whole, np.nan), where=whole > 0)


Peaks = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]


def _joint_peaks(cells: npt.NDArray[np.float32], sigma: float, lowest: float) -> Peaks:
    together = np.minimum(cells.sum(axis=0), np.float32(1.0))
    xy, response = _peaks(log_response(together, sigma), lowest)
    column, row = np.rint(xy).astype(np.int64).T
    # Class by the activation over the nucleus, not at one pixel: a window of its radius
    side = 2 * max(1, round(sigma)) + 1
    around = np.stack([cv2.blur(m, (side, side), borderType=cv2.BORDER_REFLECT) for m in cells])
    return xy, response, around[:, row, column].argmax(axis=0)


def _class_peaks(
    cells: npt.NDArray[np.float32], sigma: float, limits: npt.NDArray[np.float64]
) -> Peaks:
    found = [_peaks(log_response(m, sigma), float(t)) for m, t in zip(cells, limits, strict=True)]
    label = np.repeat(np.arange(len(cells)), [len(response) for _, response in found])
    xy, response = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    return xy, response, label


def _peaks(
    space: npt.NDArray[np.float32], threshold: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Sub-pixel ``(x, y)`` and response of the maxima above a threshold."""
    peak = (space >= cv2.dilate(space, np.ones((3, 3), np.uint8))) & (space >= threshold)
    row, column = np.unravel_index(np.flatnonzero(peak), space.shape)
    centre = space[row, column].astype(np.float64)

    def offset(axis: int) -> npt.NDArray[np.float64]:
        """Vertex of the parabola through a peak and its two neighbours."""
        index = [row, column]
        last = space.shape[axis] - 1
        lower, upper = index.copy(), index.copy()
        lower[axis], upper[axis] = index[axis] - 1, index[axis] + 1
        inside = (index[axis] > 0) & (index[axis] < last)
        before = space[tuple(np.maximum(i, 0) for i in lower)].astype(np.float64)
        after = space[tuple(np.minimum(i, n - 1) for i, n in zip(upper, space.shape, strict=True))]
        bend = 2 * centre - before - after
        shift = np.divide(
            (after - before) / 2, bend, out=np.zeros_like(centre), where=inside & (bend > 0)
        )
        return np.asarray(shift.clip(-0.5, 0.5))

    return np.column_stack([column + offset(1), row + offset(0)]), centre


def _suppress(
    xy: npt.NDArray[np.float64], response: npt.NDArray[np.float64], distance: float
) -> npt.NDArray[np.int64]:
    """Indices that survive greedy suppression, strongest response first.

    Every round keeps the points that no undecided stronger point is close to and
    drops what is close to those: the greedy result, a few rounds for any number.
    """
    order = np.argsort(-response, kind="stable")
    pairs = cKDTree(xy[order]).query_pairs(distance, output_type="ndarray")
    stronger, weaker = pairs.min(axis=1, initial=len(xy)), pairs.max(axis=1, initial=0)
    open_, kept = np.ones(len(xy), bool), np.zeros(len(xy), bool)
    while open_.any():
        beaten = np.zeros(len(xy), bool)
        beaten[weaker[open_[stronger]]] = True
        best = open_ & ~beaten
        kept |= best
        open_ &= ~best
        open_[weaker[best[stronger]]] = False
    return order[kept]


def _at(
    cells: npt.NDArray[np.float32], xy: npt.NDArray[np.float64], label: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Bilinear activation of each nucleus' class at its centre."""
    low = np.floor(xy).astype(np.int64)
    right, down = (xy - low).T
    height, width = cells.shape[1:]
    x0, y0 = low.T
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    top = cells[label, y0, x0] * (1 - right) + cells[label, y0, x1] * right
    bottom = cells[label, y1, x0] * (1 - right) + cells[label, y1, x1] * right
    return np.asarray(top * (1 - down) + bottom * down, dtype=np.float32)


def _greedy_matches(
    truth: npt.NDArray[np.float64], predicted: npt.NDArray[np.float64], radius: float
) -> int:
    if not (len(truth) and len(predicted)):
        return 0
    distance = np.hypot(*(truth[:, None] - predicted[None]).transpose(2, 0, 1))
    matches = 0
    for row in distance:
        nearest = row.argmin()
        if row[nearest] < radius:
            matches += 1
            distance[:, nearest] = np.inf
    return matches
