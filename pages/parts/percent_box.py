"""A box to type a score in percent: what is seen in it is what is kept, or nothing is."""

from typing import Any

import streamlit as st


def whole_percent(typed: float | None) -> int | None:
    """`typed` as a score in percent; None if it is no whole number from 0 to 100."""
    return int(typed) if typed is not None and typed % 1 == 0 and 0 <= typed <= 100 else None


def percent_box(place: Any, label: str, *, key: str, **options: Any) -> int | None:
    """Show the box in `place`; the score in it, or None if it is empty or holds none.

    The box has no limits of its own: the browser would keep back what is beyond them, and
    the score that was typed before would stand for what is seen.
    """
    typed: float | None = place.number_input(
        label, value=None, step=1.0, format="%g", key=key, **options
    )
    score = whole_percent(typed)
    if typed is not None and score is None:
        st.error(f"{typed:g} is not a score: type a whole number from 0 to 100.")
    return score
