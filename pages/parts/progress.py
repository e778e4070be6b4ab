"""Long work in steps: progress that can be cancelled, and taken up again."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import streamlit as st

T = TypeVar("T")

TELLS_AFTER: Final = 3
"""Steps after which the time that is left is told."""


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
    cancelled = f"{key}.cancelled"
    if not items:
        st.session_state.pop(cancelled, None)
        return
    total = done + len(items)
    with slot.container():
        text, button = st.columns([5, 1], vertical_alignment="center")
        if st.session_state.get(cancelled):
            text.markdown(
                f":material/pause: Cancelled: **{len(items)} of {total}** are still to be done."
            )
            _button(button, "Go on", key, st.session_state.pop, (cancelled, None))
            return
        _button(button, "Cancel", key, st.session_state.__setitem__, (cancelled, True))
        bar = text.progress(done / total)
        began = time.monotonic()
        for count, item in enumerate(items):
            left = time_left(time.monotonic() - began, count, len(items) - count)
            place = done + count
            bar.progress(place / total, text=f"{place + 1} of {total}: {doing(item)}{left}")
            step(item)
    slot.empty()


def _button(
    place: Any, label: str, key: str, what: Callable[..., object], given: tuple[Any, ...]
) -> None:
    name = label.lower().replace(" ", "_")
    place.button(label, key=f"{key}.{name}", on_click=what, args=given, width="stretch")


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
