"""A file is asked for long after the page was drawn: whether it may be seen is asked again."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from db.errors import RecordError
from pages.parts import access
from pages.parts.frame import answered


def save_button(
    place: Any,
    make: Callable[[], bytes],
    *,
    is_locked: Callable[[], bool],
    reader: str,
    file_name: str,
    mime: str,
    key: str,
    disabled: bool = False,
) -> None:
    """A button that makes a file and saves it, if at the click it still may be seen.

    If not, as a study was opened since, nothing is saved and the page is drawn anew: it says
    why.

    Parameters
    ----------
    place : container
    make : callable
        The file's bytes.
    is_locked : callable
        Whether something in the file belongs to an open study of the reader. Asked in the
        run that the click begins, and apart from any run before the file is made.
    reader : str
        For whom the page was drawn, "" if nobody said.
    file_name, mime, key
        As Streamlit's download button takes them.
    disabled : bool
    """
    refused = f"{key}.refused"

    def made() -> bytes:
        if not access.is_known(reader) or is_locked():
            raise RecordError(f"{file_name} may not be saved any more. Reload the page to see why.")
        return make()

    @answered
    def again() -> None:
        st.session_state[refused] = True  # also where the records cannot say
        if access.has_sign_in():
            access.require()
        st.session_state[refused] = is_locked()

    place.download_button(
        "Save",
        made,
        file_name=file_name,
        mime=mime,
        icon=":material/download:",
        type="primary",
        disabled=disabled,
        key=key,
        on_click=again,
        width="stretch",
    )
    if st.session_state.pop(refused, False):
        st.rerun()
