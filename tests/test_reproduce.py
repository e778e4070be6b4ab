"""A tiny plan through the whole of `reproduce`: trained, cut off, gone on with, reported."""

import csv
import io
import json
import re
import shutil
from collections.abc import Collection
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from pypdf import PdfReader

from cellularity_core.datasets import Sample
from cellularity_core.errors import CellularityError, DataError
from cellularity_core.points import NucleiPoints
from cellularity_core.reproduce import kept, learning, material, run
from cellularity_core.reproduce.estimate import Timings, Work, works
from cellularity_core.reproduce.learning import Runner
from cellularity_core.reproduce.material import Material, Split, gather
from cellularity_core.reproduce.outcome import Outcome
from cellularity_core.reproduce.progress import PlanProgress
from cellularity_core.reproduce.rows import ROWS, select
from cellularity_core.reproduce.run import Request, reproduce
from cellularity_core.training.images import Loaded
from cellularity_core.training.loop import Compute, Schedule
from cellularity_core.training.recipes import Boosting, Direct, Recipe, Segmentation, recipe

CPU = Compute(torch.device("cpu"), bf16=False)
LITE = "tf_efficientnet_lite0"
SHORT = Schedule(2, rate=1e-3, warmup=0.0)
DRAWN = Segmentation(LITE, "fpn-light", "random", SHORT, side=64, view_mpp=1.0, batch=4)
NAMES = ("fpn-random", "gbt-random", "xception-c-random", "akbar-inception")


def tiny(name: str) -> Recipe:
    if name == "fpn-random":
        return Recipe(name, segmentation=DRAWN)
    if name == "gbt-random":
        return Recipe(name, segmentation=DRAWN, boosting=Boosting(views=8, rounds=15))
    if name == "akbar-inception":
        return recipe(name)
    direct = Direct(LITE, "random", "classification", SHORT, side=64, batch=4, views=1)
    return Recipe(name, direct_classes=direct)


def offline(encoders: Collection[str]) -> dict[str, str]:
    return dict.fromkeys(encoders, "there is no network here")


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Cores that others use too make two threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def patches(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine patches of nine patients of BRCA-M2C, quartered in size."""
    import cv2

    source, folder = data_root / "brca_m2c", tmp_path_factory.mktemp("m2c")
    names: dict[str, str] = {}
    for name in (source / "train.txt").read_text().split():
        names.setdefault(name[:12], name)
    chosen = list(names.values())[::6][:9]
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    (folder / "train.txt").write_text("\n".join(chosen))
    (folder / "val.txt").write_text("")
    for name in chosen:
        points = f"{Path(name).stem}_gt_class_coords.txt"
        image = cv2.imread(str(source / "images" / name))[:232, :240]
        cv2.imwrite(str(folder / "images" / name), image)
        lines = (source / "labels" / points).read_text().splitlines()
        kept = [s for s in lines if float(s.split()[0]) < 232 and float(s.split()[1]) < 240]
        (folder / "labels" / points).write_text("\n".join(kept) + "\n")
    return folder


def request(patches: Path, out: Path, names: Collection[str] = NAMES, **changes) -> Request:
    plan = Request(
        [f"brca-m2c:{patches}"], out, select(list(names)), CPU, recipes=tiny, without=offline
    )
    return replace(plan, **changes)


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Outcome]:
    """What becomes of each row, in place of a report of it."""
    found: dict[str, Outcome] = {}

    def keep(_, __, rows, ___) -> None:
        found.update({one.row.name: one for one in rows})

    monkeypatch.setattr(run, "write_results", keep)
    return found


@pytest.fixture(scope="module")
def made(patches: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan of four rows, one without weights, cut off in its first training and gone on with."""
    out = tmp_path_factory.mktemp("plan")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "train_segmentation", _cut_off_after_one_epoch)
        with pytest.raises(KeyboardInterrupt):
            reproduce(request(patches, out, ["fpn-random"]))
    folder = out / "runs" / "fpn-random" / "fold0"
    assert (folder / "checkpoint.pt").exists() and not (folder / "done.json").exists()
    assert reproduce(request(patches, out)) == 0
    return out


def _cut_off_after_one_epoch(training, validation, settings, **options):
    """As a kill leaves it: the first epoch's checkpoint is there, the second never came."""
    from cellularity_core.training import segmentation

    class Cut(Exception):
        pass

    def counted(count, make, *, epoch, **others):
        if epoch == 1:
            raise Cut
        return real(count, make, epoch=epoch, **others)

    real = segmentation.view_batches
    segmentation.view_batches = counted
    try:
        segmentation.train_segmentation(training, validation, settings, **options)
    except Cut:
        raise KeyboardInterrupt from None
    finally:
        segmentation.view_batches = real


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def results(out: Path) -> dict:
    return json.loads((out / "results.json").read_text())


