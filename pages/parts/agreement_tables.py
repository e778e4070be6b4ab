"""At a glance, and the statistics in full."""

from collections.abc import Sequence
from typing import Any, Final

import pandas as pd
import streamlit as st

from pages.parts.agreement_figures import forest, forest_rows, has_values
from pages.parts.agreement_source import Chosen
from pages.parts.agreement_stats import mean_of_readers, report_of
from pages.parts.agreement_words import (
    VERDICTS,
    comparison_rows,
    count_rows,
    group_rows,
    repeat_rows,
)
from pages.parts.words import counted

MOST_ROWS: Final = 30
"""Of a table that is shown without scrolling."""

MORE: Final = (
    "It comes when more is read: add a reader on the page Studies, or wait for those there are."
)
"""What to do where there are too few scores to compare."""


def table(rows: Sequence[dict[str, Any]], key: str) -> None:
    """Rows as a table; a column that is empty throughout is left out."""
    frame = pd.DataFrame(rows)
    kept = [name for name in frame if name != "Why not" or frame[name].any()]
    height = "content" if len(rows) <= MOST_ROWS else "auto"
    st.dataframe(frame[kept], hide_index=True, width="stretch", height=height, key=key)


def at_a_glance(chosen: Chosen) -> None:
    """One picture of readers and models, and what was read."""
    material = chosen.material
    report = report_of(material.key, material)
    rows = forest_rows(report, mean_of_readers(material.key, material))
    if has_values(rows):
        st.plotly_chart(forest(rows), key="agreement.forest", config={"displayModeBar": False})
        st.caption(
            "Points with 95 % intervals; right is better. Blue: two readers with each other. "
            "Square: their mean. Orange: a model with the readers, on average. The band is where "
            "pairs of readers lie: a model whose point is in it agrees with readers as readers "
            "agree. The word behind a model's name follows from the interval of the difference "
            "to the readers' mean, by ICC(A,1); see Statistics."
        )
    else:
        reasons = [row.statistics[0].reason for row in rows]
        why = next(filter(None, reasons), "two raters or more are needed")
        st.info(f"There is nothing to compare yet: {why}. {MORE}")
    st.subheader("What was read", anchor=False)
    table(count_rows(report.counts), "agreement.counts")
    notes = [f"{counted(report.n_cases_complete, 'case')} scored by every reader."]
    if report.n_cases_unscored:
        notes.append(f"{counted(report.n_cases_unscored, 'case')} without any score.")
    if material.n_amended:
        notes.append(
            f"{counted(material.n_amended, 'score')} amended later: the statistics keep the score "
            "as it was committed."
        )
    if material.study is not None and material.n_seen:
        notes.append(
            f"{counted(material.n_seen, 'score')} left out: the reader had met the models' output "
            "for the patch before."
        )
    st.caption(" ".join(notes))


def statistics(chosen: Chosen) -> None:
    """Statistics of the group, models beside the readers, repeats."""
    material = chosen.material
    report = report_of(material.key, material)
    st.subheader("Readers together", anchor=False)
    table(group_rows(report), "agreement.group")
    how = {
        "closed": "Closed forms and the jackknife where there are any: every patient has one case.",
        "bootstrap": f"Bootstrap by patient ({report.draws} draws, seed {report.seed}) where "
        "patients have several cases.",
    }
    st.caption(f"Intervals of 95 %. {how[report.intervals]}")
    if report.model_vs_readers:
        st.subheader("Models beside the readers' spread", anchor=False)
        table(comparison_rows(report), "agreement.models_table")
        margin = report.model_vs_readers[0].icc_a1.margin
        st.caption(
            f"{VERDICTS} Inside is at most {margin:g} less than readers agree with each other; "
            "that line is a convention."
        )
    st.subheader("Each reader again: repeatability", anchor=False)
    repeats = repeat_rows(report.repeatability)
    if repeats:
        table(repeats, "agreement.repeats")
        st.caption(
            "In percentage points. 95 % of two reads of a case by the same reader differ by less "
            "than the repeatability coefficient. Shift is the last read less the first."
        )
    else:
        st.info(
            "No case was read twice by the same reader, so repeatability cannot be told. A study "
            "tells it if you give it hidden repeats when you make it."
        )
