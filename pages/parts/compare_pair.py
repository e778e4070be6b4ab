"""Two raters of the page Compare: scatter and Bland-Altman, whose dots open patches."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from cellularity_core.agreement import bland_altman, bland_altman_points, icc_a1_pair
from pages.parts import state
from pages.parts.agreement_figures import MODELS, bland_altman_figure, scatter
from pages.parts.agreement_words import points, told, with_limits
from pages.parts.compare_data import (
    Rater,
    Side,
    furthest,
    overlap,
    scales_of,
    shared,
    unreliable,
)
from pages.parts.compare_table import fingerprint, opener
from pages.parts.markdown import plain
from pages.parts.state import Case
from pages.parts.words import counted


def pair(
    case: Case, order: Sequence[str], sides: Sequence[Side], some: Sequence[Rater], seen: int
) -> None:
    """The choice of two raters, how well they agree, and a dot a patch.

    Parameters
    ----------
    case : Case
    order : sequence of str
        Checksums of the patches, as in the table.
    sides, some : sequences of Side and Rater
    seen : int
        Scores of the reader that do not count, as the models' output had been on screen.
    """
    names = {rater.name: rater for rater in some}
    if len(names) < 2:
        st.info(
            "There is nothing to compare yet: two methods, or a method and you, are needed. Choose "
            "models that have several methods, or score a patch yourself on the page Analyse."
        )
        return
    at, beside = furthest(some, order)
    of_what = fingerprint(list(names))  # a choice ends with the list that it was made from
    left, right = st.columns(2)
    a = left.selectbox(
        "Compare", list(names), at, key=f"{state.COMPARE_A}.{of_what}", persist_state="session"
    )
    others = [name for name in names if name != a]
    other = some[beside].name if some[beside].name != a else some[at].name
    b = right.selectbox(
        "with",
        others,
        others.index(other),
        key=f"{state.COMPARE_B}.{of_what}.{fingerprint([a])}",
        persist_state="session",
    )
    one, two = names[a], names[b]
    on_one_scale, scales = scales_of(one, two)
    if not on_one_scale:
        st.warning(plain_but_bold(scales), icon=":material/straighten:")
    poor = {s for s in order if unreliable(sides, s)}
    with_poor = bool(poor) and st.toggle(
        f"Also {counted(len(poor), 'patch', 'patches')} whose scores cannot be relied on",
        key=state.COMPARE_UNRELIABLE,
        persist_state="session",
    )
    counted_in = [s for s in order if with_poor or s not in poor]
    both, first, second = shared(one, two, counted_in)
    if not both:
        st.info(
            f"{plain(a)} and {plain(b)} have no patch in common that is scored. Choose two others, "
            "or add patches above."
        )
        return
    found = bland_altman(first, second)
    st.markdown(
        f"**{plain(a)}** less **{plain(b)}** on {counted(len(both), 'patch', 'patches')}: bias "
        f"{with_limits(found.bias, points)} points, limits of agreement "
        f"{with_limits(found.loa_low, points)} and {with_limits(found.loa_high, points)}; "
        f"ICC(A,1) {told(icc_a1_pair(first, second))}."
    )
    cases = [case.patches[s].name for s in both]
    charts = st.columns(2)
    means, gaps = bland_altman_points(first, second)
    place = both.index(case.current) if case.current in both else None
    titles = (
        "Scores, with the line of identity",
        "Differences (Bland-Altman), 95 % limits and their intervals",
    )
    figures = (
        (scatter(cases, first, second, (a, b)), second, first, state.COMPARE_SCATTER),
        (
            bland_altman_figure(cases, first, second, found, (a, b)),
            means,
            gaps,
            state.COMPARE_BLAND_ALTMAN,
        ),
    )
    for column, title, (figure, x, y, name) in zip(charts, titles, figures, strict=True):
        key = f"{name}.{fingerprint([a, b, *both])}"
        column.markdown(title)
        column.plotly_chart(
            _marked(figure, x, y, place),
            key=key,
            on_select=opener(case, key, both, _first_dot),
            selection_mode="points",
            config={"displayModeBar": False},
        )
    notes = [
        "A click on a dot opens the patch below. Intervals of 95 %, each patch counted as a "
        "patient of its own: several patches of one patient make them too narrow.",
        *filter(None, [scales if on_one_scale else "", overlap(one, two)]),
    ]
    if seen and None in (one.method, two.method):
        notes.append(
            f"{counted(seen, 'score')} of yours left out: given when the models' output for the "
            "patch had been on screen."
        )
    st.caption(plain_but_bold(" ".join(notes)))


def _marked(chart: go.Figure, x: Any, y: Any, place: int | None) -> go.Figure:
    """`chart`, with a ring about the dot at `place`; a click dims no other dot."""
    at = [] if place is None else [place]
    chart.update_traces(
        selector={"mode": "markers"},
        selected={"marker": {"opacity": 0.65}},
        unselected={"marker": {"opacity": 0.65}},
    )
    return chart.add_scatter(
        x=100 * np.asarray(x)[at],
        y=100 * np.asarray(y)[at],
        mode="markers",
        marker={"symbol": "circle-open", "size": 17, "color": MODELS, "line": {"width": 3}},
        hoverinfo="skip",
    )


def _first_dot(selection: Mapping[str, Any]) -> int | None:
    """Place of the dot that was clicked, among the dots of the patches."""
    dots = [p for p in selection["points"] if p.get("customdata") is not None]
    return dots[0]["point_index"] if dots else None


def plain_but_bold(text: str) -> str:
    """`text` letter by letter, but for what stands between two pairs of asterisks."""
    return "**".join(plain(part) for part in text.split("**"))