def figures(out: Path) -> dict[tuple[str, str, str], float]:
    """Every number of the tables, by row, truth and statistic."""
    rows = table(out / "tables.csv")
    return {
        (row["row"], row["truth"], f"{row['statistic']} {limit}"): float(row[limit])
        for row in rows
        for limit in ("value", "low", "high")
        if row[limit]
    }


def test_rows_have_figures_beside_the_papers(made: Path) -> None:
    found = {row["row"]: row for row in results(made)["rows"]}
    assert [row["status"] for row in found.values()] == ["done", "done", "done", "not run"]
    assert "weights unavailable" in found["akbar-inception"]["reason"]
    assert "there is no network here" in found["akbar-inception"]["reason"]
    assert set(found["gbt-random"]["agreement"]) == {"weak TC"}
    assert found["gbt-random"]["paper"] == {"mse": [0.023, 0.019, 0.026]}
    assert found["fpn-random"]["paper"]["jaccard"][0] == 0.47
    assert results(made)["scale"] == "weak TC"
    assert {row["scale"] for row in table(made / "tables.csv")} == {"weak TC"}


def test_figures_are_those_of_the_scores_written(made: Path) -> None:
    """MSE and Jaccard again, from the files of the runs, by their definitions."""
    for name in ("gbt-random", "xception-c-random"):
        folder = made / "runs" / name / "fold0"
        rows = table(folder / "scores.csv")
        errors = [(float(row["truth"]) - float(row["score"])) ** 2 for row in rows]
        assert len(errors) == 3
        assert figures(made)[name, "weak TC", "mse value"] == pytest.approx(sum(errors) / 3)
    rows = table(made / "runs" / "fpn-random" / "fold0" / "overlaps.csv")
    both = np.sum([[float(v) for v in row["both"].split()] for row in rows], axis=0)
    either = np.sum([[float(v) for v in row["either"].split()] for row in rows], axis=0)
    expected = np.mean(both / np.maximum(either, 1))
    found = figures(made)["fpn-random", "nuclei points", "jaccard value"]
    assert found == pytest.approx(expected)
    last = table(made / "runs" / "fpn-random" / "fold0" / "log.csv")[-1]
    assert float(last["jaccard"]) == pytest.approx(expected, rel=1e-4)


def test_no_patient_is_learnt_from_and_measured(made: Path) -> None:
    rows = table(made / "data.csv")
    assert len(rows) == 9 and len({row["sha256"] for row in rows}) == 9
    training = {row["patient"] for row in rows if row["role"] == "fold0 training"}
    measured = {row["patient"] for row in rows if row["role"] == "fold0 measured"}
    assert len(training) == 6 and len(measured) == 3 and not training & measured
    scored = kept.read_scores(made / "runs" / "gbt-random" / "fold0")
    assert {one.patient for one in scored} == measured


def test_maps_of_patches_learnt_from_are_by_the_other_half(made: Path) -> None:
    """Each inner segmentation's own list of patients lacks those whose maps it makes."""
    folder = made / "runs" / "fpn-random" / "fold0"
    assert {path.stem for path in (folder / "maps8").glob("*.npz")} == {
        row["name"] for row in table(made / "data.csv")
    }
    lists = {
        name: json.loads((folder / name / "settings.json").read_text())["training"]
        for name in ("inner0", "inner1")
    }
    assert lists["inner0"] != lists["inner1"]
    assert lists["inner0"] != json.loads((folder / "settings.json").read_text())["training"]


def test_what_was_cut_off_went_on_to_the_same_figures(
    made: Path, patches: Path, tmp_path: Path
) -> None:
    """A second run from nothing, with the same seed and never cut off, to 1e-6."""
    assert reproduce(request(patches, tmp_path)) == 0
    first, second = figures(made), figures(tmp_path)
    assert first.keys() == second.keys() and len(first) >= 14
    for key, value in first.items():
        assert second[key] == pytest.approx(value, abs=1e-6), key
    for name in ("gbt-random", "xception-c-random"):
        scores = [
            [one.value for one in kept.read_scores(out / "runs" / name / "fold0")]
            for out in (made, tmp_path)
        ]
        assert scores[0] == pytest.approx(scores[1], abs=1e-6)


