"""Trials of a recipe: what each changes, and one command that trains and measures them."""

import dataclasses
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cellularity_core.boosting import BoostedTrees
from cellularity_core.cli import main
from cellularity_core.errors import ModelError
from cellularity_core.networks import create
from cellularity_core.training import ablation, cards
from cellularity_core.training.activations import read_activations
from cellularity_core.training.commands import train_ablation
from cellularity_core.training.direct import network_description, predict_direct
from cellularity_core.training.loop import Compute, Schedule, load_weights
from cellularity_core.training.plan import Plan
from cellularity_core.training.recipes import recipe, trials
from cellularity_core.training.targets import patch_target

CPU = Compute(torch.device("cpu"), bf16=False)
SMALL = """
combined = []
[segmentation]
encoder = "resnet10t"
decoder = "fpn-light"
init = "random"
side = 64
view_mpp = 1.0
batch = 4
schedule = { epochs = 100, rate = 1e-3 }
[boosting]
views = 7
rounds = 20
[cascade]
regressor = "resnet10t"
init = "random"
channels = 4
side = 64
frozen = { epochs = 100 }
[direct]
encoder = "resnet10t"
init = "random"
head = "regression"
after_segmentation = true
average = "scores"
places = 0.2
side = 64
views = 1
schedule = { epochs = 100, rate = 1e-3 }
[direct_classes]
encoder = "resnet10t"
init = "random"
head = "classification"
schedule = { epochs = 100 }
[[trials]]
name = "features"
what = "with features averaged"
methods = ["direct-r"]
folds = [0, 1]
alone = [1]
[trials.direct]
average = "features"
places = 0
[[trials]]
name = "wide"
what = "on maps with wider discs"
methods = ["gbt"]
with_own = true
segmentation = { disc_um = 9.0 }
"""


def test_the_trials_of_breast_1_change_what_they_say():
    ours, starter = recipe("breast-1"), recipe("starter")
    found = {one.name: one for one in trials("breast-1")}
    assert list(found) == ["starter", "crops-only", "no-places", "lite2-maps", "imagenet-cascade"]
    assert found["starter"].recipe == dataclasses.replace(starter, name="starter")
    assert found["starter"].folds == (0,)
    cascade = found["imagenet-cascade"].recipe.cascade
    assert cascade == starter.cascade and cascade != ours.cascade
    for part in ("direct", "direct_classes"):
        crops = getattr(found["crops-only"].recipe, part)
        whole = getattr(found["no-places"].recipe, part)
        assert crops == dataclasses.replace(
            getattr(ours, part),
            places=0.0,
            whole=None,
            schedule=Schedule(6, rate=1e-3, warmup=0.1),
        )
        assert whole == dataclasses.replace(crops, whole=Schedule(2, rate=2e-4, warmup=0.1))
    lite2 = found["lite2-maps"].recipe
    assert lite2.segmentation.encoder == "tf_efficientnet_lite2"
    assert lite2.boosting == ours.boosting
    for one in ("starter", "crops-only", "no-places", "imagenet-cascade"):
        assert found[one].recipe.segmentation == ours.segmentation


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_wrong_with_a_trial_is_named(tmp_path):
    one = '[[trials]]\nname = "a"\nwhat = "b"\nmethods = ["gbt"]\n'
    base = 'base = "breast-1"\n'
    assert trials(written(tmp_path, base)) == ()  # those of a base are its own
    for text, said in (
        (one + one, r"mine.toml \[trials a\]: two trials have this name"),
        (one.replace("gbt", "gpt"), r"methods = 'gpt' \(did you mean gbt\?\) must be one of"),
        (one + 'direct = { averag = "features" }\n', r"\[trials a.direct\] has no key 'averag'"),
        (one.replace('name = "a"\n', ""), r"mine.toml \[trials\] lacks the key 'name'"),
        ("trials = 3\n", r"write \[\[trials\]\] above each"),
    ):
        with pytest.raises(ModelError, match=said):
            trials(written(tmp_path, base + text))


def test_a_trial_that_is_not_there_is_refused_before_data(capsys, tmp_path):
    command = ["train", "ablation", "--data", "brca-m2c:absent", "--out", str(tmp_path)]
    for more, said in (
        (["--trial", "crops"], "has no trial 'crops'; choose of starter, crops-only, no-places"),
        (["--recipe", "starter"], "The recipe 'starter' names no trials"),
        (["--trial", "starter"], "There is no folder 'absent'"),
    ):
        assert main([*command, *more]) == 1
        assert said in re.sub(r"\s+", " ", capsys.readouterr().err)


@pytest.fixture
def drawn(tmp_path) -> str:
    """Nine patches of nine patients, drawn, as BRCA-M2C has them."""
    folder, rng = tmp_path / "m2c", np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    names = [f"TCGA-A{k}-000{k}-01Z-00-DX1_1_1_128_128_1.png" for k in range(9)]
    for k, name in enumerate(names):
        pixels = np.full((128, 128, 3), (200, 160, 220), np.uint8)
        lines = []
        for x, y in rng.integers(8, 120, (30, 2)):
            label = 2 if rng.random() < k / 8 else rng.choice([1, 3])
            cv2.circle(pixels, (int(x), int(y)), 3 * int(label), (120, 40, 90), -1)
            lines.append(f"{y} {x} {label}")
        cv2.imwrite(str(folder / "images" / name), pixels)
        points = folder / "labels" / f"{Path(name).stem}_gt_class_coords.txt"
        points.write_text("\n".join(lines) + "\n")
    (folder / "train.txt").write_text("\n".join(names))
    (folder / "val.txt").write_text("")
    return f"brca-m2c:{folder}"


