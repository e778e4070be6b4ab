"""How often intervals held for groups of patches, the harder ways.

With one patient left out at a time (`conformal.coverage_report`) the share covered is
near the stated one for any score, as patients are much alike. It may be lower for a whole
fold or laboratory that the interval was fitted without, or for patches of some scores.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cellularity_core.conformal import fewest_patients, fit_interval
from cellularity_core.conventions import INTERVAL

_SLACK: Final = 1e-12
"""Of a truth on the edge of its interval."""


def coverage_by(
    truth: npt.ArrayLike,
    score: npt.ArrayLike,
    patients: Sequence[str],
    groups: Sequence[str],
    left_out: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Share of each group's patches whose interval held the truth.

    Parameters
    ----------
    truth, score : array_like, shape (n,)
        Cellularity, 0 to 1; each score by models that never saw the patient.
    patients : sequence of str, length n
    groups : sequence of str, length n
        Patches of one name are told of together.
    left_out : sequence of str, length n, or None
        The interval of a patch is fitted without the patients of its name here; by default
        without those of its group.

    Returns
    -------
    list of dict
        "group", "coverage" (share of patches), "patches" and "patients", in the order of
        names. Empty where the patients of the rest are too few for an interval, as they are
        where all patches are of one name.
    """
    y, f = np.asarray(truth, float), np.asarray(score, float)
    who, told = np.asarray(patients, str), np.asarray(groups, str)
    apart = told if left_out is None else np.asarray(left_out, str)
    held = np.zeros(len(y), bool)
    for name in np.unique(apart):
        own = apart == name
        rest = ~np.isin(who, who[own])
        if len(np.unique(who[rest])) < fewest_patients(INTERVAL):
            return []
        fitted = fit_interval(y[rest], f[rest], None, who[rest].tolist())
        low, high = fitted.limits(f[own], None)
        held[own] = (y[own] >= low - _SLACK) & (y[own] <= high + _SLACK)
    return [
        {
            "group": str(name),
            "coverage": float(held[told == name].mean()),
            "patches": int((told == name).sum()),
            "patients": len(np.unique(who[told == name])),
        }
        for name in np.unique(told)
    ]
