"""A study in the making: its cases, kept in the session until it is created."""

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import pandas as pd
import streamlit as st

from cellularity_core.fingerprint import SAME_BITS, is_same_tissue, turned_fingerprints
from cellularity_core.patch import Patch, Rejected, files_in, load_all, load_file, name_in
from cellularity_core.results import PatchResult
from db.records import NewCase
from pages.parts import access, state
from pages.parts.intake import MOST_REASONS, forget_upload, is_waiting
from pages.parts.markdown import plain
from pages.parts.parking import Parking
from pages.parts.progress import work_through
from pages.parts.words import counted

_TCGA: Final = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}")

PATCH, SIZE, PATIENT, TRAINING, REFERENCE = (
    "Patch",
    "µm/px",
    "Patient (pseudonym)",
    "Training",
    "Reference (%)",
)
"""Columns of the table of cases."""


Source = tuple[str, Callable[[], Iterable[Patch | Rejected]]]


@dataclass(slots=True)
class Draft:
    """Cases of a study that is not created yet.

    Attributes
    ----------
    patches : dict of str to Patch
        By checksum, in the order they came.
    marks : dict of str to tuple of str
        Fingerprints of each patch in its 8 orientations, as given first, by checksum.
    problems : list of str
        Why files were left out.
    uploads : int
        How often files were taken in; part of the drop box's key.
    queue : list of (str, callable)
        What is still to be read: its name, and what reads it.
    read : int
        How many of the queue have been read.
    results : dict of str to PatchResult
        By checksum, as far as the cases are scored.
    asked : object
        The form of which a study is being made; None where none is.
    parking : Parking
        Where the patches' pixels are kept.
    """

    patches: dict[str, Patch] = field(default_factory=dict)
    marks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    uploads: int = 0
    queue: list[Source] = field(default_factory=list)
    read: int = 0
    results: dict[str, PatchResult] = field(default_factory=dict)
    asked: object = None
    parking: Parking = field(default_factory=Parking)

    def add(self, items: Iterable[Patch | Rejected]) -> None:
        """Take in patches; what cannot be a case is said in `problems`.

        A patch that is here already takes the pixel size with which it comes, unless that
        is only assumed.
        """
        for item in items:
            if isinstance(item, Rejected):
                self.problems.append(item.reason)
            elif is_waiting(item):
                self.problems.append(
                    f"{item.name} states a pixel size that cannot be right; open it on the page "
                    "Analyse, give the true size there, and take it from there."
                )
            elif (known := self.patches.get(item.sha256)) is None:
                self.patches[item.sha256] = replace(item, pixels=self.parking.park(item.pixels))
                self.marks[item.sha256] = turned_fingerprints(item.pixels)
            elif not is_assumed(item) and (known.mpp, known.mpp_source) != (
                item.mpp,
                item.mpp_source,
            ):
                self.patches[item.sha256] = replace(item, pixels=known.pixels)
                self.results.pop(item.sha256, None)  # of the size it had before


def is_assumed(patch: Patch) -> bool:
    """Whether neither the file nor anybody said how large a pixel of it is."""
    return patch.mpp_source == "default"


def draft() -> Draft:
    """The draft of this session."""
    found: Draft = st.session_state.setdefault(state.STUDY_DRAFT, Draft())
    return found


def case_sources(made: Draft) -> None:
    """Let the user take cases from the Analyse page, from files or from a folder."""
    _read_in(made)
    here = list(state.case().patches.values())
    files = st.file_uploader(
        "Drop H&E patches here: PNG, JPEG, TIFF, or a ZIP of them",
        accept_multiple_files=True,
        key=f"{state.STUDY_UPLOAD}.{made.uploads}",
    )
    if files:
        made.queue += [(file.name, partial(load_all, file.getvalue(), file.name)) for file in files]
        for file in files:
            forget_upload(file)  # the queue holds its bytes until they are read
        made.uploads += 1
        st.rerun()
    if not access.has_sign_in():  # on a server its folders are nobody's to read
        _folder(made)
    left, right = st.columns(2)
    label = (
        f"Take {counted(len(here), 'patch', 'patches')} of the page Analyse"
        if here
        else "Nothing on Analyse"
    )
    if left.button(label, disabled=not here, width="stretch"):
        made.queue += [(patch.name, partial(list, [patch])) for patch in here]
        st.rerun()
    if right.button(
        "Start over", disabled=not (made.patches or made.problems or made.queue), width="stretch"
    ):
        st.session_state[state.STUDY_DRAFT] = Draft(uploads=made.uploads + 1)
        st.rerun()
    for problem in made.problems[:MOST_REASONS]:
        st.warning(plain(problem))
    if (more := len(made.problems) - MOST_REASONS) > 0:
        st.caption(f"{counted(more, 'more file')} left out; the others are cases below.")


