"""A reader whose scale is known, to be found again from scored patches."""

import numpy as np

from cellularity_core.uncertainty import SCALES

SCALE = SCALES["score"]


def reader(truth: np.ndarray) -> np.ndarray:
    """A reader who gives less than the model in the middle."""
    return np.asarray(truth) ** 1.6
