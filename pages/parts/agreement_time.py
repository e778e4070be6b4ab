"""Agreement over time, and what readers do after they have seen the models."""

from typing import cast

import streamlit as st

from cellularity_core.agreement.trend import BATCH, Period
from cellularity_core.errors import DataError
from pages.parts import state
from pages.parts.agreement_data import MEAN_OF_MODELS
from pages.parts.agreement_figures import trend_figure
from pages.parts.agreement_source import Chosen
from pages.parts.agreement_stats import movement_of, report_of, trend_of
from pages.parts.agreement_tables import table
from pages.parts.agreement_words import (
    MEASURES,
    lacking_control,
    movement_counts,
    movement_rows,
    with_limits,
)
from pages.parts.markdown import harmless


def over_time(chosen: Chosen) -> None:
    """Each rater's agreement with the readers by week or by batch of cases."""
    material = chosen.material
    report = report_of(material.key, material)
    how, size, what = st.columns(3)
    by = how.segmented_control(
        "By", ["batch", "week"], default="batch", required=True, key=state.AGREEMENT_PERIOD
    )
    batch = size.number_input(
        "Cases of a batch", 5, 500, BATCH, key=state.AGREEMENT_BATCH, disabled=by == "week"
    )
    measure = what.selectbox(
        "Measure", list(MEASURES), format_func=MEASURES.__getitem__, key=state.AGREEMENT_MEASURE
    )
    raters = (*report.readers, *report.models)
    wanted = st.multiselect("Raters", raters, raters, key=state.AGREEMENT_RATERS)
    try:
        points = trend_of(material.key, cast(Period, by), int(batch), material)
    except DataError as error:
        st.info(harmless(str(error)))
        return
    shown = [point for point in points if point.rater in wanted]
    if not any(getattr(point, measure).value is not None for point in shown):
        reasons = dict.fromkeys(getattr(point, measure).reason for point in shown)
        st.info(
            f"Nothing to draw yet: {'; '.join(filter(None, reasons)) or 'no rater chosen'}. Choose "
            "raters or another measure above, or come back when more cases are read."
        )
        return
    title = "week of the read" if by == "week" else "batch of cases, in the order each rater read"
    st.plotly_chart(trend_figure(shown, measure, title), key="agreement.trend")
    st.caption(
        f"Mean {MEASURES[measure]} of each rater with the other readers, 95 % intervals. Models "
        "are drawn open; a model's score counts to the time of the case's first read."
    )
    with st.expander("As a table"):
        rows = [
            {
                "Rater": point.rater,
                "Period": point.period,
                "Cases": point.n_cases,
                **{name: with_limits(getattr(point, key)) for key, name in MEASURES.items()},
                "Why not": getattr(point, measure).reason or "",
            }
            for point in shown
        ]
        table(rows, "agreement.trend_table")


def after_ai(chosen: Chosen) -> None:
    """Whether second reads moved toward the models, and whether the models did it."""
    material = chosen.material
    study = material.study
    if study is None or study.arm == "before":
        st.info(
            "Nobody was shown the models between two scores of a case here, so nothing can be said "
            "of automation bias. A study “before, then after AI, with a control arm” tells it."
        )
        return
    report = report_of(material.key, material)
    model = st.selectbox(
        "Moved toward", [MEAN_OF_MODELS, *report.models], key=state.AGREEMENT_ADVICE
    )
    found = movement_of(material, model)
    if found is None:
        st.info(
            "No case was scored a second time after the models had been shown yet. A reader is "
            "asked for it on the page Read, after the first score of a case."
        )
        return
    lacking = lacking_control(study.arm, found)
    if lacking is not None:
        st.warning(lacking)
    table(movement_rows(found, has_reference=bool(material.consensus)), "agreement.movement")
    st.caption(
        f"{movement_counts(found)} First reads and their second score; 95 % intervals by bootstrap "
        "over patients. "
        + (
            "The right bin is that of the consensus."
            if material.consensus
            else "Whether second scores became right or wrong shows once there is a consensus on "
            "cases."
        )
    )
