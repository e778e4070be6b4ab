"""Files in: drop box, demo, what could not be read, and pixel sizes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile

from cellularity_core.conventions import DEFAULT_MPP, MPP_RANGE
from cellularity_core.memory import give_back_memory
from cellularity_core.notes import IMPLAUSIBLE, SYNTHETIC, sentences
from cellularity_core.patch import Patch, Rejected, load_all
from cellularity_core.synthetic import demo_patches
from pages.parts import state
from pages.parts.markdown import plain
from pages.parts.size_box import size_box
from pages.parts.state import Case

MOST_PIXELS: Final = 400_000_000
"""Pixels a session may hold, about 1500 patches of 512 x 512 and 1.2 GB of disk; the rest is
for the command."""

MOST_REASONS: Final = 20
"""Reasons shown at most; a ZIP can hold thousands of other files."""


def drop_box(case: Case) -> None:
    """Take in what was dropped, and let the user drop files, load the demo or start over.

    It takes files of any kind: what cannot be read is told with the reason, which the browser would
    not. Files are taken before the box is drawn anew, empty: one run of the page instead of two.
    """
    with st.container():  # so that what follows keeps its place, and with it its state
        if files := st.session_state.get(state.upload_key()):
            _read(case, files)
            case.uploads += 1
    with st.expander("Add patches", expanded=not case.patches, icon=":material/upload:"):
        st.file_uploader(
            "Drop H&E patches here: PNG, JPEG, TIFF, or a ZIP of them",
            accept_multiple_files=True,
            key=state.upload_key(),
            help="64 to 4096 pixels a side. They stay on the machine that runs this app.",
        )
        left, right = st.columns([3, 1])
        if left.button("Load the demo (synthetic, drawn by a program)", key=state.DEMO):
            for patch in _demo():
                _take_in(case, patch)
            st.rerun()
        if case.patches or case.problems:
            right.button("Clear all", key=state.CLEAR, on_click=case.clear, width="stretch")


@st.cache_data(show_spinner="Drawing the demo…")
def _demo() -> list[Patch]:
    return demo_patches()


def _read(case: Case, files: Sequence[UploadedFile]) -> None:
    """Take files in, and look at the first patch of them."""
    bar = st.progress(0.0) if len(files) > 1 else None
    first = None
    for done, file in enumerate(files):
        if bar is not None:
            text = f"Reading file {done + 1} of {len(files)}: {plain(file.name)}"
            bar.progress(done / len(files), text=text)
        for item in load_all(file.getvalue(), file.name):
            _take_in(case, item)
            if first is None and isinstance(item, Patch) and item.sha256 in case.patches:
                first = item.sha256
        forget_upload(file)
    case.current = first or case.current
    if bar is not None:
        bar.empty()
        give_back_memory()


def forget_upload(file: UploadedFile) -> None:
    """Drop an upload that was read; Streamlit would keep its bytes as long as the session."""
    file.close()
    run = get_script_run_ctx()
    if run is not None and isinstance(run.uploaded_file_mgr, MemoryUploadedFileManager):
        run.uploaded_file_mgr.remove_file(run.session_id, file.file_id)


def _take_in(case: Case, item: Patch | Rejected) -> None:
    """Keep a patch, or the reason why there is none."""
    if isinstance(item, Rejected):
        case.problems.append(item)
        return
    held = sum(patch.width * patch.height for patch in case.patches.values())
    if held + item.width * item.height > MOST_PIXELS:
        reason = (
            f"{item.name} was not taken in: this page is full with {len(case.patches)} patches; "
            "clear them, or score a large set with `cellularity score FOLDER`."
        )
        case.problems.append(Rejected(item.name, reason))
        return
    case.add(replace(item, pixels=case.parking.park(item.pixels)))


def problems(case: Case) -> None:
    """One sentence for each file that cannot be scored."""
    if not case.problems:
        return
    count = len(case.problems)
    heading = "1 file was left out" if count == 1 else f"{count} files were left out"
    with st.container(border=True, key="analyse.problems"):
        text, button = st.columns([5, 1], vertical_alignment="center")
        others = "; the others go on" if case.patches else ""
        text.markdown(f":material/error: **{heading}**{others}.")
        button.button("Dismiss", key=state.DISMISS, on_click=case.problems.clear, width="stretch")
        for problem in case.problems[:MOST_REASONS]:
            st.text(problem.reason)
        if count > MOST_REASONS:
            st.text(f"and {count - MOST_REASONS} more; “Scores (JSON)” under Files lists them all.")


def is_waiting(patch: Patch) -> bool:
    """Whether the patch's pixel size must be asked for before it can be scored."""
    return IMPLAUSIBLE in patch.notes


