"""Direct networks trained for real, in little: where they start, and their last phase."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from cellularity_core.datasets import Sample
from cellularity_core.errors import ModelError
from cellularity_core.networks import create
from cellularity_core.networks.direct import Direct as Network
from cellularity_core.points import NucleiPoints
from cellularity_core.training import direct
from cellularity_core.training import plan as stages
from cellularity_core.training.images import Loaded
from cellularity_core.training.loop import Compute, Schedule, load_weights
from cellularity_core.training.plan import Plan
from cellularity_core.training.recipes import Direct, Recipe, Segmentation
from cellularity_core.training.segmentation import train_segmentation

CPU = Compute(torch.device("cpu"), bf16=False)
ENCODER = "resnet10t"
SEGMENTATION = Segmentation(ENCODER, "fpn", "random", Schedule(1, rate=1e-3), side=64, batch=2)
DIRECT = Direct(ENCODER, "random", "regression", Schedule(1, rate=1e-3), side=64, batch=2, views=2)


def patch(patient: int, side: int = 96) -> Loaded:
    rng = np.random.default_rng(patient)
    pixels = rng.integers(0, 256, (side, side, 3)).astype(np.uint8)
    xy, label = rng.uniform(8, side - 8, (6, 2)), rng.integers(0, 3, 6).astype(np.int8)
    points = NucleiPoints(xy, label, {})
    return Loaded(
        Sample(
            Path("x"), f"n{patient}", f"p{patient}", "s", points=points, scores=(0.1 * patient,)
        ),
        pixels,
    )


@pytest.fixture(scope="module")
def segmentation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a segmentation that was trained a little."""
    out = tmp_path_factory.mktemp("segmentation")
    train_segmentation([patch(k) for k in range(3)], [], SEGMENTATION, out=out, compute=CPU)
    return out / "best.pt"


def network(settings: Direct = DIRECT) -> Network:
    made = create(direct.network_description(settings), "random")
    assert isinstance(made, Network)
    return made


def test_the_encoder_of_the_segmentation_is_taken_whole_and_the_head_is_not(segmentation):
    model = network()
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    direct.take_encoder(model, segmentation)
    after = model.network.state_dict()
    taken = {
        name.removeprefix(direct.ENCODER): value
        for name, value in load_weights(segmentation)["model"].items()
        if name.startswith(direct.ENCODER)
    }
    assert taken
    for name, value in taken.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=0)
    moved = [n for n in taken if n.endswith("weight") and not torch.equal(before[n], after[n])]
    assert len(moved) > 10
    for name in set(after) - set(taken):
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=0)


def test_another_encoder_or_none_is_refused(segmentation, tmp_path):
    other = network(dataclasses.replace(DIRECT, encoder="test_resnet"))
    with pytest.raises(ModelError, match="name the same encoder in both tables"):
        direct.take_encoder(other, segmentation)
    torch.save({"model": {"decoder.weight": torch.zeros(1)}}, tmp_path / "best.pt")
    with pytest.raises(ModelError, match=r"another encoder .*0 of 0 tensors"):
        direct.take_encoder(network(), tmp_path / "best.pt")


def plan_of(out: Path, settings: Direct) -> Plan:
    """A plan of 12 patients without files."""
    made = Plan.__new__(Plan)
    made.out, made.compute, made.folds, made.seed = out, CPU, 3, 0
    made.resume, made.epochs_scale, made.shared = False, 1.0, None
    made.items = [patch(k % 10) for k in range(10)]
    made.fold_of = stages.patient_folds([i.sample for i in made.items], 3, 0)
    made.recipe = Recipe(segmentation=SEGMENTATION, direct=settings)
    return made


def test_a_recipe_says_where_a_direct_network_starts_and_who_chooses_its_epoch(
    tmp_path, monkeypatch
):
    asked = []
    monkeypatch.setattr(stages, "train_direct", lambda *items, **told: asked.append((items, told)))
    last, keeping = Schedule(1), Schedule(1, keep_best=True)
    for settings in (
        DIRECT,
        dataclasses.replace(DIRECT, after_segmentation=True, whole=last),
        dataclasses.replace(DIRECT, schedule=last, whole=keeping),
    ):
        stages.direct_stage(plan_of(tmp_path, settings), "regression", 1)
    starts = [told["start"] for _, told in asked]
    assert starts == [None, tmp_path / "segmentation-fold1" / "best.pt", None]
    assert [bool(told["choosing"]) for _, told in asked] == [False, False, True]
    (training, validation, _), told = asked[2]
    groups = [{i.sample.patient for i in part} for part in (training, validation, told["choosing"])]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 10


