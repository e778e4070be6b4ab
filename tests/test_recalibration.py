"""A reader's scale from a few scored patches: the map, its interval, its forecast."""

import csv
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recalibration_support import SCALE, reader

from cellularity_core import recalibration_card
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
from cellularity_core.errors import DataError, ModelError
from cellularity_core.readings import Readings
from cellularity_core.recalibration import scale_of

unit = st.floats(0, 1)


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


READERS = {
    "the same": lambda x: x,
    "x^0.7": lambda x: x**0.7,
    "x^1.5": lambda x: x**1.5,
    "steeper": lambda x: np.clip(0.5 + 1.5 * (x - 0.5), 0, 1),
    "x 1.3": lambda x: np.minimum(1.3 * x, 1),
    "x^2": lambda x: x**2,
    "x 0.6": lambda x: 0.6 * x,
    "0.15 + 0.7 x": lambda x: 0.15 + 0.7 * x,
}


def test_what_a_curve_gains():
    """The table of docs/recalibrate.md: held-out scores of the trees, simulated readers."""
    root, rng = Path(__file__).parents[1], np.random.default_rng(0)
    with (root / "models" / "breast-1" / "held-out.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["reference"]]
    truth = np.array([float(r["reference"]) for r in rows])
    score = np.array([float(r["gbt"]) for r in rows])
    patients = np.array([r["patient"] for r in rows])
    sizes = (9, 15, 25, 40)
    errors = np.zeros((len(READERS), len(sizes), 40, 2))  # last: without and with the curve
    for reads, by_size in zip(READERS.values(), errors, strict=True):
        for n, draws in zip(sizes, by_size, strict=True):
            for draw in draws:
                noisy = reads(truth) + rng.normal(0, 0.08, len(truth))
                given = np.round(np.clip(noisy, 0, 1) / 0.05) * 0.05
                some, others = np.split(rng.permutation(len(truth)), [n])
                curve = fit_calibration(score[some], given[some], patients[some])
                for k, found in enumerate((score, curve(score))):
                    draw[k] = np.mean((found - given)[others] ** 2)
    mean = 1e4 * errors.mean(axis=2)
    told = (root / "docs" / "recalibrate.md").read_text(encoding="utf-8").splitlines()
    table = [re.findall(r"\| (\d+)(?= )", line) for line in told if "curve" in line]
    for written, found in zip(
        filter(None, table),
        (*mean.mean(axis=0).T, *mean[0].T),
        strict=True,
    ):
        assert [float(w) for w in written] == pytest.approx(list(found), abs=1.5)
