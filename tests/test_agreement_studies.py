"""Questions of a reader study: models' place, repeats, trends, its size."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy import stats

from cellularity_core.agreement import (
    Form,
    Rating,
    RatingTable,
    agreement_report,
    bland_altman,
    bland_altman_points,
    cohen_kappa,
    expected_width,
    icc_a1,
    icc_statistic,
    model_against_readers,
    readers_mean,
    repeatability,
    sample_size,
    to_bins,
    trend,
)
from cellularity_core.agreement.generalised import generalised_intervals
from cellularity_core.errors import DataError

MONDAY = datetime(2026, 3, 30, 9, tzinfo=UTC)


def table_of(columns: dict[str, np.ndarray], models: tuple[str, ...] = ()) -> RatingTable:
    return RatingTable.from_ratings(
        Rating(
            f"c{case}",
            name,
            None if np.isnan(score) else float(score),
            kind="model" if name in models else "reader",
        )
        for name, scores in columns.items()
        for case, score in enumerate(np.clip(scores, 0, 1))
    )


def readers_and_model(
    seed: int, n: int, model_error: float, readers: int = 4, missing: float = 0.0
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = 0.15 + 0.7 * rng.random(n)
    columns = {f"R{i}": truth + rng.normal(0, 0.1, n) for i in range(readers)}
    for scores in columns.values():
        scores[rng.random(n) < missing] = np.nan
    return columns | {"model": truth + rng.normal(0, model_error, n)}


# a model beside the readers


@pytest.mark.parametrize(
    ("error", "n", "verdict"),
    [(0.01, 200, "closer"), (0.10, 200, "inside"), (0.35, 200, "outside"), (0.12, 20, "undecided")],
)
def test_verdict_on_a_model(error: float, n: int, verdict: str) -> None:
    table = table_of(readers_and_model(1, n, error), models=("model",))
    found = model_against_readers(table, "model").icc_a1
    assert found.verdict == verdict
    low, high = found.difference.low, found.difference.high
    expected = {
        "closer": low > 0,
        "inside": -0.05 < low <= 0,
        "outside": high < 0,
        "undecided": low <= -0.05 and high >= 0,
    }
    assert expected[verdict]


def test_comparison_is_the_mean_of_pairs_and_of_readers_left_out() -> None:
    columns = readers_and_model(2, 40, 0.15)
    table = table_of(columns, models=("model",))
    found = model_against_readers(table, "model")
    readers = [np.clip(columns[f"R{i}"], 0, 1) for i in range(4)]
    model = np.clip(columns["model"], 0, 1)
    for comparison, measure in (
        (found.icc_a1, lambda a, b: icc_a1(np.stack([a, b], axis=1))),
        (
            found.kappa4_quadratic,
            lambda a, b: cohen_kappa(to_bins(a), to_bins(b), "quadratic"),
        ),
    ):
        with_model = np.mean([measure(model, reader) for reader in readers])
        among = np.mean([measure(readers[i], readers[j]) for i in range(4) for j in range(i)])
        assert comparison.model.value == pytest.approx(with_model)
        assert comparison.readers.value == pytest.approx(among)
        assert comparison.difference.value == pytest.approx(with_model - among)
        left_out = [x.model_agreement - x.reader_agreement for x in comparison.left_out]
        assert np.mean(left_out) == pytest.approx(with_model - among)
        assert comparison.difference.low < comparison.difference.value < comparison.difference.high


def test_the_readers_mean_is_the_comparisons() -> None:
    """Of one table, with a model or without: where the model scored every case."""
    columns = readers_and_model(5, 30, 0.1, missing=0.2)
    columns["model"] = np.nan_to_num(columns["model"], nan=0.5)
    table = table_of(columns, models=("model",))
    found = model_against_readers(table, "model")
    for measure in ("icc_a1", "kappa4_quadratic"):
        assert readers_mean(table, measure) == getattr(found, measure).readers
    alone = table_of(readers_and_model(5, 30, 0.1, readers=1), models=("model",))
    assert readers_mean(alone, "icc_a1").reason == "readers cannot be compared with fewer than two"


def test_pairs_use_the_cases_that_both_scored() -> None:
    columns = readers_and_model(3, 60, 0.1, missing=0.4)
    assert not np.isfinite(np.stack(list(columns.values()))).all(axis=0).sum() > 25
    table = table_of(columns, models=("model",))
    found = model_against_readers(table, "model").icc_a1
    clipped = {name: np.clip(scores, 0, 1) for name, scores in columns.items()}
    expected = []
    for i in range(4):
        both = np.stack([clipped["model"], clipped[f"R{i}"]], axis=1)
        expected.append(icc_a1(both[np.isfinite(both).all(axis=1)]))
    assert found.model.value == pytest.approx(np.mean(expected))


def test_draws_without_a_case_of_a_pair_count_for_nothing() -> None:
    """Two readers share 3 of 8 cases: some draws have none of them, and say nothing."""
    columns = readers_and_model(6, 8, 0.1, readers=3)
    columns["R0"][5:] = columns["R1"][:2] = np.nan
    found = model_against_readers(table_of(columns, models=("model",)), "model").icc_a1
    assert found.difference.value is not None
    assert found.difference.low is not None
    assert found.difference.low < found.difference.value


def test_one_reader_is_no_spread() -> None:
    columns = readers_and_model(4, 30, 0.1, readers=1)
    found = model_against_readers(table_of(columns, models=("model",)), "model").icc_a1
    assert found.model.value is not None
    assert found.readers.reason == "readers cannot be compared with fewer than two"
    assert (found.difference.value, found.verdict, found.left_out) == (None, "undecided", ())


# repeats


def repeated(first: list[float], *again: list[float]) -> RatingTable:
    reads = [first, *again]
    return RatingTable.from_ratings(
        Rating(f"c{case}", "R", score, repeat=place)
        for place, scores in enumerate(reads)
        for case, score in enumerate(scores)
    )


def test_repeatability_of_pairs() -> None:
    """With two reads a case: SD of differences over root 2, exact chi-square limits."""
    rng = np.random.default_rng(5)
    first = 0.2 + 0.6 * rng.random(25)
    again = first + rng.normal(0.01, 0.05, 25)
    found = repeatability(repeated(list(first), list(again)), "R")
    gap = again - first
    sd = (np.mean(gap**2) / 2) ** 0.5
    assert (found.n_cases, found.n_reads) == (25, 50)
    assert found.within_sd.value == pytest.approx(sd)
    assert found.coefficient.value == pytest.approx(1.959964 * 2**0.5 * sd)
    quantiles = stats.chi2.ppf([0.975, 0.025], 25)
    assert (found.within_sd.low, found.within_sd.high) == pytest.approx(
        tuple(sd * (25 / quantiles) ** 0.5)
    )
    one_way = icc_statistic(np.stack([first, again], axis=1), Form.ICC_1)
    for name in ("value", "low", "high"):
        assert getattr(found.icc, name) == pytest.approx(getattr(one_way, name))
    assert found.shift.value == pytest.approx(gap.mean())
    interval = stats.ttest_1samp(gap, 0).confidence_interval()
    assert (found.shift.low, found.shift.high) == pytest.approx(tuple(interval))


def test_repeatability_at_the_edge() -> None:
    assert repeatability(repeated([0.1, 0.2]), "R") is None
    same = repeatability(repeated([0.1, 0.5], [0.1, 0.5]), "R")
    assert same.within_sd.value == 0
    assert same.icc.value == pytest.approx(1)
    assert same.icc.reason == "all repeats equal their first read"
    single = repeatability(repeated([0.1], [0.3]), "R")
    assert single.within_sd.value == pytest.approx((0.2**2 / 2) ** 0.5)
    assert single.icc.reason == "two cases or more with repeats are needed"


def test_repeats_of_patients_with_several_cases_are_drawn_by_patient() -> None:
    rng = np.random.default_rng(0)
    held = {True: 0, False: 0}
    truth = (0.2**2 + 0.08**2) / (0.2**2 + 2 * 0.08**2)
    for _ in range(80):
        patient, case = rng.normal(0.5, 0.2, 12), rng.normal(0, 0.08, 72)
        reads = np.repeat(patient, 6) + case + rng.normal(0, 0.08, (2, 72))
        table = RatingTable(
            tuple(
                Rating(f"c{k}", "R", float(reads[j, k]), f"p{k // 6}", repeat=j)
                for j in range(2)
                for k in range(72)
            )
        )
        for by_patient in held:
            found = repeatability(table, "R", by_patient=by_patient, draws=300)
            assert found is not None and found.icc.low is not None and found.icc.high is not None
            held[by_patient] += found.icc.low <= truth <= found.icc.high
    assert held[True] > 0.85 * 80 > held[False]


def test_repeats_in_a_report_have_the_intervals_of_its_other_figures() -> None:
    again = [
        Rating(f"c{k}", "R", 0.1 * (k % 5) + 0.02 * j * (k % 3), f"p{k // 2}", repeat=j)
        for j in range(2)
        for k in range(14)
    ]
    kinds = {}
    for intervals in ("closed", "auto"):
        (found,) = agreement_report(
            RatingTable.from_ratings(again), intervals=intervals
        ).repeatability
        kinds[intervals] = [
            (one.value, one.interval)
            for one in (found.within_sd, found.coefficient, found.icc, found.shift)
        ]
    values, closed = zip(*kinds["closed"], strict=True)
    assert closed == ("chi-square", "chi-square", "F", "t")
    assert [kind for _, kind in kinds["auto"]] == ["bootstrap by patient"] * 4
    assert [value for value, _ in kinds["auto"]] == pytest.approx(values, abs=1e-12)


def test_unequal_numbers_of_repeats_pool_all_reads() -> None:
    ratings = [Rating("a", "R", s, repeat=i) for i, s in enumerate((0.1, 0.2, 0.3))]
    ratings += [Rating("b", "R", s, repeat=i) for i, s in enumerate((0.8, 0.6))]
    found = repeatability(RatingTable.from_ratings(ratings), "R")
    assert found.n_reads == 5
    assert found.within_sd.value == pytest.approx(((0.02 + 0.02) / 3) ** 0.5)


# trends


def timed(n: int = 60) -> RatingTable:
    """Two readers agree at first; the second drifts after 30 cases, 10 cases a week."""
    rng = np.random.default_rng(6)
    ratings = []
    for case in range(n):
        truth = 0.1 + 0.6 * rng.random()
        drift = 0.25 if case >= 30 else 0.0
        scores = {"A": truth + rng.normal(0, 0.02), "B": truth + drift + rng.normal(0, 0.02)}
        moment = MONDAY + timedelta(weeks=case // 10, hours=case % 10)
        for reader, score in scores.items():
            later = moment + timedelta(minutes=5) if reader == "B" else moment
            ratings.append(Rating(f"c{case}", reader, float(np.clip(score, 0, 1)), read_at=later))
        ratings.append(Rating(f"c{case}", "gbt", float(np.clip(truth, 0, 1)), kind="model"))
    return RatingTable.from_ratings(ratings)


def test_trend_by_week_sees_the_drift() -> None:
    found = trend(timed(), by="week")
    assert [point.rater for point in found] == ["A"] * 6 + ["B"] * 6 + ["gbt"] * 6
    weeks = [f"2026-W{week}" for week in range(14, 20)]
    assert [point.period for point in found] == weeks * 3
    assert {point.n_cases for point in found} == {10}
    of_b = [point.icc_a1 for point in found if point.rater == "B"]
    assert all(point.low > 0.8 for point in of_b[:3])
    assert all(point.high < 0.8 for point in of_b[3:])
    assert found[0].start == MONDAY
    assert found[12].start == MONDAY  # a model's score has the time of the case's first read
    assert found[6].start == MONDAY + timedelta(minutes=5)


def test_trend_by_batch_is_the_mean_over_readers() -> None:
    table = timed()
    found = trend(table, by="batch", batch=25)
    assert [(p.rater, p.period, p.n_cases) for p in found][:3] == [
        ("A", "1", 25),
        ("A", "2", 25),
        ("A", "3", 10),
    ]
    scores = table.first_reads(("gbt", "A", "B"))[:25]
    point = found[6]
    assert (point.rater, point.kind) == ("gbt", "model")
    bins = to_bins(scores)
    for name, measure in (
        ("icc_a1", lambda j: icc_a1(scores[:, [0, j]])),
        ("kappa4", lambda j: cohen_kappa(bins[:, 0], bins[:, j])),
        ("kappa4_quadratic", lambda j: cohen_kappa(bins[:, 0], bins[:, j], "quadratic")),
    ):
        expected = np.mean([measure(1), measure(2)])
        assert getattr(point, name).value == pytest.approx(expected), name


def test_trend_without_times() -> None:
    table = table_of(readers_and_model(7, 40, 0.1), models=("model",))
    with pytest.raises(DataError, match="No read has a time, so there are no weeks"):
        trend(table, by="week")
    found = trend(table, by="batch", batch=20)
    assert len(found) == 10
    assert {point.start for point in found} == {None}
    alone = trend(table_of(readers_and_model(7, 40, 0.1, readers=1)), by="batch")
    assert alone[0].icc_a1.value is not None  # "model" is a second reader there
    single = trend(table_of({"R": np.linspace(0, 1, 30)}), by="batch")
    assert "no other reader shares 3 cases" in single[0].icc_a1.reason
    with pytest.raises(ValueError, match="expected week, or batch of 1 or more"):
        trend(table, by="batch", batch=0)


# size of a study


@pytest.mark.parametrize(
    ("n", "k", "icc", "share"),
    [
        (20, 2, 0.8, 0.25),
        (40, 5, 0.6, 0.5),
        (30, 10, 0.85, 0.1),
        (100, 6, 0.8, 0.6),
        (60, 3, 0.8, 0.02),
    ],
)
def test_expected_width_is_that_of_simulated_studies(
    n: int, k: int, icc: float, share: float
) -> None:
    rng = np.random.default_rng(11)
    draws, by_readers, error = 150, (1 - icc) * share, (1 - icc) * (1 - share)
    low, high = generalised_intervals(
        (k * icc + error) * rng.chisquare(n - 1, draws) / (n - 1),
        (n * by_readers + error) * rng.chisquare(k - 1, draws) / (k - 1),
        error * rng.chisquare((n - 1) * (k - 1), draws) / ((n - 1) * (k - 1)),
        n,
        k,
        accuracy=1e-4,
    )
    widths = high - low
    noise = 3 * widths.std() / draws**0.5
    assert expected_width(n, k, icc, share) == pytest.approx(
        widths.mean(), abs=0.05 * widths.mean() + noise
    )


def test_sample_size_is_the_least_that_does() -> None:
    plans = sample_size(0.2, 0.85, reader_share=0.1, readers=(2, 5, 10))
    two, five, ten = plans
    assert (two.cases, two.reads) == (None, None)
    assert two.reason.startswith("with 2 readers even 500 cases give 0.6")
    for plan in (five, ten):
        assert plan.reads == plan.cases * plan.readers
        assert plan.width == pytest.approx(expected_width(plan.cases, plan.readers, 0.85, 0.1))
        assert plan.width <= 0.2
        assert expected_width(plan.cases - 1, plan.readers, 0.85, 0.1) > 0.2
    assert ten.cases < five.cases


def test_a_study_of_the_planned_size_has_the_wanted_width() -> None:
    """From scores to interval: 60 simulated studies of the size that was advised."""
    icc, share = 0.85, 0.1
    (plan,) = sample_size(0.2, icc, reader_share=share, readers=(6,))
    rng = np.random.default_rng(12)
    widths = []
    for _ in range(60):
        table = (
            rng.normal(0, icc**0.5, (plan.cases, 1))
            + rng.normal(0, ((1 - icc) * share) ** 0.5, plan.readers)
            + rng.normal(0, ((1 - icc) * (1 - share)) ** 0.5, (plan.cases, plan.readers))
        )
        found = icc_statistic(table)
        widths.append(found.high - found.low)
    assert np.mean(widths) == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((0.0, 0.8), "Got a width of 0"),
        ((0.2, 1.0), "Got an ICC of 1"),
        ((0.2, -0.1), "Got an ICC of -0.1"),
    ],
)
def test_impossible_plans_are_refused(arguments: tuple[float, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        sample_size(*arguments)
    with pytest.raises(ValueError, match="expected 2 readers or more"):
        sample_size(0.2, 0.8, readers=(1,))
    with pytest.raises(ValueError, match="a readers' share of 1"):
        expected_width(20, 3, 0.8, 1.0)


def test_points_of_a_bland_altman_plot() -> None:
    a, b = np.array([0.2, 0.4, 0.9]), np.array([0.1, 0.5, 0.9])
    means, gaps = bland_altman_points(a, b)
    assert means == pytest.approx([0.15, 0.45, 0.9])
    assert gaps == pytest.approx([0.1, -0.1, 0.0])
    assert bland_altman(a, b).bias.value == pytest.approx(gaps.mean())