def test_a_training_that_follows_a_segmentation_starts_with_its_encoder(tmp_path, segmentation):
    still = dataclasses.replace(DIRECT, schedule=Schedule(1, rate=1e-12), views=1)
    training = [patch(k) for k in range(2)]
    model = direct.train_direct(
        training, [], still, out=tmp_path, compute=CPU, start=segmentation
    ).state_dict()
    for name, value in load_weights(segmentation)["model"].items():
        if name.startswith(direct.ENCODER) and name.endswith("weight"):
            own = model["network." + name.removeprefix(direct.ENCODER)]
            torch.testing.assert_close(own, value, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("view_mpp", "side"), [(0.5, 480), (1.0, 256)])
def test_a_last_phase_sees_nearly_whole_patches_at_any_pixel_size(
    tmp_path, monkeypatch, view_mpp, side
):
    seen, real = [], direct.random_view

    def spy(*arguments, **told):
        seen.append((told["side"], told["view_mpp"]))
        return real(*arguments, **told)

    monkeypatch.setattr(direct, "random_view", spy)
    settings = dataclasses.replace(
        DIRECT, encoder="test_resnet", view_mpp=view_mpp, whole=Schedule(2, rate=1e-3)
    )
    training, measured = [patch(k, 128) for k in range(2)], [patch(k, 128) for k in (7, 9)]
    model = direct.train_direct(training, measured, settings, out=tmp_path, compute=CPU)
    # Two views of each patch in the crops, one of each in two epochs of whole patches.
    assert seen == 4 * [(64, view_mpp)] + 4 * [(side, view_mpp)]
    logs = {}
    for phase in ("crops", "whole"):
        with (tmp_path / phase / "log.csv").open(newline="") as file:
            logs[phase] = [float(row["mse"]) for row in csv.DictReader(file)]
    assert {phase: len(rows) for phase, rows in logs.items()} == {"crops": 1, "whole": 2}
    crops, kept = (load_weights(tmp_path / k / "best.pt")["model"] for k in ("crops", "."))
    assert any(not torch.equal(crops[n], kept[n]) for n in kept if n.endswith("weight"))
    for name, value in model.state_dict().items():
        torch.testing.assert_close(kept[name], value, rtol=0, atol=0)


def test_a_run_goes_on_only_with_the_data_it_was_begun_with(tmp_path, segmentation):
    settings = dataclasses.replace(DIRECT, encoder="test_resnet")
    training, choosing = [patch(0), patch(1)], [patch(2)]
    out = tmp_path / "run"

    def train(training=training, choosing=choosing, **told):
        options = {"out": out, "compute": CPU, "choosing": choosing, **told}
        direct.train_direct(training, [], settings, **options)

    train()
    train(training=training[::-1], resume=True)  # done, and in any order
    first = training[0]
    rescored = Loaded(dataclasses.replace(first.sample, scores=(0.7,)), first.pixels)
    repainted = Loaded(first.sample, first.pixels ^ 1)
    for told in (
        {"training": [rescored, training[1]]},
        {"training": [repainted, training[1]]},
        {"training": [*training, patch(2)], "choosing": []},
        {"choosing": [patch(3)]},
    ):
        with pytest.raises(ModelError, match="not begun with these settings and data"):
            train(**told, resume=True)
    written = (out / "made-with.json").read_text()
    assert not any(text in written for text in ("n0", "n1", "p0", "p1"))
    again = {"out": segmentation.parent, "compute": CPU, "resume": True}
    train_segmentation([patch(k) for k in range(3)], [], SEGMENTATION, **again)
    with pytest.raises(ModelError, match="not begun with these settings and data"):
        train_segmentation([patch(k) for k in (0, 1, 4)], [], SEGMENTATION, **again)
