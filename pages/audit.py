"""Audit: who did what, and the proof that nothing was altered."""

import json
from typing import Any, Final

import pandas as pd
import streamlit as st

from db import records
from db.records import Event
from db.session import snapshot
from pages.parts import access
from pages.parts.frame import show
from pages.parts.markdown import plain
from pages.parts.progress import whole_work
from pages.parts.store import store
from pages.parts.words import counted

PAGE: Final = 100  # events on screen at once

ENTITIES: Final = (
    "reading",
    "amendment",
    "consensus",
    "model_score",
    "model_set",
    "study",
    "case",
    "membership",
    "reader",
    "sign_in",
    "patch",
    "sight",
)

_BEFORE: Final = "audit.before"


def page() -> None:
    """Draw the page from top to bottom."""
    identity = access.allow("audit")
    st.title("Audit", anchor=False)
    with snapshot(store()) as db:
        end = records.head(db)
    st.markdown(
        "Every change is an event chained to the one before by a hash. Note the end of the chain "
        "outside this machine: only so can a cut-off end be seen later."
    )
    st.code(f"{counted(end.sequence, 'event')}, head {end.hash}", language=None)
    if st.button("Check that nothing was altered", key="audit.verify", icon=":material/verified:"):
        _verify()
    which, older, newest = st.columns([2, 1, 1], vertical_alignment="bottom")
    entity = which.selectbox(
        "Only events of", ENTITIES, index=None, key="audit.entity", placeholder="everything"
    )
    before: int | None = st.session_state.get(_BEFORE)
    with snapshot(store()) as db:
        found = records.events(db, limit=PAGE, before=before, entity=entity, asking=identity.name)
    last = found[-1].sequence if found else None
    older.button(
        "Older",
        key="audit.older",
        disabled=len(found) < PAGE,
        on_click=_leaf,
        args=(last,),
        width="stretch",
    )
    newest.button(
        "Newest", key="audit.newest", disabled=before is None, on_click=_leaf, width="stretch"
    )
    if not found:
        st.info(
            f"There is no event of “{entity}”. Choose another kind above, or “everything”."
            if entity
            else "Nothing was done yet. The first score, study or choice of models is the first "
            "event here.",
            icon=":material/inbox:",
        )
        return
    st.dataframe(pd.DataFrame([_row(event) for event in found]), hide_index=True, height=560)
    if any(event.is_withheld for event in found):
        st.caption(
            "Values of scores, references and orders are withheld: you take part in a study that "
            "is not closed."
        )


def _leaf(before: int | None = None) -> None:
    access.allow("audit")
    st.session_state[_BEFORE] = before


def _verify() -> None:
    engine = store()
    doing = "Checking every event and every row"
    with whole_work(doing, key="audit.check") as tell, snapshot(engine) as db:
        noted = records.noted_heads(engine.url)
        verdict = records.verify(db, heads=noted, progress=tell)
    if verdict.ok:
        what = counted(verdict.checked, "event or row", "events and rows")
        st.success(
            f"Nothing was altered: {what} checked. Heads noted outside the records for this "
            f"place, which they agree with: {len(noted)}."
        )
        if not noted:
            st.caption(
                "That the end of the trail was cut off shows only against a noted head. Every "
                "back-up and every report notes one."
            )
    else:
        st.error(f"The records were altered: {plain(f'{verdict.first_bad} {verdict.why}')}.")


def _row(event: Event) -> dict[str, Any]:
    return {
        "No.": event.sequence,
        "When (UTC)": f"{event.at:%Y-%m-%d %H:%M:%S}",
        "Who": event.actor,
        "What": f"{event.action} {event.entity} {event.entity_id}",
        "Before": _told(event, event.old),
        "After": _told(event, event.new),
        "Hash": event.hash[:12],
    }


def _told(event: Event, value: Any) -> str:
    if event.is_erased:
        return "erased"
    if event.is_withheld:
        return "withheld"
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


show(page)
