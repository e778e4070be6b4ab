"""A reader's scale from a few scored patches: the map, its interval, the set it makes."""

import contextlib
import csv
import dataclasses
import io
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slide_support import made_slide

from cellularity_core import model_store, recalibration_card
from cellularity_core.calibration import (
    KNOTS,
    Calibration,
    CurvePoint,
    check_readings,
    empty_thirds,
    fit_calibration,
    fit_method,
    floor_of,
    learning_curve,
    left_out,
    patients_needed,
)
from cellularity_core.cli import main
from cellularity_core.conventions import WEAK_SCALE
from cellularity_core.errors import DataError, ModelError
from cellularity_core.patch import load_patch
from cellularity_core.rcb import Burden, rcb
from cellularity_core.readings import Readings
from cellularity_core.recalibration import Method, Recalibration, manifest_of, scale_of
from cellularity_core.scorer import Scorer
from cellularity_core.synthetic import synthesise
from cellularity_core.uncertainty import SCALES

SCALE = SCALES["score"]
unit = st.floats(0, 1)


def reader(truth: np.ndarray) -> np.ndarray:
    """A reader who gives less than the model in the middle."""
    return np.asarray(truth) ** 1.6


@given(st.lists(st.tuples(unit, unit), min_size=1, max_size=40), st.lists(unit, min_size=2))
def test_every_map_is_monotone_within_the_unit_interval(pairs, scores):
    x, y = np.array(pairs).T
    made = fit_calibration(x, y, [str(k % 7) for k in range(len(x))])
    mapped = made(np.sort(scores))
    assert (np.diff(mapped) >= -1e-12).all()
    assert mapped.min() >= 0 and mapped.max() <= 1
    assert Calibration.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_the_fit_is_the_minimum_of_what_it_says():
    """Against a general-purpose optimiser on the stated sum, patients weighing one."""
    from scipy.optimize import minimize

    rng = np.random.default_rng(0)
    x = rng.uniform(size=24)
    y = np.clip(0.2 + 0.7 * reader(x) + rng.normal(0, 0.1, 24), 0, 1)
    who = np.array([0] * 10 + list(range(1, 15)))

    def loss(v):
        miss = (np.interp(x, KNOTS, v) - y) ** 2
        fit = sum(miss[who == k].mean() for k in np.unique(who))
        bends = v[:-2] - 2 * v[1:-1] + v[2:]
        return fit + 0.3 * ((v - KNOTS) ** 2).sum() + 1.2 * (bends**2).sum()

    found = np.array(fit_calibration(x, y, who).y)
    best = minimize(
        loss,
        KNOTS,
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-14, "maxiter": 9000, "maxfev": 9000},
    )
    assert (np.diff(best.x) > 0).all() and best.x[0] > 0
    np.testing.assert_allclose(found, best.x, atol=1e-4)


def test_few_patches_change_little_and_many_say_it_all():
    rng = np.random.default_rng(1)
    grid = np.linspace(0, 1, 41)
    off = {}
    for n in (1, 30, 3000):
        x = rng.uniform(size=n)
        made = fit_calibration(x, reader(x), range(n))
        off[n] = np.abs(made(grid) - reader(grid)).max()
        if n == 1:
            assert np.abs(made(grid) - grid).max() < 0.1
    assert off[3000] < 0.02 and off[3000] < off[30] < off[1]


def test_agreement_with_the_reader_leaves_scores_as_they_are():
    x = np.linspace(0, 1, 20)
    np.testing.assert_allclose(fit_calibration(x, x, range(20))(x), x, atol=1e-9)


def test_no_patient_helps_to_map_itself():
    rng = np.random.default_rng(2)
    x, y = rng.uniform(size=(2, 20))
    who = np.repeat(np.arange(10), 2)
    mapped = left_out(x, y, who)
    rest = who != 3
    assert mapped[~rest] == pytest.approx(fit_calibration(x[rest], y[rest], who[rest])(x[~rest]))


def test_the_interval_holds_a_new_patients_score():
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(150):
        score = rng.uniform(size=30)
        given_by_reader = np.clip(reader(score) + rng.normal(0, 0.08, 30), 0, 1)
        made, interval, _ = fit_method(score[:18], given_by_reader[:18], range(18), SCALE)
        low, high = interval.limits(made(score[18:]), None)
        covered.append(np.mean((low <= given_by_reader[18:]) & (given_by_reader[18:] <= high)))
    assert 0.88 < np.mean(covered) < 0.97


def test_beyond_what_a_reader_scored_the_interval_is_open():
    """A reader of half the model's scores, who scored low patches only."""
    rng = np.random.default_rng(5)
    low_only = rng.uniform(0, 0.25, 20)
    given_by_reader = np.clip(0.5 * low_only + rng.normal(0, 0.02, 20), 0, 1)
    made, interval, _ = fit_method(low_only, given_by_reader, range(20), SCALE)
    made = Calibration.from_json(json.loads(json.dumps(made.to_json())))
    assert made.fitted == (low_only.min(), low_only.max())
    for score in np.linspace(0.5, 1, 11):
        low, high = made.limits(score, None, interval)
        assert made.is_beyond(score) and low < 0.5 * score and high == 1
    mirrored = Calibration(made.x, made.y, (0.75, 1.0))
    assert mirrored.limits(0.2, None, interval)[0] == 0
    assert not made.is_beyond(0.2)
    assert made.limits(0.2, None, interval) == pytest.approx(interval.limits(made(0.2), None))
    assert empty_thirds(low_only) == ("middle", "high")


