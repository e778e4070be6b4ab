"""Files out, made when they are asked for: the same functions as the command line."""

from collections.abc import Iterator, Sequence
from typing import Final

import streamlit as st

from cellularity_core.export import files
from cellularity_core.patch import Patch, Rejected
from cellularity_core.results import PatchResult
from pages.parts import state
from pages.parts.locks import locked_patches
from pages.parts.save_button import save_button
from pages.parts.scoring import Engine
from pages.parts.state import Case

ONE: Final = "This patch"

SLOW: Final = 20
"""Patches from which on it is said that a file with pictures takes its time."""

MOST_FILES: Final = 200
"""Pictures saved at a time: they are held in memory until they are on their way."""


@st.fragment
def files_area(
    items: Sequence[tuple[Patch, PatchResult]],
    problems: Sequence[Rejected],
    current: str,
    models: Engine,
    reader: str,
    key: str = state.FILES,
) -> None:
    """A choice of what to save and of which patches, and the button that saves it.

    Nothing is made before the button is pressed.

    Parameters
    ----------
    items : sequence of (Patch, PatchResult)
        What may be shown, scored by `models`; maps are made anew where a file needs them.
    problems : sequence of Rejected
        Files that could not be scored, for the formats that name them.
    current : str
        Checksum of the patch that is looked at.
    models : Engine
    reader : str
        For whom the page is drawn, "" if nobody said.
    key : str
        Start of the widgets' keys, where a page has more than one such area.
    """
    st.subheader("Files", anchor=False)
    kind_place, which_place, save_place = st.columns([5, 3, 2], vertical_alignment="bottom")
    kind = kind_place.selectbox(
        "What to save",
        list(files.KINDS),
        format_func=lambda name: files.KINDS[name].label,
        key=f"{key}.kind",
        persist_state="session",
    )
    whole = f"All {len(items)} patches"
    which = (
        which_place.segmented_control(
            "Of which patches", [ONE, whole], default=ONE, required=True, key=f"{key}.which"
        )
        if len(items) > 1
        else ONE
    )
    chosen = [item for item in items if which == whole or item[0].sha256 == current]
    errors = [(p.name, p.reason) for p in problems] if which == whole or len(items) == 1 else []
    name, mime = files.name(kind, [patch.name for patch, _ in chosen])
    asked = Case(patches={patch.sha256: patch for patch, _ in chosen})
    save_button(
        save_place,
        lambda: files.make(kind, _made(kind, chosen, models), len(chosen), errors),
        is_locked=lambda: bool(locked_patches(asked, reader)),
        reader=reader,
        file_name=name,
        mime=mime,
        disabled=files.KINDS[kind].one_each and len(chosen) > MOST_FILES,
        key=f"{key}.save",
    )
    st.caption(_told(kind, len(chosen)))


def _made(
    kind: str, chosen: Sequence[tuple[Patch, PatchResult]], models: Engine
) -> Iterator[files.Made]:
    """Results with what the kind of file needs; one at a time, so that others get their turn."""
    for place, (patch, result) in enumerate(chosen):
        if place >= files.KINDS[kind].drawn:
            yield result, patch.pixels
            continue
        with models.turn():
            [whole] = models.scorer.score([patch])
        yield whole, patch.pixels


def _told(kind: str, count: int) -> str:
    """What the file holds, and how long it may take."""
    chosen = files.KINDS[kind]
    text = f"{chosen.what}."
    if chosen.one_each and count > 1:
        text += " One file a patch, in a ZIP file."
    if chosen.one_each and count > MOST_FILES:
        text += f" The page saves up to {MOST_FILES} at a time; `cellularity score` has no limit."
    elif min(chosen.drawn, count) >= SLOW:
        text += " Pictures are drawn anew: allow about a second for each patch."
    return text
