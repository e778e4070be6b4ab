"""Statistics of the ratings on screen, computed once for the same ratings."""

from typing import Final

import streamlit as st

from cellularity_core.agreement import (
    AgreementReport,
    AutomationBias,
    Statistic,
    TrendPoint,
    agreement_report,
    readers_mean,
    trend,
)
from cellularity_core.agreement.trend import Period
from pages.parts.agreement_data import Material, movement
from pages.parts.progress import is_halted, whole_work

_DOING: Final = "Computing the agreement and its intervals"
_SPINNER: Final = f"{_DOING}…"

KEPT: Final = 16
"""Reports kept for all users together."""


def report_of(key: str, material: Material) -> AgreementReport:
    """Everything about the agreement of the ratings whose key is `key`.

    With progress; where it is cancelled the page ends here.
    """
    kept = _kept()
    if key not in kept:
        work = f"agreement.computing.{key[:12]}"
        with st.container():
            if is_halted(work):
                st.stop()
            with whole_work(_DOING, key=work) as tell:
                found = agreement_report(material.table, progress=tell)
        kept[key] = found
        while len(kept) > KEPT:
            kept.pop(next(iter(kept)), None)
        return found
    return kept[key]


@st.cache_resource(show_spinner=False)
def _kept() -> dict[str, AgreementReport]:
    return {}


@st.cache_data(max_entries=16, show_spinner=_SPINNER)
def mean_of_readers(key: str, _material: Material) -> tuple[Statistic, Statistic]:
    """Mean of the pairs of readers by ICC(A,1) and by quadratic kappa."""
    table = _material.table
    return readers_mean(table, "icc_a1"), readers_mean(table, "kappa4_quadratic")


@st.cache_data(max_entries=32, show_spinner=_SPINNER)
def trend_of(key: str, by: Period, batch: int, _material: Material) -> tuple[TrendPoint, ...]:
    """Agreement over time."""
    return trend(_material.table, by=by, batch=batch)


def movement_of(material: Material, model: str) -> AutomationBias | None:
    """How second reads moved toward a model."""
    seconds = [row for row in material.rows if row.phase != "before"]
    key = repr((material.key, seconds, material.consensus))
    return _movement(key, model, material)


@st.cache_data(max_entries=16, show_spinner=_SPINNER)
def _movement(key: str, model: str, _material: Material) -> AutomationBias | None:
    return movement(_material, model)
