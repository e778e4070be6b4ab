"""The records, as the pages reach them."""

import sys
from typing import Any, Final

import streamlit as st

from cellularity_core.memory import share_memory
from db.session import open_records

SWITCH: Final = 0.001
"""Seconds that a thread may compute before another one that waits is let in; Python's own: 5 ms.

Each of some forty statements of a commit lets others in and then waits for them again. Beside
one page that is being drawn a commit took 310 ms, and with this 190 ms.
"""


@st.cache_resource(show_spinner=False)
def store() -> Any:
    """Connection to the records, made once for all sessions."""
    sys.setswitchinterval(SWITCH)
    share_memory()
    return open_records()
