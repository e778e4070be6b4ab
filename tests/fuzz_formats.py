"""Slides as scanners write them, made by hand: NDPI, SVS with a label, MRXS and DICOM.

What OpenSlide reads of such a file is more than a pyramid of tiles: tags of a scanner, offsets
of 64 bits, text files, linked pages of an index, sequences within sequences.
"""

import io
import random
import struct
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import fuzz_mutation as mutation
import fuzz_slides as slides
import numpy as np
import tifffile
from PIL import Image

PIXELS = np.random.default_rng(2).integers(120, 255, (256, 512, 3), np.uint8)
UNITS = {2: "B", 3: "H", 4: "I", 5: "I", 9: "i", 11: "f"}
"""Kinds of values of a TIFF's tags."""


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def ndpi() -> list[bytes]:
    """Each level one JPEG, offsets of 64 bits, tags of Hamamatsu's; the last level is the macro."""
    out, link = bytearray(b"II*\0" + bytes(8)), 4
    for factor, lens in ((1, 20.0), (2, 10.0), (4, -1.0)):
        level = np.ascontiguousarray(PIXELS[::factor, ::factor])
        data, (height, width) = _jpeg(level), level.shape[:2]
        tags: list[tuple[int, int, bytes | Sequence[float]]] = [
            *((256, 4, [width]), (257, 4, [height]), (258, 3, [8, 8, 8]), (259, 3, [7])),
            *((262, 3, [6]), (271, 2, b"Hamamatsu\0"), (272, 2, b"NanoZoomer\0")),
            *((273, 4, [len(out)]), (277, 3, [3]), (278, 4, [height]), (279, 4, [len(data)])),
            *((282, 5, [20_000 // factor, 1]), (283, 5, [20_000 // factor, 1]), (284, 3, [1])),
            *((296, 3, [3]), (530, 3, [2, 2]), (65420, 4, [1]), (65421, 11, [lens])),
            *((65422, 9, [0]), (65423, 9, [0]), (65424, 9, [0]), (65427, 2, b"reference\0")),
        ]
        out += data
        entries = b""
        for code, kind, value in tags:
            packed = struct.pack(f"<{len(value)}{UNITS[kind]}", *value)
            if len(packed) > 4:
                out += bytes(len(out) % 2)
                packed, at = struct.pack("<I", len(out)), packed
                out += at
            count = len(value) // (2 if kind == 5 else 1)
            entries += struct.pack("<HHI", code, kind, count) + packed.ljust(4, b"\0")
        out += bytes(len(out) % 2)
        out[link : link + 8] = struct.pack("<Q", len(out))
        out += struct.pack("<H", len(tags)) + entries
        link = len(out)
        out += bytes(8 + 4 * len(tags))  # no next one yet, and the upper halves of all values
    return [bytes(out)]


def aperio() -> list[bytes]:
    """Tiles, a thumbnail, a label and a macro image, as Aperio's scanners write them."""
    about, buffer = "Aperio Image Library v11.2.1\r\n", io.BytesIO()
    common = {"photometric": "rgb", "compression": "jpeg", "metadata": None}
    told = f"{about}512x256 [0,0 512x256] (128x128)|AppMag = 20|MPP = 0.5"
    with tifffile.TiffWriter(buffer) as file:
        file.write(PIXELS, tile=(128, 128), description=told, **common)
        file.write(PIXELS[::4, ::4], rowsperstrip=64, description=told, **common)
        file.write(PIXELS[::2, ::2], tile=(128, 128), description=told, subfiletype=1, **common)
        for name, kind in (("label", 1), ("macro", 9)):
            words = f"{about}{name} 128x64"
            file.write(
                PIXELS[::4, ::4], rowsperstrip=64, description=words, subfiletype=kind, **common
            )
    return [buffer.getvalue()]


SLIDEDAT = """\
[GENERAL]
SLIDE_VERSION = 01.03
SLIDE_ID = 0123456789ABCDEF
IMAGENUMBER_X = 2
IMAGENUMBER_Y = 1
OBJECTIVE_MAGNIFICATION = 20
CameraImageDivisionsPerSide = 1
[HIERARCHICAL]
INDEXFILE = Index.dat
HIER_COUNT = 1
HIER_0_NAME = Slide zoom level
HIER_0_COUNT = 1
HIER_0_VAL_0 = ZoomLevel_0
HIER_0_VAL_0_SECTION = LAYER_0_LEVEL_0_SECTION
NONHIER_COUNT = 0
[DATAFILE]
FILE_COUNT = 1
FILE_0 = Data0000.dat
[LAYER_0_LEVEL_0_SECTION]
OVERLAP_X = 0
OVERLAP_Y = 0
MICROMETER_PER_PIXEL_X = 0.5
MICROMETER_PER_PIXEL_Y = 0.5
IMAGE_FILL_COLOR_BGR = 16777215
IMAGE_FORMAT = JPEG
IMAGE_CONCAT_FACTOR = 0
DIGITIZER_WIDTH = 256
DIGITIZER_HEIGHT = 256
"""


def mrxs() -> list[bytes]:
    """The files of a slide of 3DHISTECH, in a ZIP so that they are one input."""
    left, right = _jpeg(PIXELS[:, :256]), _jpeg(PIXELS[:, 256:])
    index = bytearray(b"01.02" + b"0123456789ABCDEF")
    root = len(index)
    # where the levels are listed; their one list; its head and its page of two pictures
    index += struct.pack("<ii", root + 8, 0) + struct.pack("<i", root + 12)
    index += struct.pack("<ii", 0, root + 20) + struct.pack("<ii", 2, 0)
    index += struct.pack("<iiii", 0, 0, len(left), 0)
    index += struct.pack("<iiii", 1, len(left), len(right), 0)
    files = {
        "s.mrxs": _jpeg(PIXELS[::4, ::4]),
        "s/Slidedat.ini": SLIDEDAT.encode(),
        "s/Index.dat": bytes(index),
        "s/Data0000.dat": left + right,
    }
    return [_packed(files)]


def _packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data)
    return buffer.getvalue()


def _unpacked(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def in_one_file(data: bytes, rng: random.Random) -> bytes:
    """One of the files changed, most often the text or the index; or left out."""
    files = _unpacked(data)
    name = rng.choice([*files, "s/Slidedat.ini", "s/Slidedat.ini", "s/Index.dat", "s/Index.dat"])
    if rng.random() < 0.03:
        del files[name]
    else:
        change = mutation.in_words if name.endswith(".ini") else mutation.in_bytes
        files[name] = change(files[name], rng)
    return _packed(files)


def read_mrxs(data: bytes, folder: Path) -> list[str]:
    (folder / "s").mkdir()
    for name, content in _unpacked(data).items():
        (folder / name).write_bytes(content)
    return slides.read_at(folder / "s.mrxs")


def dicom() -> list[bytes]:
    """A slide of one level, its tiles in the order of the grid."""
    side = 128
    frames = [
        _jpeg(PIXELS[top : top + side, left : left + side])
        for top in range(0, 256, side)
        for left in range(0, 512, side)
    ]
    spacing = _element(0x0028, 0x0030, "DS", b"0.0005\\0.0005")
    measures = _sequence(0x5200, 0x9229, _sequence(0x0028, 0x9110, spacing))
    kind = b"1.2.840.10008.5.1.4.1.1.77.1.6"
    meta = b"".join(
        (
            _element(0x0002, 0x0001, "OB", b"\0\1"),
            _element(0x0002, 0x0002, "UI", kind),
            _element(0x0002, 0x0003, "UI", b"1.2.3.4"),
            _element(0x0002, 0x0010, "UI", b"1.2.840.10008.1.2.4.50"),
            _element(0x0002, 0x0012, "UI", b"1.2.3"),
        )
    )
    short = struct.Struct("<H").pack
    long = struct.Struct("<I").pack
    body = b"".join(
        (
            _element(0x0008, 0x0008, "CS", b"ORIGINAL\\PRIMARY\\VOLUME\\NONE"),
            _element(0x0008, 0x0016, "UI", kind),
            _element(0x0008, 0x0018, "UI", b"1.2.3.4"),
            _element(0x0008, 0x0060, "CS", b"SM"),
            _element(0x0020, 0x000D, "UI", b"1.2.3.5"),
            _element(0x0020, 0x000E, "UI", b"1.2.3.6"),
            _element(0x0020, 0x9311, "CS", b"TILED_FULL"),
            _element(0x0028, 0x0002, "US", short(3)),
            _element(0x0028, 0x0004, "CS", b"YBR_FULL_422"),
            _element(0x0028, 0x0006, "US", short(0)),
            _element(0x0028, 0x0008, "IS", str(len(frames)).encode()),
            _element(0x0028, 0x0010, "US", short(side)),
            _element(0x0028, 0x0011, "US", short(side)),
            _element(0x0028, 0x0100, "US", short(8)),
            _element(0x0028, 0x0101, "US", short(8)),
            _element(0x0028, 0x0102, "US", short(7)),
            _element(0x0028, 0x0103, "US", short(0)),
            _element(0x0048, 0x0006, "UL", long(512)),
            _element(0x0048, 0x0007, "UL", long(256)),
            _sequence(0x0048, 0x0105, _element(0x0048, 0x0112, "DS", b"20")),
            _element(0x0048, 0x0303, "UL", long(1)),
            measures,
        )
    )
    size = _element(0x0002, 0x0000, "UL", long(len(meta)))
    pixels = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + _item(b"")
    pixels += b"".join(_item(frame + bytes(len(frame) % 2)) for frame in frames)
    return [bytes(128) + b"DICM" + size + meta + body + pixels + _item(b"", 0xE0DD)]


def _element(group: int, number: int, kind: str, value: bytes) -> bytes:
    """A data element in explicit little endian."""
    if len(value) % 2:
        value += b"\0" if kind in ("UI", "OB") else b" "
    head = struct.pack("<HH2s", group, number, kind.encode())
    if kind in ("OB", "SQ"):
        return head + struct.pack("<HI", 0, len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def _item(value: bytes, number: int = 0xE000) -> bytes:
    return struct.pack("<HHI", 0xFFFE, number, len(value)) + value


def _sequence(group: int, number: int, item: bytes) -> bytes:
    return _element(group, number, "SQ", _item(item))


def reader(ending: str) -> Callable[[bytes, Path], list[str]]:
    """Reads a slide that is one file of such an ending."""

    def read(data: bytes, folder: Path) -> list[str]:
        (folder / f"s{ending}").write_bytes(data)
        return slides.read_at(folder / f"s{ending}")

    return read
