"""Figures of a row against slow definitions: means over pathologists, overlaps, tables."""

import csv
import io
from itertools import combinations

import numpy as np
import pytest

from cellularity_core.agreement.bootstrap import DRAWS, SEED
from cellularity_core.errors import DataError
from cellularity_core.reproduce import measure, tables
from cellularity_core.reproduce.measure import MEAN, Overlap, Scored
from cellularity_core.reproduce.outcome import Outcome
from cellularity_core.reproduce.rows import PAPER, ROWS, select


def scored(n: int = 40, readers: int = 2) -> list[Scored]:
    rng = np.random.default_rng(3)
    out = []
    for k in range(n):
        level = rng.uniform()
        truths = tuple(float(t) for t in np.clip(level + rng.normal(0, 0.1, readers), 0, 1))
        value = float(np.clip(level + rng.normal(0, 0.12), 0, 1))
        out.append(Scored(f"p{k}", f"patient{k // 3}", truths, "", value))
    return out


def slow_icc_a1(a: list[float], b: list[float]) -> float:
    n = len(a)
    mean = (sum(a) + sum(b)) / (2 * n)
    rows = sum(2 * ((x + y) / 2 - mean) ** 2 for x, y in zip(a, b, strict=True)) / (n - 1)
    columns = sum(n * (sum(c) / n - mean) ** 2 for c in (a, b))
    total = sum((x - mean) ** 2 for x in (*a, *b))
    error = (total - rows * (n - 1) - columns) / (n - 1)
    return (rows - error) / (rows + error + 2 * (columns - error) / n)


def slow_pk(truth: list[float], found: list[float]) -> float:
    concordant = discordant = tied = 0
    for i, j in combinations(range(len(truth)), 2):
        if truth[i] == truth[j]:
            continue
        sign = (truth[i] - truth[j]) * (found[i] - found[j])
        concordant += sign > 0
        discordant += sign < 0
        tied += sign == 0
    return ((concordant - discordant) / (concordant + discordant + tied) + 1) / 2


def test_each_pathologist_and_the_mean_over_them() -> None:
    items = scored()
    found = measure.agreement(items, "TC")
    assert list(found) == ["pathologist 1", "pathologist 2", MEAN]
    value = [one.value for one in items]
    slow = {"mse": [], "icc_a1": [], "pk": []}
    for j in range(2):
        truth = [one.truths[j] for one in items]
        slow["mse"].append(sum((t - v) ** 2 for t, v in zip(truth, value, strict=True)) / 40)
        slow["icc_a1"].append(slow_icc_a1(truth, value))
        slow["pk"].append(slow_pk(truth, value))
        for name, values in slow.items():
            assert found[f"pathologist {j + 1}"][name].value == pytest.approx(values[j])
    for name, values in slow.items():
        assert found[MEAN][name].value == pytest.approx(np.mean(values))
        assert found[MEAN][name].low < found[MEAN][name].value < found[MEAN][name].high
    assert measure.headline(found) is found[MEAN]


def test_the_interval_draws_patients_with_all_their_patches() -> None:
    """The spread of the mean squared error over resampled patients, drawn one by one."""
    items = scored(60, 1)
    found = measure.agreement(items, "weak TC")["weak TC"]["mse"]
    patients = sorted({one.patient for one in items})
    squares = {
        p: [(one.truths[0] - one.value) ** 2 for one in items if one.patient == p] for p in patients
    }
    rng = np.random.default_rng(1)
    logs = []
    for _ in range(3000):
        drawn = [s for p in rng.choice(patients, len(patients)) for s in squares[p]]
        logs.append(np.log(np.mean(drawn)))
    width = np.log(found.high) - np.log(found.low)
    assert width == pytest.approx(2 * 2.09 * np.std(logs), rel=0.12)
    assert found.interval == "bootstrap by patient" and DRAWS >= 1000 and SEED > 0


def test_one_truth_is_called_by_its_name() -> None:
    found = measure.agreement(scored(readers=1), "weak TC")
    assert list(found) == ["weak TC"]
    assert measure.headline(found) is found["weak TC"]


def test_truths_that_do_not_fit_together_are_refused() -> None:
    mixed = [*scored(4, 1), *scored(4, 2)]
    with pytest.raises(DataError, match="more pathologists than others"):
        measure.agreement(mixed, "TC")
    with pytest.raises(DataError, match="No measured patch has a truth"):
        measure.agreement([Scored("a", "p", (), "benign", 0.1)], "TC")
    with pytest.raises(DataError, match="no Jaccard index"):
        measure.jaccard([])


