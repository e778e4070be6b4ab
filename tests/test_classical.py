"""The classical peer: machines, areas, training, storage, command."""

import dataclasses
import json
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from sklearn.svm import SVC

from cellularity_core import classical
from cellularity_core.classical import classes, training
from cellularity_core.classical.cells import calibrate
from cellularity_core.classical.features import FEATURE_NAMES, Measured
from cellularity_core.classical.peer import DESCRIPTION, NUMBERS, covered_share
from cellularity_core.classical.svm import RbfSvm, fit_sigmoid, fit_svm
from cellularity_core.cli import main
from cellularity_core.conventions import LYMPHOCYTE, MALIGNANT, NORMAL
from cellularity_core.datasets import Sample
from cellularity_core.errors import DataError, ModelError
from cellularity_core.masks import weak_cellularity
from cellularity_core.nuclei import point_f1
from cellularity_core.synthetic import synthesise
from cellularity_core.training.images import Loaded

OTHER = classes.OTHER


def made(seed: int, patient: str, *, mpp: float = 0.5, **settings: float) -> Loaded:
    patch = synthesise(seed, side=round(160 / mpp), mpp=mpp, **settings)
    sample = Sample(Path("x.png"), f"{patient}-{seed}", patient, "s", points=patch.points, mpp=mpp)
    return Loaded(sample, patch.pixels)


def as_field(item: Loaded, field: str) -> Loaded:
    return Loaded(dataclasses.replace(item.sample, points=None, field=field), item.pixels)


@pytest.fixture(scope="module")
def items() -> list[Loaded]:
    """Six patches of three patients from little to much tumour, and a benign field."""
    shares = (0.0, 0.2, 0.35, 0.5, 0.7, 0.9)
    patches = [
        made(k, "ABC"[k % 3], cellularity=share, lymphocytes=0.6, fat=0.0)
        for k, share in enumerate(shares)
    ]
    return [*patches, as_field(made(9, "D", cellularity=0.0, acini=4), "benign")]


@pytest.fixture(scope="module")
def folder(items: list[Loaded], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("peer")
    classical.train(items, seed=0, out=folder)
    return folder


@pytest.fixture(scope="module")
def peer(folder: Path) -> classical.ClassicalPeer:
    return classical.load(folder)


def test_own_decision_is_scikit_learns():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 6)).astype(np.float32)
    second = (x**2).sum(axis=1) + rng.normal(size=3000) > 6
    weight = rng.uniform(0.2, 1, 3000)
    found = fit_svm(x, second, weight, cost=2.0, gamma=0.1)
    machine = SVC(C=2.0, gamma=0.1).fit(x.astype(float), second, sample_weight=weight)
    asked = rng.normal(size=(2500, 6)).astype(np.float32)
    np.testing.assert_allclose(
        found.decision(asked), machine.decision_function(asked.astype(float)), atol=1e-9
    )
    assert ((found.decision(x) > 0) == second).mean() > 0.8
    assert found.decision(asked[:0]).shape == (0,)


def test_decision_is_the_sum_over_vectors():
    machine = RbfSvm(np.array([[0, 0], [3, 4]], np.float32), np.array([2.0, -1.0]), 0.5, 0.1)
    found = machine.decision(np.array([[0, 0]], np.float32))
    assert found[0] == pytest.approx(2 - np.exp(-0.1 * 25) + 0.5)


def test_sigmoid_rises_through_the_odds():
    rng = np.random.default_rng(2)
    score = rng.normal(size=20_000)
    second = rng.random(20_000) < 1 / (1 + np.exp(-(2 * score - 1)))
    found = fit_sigmoid(score, second)
    assert (found.slope, found.offset) == pytest.approx((2, -1), abs=0.1)
    assert found(np.array([0.5]))[0] == pytest.approx(0.5, abs=0.02)


def test_classes_by_three_machines_in_turn():
    scores = np.array([[-1, 9, 9], [1, 2, 9], [1, -1, 0.1], [1, -1, -0.1], [1, -1, -0.5]], float)
    assert classes.decide(scores, 0.0).tolist() == [OTHER, LYMPHOCYTE, MALIGNANT, NORMAL, NORMAL]
    assert classes.decide(scores, -0.4).tolist()[3:] == [MALIGNANT, NORMAL]