def test_a_second_call_trains_nothing(
    made: Path, patches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [path for path in (made / "runs").rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in files}
    report = (made / "report.pdf").read_bytes()

    def never(*_, **__):
        raise AssertionError("trained again")

    for name in ("train_segmentation", "train_direct", "make_activations"):
        monkeypatch.setattr(learning, name, never)
    monkeypatch.setattr(learning.boosting, "train", never)
    monkeypatch.setattr(Timings, "_timed", never)
    assert reproduce(request(patches, made)) == 0
    after = {path: path.stat().st_mtime_ns for path in before}
    assert after == before
    assert (made / "report.pdf").read_bytes() == report


def test_other_settings_need_another_folder(
    made: Path, patches: Path, outcomes: dict[str, Outcome]
) -> None:
    with pytest.raises(DataError, match="another folder with --out"):
        reproduce(request(patches, made, seed=7))

    def other(name: str) -> Recipe:
        chosen = tiny(name)
        if chosen.boosting is not None:
            return replace(chosen, boosting=Boosting(views=8, rounds=16))
        return chosen

    assert reproduce(request(patches, made, ["gbt-random"], recipes=other)) == 1
    assert outcomes["gbt-random"].status == "failed"
    assert "other settings" in outcomes["gbt-random"].reason


class _Page(HTMLParser):
    """What an HTML file shows, and all it would ask for."""

    def __init__(self) -> None:
        super().__init__()
        self.heads: list[str] = []
        self.asked: list[str] = []
        self.cells: list[str] = []
        self.inside = ""

    def handle_starttag(self, tag, attrs):
        self.inside = tag
        self.asked += [
            v for k, v in attrs if k in ("src", "href", "srcset", "action", "data") and v
        ]
        assert tag not in ("script", "link", "iframe", "object")

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside == "h2":
            self.heads.append(data)
        if self.inside in ("td", "th"):
            self.cells.append(data)


def test_the_page_shows_tables_and_figures_and_asks_for_nothing(made: Path) -> None:
    text = (made / "report.html").read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)
    assert page.asked and all(a.startswith("data:image/png;base64,") for a in page.asked)
    assert not re.search(r"@import|url\(", text)
    numbers = [re.match(r"(Table|Figure) (\d+)\.", head) for head in page.heads]
    shown = [(m.group(1), int(m.group(2))) for m in numbers if m]
    assert shown == [("Table", n) for n in (1, 2, 3)] + [("Figure", n) for n in range(3, 11)]
    assert "weak TC" in text and "not a pathologist" in text
    value = next(
        row["agreement"]["weak TC"]["mse"]["value"]
        for row in results(made)["rows"]
        if row["row"] == "gbt-random"
    )
    assert any(cell.startswith(f"{value:.4f}") for cell in page.cells)
    assert "0.023 [0.019, 0.026]" in page.cells
    for row in results(made)["rows"]:
        assert all(checksum in text for checksum in row["weights"].values())
        assert row["status"] != "done" or row["weights"]
    assert results(made)["data"]["list_sha256"] in text


def test_the_pdf_says_the_same(made: Path) -> None:
    reader = PdfReader(io.BytesIO((made / "report.pdf").read_bytes()))
    text = " ".join(" ".join(page.extract_text().split()) for page in reader.pages)
    for head in ("Table 1.", "Table 2. MSE of weak TC", "Table 3.", "Figure 3.", "Figure 10."):
        assert head in text
    assert "weights unavailable" in text
    assert sum(len(page.images) for page in reader.pages) == 8


def test_weights_written_are_weights_there(made: Path) -> None:
    import hashlib

    for row in results(made)["rows"]:
        for path, checksum in row["weights"].items():
            content = (made / "runs" / Path(path).relative_to("runs")).read_bytes()
            assert hashlib.sha256(content).hexdigest() == checksum


def test_a_failing_row_is_told_and_the_plan_goes_on(
    patches: Path,
    made: Path,
    tmp_path: Path,
    outcomes: dict[str, Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(made, tmp_path / "plan")
    shutil.rmtree(tmp_path / "plan" / "runs" / "gbt-random")

    def broken(*_, **__):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(learning.boosting, "train", broken)
    monkeypatch.setattr(Timings, "trees", lambda *_: 1.0)
    assert reproduce(request(patches, tmp_path / "plan")) == 1
    assert outcomes["gbt-random"].status == "failed"
    assert "out of luck" in outcomes["gbt-random"].reason
    assert outcomes["xception-c-random"].status == "done"
    assert "Traceback" in (tmp_path / "plan" / "log.txt").read_text()


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
    assert "left out" in caplog.text


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


def test_no_patient_whose_nuclei_are_measured_is_learnt_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    official(monkeypatch, *(_loaded(f"cells{k}", f"a{k}") for k in range(6)))
    found = gather(["breastpathq:x"], folds=3, fold_limit=1, seed=0)
    (split,) = found.splits
    held = {item.sample.patient for item in split.measured if item.sample.points is not None}
    assert len(held) == 2
    learnt = {item.sample.name for item in split.training}
    left = [k for k in range(6) if f"a{k}" not in held]
    assert learnt == {f"{what}{k}" for what in ("train", "cells") for k in left}
    truths = {row["name"]: row["truth"] for row in csv.DictReader(io.StringIO(found.data_list()))}
    assert truths["train0"] == "0.2" and truths["cells0"] == ""  # never weak TC among scores


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
