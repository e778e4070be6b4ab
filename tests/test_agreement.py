"""Agreement statistics against published answers, other libraries and slow definitions."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example as also
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import cohen_kappa_score, mean_squared_error
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.inter_rater import cohens_kappa, to_table

from cellularity_core.agreement import (
    cohen_kappa,
    icc_a1,
    icc_c1,
    mse,
    prediction_probability,
    to_bins,
)

SHROUT_FLEISS = [
    [9, 2, 5, 8],
    [6, 1, 3, 2],
    [8, 4, 6, 8],
    [7, 1, 2, 6],
    [10, 5, 6, 9],
    [6, 2, 4, 7],
]


@pytest.fixture(scope="module")
def published(data_root: Path) -> dict:
    return json.loads((data_root.parent / "oracles" / "agreement.json").read_text())


def rating_tables(low: int = 2) -> st.SearchStrategy[np.ndarray]:
    def make(seed: int, n: int, k: int, noise: float) -> np.ndarray:
        rng = np.random.default_rng(seed)
        table = rng.random((n, 1)) + rng.normal(0, 0.1, (1, k)) + rng.normal(0, noise, (n, k))
        return table.clip(0, 1)

    return st.builds(
        make,
        st.integers(0, 2**32 - 1),
        st.integers(low + 1, 40),
        st.integers(low, 6),
        st.floats(0.02, 0.5),
    )


def test_icc_of_published_examples(published: dict) -> None:
    for example in published["icc"]:
        assert round(icc_a1(example["ratings"]), 2) == example["icc_a1"][0], example["source"]
        assert round(icc_c1(example["ratings"]), 2) == example["icc_c1"][0], example["source"]


def test_kappa_of_published_examples(published: dict) -> None:
    for example in published["kappa"]:
        a, b = np.repeat([divmod(i, 3) for i in range(9)], np.ravel(example["table"]), axis=0).T
        assert round(cohen_kappa(a, b), 4) == example["kappa"], example["source"]
        assert round(cohen_kappa(a, b, "linear"), 4) == example["linear_weighted"]


def test_icc_of_shrout_and_fleiss() -> None:
    """Table 2 of Shrout & Fleiss 1979, answers on page 424: .29 and .71."""
    assert icc_a1(SHROUT_FLEISS) == pytest.approx(0.29, abs=0.005)
    assert icc_c1(SHROUT_FLEISS) == pytest.approx(0.71, abs=0.005)


@given(table=rating_tables())
@settings(max_examples=25, deadline=None)
def test_icc_equals_the_analysis_of_variance(table: np.ndarray) -> None:
    """Mean squares from statsmodels' two-way ANOVA, formulas of McGraw & Wong."""
    n, k = table.shape
    data = pd.DataFrame(
        {
            "y": table.ravel(),
            "case": np.repeat(np.arange(n), k).astype(str),
            "rater": np.tile(np.arange(k), n).astype(str),
        }
    )
    rows = anova_lm(ols("y ~ case + rater", data).fit())
    msr, msc, mse_ = rows["mean_sq"][["case", "rater", "Residual"]]
    expected_a = (msr - mse_) / (msr + (k - 1) * mse_ + k / n * (msc - mse_))
    assert icc_a1(table) == pytest.approx(expected_a, abs=1e-9)
    assert icc_c1(table) == pytest.approx((msr - mse_) / (msr + (k - 1) * mse_), abs=1e-9)


@given(table=rating_tables(), shift=st.floats(-5, 5), scale=st.floats(0.1, 100))
@settings(max_examples=50, deadline=None)
def test_icc_knows_no_units_and_no_order(table, shift, scale) -> None:
    for icc in (icc_a1, icc_c1):
        value = icc(table)
        assert value <= 1
        assert icc(table * scale + shift) == pytest.approx(value, abs=1e-6)
        assert icc(table[::-1, ::-1]) == pytest.approx(value, abs=1e-9)


@given(table=rating_tables(), offset=st.floats(0.05, 3))
@settings(max_examples=50, deadline=None)
def test_only_absolute_agreement_sees_an_offset(table, offset) -> None:
    rated = np.column_stack([table[:, 0], table[:, 0] + offset])
    if np.ptp(table[:, 0]) < 1e-3:
        return
    assert icc_c1(rated) == pytest.approx(1)
    assert icc_a1(rated) < 1 - 1e-6


def test_undefined_icc_is_nan() -> None:
    for icc in (icc_a1, icc_c1):
        assert np.isnan(icc(np.full((5, 3), 0.1)))
        assert np.isnan(icc([[0.1, 0.2]]))
        assert np.isnan(icc([[0.1], [0.2], [0.3]]))
        assert np.isnan(icc(np.empty((0, 2))))
        assert np.isnan(icc([[0.1, 0.2], [0.3, np.nan], [0.5, 0.6]]))
    # offsets alone: no agreement in absolute terms, nothing to be consistent about
    offsets = np.tile([0.1, 0.4], (6, 1))
    assert icc_a1(offsets) == pytest.approx(0)
    assert np.isnan(icc_c1(offsets))
    with pytest.raises(ValueError, match=r"shape \(3,\); expected \(n, k\)"):
        icc_a1([0.1, 0.2, 0.3])


