"""Files -> checked patches, or one sentence that says why not."""

import csv
import hashlib
import io
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from cellularity_core.archive import (
    MAX_IMAGE_BYTES,
    Rejected,
    expand,
    is_hidden,
    members,
    safe_name,
)
from cellularity_core.conventions import DEFAULT_MPP, MPP_RANGE
from cellularity_core.decoding import SIGNATURE_BYTES, SUPPORTED, decode, kind, refusal
from cellularity_core.errors import PatchError, PixelSizeError
from cellularity_core.notes import IMPLAUSIBLE
from cellularity_core.pixel_size import believed

__all__ = ["Patch", "Rejected", "collect", "expand", "load_all", "load_patch"]

MAX_MANIFEST_BYTES: Final = 50_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """An image that can be scored.

    Attributes
    ----------
    name : str
        As the user gave it; in a folder or ZIP, the path within it.
    pixels : ndarray of uint8, shape (H, W, 3)
        sRGB, upright, C-contiguous; 64 to 4096 a side.
    mpp : float
        um per pixel, within `MPP_RANGE`.
    mpp_source : {"file", "user", "default"}
        Where `mpp` is from.
    sha256 : str
        Of ``HEIGHTxWIDTHx3:`` and the bytes of `pixels`, as 64 hex digits.
    notes : tuple of str
        How it was read, in codes of `notes`. Nothing else of the file's metadata is
        kept.
    """

    name: str
    pixels: npt.NDArray[np.uint8]
    mpp: float
    mpp_source: Literal["file", "user", "default"]
    sha256: str
    notes: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Pixels across."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Pixels down."""
        return int(self.pixels.shape[0])


def pixel_digest(pixels: npt.NDArray[np.uint8]) -> str:
    """SHA-256 of an image's shape and pixels, as `Patch.sha256` has it."""
    digest = hashlib.sha256("x".join(map(str, pixels.shape)).encode() + b":")
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def check_mpp(mpp: float, name: str) -> float:
    """A pixel size the user gave, if a patch can have it.

    Raises
    ------
    PixelSizeError
        If it is no number within `MPP_RANGE`.
    """
    low, high = MPP_RANGE
    if not (math.isfinite(mpp) and low <= mpp <= high):
        raise PixelSizeError(
            f"A pixel size of {mpp:g} µm/px was given for {name}, and a patch has {low:g} to "
            f"{high:g}; give µm per pixel (0.5 is usual at 20x, 0.25 at 40x)."
        )
    return float(mpp)


def load_patch(data: bytes, name: str, mpp: float | None = None) -> Patch:
    """A patch from the bytes of a PNG, JPEG or TIFF.

    Parameters
    ----------
    data : bytes
        The whole file. Its content decides what it is, not its name.
    name : str
        What to call it, in results and in messages.
    mpp : float, optional
        um per pixel; without it the file's own if that is believable, else 0.5.

    Returns
    -------
    Patch

    Raises
    ------
    PixelSizeError
        If `mpp` is outside `MPP_RANGE`.
    PatchError
        If the file cannot be used. Nothing else is raised, whatever the bytes.
    """
    if mpp is not None:
        mpp = check_mpp(mpp, name)
    decoded = decode(data, name)
    notes = list(decoded.notes)
    source: Literal["file", "user", "default"] = "user"
    if mpp is None:
        mpp, claimed = believed(decoded.claims)
        source = "file"
        if mpp is None:
            mpp, source = DEFAULT_MPP, "default"
            if claimed:
                notes.append(IMPLAUSIBLE)
    return Patch(
        name=name,
        pixels=decoded.pixels,
        mpp=mpp,
        mpp_source=source,
        sha256=pixel_digest(decoded.pixels),
        notes=tuple(notes),
    )


def load_all(data: bytes, name: str, mpp: float | None = None) -> Iterator[Patch | Rejected]:
    """Patches of an upload: an image, or a ZIP of them; errors are yielded, not raised."""
    if kind(data[:SIGNATURE_BYTES]) != "ZIP":
        yield _attempt(data, name, mpp)
        return
    for item in members(io.BytesIO(data), name):
        yield item if isinstance(item, Rejected) else _attempt(item[1], item[0], mpp)


def collect(
    paths: Iterable[str | PathLike[str]], mpp: float | None = None
) -> Iterator[Patch | Rejected]:
    """Patches of files, folders, ZIPs and manifests, in order, one in memory at a time.

    A folder is walked through in the order of its names, subfolders and ZIPs
    included, hidden files left out. A manifest is a CSV with the column
    ``image`` (a path from where the CSV is) and optionally ``mpp``. A patch is
    named by its path within the folder or ZIP, or as the manifest has it; a
    name that was used before gets what it came from put in front.

    Parameters
    ----------
    paths : iterable of path-like
    mpp : float, optional
        As in `load_patch`, for every image whose manifest row gives none.

    Yields
    ------
    Patch or Rejected
        A file that cannot be used does not end the run.

    Raises
    ------
    PixelSizeError
        At once, if `mpp` is outside `MPP_RANGE`.
    """
    if mpp is not None:
        mpp = check_mpp(mpp, "all images")
    return _distinct(_walk([Path(p) for p in paths], mpp))


Found = tuple[str, Patch | Rejected]
"""What an item came from (a folder, a ZIP), and the item."""


