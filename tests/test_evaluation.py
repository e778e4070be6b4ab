"""Figures, AUC and conformal widths against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from cellularity_core.agreement import icc_a1
from cellularity_core.evaluation import auc, figures

GRADES = st.lists(st.integers(0, 6), min_size=1, max_size=20)


@given(high=GRADES, low=GRADES)
def test_auc_is_sklearns(high, low):
    truth = [1] * len(high) + [0] * len(low)
    assert auc(high, low) == pytest.approx(roc_auc_score(truth, high + low))


def test_auc_of_nothing_is_undefined():
    assert np.isnan(auc([], [1.0]))


def test_interval_widens_when_patches_share_patients():
    rng = np.random.default_rng(1)
    truth = np.repeat(rng.random(12), 10)
    found = np.clip(truth + np.repeat(rng.normal(0, 0.15, 12), 10), 0, 1)
    grouped = figures(truth, found, [str(k // 10) for k in range(120)])
    alone = figures(truth, found, [str(k) for k in range(120)])
    assert grouped["mse"][0] == alone["mse"][0]
    width = [f["mse"][2] - f["mse"][1] for f in (grouped, alone)]
    assert width[0] > 1.5 * width[1]


def test_perfect_scores():
    truth = np.linspace(0, 1, 20)
    found = figures(truth, truth, [str(k) for k in range(20)])
    assert found["icc_a1"][0] == pytest.approx(1)
    assert found["mse"][0] == 0 and np.isnan(found["mse"][1:]).all()  # all draws are the same
    assert found["kappa4"][0] == found["pk"][0] == 1


def test_intervals_of_few_patients_hold_the_truth():
    """At 95 %; percentiles of the draws held the MSE in 162 of 200 such samples."""
    rng = np.random.default_rng(2)

    def sample(n):
        truth = rng.beta(0.8, 1.2, n)
        return truth, np.clip(truth + rng.normal(0, 0.11, n), 0, 1)

    truth, found = sample(200_000)
    true = {
        "mse": np.mean((truth - found) ** 2),
        "icc_a1": icc_a1(np.stack([truth, found], axis=1)),
    }
    held = dict.fromkeys(true, 0)
    for _ in range(200):
        one = figures(*sample(12), [str(k) for k in range(12)])
        for name, value in true.items():
            held[name] += one[name][1] <= value <= one[name][2]
    assert all(172 <= count <= 199 for count in held.values()), held