def test_bins_close_at_their_upper_edge() -> None:
    edges = [0, 0.25, 0.2501, 0.26, 0.5, 0.51, 0.75, 0.76, 1]
    assert to_bins(edges).tolist() == [0, 0, 1, 1, 1, 2, 2, 3, 3]
    assert to_bins([0.1 + 0.15, 0.7 + 0.05]).tolist() == [0, 2]
    percent = np.arange(101)
    expected = [0] * 26 + [1] * 25 + [2] * 25 + [3] * 25
    assert to_bins(percent / 100).tolist() == expected


@pytest.mark.parametrize("bad", [[0.5, 26], [1.01], [-0.01], [np.nan], [0.5, None]])
def test_bins_of_percent_are_refused(bad: list[float | None]) -> None:
    with pytest.raises(ValueError, match="fractions, not percent"):
        to_bins(bad)


categories = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=60)


@given(pairs=categories, weights=st.sampled_from([None, "linear", "quadratic"]))
@settings(max_examples=150, deadline=None)
def test_kappa_equals_scikit_learn_and_statsmodels(pairs, weights) -> None:
    a, b = np.array(pairs).T
    ours = cohen_kappa(a, b, weights)
    if len({*a, *b}) == 1:
        assert np.isnan(ours)
        return
    theirs = cohen_kappa_score(a, b, weights=weights, labels=range(4))
    assert ours == pytest.approx(theirs, abs=1e-12)
    table, _ = to_table(np.column_stack([a, b]), bins=np.arange(-0.5, 4))
    # statsmodels names the powers of the distance as scikit-learn does
    other = cohens_kappa(table, wt=weights, return_results=False)
    assert ours == pytest.approx(other, abs=1e-12)


def test_undefined_kappa_is_nan() -> None:
    assert np.isnan(cohen_kappa([], []))
    assert np.isnan(cohen_kappa([2, 2, 2], [2, 2, 2]))
    assert cohen_kappa([2, 2, 2], [1, 1, 1]) == 0
    with pytest.raises(ValueError, match="bin scores with to_bins"):
        cohen_kappa([0.5, 1], [0, 1])
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(3,\)"):
        cohen_kappa([0, 1], [0, 1, 2])
    with pytest.raises(ValueError, match='Unknown kappa weights "cubic"'):
        cohen_kappa([0, 1], [0, 1], "cubic")  # type: ignore[arg-type]


def slow_pk(truth: list[float], prediction: list[float]) -> float:
    p = q = t = 0
    for i in range(len(truth)):
        for j in range(i):
            if truth[i] == truth[j]:
                continue
            if prediction[i] == prediction[j]:
                t += 1
            elif (truth[i] > truth[j]) == (prediction[i] > prediction[j]):
                p += 1
            else:
                q += 1
    return ((p - q) / (p + q + t) + 1) / 2 if p + q + t else float("nan")


scores = st.lists(
    st.tuples(st.integers(0, 10), st.integers(0, 10)).map(lambda p: (p[0] / 10, p[1] / 10)),
    max_size=30,
)


@given(pairs=scores)
@also(pairs=[(0.0, 0.1), (0.1, 0.0), (0.1, 0.2), (0.2, 0.1)])
@settings(max_examples=150, deadline=None)
def test_pk_is_its_definition_and_somers_d(pairs) -> None:
    truth, prediction = [p[0] for p in pairs], [p[1] for p in pairs]
    ours = prediction_probability(truth, prediction)
    assert ours == pytest.approx(slow_pk(truth, prediction), nan_ok=True)
    if len(set(truth)) > 1 and len(set(prediction)) > 1:  # SciPy wants both to vary
        with np.errstate(all="ignore"):  # its p-value divides by a variance that may be 0
            somers = stats.somersd(truth, prediction).statistic
        assert ours == pytest.approx((somers + 1) / 2)


def test_pk_at_its_ends() -> None:
    truth = [0, 0.1, 0.5, 0.9]
    assert prediction_probability(truth, truth) == 1
    assert prediction_probability(truth, [1, 0.9, 0.5, 0.1]) == 0
    assert prediction_probability(truth, [0.3] * 4) == 0.5
    assert np.isnan(prediction_probability([0.2, 0.2], [0.1, 0.9]))
    assert np.isnan(prediction_probability([], []))
    assert np.isnan(prediction_probability([0.1, np.nan], [0.1, 0.9]))


def test_mse_equals_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(50), rng.random(50)
    assert mse(a, b) == pytest.approx(mean_squared_error(a, b))
    assert mse([0.0, 1.0], [0.5, 1.0]) == 0.125
    assert np.isnan(mse([], []))
    with pytest.raises(ValueError, match="one length"):
        mse([0.1], [0.1, 0.2])
