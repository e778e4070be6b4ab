"""Stages of a model set: no fold's networks see its patients, nor what others made of them."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cellularity_core.datasets import Sample
from cellularity_core.masks import segmentation_target
from cellularity_core.networks import create
from cellularity_core.points import NucleiPoints
from cellularity_core.training import plan as stages
from cellularity_core.training.activations import activations_of, read_activations
from cellularity_core.training.images import Loaded
from cellularity_core.training.loop import BEST, Compute, save_weights
from cellularity_core.training.plan import Plan
from cellularity_core.training.recipes import recipe
from cellularity_core.training.segmentation import SELF_LABELS, network_description, save_points

CPU = Compute(torch.device("cpu"), bf16=False)
FOLDS = 2


def points(count: int, seed: int = 0) -> NucleiPoints:
    rng = np.random.default_rng(seed)
    return NucleiPoints(rng.uniform(8, 56, (count, 2)), rng.integers(0, 3, count).astype(np.int8))


def plan_in(folder: Path) -> Plan:
    """Eight small images of eight patients, the last four of them benign fields."""
    made = Plan.__new__(Plan)
    made.out, made.shared, made.compute = folder, None, CPU
    made.folds, made.seed, made.resume, made.epochs_scale = FOLDS, 0, False, 1.0
    chosen = recipe("breast-1")
    small = replace(chosen.segmentation, encoder="test_resnet", init="random", view_mpp=1.0)
    made.recipe = replace(chosen, segmentation=small)
    rng = np.random.default_rng(0)
    made.items = [
        Loaded(
            Sample(
                Path("x"),
                f"i{k}",
                f"p{k}",
                "s",
                points=points(6, k) if k < 4 else None,
                field="benign" if k >= 4 else None,
            ),
            rng.integers(60, 220, (64, 64, 3)).astype(np.uint8),
        )
        for k in range(8)
    ]
    made.fold_of = np.arange(8) % FOLDS
    return made


def test_maps_are_by_the_segmentation_that_held_the_patient_out(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    settings = plan.recipe.segmentation
    models = []
    for fold in range(FOLDS):
        torch.manual_seed(fold)
        models.append(create(network_description(settings)).eval())
        plan.run("segmentation", fold).mkdir()
        state = {"model": models[-1].state_dict()}
        save_weights(plan.run("segmentation", fold) / BEST, state)
    stages.maps_stage(plan)
    views = plan.recipe.boosting.views
    for item, fold in zip(plan.items, plan.fold_of, strict=True):
        found = read_activations(plan.maps, item.sample.name).plain
        by = [
            activations_of(model, item, settings, CPU, views=views, seed=0).plain
            for model in models
        ]
        assert np.array_equal(found, by[fold]) and not np.array_equal(found, by[1 - fold])


@pytest.mark.parametrize("fold", [0, 1, None])
def test_direct_networks_learn_fields_as_their_own_fold_named_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fold: int | None
) -> None:
    plan = plan_in(tmp_path)
    for k, each in enumerate((0, 1, None)):
        run = plan.run("segmentation", each)
        run.mkdir()
        save_points(run / SELF_LABELS, {"i4": points(10 + k), "i5": points(10 + k)})
    asked = {}

    def keep(training, validation, settings, **options):
        asked.update(options, training=training, validation=validation)

    monkeypatch.setattr(stages, "train_direct", keep)
    stages.direct_stage(plan, "regression", fold)
    names = {item.sample.name for item in asked["training"]}
    held = {f"i{k}" for k in range(8) if k % FOLDS == fold}
    assert names | {i.sample.name for i in asked["choosing"]} == {f"i{k}" for k in range(8)} - held
    assert {item.sample.name for item in asked["validation"]} == held
    named = {i.sample.name: len(i.points) for i in asked["training"] if i.sample.field}
    marked = 10 + (0, 1, None).index(fold)
    assert named == {
        name: marked if name in ("i4", "i5") else 0 for name in names & {"i4", "i5", "i6", "i7"}
    }
    assert asked["start"] == plan.run("segmentation", fold) / BEST
    assert asked["out"] == plan.run("direct-r", fold)


def test_thresholds_of_nuclei_are_those_that_tell_them_from_noise(tmp_path: Path) -> None:
    """Lymphocytes that hardly show on the maps, malignant nuclei among brighter noise."""
    plan = plan_in(tmp_path)
    plan.maps.mkdir()
    rng = np.random.default_rng(3)
    y, x = np.mgrid[16:240:28, 16:240:28]
    xy = np.stack([x.ravel(), y.ravel()], 1).astype(float)
    label = (np.arange(len(xy)) % 3).astype(np.int8)
    height = np.array([0.8, 0.3, 0.9])[:, None, None]  # of peaks, by class
    sample = replace(plan.items[0].sample, points=NucleiPoints(xy, label), mpp=0.5)
    plan.items = [Loaded(sample, np.zeros((256, 256, 3), np.uint8))]
    true = segmentation_target(xy / 2, label, (128, 128), 7.5)
    maps = np.stack([cv2.GaussianBlur(one.astype(np.float32), (0, 0), 1.0) for one in true])
    maps[:3] *= height
    noise = segmentation_target(
        xy[label != 2] / 2 + 7, np.full(np.count_nonzero(label != 2), 2), (128, 128), 7.5
    )
    maps[2] = np.maximum(maps[2], 0.45 * cv2.GaussianBlur(noise[2].astype(np.float32), (0, 0), 1.0))
    np.savez(
        plan.maps / "i0.npz",
        plain=(maps * 255 + rng.uniform(0, 1, maps.shape)).astype(np.uint8),
        views=np.zeros(0),
        features=np.zeros(0),
    )
    best = stages.nuclei_stage(plan)
    assert min(best["f1"]) > 0.95
    assert best["thresholds"][1] < best["thresholds"][2]
    assert json.loads((tmp_path / "nuclei.json").read_text()) == best


def test_of_all_ways_to_find_nuclei_the_best_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mean F1 that is 1 for one blob size, apart maps and a threshold of each class only."""
    plan = plan_in(tmp_path)
    monkeypatch.setattr(stages, "read_activations", lambda *_: None)
    right = np.array([0.1, 0.22, 0.38])

    class Counts:
        def __init__(self, thresholds: list[float], sigma: float, joint: bool) -> None:
            self.off = np.abs(thresholds - right) + abs(sigma - 1.75) + 0.2 * joint

        def f1(self) -> np.ndarray:
            return 1 - self.off

    monkeypatch.setattr(
        stages, "_counts", lambda items, maps, mpp, t, sigma, joint: Counts(t, sigma, joint)
    )
    best = stages.nuclei_stage(plan)
    assert best["thresholds"] == list(right) and best["f1"] == [1, 1, 1]
    assert (best["sigma_um"], best["joint"]) == (1.75, False)
