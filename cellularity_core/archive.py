"""ZIP files as a run of named bytes; nothing is ever written to disk."""

import io
import re
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from cellularity_core.decoding import SIGNATURE_BYTES, SUPPORTED, kind, refusal
from cellularity_core.errors import PatchError, readable

MAX_IMAGE_BYTES: Final = 512 * 2**20
"""Largest image file: 4096 x 4096 px, four channels of 64 bits, uncompressed."""

MAX_TOTAL_BYTES: Final = 8 * 2**30
"""Largest sum of the unpacked images of one ZIP: some 10,000 patches uncompressed."""

MAX_MEMBERS: Final = 50_000

PACKINGS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Those that unpack in small steps; 4 kB packed by bzip2 become gigabytes in one."""

MOST_PACKED: Final = 100
"""How many times smaller than itself a PNG or JPEG may be in a ZIP; they are packed already."""

LONGEST_NAME: Final = 240
"""Characters of a name; of a longer one the middle is left out. File systems keep 255."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A file that cannot be scored.

    Attributes
    ----------
    name : str
        As a `Patch` of it would be named.
    reason : str
        One sentence that names it, says what is wrong and what to do.
    """

    name: str
    reason: str


def expand(data: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """The images of a ZIP, or the file itself where it is none.

    Parameters
    ----------
    data : bytes
        A whole file, for example an upload.
    name : str
        What it is called.

    Yields
    ------
    (str, bytes)
        Each image with its path within the ZIP, one unpacked at a time.

    Raises
    ------
    PatchError
        After the last image, if anything in the ZIP was refused; `patch.load_all`
        gives a reason for each instead.
    """
    if kind(data[:SIGNATURE_BYTES]) != "ZIP":
        yield name, data
        return
    refused = []
    for item in members(io.BytesIO(data), name):
        if isinstance(item, Rejected):
            refused.append(item.reason)
        else:
            yield item
    if len(refused) == 1:
        raise PatchError(refused[0])
    if refused:
        raise PatchError(f"{len(refused)} files of {name} were left out; first: {refused[0]}")


def members(file: BinaryIO, name: str) -> Iterator[tuple[str, bytes] | Rejected]:
    """Images of an open ZIP file, and what else is in it; hidden files are passed over."""
    try:
        archive = zipfile.ZipFile(file)
        listed = [i for i in archive.infolist() if not i.is_dir() and not is_hidden(i.filename)]
    except Exception:
        yield Rejected(name, f"{name} is a ZIP that is damaged or breaks off; make it again.")
        return
    if len(listed) > MAX_MEMBERS:
        yield Rejected(name, f"{name} holds more than {MAX_MEMBERS} files; split it into several.")
        return
    if not listed:
        yield Rejected(name, f"{name} is a ZIP with no files in it; put images in and try again.")
    left = MAX_TOTAL_BYTES
    with archive:
        for info in listed:
            member = safe_name(info.filename)
            item = _read(archive, info, member, left)
            if isinstance(item, bytes):
                left -= len(item)
                yield member, item
            else:
                yield item


def _read(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, member: str, left: int
) -> bytes | Rejected:
    """Bytes of one member, or why not. Only an image is unpacked beyond its first bytes."""
    if info.flag_bits & 1:
        return Rejected(
            member, f"{member} is protected with a password; unpack the ZIP and give its images."
        )
    if info.file_size > min(MAX_IMAGE_BYTES, left):
        return Rejected(
            member,
            f"{member} unpacks to {info.file_size / 1e6:,.0f} MB, more than is read from one ZIP; "
            "crop the image, or split the ZIP into several.",
        )
    damaged = Rejected(
        member,
        f"{member} cannot be unpacked (damaged or packed in a rare way); make the ZIP again.",
    )
    if info.compress_type not in PACKINGS:
        return damaged
    try:
        with archive.open(info) as stream:
            head = stream.read(SIGNATURE_BYTES)
            what = kind(head)
            if what not in SUPPORTED:
                return Rejected(member, refusal(head, member))
            if what != "TIFF" and info.file_size > MOST_PACKED * info.compress_size + 2**20:
                return Rejected(
                    member,
                    f"{member} unpacks to {info.file_size / max(1, info.compress_size):,.0f} times "
                    f"its size in the ZIP, as no {what} does; export the image anew.",
                )
            # Step by step into one buffer: a read of all at once takes three times the memory.
            whole = io.BytesIO()
            whole.write(head)
            shutil.copyfileobj(stream, whole, 2**20)
            return whole.getvalue()
    except Exception:
        return damaged


def is_hidden(path: str) -> bool:
    """Whether a path is an operating system's own: dot files, ``__MACOSX``, ``Thumbs.db``."""
    parts = [p for p in re.split(r"[\\/]", path) if p not in ("", ".", "..")]
    junk = {"__macosx", "thumbs.db", "desktop.ini"}
    return any(p.startswith(".") or p.lower() in junk for p in parts)


def safe_name(path: str) -> str:
    """A path as a name that stays inside any folder it is put in and can be printed.

    Backslashes become slashes; ``..``, roots and drives go; characters that
    control a terminal or that Windows forbids become ``_``; of a path longer than
    `LONGEST_NAME` the middle is left out.
    """
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if len(text) > LONGEST_NAME:
        text = readable(text, LONGEST_NAME)
    parts = (p.strip() for p in re.split(r"[\\/]", text))
    clean = [
        re.sub(r'[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069<>:"|?*]', "_", p) for p in parts
    ]
    return "/".join(p for p in clean if p not in ("", ".", "..")) or "unnamed"
