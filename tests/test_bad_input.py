"""What cannot be a patch gets one sentence; folders and ZIPs of good and bad files."""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from images import FIELD, SMOOTH, WHOLE, bare_jpeg, bare_png, png, save, tiff
from PIL import Image

from cellularity_core.errors import CellularityError, PatchError
from cellularity_core.patch import Patch, Rejected, collect, load_all, load_patch


class TestBadInput:
    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (b"", r"bad\.png is empty \(0 bytes\); copy or export"),
            (b"hello, this is a letter", "is not an image; give PNG, JPEG or TIFF"),
            (bytes(5000), "is not an image; give PNG"),
            (png()[:2000], "is a PNG that is damaged, breaks off"),
            (png()[:20], "is a PNG that is damaged, breaks off"),
            (
                png()[:8] + bytes(60),
                r"is a PNG that is damaged.*\(cannot identify image file\); copy it",
            ),
            (WHOLE["jpeg"][:300], "is a JPEG that is damaged, breaks off"),
            (WHOLE["jpeg"][: len(WHOLE["jpeg"]) // 2 + 200], "is a JPEG that is damaged"),
            (WHOLE["tiff-strips"][:5000], "TIFF that"),
            (tiff(photometric="rgb")[:9000], "TIFF that breaks off or lacks parts; copy"),
            (b"II*\0", "is a TIFF that is damaged"),
            (b"\xff\xd8\xff", "is a JPEG that is damaged"),
            (bare_png(50_000, 50_000), "is 50000 x 50000 pixels, more than the 4096.*crop it"),
            (bare_jpeg(50_000, 50_000), "is 50000 x 50000 pixels, more than the 4096"),
            (bare_png(4097, 100), "is 4097 x 100 pixels, more than the 4096"),
            (png(FIELD[:63]), "is 96 x 63 pixels, less than the 64.*larger field"),
            (tiff(FIELD[:, :20], photometric="rgb"), "is 20 x 70 pixels, less than the 64"),
            (bare_png(0, 0), "is 0 x 0 pixels, less than"),
            (save(Image.fromarray(FIELD), "GIF"), "is a GIF, which is not read; export it as PNG"),
            (save(Image.fromarray(FIELD), "BMP"), "is a BMP, which is not read"),
            (save(Image.fromarray(FIELD), "WEBP"), "is a WebP, which is not read"),
            (b"%PDF-1.7", "is a PDF, which is not read"),
            (b"\0\0\0\x18ftypheic", "is a HEIF or video file, which"),
            (bytes(128) + b"DICM", "is a DICOM file, which is not read"),
            (b"PK\x03\x04 and so on", "is a ZIP within another file; unpack it"),
            (
                save(
                    Image.fromarray(FIELD),
                    "PNG",
                    save_all=True,
                    append_images=[Image.fromarray(255 - FIELD)],
                ),
                "is an animation; export one frame",
            ),
            (tiff(np.zeros((5, 70, 96), np.uint8), planarconfig="separate", photometric="rgb"),
             "holds 5 channels"),
            (tiff(photometric="rgb", compression="webp"), r"compression 50001\); save it with LZW"),
            (tiff(photometric="cielab"), r"photometric 8\); save it as an RGB"),
            (tiff(FIELD.astype(np.complex64), photometric="rgb"), "is a TIFF that is damaged"),
        ],
    )  # fmt: skip
    def test_says_what_to_do_in_one_sentence(self, data: bytes, words: str) -> None:
        with pytest.raises(PatchError, match=words) as caught:
            load_patch(data, "bad.png")
        text = str(caught.value)
        assert text.startswith("bad.png ")
        assert text.endswith(".")
        assert "\n" not in text

    def test_content_decides_not_the_extension(self) -> None:
        np.testing.assert_array_equal(load_patch(png(), "a.jpg").pixels, FIELD)
        np.testing.assert_array_equal(load_patch(tiff(photometric="rgb"), "a.png").pixels, FIELD)

    def test_a_huge_tiff_is_refused_from_its_header(self) -> None:
        data = bytearray(tiff(photometric="rgb", compression="lzw"))
        with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
            for code in (256, 257):
                at = file.pages.first.tags[code].valueoffset
                data[at : at + 2] = struct.pack("<H", 50_000)
        with pytest.raises(PatchError, match="is 50000 x 50000 pixels"):
            load_patch(bytes(data), "huge.tif")

    def test_a_strip_that_unpacks_to_far_more_stays_bounded(self) -> None:
        """A deflate strip of 200 MB for 20 kB of pixels is cut or refused, not unpacked."""
        data = bytearray(tiff(photometric="rgb", compression="zlib"))
        bomb = zlib.compress(bytes(200_000_000), 9)
        with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
            tags = file.pages.first.tags
            for code, value in ((273, len(data)), (279, len(bomb))):
                tag = tags[code]
                form = {3: "<H", 4: "<I"}[int(tag.dtype)]
                if form == "<H":
                    data[tag.offset + 2 : tag.offset + 4] = struct.pack("<H", 4)
                    form = "<I"
                data[tag.valueoffset : tag.valueoffset + 4] = struct.pack(form, value)
        import tracemalloc

        tracemalloc.start()
        try:
            patch = load_patch(bytes(data) + bomb, "bomb.tif")
        except PatchError:
            patch = None
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20_000_000
        assert patch is None or patch.pixels.max() == 0

    def test_a_jpeg_tile_larger_than_it_may_be(self) -> None:
        data = WHOLE["tiff-jpeg"]
        frame = struct.pack(">HH", 64, 64)
        assert frame in data
        forged = data.replace(frame, struct.pack(">HH", 60_000, 60_000))
        with pytest.raises(PatchError, match="breaks off or lacks parts"):
            load_patch(forged, "forged.tif")

    def test_warnings_of_pillow_stay_inside(self) -> None:
        exif = Image.Exif()
        exif[274] = 1
        broken = exif.tobytes()[:-9] + b"\xff" * 9
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            load_patch(save(Image.fromarray(SMOOTH), "JPEG", exif=broken), "a.jpg")
        assert not seen


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A whole file with bytes overwritten, cut out or cut off."""
    data = bytearray(WHOLE[draw(st.sampled_from(sorted(WHOLE)))])
    for _ in range(draw(st.integers(0, 6))):
        near = draw(st.sampled_from([64, 600, len(data)]))
        for side in (0, 1):
            at = draw(st.integers(0, min(near, len(data) - 1)))
            at = len(data) - 1 - at if side else at
            new = draw(st.binary(max_size=6))
            data[at : at + len(new)] = new
    if draw(st.booleans()):
        at = draw(st.integers(0, len(data)))
        del data[at : at + draw(st.integers(0, 200))]
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@settings(max_examples=400, deadline=None)
@given(data=st.one_of(damaged(), st.binary(max_size=400)))
@example(b"II*\0\x08\0\0\0")
def test_no_bytes_raise_anything_but_a_patch_error(data: bytes) -> None:
    try:
        patch = load_patch(data, "x")
    except CellularityError as error:
        message = str(error)
    else:
        message = None
    if message is not None:
        assert message.startswith("x ")
        return
    assert patch.pixels.dtype == np.uint8
    assert patch.pixels.ndim == 3
    assert patch.pixels.shape[2] == 3
    assert min(patch.pixels.shape[:2]) >= 64
    assert max(patch.pixels.shape[:2]) <= 4096
    assert 0.1 <= patch.mpp <= 2


def names(items: Iterator[Patch | Rejected]) -> list[tuple[str, bool]]:
    """Names in order, and whether each is a patch."""
    return [(item.name, isinstance(item, Patch)) for item in items]


class TestCollect:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        root = tmp_path / "case 7"
        (root / "sub" / "deep").mkdir(parents=True)
        (root / ".git").mkdir()
        (root / "b.png").write_bytes(png())
        (root / "a.tif").write_bytes(tiff(photometric="rgb"))
        (root / "sub" / "b.png").write_bytes(png(255 - FIELD))
        (root / "sub" / "deep" / "broken.png").write_bytes(png()[:900])
        (root / "notes.txt").write_text("not an image")
        for hidden in (".DS_Store", "._a.tif", ".git/x.png", "Thumbs.db"):
            (root / hidden).write_bytes(b"x")
        return root

    def test_folder_in_order_and_on_after_errors(self, folder: Path) -> None:
        items = list(collect([folder]))
        assert names(iter(items)) == [
            ("a.tif", True),
            ("b.png", True),
            ("notes.txt", False),
            ("sub/b.png", True),
            ("sub/deep/broken.png", False),
        ]
        assert isinstance(items[2], Rejected)
        assert items[2].reason.startswith("notes.txt is not an image")

    def test_single_files_with_the_same_name(self, folder: Path) -> None:
        paths = [folder / "b.png", folder / "sub" / "b.png", folder / "b.png"]
        assert [i.name for i in collect(paths)] == ["b.png", "sub/b.png", "case 7/b.png"]
        again = [folder / "b.png"] * 3
        assert [i.name for i in collect(again)] == ["b.png", "case 7/b.png", "case 7/b (2).png"]

    def test_missing_and_empty(self, tmp_path: Path) -> None:
        (tmp_path / "none").mkdir()
        missing, empty = collect([tmp_path / "gone.png", tmp_path / "none"])
        assert missing == Rejected("gone.png", "gone.png is not there; check the path.")
        assert isinstance(empty, Rejected)
        assert "none is a folder with no files in it" in empty.reason

    def test_one_image_at_a_time(self, folder: Path) -> None:
        items = collect([folder])
        assert next(items).name == "a.tif"
        (folder / "b.png").write_bytes(b"")
        second = next(items)
        assert isinstance(second, Rejected)
        assert "b.png" in second.reason

    def test_manifest(self, folder: Path) -> None:
        manifest = folder / "MANIFEST.csv"
        manifest.write_text(
            "\ufeffpatient,Image,mpp\np1,b.png,0.25\np2,sub/b.png,\np3,gone.png,0.5\n"
            "p4,a.tif,353\np5,a.tif,wide\np6,../case 7/a.tif,1\n\n"
        )
        items = list(collect([manifest], mpp=0.4))
        assert names(iter(items)) == [
            ("b.png", True),
            ("sub/b.png", True),
            ("gone.png", False),
            ("a.tif", False),
            ("MANIFEST.csv/a.tif", False),
            ("case 7/a.tif", True),
        ]
        assert [i.mpp for i in items if isinstance(i, Patch)] == [0.25, 0.4, 1.0]
        assert {i.mpp_source for i in items if isinstance(i, Patch)} == {"user"}
        reasons = [i.reason for i in items if isinstance(i, Rejected)]
        assert "is not there" in reasons[0]
        assert "353 µm/px was given for a.tif" in reasons[1]
        assert "'wide', which is no number" in reasons[2]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (b"", "has the columns none"),
            (b"file,mpp\na.png,1\n", "columns file, mpp and needs 'image'"),
            (b"image\n", "lists no images"),
            (b'image\n"a' + b"b" * 200_000 + b'"\n', "not a readable CSV"),
        ],
    )
    def test_bad_manifest(self, tmp_path: Path, text: bytes, words: str) -> None:
        (tmp_path / "m.csv").write_bytes(text)
        (item,) = collect([tmp_path / "m.csv"])
        assert isinstance(item, Rejected)
        assert words in item.reason

    def test_an_image_named_csv_is_an_image(self, tmp_path: Path) -> None:
        (tmp_path / "m.csv").write_bytes(png())
        assert names(collect([tmp_path / "m.csv"])) == [("m.csv", True)]

    def test_real_folder(self, data_root: Path) -> None:
        items = collect([data_root / "ucsb_breast"])
        counts = [isinstance(item, Patch) for item in items]
        assert (sum(counts), len(counts)) == (34, 35)

    def test_upload_of_one_file(self) -> None:
        assert names(load_all(png(), "up.png")) == [("up.png", True)]
        assert names(load_all(b"", "up.png")) == [("up.png", False)]
