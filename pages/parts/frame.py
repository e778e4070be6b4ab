"""What stands around every page."""

from pathlib import Path
from typing import Final

import streamlit as st

ICON: Final = str(Path(__file__).with_name("icon.png"))
"""Icon of the browser's tab; one of Streamlit's own would be fetched from the internet."""

RESEARCH_USE: Final = "Research use only - not for diagnosis"

_STYLE: Final = """
<style>
.stMainBlockContainer { padding-top: 3.6rem; padding-bottom: 4rem; }
.stMainBlockContainer h1 { font-size: 1.8rem; padding: 0.2rem 0; }
.stMainBlockContainer h3 { font-size: 1.3rem; padding-bottom: 0.2rem; }
.research-use {
  position: fixed; left: 0; right: 0; bottom: 0; z-index: 1000; padding: 0.3rem 1rem;
  text-align: center; font-size: 0.9rem; font-weight: 600;
  background: #FFF3C4; color: #3D2E00; border-top: 1px solid #E0C25A;
}
</style>
"""


def frame() -> None:
    """Spacing of the page, and the line that stays in sight while it scrolls."""
    st.html(f'{_STYLE}<div class="research-use" role="note">{RESEARCH_USE}</div>')