def test_each_machine_learns_from_the_nuclei_that_concern_it():
    label = np.array([OTHER, NORMAL, LYMPHOCYTE, MALIGNANT], np.int8)
    nucleus, lymphocyte, malignant = classes.steps_of(label)
    assert nucleus[0].tolist() == [True] * 4
    assert nucleus[1].tolist() == [False, True, True, True]
    assert lymphocyte[0].tolist() == [False, True, True, True]
    assert lymphocyte[1].tolist() == [False, False, True, False]
    assert malignant[0].tolist() == [False, True, False, True]
    assert malignant[1].tolist() == [False, False, False, True]


def blobs(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Features in which four labels lie apart, and the labels."""
    rng = np.random.default_rng(5)
    label = np.tile(np.array([OTHER, NORMAL, LYMPHOCYTE, MALIGNANT], np.int8), n // 4)
    return np.column_stack([label * 10.0, np.ones(n)]) + rng.normal(size=(n, 2)) * [1, 0], label


def test_classifier_parts_what_lies_apart(monkeypatch):
    x, label = blobs(400)
    found = classes.fit_classifier(x, label, np.ones(400), cost=1.0, kernel=1.0, seed=0)
    assert (classes.decide(found.scores(x), 0.0) == label).mean() > 0.97
    assert found.scores(x[:0]).shape == (0, 3)
    monkeypatch.setattr(classes, "MOST_NUCLEI", 100)
    few = classes.fit_classifier(x, label, np.ones(400), cost=1.0, kernel=1.0, seed=0)
    assert all(len(m.vectors) <= 100 for m in few.machines)
    assert (classes.decide(few.scores(x), 0.0) == label).mean() > 0.9


def test_a_missing_kind_is_named():
    x, label = blobs(400)
    keep = label != LYMPHOCYTE
    with pytest.raises(DataError, match="0 are on the side of 'lymphocyte'"):
        classes.fit_classifier(
            x[keep], label[keep], np.ones(keep.sum()), cost=1.0, kernel=1.0, seed=0
        )


def test_class_of_the_nearest_point_within_reach():
    xy = np.array([[0, 0], [10, 0], [20, 0], [20.5, 0]], float)
    points, label = np.array([[0, 5.9], [10, 6], [21, 0], [24, 0]], float), np.array([0, 1, 2, 1])
    found = training.nearest_labels(xy, points, label, 6.0)
    assert found.tolist() == [0, OTHER, 2, 2]
    assert training.nearest_labels(xy, points[:0], label[:0], 6.0).tolist() == [OTHER] * 4
    assert training.nearest_labels(xy[:0], points, label, 6.0).shape == (0,)


def test_balanced_accuracy_is_a_mean_of_shares():
    truth, found = np.array([-1, -1, -1, -1, 2, 2]), np.array([-1, -1, -1, 0, 2, 0])
    assert training.balanced_accuracy(truth, found) == (0.75 + 0.5) / 2


def test_line_from_area_to_cellularity():
    rng = np.random.default_rng(0)
    x = rng.random(50)
    y = 0.1 + 0.7 * x + rng.normal(0, 0.05, 50)
    found = calibrate(x, y)
    assert (found.slope, found.offset) == pytest.approx(tuple(np.polyfit(x, y, 1)))
    np.testing.assert_array_equal(found([-9, 9, np.nan]), [0, 1, np.nan])
    falls = calibrate(x, -y + 1)
    assert (falls.slope, falls.offset) == (0, pytest.approx(1 - y.mean()))
    assert calibrate([0.3, 0.3], [0.2, 0.4])(0.9) == pytest.approx(0.3)


def patch_of(features: np.ndarray, cells: np.ndarray, tissue: float) -> Measured:
    return Measured(np.zeros((len(features), 2)), features, cells, tissue, (1.0, 1.0))


def test_covered_share_sums_malignant_cells():
    found = patch_of(np.zeros((3, 1)), np.array([[1, 2, 3], [10, 20, 30], [5, 6, 7.0]]), 100.0)
    label = np.array([MALIGNANT, NORMAL, MALIGNANT], np.int8)
    assert covered_share(found, label, 4.5) == pytest.approx(0.08)
    assert np.isnan(covered_share(patch_of(np.zeros((0, 1)), np.zeros((0, 3)), 0), label[:0], 3.0))


def test_a_benign_field_has_no_malignant_nucleus_to_learn_from():
    # scores are the features themselves: no nucleus, lymphocyte, malignant, normal
    scores = np.array([[-1, 0, 0], [1, 1, 0], [1, -1, 1], [1, -1, -1]], float)
    stub = SimpleNamespace(scores=lambda features: features)
    known = [
        training.Known(
            Sample(Path("x"), name, name, "s", field=name),
            patch_of(scores, np.zeros((4, 3)), 1.0),
            None,
            float("nan"),
        )
        for name in ("benign", "malignant")
    ]
    benign, malignant = training._field_lessons(stub, known)
    assert benign.label.tolist() == [LYMPHOCYTE, NORMAL, NORMAL]
    assert malignant.label.tolist() == [LYMPHOCYTE, MALIGNANT, NORMAL]
    assert (benign.weight, malignant.weight) == (1.0, training.OWN_WORD)
    np.testing.assert_array_equal(benign.features, scores[1:])


def test_training_learns_the_synthetic_classes(items, peer):
    unseen = [
        made(30 + k, "E", cellularity=c, lymphocytes=0.6, fat=0.0)
        for k, c in enumerate((0.0, 0.5, 0.9))
    ]
    scores = peer.predict(unseen)
    truth = [weak_cellularity(i.pixels, i.points.xy, i.points.label) for i in unseen]
    assert scores.shape == (3,)
    np.testing.assert_allclose(scores, truth, atol=0.2)
    assert scores[0] < scores[1] < scores[2]
    counts = sum(
        (point_f1(i.points.xy, i.points.label, peer.nuclei(i), 6.0) for i in unseen[1:]),
        point_f1(unseen[0].points.xy, unseen[0].points.label, peer.nuclei(unseen[0]), 6.0),
    )
    assert (counts.f1() > 0.6).all()


def test_card_counts_every_outlined_nucleus(items, peer):
    card = peer.card
    pointed = [i for i in items if i.sample.points is not None]
    outlined = sum(len(classical.features.measure(i.pixels, 0.5).xy) for i in pointed)
    assert sum(card["nuclei"].values()) + card["without a point"] == outlined
    assert card["patches"] == 7
    assert card["patients"] == 4
    assert card["named in fields"] > 0
    assert peer.scale == "weak TC"


def test_loaded_peer_is_the_trained_one_and_a_second_run_its_copy(items, folder, tmp_path):
    again = classical.train(items, seed=0, out=tmp_path)
    for name in (DESCRIPTION, NUMBERS):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    loaded = classical.load(folder)
    np.testing.assert_array_equal(loaded.predict(items), again.predict(items))
    for item in items:
        a, b = loaded.nuclei(item), again.nuclei(item)
        for field in ("xy", "label", "probability", "sigma"):
            np.testing.assert_array_equal(getattr(a, field), getattr(b, field))


def test_nothing_stored_is_a_pickle(folder):
    with zipfile.ZipFile(folder / NUMBERS) as arrays:
        for name in arrays.namelist():
            header = arrays.read(name)[:128]
            assert b"'|O'" not in header
            assert header.startswith(b"\x93NUMPY")


def test_nuclei_are_described_in_pixels_of_the_patch(peer, items):
    found = peer.nuclei(items[3])
    assert len(found) > 20
    assert found.label.dtype == np.int8
    assert ((found.probability > 0) & (found.probability < 1)).all()
    height, width = items[3].pixels.shape[:2]
    assert (found.xy >= 0).all()
    assert (found.xy < [width, height]).all()
    # a radius of 2 to 8 um
    assert (found.sigma * np.sqrt(2) * 0.5 > 1.5).all()
    assert (found.sigma * np.sqrt(2) * 0.5 < 12).all()


def test_another_pixel_size_says_much_the_same(peer, items):
    item = items[4]
    twice = item.pixels.repeat(2, axis=0).repeat(2, axis=1)
    finer = Loaded(dataclasses.replace(item.sample, mpp=0.25), twice)
    np.testing.assert_allclose(peer.predict([finer]), peer.predict([item]), atol=1e-9)
    coarse, fine = peer.nuclei(item), peer.nuclei(finer)
    np.testing.assert_allclose(fine.xy, (coarse.xy + 0.5) * 2 - 0.5, atol=1e-4)
    np.testing.assert_allclose(fine.sigma, coarse.sigma * 2, rtol=1e-5)


def test_glass_has_no_score_and_bare_stroma_the_lowest(peer):
    sample = Sample(Path("x"), "x", "x", "s")
    glass = Loaded(sample, np.full((96, 96, 3), 250, np.uint8))
    stroma = Loaded(sample, np.full((96, 96, 3), (225, 160, 190), np.uint8))
    scores = peer.predict([glass, stroma])
    assert np.isnan(scores[0])
    assert scores[1] == peer.calibration(0.0)
    assert len(peer.nuclei(glass)) == len(peer.nuclei(stroma)) == 0
    assert peer.predict([]).shape == (0,)


def test_pathologists_scores_calibrate_where_there_are_any(items, tmp_path):
    def scored(item: Loaded, k: int) -> Loaded:
        sample = dataclasses.replace(
            item.sample, points=None, name=f"s{k}", scores=(0.1 + 0.05 * k, 0.1 + 0.15 * k)
        )
        return Loaded(sample, item.pixels)

    both = [*items[:6], *(scored(item, k) for k, item in enumerate(items[:6]))]
    peer = classical.train(both, seed=0, out=tmp_path)
    assert peer.scale == "pathologist"
    # their means run from 0.1 to 0.6, weak TC of the same patches from 0 to above 0.8
    assert peer.predict(items[:6]) == pytest.approx(np.linspace(0.1, 0.6, 6), abs=0.12)


def test_training_says_what_it_lacks(items, tmp_path):
    with pytest.raises(DataError, match="points of 1 patient"):
        classical.train(items[0:6:3], seed=0, out=tmp_path)
    with pytest.raises(DataError, match="points of 0 patient"):
        classical.train([], seed=0, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def broken(folder: Path, target: Path, **changes: object) -> Path:
    target.mkdir()
    description = json.loads((folder / DESCRIPTION).read_text()) | changes
    (target / DESCRIPTION).write_text(json.dumps(description))
    (target / NUMBERS).write_bytes((folder / NUMBERS).read_bytes())
    return target


def test_load_refuses_what_it_cannot_trust(folder, tmp_path):
    with pytest.raises(ModelError, match=r"holds no classical peer .*classical\.json"):
        classical.load(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="reads other features"):
        classical.load(broken(folder, tmp_path / "a", features=list(FEATURE_NAMES[1:])))
    with pytest.raises(ModelError, match="incomplete"):
        classical.load(broken(folder, tmp_path / "b", calibration={"slope": 1.0}))
    with pytest.raises(ModelError, match="incomplete"):
        classical.load(broken(folder, tmp_path / "c", radius_um=4.0))
    changed = broken(folder, tmp_path / "d")
    data = bytearray((changed / NUMBERS).read_bytes())
    data[len(data) // 2] ^= 1
    (changed / NUMBERS).write_bytes(data)
    with pytest.raises(ModelError, match=r"classical\.npz .* is damaged"):
        classical.load(changed)
    (changed / DESCRIPTION).write_text("{")
    with pytest.raises(ModelError, match=r"classical\.json .* is damaged"):
        classical.load(changed)


def test_command_holds_a_fold_and_the_test_split_out(tmp_path, monkeypatch, capsys):
    for folder in ("train", "test_patches"):
        (tmp_path / folder).mkdir()
    for name in ("train/1_1", "train/2_1", "train/3_1", "test_patches/4_1"):
        Image.fromarray(np.full((80, 80, 3), 200, np.uint8)).save(tmp_path / f"{name}.tif")
    (tmp_path / "train_labels.csv").write_text("slide,rid,y\n1,1,0.2\n2,1,0.9\n3,1,0.5\n")
    (tmp_path / "test_labels.csv").write_text("slide,rid,y\n4,1,0.2\n")
    calls = []
    monkeypatch.setattr(
        training,
        "train",
        lambda items, *, seed, out: calls.append((sorted(i.sample.patient for i in items), out)),
    )
    given = ["train", "classical", "--data", f"breastpathq:{tmp_path}", "--out", "o"]
    assert main(given) == 0
    for fold in range(3):
        assert main([*given, "--fold", str(fold)]) == 0
    assert calls[0] == (["1", "2", "3"], Path("o"))
    held_out = [{"1", "2", "3"} - set(patients) for patients, _ in calls[1:]]
    assert set.union(*held_out) == {"1", "2", "3"}
    assert sum(map(len, held_out)) == 3
    assert main([*given, "--fold", "3"]) == 1
    assert "no fold 3 of 3; give 0 to 2" in capsys.readouterr().err
