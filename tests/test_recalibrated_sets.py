"""Sets on a reader's scale: made by the command, opened, scored with and refused."""

import contextlib
import csv
import dataclasses
import io
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from recalibration_support import SCALE, reader
from slide_support import made_slide

from cellularity_core import model_store
from cellularity_core.calibration import CurvePoint, fit_method
from cellularity_core.cli import main
from cellularity_core.conventions import WEAK_SCALE
from cellularity_core.errors import ModelError
from cellularity_core.passes import Networks
from cellularity_core.patch import load_patch
from cellularity_core.rcb import Burden, rcb
from cellularity_core.readings import Readings
from cellularity_core.recalibration import Method, Recalibration, manifest_of
from cellularity_core.scorer import Scorer
from cellularity_core.synthetic import synthesise


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the shipped set."""
    root = tmp_path_factory.mktemp("models")
    shutil.copytree(model_store.open_set().folder, root / "breast-1")
    return root


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """A CSV of patches with the known reader's scores in per cent, and what is to come out."""
    folder = tmp_path_factory.mktemp("scored")
    patches = []
    for k, share in enumerate(np.linspace(0.02, 0.95, 20)):
        made = synthesise(k, side=192, cellularity=float(share))
        data = cv2.imencode(".png", made.pixels[..., ::-1])[1].tobytes()
        (folder / f"{k}.png").write_bytes(data)
        patches.append(load_patch(data, f"{k}.png", 0.5))
    results = list(Scorer.open().score(patches, maps=False))
    wanted = {r.image: float(reader(r.scores["gbt"].value)) for r in results}
    with (folder / "f.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "score", "patient", "mpp"])
        sizes = ["", *[0.5] * 19]  # of the first it is assumed
        writer.writerows([n, 100 * v, f"p{k}", sizes[k]] for k, (n, v) in enumerate(wanted.items()))
    return folder / "f.csv", wanted


@pytest.fixture(scope="module")
def recalibrated(models, scored) -> tuple[list[str], str]:
    """Arguments that made the set reader-a of the shipped one, and what was said."""
    table, _ = scored
    arguments = [
        "recalibrate",
        "breast-1",
        "--scores",
        str(table),
        "--percent",
        "--out",
        "reader-a",
    ]
    arguments += ["--scale-name", "A.B., north", "--models-root", str(models)]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        assert main([*arguments, "--half-width", "0.3"]) == 0
    return arguments, said.getvalue()


def test_patches_that_the_models_learnt_from_are_left_out(models, scored, tmp_path, capsys):
    table, _ = scored
    lines = table.read_text().splitlines()
    known = [
        load_patch((table.parent / f"{k}.png").read_bytes(), f"{k}.png").sha256 for k in range(20)
    ]

    def command(count: int) -> int:
        """With a set that learnt from the first `count` of 20 patches."""
        shutil.copytree(models / "breast-1", tmp_path / f"set-{count}", copy_function=os.link)
        path = tmp_path / f"set-{count}" / "manifest.json"
        manifest = json.loads(path.read_text()) | {"learnt_from": known[:count]}
        path.unlink()
        path.write_text(json.dumps(manifest))
        given = ["--scores", str(table), "--percent", "--models-root", str(tmp_path)]
        return main(["recalibrate", f"set-{count}", "--out", f"of-{count}", *given])

    assert len(lines) == 21 and command(3) == 0
    said = capsys.readouterr().err
    for number in range(3):
        assert f"{number}.png is left out: the models learnt from it" in said
    made = json.loads((tmp_path / "of-3" / "manifest.json").read_text())
    assert sorted(made["fitted_to"]) == sorted(known[3:])
    assert made["learnt_from"] == known[:3]
    assert "Left out: 0.png: the models learnt from it" in (
        tmp_path / "of-3" / "README.md"
    ).read_text(encoding="utf-8")
    assert command(15) != 0
    assert "15 of those given do not count, since the models learnt" in capsys.readouterr().err


def test_end_to_end_a_known_reader_is_found_again(models, scored, recalibrated, capsys):
    table, wanted = scored
    arguments, said = recalibrated
    assert "A half width of 30 is reached" in said and "reader: A.B., north" in said

    made = model_store.open_set("reader-a", models)
    source = model_store.open_set("breast-1", models)
    assert made.scale == "reader: A.B., north"
    assert made.manifest["recalibrated_from"] == {"name": "breast-1", "sha256": source.sha256}
    assert made.sha256 != source.sha256
    assert tuple(made.manifest["calibration"]) == source.methods
    images = [load_patch((table.parent / n).read_bytes(), n, 0.5) for n in wanted]
    assert made.manifest["fitted_to"] == sorted(image.sha256 for image in images)
    about = made.manifest["methods"]["gbt"]
    assert about["figures"]["mse"][0] < about["before"]["mse"][0]

    patches = [load_patch((table.parent / n).read_bytes(), n, 0.5) for n in list(wanted)[::4]]
    before = Scorer.open("breast-1", root=models).score(patches, maps=False)
    after = Scorer.open("reader-a", root=models).score(patches, maps=False)
    off = []
    for old, new in zip(before, after, strict=True):
        assert new.scale == "reader: A.B., north"
        assert new.model_sha256 == made.sha256
        assert old.uncalibrated == {}
        off.append(abs(new.scores["gbt"].value - wanted[new.image]))
        for method, score in new.scores.items():
            mapped = float(made.calibration(method)(old.scores[method].value))
            assert score.value == pytest.approx(mapped, abs=1e-6)
            assert new.uncalibrated[method] == old.scores[method].value
            assert 0 <= score.low <= score.value <= score.high <= 1
            assert (score.low, score.high) == pytest.approx(
                made.interval(method).limits(score.value, None)
            )
    assert max(off) < 0.05

    maps = {m: c | {"fitted": [0.97, 1.0]} for m, c in made.manifest["calibration"].items()}
    narrow = dataclasses.replace(made, manifest=made.manifest | {"calibration": maps})
    (beyond,) = Scorer(narrow, methods=["gbt"]).score(patches[:1], maps=False)
    assert "beyond-reader" in beyond.quality.flags and beyond.scores["gbt"].low == 0

    card = made.card()
    assert "that of one reader or site (reader: A.B., north)" in card
    assert WEAK_SCALE not in card
    sizes = "Of 1 of the 20 patches the pixel size is stated nowhere, and 0.5 µm was assumed"
    assert sizes in card and sizes in said
    assert "fitted to scores from" in card and "open on that side" in card
    assert "Research use only" in card and "20 patients" in card

    assert main(arguments) == 1
    assert "There is a 'reader-a'" in capsys.readouterr().err
    arguments[1], arguments[6] = "reader-a", "again"
    assert main(arguments) == 1
    assert "recalibrate 'breast-1', which it was made from" in capsys.readouterr().err
    assert model_store.available(models) == ["breast-1", "reader-a"]
    assert sorted(p.name for p in models.iterdir()) == ["breast-1", "reader-a"]


def test_only_a_slide_on_a_readers_scale_comes_to_a_burden(
    models, recalibrated, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("CELLULARITY_MODELS", str(models))
    made_slide(tmp_path / "s.tif", 560, tissue=1)
    bed = {"type": "Polygon", "coordinates": [[[0, 0], [500, 0], [500, 500], [0, 500], [0, 0]]]}
    (tmp_path / "bed.geojson").write_text(json.dumps(bed))
    score = ["slide", str(tmp_path / "s.tif"), "--roi", str(tmp_path / "bed.geojson")]
    score += ["--models", "gbt", "--device", "cpu", "--out"]
    given_ = ["rcb", "--d1", "20", "--d2", "15", "--cis", "10", "--nodes", "2", "--met", "4"]
    given_ += ["--method", "gbt", "--json", "-", "--slide"]

    assert main([*score, str(tmp_path / "weak")]) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert main([*given_, str(tmp_path / "weak" / "s" / "summary.json")]) == 1
    out, err = capsys.readouterr()
    assert not out
    assert "s/summary.json are on the scale weak TC, which is no pathologist's" in err
    assert "make a reader's scale with `cellularity recalibrate`" in err

    score += [str(tmp_path / "read"), "--model-set", "reader-a"]
    assert main(score) == 0, capsys.readouterr().err
    region = json.loads((tmp_path / "read" / "s" / "summary.json").read_text())["region"]
    capsys.readouterr()
    assert main([*given_, str(tmp_path / "read" / "s" / "summary.json")]) == 0
    found = json.loads(capsys.readouterr().out)
    mean, low, high = (region[end]["gbt"] for end in ("mean", "low", "high"))
    assert low < mean < high
    for value, share in ((found["rcb"], mean), *zip(found["interval"], (low, high), strict=True)):
        assert value == pytest.approx(rcb(Burden(20, 15, 100 * share, 10, 2, 4)).index, abs=1e-4)
    direct = rcb(Burden(20, 15, 100 * mean, 10, 2, 4), (100 * low, 100 * high))
    assert found["probabilities"] == pytest.approx(direct.probabilities, abs=1e-4)


def test_an_altered_map_is_another_set(models):
    manifest = json.loads((models / "breast-1" / "manifest.json").read_text())
    about = manifest["methods"]["gbt"]
    one = model_store.set_sha256(manifest)
    assert one == model_store.open_set("breast-1", models).sha256
    assert one == model_store.set_sha256(manifest | {"name": "other"})
    manifest["calibration"] = {"gbt": {"x": [0, 1], "y": [0, 1]}}
    two = model_store.set_sha256(manifest)
    about["interval"] = {"quantile": 0.2}
    assert len({one, two, model_store.set_sha256(manifest)}) == 3


def test_how_a_method_scores_is_kept(models):
    """What a manifest says of a method beyond its measurements goes into the new set."""
    manifest = json.loads((models / "breast-1" / "manifest.json").read_text())
    manifest["methods"]["gbt"]["of"] = ["gbt", "cascade"]
    manifest["ablation"] = [{"ingredient": "stain", "icc": 0.9}]
    source = model_store.ModelSet("s", models / "breast-1", manifest, "ab" * 32)
    x = np.linspace(0, 1, 12)
    measured = dict.fromkeys(("icc_a1", "mse", "kappa4", "pk"), (0.5, 0.4, float("nan")))
    made, interval, _ = fit_method(x, reader(x), range(12), SCALE)
    methods = {"gbt": Method(made, interval, measured, measured, (CurvePoint(12, 0.1),))}
    readings = Readings((), 0, True, ())
    out = manifest_of(Recalibration(source, "reader: a", methods, 12, 12, (), readings), "t")
    about = out["methods"]["gbt"]
    assert about["of"] == ["gbt", "cascade"]
    assert "half_width" not in about and "ablation" not in out
    assert about["figures"]["mse"] == [0.5, 0.4, None]
    assert (about["figures"]["n"], out["scale"], out["name"]) == (12, "reader: a", "t")
    json.dumps(out, allow_nan=False)


def test_a_set_with_one_width_keeps_it(models, tmp_path):
    half = 0.15
    (tmp_path / "old").mkdir()
    manifest = json.loads((models / "breast-1" / "manifest.json").read_text())
    for method in manifest["methods"].values():
        del method["interval"]
        method["half_width"] = half
    (tmp_path / "old" / "manifest.json").write_text(json.dumps(manifest))
    old = model_store.open_set("old", tmp_path)
    assert old.half_width("gbt") == half
    low, high = old.interval("gbt").limits([0.05, 0.5], None)
    assert (low[0], high[0]) == (0.0, pytest.approx(0.05 + half))
    assert (low[1], high[1]) == pytest.approx((0.5 - half, 0.5 + half))
    assert old.calibration("gbt") is None


def test_a_damaged_interval_is_told_when_the_set_is_opened(models, tmp_path):
    (tmp_path / "breast-1").mkdir()
    manifest = json.loads((models / "breast-1" / "manifest.json").read_text())
    manifest["methods"]["cascade"]["interval"] = {"scale": 3}
    (tmp_path / "breast-1" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="interval"):
        model_store.open_set("breast-1", tmp_path)


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (["0.png,0.1"] * 1, "of 1 patient, and 9 are the fewest"),
        ([f"{k}.png,{k / 40}" for k in range(10)] + ["none.png,0.4"], "There is no image"),
        ([f"{k}.png,{k / 40}" for k in range(10)] + ["copy.png,0.4"], "are the same image"),
        ([f"{k}.png,{k / 40}" for k in range(10)] + ["f.csv,0.4"], "f.csv"),
        ([f"{k}.png,{1 - k / 40}" for k in range(0, 20, 2)], "do not rise"),
    ],
)
def test_the_command_refuses_in_a_sentence(models, scored, tmp_path, capsys, rows, match):
    folder = scored[0].parent
    shutil.copy(folder / "3.png", folder / "copy.png")
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["image,score", *rows]))
    arguments = ["recalibrate", "breast-1", "--scores", str(table), "--images", str(folder)]
    assert main([*arguments, "--out", "refused", "--models-root", str(models)]) == 1
    said = capsys.readouterr().err
    assert match in said and "Traceback" not in said
    assert "refused" not in model_store.available(models)


@pytest.mark.parametrize("last", ["none.png", "again.png", "f.csv"])
def test_what_cannot_be_read_is_told_before_anything_is_scored(
    models, scored, tmp_path, monkeypatch, capsys, last
):
    folder, begun = scored[0].parent, []
    shutil.copy(folder / "3.png", folder / "again.png")
    monkeypatch.setattr(Networks, "begin", lambda _, patch: begun.append(patch))
    table = tmp_path / "t.csv"
    table.write_text(
        "\n".join(["image,score", *(f"{k}.png,0.1" for k in range(20)), f"{last},0.4"])
    )
    arguments = ["recalibrate", "breast-1", "--scores", str(table), "--images", str(folder)]
    assert main([*arguments, "--out", "refused", "--models-root", str(models)]) == 1
    assert last in capsys.readouterr().err and not begun


@pytest.mark.parametrize("name", ["../x", "a b", "", ".hidden", "x" * 65])
def test_names_that_no_folder_should_have(models, scored, capsys, name):
    arguments = [
        "recalibrate",
        "breast-1",
        "--scores",
        str(scored[0]),
        "--models-root",
        str(models),
    ]
    assert main([*arguments, "--percent", "--out", name]) == 1
    assert "cannot name a model set" in capsys.readouterr().err
