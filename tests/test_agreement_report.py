"""What the report of a table of ratings says: a figure or the reason why there is none."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example as also
from hypothesis import given, settings
from hypothesis import strategies as st
from ratings_support import KEYS, numbers, statistics, study

from cellularity_core.agreement import (
    Form,
    Rating,
    RatingTable,
    Statistic,
    agreement_report,
    cohen_kappa,
    icc_a1,
    icc_a1_pair,
    icc_statistic,
    kappa4,
    prediction_probability,
    to_bins,
    to_json,
)
from cellularity_core.export import json_text


def test_report_says_what_the_functions_say() -> None:
    table = RatingTable.from_ratings(study())
    report = agreement_report(table)
    scores = table.first_reads(("R0", "R1", "R2", "gbt"))
    assert (report.n_cases, report.n_cases_complete, report.n_readers) == (30, 30, 3)
    assert (report.readers, report.models) == (("R0", "R1", "R2"), ("gbt",))
    assert report.icc_a1 == icc_statistic(scores[:, :3])
    assert report.icc_a1.interval == "generalised"
    assert report.icc_a1_mcgraw_wong == icc_statistic(scores[:, :3], mcgraw_wong=True)
    assert [(pair.a, pair.b, pair.kinds) for pair in report.pairs] == [
        ("R0", "R1", ("reader", "reader")),
        ("R0", "R2", ("reader", "reader")),
        ("R1", "R2", ("reader", "reader")),
        ("gbt", "R0", ("model", "reader")),
        ("gbt", "R1", ("model", "reader")),
        ("gbt", "R2", ("model", "reader")),
    ]
    pair = report.pairs[4]
    a, b = scores[:, 3], scores[:, 1]
    assert pair.kappa4 == kappa4(a, b)
    assert pair.kappa4_quadratic.value == pytest.approx(
        cohen_kappa(to_bins(a), to_bins(b), "quadratic")
    )
    assert pair.icc_a1.value == pytest.approx(icc_a1(np.stack([a, b], axis=1)))
    assert pair.pk.value == pytest.approx(prediction_probability(b, a))  # b is the truth
    assert pair.mse.value == pytest.approx(np.mean((a - b) ** 2))
    assert pair.bland_altman.bias.value == pytest.approx(np.mean(a - b))
    deviation = np.std(a - b, ddof=1)
    assert pair.bland_altman.loa_low.value == pytest.approx(
        np.mean(a - b) - 1.959964 * deviation, abs=1e-6
    )
    assert [entry.rater for entry in report.repeatability] == ["R0"]
    assert [entry.model for entry in report.model_vs_readers] == ["gbt"]


def test_models_and_repeats_do_not_enter_the_group() -> None:
    ratings = study()
    report = agreement_report(RatingTable.from_ratings(ratings))
    alone = [r for r in ratings if r.kind == "reader" and not r.repeat]
    other = agreement_report(RatingTable.from_ratings(alone))
    for name in KEYS - {"n_cases", "n_readers", "readers", "pairs"}:
        assert getattr(report, name) == getattr(other, name), name
    assert report.pairs[:3] == other.pairs


def test_missing_reads_are_left_out_and_counted() -> None:
    ratings = [
        Rating("c1", "R1", None, "p1")
        if (r.case_id, r.reader) == ("c1", "R1")
        else Rating("c2", "R2", None, "p2", cannot_score=True)
        if (r.case_id, r.reader) == ("c2", "R2")
        else r
        for r in study()
        if (r.case_id, r.reader) != ("c3", "R2")
    ]
    ratings.append(Rating("c99", "R0", None))
    report = agreement_report(RatingTable.from_ratings(ratings))
    assert (report.n_cases, report.n_cases_complete, report.n_cases_unscored) == (30, 27, 1)
    assert report.icc_a1.n == 27
    assert report.fleiss_kappa4.n == 27
    assert report.krippendorff_interval.n == 30
    assert report.gwet_ac1_bins4.n == 30
    by = {(pair.a, pair.b): pair.n for pair in report.pairs}
    assert (by["R0", "R1"], by["R0", "R2"], by["R1", "R2"], by["gbt", "R2"]) == (29, 28, 27, 28)
    counts = {c.rater: (c.scored, c.cannot_score, c.missing) for c in report.counts}
    assert counts["R2"] == (28, 1, 2)
    assert counts["R1"] == (29, 0, 2)
    assert counts["gbt"] == (30, 0, 1)


def test_patients_with_several_cases_are_bootstrapped() -> None:
    single = agreement_report(RatingTable.from_ratings(study()))
    assert (single.intervals, single.n_patients) == ("closed", 30)
    ratings = study(cases_a_patient=3)
    several = agreement_report(RatingTable.from_ratings(ratings))
    assert (several.intervals, several.n_patients) == ("bootstrap", 10)
    assert several.icc_c1.interval == "bootstrap by patient"
    assert several.icc_a1.interval == "outer of generalised and bootstrap by patient"
    assert several.icc_a1.low <= single.icc_a1.low
    assert several.pairs[0].kappa4.interval == "bootstrap by patient"
    closed = agreement_report(RatingTable.from_ratings(ratings), intervals="closed")
    assert closed.icc_a1 == single.icc_a1
    with pytest.raises(ValueError, match="Unknown intervals 'open'"):
        agreement_report(RatingTable.from_ratings(ratings), intervals="open")  # type: ignore[arg-type]


def tables_at_the_edge() -> dict[str, list[Rating]]:
    readers = ("A", "B", "C")
    many = [f"c{i}" for i in range(8)]
    return {
        "nothing": [],
        "one case": [Rating("c", name, 0.1 * i) for i, name in enumerate(readers)],
        "one reader": [Rating(case, "A", i / 10) for i, case in enumerate(many)],
        "all equal": [Rating(case, name, 0.3) for case in many for name in readers],
        "one bin": [
            Rating(case, name, 0.05 + 0.01 * ((i + j) % 9))
            for i, case in enumerate(many)
            for j, name in enumerate(readers)
        ],
        "whole agreement": [
            Rating(case, name, i / 8) for i, case in enumerate(many) for name in readers
        ],
        "no common case": [Rating("c1", "A", 0.2), Rating("c2", "B", 0.3)],
        "all missing": [Rating(case, name, None) for case in many for name in readers],
        "constant rater": [
            Rating(case, name, 0.5 if name == "A" else i / 8)
            for i, case in enumerate(many)
            for name in readers
        ],
        "constant offset": [
            Rating(case, name, i / 10 + 0.1 * j)
            for i, case in enumerate(many)
            for j, name in enumerate(readers)
        ],
        "two cases": [
            Rating(c, n, 0.1 + 0.3 * i + 0.1 * j)
            for i, c in enumerate("xy")
            for j, n in enumerate("AB")
        ],
        "a model alone": [Rating(case, "gbt", i / 8, kind="model") for i, case in enumerate(many)],
        "a model and a reader": [
            Rating(case, name, i / 8, kind=kind)
            for i, case in enumerate(many)
            for name, kind in (("A", "reader"), ("gbt", "model"))
        ],
    }


@pytest.mark.parametrize("name", list(tables_at_the_edge()))
@pytest.mark.parametrize("intervals", ["closed", "bootstrap"])
def test_every_figure_has_a_value_or_a_reason(name: str, intervals: Any) -> None:
    table = RatingTable.from_ratings(tables_at_the_edge()[name])
    content = to_json(agreement_report(table, intervals=intervals, draws=200))
    assert set(content) >= KEYS
    json.dumps(content, allow_nan=False)
    assert all(map(math.isfinite, numbers(content)))
    found = list(statistics(content))
    assert len(found) >= 10
    for statistic in found:
        whole = None not in (statistic["value"], statistic["low"], statistic["high"])
        assert whole == (statistic["reason"] is None), statistic
        assert (statistic["low"] is None) == (statistic["high"] is None)
        if whole:
            assert statistic["low"] <= statistic["value"] <= statistic["high"], statistic


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(2, 8),
    k=st.integers(2, 4),
    spread=st.sampled_from([0.0, 0.1, 0.3]),
    intervals=st.sampled_from(["closed", "bootstrap"]),
    a_patient=st.sampled_from([1, 2]),
)
@also(seed=0, n=6, k=2, spread=0.0, intervals="closed", a_patient=1)
@settings(max_examples=60, deadline=None)
def test_small_tables_of_readers_who_disagree_are_written(
    seed: int, n: int, k: int, spread: float, intervals: Any, a_patient: int
) -> None:
    """JSON of any table, and no value outside its own interval."""
    rng = np.random.default_rng(seed)
    scores = (0.5 + rng.normal(0, spread, (n, 1)) + rng.normal(0, 0.2, (n, k))).clip(0, 1).round(2)
    scores[rng.random((n, k)) < 0.1] = np.nan
    check_figures(scores, intervals, a_patient)


@pytest.mark.parametrize("intervals", ["closed", "bootstrap"])
@pytest.mark.parametrize(
    "scores",
    [
        [[0.1, 0.9], [0.3, 0.72], [0.5, 0.5], [0.7, 0.3], [0.9, 0.15]],
        [[0.65, 0.47], [0.69, 0.54], [0.57, 0.73], [0.4, 0.69], [0.59, 0.19], [0.56, 0.61]],
        [[0.2, 0.8], [0.8, 0.2]],
    ],
)
def test_readers_who_contradict_each_other_are_written(
    scores: list[list[float]], intervals: Any
) -> None:
    check_figures(np.array(scores), intervals, 1)


def check_figures(scores: np.ndarray, intervals: Any, a_patient: int) -> None:
    table = RatingTable.from_ratings(
        Rating(
            f"c{i}",
            f"r{j}",
            float(score),
            f"p{i // a_patient}",
            kind="model" if j == 3 else "reader",
        )
        for i, row in enumerate(scores)
        for j, score in enumerate(row)
        if np.isfinite(score)
    )
    content = to_json(agreement_report(table, intervals=intervals, draws=200))
    json_text(content)
    for statistic in statistics(content):
        whole = None not in (statistic["value"], statistic["low"], statistic["high"])
        assert whole == (statistic["reason"] is None), statistic
        assert (statistic["low"] is None) == (statistic["high"] is None)
        if whole:
            assert statistic["low"] <= statistic["value"] <= statistic["high"], statistic


def test_reasons_are_the_true_ones() -> None:
    offset = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6], [0.7, 0.8], [0.2, 0.3]])
    found = icc_statistic(offset, Form.ICC_C1)
    assert found.value == pytest.approx(1)
    assert found.reason is not None
    assert found.reason.startswith("the raters differ by constant offsets only")
    crossed = np.array([[0.1, 0.9], [0.9, 0.1]])
    assert icc_statistic(crossed, Form.ICC_C1).reason == "the cases' means do not differ"
    assert icc_statistic(crossed, Form.ICC_CK).reason == "the cases' means do not differ"
    assert "contradict each other" in str(icc_statistic(crossed, Form.ICC_A1).reason)
    assert icc_statistic(np.full((4, 2), 0.3)).reason == "the scores do not vary"
    apart = np.array([[0.1, 0.9], [0.3, 0.72], [0.5, 0.5], [0.7, 0.3], [0.9, 0.15]])
    pair = icc_a1_pair(*apart.T)
    assert pair.value is not None
    assert pair.value < -1
    assert "beyond the end of the scale" in str(pair.reason)


def test_reasons_at_the_edge() -> None:
    def report(name: str):  # type: ignore[no-untyped-def]
        return agreement_report(RatingTable.from_ratings(tables_at_the_edge()[name]), draws=200)

    one = report("one case")
    assert one.icc_a1.value is None
    assert one.icc_a1.reason == "two cases or more with a score of every rater are needed"
    assert one.pairs[0].mse.value == pytest.approx(0.01)
    assert one.pairs[0].bland_altman.bias.value == pytest.approx(-0.1)
    assert one.pairs[0].kappa4.reason == "two cases or more scored by both are needed"
    equal = report("all equal")
    assert equal.icc_a1.reason == "the scores do not vary"
    assert equal.fleiss_kappa4.reason == "all scores are in one bin"
    assert equal.pairs[0].pk.reason == "no two cases differ in the reference"
    assert equal.pairs[0].mse.value == 0
    one_bin = report("one bin")
    assert one_bin.icc_a1.value is not None
    assert one_bin.pairs[0].kappa4.reason == "all scores of both raters are in one bin"
    assert one_bin.gwet_ac1_bins4.value == 1  # it is made for this
    whole = report("whole agreement")
    assert whole.icc_a1.value == pytest.approx(1)
    assert whole.icc_a1.reason == "the raters do not differ, so there is no error to judge it by"
    assert whole.pairs[0].pk.value == 1
    apart = report("no common case")
    assert (apart.n_cases, apart.pairs[0].n) == (2, 0)
    assert apart.pairs[0].mse.reason == "no case is scored by both"
    missing = report("all missing")
    assert (missing.n_cases, missing.n_readers, missing.n_cases_unscored) == (0, 0, 8)
    assert missing.icc_a1.reason == "two readers or more are needed"
    offset = report("constant offset")
    assert offset.icc_c1.value == pytest.approx(1)
    assert offset.icc_a1.low < offset.icc_a1.value < offset.icc_a1.high < 1


def test_statistics_are_frozen() -> None:
    statistic = Statistic(0.5)
    with pytest.raises(AttributeError):
        statistic.value = 0.6  # type: ignore[misc]
