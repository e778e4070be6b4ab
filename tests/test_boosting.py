"""Boosted trees: shap as oracle, LightGBM's own text as format, damage as failure."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from cellularity_core.boosting import BoostedTrees, explain, train
from cellularity_core.errors import DataError, ModelError
from cellularity_core.features import FEATURE_NAMES

AREA = FEATURE_NAMES.index("malignant area@0.50")


def samples(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of made-up patches, cellularity following the malignant area."""
    rng = np.random.default_rng(seed)
    x = rng.gamma(1.0, 8000.0, (n, 81))
    y = 1 - np.exp(-x[:, AREA] / 12000) + rng.normal(0, 0.03, n)
    return x, y.clip(0, 1)


@pytest.fixture(scope="module")
def trees() -> BoostedTrees:
    return train(*samples(400), seed=1, rounds=150, learning_rate=0.04)


@pytest.fixture(scope="module")
def text(trees: BoostedTrees, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("gbt") / "gbt.txt"
    trees.save(path)
    return path.read_text()


def test_learns_what_the_targets_follow(trees: BoostedTrees) -> None:
    x, y = samples(300, seed=5)
    assert np.mean((trees.predict(x) - y) ** 2) < 0.05 * y.var()
    assert max(trees.gain(), key=trees.gain().__getitem__) == "malignant area@0.50"


def test_gain_is_named_in_order(trees: BoostedTrees) -> None:
    gain = trees.gain()
    assert tuple(gain) == FEATURE_NAMES
    assert all(value >= 0 for value in gain.values())


def test_a_saved_model_scores_the_same(trees: BoostedTrees, tmp_path: Path) -> None:
    x, _ = samples(50, seed=2)
    trees.save(tmp_path / "gbt.txt")
    loaded = BoostedTrees.load(tmp_path / "gbt.txt")
    assert_array_equal(loaded.raw(x), trees.raw(x))
    loaded.save(tmp_path / "again.txt")
    assert_array_equal(BoostedTrees.load(tmp_path / "again.txt").raw(x), trees.raw(x))


def test_windows_line_ends_are_read(text: str, trees: BoostedTrees, tmp_path: Path) -> None:
    x, _ = samples(5)
    (tmp_path / "gbt.txt").write_bytes(text.replace("\n", "\r\n").encode())
    assert_array_equal(BoostedTrees.load(tmp_path / "gbt.txt").raw(x), trees.raw(x))


def test_training_repeats_itself_on_any_number_of_threads(trees: BoostedTrees) -> None:
    x, _ = samples(50, seed=3)
    again = train(*samples(400), seed=1, rounds=150, learning_rate=0.04, threads=2)
    assert_array_equal(again.raw(x), trees.raw(x))


def test_paper_settings_are_the_defaults(tmp_path: Path) -> None:
    train(*samples(120), seed=0).save(tmp_path / "gbt.txt")
    stored = (tmp_path / "gbt.txt").read_text()
    for line in ("learning_rate: 0.01", "max_depth: 5", "num_leaves: 8", "objective: regression"):
        assert f"[{line}]" in stored
    assert stored.count("Tree=") == 600
    assert max(map(int, _values(stored, "num_leaves"))) <= 8


def _values(stored: str, key: str) -> list[str]:
    return [line.split("=")[1] for line in stored.splitlines() if line.startswith(f"{key}=")]


def test_rounds_are_reported() -> None:
    seen: list[tuple[int, int]] = []
    train(*samples(60), seed=0, rounds=5, on_round=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_weights_count_as_repetition() -> None:
    x, y = samples(60)
    weight = np.where(y > np.median(y), 3, 1)
    few = {"seed": 0, "rounds": 1, "learning_rate": 1.0, "leaves": 2, "min_leaf": 1}
    weighted = train(x, y, weights=weight, **few)
    repeated = train(np.repeat(x, weight, axis=0), np.repeat(y, weight), **few)
    assert_allclose(weighted.raw(x).mean(), repeated.raw(x).mean(), atol=0.02)
    assert weighted.raw(x).mean() > train(x, y, **few).raw(x).mean() + 0.02


def test_predictions_stay_within_bounds() -> None:
    x, _ = samples(200)
    y = (x[:, AREA] > np.median(x[:, AREA])).astype(float)
    model = train(x, y, seed=0, rounds=80, learning_rate=0.9)
    raw = model.raw(x)
    assert raw.max() > 1 or raw.min() < 0  # the clip has something to do
    assert_array_equal(model.predict(x), np.clip(raw, 0, 1))


def test_contributions_equal_treeshap(trees: BoostedTrees) -> None:
    import shap

    x, _ = samples(40, seed=7)
    ours, base = trees.contributions(x)
    oracle = shap.TreeExplainer(trees._booster)
    assert_allclose(ours, oracle.shap_values(x), atol=1e-9)
    assert base == pytest.approx(float(np.ravel(oracle.expected_value)[0]), abs=1e-9)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_contributions_sum_to_the_raw_score(trees: BoostedTrees, seed: int, n: int) -> None:
    x, _ = samples(n, seed)
    shares, base = trees.contributions(x)
    assert shares.shape == (n, 81)
    assert_allclose(base + shares.sum(axis=1), trees.raw(x), atol=1e-9)
    assert base == trees.contributions(np.zeros((1, 81)))[1]


@given(cut=st.floats(0, 1, exclude_max=True))
@settings(max_examples=60, deadline=None)
def test_a_truncated_file_is_refused(text: str, tmp_path_factory, cut: float) -> None:
    whole = text.index("end of parameters")
    path = tmp_path_factory.mktemp("cut") / "gbt.txt"
    path.write_text(text[: int(cut * whole)])
    with pytest.raises(ModelError, match=r"gbt\.txt is damaged .* install the model set again"):
        BoostedTrees.load(path)


def damaged(text: str) -> dict[str, bytes]:
    start, end = text.index("Tree=1\n"), text.index("Tree=2\n")
    return {
        "empty": b"",
        "picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
        "prose": b"These are not trees.",
        "tree cut out": (text[:start] + text[end:]).encode(),
        "digit lost": text.replace("leaf_value=", "leaf_value=1", 1).encode(),
        "wrong number": text.replace("num_leaves=8", "num_leaves=x", 1).encode(),
    }


@pytest.mark.parametrize("kind", damaged("Tree=1\nTree=2\n"))
def test_a_damaged_file_is_refused(text: str, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "gbt.txt"
    path.write_bytes(damaged(text)[kind])
    with pytest.raises(ModelError, match="install the model set again"):
        BoostedTrees.load(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gbt\.txt cannot be read \(No such file"):
        BoostedTrees.load(tmp_path / "gbt.txt")


def test_other_features_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "gbt.txt"
    names = [name.replace(" ", "_") for name in FEATURE_NAMES]
    swapped = [names[1], names[0], *names[2:]]
    path.write_text(text.replace(" ".join(names), " ".join(swapped)))
    with pytest.raises(ModelError, match=r"does not read the 81 features .* in their order"):
        BoostedTrees.load(path)
    path.write_text(text.replace(" ".join(names), " ".join(names[:80])))
    with pytest.raises(ModelError, match="does not read the 81 features"):
        BoostedTrees.load(path)


def test_wrong_features_are_refused_in_words(trees: BoostedTrees) -> None:
    for call in (trees.raw, trees.predict, trees.contributions):
        with pytest.raises(ValueError, match=r"shape \(3, 80\); expected \(n, 81\)"):
            call(np.zeros((3, 80)))
        with pytest.raises(ValueError, match="NaN or infinite"):
            call(np.full((1, 81), np.nan))


def test_unfit_training_data_is_refused_in_words() -> None:
    x, y = samples(60)
    with pytest.raises(DataError, match=r"39 patches are too few .* at least 40"):
        train(x[:39], y[:39], seed=0)
    with pytest.raises(DataError, match="fraction between 0 and 1"):
        train(x, y * 100, seed=0)
    with pytest.raises(ValueError, match=r"60 rows .* targets of shape \(59,\)"):
        train(x, y[1:], seed=0)


def test_reasons_read_as_a_pathologist_would() -> None:
    values, shares = np.zeros(81), np.zeros(81)
    for name, value, share in [
        ("malignant area@0.50", 0.31 * 65536, 0.12),
        ("malignant blb_cnt@0.16", 132, -0.2),
        ("normal value@total", 6553.6, 0.034),
        ("lymphocyte blb_sum@0.02", 40, -0.01),
        ("normal value@0.02", 655.36, -0.006),
        ("normal value@0.04", 655.36, 0.004),
    ]:
        values[FEATURE_NAMES.index(name)] = value
        shares[FEATURE_NAMES.index(name)] = share
    assert [reason.text for reason in explain(values, shares, top=4)] == [
        "malignant blobs of contrast above 0.16: -0.20 (132 in 256 × 256 µm of tissue)",
        "malignant area above 0.5: +0.12 (31 % of the tissue)",
        "normal activation in all: +0.03 (worth 10 % of the tissue)",
        "activation of lymphocyte blobs of contrast above 0.02: -0.01 "
        "(worth 40 full blobs in 256 × 256 µm of tissue)",
        "77 other features: 0.00",
    ]
    assert [reason.text for reason in explain(values, shares)][4:] == [
        "normal activation above 0.02: -0.01 (worth 1 % of the tissue)",
        "76 other features: 0.00",
    ]


@given(seed=st.integers(0, 2**32 - 1), top=st.integers(0, 90))
@settings(max_examples=40, deadline=None)
def test_reasons_hold_the_whole_sum(seed: int, top: int) -> None:
    rng = np.random.default_rng(seed)
    values, shares = rng.gamma(1, 1000, 81), rng.normal(0, 0.05, 81)
    reasons = explain(values, shares, top)
    assert sum(reason.contribution for reason in reasons) == pytest.approx(shares.sum())
    named = [reason for reason in reasons if reason.feature]
    assert len(named) <= top
    sizes = [abs(reason.contribution) for reason in named]
    assert sizes == sorted(sizes, reverse=True)
    for reason in named:
        at = FEATURE_NAMES.index(reason.feature)
        assert (reason.value, reason.contribution) == (values[at], shares[at])


def test_reasons_of_two_patches_at_once_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 81\); expected \(81,\)"):
        explain(np.zeros((2, 81)), np.zeros(81))
