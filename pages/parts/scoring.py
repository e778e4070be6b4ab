"""One scorer for all users, and results kept while they may be asked for again."""

import gc
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from threading import Timer
from typing import Final, TypeVar

import streamlit as st

from cellularity_core.errors import ModelError
from cellularity_core.model_store import available, open_set
from cellularity_core.patch import Patch
from cellularity_core.results import PatchResult
from cellularity_core.saliency import PlaceMap
from cellularity_core.scorer import Scorer
from db.turns import Turns
from pages.parts import state
from pages.parts.layers import Layers, layers_of
from pages.parts.markdown import plain
from pages.parts.models_active import active_set, whole
from pages.parts.parking import let_go
from pages.parts.progress import work_through
from pages.parts.waiting import turn

T = TypeVar("T")

KEPT: Final = 64
"""Results kept for all users together, with what is drawn: 2 to 10 MB each."""

KEPT_RESULTS: Final = 4096
"""Results kept for all users together, without what is drawn: about 10 kB each."""

IDLE: Final = 10.0
"""Seconds without scoring after which its memory is given back."""

FEW: Final = 32
"""Up to so many patches are scored with what is drawn of them, so that each opens at once."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A scorer, the turns that sessions take at it, and its trees' gain."""

    scorer: Scorer
    turns: Turns
    gain: Mapping[str, float]

    def turn(self) -> AbstractContextManager[None]:
        """Wait for this session's turn, with its place on the page; to score a patch or a few."""
        return turn(self.turns)


@dataclass(frozen=True, slots=True)
class Scored:
    """A result without its maps, and what the viewer draws of them."""

    result: PatchResult
    layers: Layers


@st.cache_resource(show_spinner="Loading the models…")
def engine(model_set: str, sha256: str) -> Engine:
    """The scorer of a model set, opened once for all sessions.

    The checksum is part of the question, so that a folder with new contents is opened anew.
    """
    scorer = Scorer.open(model_set)
    # Streamlit collects garbage after every run of a page. What is loaded by now stays for
    # good; without it among the candidates that takes 1 ms, not 0.2 s.
    gc.collect()
    gc.freeze()
    return Engine(scorer, Turns(), scorer.gain())


def chosen_engine() -> Engine:
    """The scorer of the model set in use; where there are several, of another if asked for.

    A choice of one's own ends when another set is put in use, as the question is then a
    new one.
    """
    use = active_set()
    if use.fault is not None:
        st.warning(use.fault, icon=":material/warning:")
    models = active = use.models
    names, broken = _usable()
    if broken:
        st.caption(
            "Not offered, because files are damaged or missing: "
            f"{', '.join(plain(name) for name in broken)}."
        )
    if len(names) > 1:
        name = st.selectbox(
            "Models",
            names,
            names.index(active.name),
            format_func=lambda n: f"{n} (in use)" if n == active.name else n,
            key=f"{state.MODEL_SET}.{active.name}.{active.sha256[:12]}",
            persist_state="session",
        )
        if name != active.name:
            st.caption(
                f"Your own choice, for you alone; everybody else scores with {plain(active.name)}."
            )
            models = open_set(name)
    return engine(models.name, models.sha256)


def _usable() -> tuple[list[str], list[str]]:
    """Names of the model sets that can score, and of those that cannot."""
    names, broken = [], []
    for name in available():
        try:
            whole(name)
            names.append(name)
        except ModelError:
            broken.append(name)
    return names, broken


def second_engine(first: Engine) -> Engine | None:
    """The scorer of a second model set, if the user asks for one to compare with the first."""
    others = [name for name in _usable()[0] if name != first.scorer.model_set.name]
    if not others:
        st.caption(
            "A second model set can be compared here as soon as there is one: the command "
            "“cellularity recalibrate” or “cellularity train set” makes it."
        )
        return None
    name = st.selectbox(
        "Beside them, a second model set",
        others,
        None,
        placeholder="none",
        key=f"{state.COMPARE_SECOND}.{first.scorer.model_set.sha256[:12]}",
        persist_state="session",
    )
    if name is None:
        return None
    models = open_set(name)
    return engine(models.name, models.sha256)


def rest(engines: Iterable[Engine]) -> None:
    """Give back the memory that scoring took, as soon as nobody has scored for a while.

    Not at once: the next patch takes it anew, and for that half as long again.
    """
    for each in engines:
        later = Timer(IDLE, _release, (each, each.turns.taken))
        later.daemon = True
        later.start()


def _release(on: Engine, taken: int) -> None:
    if on.turns.taken == taken:
        with suppress(TimeoutError), on.turns.mine(0):
            gc.collect()  # sessions that have ended: Python's own comes when many objects are new
            on.scorer.release()


