"""The shipped set, scored: order, tiling and sizes hold, and every score is of the tissue."""

from pathlib import Path

import numpy as np
import pytest

from cellularity_core import passes, tiling
from cellularity_core.conventions import METHODS
from cellularity_core.datasets import Sample
from cellularity_core.errors import ModelError
from cellularity_core.features import features
from cellularity_core.masks import tissue_mask
from cellularity_core.nuclei import point_f1
from cellularity_core.patch import Patch, load_patch, pixel_digest
from cellularity_core.points import read_points
from cellularity_core.scorer import Scorer
from cellularity_core.training.cascade import predict_cascade
from cellularity_core.training.direct import predict_direct
from cellularity_core.training.images import Loaded
from cellularity_core.training.loop import Compute
from cellularity_core.training.packaging import load_network
from cellularity_core.training.recipes import recipe


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer.open()


@pytest.fixture(scope="module")
def patches(data_root: Path) -> list[Patch]:
    files = sorted((data_root / "brca_m2c" / "images").glob("*.png"))[:5]
    return [load_patch(f.read_bytes(), f.name, 0.5) for f in files]


def made(pixels: np.ndarray, mpp: float = 0.5) -> Patch:
    pixels = np.ascontiguousarray(pixels)
    return Patch("made", pixels, mpp, "user", pixel_digest(pixels))


def test_results_are_whole_ordered_and_consistent(scorer, patches):
    results = list(scorer.score(patches))
    assert [r.image for r in results] == [p.name for p in patches]
    for patch, r in zip(patches, results, strict=True):
        assert tuple(r.scores) == METHODS
        for score in r.scores.values():
            assert 0 <= score.low <= score.value <= score.high <= 1
        assert r.activations["gbt"].shape == (4, *patch.pixels.shape[:2])
        total = r.base_value + r.contributions.sum()
        assert r.scores["gbt"].value == pytest.approx(np.clip(total, 0, 1), abs=1e-9)
        of_tissue = features(r.feature_maps["gbt"]) / tissue_mask(patch.pixels, patch.mpp).mean()
        np.testing.assert_allclose(of_tissue, r.features, rtol=1e-9)
        assert r.model_sha256 == scorer.model_set.sha256
        assert r.sha256 == patch.sha256


@pytest.fixture(scope="module")
def exact() -> Scorer:
    return Scorer.open(precision="f32")


@pytest.mark.parametrize("side", [466, 490])
def test_a_patch_ships_with_the_score_that_is_measured(exact, patches, side):
    """The card's figures are made by `predict_*` of the training, users' by the scorer."""
    patch = made(patches[1].pixels[:side, : side - 20])
    item = Loaded(Sample(Path("made.png"), "made", "p", "site"), patch.pixels)
    chosen = recipe("breast-1")
    compute = Compute.choose("cpu")
    models = exact.model_set

    def network(name):
        described = models.manifest["networks"][name]
        return load_network(described, models.file(f"{name}.safetensors")).network.eval()

    expected = {
        "cascade": predict_cascade(network("cascade"), [item], chosen.segmentation, compute),
        "direct-r": predict_direct(network("direct-r"), [item], chosen.direct, compute),
        "direct-c": predict_direct(network("direct-c"), [item], chosen.direct_classes, compute),
    }
    (found,) = exact.score([patch], maps=False)
    assert found.precision == "f32"
    for method, value in expected.items():
        assert found.scores[method].value == pytest.approx(value[0], abs=1e-3), method


def test_bfloat16_moves_no_score_far_whatever_the_size(scorer, exact, patches):
    """OpenVINO's bfloat16 is wrong where a side is odd; no network may see one."""
    sides = [(491, 491), (321, 361), (442, 401), (512, 480)]
    cut = [made(p.pixels[:h, :w]) for p, (h, w) in zip(patches, sides, strict=False)]
    for ours, reference in zip(scorer.score(cut), exact.score(cut), strict=True):
        assert ours.precision == scorer.precision and reference.precision == "f32"
        for method, score in ours.scores.items():
            assert score.value == pytest.approx(reference.scores[method].value, abs=0.03), method
        for method in ("cascade", "direct-r", "direct-c"):
            assert ours.scores[method].value == pytest.approx(
                reference.scores[method].value, abs=0.012
            ), method


def test_a_patch_scores_the_same_alone_in_a_batch_and_again(scorer, patches):
    batch = [r.scores["cascade"].value for r in scorer.score(patches, maps=False)]
    alone = [next(scorer.score([p], maps=False)).scores["cascade"].value for p in patches]
    assert batch == alone