def test_one_command_trains_the_trials_and_measures_patients_never_seen(tmp_path, drawn, capsys):
    mine, out = written(tmp_path, SMALL), tmp_path / "run"
    command = ["train", "ablation", "--data", drawn, "--recipe", str(mine), "--out", str(out)]
    command += ["--epochs-scale", "0.01", "--device", "cpu", "--threads", "1"]
    assert main(command) == 0
    printed = capsys.readouterr().out.splitlines()
    rows = json.loads((out / "trials.json").read_text())
    assert printed[2:4] + printed[6:8] == [
        f"| {r['ingredient']}, epochs x 0.01 | {r['icc']:.3f} | {r['mse']:.4f} |" for r in rows
    ]
    assert [(r["ingredient"], r["trial"]) for r in rows] == [
        ("direct-r with features averaged (fold 1, 3 patches)", "features"),
        ("direct-r with features averaged (fold 0, fold 1, 6 patches)", "features"),
        ("gbt on maps with wider discs (9 patches)", "wide"),
        ("the same, mean with the scores of gbt itself (9 patches)", "wide"),
    ]

    # By hand: what is in the folders, on the patients of the fold.
    plan = Plan(out=out, data=[drawn], recipe_name=str(mine), compute=CPU)
    truth = np.array([patch_target(i) for i in plan.items])
    settings = trials(mine)[0].recipe.direct
    errors = []
    for fold in (0, 1):
        model = create(network_description(settings))
        folder = out / "trials" / "features" / f"direct-r-fold{fold}"
        model.load_state_dict(load_weights(folder / "best.pt")["model"])
        _, held_out = plan.split(fold)
        scores = predict_direct(model, held_out, settings, CPU)
        errors.append((scores - truth[plan.fold_of == fold]) ** 2)
    assert rows[0]["mse"] == pytest.approx(errors[1].mean())
    assert rows[1]["mse"] == pytest.approx(np.concatenate(errors).mean())
    # The plan's own segmentations serve where nothing of them is changed.
    assert (out / "segmentation-fold0" / "done.json").exists()
    assert not (out / "trials" / "features" / "segmentation-fold0").exists()
    assert (out / "trials" / "wide" / "segmentation-fold2" / "done.json").exists()
    maps = [
        read_activations(at / "maps", plan.items[0].sample.name).features
        for at in (out, out / "trials" / "wide")
    ]
    assert np.abs(maps[0] - maps[1]).max() > 0
    assert BoostedTrees.load(out / "gbt.txt") and (out / "trials" / "wide" / "gbt.txt").exists()


def test_rows_are_replaced_by_trial_and_others_stay(tmp_path):
    plan = Plan.__new__(Plan)
    plan.out = tmp_path / "new"
    given = trials("breast-1")
    ablation.keep_rows(plan, given, [{"ingredient": "c", "trial": "crops-only"}])
    by_hand = [{"ingredient": "of old code"}]
    (plan.out / "trials.json").write_text(json.dumps([*by_hand, *ablation.kept_rows(plan)]))
    ablation.keep_rows(plan, given, [{"ingredient": "s", "trial": "starter"}])
    ablation.keep_rows(plan, given, [{"ingredient": "c2", "trial": "crops-only"}])
    assert [r["ingredient"] for r in ablation.kept_rows(plan)] == ["s", "c2", "of old code"]


def test_the_card_has_the_rows_and_the_command_that_makes_them():
    rows = [
        {
            "ingredient": "gbt on others (9 patches)",
            "icc": 0.92591,
            "mse": 0.01234,
            "trial": "a",
        },
        {"ingredient": "old gbt", "icc": 0.8, "mse": 0.02, "remark": "By old code."},
        {"ingredient": "old cascade", "icc": 0.8, "mse": 0.02, "remark": "By old code."},
        {"ingredient": "gbt + cascade, 9 patches", "icc": 0.9, "mse": 0.01},
    ]
    told = "\n".join(ablation.section(rows, "the command"))
    assert "| gbt on others (9 patches) | 0.926 | 0.0123 |" in told
    assert "| old cascade (1) | 0.800 | 0.0200 |" in told and "\n\n(1) By old code.\n" in told
    assert told.count("By old code.") == 1
    assert "| old cascade (1) | 0.800 | 0.0200 |" in told and "\n\n(1) By old code.\n" in told
    assert told.count("By old code.") == 1
    assert "```\nthe command\n```" in told and "one of a for its rows" in told
    assert "```" not in "\n".join(ablation.section(rows[3:], "the command"))
    manifest = {"name": "mine", "data": ["brca-m2c"], "recipe": "breast-1", "seed": 3, "folds": 5}
    assert cards._command(manifest, "ablation", train_ablation) == (
        "cellularity train ablation --data brca-m2c:FOLDER --recipe breast-1 --folds 5 --seed 3 "
        "--out runs/mine"
    )


def test_every_shipped_row_has_a_trial_or_is_a_mean_of_scores_or_says_that_nothing_makes_it():
    folder = Path(__file__).parents[1] / "models" / "breast-1"
    rows = json.loads((folder / "manifest.json").read_text())["ablation"]
    assert {r["trial"] for r in rows if "trial" in r} == {one.name for one in trials("breast-1")}
    others = [r for r in rows if "trial" not in r]
    means = [r for r in others if "remark" not in r]
    assert [r["ingredient"].split(" ")[0] for r in others if r not in means] == ["gbt"]
    methods = {"gbt", "cascade", "direct-r", "direct-c"}
    parts = [r["ingredient"].removesuffix(", 90 patches").split(" + ") for r in means]
    assert len(parts) == 15 and all(set(one) <= methods for one in parts)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "\n".join(ablation.table(rows)) in card
