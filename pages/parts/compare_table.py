"""The table of the page Compare: a row a patch, the methods' disagreement first."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256 as digest
from typing import Any, Final

import pandas as pd
import streamlit as st

from cellularity_core.conventions import INTERVAL
from db.records import ReadingRecord
from pages.parts import state
from pages.parts.compare_data import APART, BETWEEN, OWN, Rater, Side, row
from pages.parts.state import Case

HERE: Final = " "
"""Column that marks the patch on screen."""
_ROWS: Final = 12
"""Shown without scrolling."""


def table(
    case: Case,
    order: Sequence[str],
    sides: Sequence[Side],
    some: Sequence[Rater],
    own: Mapping[str, Sequence[ReadingRecord]],
    why_not: Mapping[str, str],
) -> None:
    """Every patch with its scores, or with the reason why there are none; a click opens it.

    Parameters
    ----------
    case : Case
    order : sequence of str
        Checksums, from the top down.
    sides, some : sequences of Side and Rater
        What stands in the columns.
    own : mapping
        The reader's scores by checksum.
    why_not : mapping of str to str
        Why a patch has no scores.
    """
    rows = []
    for sha256 in order:
        cells = row(sides, some, sha256, own)
        cells["Warnings"] = why_not.get(sha256) or cells["Warnings"]
        here = "▶" if sha256 == case.current else ""
        rows.append({HERE: here, "Patch": case.patches[sha256].name} | cells)
    frame = pd.DataFrame(rows)
    if not own:
        frame = frame.drop(columns=OWN)
    key = f"{state.COMPARE_TABLE}.{fingerprint(order)}"
    st.dataframe(
        frame,
        hide_index=True,
        height=38 + 35 * min(len(rows), _ROWS),
        column_config=_columns(frame, some),
        key=key,
        on_select=opener(case, key, order, chosen_row),
        selection_mode="single-cell",
        placeholder="–",
    )


def _columns(frame: pd.DataFrame, some: Sequence[Rater]) -> dict[str, Any]:
    number = st.column_config.NumberColumn
    found: dict[str, Any] = {
        HERE: st.column_config.TextColumn(width=20, pinned=True),
        "Patch": st.column_config.TextColumn(width=210, pinned=True),
        APART: number(
            format="%.0f",
            width=70,
            help="Points between the lowest and the highest single method, within one scale.",
        ),
        BETWEEN: number(format="%+.0f", width=85, help="Set B's score less set A's, in points."),
        OWN: number(
            format="%.0f %%",
            width=90,
            help="Your last score of the patch. Charts take the first, if it was given blind.",
        ),
        "Warnings": st.column_config.TextColumn(width=150),
    }
    for rater in some:
        if rater.method is None:
            continue
        found[rater.code] = number(format="%.0f %%", width=72, help=rater.name)
        found[f"{rater.code} 90 %"] = st.column_config.TextColumn(
            width=90, help=f"{rater.name}: {100 * INTERVAL:.0f} % interval, in per cent"
        )
    return {name: found[name] for name in frame if name in found}


def fingerprint(parts: Sequence[str]) -> str:
    """A short name for a list: what is chosen by its place ends when the list changes."""
    return digest("\n".join(parts).encode()).hexdigest()[:12]


def opener(
    case: Case, key: str, order: Sequence[str], place_of: Callable[[Any], int | None]
) -> Callable[[], None]:
    """A callback that opens the patch at the place that was selected in the element `key`."""

    def choose() -> None:
        chosen = state.sent(key, "selection")
        place = place_of(chosen) if chosen else None
        if place is not None and 0 <= place < len(order):
            case.current = order[place]

    return choose


def chosen_row(selection: Any) -> int | None:
    """Row of the cell that was chosen in a table whose first column is `HERE`.

    A cell of that column is none: where nothing is selected, the browser selects the first cell
    as soon as the table has the focus, by the key Tab or a click on a heading to sort.
    """
    return next((row for row, column in selection["cells"] if column != HERE), None)
