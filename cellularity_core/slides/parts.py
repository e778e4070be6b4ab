"""The files that one slide consists of, and what tells that it is still the same slide.

As OpenSlide finds them: of MRXS the folder of its name, of VMS and VMU what the text names, of
DICOM the files beside it that are of its series. Label and macro images of VMS have no part
in it; a slide of any other kind is one file.
"""

import hashlib
import re
import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeVar

from cellularity_core.archive import safe_name
from cellularity_core.errors import SlideError

Found = TypeVar("Found")

MOST_TEXT: Final = 1 << 20
"""Bytes of a VMS or VMU that are looked at; it has a few thousand."""

MOST_ELEMENTS: Final = 10_000
"""Elements of a DICOM file that are passed over on the way to its series."""

MOST_UID: Final = 64
"""Bytes of a unique identifier (DICOM PS3.5, 9.1)."""

_NAMED: Final = re.compile(
    rb"^[ \t]*(?:ImageFile(?:\([^)\n]*\))?|MapFile|OptimisationFile)[ \t]*=[ \t]*([^\r\n]*)", re.M
)

_SERIES: Final = (0x0020, 0x000E)
_ITEM: Final = (0xFFFE, 0xE000)
_UNDEFINED: Final = 0xFFFFFFFF
_LONG: Final = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT",
                b"UV")  # fmt: skip
"""Kinds of values whose length has 32 bits (DICOM PS3.5, 7.1.2)."""


def parts(path: Path) -> list[Path]:
    """Files of the slide that `path` names.

    Parameters
    ----------
    path : Path

    Returns
    -------
    list of Path
        Its own first; of DICOM in the order of their names, whichever of them was named.

    Raises
    ------
    SlideError
        If one of them cannot be looked at.
    """
    if series(path) is not None:
        return _read(path, lambda: list(_of_series(path)))
    return [path, *_read(path, lambda: list(_companions(path)))]


def stats(path: Path) -> list[tuple[str, int, int]]:
    """Name, bytes and time in ns of a slide's files: another where one of them is replaced.

    Raises
    ------
    SlideError
        If one of them cannot be looked at.
    """

    def look() -> list[tuple[str, int, int]]:
        found = [(part.name, part.stat()) for part in parts(path)]
        return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in found]

    return _read(path, look)


def stamp(path: Path) -> str:
    """`stats` in one text."""
    return ";".join(":".join(map(str, one)) for one in stats(path))


def size(path: Path) -> int:
    """Bytes of all files of a slide."""
    return sum(size for _, size, _ in stats(path))


def checksum(path: Path) -> str:
    """SHA-256 over the SHA-256 of each file of a slide, in the order of `parts`.

    Raises
    ------
    SlideError
        If one of them cannot be read.
    """

    def digest() -> str:
        whole = hashlib.sha256()
        for part in parts(path):
            with part.open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
        return whole.hexdigest()

    return _read(path, digest)


def series(path: Path) -> str | None:
    """Series Instance UID of a DICOM file; None of any other, and of one that cannot be read."""
    try:
        status = path.stat()
        return _series(path, status.st_size, status.st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=4096)
def _series(path: Path, size: int, time: int) -> str | None:
    """Of a file as long as it is not replaced.

    A DICOM slide is explicit little endian (PS3.5, 7.1.2 and 7.5). Sequences of a stated
    length are passed over whole; of others `depth` counts how many, with their items, are open.
    """
    with path.open("rb") as file:
        if file.read(132)[128:] != b"DICM":
            return None
        depth = 0
        for _ in range(MOST_ELEMENTS):
            head = file.read(8)
            if len(head) < 8:
                return None
            group, element, kind, length = struct.unpack("<HH2sH", head)
            is_mark = group == _ITEM[0]
            if is_mark:
                length = struct.unpack("<I", head[4:])[0]
                if (group, element) != _ITEM:  # an end
                    depth -= 1
                    continue
            elif kind in _LONG:
                length = int.from_bytes(file.read(4), "little")
            if depth == 0 and not is_mark and (group, element) >= _SERIES:
                found = file.read(min(length, MOST_UID)).rstrip(b"\0 ").decode("ascii", "replace")
                return found if (group, element) == _SERIES else None
            if length == _UNDEFINED:
                depth += 1
            else:
                file.seek(length, 1)
    return None


def _of_series(path: Path) -> Iterator[Path]:
    """Files beside a DICOM file, and itself, that are of its series."""
    wanted = series(path)
    files = sorted(other for other in path.parent.iterdir() if other.is_file())
    yield from (other for other in files if series(other) == wanted)


def _companions(path: Path) -> Iterator[Path]:
    kind = path.suffix.lower()
    folder = path.with_suffix("")
    if kind == ".mrxs" and folder.is_dir():
        yield from sorted(file for file in folder.iterdir() if file.is_file())
    if kind in (".vms", ".vmu"):
        with path.open("rb") as file:
            names = {found.strip() for found in _NAMED.findall(file.read(MOST_TEXT))}
        beside = (path.parent / name.decode("utf-8", "surrogateescape") for name in names if name)
        here = path.parent.resolve()
        yield from sorted(
            file for file in beside if file.is_file() and file.resolve().is_relative_to(here)
        )


def _read(path: Path, look: Callable[[], Found]) -> Found:
    try:
        return look()
    except OSError as error:
        raise SlideError(
            f"{safe_name(path.name)} or a file that it consists of cannot be read "
            f"({error.strerror or error}); check the path, or copy the whole slide again."
        ) from None
