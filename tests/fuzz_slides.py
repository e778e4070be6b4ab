"""Readers of slides, their results, models and back-ups, with seeds; see `fuzz_targets`."""

import io
import json
import math
import tempfile
from pathlib import Path

import numpy as np
import tifffile
from sqlalchemy.engine import URL

from cellularity_core import boosting
from cellularity_core.boosting import BoostedTrees
from cellularity_core.conventions import DEFAULT_SET
from cellularity_core.errors import ModelError
from cellularity_core.model_store import MANIFEST, default_root, open_set
from cellularity_core.patch import Patch, Rejected
from cellularity_core.results import Quality, Score
from cellularity_core.slides.burden import bed_cellularity
from cellularity_core.slides.cohort import entries
from cellularity_core.slides.grid import Tile
from cellularity_core.slides.reading import Slide
from cellularity_core.slides.scoring import TileResult
from cellularity_core.slides.store import Store
from db.backup import beside, restore


def refusals(found: Patch | Rejected) -> list[str]:
    """Refusals, of which a patch is none; what a patch promises is held to."""
    if isinstance(found, Rejected):
        assert found.name
        return [found.reason]
    pixels = found.pixels
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert 64 <= min(pixels.shape[:2]) <= max(pixels.shape[:2]) <= 4096
    assert 0.1 <= found.mpp <= 2
    parts = found.name.split("/")
    assert "\\" not in found.name
    assert not {"", ".", ".."} & set(parts)
    return []


# --- slides


def slides() -> list[bytes]:
    rng = np.random.default_rng(2)
    pixels = rng.integers(120, 255, (256, 320, 3), np.uint8)
    options = {"photometric": "rgb", "tile": (64, 64), "resolutionunit": "CENTIMETER"}
    made = []
    for compression in ("jpeg", None, "lzw"):
        buffer = io.BytesIO()
        with tifffile.TiffWriter(buffer) as file:
            for factor in (1, 2):
                file.write(
                    pixels[::factor, ::factor],
                    compression=compression,
                    resolution=(20_000 / factor, 20_000 / factor),
                    subfiletype=int(factor > 1),
                    description="Aperio Image Library |MPP = 0.5|AppMag = 20" * (factor == 1),
                    metadata=None,
                    **options,
                )
        made.append(buffer.getvalue())
    return made


def read_slide(data: bytes, folder: Path) -> list[str]:
    (folder / "s.svs").write_bytes(data)
    return read_at(folder / "s.svs")


def read_at(path: Path) -> list[str]:
    """A slide as the page looks at it: whole, its corners, pictures."""
    slide = Slide(path)
    try:
        overview = slide.overview()
        assert overview.nbytes < 100_000_000
        for tile in (slide.grid.tile(0, 0), slide.grid.tile(*(n - 1 for n in slide.grid.shape))):
            refusals(slide.patch(tile))
        for zoom in slide.zooms():
            slide.picture(0, 0, 256, zoom)
    finally:
        slide._file.close()
    return []


def slide_lists() -> list[bytes]:
    return [b"slide,mpp,roi\na.svs,0.25,bed.geojson\nb.svs,,\n", b"slide\na.svs\n"]


def read_slide_list(data: bytes, folder: Path) -> list[str]:
    (folder / "list.csv").write_bytes(data)
    for entry in entries([folder / "list.csv"], None, None):
        assert entry.mpp is None or 0.1 <= entry.mpp <= 2
    return []


def summaries() -> list[bytes]:
    means = {"mean": 0.3, "low": 0.2, "high": 0.4}
    region = {end: {"combined": value, "gbt": value} for end, value in means.items()}
    told = {
        "scale": "pathologist",
        "reliable": True,
        "notes": ["Fine."],
        "model_sha256": "x",
        "slide": {"sha256": "y"},
        "region": {**region, "tissue_mm2": 3.5},
    }
    return [json.dumps(told).encode()]


def read_summary(data: bytes, folder: Path) -> list[str]:
    (folder / "summary.json").write_bytes(data)
    bed = bed_cellularity([folder / "summary.json"])
    mean, (low, high) = bed.mean, bed.limits
    assert 0 <= low <= mean <= high <= 100 + 1e-9
    return []


def stores() -> list[bytes]:
    with tempfile.TemporaryDirectory() as made:
        with Store(Path(made), {"software": "x"}) as store:
            tiles = [Tile(0, column, column * 256, 0, 256, 256) for column in range(20)]
            store.plan(tiles)
            score = {"gbt": Score(0.5, 0.4, 0.6)}
            for tile in tiles[:15]:
                counts = {"normal": 1, "lymphocyte": 0, "malignant": 2}
                store.add(TileResult(tile, 0.9, score, counts, Quality((), True)))
        return [(Path(made) / "tiles.sqlite").read_bytes()]


def read_store(data: bytes, folder: Path) -> list[str]:
    (folder / "tiles.sqlite").write_bytes(data)
    with Store(folder, {"software": "x"}) as store:
        store.fact("planned")
        store.count()
        store.waiting()
        for result in store.results():
            assert 0 <= result.tissue <= 1
    return []


# --- models


def sets() -> list[bytes]:
    return [(default_root() / DEFAULT_SET / MANIFEST).read_bytes()]


def read_set(data: bytes, folder: Path) -> list[str]:
    (folder / "m").mkdir()
    (folder / "m" / MANIFEST).write_bytes(data)
    models = open_set("m", folder)
    assert math.isfinite(models.mpp)
    assert models.views
    assert models.scale
    assert models.headline is None or models.headline in models.methods
    for method in models.methods:
        models.figures(method), models.half_width(method), models.calibration(method)
        for part in models.parts(method):
            assert part == "gbt" or models.manifest["networks"][models.network_of(part)]["kind"]
    settings = models.manifest["nuclei"]
    assert len(settings["thresholds"])
    assert settings["sigma_um"] > 0
    assert settings["joint"] in (True, False)
    refused = []
    for file in models.manifest["files"]:
        try:
            models.file(file)
        except ModelError as error:
            refused.append(str(error))
    return refused


def trees() -> list[bytes]:
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "gbt.txt"
        x = rng.random((80, 81))
        boosting.train(x, x[:, 0], seed=0, rounds=5).save(path)
        return [path.read_bytes()]


def read_trees(data: bytes, folder: Path) -> list[str]:
    (folder / "gbt.txt").write_bytes(data)
    BoostedTrees.load(folder / "gbt.txt")
    return []


def recipes() -> list[bytes]:
    folder = Path(boosting.__file__).parent / "training" / "recipes"
    return [path.read_bytes() for path in sorted(folder.glob("*.toml"))]


def read_recipe(data: bytes, folder: Path) -> list[str]:
    from cellularity_core.training import recipes  # brings PyTorch along

    (folder / "own.toml").write_bytes(data)
    recipes.recipe(folder / "own.toml")
    return []


# --- records


def promises() -> list[bytes]:
    return [json.dumps({"sha256": "0" * 64, "head": {"sequence": 3, "hash": "0" * 64}}).encode()]


def read_promise(data: bytes, folder: Path) -> list[str]:
    copy = folder / "records.backup"
    copy.write_bytes(b"not records")
    beside(copy).write_bytes(data)
    try:
        restore(copy, URL.create("sqlite", database=str(folder / "new.db")))
    finally:
        assert not (folder / "new.db").exists()
    return []
