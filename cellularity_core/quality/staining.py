"""How far is a patch's stain from the stains that the methods were trained on?"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cellularity_core.quality.colour import DENSE, Colours

QUARTER: Final = 25
"""Percentiles of red's share beyond which a block is mostly eosin, or haematoxylin."""

ENOUGH: Final = 50
"""Dense blocks from which a stain is judged."""

STAIN_FATAL: Final = 3.0
"""Times the limit from which a score must not be relied on."""

Vector = npt.NDArray[np.float64]


def stain(seen: Colours) -> Vector | None:
    """Colours of the two stains and their strength.

    Parameters
    ----------
    seen : Colours

    Returns
    -------
    ndarray, shape (5,), or None
        Logarithms: red over green and blue over green where eosin is strongest,
        the same where haematoxylin is, and the median density. None where too
        little is stained.
    """
    light = np.compress(seen.tissue, seen.light, axis=1)
    density = np.maximum(-np.log((light + 1) / (seen.glass[:, None] + 1)), 0.0)
    total = density.sum(axis=0)
    dense = total > DENSE
    density, total = np.compress(dense, density, axis=1), total[dense]
    if len(total) < ENOUGH:
        return None
    share = density[0] / total
    low, high = np.percentile(share, [QUARTER, 100 - QUARTER])
    found = []
    for part in (share <= low, share >= high):
        red, green, blue = np.maximum(np.compress(part, density, axis=1).sum(axis=1), 1e-3)
        found += [np.log(red / green), np.log(blue / green)]
    return np.array([*found, np.log(np.median(total))])


def distance(measured: Vector, model: Mapping[str, Any]) -> float:
    """Mahalanobis distance from the training patches' stains.

    Parameters
    ----------
    measured : ndarray, shape (5,)
        From `stain`.
    model : mapping
        ``centre`` (5,) and ``precision`` (5, 5).
    """
    away = measured - np.asarray(model["centre"])
    return float(np.sqrt(away @ np.asarray(model["precision"]) @ away))
