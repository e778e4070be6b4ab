"""How often 95 % intervals hold the truth, by simulation (docs/agreement.md).

Scores are case + reader + error, each normal. Where readers are a sample (the
intraclass correlations of a group), they are drawn anew for every table; where
they are those that are compared, their offsets stay and only cases are drawn.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special

from cellularity_core.agreement.bins import BIN_EDGES, N_BINS
from cellularity_core.agreement.bootstrap import Resampler
from cellularity_core.agreement.candidates import linearised, mls_intervals
from cellularity_core.agreement.differences import bland_altman
from cellularity_core.agreement.generalised import generalised_cdf
from cellularity_core.agreement.group import (
    Chance,
    bin_counts,
    fleiss_kappa,
    gwet_ac1,
    gwet_ac2,
    krippendorff_alpha,
)
from cellularity_core.agreement.icc import (
    Form,
    f_limits,
    icc_bootstrap,
    icc_statistic,
    mcgraw_wong_intervals,
    spearman_brown,
)
from cellularity_core.agreement.kappa import (
    Weights,
    bin_tables,
    costs,
    kappa4,
    kappa_of_table,
    kappa_of_tables,
)
from cellularity_core.agreement.paired import ccc, icc_a1_pair, mse_statistic, pk_statistic
from cellularity_core.agreement.statistic import TAIL, Statistic
from cellularity_core.agreement.variance import squares_of_tables

Floats = npt.NDArray[np.float64]

DRAWS: Final = 4000
WIDTHS: Final = 20
"""One table in so many has its generalised intervals computed in full."""

BOOTSTRAPS: Final = 4
"""One table in so many has a bootstrap of its intraclass correlation."""

GENERALISED: Final = "generalised"

RESAMPLES: Final = 999
CASE_MEAN: Final = 0.5
CASE_SD: Final = 0.25
ERROR_SD: Final = 0.10
READER_SD: Final = {"small": 0.03, "large": 0.20}


@dataclass(frozen=True, slots=True)
class Setting:
    """A cell of the grid: cases, readers, their variance by name, and cases of a patient."""

    n: int
    k: int
    readers: str
    each: int = 1

    def __str__(self) -> str:
        of = f" of {self.n // self.each} patients" if self.each > 1 else ""
        return f"{self.n} cases{of} {self.k} readers {self.readers}"

    @property
    def reader_sd(self) -> float:
        """Standard deviation of the readers' offsets, in cellularity."""
        return READER_SD[self.readers]

    @property
    def icc(self) -> float:
        """ICC(A,1) of the population of cases and readers."""
        return CASE_SD**2 / (CASE_SD**2 + self.reader_sd**2 + ERROR_SD**2)


GRID: Final = tuple(Setting(n, k, size) for n, k, size in product((20, 60), (2, 5), READER_SD))


@dataclass(frozen=True, slots=True)
class Coverage:
    """Coverage of one formula in one setting.

    Attributes
    ----------
    statistic, formula : str
    setting : Setting
    covered : float
        Share of the tables whose interval holds the truth.
    width : float
        Median width of the interval.
    draws : int
        Tables, those without an interval left out.
    default : bool
        Whether reports show this interval.
    """

    statistic: str
    formula: str
    setting: Setting
    covered: float
    width: float
    draws: int
    default: bool


def sampled_readers(setting: Setting, draws: int, rng: np.random.Generator) -> Iterator[Coverage]:
    """Coverage of the intraclass correlations, readers drawn anew for every table."""
    n, k = setting.n, setting.k
    tables = (
        rng.normal(0, CASE_SD, (draws, n, 1))
        + rng.normal(0, setting.reader_sd, (draws, 1, k))
        + rng.normal(0, ERROR_SD, (draws, n, k))
    )
    squares = squares_of_tables(tables)
    msr, msc, mse = squares.cases, squares.raters, squares.error
    rho = setting.icc

    def result(
        statistic: str, formula: str, limits: tuple[Floats, Floats], truth: float
    ) -> Coverage:
        low, high = limits
        return Coverage(
            statistic,
            formula,
            setting,
            float(((low <= truth) & (truth <= high)).mean()),
            float(np.median(high - low)),
            len(low),
            default=formula in ("F", GENERALISED),
        )

    some = tables[::WIDTHS]
    of_one = limits_of(icc_statistic(table) for table in some)
    # a limit lies beyond the truth where the distribution function there says so: all
    # tables by that, which is quick, and one in so many by the limits themselves
    below = np.concatenate(
        [
            generalised_cdf(rho, msr[at:upto], msc[at:upto], mse[at:upto], n, k)
            for at, upto in ((at, at + 100) for at in range(0, draws, 100))
        ]
    )
    yield replace(
        result("ICC(A,1)", GENERALISED, of_one, rho),
        covered=float(((below >= TAIL) & (below <= 1 - TAIL)).mean()),
        draws=draws,
    )
    yield result("ICC(A,1)", "McGraw & Wong", mcgraw_wong_intervals(msr, msc, mse, n, k), rho)
    yield result("ICC(A,1)", "MLS", mls_intervals(msr, msc, mse, n, k), rho)
    resampler = Resampler.over(range(n), draws=RESAMPLES)
    drawn = (icc_bootstrap(table, Form.ICC_A1, resampler) for table in tables[::BOOTSTRAPS])
    yield result("ICC(A,1)", "bootstrap of cases", limits_of(drawn), rho)
    of_mean = limits_of(icc_statistic(table, Form.ICC_AK) for table in some)
    yield result("ICC(A,k)", GENERALISED, of_mean, spearman_brown(rho, k))

    consistent = CASE_SD**2 / (CASE_SD**2 + ERROR_SD**2)
    yield result("ICC(C,1)", "F", f_limits(msr / mse, n, k), consistent)
    # one-way: every case has readers of its own
    squares = squares_of_tables(
        rng.normal(0, CASE_SD, (draws, n, 1))
        + rng.normal(0, np.hypot(setting.reader_sd, ERROR_SD), (draws, n, k))
    )
    ratio = squares.cases / squares.within
    yield result("ICC(1,1)", "F", f_limits(ratio, n, k, one_way=True), rho)


