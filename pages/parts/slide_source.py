"""Slides in: uploaded, from the folder of slides, or by their path on this machine."""

import hashlib
import itertools
import os
import shutil
import tempfile
import weakref
from collections.abc import Container
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import streamlit as st
from shapely.geometry.base import BaseGeometry

from cellularity_core.archive import safe_name
from cellularity_core.conventions import MPP_RANGE
from cellularity_core.errors import PixelSizeError
from cellularity_core.slides import parts
from cellularity_core.slides.cohort import ENDINGS, entries
from cellularity_core.slides.reading import Slide
from cellularity_core.slides.region import Outlines
from cellularity_core.slides.summary import Area
from pages.parts import access, state
from pages.parts.intake import forget_upload
from pages.parts.markdown import harmless, plain
from pages.parts.size_box import size_box

FOLDER: Final = "CELLULARITY_SLIDES"
"""Environment variable with a folder whose slides all users may open."""

MOST_MB: Final = 500
"""Largest slide that is uploaded: it passes through memory. Larger ones go into the folder."""

UPLOADED: Final = tuple(ending[1:] for ending in ENDINGS if ending not in (".mrxs", ".vms", ".vmu"))
"""Endings of slides that are one file."""

_CHUNK: Final = 1 << 22


@dataclass(frozen=True, slots=True)
class Source:
    """A slide that can be opened.

    Attributes
    ----------
    path : Path
    name : str
        As the user knows it; no other slide of the session has it.
    key : str
        The same as long as the files are: of its content where it was uploaded, else of
        its path and of names, sizes and times.
    """

    path: Path
    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Part:
    """A slide of a case.

    Attributes
    ----------
    name : str
    models : str
        Checksum of the model set.
    area : Area
        What its bed comes to.
    why_not : str or None
        Why that may not enter the Residual Cancer Burden.
    """

    name: str
    models: str
    area: Area
    why_not: str | None


@dataclass(slots=True)
class Desk:
    """What a session knows of slides.

    Attributes
    ----------
    uploads : list of Source
        What this session uploaded, on disk until it ends.
    mpp : dict of str to float
        um per pixel that the user gave, by the key of a source.
    beds : dict of str to shapely geometry
        Tumour beds drawn or imported, in pixels of level 0, by the key of a source.
    imported : dict of str to list of Outlines
        Those of each file that has a part in a bed, likewise.
    place : dict of str to (int, int)
        Row and column of the tile looked at, likewise.
    goto : int
        How often the slide was moved to a place from outside it.
    parts : dict of str to Part
        Slides of the case, by the checksum of a slide: each counts once, wherever it is opened.
    taken : int
        How often files were taken in; part of the drop box's key.
    problems : list of str
        Why an upload or an outline was refused.
    """

    uploads: list[Source] = field(default_factory=list)
    mpp: dict[str, float] = field(default_factory=dict)
    beds: dict[str, BaseGeometry] = field(default_factory=dict)
    imported: dict[str, list[Outlines]] = field(default_factory=dict)
    place: dict[str, tuple[int, int]] = field(default_factory=dict)
    goto: int = 0
    parts: dict[str, Part] = field(default_factory=dict)
    taken: int = 0
    problems: list[str] = field(default_factory=list)
    _shelf: "Shelf | None" = None

    def take(self, file: st.runtime.uploaded_file_manager.UploadedFile) -> None:
        """Write an upload to disk, under its name without any path."""
        digest = hashlib.sha256()
        if self._shelf is None:
            self._shelf = Shelf()
        name = safe_name(file.name)
        path = self._shelf.folder / f"{self.taken}" / name
        path.parent.mkdir()
        with path.open("wb") as out:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                out.write(chunk)
        key = digest.hexdigest()
        others = [other for other in self.uploads if other.key != key]
        source = Source(path, _numbered(name, {other.name for other in others}), key)
        self.uploads = [*others, source]


