"""The command line as other programs call it: exact output, in every form."""

import json
import re
import subprocess
import sys
import weakref
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from cli_support import read_csv, save, three_patches
from PIL import Image
from pypdf import PdfReader

from cellularity_core import cli, export, notes
from cellularity_core.cli import main
from cellularity_core.conventions import METHODS
from cellularity_core.export.sheets import pdf, sheet
from cellularity_core.features import FEATURE_NAMES
from cellularity_core.outputs import Writer
from cellularity_core.passes import VIEWS
from cellularity_core.patch import collect
from cellularity_core.points import parse_points
from cellularity_core.quality import FLAGS
from cellularity_core.results import PatchResult
from cellularity_core.scorer import Scorer
from cellularity_core.synthetic import synthesise

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return three_patches(tmp_path_factory.mktemp("patches"))


def without_seconds(content: dict[str, Any]) -> dict[str, Any]:
    for patch in content["patches"]:
        assert all(value >= 0 for value in patch.pop("seconds").values())
    return content


def process(*arguments: str, code: str | None = None) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    start = ["-m", "cellularity_core"] if code is None else ["-c", code]
    return subprocess.run(
        [sys.executable, *start, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_json_says_what_the_scorer_says(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "scores.json"
    assert main(["score", str(folder), "--json", str(target)]) == 0
    content = json.loads(target.read_text())
    scorer = Scorer.open("breast-1")
    results = list(scorer.score(collect([folder]), maps=False))
    assert without_seconds(content) == without_seconds(
        export.document(
            [export.patch_record(result) for result in results],
            [],
            model_set=scorer.model_set.name,
            model_sha256=scorer.model_set.sha256,
            scale=scorer.model_set.scale,
        )
    )
    assert [patch["image"] for patch in content["patches"]] == ["a.png", "b.png", "sub/c.png"]
    assert [patch["width"] for patch in content["patches"]] == [256, 192, 128]
    for patch in content["patches"]:
        assert list(patch["scores"]) == list(METHODS)
        for score in patch["scores"].values():
            assert 0 <= score["low"] <= score["value"] <= score["high"] <= 1


def test_two_runs_differ_in_seconds_only(folder: Path, tmp_path: Path) -> None:
    for run in ("one", "two"):
        where = tmp_path / run
        where.mkdir()
        files = {name: where / f"r.{name}" for name in ("json", "csv", "parquet")}
        options = [part for name, path in files.items() for part in (f"--{name}", str(path))]
        options += ["--nuclei", str(where / "n.csv"), "--geojson", str(where / "geo")]
        options += ["--overlay", str(where / "overlay"), "--ome-tiff", str(where / "ome")]
        options += ["--pdf", str(where / "r.pdf"), "--features", str(where / "f.csv")]
        assert main(["score", str(folder), *options]) == 0
    names = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.*"))
    assert len(names) == 6 + 3 + 6 + 3
    for name in names:
        one, two = ((tmp_path / run / name).read_bytes() for run in ("one", "two"))
        if name.suffix == ".json":
            assert without_seconds(json.loads(one)) == without_seconds(json.loads(two))
        else:
            assert one == two, name


def test_outputs_agree_with_each_other(folder: Path, tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in ("json", "csv", "parquet", "nuclei", "geojson")}
    options = [part for name, path in paths.items() for part in (f"--{name}", str(path))]
    assert main(["score", str(folder / "a.png"), *options]) == 0
    (patch,) = json.loads(paths["json"].read_text())["patches"]
    (line,) = read_csv(paths["csv"].read_text())
    nuclei = read_csv(paths["nuclei"].read_text())
    table = pyarrow.parquet.read_table(paths["parquet"]).to_pylist()
    points = parse_points((paths["geojson"] / "a.geojson").read_bytes(), "a.geojson")

    for method, score in patch["scores"].items():
        assert float(line[method]) == score["value"] == table[0][method]
        assert float(line[f"{method}_low"]) == score["low"]
        assert float(line[f"{method}_high"]) == score["high"]
    counts = patch["counts"]
    assert {name: int(line[name]) for name in counts} == counts
    assert {name: sum(n["class"] == name for n in nuclei) for name in counts} == counts
    assert np.bincount(points.label, minlength=3).tolist() == list(counts.values())
    assert len(nuclei) > 0
    assert all(0 <= float(n["x"]) <= 256 and 0 <= float(n["y"]) <= 256 for n in nuclei)
    assert table[0]["malignant value@total"] > 0
    assert set(FEATURE_NAMES) <= set(table[0])


def test_every_output_tells_that_a_pixel_size_was_assumed_and_how_a_patch_was_read(
    tmp_path: Path, capsys
) -> None:
    with Image.fromarray(synthesise(0, 256).pixels) as opaque:
        opaque.putalpha(200)
        opaque.save(tmp_path / "a.png")
    kinds = ("json", "csv", "parquet", "geojson", "pdf")
    options = [part for kind in kinds for part in (f"--{kind}", str(tmp_path / kind))]
    assert main(["score", str(tmp_path / "a.png"), *options]) == 0
    (patch,) = json.loads((tmp_path / "json").read_text())["patches"]
    (line,) = read_csv((tmp_path / "csv").read_text())
    (row,) = pyarrow.parquet.read_table(tmp_path / "parquet").to_pylist()
    areas = json.loads((tmp_path / "geojson" / "a.geojson").read_text())
    assert "pixel-size-assumed" in patch["quality"]["flags"]
    assert patch["notes"] == ["alpha-flattened"]
    flags = ";".join(patch["quality"]["flags"])
    for told in (line, row, areas["provenance"], areas["features"][0]["properties"]["metadata"]):
        assert (told["flags"], told["notes"]) == (flags, "alpha-flattened")
    [page] = PdfReader(tmp_path / "pdf").pages
    text = " ".join(page.extract_text().split())
    assert FLAGS["pixel-size-assumed"].text in text
    assert notes.sentence("alpha-flattened") in text

    assert (line["views"], row["views"], patch["views"]) == ("1", 1, 1)

    again = ["score", str(tmp_path / "a.png"), "--models", "gbt", "--tta", "2"]
    assert main([*again, "--json", str(tmp_path / "json")]) == 0
    assert json.loads((tmp_path / "json").read_text())["patches"][0]["views"] == 2
    (tmp_path / "a.png").rename(tmp_path / "with a longer name.png")  # two lines, none cut short
    printing = ["score", str(tmp_path / "with a longer name.png")]
    assert main(printing) == 0
    assert re.search(r"pixel size\b.*\n.*\bassumed\b", printed := capsys.readouterr().out), printed
    assert main([*printing, "--mpp", "0.5"]) == 0
    assert "assumed" not in capsys.readouterr().out


def test_the_pdf_and_the_areas_are_those_of_the_scorer(folder: Path, tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in ("r.pdf", "f.parquet", "geo")}
    options = ["--pdf", str(paths["r.pdf"]), "--features", str(paths["f.parquet"])]
    assert main(["score", str(folder / "a.png"), *options, "--geojson", str(paths["geo"])]) == 0
    [patch] = collect([folder / "a.png"])
    [result] = Scorer.open("breast-1").score([patch])
    models = {"model_set": result.model_set, "model_sha256": result.model_sha256}
    drawn = pdf([sheet(result, patch.pixels)], **models, scale=result.scale)
    assert paths["r.pdf"].read_bytes() == drawn
    assert (paths["geo"] / "a.geojson").read_text() == export.geojson_text(result)
    [row] = pyarrow.parquet.read_table(paths["f.parquet"]).to_pylist()
    assert row == export.reason_row(result)
    shares = sum(row[name] for name in export.REASON_COLUMNS)
    assert shares == pytest.approx(result.scores["gbt"].value, abs=1e-6)


def test_standard_output_carries_the_result_alone(folder: Path, capfdbinary) -> None:
    assert main(["score", str(folder / "b.png"), "--json", "-"]) == 0
    captured = capfdbinary.readouterr()
    assert json.loads(captured.out)["patches"][0]["image"] == "b.png"
    assert main(["score", str(folder / "b.png"), "--csv", "-"]) == 0
    assert read_csv(capfdbinary.readouterr().out.decode())[0]["image"] == "b.png"


def test_without_an_output_a_table_is_printed(folder: Path, capsys) -> None:
    assert main(["score", str(folder / "a.png")]) == 0
    out = capsys.readouterr().out
    assert "a.png" in out
    assert "Research use only" in out
    assert "weak TC" in out
    value = next(Scorer.open("breast-1").score(collect([folder / "a.png"]))).scores["gbt"].value
    assert f"{value:.0%} (" in out


def test_only_the_methods_asked_for(folder: Path, tmp_path: Path) -> None:
    paths = [str(tmp_path / "r.json"), str(tmp_path / "r.csv")]
    arguments = ["--json", paths[0], "--csv", paths[1], "--models", "direct-c, cascade"]
    assert main(["score", str(folder / "c.png"), str(folder / "b.png"), *arguments]) == 1
    content = json.loads(Path(paths[0]).read_text())
    assert list(content["patches"][0]["scores"]) == ["cascade", "direct-c"]
    assert [error["image"] for error in content["errors"]] == ["c.png"]
    assert not {"gbt", "direct-r"} & set(read_csv(Path(paths[1]).read_text())[0])


def test_overlay_draws_on_the_patch(folder: Path, tmp_path: Path) -> None:
    assert main(["score", str(folder / "b.png"), "--overlay", str(tmp_path / "new" / "dir")]) == 0
    pictures = sorted((tmp_path / "new" / "dir").iterdir())
    assert [p.name for p in pictures] == ["b-cascade.png", "b-gbt.png"]
    result = next(Scorer.open("breast-1").score(collect([folder / "b.png"])))
    with Image.open(folder / "b.png") as patch, Image.open(pictures[1]) as picture:
        expected = export.overlay(np.asarray(patch), result.activations["gbt"])
        np.testing.assert_array_equal(np.asarray(picture), expected)


def test_pixel_size_from_the_user(folder: Path, capfdbinary) -> None:
    assert main(["score", str(folder / "a.png"), "--json", "-", "--mpp", "1.0"]) == 0
    at_one = json.loads(capfdbinary.readouterr().out)["patches"][0]
    assert main(["score", str(folder / "a.png"), "--json", "-"]) == 0
    at_half = json.loads(capfdbinary.readouterr().out)["patches"][0]
    assert (at_one["mpp"], at_half["mpp"]) == (1.0, 0.5)
    assert at_one["scores"] != at_half["scores"]


def test_zip_and_manifest(folder: Path, tmp_path: Path, capfdbinary) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.write(folder / "a.png", "in/a.png")
    (tmp_path / "m.csv").write_text(f"image,mpp\n{folder / 'b.png'},0.25\n")
    inputs = [str(tmp_path / "p.zip"), str(tmp_path / "m.csv")]
    assert main(["score", *inputs, "--json", "-"]) == 0
    patches = json.loads(capfdbinary.readouterr().out)["patches"]
    assert patches[0]["image"] == "in/a.png"
    assert patches[1]["image"].endswith("b.png")
    assert patches[1]["mpp"] == 0.25


def test_a_patch_without_tissue_is_a_result(tmp_path: Path, capfdbinary) -> None:
    blank = save(tmp_path / "blank.png", np.full((256, 256, 3), 245, np.uint8))
    assert main(["score", str(blank), "--json", "-"]) == 0
    (patch,) = json.loads(capfdbinary.readouterr().out)["patches"]
    assert patch["quality"]["reliable"] is False
    assert "no-tissue" in patch["quality"]["flags"]
    assert patch["scores"]["gbt"] == {"value": None, "low": None, "high": None}
    assert sum(patch["counts"].values()) == 0


def test_memory_does_not_grow_with_patches(tmp_path: Path, monkeypatch) -> None:
    """Results and pixels are let go as they are written."""
    pixels = synthesise(3, 128).pixels
    (tmp_path / "in").mkdir()
    for k in range(16):
        save(tmp_path / "in" / f"{k:02}.png", np.roll(pixels, k, axis=0))
    alive: list[int] = []
    seen: list[Any] = []
    add = Writer.add

    def watched(self: Writer, result: PatchResult, patch: np.ndarray | None = None) -> None:
        assert patch is not None
        seen.extend(map(weakref.ref, (result.features, result.activations["gbt"], patch)))
        alive.append(sum(one() is not None for one in seen))
        add(self, result, patch)

    monkeypatch.setattr(Writer, "add", watched)
    assert main(["score", str(tmp_path / "in"), "--overlay", str(tmp_path / "out")]) == 0
    assert len(alive) == 16
    assert max(alive[8:]) <= max(alive[:8]) <= 9


def test_the_module_is_the_same_command(folder: Path) -> None:
    run = process("score", str(folder / "sub" / "c.png"), "--json", "-")
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    assert json.loads(run.stdout)["patches"][0]["image"] == "c.png"
    assert process("--version").stdout == f"{export.SOFTWARE}\n"


def test_scoring_on_a_cpu_never_loads_torch(folder: Path) -> None:
    run = process(
        code=(
            "import sys; from cellularity_core.cli import main; "
            f"code = main(['score', {str(folder)!r}, '--csv', '-', '--device', 'cpu']); "
            "print({'torch', 'timm', 'shap', 'streamlit'} & set(sys.modules), file=sys.stderr); "
            "sys.exit(code)"
        )
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == "set()\n"


def test_help_names_every_command(capsys) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(command in out for command in ("score", "train", "bench"))
    assert main(["train", "--help"]) == 0
    out = capsys.readouterr().out
    assert all(command in out for command in ("segmentation", "cascade", "gbt", "direct"))


def test_views_are_as_many_as_the_scorer_has() -> None:
    assert len(VIEWS) == cli.MAX_VIEWS
