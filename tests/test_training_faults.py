"""What would spoil a training without a word: refused, or the same at every pixel size."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from cellularity_core.datasets import Sample
from cellularity_core.errors import DataError, ModelError
from cellularity_core.masks import segmentation_target
from cellularity_core.points import NucleiPoints
from cellularity_core.reproduce.kept import save_overlaps, save_scores
from cellularity_core.training import plan
from cellularity_core.training.activations import Activations, make_activations
from cellularity_core.training.images import Loaded
from cellularity_core.training.loop import Compute, Schedule, fit
from cellularity_core.training.recipes import Segmentation
from cellularity_core.training.segmentation import at_pixel_size, jaccard, overlaps

CPU = Compute(torch.device("cpu"), bf16=False)


@pytest.mark.parametrize("view_mpp", [0.5, 1.0])
def test_nuclei_of_perfect_maps_are_found_at_the_pixel_size_of_the_network(view_mpp):
    """Points are in pixels of the image, maps in those that the network sees."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[20:500:24, 20:500:24]
    xy = np.stack([x.ravel(), y.ravel()], 1) + rng.uniform(-3, 3, (x.size, 2))
    label = rng.integers(0, 3, len(xy)).astype(np.int8)
    sample = Sample(Path("x"), "x", "p", "s", points=NucleiPoints(xy, label, {}))
    item = Loaded(sample, np.zeros((512, 512, 3), np.uint8))
    pixels, seen, mpp = at_pixel_size(item, view_mpp)
    maps = segmentation_target(seen, label, pixels.shape[:2], 7.5 / mpp)
    soft = np.stack([cv2.GaussianBlur(one, (0, 0), 1 / mpp) for one in maps])
    perfect = Activations((soft * 255).round().astype(np.uint8), None, None)
    counts = plan._counts([item], [perfect], view_mpp, [0.1] * 3, 2.0, True)
    assert counts.f1().mean() > 0.97


def test_two_images_of_one_name_are_refused(tmp_path, monkeypatch):
    twin = Sample(tmp_path / "a.png", "a", "p", "s")
    monkeypatch.setattr(plan, "load", lambda spec: [twin])
    with pytest.raises(DataError, match="Two images are called 'a'"):
        plan.Plan(out=tmp_path, data=["one", "two"], recipe_name="breast-1", compute=CPU)


def run(
    out: Path, loss, batches: int = 2, steps: int = 2, *, keep_best: bool = False, **options
) -> dict[str, float]:
    return fit(
        nn.Linear(1, 1),
        out=out,
        schedule=Schedule(1, rate=0.0, keep_best=keep_best),
        compute=CPU,
        batches=lambda epoch: [torch.ones(2, 1)] * batches,
        steps=steps,
        loss=loss,
        description={},
        **options,
    )


def test_a_training_that_diverges_ends_there(tmp_path):
    with pytest.raises(ModelError, match="diverged"):
        run(tmp_path, lambda model, x: model(x).mean() * torch.nan)
    assert not (tmp_path / "done.json").exists()


def test_an_epoch_whose_measure_is_no_number_is_never_the_best(tmp_path):
    measures = iter([torch.nan, 0.3, torch.nan, 0.2, 0.4])
    found = fit(
        nn.Linear(1, 1),
        out=tmp_path,
        schedule=Schedule(5, rate=0.0, keep_best=True),
        compute=CPU,
        batches=lambda epoch: [torch.ones(2, 1)],
        steps=1,
        loss=lambda model, x: 0 * model(x).mean(),
        validate=lambda model, epoch: {"mse": float(next(measures))},
        monitor=("mse", "min"),
        description={},
    )
    assert (found["epoch"], found["mse"]) == (4, 0.2)


def test_scores_that_are_no_numbers_are_no_result(tmp_path):
    items = [Loaded(Sample(Path("x"), n, "p", "s"), np.zeros((4, 4, 3), np.uint8)) for n in "ab"]
    with pytest.raises(ModelError, match=r"1 of 2 scores .* diverged"):
        save_scores(tmp_path, items, [0.5, float("nan")])
    assert not list(tmp_path.iterdir())


class Diverged(nn.Module):
    """No numbers on what is dark, as weights too large give on some patches only."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.new_full((1, 4, *x.shape[2:]), torch.nan if x.mean() < 0 else 1.0)


DRAWN = Segmentation("resnet18", "unet", "random", Schedule(1), view_mpp=0.5)


def test_maps_that_are_no_numbers_teach_nothing(tmp_path):
    dark = Loaded(Sample(Path("x"), "dark", "p", "s"), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(ModelError, match=r"Maps of 'dark' .* diverged"):
        make_activations(Diverged(), [dark], DRAWN, CPU, out=tmp_path, views=1)
    assert not list(tmp_path.iterdir())


def test_overlaps_that_are_no_numbers_are_no_result(tmp_path):
    points = NucleiPoints(np.array([[32.0, 32.0]]), np.array([2], np.int8), {})
    items = [
        Loaded(Sample(Path("x"), n, "p", "s", points=points), np.full((64, 64, 3), grey, np.uint8))
        for n, grey in (("dark", 0), ("bright", 255))
    ]
    found = overlaps(Diverged(), items, DRAWN, CPU)
    assert not np.isnan(found[0][1]).any()
    with pytest.raises(ModelError, match=r"1 of 2 overlaps .* diverged"):
        save_overlaps(tmp_path, items, *found)
    assert not list(tmp_path.iterdir())
    assert np.isnan(jaccard(Diverged(), items, DRAWN, CPU)["jaccard"])  # so never the best


def test_weights_spoiled_by_the_last_step_are_no_finished_training(tmp_path):
    """The root of 0 has a loss of 0, and a slope that is no number."""
    with pytest.raises(ModelError, match="diverged: its weights are no numbers after epoch 1"):
        run(tmp_path, lambda model, x: (0 * model(x)).square().sum().sqrt(), batches=1, steps=1)
    assert not (tmp_path / "done.json").exists() and not (tmp_path / "best.pt").exists()


def test_no_epoch_is_the_best_by_a_figure_that_is_no_number(tmp_path):
    chosen = {"keep_best": True, "monitor": ("mse", "min")}
    with pytest.raises(ModelError, match="diverged: its mse is no number in any epoch"):
        run(tmp_path, squared, validate=lambda model, epoch: {"mse": np.nan}, **chosen)
    assert not (tmp_path / "done.json").exists()


def squared(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return model(x).square().mean()


def test_the_loss_is_the_mean_of_the_batches_that_there_were(tmp_path):
    found = run(tmp_path, lambda model, x: 0 * model(x).mean() + 3, batches=1, steps=2)
    assert found["loss"] == 3


def test_a_published_test_part_is_not_learnt_from(tmp_path, monkeypatch, caplog):
    def sample(name: str, patient: str, part: str) -> Sample:
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((64, 64, 3), 200, np.uint8))
        return Sample(tmp_path / f"{name}.png", name, patient, "s", scores=(0.5,), part=part)

    known = [("a", "1", "train"), ("b", "2", "validation"), ("c", "3", "test"), ("d", "3", "train")]
    monkeypatch.setattr(plan, "load", lambda spec: [sample(*one) for one in known])
    with caplog.at_level("INFO"):
        made = plan.Plan(out=tmp_path, data=["one"], recipe_name="breast-1", compute=CPU)
    assert [item.sample.name for item in made.items] == ["a", "b"]
    assert len(made.fold_of) == 2
    assert "2 images of a published test part" in caplog.text
