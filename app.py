"""Entry of the app: navigation, theme and what every page must say."""

import streamlit as st

from pages.parts.frame import ICON, frame

st.set_page_config(page_title="Cellularity", page_icon=ICON, layout="wide")
page = st.navigation(
    [
        st.Page("pages/analyse.py", title="Analyse", icon=":material/biotech:", default=True),
        st.Page("pages/models.py", title="Models", icon=":material/model_training:"),
    ],
    position="top",
)
with frame():
    page.run()
