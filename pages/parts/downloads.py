"""Files out: the same functions as the command line, so the same numbers."""

from collections.abc import Sequence

import streamlit as st

from cellularity_core import export
from cellularity_core.patch import Rejected
from cellularity_core.results import PatchResult
from pages.parts import state


def downloads(
    results: Sequence[PatchResult], problems: Sequence[Rejected], current: PatchResult
) -> None:
    """Buttons for CSV and JSON of every result given, and the nuclei of the current one."""
    stem = "cellularity" if len(results) > 1 else export.file_stem(current.image)
    which = f"{len(results)} patches" if len(results) > 1 else "this patch"
    methods = list(current.scores)
    table, whole, points = st.columns(3)
    table.download_button(
        f"Scores of {which} (CSV)",
        export.csv_text([export.row(r, methods) for r in results], export.columns(methods)),
        file_name=f"{stem}.csv",
        mime="text/csv",
        key=state.CSV,
        on_click="ignore",
        width="stretch",
    )
    whole.download_button(
        f"Everything of {which} (JSON)",
        export.json_text(
            export.document(
                [export.patch_record(r) for r in results],
                [(problem.name, problem.reason) for problem in problems],
                model_set=current.model_set,
                model_sha256=current.model_sha256,
                scale=current.scale,
            )
        ),
        file_name=f"{stem}.json",
        mime="application/json",
        key=state.JSON,
        on_click="ignore",
        width="stretch",
    )
    points.download_button(
        "Nuclei of this patch (CSV)",
        export.csv_text(export.nuclei_rows(current), export.NUCLEI_COLUMNS),
        file_name=f"{export.file_stem(current.image)}-nuclei.csv",
        mime="text/csv",
        key=state.NUCLEI,
        on_click="ignore",
        width="stretch",
    )