def scored(patch: Patch, on: Engine) -> Scored:
    """Score a patch for the viewer, or take what is kept of it.

    What is kept is keyed by all that decides a score, and never holds the name
    somebody else gave the same pixels.
    """
    unnamed = replace(patch, name="patch")
    kept = _in_turn(lambda: _scored(*_question(patch, on), unnamed, on), on)
    return Scored(replace(kept.result, image=patch.name), kept.layers)


def result_of(patch: Patch, on: Engine) -> PatchResult:
    """The result of a patch without its maps: quicker, and a hundredth of the memory."""
    unnamed = replace(patch, name="patch")
    kept = _in_turn(lambda: _result(*_question(patch, on), unnamed, on), on)
    return replace(kept, image=patch.name)


def places_of(patch: Patch, on: Engine) -> dict[str, PlaceMap]:
    """Where in a patch each network finds its score, by method; kept like a result."""
    return _in_turn(lambda: _places(*_question(patch, on), patch, on), on)


class _NotKept(Exception):
    """Nothing is kept that answers, and it is not this session's turn to score."""


def _in_turn(ask: Callable[[], T], on: Engine) -> T:
    """What is kept, at once; else what is made when it is this session's turn.

    The waiting is not part of what is kept: another session that meanwhile asks for the same
    finds it made when its own turn comes.
    """
    try:
        return ask()
    except _NotKept:
        with on.turn():
            return ask()


def _own_scorer(on: Engine) -> Scorer:
    """The scorer, where it is this session's turn."""
    if not on.turns.is_mine:
        raise _NotKept
    return on.scorer


_Question = tuple[str, float, str, tuple[str, ...], str, int]


def _question(patch: Patch, on: Engine) -> _Question:
    """Everything that decides a result."""
    model = on.scorer.model_set
    how = (model.sha256, on.scorer.views)
    return (patch.sha256, patch.mpp, patch.mpp_source, patch.notes, *how)


@st.cache_data(max_entries=KEPT, show_spinner=False)
def _scored(
    sha256: str,
    mpp: float,
    mpp_source: str,
    notes: tuple[str, ...],
    model_sha256: str,
    views: int,
    _patch: Patch,
    _on: Engine,
) -> Scored:
    [result] = _own_scorer(_on).score([_patch])
    plain = replace(result, activations={}, feature_maps={})
    return Scored(plain, layers_of(result))


@st.cache_data(max_entries=KEPT_RESULTS, show_spinner=False)
def _result(
    sha256: str,
    mpp: float,
    mpp_source: str,
    notes: tuple[str, ...],
    model_sha256: str,
    views: int,
    _patch: Patch,
    _on: Engine,
) -> PatchResult:
    [result] = _own_scorer(_on).score([_patch], maps=False)
    return result


@st.cache_data(max_entries=KEPT, show_spinner=False)
def _places(
    sha256: str,
    mpp: float,
    mpp_source: str,
    notes: tuple[str, ...],
    model_sha256: str,
    views: int,
    _patch: Patch,
    _on: Engine,
) -> dict[str, PlaceMap]:
    return _own_scorer(_on).places(_patch)


def forget() -> None:
    """Drop every result that is kept."""
    _places.clear()
    _scored.clear()
    _result.clear()


def score_all(
    results: dict[str, PatchResult],
    wanted: Sequence[Patch],
    on: Engine,
    first: str | None = None,
    key: str = "scoring",
) -> None:
    """Score every patch that has no result of these models yet.

    The patch whose checksum is `first` is scored before the others, and also where the
    others were cancelled. Results of other models are dropped. Cancelling it cancels no
    work with another `key`.
    """
    waiting = [patch for patch in wanted if not _is_current(results, patch, on)]
    for patch in waiting:
        results.pop(patch.sha256, None)
    score = scored if len(wanted) <= FEW else None

    def step(patch: Patch) -> None:
        results[patch.sha256] = score(patch, on).result if score else result_of(patch, on)
        let_go(patch.pixels)

    with st.empty():  # so that what follows keeps its place, and with it its state
        looked_at = next((patch for patch in waiting if patch.sha256 == first), None)
        if looked_at is not None:
            with st.spinner("Scoring the patch…"):
                results[looked_at.sha256] = scored(looked_at, on).result
            waiting.remove(looked_at)
    work_through(
        waiting,
        step,
        key=f"{key}.{on.scorer.model_set.sha256[:12]}",
        doing=lambda patch: f"scoring {plain(patch.name)}",
        done=len(wanted) - len(waiting),
    )
    if waiting:
        rest([on])


def _is_current(results: Mapping[str, PatchResult], patch: Patch, on: Engine) -> bool:
    result = results.get(patch.sha256)
    return (
        result is not None
        and result.mpp == patch.mpp
        and result.model_sha256 == on.scorer.model_set.sha256
    )
