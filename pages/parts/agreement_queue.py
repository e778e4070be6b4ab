"""The disagreement queue, and the consensus on its cases."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from db import records
from db.session import snapshot, transaction
from pages.parts import access, state
from pages.parts.agreement_data import Material
from pages.parts.agreement_disputes import Disputed, queue
from pages.parts.agreement_source import Chosen
from pages.parts.agreement_stats import report_of
from pages.parts.markdown import plain
from pages.parts.percent_box import percent_box
from pages.parts.sights import show_kept_to
from pages.parts.store import store
from pages.parts.words import percent

_ORDERS = {"Readers among themselves": False, "Models against readers": True}


def disagreements(chosen: Chosen) -> None:
    """Cases with the largest disagreement first; the one chosen, with its consensus."""
    material = chosen.material
    order = st.segmented_control(
        "Sorted by the disagreement of",
        list(_ORDERS),
        default="Readers among themselves",
        required=True,
        key=state.AGREEMENT_ORDER,
        persist_state="session",
    )
    entries = queue(material.table, by_gap=_ORDERS[order or "Readers among themselves"])
    agreed = {found.case: found for found in material.consensus}
    frame = _frame(entries, {case: found.cellularity for case, found in agreed.items()})
    event = st.dataframe(
        frame if agreed else frame.drop(columns="Consensus"),
        hide_index=True,
        width="stretch",
        height=260,
        on_select="rerun",
        selection_mode="single-row",
        key=f"{state.AGREEMENT_CASE}.{order}",
        column_config={
            name: st.column_config.NumberColumn(format="%.1f")
            for name in ("Readers' spread", "Models less readers")
        },
    )
    st.caption("Tick a row to look at its case. In percentage points of cellularity.")
    rows = event.selection.rows
    entry = entries[rows[0] if rows and rows[0] < len(entries) else 0]
    _case(material, entry, report_of(material.key, material).readers)
    if material.study is not None:
        _consensus_form(material, entry)
        _consensus_list(material)


def _frame(entries: Sequence[Disputed], agreed: dict[str, float]) -> pd.DataFrame:
    rows: list[dict[str, Any]] = [
        {
            "Case": entry.case,
            "Readers' spread": _hundred(entry.spread),
            "Models less readers": _hundred(entry.gap),
            "Scores": len(entry.scores),
            "Cannot be scored": ", ".join(entry.refused),
            "Consensus": percent(agreed[entry.case]) if entry.case in agreed else "",
        }
        for entry in entries
    ]
    return pd.DataFrame(rows)


def _hundred(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _case(material: Material, entry: Disputed, readers: Sequence[str]) -> None:
    """The patch and everybody's score of it; that it is seen with models' scores is noted."""
    person = access.who()
    if person is not None and not set(readers).issuperset(entry.scores):
        show_kept_to(state.case(), material.images[entry.case], person.name)
    st.subheader(f"Case {plain(entry.case)}", anchor=False)
    picture, scores = st.columns([1, 1])
    with snapshot(store()) as db:
        png = records.image(db, sha256=material.images[entry.case])
    if png is not None:
        picture.image(png, width="stretch", alt=f"H&E patch of case {entry.case}")
    else:
        picture.info("The records keep no picture of this patch.")
    rows = [
        {
            "Rater": name,
            "Kind": "reader" if name in readers else "model",
            "Score": percent(score),
        }
        for name, score in sorted(entry.scores.items(), key=lambda item: -item[1])
    ]
    rows += [
        {"Rater": name, "Kind": "reader", "Score": "cannot be scored"} for name in entry.refused
    ]
    scores.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        width="stretch",
        height="content",
        key="agreement.scores",
    )


def _consensus_form(material: Material, entry: Disputed) -> None:
    if not material.is_final:
        st.info(
            "A consensus is sought once the study is closed, which a coordinator does on the page "
            "Studies.",
            icon=":material/lock_open:",
        )
        return
    case_id = material.case_ids[entry.case]
    with st.form(f"agreement.consensus.{case_id}", clear_on_submit=True):
        left, right = st.columns([1, 3])
        score = percent_box(left, "Consensus (%)", key=f"{state.AGREEMENT_SCORE}.{case_id}")
        reason = right.text_input(
            "Reason", key=f"{state.AGREEMENT_REASON}.{case_id}", max_chars=500
        )
        sent = st.form_submit_button(
            "Keep the consensus", key=f"{state.AGREEMENT_KEEP}.{case_id}", type="primary"
        )
    if not sent:
        return
    identity = access.allow("agreement")
    if score is None or not reason.strip():
        st.error("A consensus needs a score from 0 to 100 and its reason.")
        return
    with transaction(store()) as db:
        records.keep_consensus(
            db, case_id=case_id, cellularity=score / 100, reason=reason, by=identity.name
        )
    st.rerun()


def _consensus_list(material: Material) -> None:
    if not material.consensus:
        return
    st.subheader("Consensus so far", anchor=False)
    st.dataframe(
        pd.DataFrame(
            {
                "Case": found.case,
                "Consensus": percent(found.cellularity),
                "Reason": found.reason,
                "By": found.by,
                "When (UTC)": f"{found.created_at:%Y-%m-%d %H:%M}",
            }
            for found in material.consensus
        ),
        hide_index=True,
        width="stretch",
        key="agreement.consensus_list",
    )
