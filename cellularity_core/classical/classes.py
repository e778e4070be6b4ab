"""Which kind each outlined nucleus is of, by three machines one after the other."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from cellularity_core.classical.svm import RbfSvm, fit_svm
from cellularity_core.conventions import LYMPHOCYTE, MALIGNANT, NORMAL
from cellularity_core.errors import DataError

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]

OTHER: Final = -1
"""Label of an outlined thing that nobody annotated as a nucleus."""

CLIP: Final = 5.0
"""Standard deviations beyond which a feature says no more."""

MOST_NUCLEI: Final = 8_000
"""Nuclei that one machine learns from at most: its time grows with their square."""

STEPS: Final = ("nucleus", "lymphocyte", "malignant")
"""What each machine decides: whether it is a nucleus, which are lymphocytes, and
which of the others are malignant.

The second and third are the paper's, as its re-implementation reads it
(lymphocytes, then benign against malignant epithelium). The first is ours:
outlines that no annotated point is near would else be called one of three classes
that they are none of.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """The three machines and the scale of the features.

    Attributes
    ----------
    mean, deviation : ndarray of float64, shape (p,)
        Of each feature over the nuclei learnt from.
    machines : tuple of RbfSvm
        In the order of `STEPS`.
    """

    mean: Floats
    deviation: Floats
    machines: tuple[RbfSvm, ...]

    def scores(self, features: Floats) -> Floats:
        """Score of each nucleus by each machine, shape (n, 3)."""
        x = standardised(features, self.mean, self.deviation)
        return np.column_stack([machine.decision(x) for machine in self.machines])


def standardised(features: Floats, mean: Floats, deviation: Floats) -> npt.NDArray[np.float32]:
    """Features in standard deviations from their mean, clipped at `CLIP`."""
    return np.asarray(((features - mean) / deviation).clip(-CLIP, CLIP), np.float32)


def decide(scores: Floats, malignant_above: float) -> Labels:
    """Label of each nucleus: `OTHER` or an index into `CLASSES`.

    Parameters
    ----------
    scores : ndarray, shape (n, 3)
    malignant_above : float
        Score of the third machine above which a nucleus is malignant.
    """
    label = np.where(scores[:, 2] > malignant_above, MALIGNANT, NORMAL)
    label = np.where(scores[:, 1] > 0, LYMPHOCYTE, label)
    return np.where(scores[:, 0] > 0, label, OTHER).astype(np.int8)


def steps_of(label: Labels) -> list[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """By machine: which nuclei concern it, and which of all are of its second class."""
    everything = np.ones(len(label), bool)
    nuclei = label != OTHER
    return [
        (everything, nuclei),
        (nuclei, label == LYMPHOCYTE),
        (nuclei & (label != LYMPHOCYTE), label == MALIGNANT),
    ]


def fit_classifier(
    features: Floats,
    label: Labels,
    weight: Floats,
    *,
    cost: float,
    kernel: float,
    seed: int,
) -> Classifier:
    """Fit the three machines.

    Parameters
    ----------
    features, label, weight : ndarray, shapes (n, p), (n,) and (n,)
        Labels are `OTHER` or an index into `CLASSES`.
    cost : float
        Of an error of the machines.
    kernel : float
        ``gamma`` times the number of features.
    seed : int
        Of the choice of `MOST_NUCLEI` where there are more.

    Raises
    ------
    DataError
        If one of the machines has no nucleus of one of its two classes.
    """
    mean, spread = features.mean(axis=0), features.std(axis=0)
    deviation = np.where(spread > 0, spread, 1.0)
    x = standardised(features, mean, deviation)
    rng = np.random.default_rng(seed)
    machines = []
    for step, (concerned, second) in zip(STEPS, steps_of(label), strict=True):
        index = np.flatnonzero(concerned)
        if len(index) > MOST_NUCLEI:
            index = np.sort(rng.choice(index, MOST_NUCLEI, replace=False))
        if len(np.unique(second[index])) < 2:
            raise DataError(
                f"Of {len(index)} outlined nuclei {int(second[index].sum())} are on the side of "
                f"'{step}' and the rest are not; there must be both among the training patients "
                "of every fold, so give patches with more patients or kinds of nuclei."
            )
        machines.append(
            fit_svm(x[index], second[index], weight[index], cost=cost, gamma=kernel / x.shape[1])
        )
    return Classifier(mean, deviation, tuple(machines))
