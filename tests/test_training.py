"""Losses and views against slow definitions; tiny real trainings that learn and resume."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cellularity_core.conventions import MALIGNANT, NORMAL
from cellularity_core.datasets import Sample
from cellularity_core.errors import ModelError
from cellularity_core.features import FEATURE_NAMES, features
from cellularity_core.masks import segmentation_target
from cellularity_core.networks import create
from cellularity_core.points import NucleiPoints
from cellularity_core.training import segmentation
from cellularity_core.training.activations import (
    Activations,
    crop_examples,
    make_activations,
    read_activations,
)
from cellularity_core.training.augmentation import StainJitter, jitter_stain, random_view
from cellularity_core.training.cascade import train_cascade
from cellularity_core.training.images import Loaded
from cellularity_core.training.loop import Compute, Schedule, fit, load_weights, save_weights
from cellularity_core.training.losses import level_loss, segmentation_loss
from cellularity_core.training.recipes import Cascade, Segmentation, recipe
from cellularity_core.training.segmentation import network_description, train_segmentation
from cellularity_core.training.targets import patch_target

CPU = Compute(torch.device("cpu"), bf16=False)


def slow_loss(p: float, y: float, a: float = 0.15) -> float:
    bce = -(y * math.log(p) + (1 - y) * math.log(1 - p))
    union = y + p - y * p
    return (1 - a) * bce - a * (y * p / union if union else 0)


def test_segmentation_loss_is_equations_1_to_3():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.95, (2, 4, 3, 5))
    y = rng.integers(0, 2, p.shape).astype(float)
    weights = (1.0, 1.0, 4.0, 1.0)
    per_class = [
        np.mean(
            [
                slow_loss(p[b, c, i, j], y[b, c, i, j])
                for b in range(2)
                for i in range(3)
                for j in range(5)
            ]
        )
        for c in range(4)
    ]
    expected = sum(w * v for w, v in zip(weights, per_class, strict=True)) / sum(weights)
    logits = torch.from_numpy(np.log(p / (1 - p)))
    found = segmentation_loss(logits, torch.from_numpy(y).float(), weights)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_unknown_channels_do_not_count():
    logits = torch.randn(1, 4, 4, 4, requires_grad=True)
    known = torch.tensor([[1.0, 0.0, 1.0, 1.0]])
    segmentation_loss(logits, torch.zeros(1, 4, 4, 4), (1, 1, 4, 1), known).backward()
    assert logits.grad[0, 1].abs().sum() == 0
    assert logits.grad[0, 0].abs().sum() > 0


def test_level_loss_is_smallest_at_the_truth():
    target = torch.tensor([0.37])
    for spread in (0.0, 0.04):
        losses = []
        for k in range(101):
            logits = torch.full((1, 101), -4.0)
            logits[0, k] = 4
            losses.append(float(level_loss(logits, target, spread)))
        assert int(np.argmin(losses)) == 37


@pytest.mark.parametrize("side", [96, 160, 256])
def test_nuclei_move_with_the_image(side):
    """Dots drawn on the image are found at the moved points, reflections included."""
    xy = np.array([[40.0, 60.0], [100.0, 30.0], [120.0, 140.0], [20.0, 150.0]])
    image = np.full((180, 170, 3), 220, np.uint8)
    for x, y in xy.astype(int):
        image[y - 2 : y + 3, x - 2 : x + 3] = 0
    found = 0
    for seed in range(60):
        view = random_view(
            image,
            xy,
            np.full(4, MALIGNANT),
            side=side,
            mpp=0.5,
            view_mpp=0.5,
            rng=np.random.default_rng(seed),
            zoom=0.15,
        )
        assert view.pixels.shape == (side, side, 3)
        for x, y in view.xy:
            if 3 <= x < side - 3 and 3 <= y < side - 3:
                near = view.pixels[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2]
                assert near.mean() < 60
                found += 1
        dark = (view.pixels[..., 0] < 60).sum()
        inside = ((view.xy > -3) & (view.xy < side + 3)).all(axis=1).sum()
        assert dark <= 40 * max(1, inside)
    assert found > 30


def test_view_reports_its_pixel_size():
    image = np.zeros((400, 400, 3), np.uint8)
    view = random_view(
        image,
        np.empty((0, 2)),
        np.empty(0, int),
        side=100,
        mpp=0.5,
        view_mpp=1.0,
        rng=np.random.default_rng(0),
        zoom=0.0,
    )
    assert view.mpp == pytest.approx(1.0)


def test_stain_jitter_of_nothing_changes_nothing():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    still = StainJitter(amount=0, offset=0, hue=0, blur=0, noise=0)
    same = jitter_stain(pixels, np.random.default_rng(0), still)
    assert np.abs(same.astype(int) - pixels).max() <= 1
    moved = jitter_stain(pixels, np.random.default_rng(0), StainJitter())
    assert np.abs(moved.astype(int) - pixels).mean() > 3


def dotted(seed: int, count: int = 12) -> Loaded:
    """A patch of pink ground with dark nuclei, all malignant."""
    rng = np.random.default_rng(seed)
    pixels = np.full((96, 96, 3), (225, 170, 200), np.uint8)
    xy = rng.uniform(8, 88, (count, 2))
    rows, columns = np.mgrid[:96, :96]
    for x, y in xy:
        pixels[(columns - x) ** 2 + (rows - y) ** 2 < 36] = (80, 40, 120)
    sample = Sample(
        Path("x"),
        f"p{seed}",
        f"patient{seed}",
        "s",
        points=NucleiPoints(xy, np.full(count, MALIGNANT, np.int8), {}),
    )
    return Loaded(sample, pixels)


@pytest.mark.parametrize("view_mpp", [0.5, 1.0, 0.25])
def test_fields_are_named_at_the_pixel_size_that_the_network_works_at(monkeypatch, view_mpp):
    """A network that finds what is dark; its word comes back in pixels of the image."""
    item = dotted(5, count=3)
    seen = []

    def dark(_, pixels, *__, **___):
        seen.append(pixels.shape[:2])
        found = (pixels[..., 1] < 100).astype(np.float32)
        none = np.zeros_like(found)
        return np.stack([none, none, found, 1 - found])

    monkeypatch.setattr(segmentation, "activation", dark)
    sample = dataclasses.replace(item.sample, points=None, field="benign")
    fields = [Loaded(sample, item.pixels)]
    named = segmentation.name_fields(nn.Identity(), fields, view_mpp, CPU)["p5"]
    side = round(96 * 0.5 / view_mpp)
    assert seen == [(side, side)]
    assert (named.label == NORMAL).all()
    for point in item.points.xy:
        assert np.linalg.norm(named.xy - point, axis=1).min() < 2.5


def tiny(epochs: int) -> Segmentation:
    return Segmentation(
        encoder="tf_efficientnet_lite0",
        decoder="fpn-light",
        init="imagenet",
        schedule=Schedule(epochs, rate=2e-3),
        side=64,
        batch=4,
        jitter=StainJitter(amount=0.05, offset=0, hue=0.01, blur=0, noise=0),
    )


def test_a_tiny_segmentation_learns_where_nuclei_are(tmp_path):
    items = [dotted(k) for k in range(8)]
    train_segmentation(items, [dotted(99)], tiny(14), out=tmp_path / "run", compute=CPU, seed=1)
    rows = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert len(rows) == 15
    last = dict(zip(rows[0].split(","), rows[-1].split(","), strict=True))
    assert float(last["jaccard_malignant"]) > 0.5


def regression(
    out: Path, resume: bool, epochs: int = 4, stop_after: int | None = None, compute: Compute = CPU
) -> dict:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Dropout(0.3), nn.Flatten(), nn.Linear(4, 1))

    def batches(epoch: int):
        if stop_after is not None and epoch >= stop_after:
            raise KeyboardInterrupt
        rng = torch.Generator().manual_seed(epoch)
        for _ in range(5):
            x = torch.randn(8, 1, 3, 3, generator=rng)
            yield x, x.sum(dim=(1, 2, 3))

    fit(
        model,
        out=out,
        schedule=Schedule(epochs, rate=1e-2),
        compute=compute,
        batches=batches,
        steps=5,
        loss=lambda m, b: ((m(b[0]).squeeze(1) - b[1]) ** 2).mean(),
        description={"seed": 3},
        resume=resume,
    )
    return load_weights(out / "best.pt")["model"]


def test_a_killed_run_resumes_to_the_same_weights(tmp_path):
    whole = regression(tmp_path / "whole", resume=False)
    with pytest.raises(KeyboardInterrupt):
        regression(tmp_path / "cut", resume=False, stop_after=2)
    assert not (tmp_path / "cut" / "done.json").exists()
    resumed = regression(tmp_path / "cut", resume=True)
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=0)
    logs = [
        [row.rsplit(",", 1)[0] for row in (tmp_path / run / "log.csv").read_text().splitlines()]
        for run in ("whole", "cut")
    ]
    assert logs[0] == logs[1]


@pytest.mark.parametrize(("keep_best", "kept"), [(True, 2), (False, 4)])
def test_the_best_or_the_last_epoch_is_kept(tmp_path, keep_best, kept):
    model = nn.Linear(1, 1)
    errors = [0.4, 0.1, 0.3, 0.2]
    weights = {}

    def validate(network, epoch):
        weights[epoch + 1] = network.weight.item()
        return {"mse": errors[epoch]}

    best = fit(
        model,
        out=tmp_path,
        schedule=Schedule(4, rate=0.1, keep_best=keep_best),
        compute=CPU,
        batches=lambda epoch: [torch.ones(2, 1)],
        steps=1,
        loss=lambda m, x: (m(x) - 3).square().mean(),
        validate=validate,
        monitor=("mse", "min"),
        description={},
    )
    assert best["epoch"] == kept
    assert model.weight.item() == weights[kept]


def test_a_run_goes_on_only_as_it_was_begun(tmp_path):
    regression(tmp_path, resume=False, epochs=1)
    with pytest.raises(ModelError, match="not begun with these settings"):
        regression(tmp_path, resume=True, epochs=2)
    with pytest.raises(KeyboardInterrupt):
        regression(tmp_path, resume=False, epochs=2, stop_after=0)
    assert not any((tmp_path / name).exists() for name in ("done.json", "best.pt"))
    regression(tmp_path, resume=True, epochs=2)
    for other in (Compute(CPU.device, bf16=True), Compute(torch.device("cuda"), bf16=False)):
        with pytest.raises(ModelError, match="on this device and in this precision"):
            regression(tmp_path, resume=True, epochs=2, compute=other)
    (tmp_path / "made-with.json").unlink()
    with pytest.raises(ModelError, match="not begun with these settings"):
        regression(tmp_path, resume=True, epochs=2)


def test_maps_of_another_network_or_image_are_made_anew(tmp_path):
    settings = dataclasses.replace(recipe("breast-1").segmentation, encoder="resnet18")
    item = Loaded(
        Sample(Path("made.png"), "made", "p", "site"), np.full((128, 128, 3), 180, np.uint8)
    )

    def features(network, views=1, item=item):
        make_activations(network, [item], settings, CPU, out=tmp_path, views=views, seed=0)
        return read_activations(tmp_path, "made").features

    torch.manual_seed(0)
    first, second = (create(network_description(settings)).eval() for _ in range(2))
    made = features(first)
    before = (tmp_path / "made.npz").stat().st_mtime_ns
    np.testing.assert_array_equal(features(first), made)
    assert (tmp_path / "made.npz").stat().st_mtime_ns == before
    assert not np.array_equal(features(first, item=Loaded(item.sample, item.pixels - 90)), made)
    assert not np.array_equal(features(second), made)
    assert len(features(second, views=2)) == 2


def test_a_finished_run_is_not_done_again(tmp_path):
    regression(tmp_path, resume=False)
    regression(tmp_path, resume=True, stop_after=0)


def test_targets():
    item = dotted(0)
    assert 0.5 < patch_target(item) <= 1
    benign = Loaded(Sample(Path("x"), "b", "p", "s", field="benign"), item.pixels)
    assert patch_target(benign) == 0
    scored = Loaded(Sample(Path("x"), "s", "p", "s", scores=(0.2, 0.4)), item.pixels)
    assert patch_target(scored) == pytest.approx(0.3)


def perfect_maps(item: Loaded) -> Activations:
    """Maps of a segmentation that makes no mistake, at the item's own pixel size."""
    maps = segmentation_target(item.points.xy, item.points.label, item.pixels.shape[:2], 13)
    return Activations(
        (maps * 255).astype(np.uint8), (maps[None] * 255).astype(np.uint8), features(maps)[None]
    )


