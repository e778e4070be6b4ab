"""Patches that a reader may not have analysed: they are in an open study of theirs."""

import numpy as np
import numpy.typing as npt
import streamlit as st

from cellularity_core.fingerprint import SAME_BITS, is_same_tissue, turned_fingerprints
from cellularity_core.slides.grid import Grid
from db import records
from db.session import snapshot
from pages.parts.state import Case
from pages.parts.store import store

LOCKED = (
    "This patch belongs to a study that is still open, so no model may score it here. "
    "Score it on the page Read; it can be analysed once the study is closed."
)


def locked_patches(case: Case, reader: str) -> set[str]:
    """Checksums of the patches that must stay without a model's output for now.

    A patch is known by its pixels and, turned, resized or saved again, by its
    fingerprint. A person without a name may be any reader, so that all open studies count.
    """
    if not case.patches:
        return set()
    known = _known(reader)
    if not known:
        return set()
    pixels = {sha256 for sha256, _ in known}
    marks = [mark for _, mark in known if mark]
    return {
        sha256
        for sha256, patch in case.patches.items()
        if sha256 in pixels
        or any(is_same_tissue(a, b) for a in _turned(sha256, patch.pixels) for b in marks)
    }


def is_locked_slide(key: str, grid: Grid, overview: npt.NDArray[np.uint8], reader: str) -> bool:
    """Whether a tile of a slide is a patch that must stay without a model's output for now.

    Told from the slide at low power, by fingerprint.

    Parameters
    ----------
    key : str
        Of the slide and its grid.
    grid : Grid
    overview : ndarray of uint8, shape (h, w, 3)
    reader : str
    """
    marks = [int(mark, 16) for _, mark in _known(reader) if mark]
    if not marks:
        return False
    tiles = _tile_marks(key, grid, overview)
    return any(int(np.bitwise_count(tiles ^ np.uint64(m)).min()) <= SAME_BITS for m in marks)


@st.cache_data(max_entries=16, show_spinner="Looking for patches of open studies…")
def _tile_marks(key: str, _grid: Grid, _overview: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Fingerprints of all tiles in their 8 orientations."""
    found = []
    for row in range(_grid.shape[0]):
        for column in range(_grid.shape[1]):
            tile = _grid.tile(row, column)
            top, left = (round(edge / _grid.pitch) for edge in (tile.y, tile.x))
            bottom, right = (
                round((start + size) / _grid.pitch)
                for start, size in ((tile.y, tile.height), (tile.x, tile.width))
            )
            piece = _overview[top:bottom, left:right]
            found += [int(mark, 16) for mark in turned_fingerprints(np.ascontiguousarray(piece))]
    return np.array(found, np.uint64)


def _known(reader: str) -> set[tuple[str, str | None]]:
    """Checksums and fingerprints of patches in open studies of a reader; of all without a name."""
    with snapshot(store()) as db:
        names = {reader}
        if not reader:
            names = {n for s in records.studies(db) if s.state == "open" for n in s.readers}
        return {pair for name in names for pair in records.locked_patches(db, reader=name)}


@st.cache_data(max_entries=1024, show_spinner=False)
def _turned(sha256: str, _pixels: npt.NDArray[np.uint8]) -> tuple[str, ...]:
    return turned_fingerprints(_pixels)
