"""Intervals of agreement: the default one, how often it holds the truth, bootstrap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cellularity_core.agreement import (
    Form,
    Resampler,
    Statistic,
    bin_counts,
    bland_altman,
    ccc,
    coverage_patients,
    fleiss_kappa,
    gwet_ac1,
    gwet_ac2,
    icc,
    icc_a1_pair,
    icc_bootstrap,
    icc_statistic,
    kappa4,
    krippendorff_alpha,
    mse_statistic,
    pk_statistic,
)
from cellularity_core.agreement.candidates import mls_intervals
from cellularity_core.agreement.coverage import (
    CASE_SD,
    ERROR_SD,
    GRID,
    WIDTHS,
    Setting,
    fixed_readers,
    sampled_readers,
    simulate,
)
from cellularity_core.agreement.generalised import generalised_cdf, generalised_intervals
from cellularity_core.agreement.icc import AVERAGE, icc_outer, spearman_brown
from cellularity_core.agreement.jackknife import unskewed
from cellularity_core.agreement.variance import mean_squares

# mean squares of cases, raters and error; cases, raters
SQUARES = [
    (0.1, 0.3, 0.004, 20, 2),
    (0.1, 0.001, 0.004, 20, 2),
    (0.1, 0.01, 0.06, 20, 2),
    (0.1, 0.05, 0.06, 40, 40),
    (0.1, 0.01, 0.04, 5, 2),
    (0.2, 0.02, 0.01, 60, 5),
]
MANY_RATERS = (0.1, 0.05, 0.06, 40, 1000)


@pytest.mark.parametrize("squares", SQUARES)
def test_generalised_interval_is_its_pivotal_quantity(squares: tuple) -> None:
    """Quadrature against 400,000 draws of the definition."""
    cases, raters, error, n, k = squares
    rng = np.random.default_rng(0)
    draws = 400_000
    a = (n - 1) * cases / rng.chisquare(n - 1, draws)
    b = (k - 1) * raters / rng.chisquare(k - 1, draws)
    c = (n - 1) * (k - 1) * error / rng.chisquare((n - 1) * (k - 1), draws)
    pivot = (a - c) / (a + (k - 1) * c + k * (b - c) / n)
    limits = generalised_intervals(cases, raters, error, n, k)
    for limit, tail in zip(limits, (0.025, 0.975), strict=True):
        assert (pivot <= float(limit)).mean() == pytest.approx(tail, abs=0.0012)
        cdf = generalised_cdf(limit, cases, raters, error, n, k)
        assert float(cdf) == pytest.approx(tail, abs=1e-6)


def test_generalised_interval_has_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule of half the step gives the same limits."""
    from cellularity_core.agreement import generalised

    every = [*SQUARES, MANY_RATERS]
    coarse = [generalised_intervals(*squares) for squares in every]
    rule = generalised._rule
    monkeypatch.setattr(generalised, "_rule", lambda freedom, step: rule(freedom, step / 2))
    fine = [generalised_intervals(*squares) for squares in every]
    assert np.abs(np.array(coarse) - np.array(fine)).max() < 2e-6


