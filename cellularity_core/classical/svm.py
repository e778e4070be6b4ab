"""A support vector machine as plain numbers."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_ROWS: Final = 1024
"""Rows decided at a time, which bounds the memory of the kernel."""


@dataclass(frozen=True, slots=True, eq=False)
class RbfSvm:
    """Two classes parted by ``sum_i weight_i exp(-gamma |x - vector_i|^2) + bias``.

    Attributes
    ----------
    vectors : ndarray of float32, shape (m, p)
    weights : ndarray of float64, shape (m,)
    bias, gamma : float
    """

    vectors: npt.NDArray[np.float32]
    weights: Floats
    bias: float
    gamma: float

    def decision(self, x: npt.NDArray[np.float32]) -> Floats:
        """Signed score of each row, shape (n,); above 0 is the second class."""
        vectors = self.vectors.astype(np.float64)
        lengths = (vectors**2).sum(axis=1)
        out = np.empty(len(x))
        for start in range(0, len(x), _ROWS):
            rows = x[start : start + _ROWS].astype(np.float64)
            apart = (rows**2).sum(axis=1)[:, None] + lengths - 2 * rows @ vectors.T
            out[start : start + _ROWS] = np.exp(-self.gamma * np.maximum(apart, 0)) @ self.weights
        return out + self.bias


def fit_svm(
    x: npt.NDArray[np.float32],
    second: npt.NDArray[np.bool_],
    weight: Floats,
    *,
    cost: float,
    gamma: float,
) -> RbfSvm:
    """Fit with scikit-learn and keep the numbers.

    Parameters
    ----------
    x : ndarray of float32, shape (n, p)
    second : ndarray of bool, shape (n,)
        Whether a row is of the second class; both classes are present.
    weight : ndarray, shape (n,)
        Of each row, above 0.
    cost, gamma : float
        Of an error, and of the kernel.
    """
    from sklearn.svm import SVC

    # float64 of float32 values, so that the vectors kept are the vectors fitted
    machine = SVC(C=cost, gamma=gamma, cache_size=500)
    machine.fit(x.astype(np.float64), second, sample_weight=weight)
    return RbfSvm(
        vectors=np.asarray(machine.support_vectors_, np.float32),
        weights=np.asarray(machine.dual_coef_[0], np.float64),
        bias=float(machine.intercept_[0]),
        gamma=gamma,
    )


@dataclass(frozen=True, slots=True)
class Sigmoid:
    """Probability ``1 / (1 + exp(-(slope score + offset)))`` from a score (Platt 1999)."""

    slope: float
    offset: float

    def __call__(self, score: Floats) -> Floats:
        from scipy.special import expit

        return np.asarray(expit(self.slope * score + self.offset), np.float64)


def fit_sigmoid(score: Floats, second: npt.NDArray[np.bool_]) -> Sigmoid:
    """Fit to scores of nuclei that the machine was not fitted on."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1.0).fit(score[:, None], second)
    return Sigmoid(float(model.coef_[0, 0]), float(model.intercept_[0]))
