"""The first run: three sentences on what the app does, until they are put away."""

from pathlib import Path
from typing import Final

import streamlit as st

STEPS: Final = (
    "Drop H&E patches or load the demo: several methods score each patch, and each score comes "
    "with an interval that says how sure it is.",
    "Zoom into the picture and switch its layers to see the nuclei that the scores rest on; "
    "where the methods disagree, look before you trust any of them.",
    "To compare readers, make a study on the page Studies: everybody scores blinded on the page "
    "Read, and the page Agreement tells how far readers and models agree.",
)

_FILES: Final = Path(__file__).parent / "js"
_COMPONENT: Final = st.components.v2.component(
    "cellularity.tour",
    **{
        kind: (_FILES / f"tour.{kind}").read_text(encoding="utf-8")
        for kind in ("html", "css", "js")
    },
)


def tour() -> None:
    """Show the tour, unless this browser has put it away; then it takes no place."""
    _COMPONENT(key="analyse.tour", data={"steps": STEPS})
