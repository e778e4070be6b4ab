"""Models: what each model set was trained on, how well it does, what it looks at."""

import re

import streamlit as st

from cellularity_core.boosting import BoostedTrees
from cellularity_core.errors import ModelError
from cellularity_core.model_store import DEFAULT_SET, ModelSet, available, open_set
from pages.parts import state
from pages.parts.figures import gain_bars
from pages.parts.frame import show
from pages.parts.words import METHOD_CODES, METHOD_HELP, METHOD_NAMES, scale_note


def page() -> None:
    """Draw the page from top to bottom."""
    st.title("Models", anchor=False)
    names = available()
    if not names:
        raise ModelError(
            "There are no models in the folder models/; get the model set `starter` with the "
            "software, or train one with `cellularity train`."
        )
    name = names[0]
    if len(names) > 1:
        first = names.index(DEFAULT_SET) if DEFAULT_SET in names else 0
        name = st.selectbox("Model set", names, first, key=state.CARD_OF, persist_state="session")
    models = open_set(name)
    st.markdown(
        f"**{models.name}** looks at {models.mpp:g} µm per pixel, in {_views(models.views)}. "
        f"Its scores are on this scale: **{scale_note(models.scale)}**. "
        f"Checksum `{models.sha256[:12]}`."
    )
    _methods(models)
    with st.container(border=True):
        st.markdown(_text(models.card()) or "This model set has no card.")
    for path in sorted(models.folder.glob("*.md")):
        if path.name != "README.md":
            text = path.read_text(encoding="utf-8")
            with st.expander(text.splitlines()[0].lstrip("# ")):
                st.markdown(_text(text))
    st.subheader(f"What the trees of “{METHOD_NAMES['gbt']}” look at", anchor=False)
    st.caption("Total gain of the splits on each feature, log scale; the 20 largest of 81.")
    st.plotly_chart(gain_bars(_gain(models.sha256, models)), key=state.CARD_GAIN)


def _text(card: str) -> str:
    """A card without its links to other files, which lead nowhere in an app."""
    return re.sub(r"\[([^\]]*)\]\(\w[\w-]*\.md\)", r"\1", card)


def _views(count: int) -> str:
    return "one view" if count == 1 else f"{count} views of each patch, mirrored"


def _methods(models: ModelSet) -> None:
    """What each method of the set does."""
    for method in models.methods:
        code, name = METHOD_CODES[method], METHOD_NAMES[method]
        half = 100 * models.half_width(method)
        st.markdown(
            f"- **{name}** ({code}, `{method}`): {METHOD_HELP[method]} "
            f"Nine scores in ten lie within {half:.0f} points of what they aim at."
        )


@st.cache_data(show_spinner=False)
def _gain(sha256: str, _models: ModelSet) -> dict[str, float]:
    return BoostedTrees.load(_models.file("gbt.txt")).gain()


show(page)
