"""Patches that a reader may not have analysed: they are in an open study of theirs."""

import numpy as np
import numpy.typing as npt
import streamlit as st

from cellularity_core.fingerprint import is_same_tissue, turned_fingerprints
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
    with snapshot(store()) as db:
        names = {reader}
        if not reader:
            names = {n for s in records.studies(db) if s.state == "open" for n in s.readers}
        known = {pair for name in names for pair in records.locked_patches(db, reader=name)}
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


@st.cache_data(max_entries=1024, show_spinner=False)
def _turned(sha256: str, _pixels: npt.NDArray[np.uint8]) -> tuple[str, ...]:
    return turned_fingerprints(_pixels)
