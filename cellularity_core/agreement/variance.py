"""Analysis of variance of a complete table: what every ICC is made of."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MeanSquares:
    """Mean squares of cases by raters; arrays of one shape, a value a draw.

    Attributes
    ----------
    n : ndarray
        Cases.
    k : int
        Raters.
    cases, raters, error : ndarray
        Two-way mean squares: MSR, MSC and MSE of McGraw & Wong.
    """

    n: Floats
    k: int
    cases: Floats
    raters: Floats
    error: Floats

    @property
    def within(self) -> Floats:
        """One-way mean square within cases, MSW."""
        return np.asarray((self.raters + (self.n - 1) * self.error) / self.n)


def squares_of_tables(tables: npt.ArrayLike) -> MeanSquares:
    """Mean squares of many tables of one size.

    Parameters
    ----------
    tables : array of float, shape (draws, n, k)
        Rows are cases, columns are raters; nothing missing.

    Returns
    -------
    MeanSquares
        Shape (draws,); NaN with fewer than 2 cases or raters.
    """
    values = np.asarray(tables, dtype=np.float64)
    draws, n, k = values.shape
    if n < 2 or k < 2:
        none = np.full(draws, np.nan)
        return MeanSquares(np.full(draws, float(n)), k, none, none, none)
    # effects first, so that a large common level costs no digits
    values = values - values.mean(axis=(1, 2), keepdims=True)
    case, rater = values.mean(axis=2), values.mean(axis=1)
    rest = values - case[:, :, None] - rater[:, None, :]
    return MeanSquares(
        n=np.full(draws, float(n)),
        k=k,
        cases=k * (case**2).sum(axis=1) / (n - 1),
        raters=n * (rater**2).sum(axis=1) / (k - 1),
        error=(rest**2).sum(axis=(1, 2)) / ((n - 1) * (k - 1)),
    )


def mean_squares(ratings: npt.ArrayLike, weights: Floats | None = None) -> MeanSquares:
    """Mean squares of a table, or of each of its resamples.

    Parameters
    ----------
    ratings : array of float, shape (n, k)
        Rows are cases, columns are raters; nothing missing.
    weights : ndarray, shape (draws, n), optional
        How often each case counts; once by default.

    Returns
    -------
    MeanSquares
        Shape (draws,); NaN with fewer than 2 cases or raters.

    Raises
    ------
    ValueError
        If `ratings` is no table.
    """
    table = np.asarray(ratings, dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(
            f"Got ratings of shape {table.shape}; expected (n, k), a row a case, a column a rater."
        )
    if weights is None:
        return squares_of_tables(table[None])
    n, k = table.shape
    count = weights.sum(axis=1)
    if n < 2 or k < 2:
        none = np.full(len(weights), np.nan)
        return MeanSquares(count, k, none, none, none)
    # effects first, so that a large common level costs no digits
    table = table - table.mean()
    case, rater = table.mean(axis=1), table.mean(axis=0)
    residual = table - case[:, None] - rater[None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = weights @ case / count
        left = weights @ residual / count[:, None]  # (draws, k), what raters shift in a draw
        column = rater + left
        column = column - column.mean(axis=1, keepdims=True)
        between = (weights @ case**2 - count * mean**2) / (count - 1)
        spread = weights @ (residual**2).sum(axis=1) - count * (left**2).sum(axis=1)
        return MeanSquares(
            n=count,
            k=k,
            cases=np.maximum(k * between, 0),
            raters=count * (column**2).sum(axis=1) / (k - 1),
            error=np.maximum(spread, 0) / ((count - 1) * (k - 1)),
        )
