"""Models: what each model set was trained on, how well it does, what it looks at."""

import streamlit as st

st.title("Models")
