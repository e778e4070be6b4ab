"""Read: blinded scoring of a study's cases, one after the other, by keys alone."""

import streamlit as st

from db import records
from db.records import StudyRecord
from db.session import snapshot
from pages.parts import access, state
from pages.parts.desk import desk
from pages.parts.frame import show
from pages.parts.markdown import plain
from pages.parts.own_reads import own_reads
from pages.parts.reading import next_task, take, tell_refusal
from pages.parts.store import store


def page() -> None:
    """Draw the page from top to bottom."""
    identity = access.allow("read")
    with snapshot(store()) as db:
        mine = [s for s in records.studies(db, reader=identity.name) if s.state == "open"]
    if not mine:
        st.title("Read", anchor=False)
        tell_refusal()
        st.info(
            f"There is nothing to read for {plain(identity.name)}. A coordinator makes a "
            "study on the page Studies and chooses its readers.",
            icon=":material/inbox:",
        )
        if not identity.verified:
            access.reader_name(st)
        return
    study = _chosen(mine, identity)
    task = next_task(study, identity)
    if isinstance(task, str):
        tell_refusal()
        st.info(task, icon=":material/flag:")
    else:
        desk(task, key=state.DESK, on_commit=lambda: take(study))
    own_reads(study, identity)


def _chosen(mine: list[StudyRecord], identity: access.Identity) -> StudyRecord:
    """The study to read; asks which where there are several."""
    names = {study.id: study.name for study in mine}
    left, who, which = st.columns([2, 1.2, 1.4], vertical_alignment="center")
    left.title("Read", anchor=False)
    if not identity.verified:
        access.reader_name(who)
    wanted = which.selectbox(
        "Study",
        list(names),
        format_func=names.__getitem__,
        key="read.study",
        label_visibility="collapsed",
        persist_state="session",
    )
    return next(study for study in mine if study.id == wanted)


show(page)
