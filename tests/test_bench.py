"""The naive pipeline says what ours says; the bench measures what it names."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from cellularity_core import bench, bench_slides, naive
from cellularity_core.bench import Figure
from cellularity_core.cli import main
from cellularity_core.conventions import METHODS
from cellularity_core.engine import resolve_precision
from cellularity_core.features import features
from cellularity_core.passes import VIEWS
from cellularity_core.scorer import Scorer


def test_features_by_blob_log_are_our_features() -> None:
    rng = np.random.default_rng(1)
    maps = ndimage.gaussian_filter(rng.random((4, 90, 110)), (0, 2, 2))
    maps = ((maps - maps.min()) / np.ptp(maps)).astype(np.float32)
    np.testing.assert_allclose(naive.blob_log_features(maps), features(maps), rtol=1e-6)


@pytest.mark.filterwarnings("ignore:LightGBM binary classifier:UserWarning")
def test_the_naive_pipeline_gives_the_scorers_scores() -> None:
    views = len(VIEWS)
    scorer = Scorer.open("breast-1", device="cpu", precision="f32", views=views)
    pipeline = naive.NaivePipeline(scorer.model_set, views)
    for patch in bench.synthetic_patches(2, scorer.model_set.mpp):
        (result,) = scorer.score([patch], maps=False)
        scores, shares = pipeline.score(patch)
        assert list(scores) == list(METHODS)
        for method, score in scores.items():
            assert score == pytest.approx(result.scores[method].value, abs=1e-3), method
        np.testing.assert_allclose(shares, result.contributions, atol=1e-3)


@pytest.mark.parametrize(
    ("value", "goal", "reached"),
    [
        (0.4, "<= 0.4", True),
        (0.41, "<= 0.4", False),
        (25.0, ">= 25", True),
        (24.9, ">= 25", False),
        (float("nan"), ">= 25", False),
        (1.0, "", None),
    ],
)
def test_a_goal_is_reached_or_not(value: float, goal: str, reached: bool | None) -> None:
    assert Figure("x", value, "s", goal).reached is reached


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:LightGBM binary classifier:UserWarning")
def test_bench_measures_everything_once(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(bench, "PATCHES", 3)
    monkeypatch.setattr(bench, "WARM", 2)
    monkeypatch.setattr(bench, "BATCH", 2)
    monkeypatch.setattr(bench, "COLD_STARTS", 1)
    monkeypatch.setattr(bench, "TURNS", 1)
    monkeypatch.setattr(bench_slides, "SIDE", 1100)
    monkeypatch.setattr(bench_slides, "LARGE", 2200)
    monkeypatch.setattr(bench_slides, "SAMPLE", 2)
    target = tmp_path / "bench.json"
    assert main(["bench", "--against", "naive", "--slides", "--json", str(target)]) == 0
    assert "blob_log" in capsys.readouterr().out
    content = json.loads(target.read_text())
    figures = {figure["name"]: figure for figure in content["figures"]}
    precisions = {"f32", resolve_precision("auto", "cpu")}
    assert len(figures) == 3 + 2 + 1 + 2 + 2 * 3 * len(precisions) + 2 + 1
    for name, figure in figures.items():
        # A rate is a difference of two timings; on a busy machine it can be anything.
        assert math.isfinite(figure["value"]), name
    for name in ("difference of blob counts", "largest difference of scores"):
        (found,) = [figure for key, figure in figures.items() if key.startswith(name)]
        assert found["value"] <= 1e-3
    assert content["machine"]["cores"] >= 1
    memory = [f["value"] for name, f in figures.items() if name.startswith("peak memory")]
    assert len(memory) == 2 and all(0.1 < value < 8 for value in memory)
    (ratio,) = [f["value"] for name, f in figures.items() if name.startswith("tiles/s")]
    assert 0 < ratio < 2