def test_no_more_patches_are_held_than_keep_the_cores_at_work(patches):
    large = np.tile(patches[0].pixels[:330], (2, 1, 1))  # two tiles
    taken = []

    def given():
        for pixels in (large, large[::-1], large[:, ::-1], *(p.pixels for p in patches)):
            taken.append(len(taken))
            yield made(pixels)

    results = Scorer.open(threads=4, methods=["gbt"]).score(given(), maps=False)
    held = []
    for number, result in enumerate(results):
        held.append(len(taken) - number)
        assert result.height == (660 if number < 3 else patches[number - 3].height)
    # of two tiles each, three; of one tile each, one more than there are threads
    assert held[0] == 3 and held[3] == 5 and max(held) == 5


def test_a_large_patch_of_coarse_pixels_is_not_enlarged_without_end(monkeypatch, patches):
    """4096 pixels of 2 µm would be 16384 of 0.5 µm, and take 20 GB."""
    monkeypatch.setattr(passes, "LARGEST", 600)
    scorer = Scorer.open(methods=["gbt"])
    for side, mpp, expected in ((300, 1.0, 600), (300, 2.0, 600), (150, 2.0, 600), (128, 2.0, 512)):
        patch = made(patches[0].pixels[:side, :side], mpp)
        assert scorer._networks._pixels(patch).shape == (expected, expected, 3)
        result = next(scorer.score([patch]))
        assert ("out-of-scale" in result.quality.flags) == (mpp == 2.0)
        assert result.activations["gbt"].shape == (4, side, side)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_released_memory_is_given_back_and_scores_stay_the_same(scorer, patches):
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    [before] = scorer.score(patches[:1], maps=False)
    scorer.release()
    least = resident()
    for _ in range(2):  # the first round is the easier one
        [after] = scorer.score(patches[:1], maps=False)
        held = resident()
        scorer.release()
        assert held - resident() > 50e6
        assert after.scores == before.scores
    assert resident() - least < 100e6


def test_nuclei_fall_on_annotated_nuclei(scorer, patches, data_root):
    """The set learnt from these; that it misses them would be a slip of axes or scale."""
    total = None
    for r in scorer.score(patches):
        stem = r.image.removesuffix(".png")
        truth = read_points(data_root / "brca_m2c" / "labels" / f"{stem}_gt_class_coords.txt")
        counted = point_f1(truth.xy, truth.label, r.nuclei, 6.0)
        total = counted if total is None else total + counted
    assert total.f1().mean() > 0.5


def test_pixel_size_is_honoured(scorer, patches):
    """The same field at half the pixels and twice the um/px scores alike."""
    import cv2

    pixels = patches[0].pixels[:480, :480]
    fine = cv2.resize(pixels, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    a, b = scorer.score([made(pixels), made(fine, 0.25)])
    assert a.scores["gbt"].value == pytest.approx(b.scores["gbt"].value, abs=0.08)
    assert b.activations["gbt"].shape == (4, 960, 960)
    assert b.nuclei.xy.max() > 480


def test_a_large_patch_is_tiled_without_a_seam(scorer, patches):
    pixels = np.tile(patches[0].pixels[:480, :480], (2, 2, 1))
    result = next(scorer.score([made(pixels)]))
    maps = result.activations["gbt"].astype(np.float32)
    assert maps.shape == (4, 960, 960)
    for tile in tiling.plan(960, 960):
        for edge in {tile.left, tile.left + tile.width} - {0, 960}:
            step = np.abs(maps[:, :, edge] - maps[:, :, edge - 1]).mean()
            usual = np.abs(np.diff(maps, axis=2)).mean()
            assert step < 3 * usual


def test_smallest_and_oblong_patches(scorer, patches):
    pixels = patches[0].pixels
    results = list(scorer.score([made(pixels[:64, :64]), made(pixels[:64, :400])]))
    assert [r.activations["gbt"].shape for r in results] == [(4, 64, 64), (4, 64, 400)]


def test_empty_glass_has_no_score(scorer):
    result = next(scorer.score([made(np.full((256, 256, 3), 245, np.uint8))]))
    assert all(s.value is s.low is s.high is None for s in result.scores.values())
    assert not result.quality.reliable
    assert len(result.nuclei) == 0


def test_views_average(scorer, patches):
    two = Scorer.open(views=2, methods=("gbt", "direct-r"))
    one = next(scorer.score(patches[:1]))
    both = next(two.score(patches[:1]))
    assert tuple(both.scores) == ("gbt", "direct-r")
    mirrored = made(patches[0].pixels[:, ::-1])
    flipped = next(scorer.score([mirrored]))
    mean = (one.scores["direct-r"].value + flipped.scores["direct-r"].value) / 2
    # Padding falls on the other side of a mirrored patch, so only nearly.
    assert both.scores["direct-r"].value == pytest.approx(mean, abs=0.03)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"model_set": "none"}, "no model set 'none'"),
        ({"methods": ("gbt", "x")}, "no method 'x'"),
        ({"views": 9}, "choose 1 to 4"),
        ({"device": "tpu"}, "choose one of auto, cpu, cuda"),
        ({"precision": "int8"}, "choose one of auto, f32, bf16"),
    ],
)
def test_unusable_choices(arguments, match):
    with pytest.raises(ModelError, match=match):
        Scorer.open(**arguments)