def _distinct(found: Iterable[Found]) -> Iterator[Patch | Rejected]:
    used: set[str] = set()
    copies: dict[str, int] = {}
    for origin, item in found:
        name = item.name
        if name in used and origin:
            name = f"{origin}/{name}"
        given, stem = name, PurePosixPath(name)
        while name in used:
            # counted on, so that a thousand of the same name do not try all numbers each
            copies[given] = copy = copies.get(given, 1) + 1
            name = str(stem.with_name(f"{stem.stem} ({copy}){stem.suffix}"))
        used.add(name)
        yield item if name == item.name else _renamed(item, name)


def _renamed(item: Patch | Rejected, name: str) -> Patch | Rejected:
    if isinstance(item, Rejected):
        return Rejected(name, item.reason.replace(item.name, name, 1))
    return Patch(name, item.pixels, item.mpp, item.mpp_source, item.sha256, item.notes)


def _walk(paths: Iterable[Path], mpp: float | None) -> Iterator[Found]:
    for path in paths:
        if path.is_dir():
            origin, empty = safe_name(path.resolve().name), True
            for file in files_in(path):
                empty = False
                for item in load_file(file, name_in(path, file), mpp):
                    yield origin, item
            if empty:
                reason = f"{origin} is a folder with no files in it; give one that holds images."
                yield "", Rejected(origin, reason)
        elif path.suffix.lower() == ".csv" and not _is_image(path):
            for item in _manifest(path, mpp):
                yield safe_name(path.name), item
        else:
            origin = safe_name(path.name if _is_zip(path) else path.resolve().parent.name)
            for item in load_file(path, safe_name(path.name), mpp, inside=False):
                yield origin, item


def files_in(folder: Path) -> Iterator[Path]:
    """Files of a folder and its subfolders in the order of their names, hidden ones left out."""
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not is_hidden(f))
        for file in sorted(f for f in files if not is_hidden(f)):
            yield Path(root, file)


def name_in(folder: Path, file: Path) -> str:
    """What a file of `files_in` is called."""
    return safe_name(str(file.relative_to(folder)))


def load_file(
    path: Path, name: str, mpp: float | None = None, *, inside: bool = True
) -> Iterator[Patch | Rejected]:
    """Patches of a file: an image, or a ZIP of them; errors are yielded, not raised.

    `inside` puts the ZIP's name before theirs.
    """
    try:
        if not path.is_file():
            what = "not a file" if path.exists() else "not there"
            yield Rejected(name, f"{name} is {what}; check the path.")
            return
        with path.open("rb") as file:
            head = file.read(SIGNATURE_BYTES)
            file.seek(0)
            what = kind(head) or ""
            if what == "ZIP":
                for item in members(file, name):
                    made = item if isinstance(item, Rejected) else _attempt(item[1], item[0], mpp)
                    yield _renamed(made, f"{name}/{made.name}") if inside else made
                return
            if what not in SUPPORTED:
                yield Rejected(name, refusal(head, name))
                return
            size = path.stat().st_size
            if size > MAX_IMAGE_BYTES:
                yield Rejected(
                    name,
                    f"{name} has {size / 1e6:,.0f} MB, more than a patch; crop it, or open it as "
                    "a slide.",
                )
                return
            data = file.read()
    except OSError as error:
        yield Rejected(name, f"{name} cannot be read ({error.strerror}); check its permissions.")
        return
    yield _attempt(data, name, mpp)


def _attempt(data: bytes, name: str, mpp: float | None) -> Patch | Rejected:
    try:
        return load_patch(data, name, mpp)
    except PatchError as error:
        return Rejected(name, str(error))


def _head(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return kind(file.read(SIGNATURE_BYTES))
    except OSError:
        return None


def _is_image(path: Path) -> bool:
    return _head(path) is not None


def _is_zip(path: Path) -> bool:
    return _head(path) == "ZIP"


def _manifest(path: Path, mpp: float | None) -> Iterator[Patch | Rejected]:
    name = safe_name(path.name)
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise PatchError(f"{name} is too large for a manifest; split it into several.")
        rows = _manifest_rows(path.read_bytes(), name)
    except OSError as error:
        yield Rejected(name, f"{name} cannot be read ({error.strerror}); check its path.")
        return
    except PatchError as error:
        yield Rejected(name, str(error))
        return
    if not rows:
        yield Rejected(name, f"{name} lists no images; write one path a line under 'image'.")
    for image, size in rows:
        try:
            row_mpp = check_mpp(_to_float(size, image), image) if size else mpp
        except PixelSizeError as error:
            yield Rejected(safe_name(image), str(error))
            continue
        if "\0" in image:
            yield Rejected(safe_name(image), f"{safe_name(image)} is not there; check the path.")
            continue
        yield from load_file(path.parent / image, safe_name(image), row_mpp)


def _manifest_rows(data: bytes, name: str) -> list[tuple[str, str]]:
    """(image, mpp) of each row, mpp being "" where there is none."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    header = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count))
    try:
        lines = [[cell.strip() for cell in line] for line in reader]
    except csv.Error as error:
        raise PatchError(f"{name} is not a readable CSV ({error}); save it again.") from None
    columns = [c.casefold() for c in lines[0]] if lines else []
    if "image" not in columns:
        raise PatchError(
            f"{name} is no manifest: it has the columns {', '.join(columns)[:80] or 'none'} and "
            "needs 'image' with a path a line (and may have 'mpp')."
        )
    at = columns.index("image")
    size = columns.index("mpp") if "mpp" in columns else None
    return [
        (line[at], line[size] if size is not None and size < len(line) else "")
        for line in lines[1:]
        if at < len(line) and line[at]
    ]


def _to_float(text: str, image: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise PixelSizeError(
            f"The manifest gives {safe_name(image)} the pixel size '{text[:40]}', which is no "
            "number; give µm per pixel, such as 0.5, or leave it empty."
        ) from None
