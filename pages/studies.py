"""Studies: who reads which patches, in what design, and how far everybody is."""

from typing import Final

import pandas as pd
import streamlit as st

from cellularity_core.agreement import sample_size
from cellularity_core.agreement.planning import READERS
from db import records
from db.errors import RecordError
from db.records import StudyRecord
from db.session import snapshot, transaction
from pages.parts import access
from pages.parts.frame import answered, show
from pages.parts.markdown import plain
from pages.parts.progress import forget_cancelling, work_through
from pages.parts.store import store
from pages.parts.study_form import ARMS, CREATED, study_form
from pages.parts.words import counted

_ASKED: Final = "studies.asked"  # what the number of cases was worked out for


def page() -> None:
    """Draw the page from top to bottom."""
    identity = access.allow("study")
    st.title("Studies", anchor=False)
    with st.container():  # so that the tabs keep their place, and stay open, without it
        if created := st.session_state.pop(CREATED, None):
            st.success(plain(created))
    with snapshot(store()) as db:
        known = records.studies(db)
    running, new, size = st.tabs(["Studies", "New study", "How many cases?"])
    with running:
        if not known:
            st.info("There is no study yet. Make one under “New study”.", icon=":material/science:")
        for study in known:
            _study(study, identity)
    with new:
        study_form()
    with size:
        _size()


def _study(study: StudyRecord, identity: access.Identity) -> None:
    """Design and progress of one study, and what may be done with it."""
    with st.container(border=True):
        title, state, action = st.columns([4, 1, 1.2], vertical_alignment="center")
        title.markdown(f"**{plain(study.name)}**")
        state.badge(study.state, color={"open": "green", "closed": "gray"}.get(study.state, "blue"))
        if study.state == "draft":
            action.button("Open", key=f"studies.open.{study.id}", on_click=_open, args=(study.id,))
        elif study.state == "open":
            with action.popover("Close…", width="stretch"):
                st.markdown("No score is taken any more, and that cannot be undone.")
                st.button(
                    "Close the study",
                    key=f"studies.close.{study.id}",
                    on_click=_close,
                    args=(study.id,),
                )
        if study.description:
            st.text(study.description)
        line = counted(study.n_cases, "case")
        if study.n_training:
            line += f" and {counted(study.n_training, 'training case')}"
        line += f" · {ARMS[study.arm]} · models {plain(study.model_set or 'none')}"
        if study.state == "closed" or identity.name not in study.readers:
            # Who reads it must not know which cases come again.
            again = (
                f"{100 * study.repeat_share:.0f} % hidden repeats after {study.washout_days:g} days"
            )
            line += f" · {again if study.repeat_share else 'no hidden repeats'} · seed {study.seed}"
        if study.proficiency is not None:
            line += f" · proficiency line {100 * study.proficiency:.0f} points"
        st.caption(line)
        with snapshot(store()) as db:
            standing = records.progress(db, study.id)
        st.dataframe(
            pd.DataFrame(
                [
                    {
                        "Reader": one.reader,
                        "Read": one.done / one.total if one.total else 0.0,
                        "Reads": f"{one.done} of {one.total}",
                        "Training error (points)": (
                            None if one.training_error is None else 100 * one.training_error
                        ),
                        "Qualified": {True: "yes", False: "no", None: "–"}[one.qualified],
                    }
                    for one in standing
                ]
            ),
            hide_index=True,
            key=f"studies.progress.{study.id}",
            column_config={
                "Read": st.column_config.ProgressColumn(format="percent"),
                "Training error (points)": st.column_config.NumberColumn(format="%.0f"),
            },
            placeholder="–",
        )
        if study.state != "closed":
            _add_reader(study)


def _add_reader(study: StudyRecord) -> None:
    with snapshot(store()) as db:
        others = [r.name for r in records.all_readers(db) if r.name not in study.readers]
    if not others:
        return
    who, add = st.columns([3, 1], vertical_alignment="bottom")
    chosen = who.selectbox("Add a reader", others, index=None, key=_joining(study.id))
    add.button(
        "Add",
        key=f"{_joining(study.id)}.button",
        disabled=chosen is None,
        on_click=_join,
        args=(study.id,),
        width="stretch",
    )


def _joining(study_id: int) -> str:
    """Key of the box with the reader who is to join."""
    return f"studies.add.{study_id}"


@answered
def _open(study_id: int) -> None:
    identity = access.allow("study")
    with transaction(store()) as db:
        records.open_study(db, study_id=study_id, actor=identity.name)


@answered
def _close(study_id: int) -> None:
    identity = access.allow("study")
    with transaction(store()) as db:
        records.close_study(db, study_id=study_id, actor=identity.name)


@answered
def _join(study_id: int) -> None:
    """Add who stands in the box now: the page may not have been drawn since it was chosen."""
    identity = access.allow("study")
    reader: str | None = st.session_state.get(_joining(study_id))
    if reader is None:
        raise RecordError("Nobody was added: choose a reader first.")
    with transaction(store()) as db:
        records.add_reader_to_study(db, study_id=study_id, reader=reader, actor=identity.name)
    st.session_state[_joining(study_id)] = None


@st.cache_data(max_entries=256, show_spinner=False)
def _needed(width: float, icc: float, share: float, readers: int) -> dict[str, object]:
    [size] = sample_size(width, icc, reader_share=share, readers=(readers,))
    return {"Readers": size.readers, "Cases": size.cases, "Reads": size.reads, "Width": size.width}


def _size() -> None:
    """Cases and readers for a wanted width of the interval of ICC(A,1)."""
    st.markdown(
        "How many cases and readers give the interval of **ICC(A,1)** the width you want? "
        "More readers help more than more cases where readers differ in level."
    )
    left, middle, right = st.columns(3)
    icc = left.slider("Expected ICC(A,1)", 0.50, 0.98, 0.85, 0.01, key="studies.size_icc")
    width = middle.slider("Width of the interval", 0.05, 0.50, 0.20, 0.01, key="studies.size_width")
    share = right.slider(
        "Readers' share of the error",
        0.0,
        0.9,
        0.25,
        0.05,
        key="studies.size_share",
        help="How much of the disagreement is a reader being always higher or lower.",
    )
    asked, rows = (width, icc, share), []
    if st.button("Work it out", key="studies.size"):
        st.session_state[_ASKED] = asked
        forget_cancelling("studies.sizes")
    if st.session_state.get(_ASKED) != asked:
        return
    work_through(
        READERS,
        lambda readers: rows.append(_needed(*asked, readers)),
        key="studies.sizes",
        doing=lambda readers: f"cases for {readers} readers",
    )
    if rows:
        st.dataframe(pd.DataFrame(rows), hide_index=True, placeholder="> 500")


show(page)