def test_forecast_by_hand():
    curve = [CurvePoint(10, 0.2), CurvePoint(20, 0.15), CurvePoint(40, 0.125)]
    # 0.1 + 1 / patients
    assert floor_of(curve) == pytest.approx(0.1)
    assert patients_needed(curve, 0.12) in (50, 51)
    assert patients_needed(curve, 0.099) is None
    assert patients_needed(curve, 0.4) == 9
    assert floor_of([CurvePoint(10, 0.2), CurvePoint(20, 0.25)]) == 0.2


@pytest.mark.parametrize(
    ("patients", "wanted", "words"),
    [
        ((10, 15, 20), 0.12, "cannot be told from 20 patients; ask again with 30"),
        ((10, 15, 20), None, "cannot be told from 20 patients"),
        ((10, 20, 40), 0.12, "needs about 5"),
        ((10, 20, 40), 0.3, "is reached"),
        ((10, 20, 40), 0.09, "seems out of reach: the widths so far level out near 10"),
    ],
)
def test_a_forecast_says_no_more_than_the_widths_do(patients, wanted, words):
    curve = [CurvePoint(n, 0.1 + 1 / n) for n in patients]
    assert words in recalibration_card._forecast(SimpleNamespace(curve=curve), wanted)


def test_a_forecast_never_asks_for_fewer_patients_than_there_are():
    noisy = [CurvePoint(10, 0.3), CurvePoint(20, 0.12), CurvePoint(40, 0.16)]
    said = recalibration_card._forecast(SimpleNamespace(curve=noisy), 0.155)
    assert int(re.search(r"about (\d+) patients", said)[1]) > 40


def test_the_learning_curve_falls_to_the_readers_own_noise():
    rng = np.random.default_rng(4)
    x = rng.uniform(size=120)
    y = np.clip(reader(x) + rng.normal(0, 0.05, 120), 0, 1)
    curve = learning_curve(x, y, range(120), SCALE, repeats=4)
    assert [curve[0].patients, curve[-1].patients] == [9, 120]
    assert curve[-1].half_width < curve[0].half_width
    # 1.64 standard deviations of the noise, which the ends of the scale cut
    assert 0.05 < curve[-1].half_width < 0.1


@pytest.mark.parametrize(
    ("score", "given_by_reader", "match"),
    [
        (np.linspace(0, 1, 8), np.linspace(0, 1, 8), "of 8 patients, and 9 are the fewest"),
        (np.linspace(0, 1, 12), np.full(12, 0.4), r"run from 0\.40 to 0\.40 only"),
        (np.linspace(0, 1, 12), np.linspace(1, 0, 12), "do not rise with the reader's"),
        (np.full(12, 0.5), np.linspace(0, 1, 12), "do not rise with the reader's"),
    ],
)
def test_readings_without_a_scale_are_refused(score, given_by_reader, match):
    with pytest.raises(DataError, match=match):
        check_readings(score, given_by_reader, range(len(score)))


@pytest.mark.parametrize(
    "given_map",
    [
        {},
        {"x": [0, 1], "y": [0.5, 0.2]},
        {"x": [0, 1], "y": [0, 1.5]},
        {"x": [0, 0.5], "y": [0, 1]},
        {"x": [0, 0.5, 0.5, 1], "y": [0, 0, 1, 1]},
        {"x": [0, 1], "y": [0, 0.5, 1]},
        {"x": [0, "a"], "y": [0, 1]},
    ],
)
def test_a_map_that_is_none_is_refused(given_map):
    with pytest.raises(ModelError, match="restore the set's folder"):
        Calibration.from_json(given_map)


@pytest.mark.parametrize(
    ("text", "percent", "match"),
    [
        ("image,note\na.png,3\n", False, "no column score; expected image, score"),
        ("image,score\n", False, "no score below the first line"),
        ("image,score\na.png,47\n", False, "outside 0 to 1; for scores in per cent say so"),
        ("image,score\na.png,147\n", True, "outside 0 to 100"),
        ("image,score\na.png,high\n", False, 'line 2: score is "high", which is no number'),
        ("image,score\na.png,nan\n", False, "line 2: the score is nan"),
        ("image,score\n,0.2\n", False, "line 2: image is empty"),
        ("image,score\na.png,0.2\na.png,0.3\n", False, "line 3: a.png is at line 2 already"),
        ("image,score\na.png,0.2,9\n", False, "more cells than columns"),
        ("image,score,mpp\na.png,0.2,40\n", False, "a patch has 0.1 to 2"),
    ],
)
def test_unusable_files_of_scores(tmp_path, text, percent, match):
    path = tmp_path / "f.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=match):
        Readings.read(path, percent=percent)


def test_scores_are_read_as_agreement_reads_them(tmp_path):
    path = tmp_path / "f.csv"
    path.write_text("Image;score;patient_id;mpp;seen\na.png;40;p;0.25;x\nb.png;;p;;\nc.png;5;;;\n")
    found = Readings.read(path, percent=True)
    first, second = found.rows
    assert (first.image, first.score, first.patient, first.mpp) == (
        tmp_path / "a.png",
        0.4,
        "p",
        0.25,
    )
    assert (second.score, second.patient, second.mpp) == (0.05, "c.png", None)
    assert (found.without_score, found.names_patients, found.ignored) == (1, False, ("seen",))


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 61])
def test_a_scale_needs_a_name(name):
    with pytest.raises(DataError, match="1 to 60 printable characters"):
        scale_of(name)


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
        writer.writerows([n, 100 * v, f"p{k}", 0.5] for k, (n, v) in enumerate(wanted.items()))
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
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main([*arguments, "--half-width", "0.3"]) == 0
    return arguments, said.getvalue()


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
