"""Targets and loss of places: where in a view its cellularity is."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from cellularity_core.conventions import LYMPHOCYTE, MALIGNANT
from cellularity_core.datasets import Sample
from cellularity_core.errors import ModelError
from cellularity_core.masks import segmentation_target
from cellularity_core.networks import create
from cellularity_core.points import NucleiPoints
from cellularity_core.training import direct
from cellularity_core.training.activations import Activations
from cellularity_core.training.augmentation import View
from cellularity_core.training.cascade import train_cascade
from cellularity_core.training.images import Loaded
from cellularity_core.training.loop import Compute, Schedule, save_weights
from cellularity_core.training.losses import level_loss, place_loss
from cellularity_core.training.recipes import Cascade, Direct, Segmentation
from cellularity_core.training.segmentation import network_description
from cellularity_core.training.targets import place_targets, view_target

SCHEDULE = Schedule(1)
CPU = Compute(torch.device("cpu"), bf16=False)
POINTED = Sample(Path("x"), "n", "p", "s")


def view(side: int, xy: list[tuple[float, float]], label: int, grey: int = 120) -> View:
    pixels = np.full((side, side, 3), grey, np.uint8)
    return View(pixels, np.array(xy, float).reshape(-1, 2), np.full(len(xy), label, np.int8), 0.5)


def test_a_square_holds_the_share_of_it_near_tumour_and_the_mean_is_the_view_s():
    seen = view(128, [(16, 16), (60, 100), (126, 64)], MALIGNANT)
    found = place_targets(POINTED, seen, 32)
    assert found.shape == (4, 4)
    # squares of 32 pixels; a territory has a radius of 20
    y, x = np.mgrid[:128, :128]
    near = np.zeros((128, 128), bool)
    for column, row in seen.xy:
        near |= (x - column) ** 2 + (y - row) ** 2 <= 400
    expected = [
        [near[r : r + 32, c : c + 32].mean() for c in range(0, 128, 32)] for r in range(0, 128, 32)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.mean() == pytest.approx(view_target(POINTED, seen), abs=1e-6)


def test_glass_counts_for_no_place_and_the_mean_stays_the_view_s():
    seen = view(128, [(20, 64), (40, 30)], MALIGNANT)
    seen.pixels[:, 112:] = 255
    found = place_targets(POINTED, seen, 32)
    assert (found[:, 3] == 0).all()
    assert found.mean() == pytest.approx(view_target(POINTED, seen), abs=0.02)


def test_what_is_known_of_the_places_of_a_whole_label():
    seen = view(64, [(30, 30)], LYMPHOCYTE)
    benign = dataclasses.replace(POINTED, field="benign")
    assert (place_targets(benign, view(64, [(30, 30)], MALIGNANT), 32) == 0).all()
    assert (place_targets(POINTED, seen, 32) == 0).all()
    scored = dataclasses.replace(POINTED, scores=(0.3,))
    assert np.isnan(place_targets(scored, seen, 32)).all()


def test_place_loss_of_a_regression_is_the_cross_entropy_of_what_is_known():
    logits = torch.tensor([[[[0.0, 2.0]]], [[[1.0, -1.0]]]])
    target = torch.tensor([[[0.5, 1.0]], [[math.nan, 0.0]]])

    def entropy(z: float, t: float) -> float:
        p = 1 / (1 + math.exp(-z))
        return -(t * math.log(p) + (1 - t) * math.log(1 - p))

    weights = torch.tensor([1.0, 0.5])
    expected = (entropy(0, 0.5) + entropy(2, 1) + 0.5 * entropy(-1, 0)) / 2.5
    assert float(place_loss(logits, target, weights)) == pytest.approx(expected, rel=1e-5)
    unknown = torch.full_like(target, math.nan)
    assert float(place_loss(logits, unknown, weights)) == 0.0


def test_place_loss_of_a_classification_is_the_level_loss_of_each_place():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 101, 2, 3, generator=generator)
    target = torch.rand(2, 2, 3, generator=generator)
    flat = logits.permute(0, 2, 3, 1).reshape(-1, 101)
    expected = level_loss(flat, target.reshape(-1), spread=0.04)
    torch.testing.assert_close(place_loss(logits, target, torch.ones(2), 0.04), expected)


def test_places_need_scores_that_are_averaged():
    with pytest.raises(ModelError, match='average = "scores"'):
        Direct("resnet10t", "random", "regression", SCHEDULE, places=0.2)
    with pytest.raises(ModelError, match='average = "scores"'):
        Cascade("resnet10t", "random", 3, SCHEDULE, places=0.2)


@pytest.mark.parametrize("head", ["regression", "classification"])
def test_places_teach_where(head, tmp_path):
    """Half of each patch is dense and dark: a network told of places tells them apart."""
    rng = np.random.default_rng(0)
    items = []
    for k in range(4):
        pixels = rng.integers(190, 215, (96, 96, 3)).astype(np.uint8)
        columns = np.s_[:48] if k % 2 else np.s_[48:]
        pixels[:, columns] -= 120
        left = rng.uniform(0, 48, 40) + (0 if k % 2 else 48)
        xy = np.stack([left, rng.uniform(0, 96, 40)], axis=1)
        points = NucleiPoints(xy, np.full(40, MALIGNANT, np.int8), {})
        items.append(Loaded(dataclasses.replace(POINTED, name=f"n{k}", points=points), pixels))
    settings = Direct(
        "resnet10t",
        "random",
        head,
        Schedule(6, rate=5e-3),
        side=96,
        view_mpp=0.5,
        batch=4,
        views=4,
        spread=0.04,
        average="scores",
        places=1.0,
    )
    model = direct.train_direct(items, [], settings, out=tmp_path, compute=CPU)
    with torch.inference_mode():
        logits = model.logits(CPU.images(torch.tensor(items[1].pixels)[None]))
        values = (
            logits.sigmoid()[0, 0]
            if head == "regression"
            else torch.einsum("khw,k->hw", logits.softmax(dim=1)[0], model.levels)
        )
    assert values[:, 0].mean() - values[:, -1].mean() > 0.2


def test_a_cascade_learns_places_from_its_maps(tmp_path):
    """Told of places only by crops half in tumour, it tells one side of a patch from the other."""
    seen = Segmentation("resnet10t", "fpn", "random", SCHEDULE, side=64, batch=2)
    segmentation = create(network_description(seen), "random")
    save_weights(tmp_path / "seg.pt", {"model": segmentation.state_dict()})
    rng = np.random.default_rng(0)
    items, maps = [], []
    for k in range(4):
        # 192 pixels at 0.5 um/px, so maps of 96 at 1 um/px
        xy = np.stack([rng.uniform(0, 96, 60) + 96 * (k % 2), rng.uniform(0, 192, 60)], axis=1)
        points = NucleiPoints(xy, np.full(60, MALIGNANT, np.int8), {})
        pixels = np.full((192, 192, 3), 120, np.uint8)
        items.append(Loaded(dataclasses.replace(POINTED, name=f"n{k}", points=points), pixels))
        target = segmentation_target((xy + 0.5) / 2 - 0.5, points.label, (96, 96), 7)
        views = (255 * target).astype(np.uint8)[None]
        maps.append(Activations(np.empty((4, 0, 0), np.uint8), views, np.empty((1, 81))))
    settings = Cascade(
        "resnet10t",
        "random",
        4,
        Schedule(8, rate=5e-3),
        side=96,
        batch=4,
        repeats=4,
        average="scores",
        places=1.0,
    )
    model = train_cascade(
        items, maps, [], tmp_path / "seg.pt", settings, seen, out=tmp_path / "run", compute=CPU
    )
    with torch.inference_mode():
        found = model.regressor.logits(torch.tensor(maps[0].views).float() / 255).sigmoid()[0, 0]
    assert found[:, 0].mean() - found[:, -1].mean() > 0.2
