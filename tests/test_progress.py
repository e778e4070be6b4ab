"""Long work that can be cancelled and taken up again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from pages.parts.progress import TELLS_AFTER, time_left


def work() -> None:
    """Six steps; at the one that is named, the user clicks on Cancel."""
    import streamlit as st

    from pages.parts.progress import work_through

    made = st.session_state.setdefault("made", [])
    shown = st.session_state.setdefault("shown", [])

    def step(item: int) -> None:
        shown.append(doing(item))
        made.append(item)
        if item == st.session_state.get("click_at"):
            st.session_state["work.cancelled"] = True  # as the button's callback does
            st.rerun()

    def doing(item: int) -> str:
        return f"making {item}"

    left = [item for item in range(6) if item not in made]
    work_through(left, step, key="work", doing=doing, done=len(made))
    st.text(f"{len(made)} made")


def test_cancelling_keeps_what_is_done_and_going_on_does_the_rest_once() -> None:
    at = AppTest.from_function(work)
    at.session_state["click_at"] = 2
    at.run()
    assert not at.exception
    assert at.session_state["made"] == [0, 1, 2]
    assert "**3 of 6** are still to be done" in at.markdown[0].value
    assert at.text[0].value == "3 made"
    at.run()
    assert at.session_state["made"] == [0, 1, 2]
    at.button(key="work.go_on").click().run()
    assert at.session_state["made"] == list(range(6))
    assert not at.markdown and not at.button
    assert at.text[0].value == "6 made"


def test_work_that_is_done_leaves_nothing_on_the_page_and_forgets_the_cancelling() -> None:
    at = AppTest.from_function(work)
    at.session_state["made"] = list(range(6))
    at.session_state["work.cancelled"] = True
    at.run()
    assert "work.cancelled" not in at.session_state
    assert not at.button


def one_piece() -> None:
    """Work that a page begins by itself; at the step that is named, the user clicks on Cancel."""
    import streamlit as st

    from pages.parts.progress import is_halted, whole_work

    if is_halted("work"):
        return
    with whole_work("Counting", key="work") as tell:
        for done in range(6):
            tell(done, 6)
            if done == st.session_state.get("click_at"):
                del st.session_state["click_at"]
                st.session_state["work.cancelled"] = True  # as the button's callback does
                st.rerun()
    st.text("counted")


def test_work_in_one_piece_that_is_cancelled_waits_until_it_is_wanted_again() -> None:
    at = AppTest.from_function(one_piece)
    at.session_state["click_at"] = 3
    at.run()
    assert not at.exception
    assert not at.text
    assert "Cancelled" in at.markdown[0].value
    at.run()
    assert not at.text
    at.button(key="work.start_again").click().run()
    assert at.text[0].value == "counted"
    assert not at.button and not at.markdown


@pytest.mark.parametrize(
    ("elapsed", "done", "left", "words"),
    [
        (5.0, TELLS_AFTER - 1, 100, ""),
        (3.0, 3, 10, " · about 10 s left"),
        (0.003, 3, 1, " · about 1 s left"),
        (6.0, 3, 600, " · about 20 min left"),
    ],
)
def test_the_time_that_is_left(elapsed: float, done: int, left: int, words: str) -> None:
    assert time_left(elapsed, done, left) == words


@given(st.floats(0.01, 1e4), st.integers(TELLS_AFTER, 500), st.integers(1, 500))
def test_no_time_left_is_never_said_while_there_are_steps(
    elapsed: float, done: int, left: int
) -> None:
    assert " about 0 " not in time_left(elapsed, done, left)
