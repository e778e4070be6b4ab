"""What stands around every page, and how a page is run."""

import runpy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import Final, ParamSpec

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from cellularity_core.errors import CellularityError
from db.errors import RecordError
from pages.parts.markdown import harmless

RESEARCH_USE: Final = "Research use only - not for diagnosis"

ICON: Final = str(Path(__file__).with_name("icon.png"))
"""Icon of the browser's tab; one of Streamlit's own would be fetched from the internet."""

_APP: Final = Path(__file__).resolve().parents[2] / "app.py"

_REFUSED: Final = "frame.refused"

P = ParamSpec("P")

_line: ContextVar[DeltaGenerator | None] = ContextVar("line", default=None)
"""Of the page that is run: room for one line that stays in sight while it scrolls."""

_STYLE: Final = """
<style>
.stMainBlockContainer { padding-top: 3.6rem; padding-bottom: 4rem; }
.stMainBlockContainer h1 { font-size: 1.8rem; padding: 0.2rem 0; }
.stMainBlockContainer h2 { font-size: 1.4rem; padding: 0.6rem 0 0.2rem; }
.stMainBlockContainer h3 { font-size: 1.3rem; padding-bottom: 0.2rem; }
/* What is chosen is marked by its frame or place; violet text is too faint on dark. */
.stButtonGroup button[data-selected="true"], .stTab[data-selected="true"],
[data-testid="stSliderThumbValue"] { color: inherit !important; }
/* A command that scrolls could not be reached by keys. */
.stMainBlockContainer pre, .stMainBlockContainer pre code {
  white-space: pre-wrap !important; overflow-wrap: anywhere;
}
/* The theme's grey is too faint. What stands on a colour of its own keeps its own. */
.stPlotlyChart:not(.st-key-rcb-scale *)
  :is(.xaxislayer-above, .yaxislayer-above, .infolayer, .cartesianlayer .bars) text {
  fill: currentColor !important; fill-opacity: 1 !important;
}
.research-use {
  position: fixed; left: 0; right: 0; bottom: 0; z-index: 1000; padding: 0.3rem 1rem;
  text-align: center; font-size: 0.9rem; font-weight: 600;
  background: #FFF3C4; color: #3D2E00; border-top: 1px solid #E0C25A;
}
.waiting {
  position: fixed; left: 50%; transform: translateX(-50%); bottom: 2.6rem; z-index: 1000;
  padding: 0.5rem 1rem; border-radius: 0.5rem; font-weight: 600;
  background: #5B3E8F; color: #FFFFFF;
}
</style>
"""


@contextmanager
def frame() -> Iterator[None]:
    """Spacing of the page, and the lines that stay in sight while it scrolls."""
    st.html(f'{_STYLE}<div class="research-use" role="note">{RESEARCH_USE}</div>')
    token = _line.set(st.empty())
    try:
        yield
    finally:
        _line.reset(token)


def line() -> DeltaGenerator | None:
    """Room for one line that stays in sight, wherever on the page it is written from.

    None outside a run of a page, such as while a file is made for a download.
    """
    return _line.get()


def answered(callback: Callable[P, None]) -> Callable[P, None]:
    """`callback`, whose error a user can act on is shown by the page that follows.

    Streamlit runs callbacks before the page, where `show` cannot catch them.
    """

    @wraps(callback)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            callback(*args, **kwargs)
        except (CellularityError, RecordError) as error:
            st.session_state[_REFUSED] = str(error)

    return guarded


def show(page: Callable[[], None]) -> None:
    """Run a page inside the app, and show the text of an error a user can act on.

    Until `app.py` has run once in a server, Streamlit takes the folder ``pages``
    for one of its own kind and runs a page that is asked for by itself, without
    what must stand around it. Such a page runs the app, which comes back here.
    """
    if _line.get() is None:
        runpy.run_path(str(_APP))
        return
    with st.container():
        if refused := st.session_state.pop(_REFUSED, None):
            st.error(harmless(refused))
    with told():
        page()


@contextmanager
def told() -> Iterator[None]:
    """Show the text of an error a user can act on; for what runs apart from its page, too."""
    try:
        yield
    except (CellularityError, RecordError) as error:
        st.error(harmless(str(error)))