def limits_of(found: Iterable[Statistic]) -> tuple[Floats, Floats]:
    """Limits of those that have any, two arrays."""
    low, high = np.array([(s.low, s.high) for s in found if s.low is not None], float).T
    return low, high


def fixed_readers(setting: Setting, draws: int, rng: np.random.Generator) -> Iterator[Coverage]:
    """Coverage of what is about these readers and more cases, with the shipped functions."""
    n, k = setting.n, setting.k
    offsets = offsets_of(setting)
    tables = (
        CASE_MEAN
        + rng.normal(0, CASE_SD, (draws, n, 1))
        + offsets
        + rng.normal(0, ERROR_SD, (draws, n, k))
    )
    resampler = Resampler.over(range(n), draws=RESAMPLES)
    truths = truths_of(offsets)
    for trial in _trials(resampler, pair=k == 2):
        found = [trial.statistic(table) for table in tables[: draws // trial.share]]
        low, high = limits_of(found)
        truth = truths[trial.name]
        yield Coverage(
            trial.name,
            next(s.interval for s in found if s.interval) or "",
            setting,
            float(((low <= truth) & (truth <= high)).mean()),
            float(np.median(high - low)),
            len(low),
            trial.default,
        )


def offsets_of(setting: Setting) -> Floats:
    """Offsets of readers who stay the same, shape (k,), of the setting's standard deviation."""
    offsets = special.ndtri((np.arange(setting.k) + 0.5) / setting.k)
    return np.asarray(offsets * (setting.reader_sd / offsets.std(ddof=1)))


@dataclass(frozen=True, slots=True)
class _Trial:
    """A statistic to try on one of so many (`share`) tables."""

    name: str
    statistic: Callable[[Floats], Statistic]
    share: int = 1
    default: bool = True


def _trials(resampler: Resampler, pair: bool) -> list[_Trial]:
    def counts(table: Floats) -> Floats:
        return bin_counts(table.clip(0, 1))

    quadratic = costs(np.arange(N_BINS), "quadratic")
    ordered = 1 - quadratic / quadratic.max()
    corrected: tuple[tuple[str, Callable[[Floats], Statistic], Chance, Floats], ...] = (
        ("Fleiss' kappa", fleiss_kappa, "fleiss", np.eye(N_BINS)),
        ("Gwet's AC1", gwet_ac1, "gwet", np.eye(N_BINS)),
        ("Gwet's AC2", gwet_ac2, "gwet", ordered),
    )
    group = [
        trial
        for name, statistic, chance, worth in corrected
        for trial in (
            _Trial(name, lambda t, shown=statistic: shown(counts(t))),  # type: ignore[misc]
            _Trial(
                name,
                lambda t, chance=chance, worth=worth: linearised(  # type: ignore[misc]
                    counts(t), chance, worth
                ),
                default=False,
            ),
        )
    ]
    group += [
        _Trial("Krippendorff's alpha", krippendorff_alpha),
        _Trial(
            "Krippendorff's alpha", lambda t: krippendorff_alpha(t, resampler), 4, default=False
        ),
    ]
    if not pair:
        return group
    weights: tuple[Weights | None, ...] = (None, "linear", "quadratic")
    kappas = [
        trial
        for kind in weights
        for name in [f"kappa, {kind}" if kind else "kappa"]
        for trial in (
            _Trial(name, lambda t, kind=kind: kappa4(*clipped(t), kind)),  # type: ignore[misc]
            _Trial(
                name,
                lambda t, kind=kind: kappa_of_table(_table(t), kind),  # type: ignore[misc]
                default=False,
            ),
            _Trial(
                name,
                lambda t, kind=kind: kappa4(*clipped(t), kind, resampler),  # type: ignore[misc]
                4,
                default=False,
            ),
        )
    ]
    return [
        *group,
        *kappas,
        _Trial("ICC(A,1) of a pair", lambda t: icc_a1_pair(*columns_of(t))),
        _Trial("Lin's CCC", lambda t: ccc(*columns_of(t))),
        _Trial("bias", lambda t: bland_altman(*columns_of(t)).bias),
        _Trial("limit of agreement", lambda t: bland_altman(*columns_of(t)).loa_low),
        _Trial("PK", lambda t: pk_statistic(*columns_of(t), resampler), 2),
        _Trial("MSE", lambda t: mse_statistic(*columns_of(t), resampler), 2),
    ]


def columns_of(table: Floats) -> tuple[Floats, Floats]:
    return table[:, 0], table[:, 1]


def _table(table: Floats) -> Floats:
    """Cases by the bins of two raters, shape (4, 4)."""
    return np.asarray(bin_tables(*clipped(table)).sum(axis=0).reshape(N_BINS, N_BINS))


def clipped(table: Floats) -> tuple[Floats, Floats]:
    return columns_of(table.clip(0, 1))


def truths_of(offsets: Floats) -> dict[str, float]:
    """What the statistics estimate, for readers of these offsets; exact or by quadrature."""
    k = len(offsets)
    case, error = CASE_SD**2, ERROR_SD**2
    pairs = list(combinations(range(k), 2))
    apart = float(np.mean([(offsets[i] - offsets[j]) ** 2 for i, j in pairs]))
    # bins: P(bin | case) of each reader on a fine grid of cases
    scores = np.linspace(-8, 8, 4001)
    weight = np.exp(-(scores**2) / 2)
    weight /= weight.sum()
    edges = (
        np.array(BIN_EDGES)[:, None, None] - CASE_MEAN - CASE_SD * scores[:, None] - offsets
    ) / (ERROR_SD)
    cumulative = np.concatenate([special.ndtr(edges), np.ones((1, *edges.shape[1:]))])
    inside = np.diff(cumulative, axis=0, prepend=0)  # (bins, cases, readers)
    both = np.mean(
        [np.einsum("c,ac,bc->ab", weight, inside[..., i], inside[..., j]) for i, j in pairs], axis=0
    )
    both = (both + both.T) / 2
    pi = both.sum(axis=1)
    quadratic = costs(np.arange(N_BINS), "quadratic")
    worth = 1 - quadratic / quadratic.max()
    ac_chance = (pi * (1 - pi)).sum() / (N_BINS * (N_BINS - 1))
    found = {
        "Fleiss' kappa": (np.trace(both) - pi @ pi) / (1 - pi @ pi),
        "Gwet's AC1": (np.trace(both) - N_BINS * ac_chance) / (1 - N_BINS * ac_chance),
        "Gwet's AC2": ((both * worth).sum() - worth.sum() * ac_chance)
        / (1 - worth.sum() * ac_chance),
        "Krippendorff's alpha": 1 - (error + apart / 2) / (case + error + offsets.var()),
    }
    if k == 2:
        table = np.einsum("c,ac,bc->ab", weight, inside[..., 0], inside[..., 1])[None]
        numbers = np.arange(N_BINS)
        found["kappa"] = kappa_of_tables(table, costs(numbers, None))[0]
        found["kappa, linear"] = kappa_of_tables(table, costs(numbers, "linear"))[0]
        found["kappa, quadratic"] = kappa_of_tables(table, quadratic)[0]
        shift = float(offsets[0] - offsets[1])
        concordance = 2 * case / (2 * case + 2 * error + shift**2)
        z = special.ndtri(1 - TAIL)
        found |= {
            "ICC(A,1) of a pair": concordance,
            "Lin's CCC": concordance,
            "bias": shift,
            "limit of agreement": shift - z * (2 * error) ** 0.5,
            "PK": 0.5 + np.arcsin(case / (case + error)) / np.pi,
            "MSE": shift**2 + 2 * error,
        }
    return {name: float(value) for name, value in found.items()}


def simulate(draws: int = DRAWS, seed: int = 0) -> Iterator[Coverage]:
    """Coverage of every formula in every setting of the grid.

    Parameters
    ----------
    draws : int
        Tables for each; a half or a quarter where each has a bootstrap of its own.
    seed : int
    """
    for place, setting in enumerate(GRID):
        rng = np.random.default_rng([seed, place])
        yield from sampled_readers(setting, draws, rng)
        yield from fixed_readers(setting, draws, rng)