class Shelf:
    """A folder that is gone when nothing points here any more, as when a session ends."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cellularity-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)


def desk() -> Desk:
    """The slides of this session."""
    found: Desk = st.session_state.setdefault(state.SLIDES, Desk())
    return found


def choose(own: Desk) -> Source | None:
    """Let the user upload a slide or choose one; None where there is none."""
    key = f"{state.SLIDE_UPLOAD}.{own.taken}"
    with st.container():
        if file := st.session_state.get(key):
            try:
                own.take(file)
                st.session_state.pop(state.SLIDE, None)
            except OSError as error:
                own.problems.append(
                    f"{safe_name(file.name)} cannot be kept ({error.strerror}); make room on the "
                    "disk of the machine that runs this app."
                )
            forget_upload(file)
            own.taken += 1
    known = _known(own)
    with st.expander("Open a slide", expanded=not known, icon=":material/upload:"):
        st.file_uploader(
            "Drop an H&E slide here: SVS, NDPI, SCN, tiled TIFF or DICOM",
            type=list(UPLOADED),
            max_upload_size=MOST_MB,
            key=f"{state.SLIDE_UPLOAD}.{own.taken}",
            help="It stays on the machine that runs this app, until you close this window.",
        )
        if os.environ.get(FOLDER):
            st.caption("Larger slides, and MRXS, are chosen from the folder of slides below.")
        elif access.has_sign_in():  # on a server its folders are nobody's to read
            st.caption(
                f"Larger slides, and MRXS, need a folder of slides: an admin names it in {FOLDER}."
            )
        else:
            st.text_input(
                "or a slide or a folder of slides on this machine",
                key=state.SLIDE_PATH,
                persist_state="session",
                help="Larger slides, and MRXS, are opened where they are.",
            )
    for problem in own.problems:
        st.error(harmless(problem))
    own.problems.clear()
    known = _known(own)
    if not known:
        return None
    chosen: Source = st.selectbox(
        "Slide",
        known,
        format_func=lambda source: source.name,
        key=state.SLIDE,
        persist_state="session",
    )
    return chosen


def _known(own: Desk) -> list[Source]:
    """What can be opened: the newest upload first, then what is in the folder.

    Each by a name of its own, as a browser tells of a choice by nothing else. Those of uploads
    stay, so that the choice of one lasts.
    """
    given = os.environ.get(FOLDER) or ""
    if not given and not access.has_sign_in():
        given = str(st.session_state.get(state.SLIDE_PATH) or "").strip()
    taken = {source.name for source in own.uploads}
    return [
        *reversed(own.uploads),
        *(
            replace(source, name=_numbered(f"{source.name} (in the folder)", taken))
            if source.name in taken
            else source
            for source in (_in_folder(given) if given else ())
        ),
    ]


def _numbered(name: str, taken: Container[str]) -> str:
    """The name, with a number where it is taken."""
    numbers = itertools.chain([name], (f"{name} ({k})" for k in itertools.count(2)))
    return next(one for one in numbers if one not in taken)


@st.cache_data(ttl=30, show_spinner="Looking for slides…")
def _in_folder(given: str) -> list[Source]:
    """Slides of a folder, or the one slide at a path."""
    root = Path(given).expanduser()
    if not root.exists():
        st.warning(f"There is no {plain(given)} on the machine that runs this app; check the path.")
        return []
    found = [entry.path for entry in entries([root], None, None)] if root.is_dir() else [root]
    if not found:
        st.warning(f"There is no slide in {plain(given)}.")
    base = root if root.is_dir() else root.parent
    return [
        Source(
            path,
            path.relative_to(base).as_posix(),
            _key(path),
        )
        for path in found
    ]


def _key(path: Path) -> str:
    """Of a slide as long as none of its files is replaced."""
    status, files = path.stat(), parts.stats(path)
    what = (str(path.resolve()), status.st_size, status.st_mtime_ns)
    return hashlib.sha256(repr((*what, *(files if len(files) > 1 else ()))).encode()).hexdigest()


def opened(own: Desk, source: Source) -> Slide | None:
    """The slide, open; None where its pixel size must be given first.

    Raises
    ------
    SlideError
        If it cannot be used.
    """
    given = own.mpp.get(source.key)
    try:
        return _opened(source.path, parts.stamp(source.path), given)
    except PixelSizeError:
        _ask_size(own, source)
        return None


@st.cache_resource(max_entries=16, show_spinner="Opening the slide…")
def _opened(path: Path, stamp: str, mpp: float | None) -> Slide:
    return Slide(path, mpp)


def _ask_size(own: Desk, source: Source) -> None:
    low, high = MPP_RANGE
    with st.container(border=True):
        st.markdown(":material/straighten: **Which pixel size?**")
        st.text(
            f"{source.name} does not state a pixel size between {low:g} and {high:g} µm, so "
            "nothing on it can be measured. Type that of the full resolution; 0.5 µm is usual "
            "at 20×, 0.25 µm at 40×."
        )
        box, button = st.columns([3, 1], vertical_alignment="bottom")
        size = size_box(box, source.name, key=state.SLIDE_SIZE)
        if button.button(
            "Use this size", disabled=size is None, key=state.SLIDE_SIZE_SET, width="stretch"
        ):
            own.mpp[source.key] = size or low
            st.rerun()
