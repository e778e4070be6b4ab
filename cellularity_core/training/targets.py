"""Cellularity that a view of a sample is trained towards, and whose scale it is on.

One pathologist's score among the data puts all of it on a pathologist's scale. Weak TC of
points is on another, so it then teaches no score: points teach the segmentation alone.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from cellularity_core.conventions import MALIGNANT, READER_SCALE, WEAK_SCALE
from cellularity_core.datasets import Sample
from cellularity_core.masks import TERRITORY_RADIUS_UM, draw_discs, tissue_mask, weak_cellularity
from cellularity_core.resample import resize
from cellularity_core.training.augmentation import View
from cellularity_core.training.images import Loaded

PLACE: Final = 32
"""Side of a place in pixels of what a network sees: the stride of the encoders."""


def view_target(sample: Sample, view: View) -> float:
    """Target of a view, in [0, 1].

    The pathologists' mean where they scored the patch; 0 in a benign field, which
    has no malignant cell; else weak TC of the view itself, 0 where it has no tissue.
    """
    if sample.scores:
        return float(np.mean(sample.scores))
    if sample.field == "benign":
        return 0.0
    value = weak_cellularity(view.pixels, view.xy, view.label, view.mpp)
    return 0.0 if math.isnan(value) else value


def patch_target(item: Loaded) -> float:
    """Target of a whole patch, in [0, 1]; see `view_target`."""
    points = item.points
    whole = View(item.pixels, points.xy, points.label, item.sample.mpp)
    return view_target(item.sample, whole)


def is_weak(items: Sequence[Loaded]) -> bool:
    """Whether no pathologist scored any of the data, so that every reference is weak TC."""
    return not any(item.sample.scores for item in items)


def scale_of(items: Sequence[Loaded]) -> str:
    """Scale of scores learnt from the data."""
    return WEAK_SCALE if is_weak(items) else READER_SCALE


def graded(items: Sequence[Loaded], weak: bool) -> list[Loaded]:
    """Items whose cellularity is known: as weak TC of their points, or else by pathologists.

    Parameters
    ----------
    items : sequence of Loaded
    weak : bool
        `is_weak` of all the data, of which `items` may be a part.
    """
    if weak:
        return [item for item in items if item.sample.points is not None]
    return [item for item in items if item.sample.scores]


def regressed(items: Sequence[Loaded], weak: bool) -> list[Loaded]:
    """Items a score is learnt from: graded ones and benign fields, which hold no tumour."""
    known = {item.sample.name for item in graded(items, weak)}
    return [i for i in items if i.sample.name in known or i.sample.field == "benign"]


def place_targets(sample: Sample, view: View, side: int) -> npt.NDArray[np.float32]:
    """Targets of the squares of a view, whose mean is about that of the view.

    A square's target is the share of it within a tumour nucleus's territory, over the
    tissue's share of the view. So the dense targets of a view say where its cellularity is.

    Parameters
    ----------
    sample : Sample
    view : View
    side : int
        Of a square, in pixels.

    Returns
    -------
    ndarray of float32, shape (h, w)
        In [0, 1]; NaN where places are unknown, as a pathologist scored the whole.
    """
    height, width = (-(-extent // side) for extent in view.pixels.shape[:2])
    if sample.scores:
        return np.full((height, width), np.nan, np.float32)
    if sample.field == "benign":
        return np.zeros((height, width), np.float32)
    tissue = tissue_mask(view.pixels, view.mpp)
    malignant = view.xy[view.label == MALIGNANT]
    covered = draw_discs(malignant, tissue.shape, 2 * TERRITORY_RADIUS_UM / view.mpp) & tissue
    shares = resize(covered.astype(np.float32), (height, width)) / max(float(tissue.mean()), 1e-6)
    found: npt.NDArray[np.float32] = np.minimum(shares, 1, dtype=np.float32)
    return found


def trust(sample: Sample) -> float:
    """Weight of a sample: a malignant field's target is the network's own word, so half."""
    return 0.5 if sample.field == "malignant" and not sample.scores else 1.0
