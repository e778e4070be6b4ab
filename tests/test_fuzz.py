"""Broken inputs to every reader: refused in a sentence, or read; never a crash, a hang or a leak.

A few hundred in every run, the same ones each time; all 20,000 with ``CELLULARITY_FUZZ=0``,
or others with another number there. What was found that way is below by name.
"""

import io
import json
import os
import sqlite3
import struct
import sys
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import tifffile
from fuzz_targets import TARGETS, case, seeds
from fuzz_watch import MISBEHAVING, watch
from images import WHOLE
from slide_support import FakeScorer, made_slide, scoring

from cellularity_core import datasets
from cellularity_core.agreement.ratings import RatingTable
from cellularity_core.archive import LONGEST_NAME, Rejected, members, safe_name
from cellularity_core.boosting import BoostedTrees
from cellularity_core.errors import LONGEST, DataError, ModelError, SlideError, readable
from cellularity_core.model_store import MANIFEST, open_set
from cellularity_core.patch import collect
from cellularity_core.slides.burden import bed_cellularity
from cellularity_core.slides.reading import Slide
from cellularity_core.slides.region import outlines_in
from cellularity_core.slides.run import score_slide
from cellularity_core.slides.store import FILE, Store
from cellularity_core.slides.writing import SUMMARY

ALL = "CELLULARITY_FUZZ" in os.environ
SEED = int(os.environ.get("CELLULARITY_FUZZ", "0"))


def test_there_are_20_000_and_they_are_the_same_each_time() -> None:
    assert sum(target.tries for target in TARGETS.values()) == 20_000
    assert case("image", 7) == case("image", 7) != case("image", 7, seed=1)


def test_whole_inputs_are_read(tmp_path: Path) -> None:
    """A reader that refuses everything would pass all else here."""
    for name in ("image list", "points", "ratings", "readings", "slide list", "summary", "tiles"):
        for number, whole in enumerate(seeds(name)):
            folder = tmp_path / f"{name} {number}"
            folder.mkdir()
            refused = list(TARGETS[name].read(whole, folder))
            assert len(refused) < 3, (name, refused)  # two images of the list are not there


@pytest.mark.timeout(7200 if ALL else 300)
def test_nothing_crashes_hangs_or_leaves_its_folder(tmp_path: Path) -> None:
    counts = {name: of.tries if ALL else of.quick for name, of in TARGETS.items()}
    counts = {name: count for name, count in counts.items() if count}
    for name, found in watch(counts, tmp_path, SEED).items():
        assert not found.wrong, f"{name}: {json.dumps(found.wrong[:3], indent=1)}"
        assert found.tried == counts[name]
        sys.stdout.write(
            f"{name}: {found.tried} tried, {found.refused} refused, slowest "
            f"{found.slowest:.2f} s, {found.memory / 1e6:.0f} MB\n"
        )


def test_the_watch_sees_what_goes_wrong(tmp_path: Path) -> None:
    counts = dict.fromkeys(MISBEHAVING, 1)
    for kind, found in watch(counts, tmp_path, seconds=0.6).items():
        # To fill that much memory may be slow on a busy machine, too.
        besides = {"slow"} if kind == "memory" else set()
        assert {told["kind"] for told in found.wrong} - besides == {kind}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a\nb\tc", "a b c"),
        ("\x1b[2J\x00 \u202e \ud800", "\ufffd[2J\ufffd \ufffd \ufffd"),
        ("x" * 2000 + "do this.", None),
    ],
)
def test_a_refusal_can_be_read(given: str, shown: str | None) -> None:
    text = str(DataError(given))
    text.encode()
    assert len(text) <= LONGEST
    assert text == shown or (shown is None and text.endswith("do this.") and " ... " in text)


def test_a_long_name_can_be_written(tmp_path: Path) -> None:
    name = safe_name("../" + "x" * 5000 + ".png")
    assert len(name) <= len(readable("x" * 5000, LONGEST_NAME)) == LONGEST_NAME
    assert name.endswith("xxx.png")
    (tmp_path / name).write_bytes(b"")


def test_a_label_of_a_name_too_long_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "train_labels.csv").write_text("slide,rid,y\n" + "s" * 5000 + ",1,0.5\n")
    with pytest.raises(DataError, match="holds no image"):
        datasets.load(f"breastpathq:{tmp_path}")


def test_a_repeat_of_thousands_of_digits_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("case_id,reader,score,repeat\nc1,A,0.5,0\nc1,A,0.5," + "9" * 5000 + "\n")
    with pytest.raises(DataError, match=r"line 3: repeat is .*expected 0, 1, 2"):
        RatingTable.read(path)