def test_the_combined_score_is_the_mean_of_its_parts(scorer, patches):
    """Whichever methods are asked for; its interval is its own."""
    parts = scorer.model_set.parts("combined")
    assert len(parts) > 1
    assert "combined" not in parts
    alone = Scorer.open(methods=("combined",))
    for both, one in zip(scorer.score(patches, False), alone.score(patches, False), strict=True):
        mean = np.mean([both.scores[part].value for part in parts])
        assert both.scores["combined"].value == pytest.approx(mean, abs=1e-12)
        assert tuple(one.scores) == ("combined",)
        assert one.scores["combined"] == both.scores["combined"]
        assert len({both.scores[part].value for part in parts}) > 1


def test_methods_that_share_a_network_share_one_run_of_it(patches, monkeypatch):
    runs = []

    def spied(network, tile, axes):
        runs.append(id(network))
        return run(network, tile, axes)

    run = passes._run
    monkeypatch.setattr(passes, "_run", spied)
    both = Scorer.open(methods=("gbt", "cascade"))
    assert both.model_set.network_of("gbt") == both.model_set.network_of("cascade") == "cascade"
    result = next(both.score(patches[:1]))
    tiles = tiling.plan(*patches[0].pixels.shape[:2])
    assert len(runs) == len(tiles) * both.views
    assert len(set(runs)) == 1
    np.testing.assert_array_equal(result.activations["gbt"], result.activations["cascade"])


def test_a_patch_that_the_set_learnt_from_is_flagged(scorer, patches):
    learnt, other = patches[0], made(np.rot90(patches[0].pixels))
    with_it, without = (r.quality for r in scorer.score([learnt, other], maps=False))
    assert "learnt-from" in with_it.flags and with_it.reliable
    assert "learnt-from" not in without.flags


def test_bare_glass_beside_the_tissue_thins_out_no_score(scorer, data_root):
    """Cellularity is a share of the tissue: a patch half glass scores as its other half."""
    paths = sorted((data_root / "brca_m2c" / "images").glob("*.png"))[1::18]
    halves, glassy = [], []
    for path in paths:
        pixels = load_patch(path.read_bytes(), path.name, 0.5).pixels
        middle = pixels.shape[1] // 2
        halves.append(made(pixels[:, :middle]))
        bare = pixels.copy()
        bare[:, middle:] = (244, 243, 245)
        glassy.append(made(bare))
    both = [list(scorer.score(some, maps=False)) for some in (halves, glassy)]
    assert max(one.scores["combined"].value for one in both[0]) > 0.3
    for method in METHODS:
        half, bare = (np.array([one.scores[method].value for one in some]) for some in both)
        assert np.abs(bare - half).max() < 0.12, method
        assert abs((bare - half).mean()) < 0.05, method


def test_where_the_tumour_lies_in_a_large_patch_makes_no_difference(scorer, data_root):
    """Cut into tiles, each place counts once, in the middle and at the corners alike."""
    folder = data_root / "brca_m2c" / "images"
    high, low = (
        load_patch(next(folder.glob(f"{name}*")).read_bytes(), name, 0.5).pixels[:480, :480]
        for name in ("TCGA-A7-A426", "TCGA-A7-A13G")
    )
    middle = np.tile(low, (2, 2, 1))
    middle[240:720, 240:720] = high
    corners = np.roll(middle, (480, 480), axis=(0, 1))
    one, other = scorer.score([made(middle), made(corners)], maps=False)
    for method in METHODS:
        assert one.scores[method].value == pytest.approx(other.scores[method].value, abs=0.06)