def _sized(patch: Patch, mpp: float) -> Patch:
    """The patch with the user's pixel size, which settles what the file says of it."""
    notes = tuple(note for note in patch.notes if note != IMPLAUSIBLE)
    return replace(patch, mpp=mpp, mpp_source="user", notes=notes)


def ask_size(case: Case) -> None:
    """Ask for the pixel size of patches whose file states one that cannot be right."""
    waiting = [patch for patch in case.patches.values() if is_waiting(patch)]
    if not waiting:
        return
    names = ", ".join(patch.name for patch in waiting[:3])
    more = f" and {len(waiting) - 3} more" if len(waiting) > 3 else ""
    low, high = MPP_RANGE
    with st.container(border=True, key="analyse.asked"):
        st.markdown(":material/straighten: **Which pixel size?**")
        st.text(
            f"{names}{more}: the file states a pixel size outside {low:g} to {high:g} µm, which "
            "cannot be right for a patch (often it is a screen's 72 dpi). Type the true one; "
            "0.5 µm is usual at 20×, 0.25 µm at 40×."
        )
        box, button = st.columns([3, 1], vertical_alignment="bottom")
        size = size_box(box, f"{names}{more}", key=state.ASKED_SIZE)
        if button.button(
            "Use this size", disabled=size is None, key=state.ASKED_SIZE_SET, width="stretch"
        ):
            for patch in waiting:
                case.replace(_sized(patch, size or DEFAULT_MPP))
            st.rerun()


def heading(case: Case, patch: Patch) -> None:
    """Name and size of the patch, where its pixel size is from and how it was read.

    Lets the user change the size.
    """
    source = {
        "file": "stated by the file",
        "user": "given by you",
        "default": "assumed: the file states none",
    }[patch.mpp_source]
    if SYNTHETIC in patch.notes and patch.mpp_source == "file":
        source = "drawn at this size by a program"
    if is_waiting(patch):
        source = "assumed: what the file states cannot be right"
    text, change = st.columns([4, 1], vertical_alignment="bottom")
    text.subheader(plain(patch.name), anchor=False)
    size = f"{patch.width} × {patch.height} pixels · {patch.mpp:g} µm per pixel ({source})"
    read = sentences(patch.notes, but=(IMPLAUSIBLE, SYNTHETIC))  # each is said in a box of its own
    text.caption(f"{size}. {read}" if read else size)
    with change.popover("Pixel size", icon=":material/straighten:", width="stretch"):
        chosen = size_box(
            st,
            patch.name,
            key=f"{state.SIZE}.{patch.sha256[:16]}",
            value=patch.mpp,
            help="0.5 is usual at 20×, 0.25 at 40×.",
        )
        for_all = st.checkbox("For every patch whose file states none", key=state.SIZE_FOR_ALL)
        if st.button("Use this size", disabled=chosen is None, key=state.SIZE_SET):
            others = case.patches.values() if for_all else ()
            changed = [patch, *(p for p in others if p.mpp_source == "default" and p is not patch)]
            for each in changed:
                case.replace(_sized(each, chosen or patch.mpp))
            st.rerun()
