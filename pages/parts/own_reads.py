"""A reader's own scores of a study, and their corrections."""

from typing import Final

import streamlit as st

from db import records
from db.errors import RecordError
from db.records import ReadingRecord, StudyRecord
from db.session import snapshot, transaction
from pages.parts import access
from pages.parts.access import Identity
from pages.parts.desk import REASONS
from pages.parts.frame import answered
from pages.parts.percent_box import percent_box, whole_percent
from pages.parts.store import store

_PHASES: Final = {"before": "", "after": ", after the models", "control": ", second look"}
_DONE: Final = "read.amended"
_WHICH, _VALUE, _REASON, _WHY = (
    f"read.amend_{name}" for name in ("which", "value", "reason", "why")
)


def own_reads(study: StudyRecord, identity: Identity) -> None:
    """Let a reader correct a score of theirs: the correction stands beside it.

    The list names no case and shows no picture, so that a hidden repeat stays hidden.
    """
    with snapshot(store()) as db:
        mine = records.own_readings(db, study_id=study.id, reader=identity.name)
    if not mine:
        return
    with st.expander(f"Your scores so far ({len(mine)}), and corrections", icon=":material/edit:"):
        if done := st.session_state.pop(_DONE, None):
            st.success(done)
        st.caption(
            "A committed score stays: it is the blinded one that statistics use. A correction is "
            "kept beside it with your reason."
        )
        order = {reading.id: number for number, reading in enumerate(mine, 1)}
        by_id = {reading.id: reading for reading in mine}
        st.selectbox(
            "Which score",
            list(reversed(by_id)),
            format_func=lambda number: _line(order[number], by_id[number]),
            key=_WHICH,
        )
        left, right = st.columns(2)
        value = percent_box(left, "Right score (%)", key=_VALUE)
        reason = right.selectbox("or why it cannot be scored", REASONS, index=None, key=_REASON)
        why = st.text_input("Why you correct it", key=_WHY, max_chars=500)
        st.button(
            "Keep the correction",
            key="read.amend",
            disabled=(value is None) == (reason is None) or not why.strip(),
            on_click=_amend,
        )


def _line(number: int, reading: ReadingRecord) -> str:
    if reading.cellularity is None:
        score = f"not scored ({reading.cannot_score_reason})"
    else:
        score = f"{100 * reading.cellularity:.0f} %"
    return f"{number}: {score}{_PHASES[reading.phase]}, {reading.created_at:%d %b %H:%M} UTC"


@answered
def _amend() -> None:
    """Keep what stands in the boxes now: the page may not have been drawn since it was typed."""
    identity = access.allow("read")
    if _WHICH not in st.session_state:  # the page was left before the correction arrived
        raise RecordError("The correction was not kept: the page was left. Give it again.")
    chosen, typed, reason, why = (st.session_state[key] for key in (_WHICH, _VALUE, _REASON, _WHY))
    value = whole_percent(typed)
    if typed is not None and value is None:
        raise RecordError(f"Nothing was kept: {typed:g} is not a whole number from 0 to 100.")
    with transaction(store()) as db:
        records.amend(
            db,
            reading_id=chosen,
            reader=identity.name,
            cellularity=None if value is None else value / 100,
            cannot_score_reason=reason,
            why=why,
        )
    st.session_state[_DONE] = "The correction is kept beside your score."
