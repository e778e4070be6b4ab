"""ZIP files: hostile, broken and ordinary."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cellularity_core import archive
from cellularity_core.archive import expand, safe_name
from cellularity_core.errors import PatchError
from cellularity_core.patch import Patch, Rejected, collect, load_all


def image(seed: int) -> bytes:
    """A PNG of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


PNG = image(0)


def packed(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP of named bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as out:
        for name, data in files:
            out.writestr(name, data)
    return buffer.getvalue()


def test_images_in_order_and_reasons_for_the_rest() -> None:
    data = packed(
        ("b/1.png", PNG),
        ("a.png", image(1)),
        ("empty/", b""),
        ("labels.csv", b"a,b"),
        ("nothing.png", b""),
        ("broken.png", PNG[:500]),
        ("inner.zip", packed(("x.png", PNG))),
        ("__MACOSX/._a.png", b"x"),
        ("b/.hidden.png", PNG),
        ("b/2.png", image(2)),
    )
    items = list(load_all(data, "up.zip", mpp=0.25))
    good = [i for i in items if isinstance(i, Patch)]
    assert [(p.name, p.mpp) for p in good] == [
        ("b/1.png", 0.25),
        ("a.png", 0.25),
        ("b/2.png", 0.25),
    ]
    reasons = {i.name: i.reason for i in items if isinstance(i, Rejected)}
    assert list(reasons) == ["labels.csv", "nothing.png", "broken.png", "inner.zip"]
    assert "is not an image" in reasons["labels.csv"]
    assert "is empty" in reasons["nothing.png"]
    assert "damaged, breaks off" in reasons["broken.png"]
    assert "is a ZIP within another file; unpack it" in reasons["inner.zip"]


def test_expand_gives_bytes_then_says_what_it_left_out() -> None:
    assert list(expand(PNG, "a.png")) == [("a.png", PNG)]
    assert list(expand(packed(("a.png", PNG)), "z.zip")) == [("a.png", PNG)]
    items = expand(packed(("t.txt", b"t"), ("a.png", PNG), ("u.txt", b"u")), "z.zip")
    assert next(items) == ("a.png", PNG)
    with pytest.raises(PatchError, match=r"2 files of z\.zip were left out; first: t\.txt is not"):
        next(items)


@pytest.mark.parametrize(
    ("given", "harmless"),
    [
        ("../../etc/passwd.png", "etc/passwd.png"),
        ("/abs/a.png", "abs/a.png"),
        ("..\\..\\win\\a.png", "win/a.png"),
        ("C:\\a.png", "C_/a.png"),
        ("a/./b//c.png", "a/b/c.png"),
        ("a\x1b[31m\n.png", "a_[31m_.png"),
        ("..", "unnamed"),
        ("\udcff.png", "\ufffd.png"),
    ],
)
def test_names_stay_inside(given: str, harmless: str) -> None:
    assert safe_name(given) == harmless


def test_names_that_climb_out_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    (inside / "z.zip").write_bytes(packed(("../../evil.png", PNG), ("/evil2.png", PNG)))
    assert [i.name for i in collect(["z.zip"])] == ["evil.png", "evil2.png"]
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["z.zip"]


def test_names_in_several_zips_and_folders_stay_apart(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = packed(("p.png", image(1)), ("p.png", image(2)))
    (folder / "one.zip").write_bytes(twice)
    (tmp_path / "two.zip").write_bytes(packed(("p.png", image(3))))
    (tmp_path / "three.zip").write_bytes(packed(("p.png", image(4))))
    items = list(collect([tmp_path / "two.zip", tmp_path / "three.zip", folder]))
    assert [i.name for i in items] == [
        "p.png",
        "three.zip/p.png",
        "one.zip/p.png",
        "in/one.zip/p.png",
    ]
    assert len({i.sha256 for i in items if isinstance(i, Patch)}) == 4


def test_protected_members_are_refused() -> None:
    data = bytearray(packed(("a.png", PNG), ("b.png", PNG)))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.index(signature) + offset
        data[at] |= 1
    refused, fine = load_all(bytes(data), "z.zip")
    assert isinstance(refused, Rejected)
    assert "a.png is protected with a password; unpack" in refused.reason
    assert isinstance(fine, Patch)


def test_limits_on_what_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    data = packed(*((f"{k}.png", PNG) for k in range(4)))
    monkeypatch.setattr(archive, "MAX_TOTAL_BYTES", int(2.5 * len(PNG)))
    items = list(load_all(data, "z.zip"))
    assert [isinstance(i, Patch) for i in items] == [True, True, False, False]
    assert "more than is read from one ZIP" in items[3].reason
    monkeypatch.setattr(archive, "MAX_IMAGE_BYTES", len(PNG) - 1)
    assert [isinstance(i, Patch) for i in load_all(data, "z.zip")] == [False] * 4
    monkeypatch.setattr(archive, "MAX_MEMBERS", 3)
    (item,) = load_all(data, "z.zip")
    assert "z.zip holds more than 3 files; split it" in item.reason


def test_a_bomb_that_is_no_image_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a member that is no image only its first bytes are asked for."""
    asked = []
    read = zipfile.ZipExtFile.read

    def counting(self: zipfile.ZipExtFile, n: int | None = -1) -> bytes:
        asked.append(n)
        return read(self, n)

    monkeypatch.setattr(zipfile.ZipExtFile, "read", counting)
    (item,) = load_all(packed(("zeros.png", bytes(50_000_000))), "z.zip")
    assert "zeros.png is not an image" in item.reason
    assert asked == [132]


def test_a_member_that_lies_about_its_size() -> None:
    """Declared 100 bytes, holds more: read no further than declared, then refused."""
    data = bytearray(packed(("a.png", PNG + bytes(10_000_000))))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(signature) + offset
        data[at : at + 4] = struct.pack("<I", 1000)
    (item,) = load_all(bytes(data), "z.zip")
    assert isinstance(item, Rejected)
    assert "a.png cannot be unpacked" in item.reason


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (packed(("a.png", PNG))[:-40], "is a ZIP that is damaged or breaks off; make it again"),
        (b"PK\x03\x04", "is a ZIP that is damaged"),
        (packed(), "is a ZIP with no files in it"),
        (packed((".hidden", b"x")), "is a ZIP with no files in it"),
    ],
)
def test_broken_and_empty_zips(data: bytes, words: str) -> None:
    (item,) = load_all(data, "z.zip")
    assert isinstance(item, Rejected)
    assert item.reason.startswith("z.zip ")
    assert words in item.reason
    with pytest.raises(PatchError, match=words):
        list(expand(data, "z.zip"))


ARCHIVES = (
    packed(("a.png", PNG), ("b.txt", b"text")),
    packed(("a.png", PNG), ("b.png", PNG), method=zipfile.ZIP_BZIP2),
    packed(("a.png", PNG), method=zipfile.ZIP_LZMA),
)


@settings(max_examples=300, deadline=None)
@given(
    data=st.sampled_from(ARCHIVES),
    changes=st.lists(st.tuples(st.integers(0, 13_000), st.integers(0, 255)), max_size=8),
    end=st.booleans(),
)
def test_no_damage_raises(data: bytes, changes: list[tuple[int, int]], end: bool) -> None:
    changed = bytearray(data)
    for at, value in changes:
        at %= 120 if end else len(data)
        changed[len(data) - 1 - at if end else at] = value
    for item in load_all(bytes(changed), "z.zip"):
        assert isinstance(item, Patch | Rejected)
