"""Patches that a reader may not have analysed: they are in an open study of theirs."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import streamlit as st

from cellularity_core.fingerprint import is_same_tissue, turned_fingerprints
from cellularity_core.overlap import Pictures, reduced, shares_tissue
from cellularity_core.patch import Patch
from cellularity_core.slides.finding import Looked
from cellularity_core.slides.reading import SAME_MPP, Slide
from db import records
from db.records import LockedPatch
from db.session import snapshot
from db.turns import Turns
from pages.parts.state import Case
from pages.parts.store import store

LOCKED: Final = (
    "This patch belongs to a study that is still open, or shows a part of one that does, so no "
    "model may score it here. Score it on the page Read; it can be analysed once the study is "
    "closed."
)

LOCKED_SLIDE: Final = (
    "This slide holds a patch of a study that is still open, so no model may score it here. "
    "It can be scored once the study is closed."
)

UNSURE: Final = (
    "You read a study that is still open, and the pixels of some of its cases are not kept any "
    "more, so nobody can tell whether they lie on this slide. No model may score it here until "
    "the study is closed; its coordinator can do that on the page Studies."
)


_search: Final = Turns()
"""One session at a time searches: many at once would take the cores from those who read."""


def locked_patches(case: Case, reader: str) -> set[str]:
    """Checksums of the patches that must stay without a model's output for now.

    A patch is known by its pixels; turned, resized or saved again, by its fingerprint; cut
    or moved aside, by the tissue that both show. A person without a name may be any
    reader, so that all open studies count.
    """
    known = _known(reader) if case.patches else []
    if not known:
        return set()
    pixels = {one.sha256 for one in known}
    marks = {one.phash for one in known if one.phash}
    key = _key(known)
    return {
        sha256
        for sha256, patch in case.patches.items()
        if sha256 in pixels
        or any(is_same_tissue(a, b) for a in _turned(sha256, patch.pixels) for b in marks)
        or _shares(sha256, patch.mpp, key, patch, known)
    }


def slide_lock(key: str, slide: Slide, overview: npt.NDArray[np.uint8], reader: str) -> str | None:
    """Why a slide must stay without a model's output for now; None where it need not.

    A member of an open study gets such output only of slides that were looked through for
    each of its cases.

    Parameters
    ----------
    key : str
        Of the slide and its pixel size.
    slide : Slide
    overview : ndarray of uint8, shape (h, w, 3)
    reader : str
    """
    known = _known(reader)
    return _looked_through(key, _key(known), slide, overview, known) if known else None


@st.cache_data(max_entries=4096, show_spinner="Looking for parts of patches of open studies…")
def _shares(sha256: str, mpp: float, key: str, _patch: Patch, _known: list[LockedPatch]) -> bool:
    """Whether a patch shows a part of a locked one.

    Where a pixel size is not that of the locked one, either may be wrong: then the pixels
    are compared as well as if both had the same.
    """
    others = {one.mpp for one in _known if not _is_near(one.mpp, mpp)}
    with _search.mine():
        return shares_tissue(reduced(_patch.pixels, mpp), _pictures(key, None, _known)) or any(
            shares_tissue(reduced(_patch.pixels, other), _pictures(key, other, _known))
            for other in others
        )


@st.cache_data(max_entries=64, show_spinner="Looking for patches of open studies…")
def _looked_through(
    key: str, of: str, _slide: Slide, _overview: npt.NDArray[np.uint8], _known: list[LockedPatch]
) -> str | None:
    looked = Looked(_slide, _overview)
    count = 0
    for pixels, mpp in _kept(_known):
        sizes = [mpp] if _is_near(mpp, _slide.mpp) else [mpp, _slide.mpp]  # either may be wrong
        if any(looked.holds(reduced(pixels, size)) for size in sizes):
            return LOCKED_SLIDE
        count += 1
    return UNSURE if count < len(_known) else None


@st.cache_resource(max_entries=8, show_spinner=False)
def _pictures(key: str, mpp: float | None, _known: list[LockedPatch]) -> Pictures:
    """The locked patches to look in; those of one pixel size only, or all."""
    return Pictures([reduced(pixels, own) for pixels, own in _kept(_known) if mpp in (None, own)])


def _kept(known: Iterable[LockedPatch]) -> Iterator[tuple[npt.NDArray[np.uint8], float]]:
    """Pixels and um per pixel of the patches whose pixels can be read."""
    for one in known:
        if one.has_image:
            with snapshot(store()) as db:
                png = records.image(db, sha256=one.sha256)
            pixels = cv2.imdecode(np.frombuffer(png or b"-", np.uint8), cv2.IMREAD_COLOR)
            if pixels is not None:
                yield np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8), one.mpp


def _is_near(one: float, other: float) -> bool:
    return abs(one / other - 1) <= SAME_MPP


def _known(reader: str) -> list[LockedPatch]:
    """The patches of the open studies of a reader; of all where nobody is named."""
    with snapshot(store()) as db:
        names = {reader}
        if not reader:
            names = {n for s in records.studies(db) if s.state == "open" for n in s.readers}
        found = {one for name in names for one in records.locked_patches(db, reader=name)}
    return sorted(found, key=lambda one: (one.sha256, one.mpp))


def _key(known: list[LockedPatch]) -> str:
    return hashlib.sha256(repr(known).encode()).hexdigest()


@st.cache_data(max_entries=1024, show_spinner=False)
def _turned(sha256: str, _pixels: npt.NDArray[np.uint8]) -> tuple[str, ...]:
    return turned_fingerprints(_pixels)
