"""A statistic with its 95 % interval, or the reason why there is none."""

import math
from dataclasses import dataclass
from typing import Final

CONFIDENCE: Final = 0.95
"""Of every interval in this package."""

TAIL: Final = (1 - CONFIDENCE) / 2
"""Probability left out on either side."""

NOTHING: Final = 1e-20
"""Variances of scores below this are rounding; (1e-10) squared."""

NO_ERROR_BELOW: Final = 1e-7
"""A standard error of a coefficient below this is rounding."""

BEYOND: Final = "the value lies beyond the end of the scale that its interval is made on"


@dataclass(frozen=True, slots=True)
class Statistic:
    """A statistic of agreement.

    Attributes
    ----------
    value, low, high : float or None
        The estimate and its 95 % interval. `value` is None where the statistic
        is undefined, `low` and `high` where only its interval is.
    reason : str or None
        Why something is None; None where nothing is.
    n : int
        Cases that went in.
    interval : str or None
        How the interval was made.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None
    n: int = 0
    interval: str | None = None


def undefined(reason: str, n: int) -> Statistic:
    """No value and no interval."""
    return Statistic(None, reason=reason, n=n)


def point(value: float, reason: str, n: int) -> Statistic:
    """A value whose interval is undefined."""
    return Statistic(float(value), reason=reason, n=n)


def with_interval(
    value: float,
    low: float,
    high: float,
    *,
    n: int,
    interval: str,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Statistic:
    """A value and its limits, kept within what the statistic can be."""
    return Statistic(
        float(value),
        float(min(max(low, bounds[0]), bounds[1])),
        float(min(max(high, bounds[0]), bounds[1])),
        n=n,
        interval=interval,
    )
