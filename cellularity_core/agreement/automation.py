"""Did seeing a model's score move the readers toward it?

A second read moves for two reasons: the model was shown, and it is a second
read. Only the difference to readers who looked again without the model tells
the one from the other.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from cellularity_core.agreement.bins import to_bins
from cellularity_core.agreement.bootstrap import DRAWS, SEED, Estimator, Resampler, bootstrapped
from cellularity_core.agreement.scales import AS_IS, DIFFERENCE, SHARE, Scale
from cellularity_core.agreement.statistic import Statistic

Floats = npt.NDArray[np.float64]

TOLERANCE: Final = 0.005
"""Scores that differ by no more are the same: half a per cent, less than a reader's step."""


@dataclass(frozen=True, slots=True, eq=False)
class SecondReads:
    """First and second reads of one arm, an entry a read (a case by a reader).

    Attributes
    ----------
    before, after : array_like, shape (m,)
        Cellularity of the first and the second read; NaN where one is missing.
    model : array_like, shape (m,)
        The model's score of the case, shown or not; NaN where there is none.
    patients : sequence, length m, optional
        Patient of each read; without it every read stands for itself, which is
        too sure where readers share cases.
    reference : array_like, shape (m,), optional
        What is taken for the truth, for example a consensus.
    """

    before: npt.ArrayLike
    after: npt.ArrayLike
    model: npt.ArrayLike
    patients: tuple[object, ...] | list[object] | None = None
    reference: npt.ArrayLike | None = None


@dataclass(frozen=True, slots=True)
class Movement:
    """How reads of an arm moved, or the difference of two arms.

    Attributes
    ----------
    n_reads, n_left_out : int
        Reads with all three scores, and others.
    moved : Statistic
        Share of reads whose second score differs from the first.
    toward, away : Statistic
        Share that came nearer to the model, or went further from it, among reads
        that differed from the model before.
    distance : Statistic
        Mean move toward the model among those, in cellularity; away is negative.
    pull : Statistic
        Share of the way to the model that those reads went, by least squares (weight of
        advice): 0 is none, 1 is taking over the model's score.
    misled : Statistic
        Share that left the reference's bin, among reads that were in it while the
        model was not.
    corrected : Statistic
        Share that entered the reference's bin, among reads that were not in it
        while the model was.
    """

    n_reads: int
    n_left_out: int
    moved: Statistic
    toward: Statistic
    away: Statistic
    distance: Statistic
    pull: Statistic
    misled: Statistic
    corrected: Statistic


@dataclass(frozen=True, slots=True)
class AutomationBias:
    """Readers shown the model, readers not shown it, and the difference.

    `control` and `difference` are None without a control arm; what `shown` has
    then is not known to come from the model.
    """

    shown: Movement
    control: Movement | None
    difference: Movement | None


