"""Two raters at a time."""

import streamlit as st

from pages.parts import state
from pages.parts.agreement_data import shared_scores
from pages.parts.agreement_figures import bland_altman_figure, confusion, scatter
from pages.parts.agreement_source import Chosen
from pages.parts.agreement_stats import report_of
from pages.parts.agreement_tables import MORE, table
from pages.parts.agreement_words import pair_rows, told
from pages.parts.markdown import plain
from pages.parts.words import counted


def two_by_two(chosen: Chosen) -> None:
    """Table of pairs, and three pictures of the one that is chosen."""
    material = chosen.material
    report = report_of(material.key, material)
    raters = (*report.readers, *report.models)
    if len(raters) < 2:
        st.info(f"There is nothing to compare yet: two raters or more are needed. {MORE}")
        return
    left, right = st.columns(2)
    a = left.selectbox("Rater", raters, 0, key=state.AGREEMENT_A)
    others = [name for name in raters if name != a]
    b = right.selectbox("with", others, 0, key=state.AGREEMENT_B)
    pair = next(pair for pair in report.pairs if {pair.a, pair.b} == {a, b})
    names = (pair.a, pair.b)
    cases, first, second = shared_scores(material.table, *names)
    if not cases:
        st.info(f"{plain(a)} and {plain(b)} have no case in common yet.")
    else:
        st.markdown(
            f"**{plain(pair.a)}** beside **{plain(pair.b)}**, the reference, on "
            f"{counted(pair.n, 'case')}: ICC(A,1) {told(pair.icc_a1)}, quadratic kappa "
            f"{told(pair.kappa4_quadratic)}."
        )
        one, two = st.columns(2)
        one.markdown("Scores, with the line of identity")
        one.plotly_chart(scatter(cases, first, second, names), key="agreement.scatter")
        two.markdown("Differences (Bland-Altman), 95 % limits and their intervals")
        two.plotly_chart(
            bland_altman_figure(cases, first, second, pair.bland_altman, names),
            key="agreement.bland_altman",
        )
        one.markdown("Cases by bin")
        one.plotly_chart(confusion(first, second, names), key="agreement.confusion")
        with two:
            st.markdown("In numbers")
            [row] = pair_rows([pair])
            facts = [
                {"Statistic": name, "Value": str(row[name])}
                for name in row
                if name not in ("a", "b")
            ]
            table([fact for fact in facts if fact["Value"] != ""], "agreement.pair")
    st.subheader("All pairs", anchor=False)
    table(pair_rows(report.pairs), "agreement.pairs")
    st.caption(
        "b is the reference: bias is the mean of a less b, in percentage points, and PK takes b as "
        "truth. With 95 % intervals; kappa's is too narrow for 20 cases and sound from about 60."
    )