def test_the_same_name_thousands_of_times_takes_no_longer_each(tmp_path: Path) -> None:
    """Each tried all numbers before it: minutes for 20,000."""
    (tmp_path / "m.csv").write_text("image\n" + "gone.png\n" * 4000)
    began = time.process_time()
    names = [found.name for found in collect([tmp_path / "m.csv"])]
    assert time.process_time() - began < 3
    assert (names[0], names[1]) == ("gone.png", "m.csv/gone.png")
    assert names[-1] == "m.csv/gone (3999).png"


def _zipped(data: bytes, packing: int) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive:
        archive.writestr("a.tif", data)
    file.seek(0)
    return file


class TestBombs:
    def test_a_packing_that_bursts_is_not_unpacked(self) -> None:
        """Gigabytes in 4 kB of bzip2, said to be 1000 bytes, came out at one go."""
        file = _zipped(WHOLE["tiff-tiles"][:8] + bytes(16_000_000), zipfile.ZIP_BZIP2)
        tracemalloc.start()
        (found,) = members(file, "b.zip")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert isinstance(found, Rejected)
        assert "packed in a rare way" in found.reason
        assert peak < 5_000_000

    def test_a_png_packed_a_hundredfold_is_none(self) -> None:
        file = _zipped(WHOLE["png"] + bytes(8_000_000), zipfile.ZIP_DEFLATED)
        (found,) = members(file, "b.zip")
        assert isinstance(found, Rejected)
        assert "times its size in the ZIP, as no PNG does; export" in found.reason

    def test_unpacking_takes_the_size_of_the_image_once(self) -> None:
        file = _zipped(WHOLE["tiff-tiles"] + bytes(60_000_000), zipfile.ZIP_DEFLATED)
        tracemalloc.start()
        (found,) = members(file, "b.zip")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert not isinstance(found, Rejected)
        assert len(found[1]) > 60_000_000
        assert peak < 90_000_000


@pytest.mark.parametrize(
    "outline",
    [
        [[0, 0], [1, 0], [1, float("nan")], [0, 0]],
        [[0, 0], [1, 0], [1, 1e308], [0, 0]],
        [[0, 0], [1, 0], [1, 10**400], [0, 0]],
        [[0, 0], [1, 0]],
    ],
)
def test_an_outline_of_no_pixels_is_refused(outline: list[list[float]]) -> None:
    text = json.dumps({"type": "Polygon", "coordinates": [outline]}).encode()
    with pytest.raises(SlideError, match="is not GeoJSON with polygons"):
        outlines_in(text, "bed.geojson", 100, 100)


def test_a_bed_is_polygons_alone() -> None:
    """An outline that runs back on itself left a line behind that reached beyond the bed."""
    spike = [[10, 10], [90, 10], [90, 90], [10, 90], [10, 190], [10, 10]]
    text = json.dumps({"type": "Polygon", "coordinates": [spike]}).encode()
    bed = outlines_in(text, "bed.geojson", 200, 200).region
    assert bed.geom_type == "Polygon"
    assert bed.bounds == (10, 10, 90, 90)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\xfe", "is not text in UTF-8"),
        (b"image,label,slide_id\na\0.png,benign,1\n", "is not text in UTF-8"),
        (b"image,label,slide_id\na.png,benign,1,2\n", "line 2, has more cells than columns"),
        (b"image,label,slide_id\n" + b"a" * 140_000 + b",benign,1\n", "line 1, is not CSV"),
    ],
)
def test_bad_labels_are_refused(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "labels.csv").write_bytes(data)
    with pytest.raises(DataError, match=words):
        datasets.load(f"ucsb:{tmp_path}")


@pytest.mark.parametrize(
    "change",
    [
        {"mean": {"combined": []}},
        {"low": {}},
        {"mean": {"combined": 30}},
        {"low": {"combined": 0.35}},
        {"high": 3},
        {"high": {"combined": float("nan")}},
        {"tissue_mm2": 0},
        {"tissue_mm2": 1e308},
    ],
)
def test_a_bed_from_a_bad_summary_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    summary = json.loads(seeds("summary")[0])
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(summary))
    bed = bed_cellularity([path])
    mean, limits = bed.mean, bed.limits
    assert (mean, *limits) == pytest.approx((30, 20, 40))
    summary["region"] |= change
    path.write_text(json.dumps(summary))
    with pytest.raises(SlideError, match="no summary of a slide"):
        bed_cellularity([path])


