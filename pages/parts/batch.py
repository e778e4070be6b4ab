"""Several patches: a table to choose from, and steps from one to the next."""

from collections.abc import Collection, Mapping
from typing import Final

import pandas as pd
import streamlit as st

from cellularity_core.conventions import CLASSES, METHODS
from db.records import ReadingRecord
from pages.parts import state
from pages.parts.compare_table import HERE, chosen_row, opener
from pages.parts.state import Case
from pages.parts.words import METHOD_CODES, METHOD_NAMES, flags_in_words

_OWN: Final = "Your score"
_WARNINGS: Final = "Warnings"


def batch_table(
    case: Case, visible: Collection[str], own: Mapping[str, list[ReadingRecord]] | None
) -> None:
    """A row a patch; a click shows it. Only `visible` patches have a model's scores.

    `own` are the reader's scores, None where nobody reads. Without any visible
    patch there are no columns for the models.
    """
    key = state.table_key()
    order = list(case.patches)
    rows = [_row(case, sha256, sha256 in visible, own, bool(visible)) for sha256 in order]
    if not any(row.get(_WARNINGS) for row in rows):  # the room is the counts' then
        rows = [{k: v for k, v in row.items() if k != _WARNINGS} for row in rows]

    number = st.column_config.NumberColumn
    columns = {
        METHOD_CODES[method]: number(format="%.0f %%", width=62, help=METHOD_NAMES[method])
        for method in METHODS
    }
    columns[_OWN] = number(format="%.0f %%", width=90)
    columns |= {
        name.capitalize(): number(width=96, help=f"{name} nuclei found") for name in CLASSES
    }
    columns[HERE] = st.column_config.TextColumn(width=20)
    columns["Patch"] = st.column_config.TextColumn(width=240)
    columns[_WARNINGS] = st.column_config.TextColumn(width=150)
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        height=min(38 + 35 * len(rows), 318),
        column_config=columns,
        key=key,
        on_select=opener(case, key, order, chosen_row),
        selection_mode="single-cell",
        placeholder="–",
    )


def _row(
    case: Case,
    sha256: str,
    visible: bool,
    own: Mapping[str, list[ReadingRecord]] | None,
    models: bool,
) -> dict[str, object]:
    result = case.results.get(sha256) if visible else None
    row: dict[str, object] = {
        HERE: "▶" if sha256 == case.current else "",
        "Patch": case.patches[sha256].name,
    }
    if models:
        row[_WARNINGS] = (
            flags_in_words(result.quality.flags, result.quality.reliable) if result else ""
        )
    if own is not None:
        mine = own.get(sha256)
        row[_OWN] = 100 * mine[-1].cellularity if mine else None
    if not models:
        return row
    for method in METHODS:
        score = result.scores.get(method) if result else None
        value = score.value if score else None
        row[METHOD_CODES[method]] = None if value is None else 100 * value
    counts = result.nuclei.counts() if result else {}
    row |= {name.capitalize(): counts.get(name) for name in CLASSES}
    return row


def steps(case: Case) -> None:
    """Buttons to the patch before and after, and where one is."""
    order = list(case.patches)
    at = order.index(case.current) if case.current in case.patches else 0

    def go(by: int) -> None:
        case.step(by)
        chosen = state.sent(state.table_key(), "selection")
        if chosen and chosen_row(chosen) is not None:
            case.tables += 1

    back, where, on = st.columns([1, 4, 1], vertical_alignment="center")
    back.button(
        "Previous",
        shortcut="P",
        key=state.PREVIOUS,
        icon=":material/arrow_back:",
        on_click=go,
        args=(-1,),
        disabled=at == 0,
        width="stretch",
    )
    where.markdown(f"Patch **{at + 1}** of {len(order)}", text_alignment="center")
    on.button(
        "Next",
        shortcut="N",
        key=state.NEXT,
        icon=":material/arrow_forward:",
        on_click=go,
        args=(1,),
        disabled=at == len(order) - 1,
        width="stretch",
    )
