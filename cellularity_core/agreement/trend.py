"""Agreement over time: each rater with the readers, by week or by batch of cases."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from cellularity_core.agreement.bootstrap import DRAWS, SEED, Resampler, bootstrapped
from cellularity_core.agreement.ratings import Kind, Rating, RatingTable, in_utc
from cellularity_core.agreement.scales import CORRELATION
from cellularity_core.agreement.spread import MIN_CASES, Measure, mean_over, pairwise_agreement
from cellularity_core.agreement.statistic import Statistic
from cellularity_core.errors import DataError

Floats = npt.NDArray[np.float64]
Period = Literal["week", "batch"]

BATCH: Final = 20
"""Cases of a batch."""


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """A rater's agreement with the readers in one period.

    Attributes
    ----------
    rater : str
    kind : "reader" or "model"
    period : str
        ISO week, as 2026-W14, or place of the batch, from 1.
    start : datetime or None
        First read of the period, in UTC; None where reads have no time.
    n_cases : int
        Cases the rater scored in the period.
    icc_a1, kappa4, kappa4_quadratic : Statistic
        Mean over the other readers of the agreement with each, on the cases of the
        period that both scored (the other reader at any time).
    """

    rater: str
    kind: Kind
    period: str
    start: datetime | None
    n_cases: int
    icc_a1: Statistic
    kappa4: Statistic
    kappa4_quadratic: Statistic


def trend(
    table: RatingTable,
    *,
    by: Period = "week",
    batch: int = BATCH,
    draws: int = DRAWS,
    seed: int = SEED,
) -> tuple[TrendPoint, ...]:
    """Agreement with the readers over time, for each reader and each model.

    A read belongs to the week it was made in, or to a batch of so many cases in
    the order the rater read them. A model's score without a time of its own has
    that of the case's first read by a reader. By week, reads without any time are
    left out; by batch, reads are in the table's order where one has no time.

    Parameters
    ----------
    table : RatingTable
    by : "week" or "batch"
    batch : int
        Cases of a batch; the last one of a rater may have fewer.
    draws, seed : int
        Of the bootstrap by patient.

    Returns
    -------
    tuple of TrendPoint
        By rater as they appear, then by time.

    Raises
    ------
    DataError
        By week, if no read has a time.
    ValueError
        If `by` is neither, or `batch` is not positive.
    """
    if by not in ("week", "batch") or batch < 1:
        raise ValueError(f"Got by={by!r}, batch={batch}; expected week, or batch of 1 or more.")
    moments = _moments(table)
    if by == "week" and not moments:
        raise DataError(
            "No read has a time, so there are no weeks; give read_at, or ask for batches of cases."
        )
    found = []
    for rater in (*table.readers, *table.models):
        reads = [
            rating
            for rating in table.ratings
            if rating.reader == rater and not rating.repeat and rating.score is not None
        ]
        others = tuple(name for name in table.readers if name != rater)
        periods = _weeks(reads, moments) if by == "week" else _batches(reads, moments, batch)
        scores = table.first_reads((rater, *others))
        row = {case: place for place, case in enumerate(table.cases)}
        for name, inside in periods:
            rows = [row[rating.case_id] for rating in inside]
            resampler = Resampler.over(
                [table.patients[place] for place in rows], draws=draws, seed=seed
            )
            times = [moments[key] for r in inside if (key := (r.case_id, r.reader)) in moments]
            values = {
                measure: _with_readers(scores[rows], measure, resampler)
                for measure in ("icc_a1", "kappa4", "kappa4_quadratic")
            }
            found.append(
                TrendPoint(
                    rater,
                    table.kinds[rater],
                    name,
                    min(times, default=None),
                    len(inside),
                    **values,
                )
            )
    return tuple(found)


def _with_readers(scores: Floats, measure: Measure, resampler: Resampler) -> Statistic:
    pairs = [(0, other) for other in range(1, scores.shape[1])]
    return bootstrapped(
        lambda weights: mean_over(pairwise_agreement(scores, pairs, measure, weights)),
        resampler,
        f"no other reader shares {MIN_CASES} cases that vary with this rater in the period",
        CORRELATION,
    )


def _moments(table: RatingTable) -> dict[tuple[str, str], datetime]:
    """When each case was scored by each rater, in UTC."""
    own: dict[tuple[str, str], datetime] = {}
    first: dict[str, datetime] = {}
    for rating in table.ratings:
        if rating.read_at is None or rating.repeat or rating.score is None:
            continue
        moment = in_utc(rating.read_at)
        own[rating.case_id, rating.reader] = moment
        if rating.kind == "reader":
            first[rating.case_id] = min(moment, first.get(rating.case_id, moment))
    for rating in table.ratings:
        if rating.kind == "model" and rating.case_id in first:
            own.setdefault((rating.case_id, rating.reader), first[rating.case_id])
    return own


def _weeks(
    reads: list[Rating], moments: dict[tuple[str, str], datetime]
) -> list[tuple[str, list[Rating]]]:
    weeks: dict[str, list[Rating]] = {}
    for rating in reads:
        moment = moments.get((rating.case_id, rating.reader))
        if moment is not None:
            year, week, _ = moment.isocalendar()
            weeks.setdefault(f"{year}-W{week:02d}", []).append(rating)
    return sorted(weeks.items())


def _batches(
    reads: list[Rating], moments: dict[tuple[str, str], datetime], size: int
) -> list[tuple[str, list[Rating]]]:
    if all((rating.case_id, rating.reader) in moments for rating in reads):
        reads = sorted(reads, key=lambda rating: moments[rating.case_id, rating.reader])
    return [
        (str(place), reads[at : at + size])
        for place, at in enumerate(range(0, len(reads), size), 1)
    ]
