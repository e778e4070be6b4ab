"""Long work: progress that can be cancelled; in steps that are kept also taken up again."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import streamlit as st

T = TypeVar("T")

TELLS_AFTER: Final = 3
"""Steps after which the time that is left is told."""

EVERY: Final = 0.1
"""Seconds between two looks at how far work is; each costs the browser a message."""


def work_through(
    items: Sequence[T],
    step: Callable[[T], object],
    *,
    key: str,
    doing: Callable[[T], str],
    done: int = 0,
) -> None:
    """Do `step` for one item after another, with progress and a button to cancel.

    A click ends the run between two steps, so each step must keep what it made. The next
    run gives only what is left as `items`; if it was cancelled, they wait until the user
    goes on.

    Parameters
    ----------
    items : sequence
        What is left to do.
    step : callable
    key : str
        Of this work: cancelling it cancels no other.
    doing : callable
        What is done to an item, e.g. "Scoring a.png".
    done : int
        How many were done before, counted in the progress.
    """
    slot = st.empty()  # always one element, so that what follows keeps its place
    if not items:
        forget_cancelling(key)
        return
    total = done + len(items)
    with slot.container():
        text, button = st.columns([5, 1], vertical_alignment="center")
        if _is_cancelled(key):
            text.markdown(
                f":material/pause: Cancelled: **{len(items)} of {total}** are still to be done."
            )
            _button(button, "Go on", key, forget_cancelling)
            return
        _button(button, "Cancel", key, _cancel)
        bar = text.progress(done / total)
        began = time.monotonic()
        for count, item in enumerate(items):
            left = time_left(time.monotonic() - began, count, len(items) - count)
            place = done + count
            bar.progress(place / total, text=f"{place + 1} of {total}: {doing(item)}{left}")
            step(item)
    slot.empty()


@contextmanager
def whole_work(doing: str, *, key: str) -> Iterator[Callable[[int, int], None]]:
    """Progress of work that keeps nothing when it is cancelled, and a button to cancel.

    A click ends the run where the work next tells how far it is.

    Parameters
    ----------
    doing : str
        E.g. "Making the report".
    key : str
        Of this work.

    Yields
    ------
    callable
        To be told how many steps of how many are done, as often as the work likes.
    """
    forget_cancelling(key)
    slot = st.empty()
    with slot.container():
        text, button = st.columns([5, 1], vertical_alignment="center")
        _button(button, "Cancel", key, _cancel)
        bar = text.progress(0.0, text=f"{doing}…")
    began = told = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told < EVERY:
            return
        told = now
        left = time_left(now - began, done, total - done)
        bar.progress(min(1.0, done / max(1, total)), text=f"{doing}…{left}")

    try:
        yield tell
    finally:
        slot.empty()


def is_halted(key: str) -> bool:
    """Whether work that a page begins by itself was cancelled; then lets the user start it."""
    if not _is_cancelled(key):
        return False
    text, button = st.columns([5, 1], vertical_alignment="center")
    text.markdown(":material/pause: Cancelled, so there is nothing to show.")
    _button(button, "Start again", key, forget_cancelling)
    return True


def forget_cancelling(key: str) -> None:
    """Let work go on that was cancelled."""
    st.session_state.pop(f"{key}.cancelled", None)


def _is_cancelled(key: str) -> bool:
    return f"{key}.cancelled" in st.session_state


def _cancel(key: str) -> None:
    st.session_state[f"{key}.cancelled"] = True


def _button(place: Any, label: str, key: str, what: Callable[[str], None]) -> None:
    name = label.lower().replace(" ", "_")
    place.button(label, key=f"{key}.{name}", on_click=what, args=(key,), width="stretch")


def time_left(elapsed: float, done: int, left: int) -> str:
    """How long `left` steps take if each takes as long as the `done` before, in words.

    Parameters
    ----------
    elapsed : float
        Seconds that the steps before took together.
    done, left : int
    """
    if done < TELLS_AFTER:
        return ""
    seconds = elapsed / done * left
    if seconds < 60:
        return f" · about {max(1, round(seconds))} s left"
    return f" · about {round(seconds / 60)} min left"
