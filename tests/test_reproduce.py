"""A tiny plan through the whole of `reproduce`: trained, cut off, gone on with, reported."""

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from pypdf import PdfReader
from reproduce_support import CPU, few_patches, one_thread, outcomes_of, request, tiny

from cellularity_core.datasets import load
from cellularity_core.errors import DataError
from cellularity_core.reproduce import kept, learning
from cellularity_core.reproduce.estimate import Timings
from cellularity_core.reproduce.outcome import Outcome
from cellularity_core.reproduce.run import LOCK_FILE, reproduce
from cellularity_core.training.images import load_images
from cellularity_core.training.loop import Compute
from cellularity_core.training.recipes import Boosting, Recipe
from cellularity_core.training.targets import patch_target


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
    """Each inner segmentation's own data lack those whose maps it makes."""
    folder = made / "runs" / "fpn-random" / "fold0"
    assert {path.stem for path in (folder / "maps8").glob("*.npz")} == {
        row["name"] for row in table(made / "data.csv")
    }
    lists = {
        name: json.loads((folder / name / "settings.json").read_text())["data"]
        for name in ("inner0", "inner1")
    }
    assert lists["inner0"] != lists["inner1"]
    assert lists["inner0"] != json.loads((folder / "settings.json").read_text())["data"]


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

    in_bf16 = Compute(CPU.device, bf16=True)
    assert reproduce(request(patches, made, ["gbt-random"], compute=in_bf16)) == 1
    assert "in another precision" in outcomes["gbt-random"].reason
    assert reproduce(request(patches, made, ["gbt-random"], recipes=other)) == 1
    assert outcomes["gbt-random"].status == "failed"
    assert "other settings" in outcomes["gbt-random"].reason


def test_a_finished_run_that_does_not_say_with_what_is_refused_and_stays(
    made: Path, patches: Path, tmp_path: Path, outcomes: dict[str, Outcome]
) -> None:
    out = shutil.copytree(made, tmp_path / "plan")
    trees = out / "runs" / "gbt-random" / "fold0"
    (trees / "row.json").unlink()
    shutil.rmtree(out / "runs" / "xception-c-random")
    before = {path: path.read_bytes() for path in trees.iterdir()}
    assert reproduce(request(patches, out)) == 1
    assert outcomes["gbt-random"].reason == (
        f"'{trees}' holds a finished run without row.json, so with which settings and data it was "
        "made is not known; choose another folder with --out, or remove that one."
    )
    assert {path: path.read_bytes() for path in trees.iterdir()} == before
    others = ("fpn-random", "xception-c-random")
    assert [outcomes[name].status for name in others] == ["done", "done"]
    shutil.rmtree(trees)
    drawn = out / "runs" / "fpn-random" / "fold0"
    (drawn / "settings.json").unlink()
    assert reproduce(request(patches, out, ["gbt-random"])) == 1
    assert f"'{drawn}' holds a finished run without settings" in outcomes["gbt-random"].reason


def test_two_at_once_in_a_folder_are_refused(made: Path, patches: Path) -> None:
    with FileLock(made / LOCK_FILE), pytest.raises(DataError, match="Another reproduction is at"):
        reproduce(request(patches, made, ["gbt-random"]))


def test_changed_classes_are_other_data(
    made: Path, patches: Path, tmp_path: Path, outcomes: dict[str, Outcome]
) -> None:
    """Also where weak TC stays as it was: a lymphocyte becomes stromal."""
    changed = shutil.copytree(patches, tmp_path / "changed")
    for labels in (changed / "labels").iterdir():
        rows = [line.split() for line in labels.read_text().splitlines()]
        swap = {"1": "3", "3": "1"}
        text = "\n".join(f"{x} {y} {swap.get(c, c)}" for x, y, c in rows)
        labels.write_text(f"{text}\n")
    truths = [
        [patch_target(item) for item in load_images(load(f"brca-m2c:{folder}"))]
        for folder in (patches, changed)
    ]
    assert truths[0] == truths[1]
    with pytest.raises(DataError, match="plan of other data"):
        reproduce(request(changed, made, ["gbt-random"]))
    out = shutil.copytree(made, tmp_path / "plan")
    (out / "data.csv").unlink()
    (out / "runs" / "gbt-random" / "fold0" / "run.json").unlink()  # finished or not
    names = ["fpn-random", "gbt-random", "xception-c-random"]
    assert reproduce(request(changed, out, names)) == 1
    for name in names:
        assert "holds a run of other settings, data or patients" in outcomes[name].reason
    shutil.rmtree(out / "runs" / "gbt-random")
    assert reproduce(request(changed, out, ["gbt-random"])) == 1
    drawn = out / "runs" / "fpn-random" / "fold0"
    assert outcomes["gbt-random"].reason.startswith(f"'{drawn}' holds a run of other settings")


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
