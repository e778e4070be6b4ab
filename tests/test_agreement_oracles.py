"""Agreement statistics against published answers and against other libraries."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import krippendorff
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score, mean_squared_error
from statsmodels.stats import inter_rater

from cellularity_core.agreement import (
    Form,
    Resampler,
    bin_counts,
    bland_altman,
    ccc,
    fleiss_kappa,
    gwet_ac1,
    gwet_ac2,
    icc,
    icc_a1_pair,
    icc_statistic,
    kappa4,
    kappa_of_table,
    krippendorff_alpha,
    mse_statistic,
    pk_statistic,
    prediction_probability,
    to_bins,
)
from cellularity_core.agreement.group import standard_error

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what importing it does is not ours
    import pingouin

N_TABLES = 200

# the example of 12 units, 4 raters and 5 categories of Gwet, Handbook of Inter-Rater
# Reliability, 4th ed. 2014 ("raters4" of his package irrCAC)
GWET = np.array(
    [
        [1, 1, np.nan, 1],
        [2, 2, 3, 2],
        [3, 3, 3, 3],
        [3, 3, 3, 3],
        [2, 2, 2, 2],
        [1, 2, 3, 4],
        [4, 4, 4, 4],
        [1, 1, 2, 1],
        [2, 2, 2, 2],
        [np.nan, 5, 5, 5],
        [np.nan, np.nan, 1, 1],
        [np.nan, np.nan, 3, np.nan],
    ]
)


@pytest.fixture(scope="module")
def published(data_root: Path) -> dict[str, Any]:
    return json.loads((data_root.parent / "oracles" / "agreement.json").read_text())


@pytest.fixture(scope="module")
def tables() -> list[np.ndarray]:
    """Random tables with ties, 2 to 6 raters, scores 0, 0.05, ... 1."""
    rng = np.random.default_rng(1)
    found = []
    while len(found) < N_TABLES:
        n, k = int(rng.integers(4, 40)), int(rng.integers(2, 7))
        table = (
            rng.beta(0.8, 1.2, (n, 1))
            + rng.normal(0, 0.08, (1, k))
            + rng.normal(0, rng.uniform(0.03, 0.3), (n, k))
        ).clip(0, 1)
        found.append(np.round(table * 20) / 20)
    return found


@pytest.fixture
def unrounded() -> Iterator[None]:
    """Pingouin rounds what it returns unless each of its options says otherwise."""
    before = dict(pingouin.options)
    pingouin.options.update({name: None for name in before if name.startswith("round")})
    yield
    pingouin.options.update(before)


def test_icc_of_published_examples(published: dict[str, Any]) -> None:
    for example in published["icc"]:
        for form in Form:
            found = icc_statistic(example["ratings"], form, mcgraw_wong=True)
            digits = [round(x, 2) for x in (found.value, found.low, found.high)]
            assert digits == example[form.value], (form, example["source"])


def test_kappa_of_published_examples(published: dict[str, Any]) -> None:
    for example in published["kappa"]:
        plain = kappa_of_table(example["table"])
        assert round(plain.value, 4) == example["kappa"]
        assert [round(plain.low, 4), round(plain.high, 4)] == example["ci95"]
        error = (plain.high - plain.low) / 2 / 1.959964
        assert round(error, 4) == example["ase"]
        linear = kappa_of_table(example["table"], "linear")
        assert round(linear.value, 4) == example["linear_weighted"]
        limits = [round(linear.low, 4), round(linear.high, 4)]
        assert limits == example["linear_weighted_ci95"]


def test_fleiss_and_krippendorff_of_published_examples(published: dict[str, Any]) -> None:
    for example in published["fleiss"]:
        assert round(fleiss_kappa(example["counts"]).value, 3) == example["kappa"]
    for example in published["krippendorff"]:
        ratings = np.array(example["ratings"], float).T
        resampler = Resampler.over(range(len(ratings)), draws=10)
        for metric in ("nominal", "interval"):
            found = krippendorff_alpha(ratings, resampler, metric)
            assert round(found.value, 6) == example[metric], metric
            assert found.n == 12


def test_gwet_of_his_handbook() -> None:
    """AC1 0.77544 with standard error 0.14295; Fleiss' kappa 0.76117 with 0.15302.

    AC2 with quadratic weights, 0.91400 with 0.10396, is from the irrCAC package.
    """
    counts = np.stack([(category == GWET).sum(axis=1) for category in range(1, 6)], axis=1)
    assert gwet_ac1(counts).value == pytest.approx(0.77544, abs=5e-6)
    nobody_read = np.vstack([counts, np.zeros(5)])
    assert standard_error(nobody_read, 0.775444068, "gwet", np.eye(5)) == standard_error(
        counts, 0.775444068, "gwet", np.eye(5)
    )
    assert standard_error(counts, 0.775444068, "gwet", np.eye(5)) == pytest.approx(
        0.14295, abs=5e-6
    )
    assert standard_error(counts, 0.761169275, "fleiss", np.eye(5)) == pytest.approx(
        0.15302, abs=5e-6
    )
    assert gwet_ac2(counts).value == pytest.approx(0.91400, abs=5e-6)
    distance = np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    worth = 1 - distance**2 / 16
    assert standard_error(counts, 0.914000724, "gwet", worth) == pytest.approx(0.10396, abs=5e-6)
    found = gwet_ac1(counts)
    assert found.n == 12
    assert -1 < found.low < found.value < found.high < 1


@pytest.mark.usefixtures("unrounded")
def test_every_icc_equals_pingouin(tables: list[np.ndarray]) -> None:
    compared = 0
    for table in tables:
        n, k = table.shape
        data = pd.DataFrame(
            {
                "case": np.repeat(np.arange(n), k),
                "rater": np.tile(np.arange(k), n),
                "score": table.ravel(),
            }
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = pingouin.intraclass_corr(
                data=data, targets="case", raters="rater", ratings="score"
            )
        names = [f"ICC({x})" for x in ("1,1", "A,1", "C,1", "1,k", "A,k", "C,k")]
        rows = rows.set_index("Type").loc[names]
        for form, (_, row) in zip(Form, rows.iterrows(), strict=True):
            found = icc_statistic(table, form, mcgraw_wong=True)
            assert found.value == pytest.approx(row["ICC"], abs=1e-6)
            low, high = row["CI95"]
            assert found.low == pytest.approx(low, abs=1e-6)
            assert found.high == pytest.approx(high, abs=1e-6)
            compared += 1
    assert compared == 6 * N_TABLES


def test_two_raters_equal_scikit_learn_and_statsmodels(tables: list[np.ndarray]) -> None:
    compared = 0
    for table in tables:
        a, b = table[:, 0], table[:, 1]
        resampler = Resampler.over(range(len(a)), draws=10)
        assert mse_statistic(a, b, resampler).value == pytest.approx(mean_squared_error(a, b))
        assert pk_statistic(a, b, resampler).value == pytest.approx(
            prediction_probability(b, a), nan_ok=True
        )
        bins = to_bins(a), to_bins(b)
        counts = np.zeros((4, 4))
        np.add.at(counts, bins, 1)
        for weights in (None, "linear", "quadratic"):
            found = kappa4(a, b, weights)
            if found.value is None:
                assert len({*bins[0], *bins[1]}) == 1
                continue
            theirs = cohen_kappa_score(*bins, weights=weights, labels=range(4))
            assert found.value == pytest.approx(theirs, abs=1e-6)
            asymptotic = kappa_of_table(counts, weights)
            assert asymptotic.value == pytest.approx(found.value)
            if asymptotic.low is not None:  # statsmodels divides by the error without one
                other = inter_rater.cohens_kappa(counts, wt=weights)
                assert found.value == pytest.approx(other.kappa, abs=1e-6)
                assert asymptotic.low == pytest.approx(max(other.kappa_low, -1), abs=1e-6)
                assert asymptotic.high == pytest.approx(min(other.kappa_upp, 1), abs=1e-6)
                compared += 1
    assert compared > 2.5 * N_TABLES


def test_fleiss_equals_statsmodels(tables: list[np.ndarray]) -> None:
    for table in tables:
        counts = bin_counts(table)
        found = fleiss_kappa(counts)
        if found.value is None:
            assert (counts.sum(axis=0) > 0).sum() == 1
            continue
        assert found.value == pytest.approx(inter_rater.fleiss_kappa(counts), abs=1e-6)


def test_krippendorff_equals_krippendorff_with_missing_cells(tables: list[np.ndarray]) -> None:
    rng = np.random.default_rng(2)
    compared = 0
    for table in tables:
        holed = np.where(rng.random(table.shape) < rng.choice([0, 0.1, 0.4]), np.nan, table)
        resampler = Resampler.over(range(len(holed)), draws=10)
        if (np.isfinite(holed).sum(axis=1) > 1).sum() < 2:
            continue
        for metric in ("nominal", "interval"):
            found = krippendorff_alpha(holed, resampler, metric)
            if found.value is None:
                continue
            theirs = krippendorff.alpha(reliability_data=holed.T, level_of_measurement=metric)
            assert found.value == pytest.approx(theirs, abs=1e-6)
            compared += 1
    assert compared > 1.9 * N_TABLES


def slow_gwet(table: np.ndarray, worth: np.ndarray) -> float:
    """Gwet's coefficient by its definition, rater pair by rater pair."""
    bins = [[int(to_bins(x)) for x in row if np.isfinite(x)] for row in table]
    bins = [row for row in bins if row]
    agreed = []
    for row in bins:
        pairs = [worth[a, b] for i, a in enumerate(row) for j, b in enumerate(row) if i != j]
        if pairs:
            agreed.append(np.mean(pairs))
    pi = np.mean([[row.count(q) / len(row) for q in range(4)] for row in bins], axis=0)
    chance = worth.sum() / 12 * (pi * (1 - pi)).sum()
    return (np.mean(agreed) - chance) / (1 - chance)


