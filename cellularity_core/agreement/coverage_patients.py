"""How often intervals by patient hold the truth where patients have several cases.

As in `coverage`, but half of the variance of cases and a quarter of that of errors belong to
the patient. A case taken alone is distributed as there, so the truths are the same. The
intervals are those of reports on such cases (docs/agreement.md).
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Final

import numpy as np
import numpy.typing as npt

from cellularity_core.agreement.bootstrap import Resampler
from cellularity_core.agreement.coverage import (
    CASE_MEAN,
    CASE_SD,
    ERROR_SD,
    READER_SD,
    RESAMPLES,
    Coverage,
    Setting,
    clipped,
    columns_of,
    limits_of,
    offsets_of,
    truths_of,
)
from cellularity_core.agreement.differences import bland_altman
from cellularity_core.agreement.group import (
    bin_counts,
    fleiss_kappa,
    gwet_ac1,
    gwet_ac2,
    krippendorff_alpha,
)
from cellularity_core.agreement.icc import Form, icc_bootstrap, icc_outer
from cellularity_core.agreement.kappa import kappa4
from cellularity_core.agreement.paired import ccc, icc_a1_pair, mse_statistic, pk_statistic
from cellularity_core.agreement.ratings import Rating, RatingTable
from cellularity_core.agreement.repeats import Repeatability, repeatability
from cellularity_core.agreement.statistic import Statistic

Floats = npt.NDArray[np.float64]

OF_CASES: Final = 0.5
OF_ERRORS: Final = 0.25
"""Shares of the variance that a patient's cases have in common."""

SHARE: Final = 4
"""One table in so many is simulated, as each has bootstraps of its own."""

GRID: Final = tuple(
    Setting(n, 2, size, each) for (n, each), size in product(((36, 6), (72, 6), (90, 3)), READER_SD)
)


def simulate(draws: int, seed: int = 0) -> Iterator[Coverage]:
    """Coverage of every interval by patient in every setting; parameters as in `coverage`."""
    for place, setting in enumerate(GRID):
        yield from of_patients(setting, draws // SHARE, np.random.default_rng([seed, 1, place]))


def of_patients(setting: Setting, draws: int, rng: np.random.Generator) -> Iterator[Coverage]:
    """Coverage where patients have several cases.

    Parameters
    ----------
    setting : Setting
        Of two readers.
    draws : int
        Tables.
    rng : Generator
    """
    n, k, each = setting.n, setting.k, setting.each
    patients = [place // each for place in range(n)]
    resampler = Resampler.over(patients, draws=RESAMPLES)
    offsets = offsets_of(setting)

    def shared(sd: float, share: float, shape: tuple[int, int, int]) -> Floats:
        """Normal, of this standard deviation, a share of its variance the patient's."""
        tables, rows, columns = shape
        common = rng.normal(0, sd * share**0.5, (tables, rows // each, columns))
        own = rng.normal(0, sd * (1 - share) ** 0.5, shape)
        return np.asarray(np.repeat(common, each, axis=1) + own)

    alike = (
        CASE_MEAN
        + shared(CASE_SD, OF_CASES, (draws, n, 1))
        + shared(ERROR_SD, OF_ERRORS, (draws, n, k))
    )
    sampled = alike + rng.normal(0, setting.reader_sd, (draws, 1, k))
    consistent = CASE_SD**2 / (CASE_SD**2 + ERROR_SD**2)
    found: list[tuple[str, list[Statistic], float]] = [
        (
            "ICC(A,1)",
            [icc_outer(table, Form.ICC_A1, resampler) for table in sampled],
            setting.icc,
        ),
        (
            "ICC(C,1)",
            [icc_bootstrap(table, Form.ICC_C1, resampler) for table in sampled],
            consistent,
        ),
    ]
    truths = truths_of(offsets)
    for name, statistic in _trials(resampler).items():
        found.append((name, [statistic(table) for table in alike + offsets], truths[name]))
    again = [_again(table, patients) for table in alike]
    found += [
        ("repeats: ICC(1,1)", [one.icc for one in again], consistent),
        ("repeats: within-subject SD", [one.within_sd for one in again], ERROR_SD),
        ("repeats: shift", [one.shift for one in again], 0.0),
    ]
    for name, statistics, truth in found:
        low, high = limits_of(statistics)
        yield Coverage(
            name,
            next(s.interval for s in statistics if s.interval) or "",
            setting,
            float(((low <= truth) & (truth <= high)).mean()),
            float(np.median(high - low)),
            len(low),
            default=True,
        )


def _trials(resampler: Resampler) -> dict[str, Callable[[Floats], Statistic]]:
    """Statistics of a table of two readers, by name."""

    def counts(table: Floats) -> Floats:
        return bin_counts(table.clip(0, 1))

    return {
        "Fleiss' kappa": lambda t: fleiss_kappa(counts(t), resampler),
        "Gwet's AC1": lambda t: gwet_ac1(counts(t), resampler),
        "Gwet's AC2": lambda t: gwet_ac2(counts(t), resampler),
        "Krippendorff's alpha": lambda t: krippendorff_alpha(t, resampler),
        "kappa": lambda t: kappa4(*clipped(t), None, resampler),
        "kappa, linear": lambda t: kappa4(*clipped(t), "linear", resampler),
        "kappa, quadratic": lambda t: kappa4(*clipped(t), "quadratic", resampler),
        "ICC(A,1) of a pair": lambda t: icc_a1_pair(*columns_of(t), resampler),
        "Lin's CCC": lambda t: ccc(*columns_of(t), resampler),
        "bias": lambda t: bland_altman(*columns_of(t), resampler).bias,
        "limit of agreement": lambda t: bland_altman(*columns_of(t), resampler).loa_low,
        "PK": lambda t: pk_statistic(*columns_of(t), resampler),
        "MSE": lambda t: mse_statistic(*columns_of(t), resampler),
    }


def _again(table: Floats, patients: list[int]) -> Repeatability:
    """Of a reader whose first and second reads are the columns of a table."""
    ratings = tuple(
        Rating(f"{row}", "R", float(score), f"{patients[row]}", repeat=place)
        for place, scores in enumerate(table.T)
        for row, score in enumerate(scores)
    )
    found = repeatability(RatingTable(ratings), "R", by_patient=True, draws=RESAMPLES)
    assert found is not None
    return found
