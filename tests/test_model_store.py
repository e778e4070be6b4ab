"""The shipped set: its size and cards, and that a damaged one is refused."""

import json
import shutil

import pytest

from cellularity_core import model_store
from cellularity_core.conventions import METHODS
from cellularity_core.errors import ModelError
from cellularity_core.scorer import Scorer
from cellularity_core.training.packaging import load_network


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: b"\xff" * 8 + data[8:],
        lambda data: data.replace(b'"F16"', b'"F99"', 1),
        lambda data: data.replace(b"conv_stem", b"conv_stam", 1),
        lambda data: data.replace(b'"shape":[32,3,3,3]', b'"shape":[3,32,3,3]', 1),
    ],
    ids=["empty", "short", "header", "kind", "name", "shape"],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, damage):
    models = model_store.open_set()
    whole = models.file("direct-r.safetensors").read_bytes()
    damaged = damage(whole)
    assert damaged != whole
    (tmp_path / "direct-r.safetensors").write_bytes(damaged)
    with pytest.raises(ModelError, match="restore the model set"):
        load_network(models.manifest["networks"]["direct-r"], tmp_path / "direct-r.safetensors")


@pytest.mark.parametrize("name", ["gbt.txt", "cascade.safetensors", "direct-c.onnx"])
def test_an_altered_file_is_refused(tmp_path, name):
    source = model_store.open_set().folder
    shutil.copytree(source, tmp_path / "breast-1")
    path = tmp_path / "breast-1" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match=f"{name}.*altered or damaged"):
        Scorer.open(root=tmp_path)


def test_a_broken_manifest_is_refused(tmp_path):
    (tmp_path / "breast-1").mkdir()
    (tmp_path / "breast-1" / "manifest.json").write_text(json.dumps({"files": {}}))
    with pytest.raises(ModelError, match=r"manifest .* cannot be used"):
        model_store.open_set("breast-1", tmp_path)


def test_the_shipped_set_is_small_and_has_its_cards():
    chosen = model_store.open_set()
    assert sum(p.stat().st_size for p in chosen.folder.iterdir()) < 60e6
    for name in ("README", "segmentation", "gbt", "cascade", "direct-r", "direct-c"):
        card = (chosen.folder / f"{name}.md").read_text()
        assert "Research use only" in card
        assert "weak TC" in card
    for method in METHODS:
        assert chosen.figures(method)["n"] > 20
        assert 0 < chosen.half_width(method) < 0.6
