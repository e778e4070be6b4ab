"""Erasing a patient from the records: for admins, once the pseudonym was typed twice."""

from dataclasses import dataclass
from typing import Any, Final

import streamlit as st

from db import records
from db.errors import RecordError
from db.session import snapshot, transaction
from pages.parts import access
from pages.parts.frame import answered
from pages.parts.markdown import harmless, plain
from pages.parts.store import store
from pages.parts.words import counted

PATIENT: Final = "erasing.patient"
STUDY: Final = "erasing.study"
WHY: Final = "erasing.why"
AGAIN: Final = "erasing.again"
ERASE: Final = "erasing.erase"
SCRUB: Final = "erasing.scrub"

_TOLD: Final = "erasing.told"

_ALL: Final = 0
"""In place of a study's number: every study."""

_WHAT: Final = """\
For a patient who asks for it. **It cannot be undone.**

* **Erased:** the pictures of the patient's patches, their file names and fingerprints, the \
pseudonym, and what the audit trail quotes of them and of their scores. Nobody can read these \
cases any more.
* **Stays:** scores with reader and time, case codes, checksums of the pixels, what readers wrote \
as a reason, and an entry of the audit trail that says who erased, when and why.
* **Not reached:** back-ups and exports made before, and files outside the records. Delete those \
yourself.
"""


@dataclass(slots=True)
class _Told:
    """What the last erasure did, and what is left to do of it.

    One object that is changed in place: whatever looks into the session's state can be
    broken off there by the next click, and what was done is to be told all the same.
    """

    done: str = ""
    left: str = ""


def _told() -> _Told:
    told: _Told = st.session_state.setdefault(_TOLD, _Told())
    return told


def erasing() -> None:
    """Ask for the patient, say what would go, and erase after the second typing."""
    st.header("Erase a patient", anchor=False)
    st.markdown(_WHAT)
    _outcome()
    with snapshot(store()) as db:
        names = {_ALL: "All studies"} | {s.id: s.name for s in records.studies(db)}
    left, right = st.columns(2)
    patient = left.text_input("Pseudonym", key=PATIENT)
    study = right.selectbox(
        "Study",
        list(names),
        index=None,
        format_func=lambda number: names.get(number, str(number)),
        key=STUDY,
        help="The same pseudonym can mean another patient in another study.",
    )
    if not patient or study is None:
        return
    try:
        with snapshot(store()) as db:
            going = records.to_erase(db, patient=patient, study_id=study or None)
    except RecordError as error:
        st.warning(harmless(str(error)), icon=":material/warning:")
        return
    where = ", ".join(plain(name) for name in going.studies)
    st.markdown(
        f"This erases **{counted(going.images, 'picture')}** of "
        f"**{counted(going.cases, 'case')}** in {where}, and what "
        f"**{counted(going.events, 'entry', 'entries')}** of the audit trail say of them."
    )
    why = st.text_input(
        "Which request is this for?",
        key=WHY,
        placeholder="letter of 3 May",
        help="Stays in the audit trail, so name no patient here.",
    )
    box, button = st.columns([3, 1], vertical_alignment="bottom")
    again = box.text_input("Type the pseudonym again", key=AGAIN)
    button.button(
        "Erase for good",
        key=ERASE,
        type="primary",
        width="stretch",
        disabled=again != patient or not why.strip(),
        on_click=_erase,
    )


def _outcome() -> None:
    """What the last erasure did, and what is left to do of it."""
    told = _told()
    if told.done:
        st.success(told.done, icon=":material/check:")
    if told.left:
        st.warning(harmless(told.left), icon=":material/warning:")
        st.button("Try again", key=SCRUB, on_click=_scrub)


@answered
def _erase() -> None:
    me = access.allow("roles")
    told, engine, asked = _told(), store(), st.session_state
    patient, study, why, again = (asked[key] for key in (PATIENT, STUDY, WHY, AGAIN))
    if not patient or again != patient:
        raise RecordError(
            "Nothing was erased: the two pseudonyms differ. Type the same one in both."
        )
    with transaction(engine) as db:
        made = records.erase_patient(
            db, patient=patient, study_id=study or None, actor=me.name, why=why
        )
    told.done = (
        f"Erased: {counted(made.images, 'picture')} of {counted(made.cases, 'case')}, and what "
        f"{counted(made.events, 'entry', 'entries')} of the audit trail said of them."
    )
    _clean(engine, told)
    asked[PATIENT] = asked[WHY] = asked[AGAIN] = ""
    asked[STUDY] = None


@answered
def _scrub() -> None:
    access.allow("roles")
    _clean(store(), _told())


def _clean(engine: Any, told: _Told) -> None:
    """Have the bytes leave the files; where others are reading there, offer it again."""
    try:
        records.scrub(engine)
    except RecordError as error:
        told.left = str(error)
    else:
        told.left = ""
