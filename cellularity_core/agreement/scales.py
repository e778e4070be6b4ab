"""Scales on which a bounded statistic spreads evenly, for its interval."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy import special


@dataclass(frozen=True, slots=True)
class Scale:
    """A way to the whole line and back.

    Attributes
    ----------
    low, high : float
        Least and greatest value; at either the way out is infinite.
    out, back : callable
        Elementwise.
    """

    low: float
    high: float
    out: Callable[[Any], Any]
    back: Callable[[Any], Any]


AS_IS: Final = Scale(-np.inf, np.inf, np.asarray, np.asarray)
CORRELATION: Final = Scale(-1, 1, np.arctanh, np.tanh)
"""Fisher's z: correlations, kappas and their like."""

POSITIVE: Final = Scale(0, np.inf, np.log, np.exp)
DIFFERENCE: Final = Scale(-1, 1, np.asarray, np.asarray)
"""Of two shares."""

SHARE: Final = Scale(0, 1, special.logit, special.expit)
