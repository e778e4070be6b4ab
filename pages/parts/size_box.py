"""A box to type a pixel size: what is seen in it is what is used, or nothing is."""

from typing import Any

import streamlit as st

from cellularity_core.errors import PixelSizeError
from cellularity_core.patch import check_mpp
from pages.parts.markdown import plain


def size_box(
    place: Any, name: str, *, key: str, value: float | None = None, **options: Any
) -> float | None:
    """Show the box in `place`; µm per pixel of what is called `name`, or None.

    It has no limits of its own: the browser would keep back what is beyond them, and the
    size that was typed before would stand for what is seen.
    """
    typed: float | None = place.number_input(
        "µm per pixel", value=value, step=0.01, format="%.3f", key=key, **options
    )
    if typed is None:
        return None
    try:
        return check_mpp(typed, name)
    except PixelSizeError as error:
        st.error(plain(str(error)))
        return None
