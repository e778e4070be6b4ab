"""How many cases and readers a study needs for an interval of a wanted width."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special

from cellularity_core.agreement.generalised import generalised_intervals

Floats = npt.NDArray[np.float64]

READERS: Final = (2, 3, 4, 5, 6, 8, 10, 15)
MAX_CASES: Final = 500
MIN_CASES: Final = 10
NODES: Final = 8
"""Values of the readers' mean square that the expected width is averaged over."""


@dataclass(frozen=True, slots=True)
class StudySize:
    """A study that is expected to give the wanted width, or why none does.

    Attributes
    ----------
    readers : int
    cases : int or None
        Least number; None where even `max_cases` are too few.
    reads : int or None
        Cases by readers.
    width : float
        Expected width of the interval, at `cases` or at `max_cases`.
    reason : str or None
        Why `cases` is None.
    """

    readers: int
    cases: int | None
    reads: int | None
    width: float
    reason: str | None = None


def expected_width(cases: int, readers: int, icc: float, reader_share: float) -> float:
    """Expected width of the generalised interval of ICC(A,1).

    The width is averaged over what the few readers may turn out to be like (their
    mean square is a chi-square variable with readers - 1 degrees of freedom); the
    other two mean squares, of many degrees, are set to their expectation.

    Parameters
    ----------
    cases, readers : int
        2 or more.
    icc : float
        ICC(A,1) that is expected, in (0, 1).
    reader_share : float
        Share of the disagreement that is readers' constant offsets, in [0, 1).

    Returns
    -------
    float
        Within 5 % of the mean width by simulation, as a test shows.
    """
    _check(icc, reader_share)
    n, k = cases, readers
    by_readers = (1 - icc) * reader_share
    error = (1 - icc) * (1 - reader_share)
    points, weights = np.polynomial.legendre.leggauss(NODES)
    shares = (points + 1) / 2
    chi = 2 * special.gammaincinv((k - 1) / 2, shares) / (k - 1)
    raters = (n * by_readers + error) * chi
    even = np.ones_like(raters)
    low, high = generalised_intervals(
        (k * icc + error) * even, raters, error * even, n, k, accuracy=1e-5
    )
    return float((weights / 2) @ (high - low))


def sample_size(
    width: float,
    icc: float,
    *,
    reader_share: float = 0.25,
    readers: tuple[int, ...] = READERS,
    max_cases: int = MAX_CASES,
) -> tuple[StudySize, ...]:
    """Cases needed with each number of readers for an interval of ICC(A,1).

    More cases do not make up for few readers: with two, the interval says little
    however many cases they read, since it is about readers there could be.

    Parameters
    ----------
    width : float
        Wanted width of the 95 % interval, high minus low.
    icc : float
        ICC(A,1) that is expected, in (0, 1).
    reader_share : float
        Share of the disagreement that is readers' constant offsets, in [0, 1).
    readers : tuple of int
    max_cases : int

    Returns
    -------
    tuple of StudySize
        One for each number of readers.

    Raises
    ------
    ValueError
        If a number is outside its range.
    """
    if not 0 < width < 1:
        raise ValueError(f"Got a width of {width:g}; expected more than 0 and less than 1.")
    if min(readers, default=0) < 2 or max_cases < MIN_CASES:
        raise ValueError(
            f"Got readers {readers} and at most {max_cases} cases; expected 2 readers or more and "
            f"{MIN_CASES} cases or more."
        )
    _check(icc, reader_share)
    return tuple(_least(width, icc, reader_share, k, max_cases) for k in readers)


def _least(width: float, icc: float, share: float, readers: int, max_cases: int) -> StudySize:
    """Least number of cases, by halving: the width falls with cases."""

    def at(cases: int) -> float:
        return expected_width(cases, readers, icc, share)

    low, high = MIN_CASES, max_cases
    widest, narrowest = at(low), at(high)
    if narrowest > width:
        return StudySize(
            readers,
            None,
            None,
            narrowest,
            f"with {readers} readers even {max_cases} cases give {narrowest:.2f}",
        )
    found = narrowest
    if widest <= width:
        high, found = low, widest
    while high - low > 1:
        middle = round((low * high) ** 0.5) if high > 2 * low else (low + high) // 2
        middle = min(max(middle, low + 1), high - 1)
        here = at(middle)
        if here <= width:
            high, found = middle, here
        else:
            low = middle
    return StudySize(readers, high, high * readers, found)


def _check(icc: float, reader_share: float) -> None:
    if not 0 < icc < 1 or not 0 <= reader_share < 1:
        raise ValueError(
            f"Got an ICC of {icc:g} and a readers' share of {reader_share:g}; expected an ICC "
            "above 0 and below 1, and a share from 0 to below 1."
        )