def test_crops_carry_their_own_cellularity():
    item = dotted(3, count=6)
    item = Loaded(dataclasses.replace(item.sample, mpp=1.0), item.pixels)
    table, targets = crop_examples(item, perfect_maps(item), count=40, seed=0)
    assert table.shape == (40, 81)
    assert targets.std() > 0.05
    # Perfect maps tell the cellularity of a crop: more malignant area, more of it.
    area = table[:, FEATURE_NAMES.index("malignant area@0.50")]
    assert np.corrcoef(area, targets)[0, 1] > 0.7


def test_a_scored_patch_has_no_crops():
    item = dotted(0)
    scored = Loaded(dataclasses.replace(item.sample, scores=(0.4,)), item.pixels)
    table, targets = crop_examples(scored, perfect_maps(item), count=5, seed=0)
    assert table.shape == (0, 81)
    assert targets.shape == (0,)


def test_a_tiny_cascade_trains_both_phases_and_keeps_its_statistics(tmp_path):
    items = [dotted(k, count=3 * k) for k in range(6)]
    seen = tiny(1)
    train_segmentation(items, [], seen, out=tmp_path / "seg", compute=CPU)
    settings = Cascade(
        regressor="tf_efficientnet_lite0",
        init="imagenet",
        channels=3,
        frozen=Schedule(1, rate=1e-3),
        joint=Schedule(1, rate=1e-3),
        side=48,
        joint_side=64,
        batch=3,
    )

    def train(items: list[Loaded], segmentation: Path, resume: bool = False) -> None:
        train_cascade(
            items,
            [perfect_maps(item) for item in items],
            [dotted(50)],
            segmentation,
            settings,
            seen,
            out=tmp_path / "run",
            compute=CPU,
            resume=resume,
        )

    train(items, tmp_path / "seg" / "best.pt")
    before = load_weights(tmp_path / "seg" / "best.pt")["model"]
    after = load_weights(tmp_path / "run" / "best.pt")["model"]
    changed = {
        name: not torch.equal(value, after[f"segmentation.{name}"])
        for name, value in before.items()
    }
    assert any(moved for name, moved in changed.items() if name.endswith("weight"))
    assert not any(moved for name, moved in changed.items() if "running_" in name)
    for phase in ("frozen", "joint"):
        assert "icc" in (tmp_path / "run" / phase / "log.csv").read_text()
    moved = {name: value + 1 for name, value in before.items()}
    save_weights(tmp_path / "other.pt", {"model": moved})
    for changed, stands_on in (
        ([*items[:-1], dotted(51)], tmp_path / "seg" / "best.pt"),
        (items, tmp_path / "other.pt"),
    ):
        with pytest.raises(ModelError, match="not begun with these settings and data"):
            train(changed, stands_on, resume=True)
