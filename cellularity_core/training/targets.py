"""Cellularity that a view of a sample is trained towards."""

import math

import numpy as np

from cellularity_core.datasets import Sample
from cellularity_core.masks import weak_cellularity
from cellularity_core.training.augmentation import View
from cellularity_core.training.images import Loaded


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


def trust(sample: Sample) -> float:
    """Weight of a sample: a malignant field's target is the network's own word, so half."""
    return 0.5 if sample.field == "malignant" and not sample.scores else 1.0
