"""Training commands refuse before data are read; patients held back choose the epoch."""

import csv
import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from cellularity_core.cli import main
from cellularity_core.datasets import Sample
from cellularity_core.errors import DataError
from cellularity_core.networks import create
from cellularity_core.points import NucleiPoints
from cellularity_core.training import plan as stages
from cellularity_core.training.direct import network_description, predict_direct, train_direct
from cellularity_core.training.images import Loaded
from cellularity_core.training.loop import Compute, Schedule, load_weights
from cellularity_core.training.plan import INNER, Plan
from cellularity_core.training.recipes import Direct, Segmentation, recipe
from cellularity_core.training.segmentation import train_segmentation

CPU = Compute(torch.device("cpu"), bf16=False)
KEEPING = Schedule(3, rate=1e-2, keep_best=True)


def refused(capsys, *arguments: str) -> str:
    """What a training command says of data that are not there, or before."""
    assert main(["train", *arguments, "--data", "brca-m2c:absent", "--out", "absent"]) == 1
    return re.sub(r"\s+", " ", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["segmentation", "--recipe", "resnet34-r-random"], "does not speak of segmentation, only"),
        (["gbt", "--recipe", "fpn-random"], "'fpn-random' does not speak of boosting, only of seg"),
        (["cascade", "--recipe", "gbt-random"], "does not speak of cascade"),
        (["direct", "--recipe", "unet-random"], "does not speak of direct, only of segmentation"),
        (
            ["direct", "--recipe", "xception-c-random", "--head", "regression"],
            "does not speak of direct, only of direct_classes",
        ),
        (["direct", "--recipe", "startr"], "did you mean starter"),
        (
            ["direct", "--recipe", "nowhere/mine.toml"],
            "There is no recipe file 'nowhere/mine.toml'",
        ),
        (["direct", "--head", "both"], "There is no head 'both'"),
        (["set", "--recipe", "sr-random", "--models", "m"], "does not speak of boosting"),
        # Nothing is wrong with these but the data: the recipe's only head is taken.
        (["direct", "--recipe", "xception-c-random"], "There is no folder 'absent'"),
        (["direct", "--recipe", "resnet34-r-random"], "There is no folder 'absent'"),
        (["gbt", "--recipe", "gbt-random"], "There is no folder 'absent'"),
        (["cascade", "--recipe", "sr-random"], "There is no folder 'absent'"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused_before_data(capsys, arguments, said):
    assert said in refused(capsys, *arguments)


def test_weights_that_cannot_be_had_are_refused_before_data(capsys, monkeypatch):
    def offline(*arguments):
        raise ConnectionError("offline")

    monkeypatch.setattr("cellularity_core.networks.weights._ask_for", offline)
    for name in ("resnet34-r-imagenet", "foundation-frozen"):
        assert "cannot be fetched (offline)" in refused(capsys, "direct", "--recipe", name)
    assert "cannot be fetched" in refused(capsys, "cascade", "--recipe", "sr-imagenet")
    # The trees start from maps that are already there.
    assert "no folder" in refused(capsys, "gbt", "--recipe", "gbt-imagenet")


def test_the_head_that_a_recipe_speaks_of():
    only, both = recipe("xception-c-random"), recipe("paper")
    assert stages.head_of(only, None) == "classification"
    assert stages.head_of(recipe("resnet34-r-random"), None) == "regression"
    assert stages.head_of(both, None) == "regression"
    assert stages.head_of(both, "classification") == "classification"


def patch(patient: int, score: float | None = None, k: int = 0) -> Loaded:
    rng = np.random.default_rng([patient, k])
    pixels = rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    points = NucleiPoints(rng.uniform(8, 56, (6, 2)), rng.integers(0, 3, 6).astype(np.int8), {})
    sample = Sample(Path("x"), f"{patient}-{k}", f"p{patient}", "s", points=points)
    if score is not None:
        sample = dataclasses.replace(sample, scores=(score,))
    return Loaded(sample, pixels)


def plan_of(items: list[Loaded]) -> Plan:
    """A plan without files: only what splitting reads."""
    made = Plan.__new__(Plan)
    made.items, made.folds, made.seed = items, 3, 0
    made.fold_of = stages.patient_folds([i.sample for i in items], 3, 0)
    return made


def test_patients_that_choose_take_no_part_and_are_none_of_the_fold():
    plan = plan_of([patch(p, k=k) for p in range(18) for k in range(2)])
    training, measured = plan.split(0)
    rest, choosing = plan.hold_back(training, 0, KEEPING)
    names = [{i.sample.patient for i in part} for part in (rest, choosing, measured)]
    assert [len(n) for n in names] == [10, 12 // INNER, 6]
    assert len(set.union(*names)) == 18
    assert len(rest) + len(choosing) == len(training)
    again = plan.hold_back(training, 0, None, KEEPING)[1]
    assert [i.sample.name for i in again] == [i.sample.name for i in choosing]


def test_nobody_is_held_back_where_no_epoch_is_chosen():
    plan = plan_of([patch(p) for p in range(9)])
    training, _ = plan.split(1)
    last = Schedule(3)
    assert plan.hold_back(training, 1, last, None) == (training, [])
    assert plan.hold_back(plan.items, None, KEEPING) == (plan.items, [])
    alone = [patch(0, k=k) for k in range(3)]
    assert plan.hold_back(alone, 0, KEEPING) == (alone, [])


def test_points_teach_no_score_where_a_pathologist_scored():
    """Weak TC and a reader's scores are two scales, and only one is learnt."""
    benign = patch(8)
    benign = Loaded(dataclasses.replace(benign.sample, points=None, field="benign"), benign.pixels)
    pointed, unknown = [patch(p) for p in range(6)], patch(9)
    unknown = Loaded(dataclasses.replace(unknown.sample, points=None), unknown.pixels)
    weak = plan_of([*pointed, benign, unknown])
    assert stages.learnable(weak, weak.items) == [*pointed, benign]
    read = plan_of([*weak.items, patch(6, 0.5), patch(7, 0.2)])
    assert stages.learnable(read, read.items) == [benign, *read.items[-2:]]
    # A part of the data without a score is on the scale of the whole.
    assert stages.learnable(read, pointed) == []


def test_a_fold_that_would_learn_no_score_is_refused():
    pointed = [patch(p) for p in range(9)]
    stages.check_graded(plan_of(pointed))
    stages.check_graded(plan_of([*pointed, patch(9, 0.1), patch(10, 0.9)]))
    with pytest.raises(DataError, match=r"1 patches are scored by a pathologist, none .* fold \d"):
        stages.check_graded(plan_of([*pointed, patch(9, 0.1)]))


def logged(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def kept(folder: Path) -> float:
    return float(re.search(r'"epoch": ([\d.]+)', (folder / "done.json").read_text())[1])


def test_the_epoch_of_a_direct_network_is_chosen_by_those_held_back(tmp_path, monkeypatch):
    """Errors are set so that each group of patients prefers another epoch."""
    measured, choosing = [patch(7, 0.5), patch(8, 0.5)], [patch(9, 0.5)]
    epoch = {"measured": 0, "choosing": 0}
    errors = {"measured": (0.1, 0.3, 0.4), "choosing": (0.4, 0.1, 0.3)}

    def predict(model, items, settings, compute):
        group = "choosing" if items is choosing else "measured"
        error = errors[group][epoch[group]]
        epoch[group] += 1
        return np.array([0.5 + error * (-1) ** k for k in range(len(items))])

    monkeypatch.setattr("cellularity_core.training.direct.predict_direct", predict)
    settings = Direct("test_resnet", "random", "regression", KEEPING, side=64, batch=2, views=1)
    training = [patch(k, 0.5) for k in range(4)]
    train_direct(training, measured, settings, out=tmp_path, compute=CPU, choosing=choosing)
    rows = logged(tmp_path)
    assert [float(r["mse"]) for r in rows] == pytest.approx([0.01, 0.09, 0.16])
    assert [float(r["inner_mse"]) for r in rows] == pytest.approx([0.16, 0.01, 0.09])
    assert kept(tmp_path) == 2


def test_the_epoch_of_a_segmentation_is_chosen_by_those_held_back(tmp_path, monkeypatch):
    measured, choosing = [patch(8)], [patch(9)]
    values = {"8-0": iter((0.9, 0.1, 0.2)), "9-0": iter((0.1, 0.2, 0.3))}

    def jaccard(model, items, settings, compute):
        return {"jaccard": next(values[items[0].sample.name])}

    monkeypatch.setattr("cellularity_core.training.segmentation.jaccard", jaccard)
    settings = Segmentation("resnet10t", "fpn", "random", KEEPING, side=64, batch=2)
    training = [patch(k) for k in range(2)]
    train_segmentation(training, measured, settings, out=tmp_path, compute=CPU, choosing=choosing)
    assert [float(r["inner_jaccard"]) for r in logged(tmp_path)] == [0.1, 0.2, 0.3]
    assert kept(tmp_path) == 3


def test_with_nobody_to_choose_the_last_epoch_is_kept(tmp_path, monkeypatch):
    falling = iter((0.1, 0.2, 0.3))
    monkeypatch.setattr(
        "cellularity_core.training.direct.predict_direct",
        lambda model, items, *rest: np.full(len(items), 0.5) + [-1, 1] * np.array(next(falling)),
    )
    settings = Direct("test_resnet", "random", "regression", KEEPING, side=64, batch=2, views=1)
    train_direct(
        [patch(k, 0.5) for k in range(2)],
        [patch(7, 0.5), patch(8, 0.5)],
        settings,
        out=tmp_path,
        compute=CPU,
        choosing=[],
    )
    assert kept(tmp_path) == 3
    assert "inner_mse" not in logged(tmp_path)[0]


def test_a_frozen_transformer_trains_and_scores(tmp_path):
    """The foundation recipe's way, with timm's smallest transformer and a file of weights."""
    save_file(timm.create_model("test_vit", num_classes=0).state_dict(), tmp_path / "w.safetensors")
    (tmp_path / "mine.toml").write_text(
        'base = "foundation-frozen"\n[direct]\nencoder = "test_vit"\ninit = "w.safetensors"\n'
        "side = 96\nbatch = 4\nviews = 1\nschedule = { epochs = 1 }\n"
    )
    settings = recipe(tmp_path / "mine.toml").direct
    recipe(tmp_path / "mine.toml").check_starts()
    items = [patch(k, k / 4) for k in range(4)]
    model = train_direct(items, items[:2], settings, out=tmp_path / "run", compute=CPU)
    again = create(network_description(settings))
    again.load_state_dict(load_weights(tmp_path / "run" / "best.pt")["model"])
    scores = predict_direct(again, items, settings, CPU)
    assert scores.shape == (4,)
    np.testing.assert_allclose(scores, predict_direct(model, items, settings, CPU), atol=1e-6)