def test_gwet_is_its_definition_with_missing_cells(tables: list[np.ndarray]) -> None:
    rng = np.random.default_rng(3)
    distance = np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    for table in tables:
        holed = np.where(rng.random(table.shape) < 0.2, np.nan, table)
        if (np.isfinite(holed).sum(axis=1) > 1).sum() < 2:
            continue
        counts = bin_counts(holed)
        assert gwet_ac1(counts).value == pytest.approx(slow_gwet(holed, np.eye(4)))
        assert gwet_ac2(counts).value == pytest.approx(slow_gwet(holed, 1 - distance**2 / 9))


def test_concordance_is_its_definition(tables: list[np.ndarray]) -> None:
    for table in tables:
        a, b = table[:, 0], table[:, 1]
        if np.ptp(table[:, :2]) == 0:
            continue
        covariance = np.mean((a - a.mean()) * (b - b.mean()))
        expected = 2 * covariance / (a.var() + b.var() + (a.mean() - b.mean()) ** 2)
        assert ccc(a, b).value == pytest.approx(expected, abs=1e-9)
        assert icc_a1_pair(a, b).value == pytest.approx(icc(table[:, :2]), abs=1e-9)


def test_concordance_interval_is_lins_formula() -> None:
    """The standard error of z written out as Lin (1989, 2000) has it, with r and not C_b."""
    rng = np.random.default_rng(4)
    a = rng.random(30)
    b = 0.1 + 0.8 * a + rng.normal(0, 0.1, 30)
    found = ccc(a, b)
    r, rho = np.corrcoef(a, b)[0, 1], found.value
    u = (a.mean() - b.mean()) / (a.std() * b.std()) ** 0.5
    variance = (
        (1 - r**2) * rho**2 / ((1 - rho**2) * r**2)
        + 2 * rho**3 * (1 - rho) * u**2 / (r * (1 - rho**2) ** 2)
        - rho**4 * u**4 / (2 * r**2 * (1 - rho**2) ** 2)
    ) / 28
    reach = stats.t.ppf(0.975, 28) * variance**0.5
    assert found.low == pytest.approx(np.tanh(np.arctanh(rho) - reach))
    assert found.high == pytest.approx(np.tanh(np.arctanh(rho) + reach))


