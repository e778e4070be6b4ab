"""A session waits for its turn at the models; its user sees how many come before."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import streamlit as st

from db.turns import Turns
from pages.parts.frame import line
from pages.parts.state import CASE

AFTER: Final = 0.7
"""Seconds of waiting before anything is said: a line that comes and goes at once only disturbs."""


def place(before: int) -> str:
    """How many come before, in words."""
    if before == 1:
        return "Waiting for the models: one other is before you."
    return f"Waiting for the models: {before} others are before you."


@contextmanager
def turn(turns: Turns) -> Iterator[None]:
    """Hold the turn, after waiting for it; who leaves the page while waiting gives up their place.

    Parameters
    ----------
    turns : Turns
        At the models.
    """
    slot = line()
    if slot is None:
        with turns.mine():
            yield
        return
    began, said = time.monotonic(), ""

    def tell(before: int) -> None:
        nonlocal said
        _ = CASE in st.session_state  # ends this run where the page was left, or something clicked
        text = place(before)
        if before and text != said and time.monotonic() - began > AFTER:
            said = text
            slot.html(f'<div class="waiting" role="status">{text}</div>')

    with turns.mine(tell=tell):
        if said:
            slot.empty()
        yield
