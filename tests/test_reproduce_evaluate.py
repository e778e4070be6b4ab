"""`evaluate` on a few real patches and fields, and what it says of itself."""

import csv
import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pypdf import PdfReader

from cellularity_core.datasets import Sample
from cellularity_core.errors import DataError
from cellularity_core.masks import weak_cellularity
from cellularity_core.patch import load_patch
from cellularity_core.points import NucleiPoints, read_points
from cellularity_core.reproduce import evaluate as evaluating
from cellularity_core.reproduce import shifts
from cellularity_core.scorer import Scorer
from cellularity_core.training.images import Loaded

COUNT = 6


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer.open("breast-1", device="cpu", threads=1)


@pytest.fixture(scope="module")
def folders(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Six patches of BRCA-M2C and a benign and a malignant field, by links."""
    m2c, ucsb = (tmp_path_factory.mktemp(name) for name in ("m2c", "ucsb"))
    source = data_root / "brca_m2c"
    names = (source / "train.txt").read_text().split()[:COUNT]
    for folder in ("images", "labels"):
        (m2c / folder).symlink_to(source / folder, target_is_directory=True)
    (m2c / "train.txt").write_text("\n".join(names[:-2]))
    (m2c / "val.txt").write_text("\n".join(names[-2:]))
    source = data_root / "ucsb_breast"
    (ucsb / "images").symlink_to(source / "images", target_is_directory=True)
    rows = list(csv.DictReader(io.StringIO((source / "labels.csv").read_text())))
    kept = [next(r for r in rows if r["label"] == kind) for kind in ("benign", "malignant")]
    lines = ["image,label,slide_id", *(f"{r['image']},{r['label']},{r['slide_id']}" for r in kept)]
    (ucsb / "labels.csv").write_text("\n".join(lines) + "\n")
    return m2c, ucsb


@pytest.fixture(scope="module")
def made(
    scorer: Scorer, folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("report")
    m2c, ucsb = folders
    evaluating.evaluate(scorer, [f"brca-m2c:{m2c}", f"ucsb:{ucsb}"], out, with_shifts=True)
    return out


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def test_scores_are_the_scorers(made: Path, scorer: Scorer, folders: tuple[Path, Path]) -> None:
    rows = [r for r in table(made / "scores.csv") if r["method"] == "gbt"]
    assert len(rows) == COUNT + 2
    first = rows[0]
    image = folders[0] / "images" / f"{first['name']}.png"
    (result,) = scorer.score([load_patch(image.read_bytes(), first["name"], 0.5)], maps=False)
    assert float(first["score"]) == pytest.approx(result.scores["gbt"].value, abs=1e-9)
    points = read_points(folders[0] / "labels" / f"{first['name']}_gt_class_coords.txt")
    patch = load_patch(image.read_bytes(), first["name"], 0.5)
    truth = weak_cellularity(patch.pixels, points.xy, points.label, 0.5)
    assert float(first["truth"]) == pytest.approx(truth, abs=1e-5)
    assert first["truth_scale"] == first["score_scale"] == "weak TC"


def test_tables_follow_from_the_scores(made: Path) -> None:
    rows = table(made / "tables.csv")
    scores = [r for r in table(made / "scores.csv") if r["truth"]]
    for method in {r["method"] for r in scores}:
        errors = [
            (float(r["truth"]) - float(r["score"])) ** 2 for r in scores if r["method"] == method
        ]
        (mse,) = (
            r
            for r in rows
            if r["method"] == method and r["patches"] == "all" and r["statistic"] == "mse"
        )
        assert float(mse["value"]) == pytest.approx(np.mean(errors), abs=1e-5)
    assert {r["patches"] for r in rows} == {"all", "train", "validation"}
    benign = next(r for r in table(made / "scores.csv") if r["field"] == "benign")
    (mean,) = (
        r
        for r in rows
        if r["statistic"] == "benign_mean"
        and r["method"] == benign["method"]
        and r["value"]
        and r["patches"] == "all"
    )
    assert float(mean["value"]) == pytest.approx(float(benign["score"]), abs=1e-6)


def test_the_report_warns_that_it_has_learnt_from_these(made: Path) -> None:
    said = json.loads((made / "results.json").read_text())
    assert any("learnt from every image here" in text for text in said["warnings"])
    assert any("weak TC" in text for text in said["warnings"])
    page = (made / "report.html").read_text(encoding="utf-8")
    assert "learnt from every image here" in page and "Agreement with weak TC" in page
    assert "http" not in page.replace("http-equiv", "")
    for number in (4, 5, 6, 7, 10):
        assert f"<h2>Figure {number}." in page
    reader = PdfReader(io.BytesIO((made / "report.pdf").read_bytes()))
    assert sum(len(one.images) for one in reader.pages) == 5
    assert said["model_sha256"] in page


def test_what_moves_a_score_is_scored_again(
    made: Path, scorer: Scorer, folders: tuple[Path, Path]
) -> None:
    rows = {(r["change"], r["method"]): r for r in table(made / "shifts.csv")}
    assert len(rows) == len({c for c, _ in rows}) * len(scorer.methods)
    tables = {
        r["method"]: r
        for r in table(made / "tables.csv")
        if r["statistic"] == "mse" and r["patches"] == "all"
    }
    for method in scorer.methods:
        given = rows["as given", method]
        assert float(given["mse"]) == pytest.approx(float(tables[method]["value"]), abs=1e-6)
        assert given["mean_shift"] == "" and (given["patches"], given["n"]) == ("8", str(COUNT))
    other = "f32 instead of bf16" if scorer.precision == "bf16" else "bf16 instead of f32"
    if scorer.precision == "bf16":
        assert 0 < float(rows[other, "combined"]["mean_shift"]) < 0.05
        assert float(rows[other, "combined"]["largest_shift"]) < 0.2
    # By hand: the right half painted, the truth of the left half alone.
    errors, inside = [], []
    for name in {r["name"] for r in table(made / "scores.csv") if r["truth"]}:
        patch = load_patch((folders[0] / "images" / f"{name}.png").read_bytes(), name, 0.5)
        points = read_points(folders[0] / "labels" / f"{name}_gt_class_coords.txt")
        edge = round(patch.width / 2)
        left = points.xy[:, 0] < edge - 0.5
        painted = patch.pixels.copy()
        painted[:, edge:] = shifts.GLASS
        truth = weak_cellularity(painted, points.xy[left], points.label[left], 0.5)
        (result,) = scorer.score([dataclasses.replace(patch, pixels=painted)], maps=False)
        score = result.scores["combined"]
        errors.append((score.value - truth) ** 2)
        inside.append(score.low <= truth <= score.high)
    found = rows["half of it glass", "combined"]
    assert float(found["mse"]) == pytest.approx(np.mean(errors), abs=1e-5)
    assert float(found["inside_90"]) == pytest.approx(np.mean(inside), abs=1e-6)
    assert "What moves a score" in (made / "report.html").read_text(encoding="utf-8")


def test_a_field_is_cut_from_the_middle_and_not_below_what_can_be_scored() -> None:
    points = NucleiPoints(np.array([[100.0, 100.0], [149.0, 130.0]]), np.array([2, 2]), {})
    pixels = np.arange(200 * 300 * 3).reshape(200, 300, 3).astype(np.uint8)
    item = Loaded(Sample(Path("x"), "x", "p", "s", points=points, scores=(0.4,)), pixels)
    cut = shifts.cut_to(64.0)(item)
    assert (cut.pixels == pixels[36:164, 86:214]).all() and cut.sample.scores == ()
    assert cut.points.xy.tolist() == [[14, 64], [63, 94]]
    assert len(shifts.cut_to(32.0)(item).points.label) == 1
    coarse = dataclasses.replace(item, sample=dataclasses.replace(item.sample, mpp=1.0))
    assert shifts.cut_to(32.0)(coarse) is None


def test_nothing_to_compare_with_is_said(
    scorer: Scorer, folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = evaluating.load

    def bare(spec: str):
        return [dataclasses.replace(sample, points=None) for sample in real(spec)[:1]]

    monkeypatch.setattr(evaluating, "load", bare)
    with pytest.raises(DataError, match="No image has a score"):
        evaluating.evaluate(scorer, [f"brca-m2c:{folders[0]}"], tmp_path / "out")


def test_an_unknown_set_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from cellularity_core.cli import main

    arguments = ["evaluate", "nosuch", "--data", "brca-m2c:x", "--out", str(tmp_path)]
    assert main(arguments) == 1
    assert "no model set 'nosuch'" in capsys.readouterr().err
