"""Generalised confidence interval of ICC(A,1), by quadrature instead of draws.

Two-way random effects: the sums of squares over their expected mean squares are
independent chi-square variables U1 (cases, n - 1), U2 (raters, k - 1) and U3
(error, (n - 1)(k - 1)). Putting the sums that were seen over such variables,

    a = SSR / U1,   b = SSC / U2,   c = SSE / U3,

gives the generalised pivotal quantity of ICC(A,1),

    (a - c) / (a + (k - 1) c + k (b - c) / n),

whose 2.5 and 97.5 % quantiles are the limits. It is below rho just when
U1 >= SSR (1 - rho) / ((1 + (k - 1) rho - k rho / n) c + k rho b / n), so its
distribution function is a smooth double integral over U2 and U3, which the
trapezoidal rule in their logarithms settles to some 1e-6, the same every time.

References
----------
Weerahandi, J Am Stat Assoc 1993, 88:899 (generalised intervals); Ionan et al.,
BMC Med Res Methodol 2014, 14:121 (of intraclass correlations); Rousson, Gasser &
Seifert, Scand J Stat 2003, 30:617 (why two raters cannot do better).
"""

from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import special
from scipy.optimize.elementwise import find_root

from cellularity_core.agreement.statistic import TAIL

Floats = npt.NDArray[np.float64]

OUTSIDE: Final = 1e-8
"""Probability left out on the heavy side of a chi-square variable's logarithm."""

FINEST: Final = 0.1
"""Greatest step for the raters' variable, whose few degrees of freedom reach far."""


@lru_cache(maxsize=64)
def _rule(freedom: int, step: float) -> tuple[Floats, Floats]:
    """Nodes of a chi-square variable, even in its logarithm, and their weights."""
    half = freedom / 2
    first = np.log(2 * special.gammaincinv(half, OUTSIDE))
    last = np.log(2 * special.gammainccinv(half, OUTSIDE**2))
    places = np.arange(first, last + step, step)
    density = half * places - np.exp(places) / 2 - special.gammaln(half) - half * np.log(2)
    return np.exp(places), np.exp(density) * step


def generalised_cdf(
    rho: npt.ArrayLike,
    cases: npt.ArrayLike,
    raters: npt.ArrayLike,
    error: npt.ArrayLike,
    n: int,
    k: int,
) -> Floats:
    """Probability that the pivotal quantity of ICC(A,1) is at most `rho`.

    Parameters
    ----------
    rho : array_like
        Below 1.
    cases, raters, error : array_like
        Mean squares MSR, MSC and MSE; of one shape with `rho`, by broadcasting.
    n, k : int
        Cases and raters.

    Returns
    -------
    ndarray
    """
    rho, cases, raters, error = (
        np.asarray(x, float)[..., None, None] for x in (rho, cases, raters, error)
    )
    by_raters, raters_weight = _rule(
        k - 1, min(FINEST, (2 / n) ** 0.5, 0.75 * (2 / (k - 1)) ** 0.5)
    )
    freedom = (n - 1) * (k - 1)
    by_error, error_weight = _rule(freedom, min(0.5, 0.75 * (2 / freedom) ** 0.5))
    b = (k - 1) * raters / by_raters[:, None]
    c = freedom * error / by_error[None, :]
    bound = ((1 + (k - 1) * rho - k * rho / n) * c + k * rho / n * b) / (1 - rho)
    with np.errstate(divide="ignore", over="ignore"):
        needed = np.where(bound > 0, (n - 1) * cases / np.abs(bound), np.inf)
    below = special.gammaincc((n - 1) / 2, needed / 2)
    return np.asarray(np.einsum("...ij,i,j->...", below, raters_weight, error_weight))


def generalised_intervals(
    cases: npt.ArrayLike,
    raters: npt.ArrayLike,
    error: npt.ArrayLike,
    n: int,
    k: int,
    *,
    accuracy: float = 1e-9,
) -> tuple[Floats, Floats]:
    """95 % limits of ICC(A,1) for many tables of one size.

    Parameters
    ----------
    cases, raters, error : array_like
        Mean squares MSR, MSC and MSE; MSR positive, and one of the others.
    n, k : int
        Cases and raters.
    accuracy : float
        Within which a limit is found.

    Returns
    -------
    low, high : ndarray
        Of the mean squares' shape.
    """
    floor, ceiling = -1 / (k - 1), 1 - 1e-9

    def gap(rho: Any, cases: Any, raters: Any, error: Any, aim: Any) -> Floats:
        return np.asarray(generalised_cdf(rho, cases, raters, error, n, k) - aim)

    limits = []
    msr, msc, mse = np.broadcast_arrays(cases, raters, error)
    for aim in (TAIL, 1 - TAIL):
        least, most = np.full(msr.shape, floor), np.full(msr.shape, ceiling)
        at_floor = gap(least, msr, msc, mse, aim) >= 0
        at_ceiling = gap(most, msr, msc, mse, aim) <= 0
        found = find_root(
            gap,
            (least, most),
            args=(msr, msc, mse, np.full(msr.shape, aim)),
            tolerances={"xatol": accuracy},
        )
        limits.append(np.where(at_floor, floor, np.where(at_ceiling, 1.0, found.x)))
    return limits[0], limits[1]
