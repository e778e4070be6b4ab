"""Gradient-boosted trees from the 81 features to cellularity (METHODS 4).

LightGBM is imported when a model is first trained or loaded, not with this
module: it brings scikit-learn, pandas and scipy.stats along, 1.3 s of start-up
that a caller can spend beside other loading, in a thread.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cellularity_core.conventions import FEATURE_PIXELS
from cellularity_core.errors import DataError, ModelError
from cellularity_core.features import FEATURE_NAMES
from cellularity_core.openmp import import_lightgbm
from cellularity_core.tree_text import checked

ROUNDS: Final = 600
LEARNING_RATE: Final = 0.01
MAX_DEPTH: Final = 5
LEAVES: Final = 8
MIN_LEAF: Final = 20
"""Fewest patches in a leaf; LightGBM's default, which the paper does not change."""

_STORED_NAMES: Final = [name.replace(" ", "_") for name in FEATURE_NAMES]
"""LightGBM's text separates names by blanks."""

_WORTH_NAMING: Final = 0.005
"""Smallest contribution that two decimals show."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class BoostedTrees:
    """A trained ensemble; made by `train` or `load`, safe to share by threads."""

    _booster: Any
    _text: str
    _threads: int = 1

    @classmethod
    def load(cls, path: str | Path, threads: int = 1) -> "BoostedTrees":
        """Read a model from LightGBM text.

        Parameters
        ----------
        path : path-like
        threads : int
            Used by each call; one is the fastest for a few rows.

        Raises
        ------
        ModelError
            If the file cannot be read, is damaged, or does not read the 81
            features in their order.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ModelError(
                f"The trees in {path.name} cannot be read ({error.strerror}); "
                "install the model set again."
            ) from None
        except UnicodeDecodeError:
            text = ""
        return cls(_parse(text, path.name), text, threads)

    def save(self, path: str | Path) -> None:
        """Write LightGBM text, readable by `load` and by LightGBM itself."""
        Path(path).write_text(self._text, encoding="utf-8", newline="\n")

    def raw(self, x: npt.ArrayLike) -> Floats:
        """Scores as the trees give them, shape (n,), which may leave [0, 1] a little.

        Parameters
        ----------
        x : array of float, shape (n, 81)
            Features in the order of `FEATURE_NAMES`.

        Raises
        ------
        ValueError
            If the shape differs or a feature is not finite.
        """
        rows = _checked(x)
        if not len(rows):
            return np.empty(0)
        return np.asarray(self._booster.predict(rows, num_threads=self._threads))

    def predict(self, x: npt.ArrayLike) -> Floats:
        """Cellularity in [0, 1], shape (n,); parameters and errors as for `raw`."""
        return self.raw(x).clip(0.0, 1.0)

    def contributions(self, x: npt.ArrayLike) -> tuple[Floats, float]:
        """SHAP values: how far each feature moves each raw score from the base.

        Parameters
        ----------
        x : array of float, shape (n, 81)

        Returns
        -------
        shap : ndarray of float64, shape (n, 81)
            ``base + shap.sum(axis=1)`` is `raw`.
        base : float
            Score before any feature is known; the same for every row.

        References
        ----------
        Lundberg et al., Nat Mach Intell 2020, 2:56 (TreeSHAP, path-dependent).
        """
        rows = _checked(x)
        # the base is read off a row, so an empty batch borrows one
        asked = rows if len(rows) else np.zeros((1, len(FEATURE_NAMES)))
        table = np.asarray(
            self._booster.predict(asked, pred_contrib=True, num_threads=self._threads)
        )
        return table[: len(rows), :-1], float(table[0, -1])

    def gain(self) -> dict[str, float]:
        """Total gain of the splits on each feature, by name (the paper's Fig. 10)."""
        values = self._booster.feature_importance(importance_type="gain")
        return dict(zip(FEATURE_NAMES, map(float, values), strict=True))


