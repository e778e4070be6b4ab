"""Trees of a model set: what each fold's learn from."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from cellularity_core.datasets import Sample
from cellularity_core.features import FEATURE_NAMES
from cellularity_core.training import plan as stages
from cellularity_core.training.images import Loaded
from cellularity_core.training.recipes import recipe


def test_trees_of_a_fold_learn_fields_named_without_its_patients(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    items = [
        Loaded(
            Sample(Path(f"{k}.png"), f"f{k}", f"p{k}", "site", field="benign"),
            np.full((64, 64, 3), 180, np.uint8),
        )
        for k in range(12)
    ]
    (tmp_path / "maps").mkdir()
    for item in items:
        np.savez(
            tmp_path / "maps" / f"{item.sample.name}.npz",
            plain=np.zeros((4, 8, 8), np.uint8),
            views=rng.integers(0, 255, (2, 4, 32, 32)).astype(np.uint8),
            features=rng.random((2, len(FEATURE_NAMES))),
        )
    asked = []

    def named(plan, some, fold):
        asked.append((fold, [i.sample.name for i in some]))
        return list(some)

    monkeypatch.setattr(stages, "named", named)
    plan = SimpleNamespace(
        recipe=recipe("breast-1"),
        out=tmp_path,
        maps=tmp_path / "maps",
        items=items,
        fold_of=np.array([0] * 6 + [1] * 6),
        folds=2,
        seed=0,
    )
    found = stages.boosting_stage(plan)
    assert found.shape == (12,) and np.allclose(found, 0)
    names = [i.sample.name for i in items]
    assert asked == [(0, names[6:]), (1, names[:6]), (None, names)]
