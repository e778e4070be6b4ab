"""Means of methods and their figures, on scores that are known."""

import numpy as np
import pytest

from cellularity_core.datasets import Sample
from cellularity_core.training.coverage import coverage_by
from cellularity_core.training.held_out import HeldOut, combine, means, measured
from cellularity_core.training.images import Loaded


def item(name: str, patient: str, score: float | None = None, field: str | None = None) -> Loaded:
    sample = Sample(
        name=name,
        image=None,  # type: ignore[arg-type]
        patient=patient,
        site="A",
        mpp=0.5,
        points=None,
        scores=() if score is None else (score,),
        field=field,
    )
    return Loaded(sample, np.full((8, 8, 3), 200, np.uint8))


TRUTH = np.linspace(0, 1, 40)
ITEMS = [item(f"p{k}", f"patient-{k // 2}", float(t)) for k, t in enumerate(TRUTH)]
FIELDS = [item(f"f{k}", f"array-{k}", field=("benign", "malignant")[k % 2]) for k in range(6)]
FOLDS = {f"p{k}": k // 2 % 3 for k in range(40)}


def held_out(error: float) -> HeldOut:
    wave = error * np.where(np.arange(len(TRUTH)) % 2, 1, -1)
    fields = [0.1, 0.8] * 3
    return HeldOut([*ITEMS, *FIELDS], np.concatenate([np.clip(TRUTH + wave, 0, 1), fields]))


def test_errors_that_cancel_vanish_in_the_mean():
    both = combine({"a": held_out(0.1), "b": held_out(-0.1)}, ["a", "b"])
    inner = (TRUTH >= 0.1) & (TRUTH <= 0.9)
    np.testing.assert_allclose(both.scores[: len(TRUTH)][inner], TRUTH[inner])


def test_a_mean_is_of_the_patches_that_all_scored():
    some = held_out(0.1)
    fewer = HeldOut(some.items[5:], some.scores[5:])
    both = combine({"a": some, "b": fewer}, ["a", "b"])
    assert [i.sample.name for i in both.items] == [i.sample.name for i in some.items[5:]]
    np.testing.assert_allclose(both.scores, fewer.scores)


def test_figures_are_those_of_graded_patches_and_of_fields():
    found = measured(held_out(0.05), False, FOLDS)
    figures = found["figures"]
    assert figures["n"] == 40 and figures["patients"] == 20
    inside = np.clip(TRUTH + 0.05 * np.where(np.arange(40) % 2, 1, -1), 0, 1)
    assert figures["mse"][0] == pytest.approx(np.mean((inside - TRUTH) ** 2))
    assert figures["benign_mean"] == pytest.approx(0.1) and figures["benign_n"] == 3
    assert figures["malignant_mean"] == pytest.approx(0.8)
    assert figures["auc"] == 1.0
    assert figures["coverage"][0] >= 0.9
    assert found["interval"]["half_width"] == pytest.approx(0.05, rel=0.5)


def test_every_subset_is_measured_on_the_same_patches():
    some = held_out(0.1)
    short = HeldOut(some.items[4:], held_out(-0.1).scores[4:])
    rows = means({"a": some, "b": short}, ("a", "b"), weak=False)
    assert [row["ingredient"] for row in rows] == [
        f"{name}, 36 patches" for name in ("a", "b", "a + b")
    ]
    assert rows[2]["mse"] < min(rows[0]["mse"], rows[1]["mse"])


def test_a_group_left_out_is_held_by_the_misses_of_the_others_alone():
    """Group B misses by 0.4 and A by 0.05: without B, the interval holds none of it."""
    truth, score = np.repeat([0.55, 0.9], 24), np.full(48, 0.5)
    patients = [f"p{k // 2}" for k in range(48)]
    groups = ["A"] * 24 + ["B"] * 24
    found = coverage_by(truth, score, patients, groups)
    told = [(g["group"], g["coverage"], g["patches"], g["patients"]) for g in found]
    assert told == [("A", 1.0, 24, 12), ("B", 0.0, 24, 12)]
    by_patient = coverage_by(truth, score, patients, groups, left_out=patients)
    assert [g["coverage"] for g in by_patient] == [1.0, 1.0]
    # A patient of both groups is out with either, and 8 of the rest are too few to fit on.
    assert coverage_by(truth, score, patients[:24] + patients[:8] + patients[32:], groups) == []
    assert coverage_by(truth, score, patients, ["A"] * 48) == []
