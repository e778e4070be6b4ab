"""Entry of the app: navigation, sign-in, theme and what every page must say."""

import streamlit as st

from pages.parts import access
from pages.parts.frame import ICON, frame

st.set_page_config(page_title="Cellularity", page_icon=ICON, layout="wide")
entry = access.enter()
pages = [
    st.Page("pages/analyse.py", title="Analyse", icon=":material/biotech:", default=True),
    st.Page("pages/compare.py", title="Compare", icon=":material/view_column:"),
    st.Page("pages/read.py", title="Read", icon=":material/keyboard:"),
    st.Page(
        "pages/studies.py",
        title="Studies",
        icon=":material/science:",
        visibility=entry.visibility("study"),
    ),
    st.Page("pages/slides.py", title="Slide", icon=":material/map:"),
    st.Page("pages/rcb.py", title="RCB", icon=":material/calculate:", url_path="rcb"),
    st.Page("pages/models.py", title="Models", icon=":material/model_training:"),
    st.Page(
        "pages/agreement.py",
        title="Agreement",
        icon=":material/compare_arrows:",
        visibility=entry.visibility("agreement"),
    ),
    st.Page(
        "pages/audit.py",
        title="Audit",
        icon=":material/verified_user:",
        visibility=entry.visibility("audit"),
    ),
    st.Page(
        "pages/people.py",
        title="People",
        icon=":material/group:",
        visibility=entry.visibility("roles"),
    ),
]
page = st.navigation(entry.menu(pages), position="top" if entry.is_open else "hidden")
with frame():
    if entry.is_open:
        page.run()
        access.small_print()
    else:
        access.turn_away(entry)
