"""The reader's desk: one patch and the pad to score it, driven by keys in the browser.

A score is given without waiting for the server; only a commit goes there. Nothing
is part of what is sent to the browser but what `Task` holds.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal
from uuid import uuid4

import streamlit as st

from pages.parts import state

REASONS: Final = (
    "Out of focus or blurred",
    "Fold, pen, bubble or other artefact",
    "No tumour bed in the patch",
    "Too little tissue",
    "Other",
)
"""Why a patch cannot be scored, in the order of their keys 1 to 5."""

_FILES: Final = Path(__file__).parent / "js"
_COMPONENT: Final = st.components.v2.component(
    "cellularity.desk",
    **{
        kind: (_FILES / f"desk.{kind}").read_text(encoding="utf-8")
        for kind in ("html", "css", "js")
    },
)

Mode = Literal["score", "feedback"]


@dataclass(frozen=True, slots=True)
class Task:
    """What one read shows.

    Attributes
    ----------
    token : str
        Of this read, the same after a reload and in no other records; what is unfinished
        is kept under it.
    assignment : int
    phase : str
    mode : {"score", "feedback"}
        Whether a score is asked for, or the answer to a training case is shown.
    png : bytes
        The patch.
    mpp : float
        um per pixel.
    where, question : str
        Case and progress; what is asked.
    done, total : int
    start : int or None
        Percent the pad begins with.
    beside : sequence of (str, str)
        Scores that may be seen by now, by name.
    kept : str
        Token of the read that was kept last.
    saved : str
        When that was, in words.
    error : str
        Why the last commit was refused.
    attempt : int
        Number of commits refused so far, so that the same refusal shows twice.
    """

    token: str
    assignment: int
    phase: str
    mode: Mode
    png: bytes
    mpp: float
    where: str
    question: str
    done: int
    total: int
    start: int | None = None
    beside: Sequence[tuple[str, str]] = ()
    kept: str = ""
    saved: str = ""
    error: str = ""
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Given:
    """What a reader committed: a score in percent, or why there is none."""

    token: str
    assignment: int
    phase: str
    mode: Mode
    value: int | None
    reason: str | None
    confidence: int | None
    seconds: float


def desk(task: Task, *, key: str, on_commit: Callable[[], None]) -> None:
    """Show a read; `on_commit` is called when the reader has committed it.

    What is sent differs in each run, since the browser hears of no other: so the desk
    notices a run that should have kept a score and did not.
    """
    data = asdict(task) | {
        "png": None,
        "image": "data:image/png;base64," + base64.b64encode(task.png).decode("ascii"),
        "reasons": REASONS,
        "run": uuid4().hex,
    }
    _COMPONENT(key=key, data=data, on_commit_change=on_commit)


def given(key: str) -> Given:
    """What was committed on the desk `key`, checked: a browser can send anything.

    Raises
    ------
    ValueError
        If it is not what a desk sends.
    """
    return read_given(state.sent(key, "commit"))


def read_given(sent: Any) -> Given:
    """`sent` as a `Given`.

    Raises
    ------
    ValueError
        If a field is missing or not of its kind.
    """
    if not isinstance(sent, dict):
        raise ValueError("Nothing was sent.")

    def whole(name: str, low: int, high: int) -> int | None:
        number = sent.get(name)
        if number is None:
            return None
        if isinstance(number, bool) or not isinstance(number, int | float) or number % 1:
            raise ValueError(f"{name} is {number!r}, not a whole number.")
        if not low <= number <= high:
            raise ValueError(f"{name} is {number}, not from {low} to {high}.")
        return int(number)

    assignment = whole("assignment", 1, 2**53)
    seconds = sent.get("seconds")
    reason = sent.get("reason")
    if reason is not None and reason not in REASONS:
        raise ValueError(f"{reason!r} is not one of the reasons.")
    if assignment is None or not isinstance(seconds, int | float) or not seconds >= 0:
        raise ValueError("The read or its time is missing.")
    if sent.get("mode") not in ("score", "feedback"):
        raise ValueError(f"{sent.get('mode')!r} is not a mode of the desk.")
    return Given(
        token=str(sent.get("token")),
        assignment=assignment,
        phase=str(sent.get("phase")),
        mode=sent["mode"],
        value=whole("value", 0, 100),
        reason=reason,
        confidence=whole("confidence", 1, 5),
        seconds=float(min(seconds, 86_400)),
    )
