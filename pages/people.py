"""People: who may do what, and a patient who asks to be erased."""

from typing import Final

import streamlit as st

from db import records
from db.session import snapshot, transaction
from pages.parts import access
from pages.parts.erasing import erasing
from pages.parts.frame import show
from pages.parts.store import store

PERSON: Final = "people.person"
ROLE: Final = "people.role"
GIVE: Final = "people.give"


def page() -> None:
    """Draw the page from top to bottom."""
    me = access.allow("roles")
    st.title("Readers and roles", anchor=False)
    st.markdown(
        "A **reader** scores the cases assigned to them. A **coordinator** also makes studies and "
        "sees agreement and the audit trail. An **admin** also gives roles and erases patients. A "
        "role counts from the person's next click on, and the audit trail says who gave it."
    )
    with snapshot(store()) as db:
        people = {p.name: p.role for p in records.all_readers(db) if p.has_account}
    st.dataframe(
        {"Name": list(people), "Role": list(people.values())}, hide_index=True, width="stretch"
    )
    left, middle, right = st.columns([2, 1, 1], vertical_alignment="bottom")
    name = left.selectbox("Person", list(people), index=None, key=PERSON)
    role = middle.selectbox("Role", access.ROLES, index=None, key=ROLE)
    is_chosen = name is not None and role is not None
    pressed = right.button(
        "Give this role", key=GIVE, type="primary", disabled=not is_chosen, width="stretch"
    )
    if pressed and is_chosen:
        with transaction(store()) as db:
            records.set_role(db, name=name, role=role, actor=me.name)
        st.rerun()
    st.divider()
    erasing()


show(page)
