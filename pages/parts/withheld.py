"""A patch without anything of the models: why, and what to do."""

import streamlit as st

from cellularity_core.patch import Patch
from pages.parts import state
from pages.parts.intake import is_waiting
from pages.parts.locks import LOCKED
from pages.parts.reader import Reader, own_score_form
from pages.parts.sight import Sight
from pages.parts.state import Case
from pages.parts.viewer import Pane, drawing, viewer


def withheld(case: Case, patch: Patch, sight: Sight, reader: Reader) -> None:
    """Why the patch may not be shown with scores; where the reader is to score first, a form."""
    if patch.sha256 in sight.locked:
        st.warning(LOCKED, icon=":material/lock:")
        return
    if is_waiting(patch):
        st.info("This patch is scored as soon as its pixel size is given above.")
        return
    picture, form = st.columns([2, 1])
    with picture:
        what = (patch.sha256, patch.mpp)
        if case.view is None or case.view[0] != what:
            case.view = (what, drawing(patch.pixels, patch.mpp, [Pane("")]))
        viewer(case.view[1], key=state.VIEWER)
    with form:
        st.markdown("**What share of the tumour bed is covered by malignant cells?**")
        own_score_form(case, patch, reader)
