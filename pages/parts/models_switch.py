"""Which model set is in use, and how an admin puts another in its place."""

from typing import Final

import streamlit as st

from cellularity_core.errors import ModelError
from cellularity_core.model_store import ModelSet, open_set
from db import model_sets, records
from db.session import snapshot, transaction
from pages.parts import access
from pages.parts.frame import answered
from pages.parts.markdown import harmless, plain
from pages.parts.models_active import InUse, intact
from pages.parts.store import store
from pages.parts.words import scale_note

SWITCH: Final = "models.switch"
_SWITCHED: Final = "models.switched"

ADMINS: Final = "An admin puts another model set in use."


def in_use(use: InUse) -> None:
    """Say which set is in use and who chose it, or loudly that the chosen one cannot be used."""
    with st.container():
        if told := st.session_state.pop(_SWITCHED, None):
            st.success(told)
    if use.fault is not None:
        st.error(use.fault, icon=":material/warning:")
        return
    if use.chosen is None:
        how = "the software's default; nobody has chosen another"
    else:
        how = f"chosen by {plain(use.chosen.chosen_by)}, {use.chosen.chosen_at:%d %B %Y, %H:%M} UTC"
    st.markdown(f"In use: **{plain(use.models.name)}** ({how}).")


def switch(models: ModelSet, use: InUse) -> None:
    """Let an admin put `models` in use, after saying what that changes."""
    if _is_in_use(models, use):
        return
    person = access.who()
    if person is None:
        st.caption(f"{ADMINS} Type your name first.")
        access.reader_name(st)
        return
    if not person.has("admin"):
        st.caption(ADMINS)
        return
    with st.popover(f"Use “{plain(models.name)}” from now on…", icon=":material/swap_horiz:"):
        st.markdown("\n".join(f"- {line}" for line in _changes(models, use)))
        st.button(
            f"Put “{plain(models.name)}” in use for everybody",
            key=f"{SWITCH}.{models.sha256[:12]}",
            type="primary",
            on_click=_switch,
            args=(models.name, models.sha256),
        )


def _is_in_use(models: ModelSet, use: InUse) -> bool:
    """Whether there is nothing to choose: a fallback is not in use by choice."""
    return (
        use.fault is None and models.sha256 == use.models.sha256 and models.name == use.models.name
    )


def _changes(models: ModelSet, use: InUse) -> list[str]:
    """What the switch changes and what it leaves, in sentences."""
    now, new = use.models, models
    with snapshot(store()) as db:
        running = sum(study.state != "closed" for study in records.studies(db))
    lines = [
        f"New patches on Analyse and new studies are scored by **{plain(new.name)}** instead of "
        f"**{plain(now.name)}**, for everybody, from their next click on."
    ]
    if new.scale != now.scale:
        lines.append(
            f"**The scale changes**: scores are then on “{plain(scale_note(new.scale))}”, until "
            f"now “{plain(scale_note(now.scale))}”. Do not compare scores before and after."
        )
    if lost := [m for m in now.methods if m not in new.methods]:
        lines.append(f"These methods are no longer there: {', '.join(lost)}.")
    kept = {
        0: "A study keeps the set it was made with; none is running now.",
        1: "The study that is running keeps the set it was made with.",
    }.get(running, f"The {running} studies that are running keep the set they were made with.")
    lines += [kept, "Scores in the records stay, each with the name of the set that gave it."]
    lines.append("The audit trail keeps who switched, and when. You can switch back.")
    return lines


@answered
def _switch(name: str, sha256: str) -> None:
    identity = access.require("admin")
    try:
        models = intact(name, sha256)
    except ModelError as error:
        raise ModelError(f"“{name}” was not put in use. {error}") from error
    with transaction(store()) as db:
        model_sets.choose(db, name=models.name, sha256=models.sha256, actor=identity.name)
    st.session_state[_SWITCHED] = f"“{plain(models.name)}” is in use now."


def opened(names: list[str]) -> dict[str, ModelSet]:
    """The model sets that can be opened; why the others cannot is said."""
    found = {}
    for name in names:
        try:
            found[name] = open_set(name)
        except ModelError as error:
            st.warning(harmless(str(error)))
    return found