def test_bland_altman_limits_hold_the_true_quantile() -> None:
    """The definition of the exact interval (Carkeet 2015), by simulation."""
    rng = np.random.default_rng(5)
    gap = rng.normal(0.02, 0.1, 10)
    found = bland_altman(gap + 0.5, np.full(10, 0.5))
    bias, deviation = gap.mean(), gap.std(ddof=1)
    assert found.bias.value == pytest.approx(bias)
    interval = stats.ttest_1samp(gap, 0).confidence_interval()
    assert (found.bias.low, found.bias.high) == pytest.approx(tuple(interval))
    assert found.loa_high.value == pytest.approx(bias + 1.959964 * deviation, abs=1e-6)
    below, above = ((x - bias) / deviation for x in (found.loa_high.low, found.loa_high.high))
    draws = rng.normal(size=(200_000, 10))
    means, deviations = draws.mean(axis=1), draws.std(axis=1, ddof=1)
    assert np.mean(means + above * deviations < 1.959964) == pytest.approx(0.025, abs=0.002)
    assert np.mean(means + below * deviations > 1.959964) == pytest.approx(0.025, abs=0.002)
    assert found.loa_low.low == pytest.approx(bias - above * deviation)
    assert found.loa_low.high == pytest.approx(bias - below * deviation)