def test_jaccard_is_of_all_pixels_together() -> None:
    rng = np.random.default_rng(0)
    overlaps, masks = [], []
    for k in range(12):
        truth, found = rng.random((2, 4, 6, 7)) < 0.4
        masks.append((truth, found))
        both = (truth & found).sum(axis=(1, 2)).astype(float)
        either = (truth | found).sum(axis=(1, 2)).astype(float)
        overlaps.append(Overlap(f"p{k}", f"patient{k // 2}", both, either))
    found = measure.jaccard(overlaps)
    slow = []
    for channel in range(4):
        both = either = 0
        for truth, mask in masks:
            for t, m in zip(truth[channel].ravel(), mask[channel].ravel(), strict=True):
                both += bool(t and m)
                either += bool(t or m)
        slow.append(both / either)
    assert found["jaccard_normal"].value == pytest.approx(slow[0])
    assert found["jaccard_background"].value == pytest.approx(slow[3])
    assert found["jaccard"].value == pytest.approx(sum(slow) / 4)
    assert found["jaccard"].low < found["jaccard"].value < found["jaccard"].high


def test_fields_are_told_apart() -> None:
    values = {"benign": [0.1, 0.2, 0.4], "malignant": [0.4, 0.8]}
    items = [
        Scored(f"{label}{k}", f"s{k}", (), label, v)
        for label, found in values.items()
        for k, v in enumerate(found)
    ]
    found = measure.fields(items)
    assert found["benign_mean"] == pytest.approx(0.7 / 3)
    assert found["malignant_n"] == 2
    assert found["auc"] == pytest.approx((3 + 2.5) / 6)
    assert measure.fields(items[:3])["auc"] is None


def test_tables_hold_the_papers_figures_and_name_the_scale() -> None:
    row = select(["xception-c-imagenet"])[0]
    done = Outcome(row, "done", agreement=measure.agreement(scored(), "TC"), n=40, patients=14)
    missing = Outcome(select(["resnet50-r-random"])[0], "not run", "not run: no (why not)")
    two = tables.table_2([missing, done], "TC")
    assert two.title == "Table 2. MSE of TC"
    assert [one[-1] for one in two.rows] == ["0.025 [0.022, 0.028]", "0.010 [0.009, 0.012]"]
    assert two.rows[0][2] == "not run: no"
    three = tables.table_3([missing, done], "TC")
    assert three.rows[1][3] == "0.689 [0.642, 0.734]"
    assert three.rows[1][5] == "0.883 [0.858, 0.905]"
    assert PAPER in two.note and "means over those against each pathologist" in two.note
    each = tables.each_pathologist([done], "TC of the test part")
    assert each is not None and each.title == "Against each pathologist: TC of the test part"
    assert each is not None and [one[2] for one in each.rows] == ["pathologist 1", "pathologist 2"]
    rows = list(csv.DictReader(io.StringIO(tables.csv_rows([missing, done], "pathologist"))))
    assert {one["scale"] for one in rows} == {"pathologist"}
    assert len(rows) == 1 + 3 * len(measure.STATISTICS)
    (icc,) = (r for r in rows if r["truth"] == MEAN and r["statistic"] == "icc_a1")
    assert float(icc["value"]) == pytest.approx(done.headline["icc_a1"].value)
    assert icc["paper_value"] == "0.883" and icc["paper_data"] == "BreastPathQ"


def test_rows_are_the_papers() -> None:
    """METHODS 7 lists six models with two starts each, and the two earlier systems."""
    by_kind = {kind: [r for r in ROWS if r.kind == kind] for kind in ("segmentation", "direct")}
    assert len(by_kind["segmentation"]) == 4
    assert sum(bool(r.paper) and r.source == PAPER for r in ROWS) == 16
    assert [r.name for r in ROWS[-3:]] == ["classical", "akbar-inception-random", "akbar-inception"]
    assert all(
        low is None or low <= value <= high for r in ROWS for value, low, high in r.paper.values()
    )
    assert [r.paper["mse"][0] for r in ROWS if "mse" in r.paper] == [
        *(0.023, 0.022, 0.013, 0.013, 0.015, 0.011),
        *(0.025, 0.011, 0.017, 0.010, 0.012, 0.010),
    ]
