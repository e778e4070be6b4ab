"""Agreement at its edges: few cases, limits at an end, what is said where there is no figure."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from cellularity_core.agreement import (
    Form,
    Rating,
    RatingTable,
    Resampler,
    bland_altman,
    ccc,
    icc_a1_pair,
    icc_bootstrap,
    icc_statistic,
    kappa4,
    model_against_readers,
    mse_statistic,
    pk_statistic,
    readers_mean,
)
from cellularity_core.agreement.generalised import generalised_cdf, generalised_intervals
from cellularity_core.agreement.kappa import NO_ERROR, ONE_BIN, TOO_FEW, kappa_of_table
from cellularity_core.agreement.ratings import in_utc
from cellularity_core.agreement.spread import MARGIN, MIN_CASES, pairwise_agreement
from cellularity_core.agreement.statistic import point, undefined


@pytest.mark.parametrize("weights", [None, "linear", "quadratic"])
def test_kappa_of_a_table_says_why_it_is_undefined(weights) -> None:
    assert kappa_of_table([[1, 0], [0, 0]], weights) == undefined(TOO_FEW, 1)
    assert kappa_of_table([[2, 0], [0, 0]], weights) == undefined(ONE_BIN, 2)
    assert kappa_of_table([[2, 0], [0, 3]], weights) == point(1.0, NO_ERROR, 5)
    crossed = kappa_of_table([[5, 3], [2, 6]], weights)
    assert (crossed.interval, crossed.n) == ("asymptotic", 16)


def test_a_moment_without_a_zone_is_taken_for_utc() -> None:
    noon = datetime(2026, 3, 31, 12)
    assert in_utc(noon) == datetime(2026, 3, 31, 12, tzinfo=UTC)
    elsewhere = in_utc(noon.replace(tzinfo=timezone(timedelta(hours=2))))
    assert (elsewhere.hour, elsewhere.tzinfo) == (10, UTC)


def table_of(columns: dict[str, list[float]]) -> RatingTable:
    return RatingTable.from_ratings(
        Rating(f"c{case}", name, score, kind="model" if name == "model" else "reader")
        for name, scores in columns.items()
        for case, score in enumerate(scores)
    )


@pytest.mark.parametrize("measure", ["icc_a1", "kappa4", "kappa4_quadratic"])
def test_a_pair_counts_from_three_shared_cases_on(measure) -> None:
    scores = np.array([[0.1, 0.2], [0.4, 0.6], [0.9, 0.8], [0.5, np.nan], [np.nan, 0.5]])
    once = np.ones((1, len(scores)))
    assert MIN_CASES == 3
    assert np.isfinite(pairwise_agreement(scores, [(0, 1)], measure, once)).all()
    scores[0, 0] = np.nan
    assert np.isnan(pairwise_agreement(scores, [(0, 1)], measure, once)).all()


def test_a_comparison_names_its_readers_its_margin_and_its_cases() -> None:
    columns = {
        "A": [0.1, 0.3, 0.5, 0.7, 0.9, 0.2],
        "B": [0.2, 0.3, 0.4, 0.8, 0.8, 0.1],
        "C": [0.1, 0.5, 0.5, 0.6, 1.0, 0.4],
        "model": [0.1, 0.4, 0.6, 0.7, 0.9, 0.3],
    }
    found = model_against_readers(table_of(columns), "model", margin=0.4, draws=50)
    for comparison in (found.icc_a1, found.kappa4_quadratic):
        assert comparison.margin == 0.4
        assert [entry.reader for entry in comparison.left_out] == ["A", "B", "C"]
        assert (comparison.readers.n, comparison.model.n, comparison.difference.n) == (6, 6, 6)
    assert (found.icc_a1.measure, found.kappa4_quadratic.measure) == ("icc_a1", "kappa4_quadratic")
    one = model_against_readers(
        table_of({name: columns[name] for name in ("A", "model")}), "model", draws=50
    )
    assert one.icc_a1.margin == MARGIN
    assert one.icc_a1.readers.n == 6
    alone = model_against_readers(table_of({"model": columns["model"]}), "model", draws=50)
    assert alone.n_cases == 0
    assert alone.icc_a1.model == undefined("no reader", 0)
    assert readers_mean(table_of({"A": columns["A"]}), "icc_a1").n == 6


def test_every_repeat_is_counted() -> None:
    reads = [Rating("c", "A", 0.1 * repeat, repeat=repeat) for repeat in range(4)]
    (count,) = RatingTable.from_ratings(reads).counts()
    assert (count.scored, count.repeats) == (1, 3)


def test_limits_of_agreement_of_few_cases_and_of_small_differences() -> None:
    one = bland_altman([0.5], [0.25])
    few = "two cases or more scored by both are needed"
    assert one.bias.n == 1
    assert (one.loa_low, one.loa_high) == (undefined(few, 1), undefined(few, 1))
    two = bland_altman([0.5, 0.6], [0.4, 0.3], Resampler.over("ab", draws=20))
    assert all(
        "an interval by bootstrap needs" in str(limit.reason)
        for limit in (two.bias, two.loa_low, two.loa_high)
    )
    reference = np.linspace(0.1, 0.9, 9)
    alternating = np.where(np.arange(9) % 2, 1.0, -1.0)
    rounding = bland_altman(reference + 1e-12 * alternating, reference)
    assert rounding.loa_low.reason == "all differences are the same"
    small = bland_altman(reference + 1e-8 * alternating, reference)
    assert small.loa_low.low < small.loa_low.value < small.loa_low.high
    names = [limit.interval for limit in (small.bias, small.loa_low, small.loa_high)]
    assert names == ["t", "noncentral t", "noncentral t"]


def test_generalised_limits_at_the_ends_of_what_the_coefficient_can_be() -> None:
    low, high = generalised_intervals(0.001, 0.01, 0.09, 10, 3)  # cases differ less than by chance
    assert low == -1 / 2
    assert -1 / 2 < high < 0
    assert generalised_intervals(0.1, 1e-12, 1e-12, 20, 3) == (1.0, 1.0)
    assert generalised_cdf(1e-310, 0.1, 0.001, 0.0, 20, 2) == 0


def test_two_cases_have_a_kappa_a_concordance_and_a_pk() -> None:
    first, second, resampler = [0.1, 0.9], [0.1, 0.8], Resampler.over("ab", draws=20)
    assert kappa4(first, second).value == 1
    assert ccc(first, second).value == pytest.approx(2 * 0.14 / (0.16 + 0.1225 + 0.0025))
    assert pk_statistic(first, second, resampler).value == 1


@pytest.mark.parametrize("same", [False, True])
def test_every_figure_says_of_how_many_cases_it_is(same: bool) -> None:
    """Defined or not, with an interval or without."""
    rng = np.random.default_rng(1)
    for n in (1, 2, 3, 12):
        a = np.full(n, 0.5) if same else rng.random(n)
        b = np.full(n, 0.5) if same else (a + rng.normal(0, 0.1, n)).clip(0, 1)
        resampler = Resampler.over(range(n), draws=20)
        table = np.stack([a, b], axis=1)
        for how in (None, resampler):
            differences = bland_altman(a, b, how)
            for figure in (
                ccc(a, b, how),
                icc_a1_pair(a, b, how),
                kappa4(a, b, None, how),
                differences.bias,
                differences.loa_low,
                differences.loa_high,
            ):
                assert figure.n == n, figure
        for figure in (
            *(icc_statistic(table, form) for form in Form),
            *(icc_bootstrap(table, form, resampler) for form in Form),
            pk_statistic(a, b, resampler),
            mse_statistic(a, b, resampler),
        ):
            assert figure.n == n, figure


def test_bootstrap_limits_lie_alike_on_fishers_scale() -> None:
    rng = np.random.default_rng(0)
    a = rng.random(60)
    b = (a + rng.normal(0, 0.1, 60)).clip(0, 1)
    resampler = Resampler.over(range(60), draws=100)
    for found in (
        kappa4(a, b, None, resampler),
        icc_bootstrap(np.stack([a, b], axis=1), Form.ICC_C1, resampler),
        readers_mean(table_of({"A": list(a), "B": list(b)}), "icc_a1", draws=100),
        model_against_readers(
            table_of({"A": list(a), "model": list(b)}), "model", draws=100
        ).icc_a1.model,
    ):
        low, value, high = np.arctanh([found.low, found.value, found.high])
        assert high - value == pytest.approx(value - low)