def train(
    features: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    seed: int,
    rounds: int = ROUNDS,
    learning_rate: float = LEARNING_RATE,
    max_depth: int = MAX_DEPTH,
    leaves: int = LEAVES,
    min_leaf: int = MIN_LEAF,
    weights: npt.ArrayLike | None = None,
    threads: int = 1,
    on_round: Callable[[int, int], None] | None = None,
) -> BoostedTrees:
    """Fit trees by least squares; the same input and seed give the same trees.

    Parameters
    ----------
    features : array of float, shape (n, 81)
        One row a view of a patch, in the order of `FEATURE_NAMES`.
    targets : array of float, shape (n,)
        Cellularity in [0, 1].
    seed : int
    rounds, learning_rate, max_depth, leaves, min_leaf
        Number of trees, shrinkage and shape of a tree; the paper's by default.
    weights : array of float, shape (n,), optional
        Weight of each row.
    threads : int
        Does not change the result.
    on_round : callable, optional
        Called with rounds done and rounds in all after every round.

    Returns
    -------
    BoostedTrees

    Raises
    ------
    ValueError
        If shapes do not match or a value is not finite.
    DataError
        If targets leave [0, 1] or there are too few rows to split once.
    """
    rows, truth = _checked(features), np.asarray(targets, dtype=np.float64)
    if truth.shape != (len(rows),) or not np.isfinite(truth).all():
        raise ValueError(
            f"Got {len(rows)} rows of features and targets of shape {truth.shape}; "
            "expected one finite target a row."
        )
    if len(rows) < 2 * min_leaf:
        raise DataError(
            f"{len(rows)} patches are too few to train trees on; give at least {2 * min_leaf}, "
            "counting every view of a patch."
        )
    if truth.min() < 0 or truth.max() > 1:
        raise DataError(
            f"Cellularity runs from {truth.min():g} to {truth.max():g}; "
            "give it as a fraction between 0 and 1."
        )
    lightgbm = import_lightgbm()
    data = lightgbm.Dataset(
        rows,
        label=truth,
        weight=None if weights is None else np.asarray(weights, dtype=np.float64),
        feature_name=_STORED_NAMES,
    )
    parameters = {
        "objective": "regression",
        "learning_rate": learning_rate,
        "max_depth": max_depth,
        "num_leaves": leaves,
        "min_data_in_leaf": min_leaf,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads,
        "verbosity": -1,
    }
    callbacks = []
    if on_round is not None:
        callbacks.append(lambda state: on_round(state.iteration + 1, rounds))
    booster = lightgbm.train(parameters, data, num_boost_round=rounds, callbacks=callbacks)
    # through its text, so that what is returned is what would be loaded
    text = booster.model_to_string()
    return BoostedTrees(_parse(text, "the trained model"), text)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a score is what it is: one feature's share of it.

    Attributes
    ----------
    feature : str
        One of `FEATURE_NAMES`; "" for the rest taken together.
    text : str
        For a pathologist, e.g. "malignant area above 0.5: +0.12 (31 % of the tissue)".
    value : float or None
        The feature itself; None for the rest.
    contribution : float
        SHAP value, in units of cellularity.
    """

    feature: str
    text: str
    value: float | None
    contribution: float


def explain(features: npt.ArrayLike, contributions: npt.ArrayLike, top: int = 8) -> list[Reason]:
    """The features that moved a score most, in words.

    Parameters
    ----------
    features, contributions : array of float, shape (81,)
        Of one patch, in the order of `FEATURE_NAMES`.
    top : int
        Most features to name; one whose share rounds to 0.00 is not named.

    Returns
    -------
    list of Reason
        Largest contribution first, whatever its sign; then one for the rest, so
        that the contributions sum to those given.
    """
    values = np.asarray(features, dtype=np.float64)
    shares = np.asarray(contributions, dtype=np.float64)
    for array in (values, shares):
        if array.shape != (len(FEATURE_NAMES),):
            raise ValueError(
                f"Got an array of shape {array.shape}; expected ({len(FEATURE_NAMES)},), one patch."
            )
    order = np.argsort(-np.abs(shares), kind="stable")
    top = min(top, int((np.abs(shares) >= _WORTH_NAMING).sum()))
    reasons = []
    for i in order[:top]:
        what, how_much = describe(FEATURE_NAMES[i], values[i])
        reasons.append(
            Reason(
                feature=FEATURE_NAMES[i],
                text=f"{what}: {_signed(shares[i])} ({how_much})",
                value=float(values[i]),
                contribution=float(shares[i]),
            )
        )
    rest = order[top:]
    if len(rest):
        total = float(shares[rest].sum())
        words = "1 other feature" if len(rest) == 1 else f"{len(rest)} other features"
        reasons.append(Reason("", f"{words}: {_signed(total)}", None, total))
    return reasons


_PHRASES: Final = {
    "area": ("{cell} area above {t}", "{percent:.3g} % of the tissue"),
    "value": ("{cell} activation above {t}", "worth {percent:.3g} % of the tissue"),
    "blb_cnt": ("{cell} blobs of contrast above {t}", "{value:.0f} in 256 × 256 µm of tissue"),
    "blb_sum": (
        "activation of {cell} blobs of contrast above {t}",
        "worth {value:.3g} full blobs in 256 × 256 µm of tissue",
    ),
}
"""By kind of feature: what it is, and how much of it there is."""


def describe(name: str, value: float) -> tuple[str, str]:
    """What a feature is and how much of it a patch holds, in a pathologist's words."""
    cell, kind, at = re.split("[ @]", name)
    what, how_much = _PHRASES[kind]
    if at == "total":
        what = f"{cell} activation in all"
    else:
        what = what.format(cell=cell, t=f"{float(at):g}")
    return what, how_much.format(value=value, percent=100 * value / FEATURE_PIXELS)


def _signed(contribution: float) -> str:
    """Two decimals with a sign; plain 0.00 for what rounds to nothing."""
    text = f"{contribution:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text


def _checked(x: npt.ArrayLike) -> Floats:
    rows = np.ascontiguousarray(x, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(FEATURE_NAMES):
        raise ValueError(
            f"Got features of shape {rows.shape}; "
            f"expected (n, {len(FEATURE_NAMES)}), a row a patch."
        )
    # LightGBM would take NaN for a missing value and score it all the same
    if not np.isfinite(rows).all():
        raise ValueError("A feature is NaN or infinite; check the activation maps.")
    return rows


def _parse(text: str, name: str) -> Any:
    """A LightGBM booster of whole, undamaged text over our 81 features."""
    trees = checked(text, name, _STORED_NAMES)
    lightgbm = import_lightgbm()
    try:
        return lightgbm.Booster(model_str=trees)
    except lightgbm.basic.LightGBMError as error:
        raise ModelError(
            f"LightGBM cannot read the trees in {name} ({error}); install the model set again."
        ) from None
