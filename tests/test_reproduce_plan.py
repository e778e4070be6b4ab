"""A plan for `reproduce` before it trains: estimated, timed, refused, patients kept apart."""

import csv
import io
import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from reproduce_support import CPU, SHORT, few_patches, one_thread, outcomes_of, request, tiny

from cellularity_core.datasets import Sample
from cellularity_core.errors import CellularityError, DataError
from cellularity_core.points import NucleiPoints
from cellularity_core.reproduce import material, run
from cellularity_core.reproduce.estimate import Timings, Work, works
from cellularity_core.reproduce.learning import Runner
from cellularity_core.reproduce.material import Material, Split, gather
from cellularity_core.reproduce.outcome import Outcome
from cellularity_core.reproduce.progress import PlanProgress
from cellularity_core.reproduce.results import Provenance, report
from cellularity_core.reproduce.rows import ROWS, select
from cellularity_core.reproduce.run import reproduce
from cellularity_core.training.images import Loaded
from cellularity_core.training.recipes import Recipe, recipe


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def patches(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return few_patches(data_root / "brca_m2c", tmp_path_factory.mktemp("m2c"))


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Outcome]:
    return outcomes_of(monkeypatch)


def test_the_estimate_is_printed_and_trains_nothing(
    patches: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = request(patches, tmp_path, ["xception-c-random", "akbar-inception"])
    assert reproduce(plan, only_estimate=True) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert re.search(r"Estimated time left on this machine: [0-9.]+ h", printed)
    assert "akbar-inception: not run: weights unavailable" in printed
    assert not (tmp_path / "runs").exists()


def test_each_encoder_is_asked_once(
    patches: Path, tmp_path: Path, outcomes: dict[str, Outcome]
) -> None:
    asked: list[str] = []

    def ask(encoders: Collection[str]) -> dict[str, str]:
        asked.extend(encoders)
        return dict.fromkeys(encoders, "no")

    names = ["fpn-imagenet", "gbt-imagenet", "sr-imagenet", "resnet34-r-imagenet"]
    plan = request(patches, tmp_path, names, recipes=recipe, without=ask)
    assert reproduce(plan) == 0
    assert asked == ["resnet34"]
    assert [one.status for one in outcomes.values()] == ["not run"] * 4


def test_every_row_has_a_recipe_that_fits() -> None:
    for row in ROWS:
        if row.kind == "classical":
            continue
        chosen = recipe(row.name)
        if row.segmentation:
            assert recipe(row.segmentation).segmentation == chosen.segmentation
        part = {
            "segmentation": chosen.segmentation,
            "gbt": chosen.boosting,
            "cascade": chosen.cascade,
            "direct": chosen.direct or chosen.direct_classes,
        }[row.kind]
        assert part is not None, row.name
    with pytest.raises(DataError, match="no row 'gtb'"):
        select(["gtb"])


def test_steps_counted_are_steps_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a step of one second and all else free, the estimate is the number of steps."""
    from cellularity_core.training.images import view_batches

    items = [_loaded(f"p{k}", f"patient{k}") for k in range(7)]
    field = _loaded("field", "patient7", pointed=False, field="benign")
    split = Split("fold0", [*items[:5], field], [], items[5:])
    stuff = Material(("x:y",), [*items, field], {}, [split], "")
    runner = Runner(stuff, Path("nowhere"), CPU, recipes=tiny)
    monkeypatch.setattr(Timings, "step", lambda *_: 1.0)
    for name in ("look", "view", "trees"):
        monkeypatch.setattr(Timings, name, lambda *_: 0.0)
    monkeypatch.setattr(Timings, "features", lambda *_: 65536.0)  # one second a pixel
    found = works(runner, select(["fpn-random"])[0], split, Timings(CPU))

    def make(_: int, __: np.random.Generator):
        return (np.zeros(1),)

    # The field joins for the second of two epochs.
    taken = sum(
        1
        for epoch, count in enumerate((5, 6))
        for _ in view_batches(count, make, batch=4, epoch=epoch, seed=0)
    )
    assert sum(work.seconds for work in found) == taken == 3
    found = works(runner, select(["gbt-random"])[0], split, Timings(CPU))
    (maps,) = (work.seconds for work in found if work.what == "maps")
    views, patches, pixels = 8, 8, 20 * 20  # 40 pixels of 0.5 um/px, at 1 um/px
    assert maps == pytest.approx(views * patches * pixels)


def test_a_row_that_cannot_be_timed_is_named_beside_the_estimate(
    patches: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(*_: object) -> list[Work]:
        raise RuntimeError("no clock")

    monkeypatch.setattr(run, "works", broken)
    plan = request(patches, tmp_path, ["xception-c-random"])
    assert reproduce(plan, only_estimate=True) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Without xception-c-random, which could not be timed" in printed


def _loaded(name: str, patient: str, *, pointed: bool = True, **facts) -> Loaded:
    points = NucleiPoints(np.array([[10.0, 10.0]]), np.array([2], np.int8), {})
    sample = Sample(Path(name), name, patient, "site", points=points if pointed else None, **facts)
    return Loaded(sample, np.zeros((40, 40, 3), np.uint8))


@pytest.mark.parametrize("more", [{"whole": SHORT}, {"after_segmentation": True}])
def test_a_direct_row_with_more_than_one_phase_is_refused_before_training(
    patches: Path, tmp_path: Path, outcomes: dict[str, Outcome], more: dict[str, object]
) -> None:
    def other(name: str) -> Recipe:
        return Recipe(name, direct_classes=replace(tiny(name).direct_classes, **more))

    assert reproduce(request(patches, tmp_path, ["xception-c-random"], recipes=other)) == 1
    failed = outcomes["xception-c-random"]
    assert f"The recipe 'xception-c-random' has {next(iter(more))}," in failed.reason
    assert not (tmp_path / "runs").exists()


def test_official_parts_keep_patients_apart(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def scored(name: str, patient: str, part: str) -> Loaded:
        return _loaded(name, patient, pointed=False, scores=(0.2, 0.4), part=part)

    items = [
        *(scored(f"train{k}", f"a{k}", "train") for k in range(4)),
        scored("seen", "t0", "train"),
        *(scored(f"val{k}", f"v{k}", "validation") for k in range(2)),
        *(scored(f"test{k}", f"t{k}", "test") for k in range(3)),
        *(_loaded(f"cells{k}", f"c{k}") for k in range(6)),
        _loaded("cells of a test patient", "t1"),
    ]
    monkeypatch.setattr(material, "load", lambda _: [item.sample for item in items])
    monkeypatch.setattr(material, "load_images", lambda _: items)
    found = gather(["breastpathq:x"], folds=3, fold_limit=1, seed=0)
    (split,) = found.splits
    assert found.scale == "pathologist" and found.measured_part == "test"
    sides = [split.training, split.validation, split.measured]
    graded = [{i.sample.name for i in found.graded(side)} for side in sides]
    assert graded == [
        {f"train{k}" for k in range(4)},
        {"val0", "val1"},
        {"test0", "test1", "test2"},
    ]
    patients = [{i.sample.patient for i in side} for side in sides]
    assert not patients[0] & patients[1] and not patients[1] & patients[2]
    assert not patients[0] & patients[2]
    assert sum(i.sample.points is not None for i in split.measured) >= 2
    assert found.figure_word == "TC of the test part"
    (said,) = found.remarks
    assert said.startswith("1 image for training of 1 patient is left out")
    assert said in caplog.text


def official(
    monkeypatch: pytest.MonkeyPatch, *others: Loaded, scores: tuple[float, ...] = (0.2, 0.4)
) -> list[Loaded]:
    """Six scored training and two test patches of as many patients, and others."""
    items = [
        *(
            _loaded(f"train{k}", f"a{k}", pointed=False, scores=(0.2,), part="train")
            for k in range(6)
        ),
        _loaded("test0", "t0", pointed=False, scores=(0.2, 0.4), part="test"),
        _loaded("test1", "t1", pointed=False, scores=scores, part="test"),
        *others,
    ]
    monkeypatch.setattr(material, "load", lambda _: [item.sample for item in items])
    monkeypatch.setattr(material, "load_images", lambda _: items)
    monkeypatch.setattr(material, "_checksum", lambda item: item.sample.name)
    return items


def test_nuclei_held_out_keep_no_scored_patch_from_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    official(monkeypatch, *(_loaded(f"cells{k}", f"a{k}") for k in range(6)))
    found = gather(["breastpathq:x"], folds=3, fold_limit=1, seed=0)
    (split,) = found.splits
    held = {item.sample.patient for item in split.measured if item.sample.points is not None}
    assert len(held) == 2
    learnt = {item.sample.name for item in split.training}
    assert {name for name in learnt if name.startswith("train")} == {f"train{k}" for k in range(6)}
    left = {f"cells{k}" for k in range(6) if f"a{k}" not in held}
    assert {name for name in learnt if name.startswith("cells")} == left
    (said,) = found.remarks
    assert "nuclei of 2 patients whose scored patches are learnt from" in said
    truths = {row["name"]: row["truth"] for row in csv.DictReader(io.StringIO(found.data_list()))}
    assert truths["train0"] == "0.2" and truths["cells0"] == ""  # never weak TC among scores


def test_no_patient_whose_field_is_scored_is_learnt_from(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = (_loaded(f"field{k}", f"a{k}", pointed=False, field="benign") for k in range(6))
    official(monkeypatch, *fields)
    (split,) = gather(["breastpathq:x"], folds=3, fold_limit=1, seed=0).splits
    held = {item.sample.patient for item in split.measured if item.sample.field}
    assert len(held) == 2 and not held & {item.sample.patient for item in split.training}


@pytest.mark.parametrize(
    ("kept", "word", "where"),
    [
        (("train", "validation"), "TC of the validation part", "the validation part"),
        (("train",), "TC", "folds by patient"),
    ],
)
def test_that_there_is_no_test_part_heads_the_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kept: tuple[str, ...], word: str, where: str
) -> None:
    items = [
        _loaded(f"{part}{k}", f"{part}{k}", pointed=False, scores=(0.2,), part=part)
        for part in kept
        for k in range(3)
    ]
    items[0] = replace(items[0], sample=replace(items[0].sample, patient_is_slide=True))
    monkeypatch.setattr(material, "load", lambda _: [item.sample for item in items])
    monkeypatch.setattr(material, "load_images", lambda _: items)
    found = gather(["breastpathq:x"], folds=3, fold_limit=1, seed=0)
    (tmp_path / "data.csv").write_text("")
    provenance = Provenance("cellularity reproduce", 0, 1.0, 3, CPU, tmp_path / "data.csv")
    made = report(Runner(found, tmp_path, CPU), [], provenance)
    titles = [part.title for part in made.parts]
    assert f"Table 2. MSE of {word}" in titles
    assert any(title.startswith(f"Table 3. Agreement on {word}:") for title in titles)
    assert "There is no test part" in made.warning and f"measured on {where};" in made.warning
    assert "No patient is known of 1 slide, so it counts as a patient" in made.warning


def test_measured_patches_that_a_pathologist_missed_are_named_before_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    official(monkeypatch, scores=(0.4,))
    with pytest.raises(DataError, match="fewer scored test1 than others"):
        gather(["breastpathq:x"], folds=3, fold_limit=1, seed=0)


def test_two_images_of_one_name_are_refused(patches: Path) -> None:
    with pytest.raises(CellularityError, match="Two images are called"):
        gather([f"brca-m2c:{patches}"] * 2, folds=3, fold_limit=1, seed=0)


def test_time_left_follows_the_pace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from cellularity_core.reproduce import progress

    now = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    folders = [tmp_path / name for name in "ab"]
    parts = [Work(folder, "done.json", 50.0, 4, "x") for folder in folders]
    bar = PlanProgress(parts, Console(file=io.StringIO()))
    assert bar.left() == 100
    folders[0].mkdir()
    (folders[0] / "log.csv").write_text("epoch,loss\n1,1\n2,1\n")
    now[0] += 50  # a quarter of the plan took twice its estimate
    assert bar.left() == pytest.approx(150)
    (folders[0] / "done.json").write_text("{}")
    assert bar.left() == pytest.approx(50)
    bar.skip(parts[1:])
    assert bar.left() == 0


def test_the_command_line_refuses_an_unknown_row(
    patches: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from cellularity_core.cli import main

    arguments = ["reproduce", "--data", f"brca-m2c:{patches}", "--out", str(tmp_path)]
    assert main([*arguments, "--rows", "nothing", "--threads", "1"]) == 1
    assert "There is no row 'nothing'" in capsys.readouterr().err
    assert run.LOG_FILE not in {path.name for path in tmp_path.iterdir()}