@dataclass(frozen=True, slots=True)
class _Ratio:
    """A share or mean as one sum over another, both over reads."""

    part: Floats
    whole: Floats
    scale: Scale
    why: str

    def __call__(self, weights: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            whole = weights @ self.whole
            return np.asarray(np.where(whole > 0, (weights @ self.part) / whole, np.nan))


def automation_bias(
    before: npt.ArrayLike,
    after: npt.ArrayLike,
    model: npt.ArrayLike,
    *,
    patients: tuple[object, ...] | list[object] | None = None,
    reference: npt.ArrayLike | None = None,
    control: SecondReads | None = None,
    tolerance: float = TOLERANCE,
    draws: int = DRAWS,
    seed: int = SEED,
) -> AutomationBias:
    """How often and how far second reads moved toward the model.

    Parameters
    ----------
    before, after, model, patients, reference
        Of the arm that saw the model; see `SecondReads`.
    control : SecondReads, optional
        The arm that read twice without seeing it. Patients in both arms are drawn
        together.
    tolerance : float
        Scores that differ by no more are the same.
    draws, seed : int
        Of the bootstrap by patient.

    Returns
    -------
    AutomationBias

    Raises
    ------
    ValueError
        If lists of one arm differ in length.

    References
    ----------
    Weight of advice: Yaniv, Organ Behav Hum Decis Process 2004, 93:1. Right reads
    turned wrong by wrong advice: Goddard, Roudsari & Wyatt, JAMIA 2012, 19:121.
    """
    arms = [SecondReads(before, after, model, patients, reference)]
    if control is not None:
        arms.append(control)
    found, ratios, owners, left_out = [], [], [], []
    for place, arm in enumerate(arms):
        scores, names, left = _complete(arm, place)
        own = Resampler.over(names, draws=draws, seed=seed)
        ratios.append(_ratios(scores, tolerance))
        found.append(_movement({k: _estimate(r, own) for k, r in ratios[-1].items()}, names, left))
        owners.append(names)
        left_out.append(left)
    if control is None:
        return AutomationBias(found[0], None, None)
    everyone = [*owners[0], *owners[1]]
    together = Resampler.over(everyone, draws=draws, seed=seed)
    differences = {
        name: bootstrapped(
            _difference(ratio, ratios[1][name], len(owners[0])),
            together,
            f"{ratio.why} in one of the arms",
            DIFFERENCE if ratio.scale is SHARE else AS_IS,
        )
        for name, ratio in ratios[0].items()
    }
    return AutomationBias(found[0], found[1], _movement(differences, everyone, sum(left_out)))


def _estimate(ratio: _Ratio, resampler: Resampler) -> Statistic:
    return bootstrapped(ratio, resampler, ratio.why, ratio.scale)


def _difference(first: _Ratio, second: _Ratio, split: int) -> Estimator:
    def estimator(weights: Floats) -> Floats:
        return first(weights[:, :split]) - second(weights[:, split:])

    return estimator


def _movement(found: dict[str, Statistic], names: list[object], left_out: int) -> Movement:
    return Movement(n_reads=len(names), n_left_out=left_out, **found)


def _complete(arm: SecondReads, place: int) -> tuple[Floats, list[object], int]:
    """Scores, shape (4, m), of complete reads; their patients; how many are left out."""
    before = np.asarray(arm.before, float)
    reference = np.full(before.shape, np.nan) if arm.reference is None else arm.reference
    columns = [before, *(np.asarray(x, float) for x in (arm.after, arm.model, reference))]
    owners = list(range(len(before))) if arm.patients is None else list(arm.patients)
    if any(column.shape != (len(before),) for column in columns) or len(owners) != len(before):
        raise ValueError(
            f"Got lists of {', '.join(str(len(x)) for x in (*columns, owners))} reads; first and "
            "second scores, the model's, the patients and the reference belong to the same reads."
        )
    scores = np.stack(columns)
    kept = np.isfinite(scores[:3]).all(axis=0)
    # reads that name no patient are nobody else's, in either arm
    names: list[object] = [
        (place, owner) if arm.patients is None else owner
        for owner, keep in zip(owners, kept, strict=True)
        if keep
    ]
    return scores[:, kept], names, int((~kept).sum())


def _ratios(scores: Floats, tolerance: float) -> dict[str, _Ratio]:
    before, after, model, reference = scores
    move, gap = after - before, model - before
    nearer = np.abs(gap) - np.abs(model - after)
    moved = np.abs(move) > tolerance
    apart = (np.abs(gap) > tolerance).astype(float)
    known = np.isfinite(reference)
    truth = to_bins(np.where(known, reference, 0))
    was, became, advised = (to_bins(x) == truth for x in (before, after, model))
    at_risk = (known & was & ~advised).astype(float)
    in_need = (known & ~was & advised).astype(float)
    no_read = "there is no complete read"
    no_gap = "no first read differs from the model"
    return {
        "moved": _Ratio(moved.astype(float), np.ones(len(before)), SHARE, no_read),
        "toward": _Ratio(apart * moved * (nearer > tolerance), apart, SHARE, no_gap),
        "away": _Ratio(apart * moved * (nearer < -tolerance), apart, SHARE, no_gap),
        "distance": _Ratio(apart * move * np.sign(gap), apart, AS_IS, no_gap),
        "pull": _Ratio(apart * move * gap, apart * gap**2, AS_IS, no_gap),
        "misled": _Ratio(
            at_risk * ~became, at_risk, SHARE, "no read was right where the model was wrong"
        ),
        "corrected": _Ratio(
            in_need * became, in_need, SHARE, "no read was wrong where the model was right"
        ),
    }
