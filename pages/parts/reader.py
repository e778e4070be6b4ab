"""The reader: name, "score, then reveal", and the reader's own score."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import streamlit as st

from cellularity_core.export import SOFTWARE, scored_with
from cellularity_core.fingerprint import fingerprint
from cellularity_core.patch import Patch
from db import records
from db.records import ReadingRecord
from db.session import snapshot, transaction
from pages.parts import access, state
from pages.parts.frame import answered, told
from pages.parts.locks import locked_patches
from pages.parts.percent_box import percent_box, whole_percent
from pages.parts.state import Case
from pages.parts.store import store

_LOADED_FOR: Final = "analyse.reader_loaded"
_KEPT: Final = "analyse.models_kept"


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads, "" if nobody said, and whether they score first."""

    name: str
    score_first: bool


def reader_controls(title: str) -> Reader:
    """The page's title and, beside it, who reads and whether they score first.

    The choice is kept under the reader's name: of who signed in or, on one
    machine, as typed.
    """
    left, who, how = st.columns([2, 1.4, 1.8], vertical_alignment="center")
    left.title(title, anchor=False)
    name = access.reader_name(who)
    if name and st.session_state.get(_LOADED_FOR) != name:
        with snapshot(store()) as db:
            known = records.find_reader(db, name=name)
        if known is not None:
            st.session_state[state.SCORE_FIRST] = known.score_first
    st.session_state[_LOADED_FOR] = name
    score_first = how.toggle(
        "Score first, then reveal the models",
        key=state.SCORE_FIRST,
        persist_state="session",
        on_change=_keep_choice,
        help="You give your own score before anything of the models is computed or shown. "
        "What is seen first changes what is scored.",
    )
    return Reader(name, score_first)


@answered
def _keep_choice() -> None:
    person = access.who()
    score_first = bool(st.session_state[state.SCORE_FIRST])
    if person is not None:
        with transaction(store()) as db:
            records.keep_score_first(db, name=person.name, score_first=score_first)


def own_readings(reader: Reader, sha256s: Collection[str]) -> dict[str, list[ReadingRecord]]:
    """What this reader has scored of these patches, by checksum, oldest first."""
    if not reader.name or not sha256s:
        return {}
    with snapshot(store()) as db:
        return records.readings(db, sha256s=sha256s, reader=reader.name)


def is_hidden(
    case: Case, patch: Patch, reader: Reader, own: dict[str, list[ReadingRecord]]
) -> bool:
    """Whether nothing of the models may be computed or shown for this patch yet."""
    return reader.score_first and patch.sha256 not in own and patch.sha256 not in case.shown


@st.fragment  # or each movement of the slider would draw the whole page anew
@told()
def own_score_form(case: Case, patch: Patch, reader: Reader) -> None:
    """Let the reader score; what is committed stays, a later score stands beside it.

    The models' scores are kept beside a reader's, as soon as both are there, so that
    the page Agreement can compare them.
    """
    seen = patch.sha256 in case.shown
    _keep_models(case, patch, reader)
    slider, number = (state.own_key(patch.sha256, kind) for kind in ("slider", "number"))

    def from_slider() -> None:
        st.session_state[number] = float(st.session_state[slider])

    def from_number() -> None:
        if (score := whole_percent(st.session_state[number])) is not None:
            st.session_state[slider] = score

    st.session_state.setdefault(slider, 0)
    st.session_state.setdefault(number, None)
    st.slider("Your score (%)", 0, 100, key=slider, on_change=from_slider)
    typed, commit = st.columns(2, vertical_alignment="bottom")
    value = percent_box(typed, "or typed (%)", key=number, on_change=from_number, placeholder="–")
    label = "Keep my score" if seen else "Commit and reveal"
    pressed = commit.button(
        label,
        key=state.COMMIT,
        type="primary",
        disabled=value is None or not reader.name,
        width="stretch",
        help="A committed score cannot be changed; a second one is kept beside it.",
    )
    if pressed and value is not None:  # it may have been emptied by the same click
        if access.has_sign_in():
            access.require()
        if locked_patches(Case(patches={patch.sha256: patch}), reader.name):
            st.rerun()  # a study was opened since: the page says so
        with transaction(store()) as db:
            records.add_reading(
                db,
                sha256=patch.sha256,
                patch=patch.name,
                width=patch.width,
                height=patch.height,
                mpp=patch.mpp,
                reader=reader.name,
                cellularity=value / 100,
                seen_models=seen,
                software=SOFTWARE,
                phash=fingerprint(patch.pixels),
            )
        st.rerun()
    if seen:
        st.caption(
            "The models' output for this patch has been on this screen, so your score is kept as "
            "given after seeing it. Another reader starts by reloading the page."
        )
    if not reader.name:
        st.caption("Type your name or initials under “Reader” above: the score is kept with it.")
    else:
        st.caption("Kept in the records of the machine that runs this app.")


def _keep_models(case: Case, patch: Patch, reader: Reader) -> None:
    """Keep the scores of the models on screen, once this reader has scored the patch."""
    result = case.results.get(patch.sha256)
    if result is None or not reader.name:
        return
    kept: set[tuple[str, float, str]] = st.session_state.setdefault(_KEPT, set())
    which = (patch.sha256, result.mpp, result.model_sha256)
    if which in kept or not own_readings(reader, [patch.sha256]):
        return
    with transaction(store()) as db:
        records.keep_model_scores(
            db,
            sha256=patch.sha256,
            mpp=result.mpp,
            scores={name: (s.value, s.low, s.high) for name, s in result.scores.items()},
            model_set=result.model_set,
            model_sha256=result.model_sha256,
            software=scored_with(result),
            actor=reader.name,
        )
    kept.add(which)