class TestDamagedTiles:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / FILE).write_bytes(seeds("tiles")[0])
        return tmp_path

    def test_whole(self, folder: Path) -> None:
        with Store(folder, {"software": "x"}) as store:
            assert len(list(store.results())) == 15

    @pytest.mark.parametrize("result", [3, "{", "{}", "[]", b"\xff\xfe"])
    def test_a_result(self, folder: Path, result: object) -> None:
        raw = sqlite3.connect(folder / FILE)
        with raw:
            raw.execute("UPDATE tile SET result = CAST(? AS TEXT) WHERE column_ = 4", (result,))
        raw.close()
        with pytest.raises(SlideError, match=f"are damaged .*delete the file {FILE}"):  # noqa: SIM117
            with Store(folder, {"software": "x"}) as store:
                list(store.results())

    def test_a_page(self, folder: Path) -> None:
        data = bytearray((folder / FILE).read_bytes())
        for page in range(4096, len(data), 4096):
            data[page] ^= 0x55
        (folder / FILE).write_bytes(data)
        with pytest.raises(SlideError, match="are damaged"), Store(folder, {}) as store:
            store.count()


@pytest.mark.parametrize("tag", [256, 257])
def test_a_slide_with_fewer_tiles_than_its_size_needs(tmp_path: Path, tag: int) -> None:
    """Millions of pixels across with 20 tiles: the overview of nothing took minutes."""
    data = bytearray(seeds("slide")[0])
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        found = file.pages.first.tags[tag]
    data[found.offset + 2 : found.offset + 12] = struct.pack("<HII", 4, 1, 9_000_000)
    (tmp_path / "s.svs").write_bytes(data)
    with pytest.raises(SlideError, match="fewer tiles than its size needs"):
        Slide(tmp_path / "s.svs")


def test_a_damaged_summary_is_written_again(tmp_path: Path) -> None:
    made_slide(tmp_path / "s.tif", side=600)
    by = scoring(FakeScorer())
    first = score_slide(tmp_path / "s.tif", by, tmp_path / "out")
    (tmp_path / "out" / SUMMARY).write_bytes(b'{"slide": \xff')
    assert score_slide(tmp_path / "s.tif", by, tmp_path / "out") == first
    assert json.loads((tmp_path / "out" / SUMMARY).read_text()) == first


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("networks", []),
        ("networks", {"cascade": 3}),
        ("networks", {key: {"kind": []} for key in ("cascade", "direct-r", "direct-c")}),
        ("nuclei", {}),
        ("nuclei", {"thresholds": [0.1, 0.1], "sigma_um": 1, "joint": False}),
        ("headline", "none"),
        ("looks_through", {"gbt": "nothing"}),
        ("mpp", 1e9),
        ("views", 0),
    ],
)
def test_a_model_set_that_could_not_score_is_refused(
    tmp_path: Path, key: str, value: object
) -> None:
    manifest = json.loads(seeds("model set")[0])
    (tmp_path / "m").mkdir()
    path = tmp_path / "m" / MANIFEST
    path.write_text(json.dumps(manifest))
    open_set("m", tmp_path)
    path.write_text(json.dumps(manifest | {key: value}))
    with pytest.raises(ModelError, match="manifest of the model set 'm' cannot be used"):
        open_set("m", tmp_path)


class TestTrees:
    """What LightGBM reads without a check, or ends the process at."""

    def load(self, folder: Path, text: str) -> BoostedTrees:
        (folder / "gbt.txt").write_text(text)
        return BoostedTrees.load(folder / "gbt.txt")

    def test_parameters_play_no_part(self, tmp_path: Path) -> None:
        """An unknown one was a segmentation fault."""
        text = seeds("trees")[0].decode().replace("[data: ]", "[dat: ]\nleft_child=1")
        self.load(tmp_path, text).save(tmp_path / "again.txt")
        assert (tmp_path / "again.txt").read_text() == text

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("left_child=", "left_child=9"),
            ("split_feature=", "split_feature=9"),
            ("num_leaves=3", "num_leaves=9"),
            ("num_cat=0", "num_cat=1"),
            ("num_class=1", "num_class=7"),
            ("objective=regression", "objective=none"),
        ],
    )
    def test_trees_that_lead_nowhere_are_refused(self, tmp_path: Path, old: str, new: str) -> None:
        text = seeds("trees")[0].decode()
        assert old in text
        start = text.index("Tree=0")
        size = text.index("Tree=1") - start
        changed = text.replace(old, new, 1)
        grown = len(changed) - len(text)
        if start < text.index(old):
            changed = changed.replace(f"tree_sizes={size}", f"tree_sizes={size + grown}", 1)
        with pytest.raises(ModelError, match="is damaged or no LightGBM model"):
            self.load(tmp_path, changed)