def test_the_default_interval_of_icc_holds_the_truth() -> None:
    """The grid of docs/agreement.md with fewer draws; McGraw & Wong's fails on it."""
    draws = 800
    worst = 1.0
    for place, setting in enumerate(GRID):
        for entry in sampled_readers(setting, draws, np.random.default_rng([1, place])):
            if entry.default:
                floor = 0.93 - 3 * (0.95 * 0.05 / entry.draws) ** 0.5
                assert entry.covered >= floor, entry
                assert entry.draws == (draws // WIDTHS if entry.statistic == "ICC(A,k)" else draws)
            if entry.formula == "McGraw & Wong":
                worst = min(worst, entry.covered)
    assert 0.68 < worst < 0.80


@pytest.mark.parametrize("setting", GRID)
def test_other_default_intervals_hold_the_truth(setting: Setting) -> None:
    """The line of docs/agreement.md with fewer draws; the closed forms fail on it."""
    draws = 1000
    entries = list(fixed_readers(setting, draws, np.random.default_rng(2)))
    found = {entry.statistic: entry for entry in entries if entry.default}
    assert len(found) == (13 if setting.k == 2 else 4)
    for entry in found.values():
        floor = 0.93 - 2.5 * (0.95 * 0.05 / entry.draws) ** 0.5
        assert entry.covered >= floor, entry
    if setting == Setting(20, 2, "large"):
        asymptotic = {e.statistic: e for e in entries if e.formula == "asymptotic"}
        assert asymptotic["kappa, linear"].covered < 0.90
        assert found["kappa, linear"].covered > 0.935
        assert found["MSE"].draws == draws // 2


def test_coverage_of_all_tables_is_that_of_the_intervals_themselves() -> None:
    """The quick way by the distribution function, against each table's shipped limits."""
    setting, draws = Setting(20, 2, "large"), 150
    for form, truth in ((Form.ICC_A1, setting.icc), (Form.ICC_AK, spearman_brown(setting.icc, 2))):
        rng = np.random.default_rng(3)
        held = 0
        tables = (
            rng.normal(0, CASE_SD, (draws, 20, 1))
            + rng.normal(0, setting.reader_sd, (draws, 1, 2))
            + rng.normal(0, ERROR_SD, (draws, 20, 2))
        )
        for table in tables:
            found = icc_statistic(table, form)
            held += found.low <= truth <= found.high
        entries = sampled_readers(setting, draws, np.random.default_rng(3))
        quick = next(e for e in entries if (e.statistic, e.formula) == ("ICC(A,1)", "generalised"))
        assert held / draws == pytest.approx(quick.covered)


def test_intervals_by_patient_hold_the_truth_where_patients_have_several_cases() -> None:
    """Thirty patients, three cases each; with few patients some hold less (docs/agreement.md)."""
    setting = coverage_patients.GRID[-2]
    assert str(setting) == "90 cases of 30 patients 2 readers small"
    entries = list(coverage_patients.of_patients(setting, 200, np.random.default_rng(5)))
    assert len({entry.statistic for entry in entries}) == 18
    for entry in entries:
        assert entry.formula.endswith("by patient") and entry.draws == 200
        assert entry.covered >= 0.93 - 2.5 * (0.95 * 0.05 / 200) ** 0.5, entry


def test_the_coverage_of_the_mean_is_of_the_shipped_intervals() -> None:
    entries = list(sampled_readers(GRID[0], 200, np.random.default_rng(4)))
    mean = next(e for e in entries if e.statistic == "ICC(A,k)")
    assert (mean.draws, mean.default, mean.formula) == (10, True, "generalised")
    assert mean.covered >= 0.7


def test_the_jackknife_leaves_out_each_case() -> None:
    """Against tables that lack the case, and against the cubic that it inverts."""
    a, b = scores(10, n=30, k=2).T
    found = kappa4(a, b, "linear")
    kept = [np.delete(np.arange(30), case) for case in range(30)]
    without = np.array([kappa4(a[rows], b[rows], "linear").value for rows in kept])
    share = 29 * (without.mean() - without)
    error = (share.var(ddof=1) / 30) ** 0.5 / (1 - found.value**2)
    skewness = stats.skew(share) / 30**0.5
    for limit, side in ((found.low, 1), (found.high, -1)):
        t = (np.arctanh(found.value) - np.arctanh(limit)) / error
        straight = t + skewness * (t**2 / 3 + 1 / 6) + skewness**2 * t**3 / 27
        assert straight == pytest.approx(side * stats.t.ppf(0.975, 29))
    assert unskewed(2.0, 0.0) == 2.0
    assert unskewed(2.0, 1e-5) == pytest.approx(2.0, abs=1e-4)


def test_the_jackknife_says_why_it_has_no_interval() -> None:
    one_apart = np.array([0.1] * 9 + [0.3])
    found = kappa4(one_apart, np.full(10, 0.1))
    assert found.value == 0
    assert found.reason == "without one of the cases the statistic is undefined"
    whole = np.arange(10) / 10
    found = kappa4(whole, whole)
    assert found.value == 1
    assert "every case left out gives the same value" in str(found.reason)
    many = scores(11, n=1200, k=2)
    alone, parts = krippendorff_alpha(many), krippendorff_alpha(many[::-1])
    assert (alone.low, alone.high) == pytest.approx((parts.low, parts.high))
    assert alone.interval == "jackknife by case"


def test_the_simulation_covers_the_published_grid() -> None:
    entries = list(simulate(draws=40))
    settings_ = {(e.setting.n, e.setting.k, e.setting.readers) for e in entries}
    assert settings_ == {(n, k, v) for n in (20, 60) for k in (2, 5) for v in ("small", "large")}
    assert {e.formula for e in entries if e.statistic == "ICC(A,1)"} == {
        "generalised",
        "McGraw & Wong",
        "MLS",
        "bootstrap of cases",
    }
    assert all(e.covered > 0.7 for e in entries if e.default)
    assert entries == list(simulate(draws=40))


def test_modified_large_sample_is_near_the_generalised_interval() -> None:
    """Two derivations of one thing; they agree where there are many raters."""
    for cases, raters, error, n, k in ((0.5, 0.2, 0.05, 60, 20), (0.5, 0.4, 0.05, 100, 40)):
        first = generalised_intervals(cases, raters, error, n, k)
        second = mls_intervals(cases, raters, error, n, k)
        assert np.abs(np.array(first) - np.array(second)).max() < 0.015


def scores(seed: int, n: int = 24, k: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    table = rng.random((n, 1)) + rng.normal(0, 0.05, k) + rng.normal(0, 0.12, (n, k))
    return np.round(table.clip(0, 1), 2)


def all_statistics(table: np.ndarray, resampler: Resampler | None) -> dict[str, Statistic]:
    """Every statistic; by bootstrap if there is a resampler."""
    a, b = table[:, 0], table[:, 1]
    counts = bin_counts(table)
    drawn = resampler or Resampler.over(range(len(table)))
    found = {
        "kappa": kappa4(a, b, None, resampler),
        "linear": kappa4(a, b, "linear", resampler),
        "quadratic": kappa4(a, b, "quadratic", resampler),
        "pair": icc_a1_pair(a, b, resampler),
        "ccc": ccc(a, b, resampler),
        "pk": pk_statistic(a, b, drawn),
        "mse": mse_statistic(a, b, drawn),
        "fleiss": fleiss_kappa(counts, resampler),
        "ac1": gwet_ac1(counts, resampler),
        "ac2": gwet_ac2(counts, resampler),
        "alpha": krippendorff_alpha(table, drawn),
    }
    analysis = bland_altman(a, b, resampler)
    found |= {"bias": analysis.bias, "low": analysis.loa_low, "high": analysis.loa_high}
    for form in Form:
        found[form] = (
            icc_statistic(table, form)
            if resampler is None
            else icc_bootstrap(table, form, resampler)
        )
    return found


def test_bootstrap_and_closed_form_give_one_value_and_like_limits() -> None:
    table = scores(3, n=80)
    closed = all_statistics(table, None)
    drawn = all_statistics(table, Resampler.over(range(len(table))))
    for name, found in drawn.items():
        assert found.value == pytest.approx(closed[name].value, abs=1e-12), name
        assert found.low < found.value < found.high, name
        assert found.interval == "bootstrap by patient"
        if name not in ("icc_a1", "icc_ak", "icc_1", "icc_1k"):  # those have other readers in mind
            width, other = found.high - found.low, closed[name].high - closed[name].low
            assert 0.65 < width / other < 1.5, name


@pytest.mark.parametrize("form", list(Form))
def test_weights_are_copies_of_cases(form: Form) -> None:
    """A case drawn twice counts as two cases, in mean squares as in a longer table."""
    table = scores(4)
    often = np.random.default_rng(0).multinomial(24, np.full(24, 1 / 24))
    longer = np.repeat(table, often, axis=0)
    squares = mean_squares(table, often[None].astype(float))
    expected = mean_squares(longer)
    for name in ("cases", "raters", "error", "within"):
        assert getattr(squares, name)[0] == pytest.approx(getattr(expected, name)[0]), name
    from cellularity_core.agreement.icc import FORMULAS

    assert FORMULAS[form](squares)[0] == pytest.approx(icc(longer, form))


def test_each_estimator_counts_copies_of_cases() -> None:
    """One draw by hand: the value in a resample is the value of the longer table."""
    table = scores(5)
    often = np.random.default_rng(1).multinomial(24, np.full(24, 1 / 24)).astype(float)
    longer = np.repeat(table, often.astype(int), axis=0)
    values: list[float] = []

    class Spy(Resampler):
        def limits(self, value, drawn, scale=None):  # type: ignore[no-untyped-def]
            values.append(float(drawn[0]))
            return "seen"

    found = all_statistics(table, Spy(often[None], 24))
    expected = all_statistics(longer, None)
    assert len(values) == len(found)
    for (name, statistic), value in zip(found.items(), values, strict=True):
        assert statistic.reason == "seen"
        one = AVERAGE.get(name, name)  # limits of a mean of scores are made from one score's
        assert value == pytest.approx(expected[one].value, abs=1e-9), name


def test_patients_with_several_cases_widen_the_interval() -> None:
    """Copies of a case under one patient tell nothing new; as own patients they seem to."""
    a, b = scores(6, n=20, k=2).T
    copied = np.repeat(a, 4), np.repeat(b, 4)
    single = mse_statistic(a, b, Resampler.over(range(20)))
    by_patient = mse_statistic(*copied, Resampler.over(np.repeat(range(20), 4).tolist()))
    by_case = mse_statistic(*copied, Resampler.over(range(80)))
    assert (by_patient.low, by_patient.high) == pytest.approx((single.low, single.high))
    assert by_case.high - by_case.low < 0.6 * (by_patient.high - by_patient.low)


def test_outer_interval_holds_both() -> None:
    table = scores(7, n=40)
    resampler = Resampler.over(np.repeat(range(10), 4).tolist())
    outer = icc_outer(table, Form.ICC_A1, resampler)
    parts = icc_statistic(table), icc_bootstrap(table, Form.ICC_A1, resampler)
    assert outer.low == min(part.low for part in parts)
    assert outer.high == max(part.high for part in parts)
    assert outer.value == parts[0].value


def test_bootstrap_says_why_it_has_no_interval() -> None:
    a, b = scores(8, n=4, k=2).T
    found = mse_statistic(a, b, Resampler.over(range(4)))
    assert found.value == pytest.approx(np.mean((a - b) ** 2))
    assert (found.low, found.high) == (None, None)
    assert found.reason == "an interval by bootstrap needs 5 patients or more, there are 4"
    rare = np.zeros(12)
    rare[0] = 1  # a third of the resamples lack the only case that differs
    found = pk_statistic(rare, rare, Resampler.over(range(12)))
    assert found.value == 1
    assert found.reason == "the statistic is undefined in too many resamples for an interval"
    found = mse_statistic(rare, rare, Resampler.over(range(12)))
    assert found.value == 0
    assert found.reason == "every resample gives the same value"


def test_value_at_the_end_of_its_range_has_percentiles() -> None:
    truth = np.arange(20) / 20
    found = pk_statistic(truth, truth, Resampler.over(range(20)))
    assert found.value == 1
    assert found.reason == "every resample gives the same value"
    nearly = truth.copy()
    nearly[[3, 4]] = nearly[[4, 3]]
    found = pk_statistic(nearly, truth, Resampler.over(range(20)))
    assert 0.9 < found.low < found.value < found.high == 1


def test_same_seed_same_limits() -> None:
    a, b = scores(9, k=2).T
    first, second, other = (
        mse_statistic(a, b, Resampler.over(range(24), seed=seed)) for seed in (1, 1, 2)
    )
    assert first == second
    assert first != other


tables = st.builds(scores, st.integers(0, 2**32 - 1), st.integers(6, 30), st.integers(2, 5))


@given(table=tables, seed=st.integers(0, 100))
@settings(max_examples=20)
def test_order_of_cases_and_readers_does_not_matter(table: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shuffled = table[rng.permutation(len(table))][:, rng.permutation(table.shape[1])]
    for form in Form:
        for mcgraw_wong in (False, True):
            one, two = (icc_statistic(t, form, mcgraw_wong=mcgraw_wong) for t in (table, shuffled))
            assert one.value == pytest.approx(two.value, abs=1e-9)
            assert one.low == pytest.approx(two.low, abs=1e-6)
            assert one.high == pytest.approx(two.high, abs=1e-6)
    for statistic in (fleiss_kappa, gwet_ac1, gwet_ac2):
        one, two = statistic(bin_counts(table)), statistic(bin_counts(shuffled))
        assert one.value == pytest.approx(two.value, abs=1e-9)


@given(table=tables, shift=st.floats(0.1, 0.5))
@settings(max_examples=20)
def test_a_shift_of_one_reader_lowers_agreement_not_consistency(table, shift) -> None:
    centred = table - table.mean(axis=0)
    shifted = centred.copy()
    shifted[:, 0] += shift
    assert icc_statistic(shifted, Form.ICC_C1).value == pytest.approx(
        icc_statistic(centred, Form.ICC_C1).value, abs=1e-9
    )
    before, after = icc_statistic(centred), icc_statistic(shifted)
    if before.value > 0.01:
        assert after.value < before.value
    if before.low > 0.01:  # more noise from readers brings a lower limit nearer to 0
        assert after.low < before.low


@given(table=tables)
@settings(max_examples=20)
def test_limits_are_on_either_side(table: np.ndarray) -> None:
    for name, found in all_statistics(table, None).items():
        assert found.value is not None or found.reason, name
        if found.low is not None:
            assert found.reason is None
            assert found.low <= found.value + 1e-12, name
            assert found.high >= found.value - 1e-12, name
