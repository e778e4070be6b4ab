"""`evaluate` where parts have their own pathologists, and on patches that a scale was fitted to."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from cellularity_core.errors import DataError
from cellularity_core.model_store import ModelSet, open_set
from cellularity_core.patch import load_patch
from cellularity_core.reproduce import evaluate as evaluating
from cellularity_core.reproduce import measurable
from cellularity_core.scorer import Scorer
from cellularity_core.synthetic import synthesise

LABELS = {
    "train_labels.csv": ["slide,rid,y", "1,1,0.1", "1,2,0.9", "2,1,0.4"],
    "val_labels.csv": ["slide,rid,p1,p2", "3,1,0.1,0.2", "3,2,0.6,0.5", "4,1,0.8,", "4,2,0.9,0.7"],
    "test_labels.csv": ["slide,rid,p1,p2", "5,1,0.3,0.2", "5,2,0.7,0.8", "6,1,0.2,0.1"],
}
FOLDERS = {"train": "train", "val": "validation", "test": "test_patches"}


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BreastPathQ in its official layout, ten small patches of six slides."""
    root = tmp_path_factory.mktemp("breastpathq")
    seed = 0
    for labels, lines in LABELS.items():
        (root / labels).write_text("\n".join(lines) + "\n")
        folder = root / FOLDERS[labels.partition("_")[0]]
        folder.mkdir()
        for slide, rid, score, *_ in (line.split(",") for line in lines[1:]):
            made = synthesise(seed, side=128, cellularity=float(score))
            cv2.imwrite(str(folder / f"{slide}_{rid}.tif"), made.pixels[..., ::-1])
            seed += 1
    return root


def checksum(path: Path) -> str:
    return load_patch(path.read_bytes(), path.name, 0.5).sha256


def of_a_reader(**facts: object) -> ModelSet:
    """The shipped set as if it were mapped to a reader's scale."""
    models = open_set("breast-1")
    same = {method: {"x": [0, 1], "y": [0, 1]} for method in models.methods}
    manifest = {**models.manifest, "scale": "reader: a", "calibration": same, **facts}
    return replace(models, manifest=manifest)


@pytest.fixture(scope="module")
def fitted(official: Path) -> Scorer:
    """A scorer on a scale that was fitted to one of the test patches."""
    models = of_a_reader(fitted_to=[checksum(official / "test_patches" / "5_1.tif")])
    return Scorer(models, methods=["gbt"], threads=1)


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def test_each_part_has_the_figures_of_its_own_pathologists(
    fitted: Scorer, official: Path, tmp_path: Path
) -> None:
    evaluating.evaluate(fitted, [f"breastpathq:{official}"], tmp_path)
    scores = {row["name"]: row for row in table(tmp_path / "scores.csv")}
    assert len(scores) == 10 and scores["4_1"]["truth"] == "0.8"
    assert {n: row["left_out"] for n, row in scores.items() if row["left_out"]} == {
        "4_1": measurable.SHORT,
        "5_1": measurable.FITTED,
    }
    found = {
        (row["patches"], row["truth"]): float(row["value"])
        for row in table(tmp_path / "tables.csv")
        if row["statistic"] == "mse"
    }
    one, two = "TC", ["pathologist 1", "pathologist 2", "mean over pathologists"]
    both = [(part, truth) for part in ("validation", "test") for truth in two]
    assert list(found) == [("train", one), *both]
    value = {name: float(row["score"]) for name, row in scores.items()}
    for part, names in {"validation": ("3_1", "3_2", "4_2"), "test": ("5_2", "6_1")}.items():
        truths = np.array([[float(t) for t in scores[n]["truth"].split()] for n in names])
        squares = (truths - np.array([[value[n]] for n in names])) ** 2
        expected = [*squares.mean(axis=0), squares.mean()]
        assert [found[part, truth] for truth in two] == pytest.approx(expected, abs=1e-5)
    said = json.loads((tmp_path / "results.json").read_text())["warnings"]
    assert any(
        "1 patch that not every pathologist of the part scored has no part" in s for s in said
    )
    assert any("1 image that the scale was fitted to has no part" in s for s in said)
    assert any("(train 1, validation and test 2)" in s for s in said)
    assert not any("recalibrate" in s for s in said)
    assert any("No patient is known of 6 slides, so each counts as a patient" in s for s in said)


def test_scores_are_kept_whatever_becomes_of_the_figures(
    fitted: Scorer, official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise DataError("no figure today")

    monkeypatch.setattr(evaluating.measure, "agreement", broken)
    with pytest.raises(DataError, match="no figure today"):
        evaluating.evaluate(fitted, [f"breastpathq:{official}"], tmp_path)
    assert len(table(tmp_path / "scores.csv")) == 10


def test_what_was_fitted_to_is_told_apart_or_said_to_be_unknown(official: Path) -> None:
    material = evaluating._material([f"breastpathq:{official}"])
    unknown = of_a_reader()
    assert set(measurable.left_out(unknown, material)) == {"4_1"}
    (said,) = (s for s in measurable.warnings(unknown, material, {}) if "earlier version" in s)
    assert "does not say which patches its scale was fitted to" in said
    weak = measurable.warnings(open_set("breast-1"), material, {})
    assert any("`cellularity recalibrate` maps scores to a reader's" in s for s in weak)
    assert not any("earlier version" in s for s in weak)
    every = of_a_reader(fitted_to=[checksum(path) for path in official.rglob("*.tif")])
    with pytest.raises(DataError, match="fitted to every image here"):
        measurable.left_out(every, material)


def test_parts_of_equally_many_pathologists_are_measured_together_too(official: Path) -> None:
    material = evaluating._material([f"breastpathq:{official}"])
    items = [item for item in material.items if item.sample.part != "train"]
    found = measurable.groups(replace(material, items=items), {"4_1": measurable.SHORT})
    assert {name: len(names) for name, names in found.items()} == {
        "all": 6,
        "validation": 3,
        "test": 3,
    }


def test_what_the_models_learnt_from_is_left_out_where_there_are_others(official: Path) -> None:
    material = evaluating._material([f"breastpathq:{official}"])

    shipped = open_set("breast-1")

    def learnt(*paths: Path) -> ModelSet:
        known = [checksum(path) for path in paths]
        return replace(shipped, manifest={**shipped.manifest, "learnt_from": known})

    some = learnt(official / "test_patches" / "5_1.tif", official / "train" / "1_2.tif")
    without = measurable.left_out(some, material)
    assert without == {
        "5_1": measurable.LEARNT,
        "1_2": measurable.LEARNT,
        "4_1": measurable.SHORT,
    }
    assert "5_1" not in measurable.groups(material, without)["test"]
    said = measurable.warnings(some, material, without)
    assert any("2 images that the models learnt from have no part" in s for s in said)
    every = learnt(*official.rglob("*.tif"))
    without = measurable.left_out(every, material)
    assert without == {"4_1": measurable.SHORT}
    assert any("how well it remembers" in s for s in measurable.warnings(every, material, without))
    # the kind of its data is all that an older set says
    manifest = {k: v for k, v in some.manifest.items() if k != "learnt_from"}
    older = replace(some, manifest={**manifest, "data": ["breastpathq"]})
    assert any("may have been among" in s for s in measurable.warnings(older, material, {}))