def _read_in(made: Draft) -> None:
    """Read what is in the queue, a file at a time."""

    def step(source: Source) -> None:
        made.add(source[1]())
        made.queue.remove(source)
        made.read += 1

    work_through(
        list(made.queue),
        step,
        key="studies.reading",
        doing=lambda source: f"reading {plain(source[0])}",
        done=made.read,
    )
    if not made.queue:
        made.read = 0


def _folder(made: Draft) -> None:
    folder, take = st.columns([4, 1], vertical_alignment="bottom")
    typed = folder.text_input("or a folder on this machine", key=state.STUDY_FOLDER)
    if take.button("Take folder", disabled=not typed.strip(), width="stretch"):
        path = Path(typed.strip()).expanduser()
        found = [
            (name_in(path, file), partial(load_file, file, name_in(path, file)))
            for file in files_in(path)
        ]
        made.queue += found
        if not path.is_dir():
            made.problems.append(
                f"There is no folder “{typed}” on this machine; check how it is written, or drop "
                "the files themselves above."
            )
        elif not found:
            made.problems.append(
                f"“{typed}” is a folder with no files in it; name one that holds images."
            )
        st.rerun()


def case_table(made: Draft) -> pd.DataFrame:
    """Let the user name patients, choose training cases and give their references.

    Returns
    -------
    DataFrame
        A row a patch, in the order of the draft.
    """
    rows = [
        {
            PATCH: p.name,
            SIZE: f"{p.mpp:.3g}" + (" assumed" if is_assumed(p) else ""),
            PATIENT: patient_in(p.name),
            TRAINING: False,
            REFERENCE: None,
        }
        for p in made.patches.values()
    ]
    frame = pd.DataFrame(rows).astype({REFERENCE: "float64"})
    config = st.column_config
    edited: pd.DataFrame = st.data_editor(
        frame,
        key=f"{state.STUDY_CASES}.{len(rows)}.{made.uploads}",
        hide_index=True,
        height=min(38 + 35 * len(rows), 400),
        disabled=[PATCH, SIZE],
        column_config={
            SIZE: config.TextColumn(
                help="Micrometres per pixel: cells are shown and scored at this size. It is put "
                "right on the page Analyse; then take the patches from there again."
            ),
            PATIENT: config.TextColumn(
                help="Patches of one patient are not independent; intervals count patients. "
                "Empty: a patient of its own. Never a name or a hospital's number."
            ),
            TRAINING: config.CheckboxColumn(help="Read before the real cases; not in statistics."),
            REFERENCE: config.NumberColumn(
                min_value=0, max_value=100, help="What a training case is compared with."
            ),
        },
    )
    return edited


def patient_in(name: str) -> str:
    """Patient that a TCGA file name tells, "" for other names."""
    found = _TCGA.search(name)
    return found.group() if found else ""


def faults(made: Draft, table: pd.DataFrame, alike: Sequence[tuple[str, str]]) -> list[str]:
    """What must be put right before the study can be created."""
    found = []
    training = table[TRAINING].astype(bool)
    is_training = dict(zip(made.patches, training, strict=True))
    for one, other in alike:
        if is_training[one] != is_training[other]:
            found.append(
                f"{made.patches[one].name} and {made.patches[other].name} show the same tissue, "
                "and the training would tell the answer of the case; leave one of them out."
            )
    if training.all():
        found.append("Every case is a training case; leave some to be read in earnest.")
    lacking = table.loc[training & table[REFERENCE].isna(), PATCH]
    if len(lacking):
        found.append(
            f"{', '.join(lacking[:3])}: a training case needs a reference to compare with."
        )
    return found


def look_alikes(made: Draft) -> list[tuple[str, str]]:
    """Checksums of patches that show the same tissue, turned perhaps, in other pixels."""
    return [
        (a, b)
        for (a, turned), (b, others) in itertools.combinations(made.marks.items(), 2)
        if any(is_same_tissue(mark, others[0], SAME_BITS) for mark in turned)
    ]


def new_cases(made: Draft, table: pd.DataFrame) -> list[NewCase]:
    """The draft's patches as cases."""
    return [
        NewCase(
            sha256=patch.sha256,
            name=patch.name,
            width=patch.width,
            height=patch.height,
            mpp=patch.mpp,
            phash=made.marks[patch.sha256][0],
            turned=made.marks[patch.sha256],
            png=encoded(patch.pixels),
            patient=_text(row[PATIENT]),
            is_training=bool(row[TRAINING]),
            reference=row[REFERENCE] / 100 if row[TRAINING] else None,
        )
        for patch, (_, row) in zip(made.patches.values(), table.iterrows(), strict=True)
    ]


def _text(value: Any) -> str | None:
    text = "" if pd.isna(value) else str(value).strip()
    return text or None


def encoded(pixels: "np.ndarray[Any, np.dtype[np.uint8]]") -> bytes:
    """Pixels as PNG, without anything else that the file held."""
    _, data = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return bytes(data)
