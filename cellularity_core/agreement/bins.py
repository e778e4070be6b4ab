"""The four bins of cellularity that kappa is counted on (METHODS 6)."""

from typing import Final

import numpy as np
import numpy.typing as npt

BIN_EDGES: Final = (0.25, 0.50, 0.75)
"""Upper edges, inclusive, of the bins 0-25, 26-50, 51-75 and 76-100 %."""

N_BINS: Final = len(BIN_EDGES) + 1

_EDGE_SLACK: Final = 1e-9
"""0.1 + 0.15 is 0.25 here, whatever binary fractions make of it."""


def to_bins(scores: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Bin of each score: 0 for 0-25 %, 1 for 26-50 %, 2 for 51-75 %, 3 for 76-100 %.

    Parameters
    ----------
    scores : array of float
        Cellularity in [0, 1].

    Returns
    -------
    ndarray of int64, same shape
        An upper edge belongs to the bin it closes: 0.25 is in bin 0.

    Raises
    ------
    ValueError
        If a score is NaN or outside [0, 1].
    """
    values = np.asarray(scores, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("A score is missing or outside 0 to 1; give fractions, not percent.")
    return np.searchsorted(np.asarray(BIN_EDGES) + _EDGE_SLACK, values)
