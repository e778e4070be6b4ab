"""Intervals by hand, on simulated patients, and as a manifest keeps them."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellularity_core.conformal import (
    FEWEST_SHARING,
    coverage_report,
    fewest_patients,
    fit_interval,
    patient_quantile,
    shared_part,
)
from cellularity_core.errors import DataError, ModelError
from cellularity_core.uncertainty import SCALES, Interval, Scale

CONSTANT = SCALES["constant"]
unit = st.floats(0, 1)


@pytest.mark.parametrize(
    ("misses", "patients", "coverage", "expected"),
    [
        # nine patients: nine tenths of ten is all nine
        (range(1, 10), "abcdefghi", 0.9, 9),
        (range(1, 9), "abcdefgh", 0.9, math.inf),
        (range(1, 20), "abcdefghijklmnopqrs", 0.9, 18),
        # halves of "a" at 1 and 5, "b" at 3: 0.5, 1.5, 2 of 3
        ([5, 1, 3], "aab", 0.5, 3),
        ([5, 1, 3], "aab", 0.51, 5),
        ([5, 1, 3], "aab", 0.16, 1),
        ([2, 2, 2, 2, 9], "aaaab", 1 / 3, 2),
    ],
)
def test_quantile_by_hand(misses, patients, coverage, expected):
    assert patient_quantile(list(misses), list(patients), coverage) == expected


def split_conformal(misses) -> float:
    """Half width at 90 % where patches are exchangeable (Lei et al. 2018)."""
    return sorted(np.abs(misses))[math.ceil(0.9 * (len(misses) + 1) - 1e-9) - 1]


@given(st.lists(unit, min_size=9, max_size=60))
def test_with_one_patch_a_patient_it_is_split_conformal(misses):
    patients = [str(k) for k in range(len(misses))]
    assert patient_quantile(misses, patients, 0.9) == split_conformal(misses)


@given(st.data())
def test_quantile_is_the_one_of_drawing_a_patch_a_patient(data):
    """Against the slow definition: every way to draw one patch of each patient."""
    sizes = data.draw(st.lists(st.integers(1, 3), min_size=2, max_size=4))
    misses = [data.draw(st.lists(unit, min_size=n, max_size=n)) for n in sizes]
    coverage = data.draw(st.sampled_from([0.3, 0.5, 0.6]))
    everywhere = sorted(value for own in misses for value in own)

    def share(limit):
        return sum(sum(v <= limit for v in own) / len(own) for own in misses) / (len(misses) + 1)

    slow = next((v for v in everywhere if share(v) >= coverage - 1e-9), math.inf)
    found = patient_quantile(
        np.concatenate(misses), [str(k) for k, own in enumerate(misses) for _ in own], coverage
    )
    assert found == slow


def patients_of_two_kinds(rng: np.random.Generator, patients: int):
    """Half of the patients gave ten easy patches each, half gave a hard one."""
    easy = rng.random(patients) < 0.5
    counts = np.where(easy, 10, 1)
    who = np.repeat(np.arange(patients), counts)
    truth = rng.uniform(0.2, 0.8, len(who))
    noise = np.where(np.repeat(easy, counts), 0.02, 0.12) * rng.normal(size=len(who))
    # what a patient's patches have in common
    noise += np.repeat(rng.normal(0, 0.01, patients), counts)
    return truth, (truth + noise).clip(0, 1), who.astype(str)


def test_new_patients_are_covered_where_the_naive_interval_fails():
    rng = np.random.default_rng(0)
    by_patient, naive = [], []
    for _ in range(400):
        truth, score, who = patients_of_two_kinds(rng, 40)
        new_truth, new_score, new_who = patients_of_two_kinds(rng, 40)
        _, first = np.unique(new_who, return_index=True)
        fitted = fit_interval(truth, score, None, who, scale=CONSTANT)
        low, high = fitted.limits(new_score[first], None)
        by_patient.append(np.mean((low <= new_truth[first]) & (new_truth[first] <= high)))
        half = split_conformal(truth - score)
        naive.append(np.mean(np.abs(new_truth[first] - new_score[first]) <= half))
    # 400 x 40 patients; the standard error over draws is about 0.003
    assert 0.9 - 0.01 < np.mean(by_patient) < 0.9 + 0.025
    assert np.mean(naive) < 0.8


@pytest.mark.parametrize("name", SCALES)
def test_every_scale_covers_new_patients(name):
    rng = np.random.default_rng(1)
    covered, in_one_view = [], []
    for _ in range(300):
        truth = rng.beta(0.7, 1.0, 60)
        spread = rng.gamma(2, 0.01, 60)
        score = (truth + rng.normal(size=60) * (0.03 + 2 * spread)).clip(0, 1)
        who = np.repeat(np.arange(30), 2).astype(str)
        seen, new = slice(0, 40), slice(40, 60)
        fitted = fit_interval(truth[seen], score[seen], spread[seen], who[seen], scale=SCALES[name])
        low, high = fitted.limits(score[new], spread[new])
        covered.append(np.mean((low <= truth[new]) & (truth[new] <= high)))
        low, high = fitted.limits(score[new], None if fitted.plain else spread[new])
        in_one_view.append(np.mean((low <= truth[new]) & (truth[new] <= high)))
    assert 0.89 < np.mean(in_one_view) < 0.95
    assert 0.89 < np.mean(covered) < 0.95


def test_report_is_honest_about_each_patient_left_out():
    rng = np.random.default_rng(2)
    truth, score, who = patients_of_two_kinds(rng, 40)
    report = coverage_report(truth, score, None, who, scale=CONSTANT)
    inside, widths = [], []
    for patient in np.unique(who):
        rest = who != patient
        rows = np.flatnonzero(~rest)
        q = patient_quantile(np.abs(truth - score)[rest], who[rest], 0.9)
        for k in rows:
            low, high = max(0, score[k] - q), min(1, score[k] + q)
            inside.append(low <= truth[k] <= high)
            widths.append(high - low)
    value, low, high = report["coverage"]
    assert value == pytest.approx(np.mean(inside))
    assert low <= value <= high
    assert report["mean_width"] == pytest.approx(np.mean(widths))
    assert (report["patches"], report["patients"]) == (len(truth), 40)
    assert set(report["scales"]) == {"constant", "score"}
    assert report["scales"]["constant"]["mean_width"] == report["mean_width"]
    json.dumps(report, allow_nan=False)


def test_width_at_equal_coverage_prefers_the_scale_of_the_errors():
    rng = np.random.default_rng(3)
    truth = rng.uniform(0, 1, 400)
    spread = rng.gamma(1.0, 0.02, 400)
    score = (truth + rng.normal(size=400) * spread * 3).clip(0, 1)
    report = coverage_report(truth, score, spread, [str(k) for k in range(400)], draws=50)
    widths = {name: one["width_at_equal"] for name, one in report["scales"].items()}
    assert min(widths, key=widths.get) == "spread"


@given(score=unit, spread=st.floats(0, 0.5), name=st.sampled_from(sorted(SCALES)))
def test_limits_are_ordered_within_the_unit_interval(score, spread, name):
    fitted = Interval(0.9, SCALES[name], 0.4, 0.1, 20, 20, Interval(0.9, CONSTANT, 0.2, 0.2, 9, 9))
    low, high = fitted.limits(score, spread)
    assert 0 <= low <= score <= high <= 1
    wider = fitted.limits(score, spread + 0.1)
    assert wider[0] <= low and high <= wider[1]


def test_scale_by_hand():
    assert Scale(0.3, 1.0, 0.0)(0.5, None) == pytest.approx(0.8)
    assert Scale(0.2, 1.0, 4.0)([0.5, 0.0], [0.05, 0.1]) == pytest.approx([0.9, 0.6])


def test_too_few_patients_know_nothing():
    assert fewest_patients(0.9) == 9
    assert fewest_patients(0.95) == 19
    fitted = fit_interval([0.5] * 20, [0.5] * 20, None, ["a"] * 10 + ["b"] * 10)
    assert fitted.limits(0.4, None) == (0.0, 1.0)
    again = Interval.from_json(json.loads(json.dumps(fitted.to_json(), allow_nan=False)))
    assert again.limits(0.4, None) == (0.0, 1.0)


@pytest.mark.parametrize("name", SCALES)
def test_json_round_trip_is_exact(name):
    rng = np.random.default_rng(4)
    truth, score, spread = rng.uniform(size=(3, 30))
    who = [str(k) for k in range(30)]
    fitted = fit_interval(truth, score, spread, who, scale=SCALES[name])
    assert Interval.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted
    assert (fitted.plain is None) == (SCALES[name].spread == 0)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({}, "cannot be used"),
        ("wide", "cannot be used"),
        ({"scale": {"base": -1, "score": 0, "spread": 0}}, "negative"),
        ({"quantile": -0.1}, "negative"),
        ({"scale": {"base": 1, "score": 0, "spread": 1}}, "one view"),
        ({"quantile": "q"}, "cannot be used"),
        ({"quantile": math.nan}, "negative"),
    ],
)
def test_a_damaged_interval_is_refused(given, match):
    sound = fit_interval([0.1], [0.2], None, ["a"]).to_json()
    with pytest.raises(ModelError, match=match):
        Interval.from_json({**sound, **given} if given and isinstance(given, dict) else given)


@pytest.mark.parametrize(
    ("truth", "score", "spread", "patients", "match"),
    [
        ([], [], None, [], "needs one of each"),
        ([0.1, 0.2], [0.1], None, ["a", "b"], "2 true values, 1 scores"),
        ([0.1], [1.2], None, ["a"], "A score is 1.2"),
        ([math.nan], [0.2], None, ["a"], "A true value is nan"),
        ([0.1], [0.2], [0.1, 0.1], ["a"], "2 spreads"),
        ([0.1], [0.2], [-0.1], ["a"], "negative or no number"),
    ],
)
def test_unusable_scores_are_refused(truth, score, spread, patients, match):
    with pytest.raises(DataError, match=match):
        fit_interval(truth, score, spread, patients)


def test_a_scale_of_views_needs_views():
    with pytest.raises(DataError, match="every patch has one view"):
        fit_interval([0.1], [0.2], None, ["a"], scale=SCALES["spread"])


def test_what_a_patients_patches_share() -> None:
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(300), 4)
    common, own = rng.normal(size=300)[patients], rng.normal(size=1200)
    assert 0.5 < shared_part(common + own, patients) < 0.65
    assert shared_part(own, patients) < 0.1
    assert shared_part(own * 0 + 2, patients) == 1  # a bias is common to all
    assert shared_part(own, np.arange(1200)) == 1  # not to be told
    few = patients < FEWEST_SHARING - 1
    assert shared_part(own[few], patients[few]) == 1
    by_hand = [1.0, 3.0, -1.0, 2.0] * 20
    products = np.array([3.0, -2.0] * 20)
    upper = products.mean() + 1.684875 * products.std(ddof=1) / np.sqrt(40)
    found = shared_part(by_hand, np.repeat(np.arange(40), 2))
    np.testing.assert_allclose(found, upper / 3.75, rtol=1e-6)
    names = [str(patient) for patient in patients]
    fitted = fit_interval(np.full(1200, 0.5), 0.5 + 0.1 * np.tanh(own), None, names)
    assert fitted.shared < 0.1
    with pytest.raises(ModelError, match="share 2 of their errors"):
        Interval.from_json({**fitted.to_json(), "shared": 2})
