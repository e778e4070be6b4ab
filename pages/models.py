"""Models: which model set is in use, how well each does, what it was made from."""

import streamlit as st

from cellularity_core.model_store import ModelSet, available
from pages.parts import models_detail, state
from pages.parts.frame import show
from pages.parts.models_active import InUse, active_set
from pages.parts.models_compare import compare
from pages.parts.models_quality import warnings_rates
from pages.parts.models_switch import in_use, opened, switch


def page() -> None:
    """Draw the page from top to bottom."""
    st.title("Models", anchor=False)
    use = active_set()
    in_use(use)
    sets = opened(available())
    if len(sets) == 1:
        _one(next(iter(sets.values())), use)
        return
    one, two = st.tabs(["One model set", "Two side by side"])
    with one:
        names = list(sets)
        name = st.selectbox(
            "Model set",
            names,
            names.index(use.models.name),
            format_func=lambda n: f"{n} (in use)" if n == use.models.name else n,
            key=state.CARD_OF,
            persist_state="session",
        )
        _one(sets[name], use)
    with two:
        compare(sets, use.models.name)


def _one(models: ModelSet, use: InUse) -> None:
    """Everything about one model set."""
    models_detail.heading(models)
    switch(models, use)
    models_detail.figures(models)
    warnings_rates(models)
    models_detail.training(models)
    models_detail.importances(models)
    models_detail.cards(models)


show(page)
