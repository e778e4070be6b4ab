"""The records, as the pages reach them."""

from typing import Any

import streamlit as st

from db.session import open_records


@st.cache_resource(show_spinner=False)
def store() -> Any:
    """Connection to the records, made once for all sessions."""
    return open_records()
