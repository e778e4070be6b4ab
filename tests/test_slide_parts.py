"""The files of a slide: what OpenSlide reads of it, and what tells that it was replaced."""

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path

import fuzz_formats as formats
import numpy as np
import pytest
from PIL import Image
from slide_support import FakeScorer, scoring

from cellularity_core.cluster.scorer import SlideFile
from cellularity_core.errors import SlideError
from cellularity_core.slides import cohort, parts
from cellularity_core.slides.reading import Slide
from cellularity_core.slides.run import score_slide
from pages.parts import slide_source

PIXELS = np.random.default_rng(4).integers(90, 200, (512, 1024, 3), np.uint8)
UNDEFINED = struct.pack("<I", 0xFFFFFFFF)


def jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(
        buffer, "JPEG", quality=80, subsampling=0, restart_marker_blocks=32
    )
    return buffer.getvalue()


def vms(folder: Path) -> list[Path]:
    """A slide of Hamamatsu's in four files, and a macro image that is not read."""
    lines = {
        "NoLayers": 1,
        "NoJpegColumns": 1,
        "NoJpegRows": 1,
        "ImageFile": "s image.jpg",
        "MapFile": "s_map.jpg",
        "OptimisationFile": "s.opt",
        "MacroImage": "s_macro.jpg",
        "PhysicalWidth": 512_000,
        "PhysicalHeight": 256_000,
        "SourceLens": 20,
    }
    text = "".join(f"{name}={value}\r\n" for name, value in lines.items())
    (folder / "s.vms").write_text(f"[Virtual Microscope Specimen]\r\n{text}", newline="")
    (folder / "s image.jpg").write_bytes(jpeg(PIXELS))
    (folder / "s_map.jpg").write_bytes(jpeg(PIXELS[::4, ::4]))
    (folder / "s_macro.jpg").write_bytes(jpeg(PIXELS[::8, ::8]))
    (folder / "s.opt").write_bytes(bytes(40))
    return [folder / name for name in ("s.vms", "s image.jpg", "s.opt", "s_map.jpg")]


def mrxs(folder: Path) -> list[Path]:
    (folder / "s").mkdir()
    names = []
    for name, data in formats._unpacked(formats.mrxs()[0]).items():
        (folder / name).write_bytes(data)
        names.append(folder / name)
    return [folder / "s.mrxs", *sorted(p for p in names if p.name != "s.mrxs")]


def dicom(folder: Path) -> list[Path]:
    """A slide and its label, which are one series; and a file of another beside them."""
    [slide] = formats.dicom()
    label = slide.replace(b"VOLUME\\NONE", b"LABEL\\NONE ").replace(b"1.2.3.4\0", b"1.2.3.9\0")
    for name, data in (
        ("b.dcm", slide),
        ("a without ending", label),
        ("c.dcm", slide.replace(b"1.2.3.6\0", b"1.2.3.7\0")),
    ):
        (folder / name).write_bytes(data)
    (folder / "notes.txt").write_text("1.2.3.6")
    return [folder / "a without ending", folder / "b.dcm"]


@pytest.mark.parametrize("make", [vms, mrxs, dicom])
def test_a_slide_is_told_from_another_by_each_file_that_it_consists_of(
    make: Callable[[Path], list[Path]], tmp_path: Path
) -> None:
    files = make(tmp_path)
    named = next(file for file in files if file.suffix)
    found = parts.parts(named)
    assert [file.name for file in found] == [file.name for file in files]
    before, stamp, key = parts.checksum(named), parts.stamp(named), slide_source._key(named)
    for file in sorted(tmp_path.rglob("*")):
        if not file.is_file():
            continue
        content, times = file.read_bytes(), file.stat().st_mtime_ns
        file.write_bytes(content + b" ")
        assert (parts.checksum(named) != before) is (file in found), file
        assert (parts.stamp(named) != stamp) is (file in found), file
        assert (slide_source._key(named) != key) is (file in found), file
        file.write_bytes(content)
        os.utime(file, ns=(times, times))
    assert (parts.checksum(named), parts.stamp(named)) == (before, stamp)


def test_openslide_reads_these_slides_and_a_run_knows_its_own(tmp_path: Path) -> None:
    image = vms(tmp_path)[1]
    slide = Slide(tmp_path / "s.vms")
    assert (slide.width, slide.height, slide.mpp) == (1024, 512, 0.5)
    file = SlideFile.of(slide)
    out = tmp_path / "out"
    score_slide(slide.path, scoring(FakeScorer()), out, any_stain=True)
    score_slide(slide.path, scoring(FakeScorer()), out, any_stain=True)
    image.write_bytes(jpeg(PIXELS[::-1]) + bytes(9))
    with pytest.raises(SlideError, match="holds the results of another slide"):
        score_slide(slide.path, scoring(FakeScorer()), out, any_stain=True)
    with pytest.raises(SlideError, match="is another file on the machine"):
        file.open()


def test_files_of_one_dicom_series_are_one_slide_whichever_is_named(tmp_path: Path) -> None:
    label, slide = dicom(tmp_path)
    assert parts.checksum(label) == parts.checksum(slide)
    assert parts.stamp(label) == parts.stamp(slide)
    label.rename(tmp_path / "a.dcm")
    names = [entry.path.name for entry in cohort.entries([tmp_path], None, None)]
    assert names == ["a.dcm", "c.dcm"]


def test_the_series_is_that_of_the_file_and_of_none_that_it_refers_to(tmp_path: Path) -> None:
    series = formats._element(0x0020, 0x000E, "UI", b"9.9")
    item = struct.pack("<HH", 0xFFFE, 0xE000)
    ends = [struct.pack("<HHI", 0xFFFE, number, 0) for number in (0xE00D, 0xE0DD)]
    start = struct.pack("<HH2sH", 0x0008, 0x1115, b"SQ", 0) + UNDEFINED
    inner = start + item + UNDEFINED + series + ends[0] + ends[1]
    [plain] = formats.dicom()
    at = plain.index(struct.pack("<HH", 0x0020, 0x000D))
    for refers in (
        formats._sequence(0x0008, 0x1115, series),
        start + formats._item(series) + ends[1],
        start + item + UNDEFINED + inner + series + ends[0] + ends[1],
    ):
        path = tmp_path / "s.dcm"
        path.write_bytes(plain[:at] + refers + plain[at:])
        assert parts.series(path) == "1.2.3.6"
    for broken in (b"", plain[:200], bytes(128) + b"DICM" + bytes(1 << 20)):
        path.write_bytes(broken)
        assert parts.series(path) is None


def test_a_slide_that_is_gone_or_names_files_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="or a file that it consists of cannot be read"):
        parts.stamp(tmp_path / "gone.svs")
    inner = tmp_path / "in"
    inner.mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"x")
    (inner / "s.vms").write_text("ImageFile=../secret.jpg\nMapFile=none.jpg\nImageFile(1,0)=\n")
    assert parts.parts(inner / "s.vms") == [inner / "s.vms"]
