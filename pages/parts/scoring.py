"""One scorer for all users, and results kept while they may be asked for again."""

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Lock
from typing import Final

import streamlit as st

from cellularity_core.model_store import available, open_set
from cellularity_core.patch import Patch
from cellularity_core.results import PatchResult
from cellularity_core.scorer import Scorer
from pages.parts import state
from pages.parts.access import plain
from pages.parts.layers import Layers, layers_of
from pages.parts.models_active import active_set
from pages.parts.state import Case

KEPT: Final = 64
"""Results kept for all users together, with what is drawn: 2 to 10 MB each."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A scorer, the lock that lets one session at a time use it, and its trees' gain."""

    scorer: Scorer
    lock: Lock
    gain: Mapping[str, float]


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
    return Engine(scorer, Lock(), scorer.gain())


def chosen_engine() -> Engine:
    """The scorer of the model set in use; where there are several, of another if asked for.

    A choice of one's own ends when another set is put in use, as the question is then a
    new one.
    """
    use = active_set()
    if use.fault is not None:
        st.warning(use.fault, icon=":material/warning:")
    models = active = use.models
    names = available()
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


def scored(patch: Patch, on: Engine) -> Scored:
    """Score a patch, or take what is kept of it.

    What is kept is keyed by all that decides a score, and never holds the name
    somebody else gave the same pixels.
    """
    model = on.scorer.model_set
    kept = _scored(
        patch.sha256,
        patch.mpp,
        patch.mpp_source,
        patch.notes,
        model.sha256,
        on.scorer.views,
        replace(patch, name="patch"),
        on,
    )
    return Scored(replace(kept.result, image=patch.name), kept.layers)


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
    with _on.lock:
        [result] = _on.scorer.score([_patch])
    plain = replace(result, activations={}, feature_maps={})
    return Scored(plain, layers_of(result))


def forget() -> None:
    """Drop every result that is kept."""
    _scored.clear()


def score_all(case: Case, wanted: list[Patch], on: Engine) -> None:
    """Score every patch that has no result yet, with a progress bar if they are many."""
    # Always one element, so that what follows keeps its place and with it its state.
    slot = st.empty()
    waiting = [patch for patch in wanted if not _is_current(case, patch, on)]
    if not waiting:
        return
    with slot, _progress(len(waiting)) as show:
        for done, patch in enumerate(waiting):
            show(done, patch.name)
            case.results[patch.sha256] = scored(patch, on).result
    slot.empty()


def _is_current(case: Case, patch: Patch, on: Engine) -> bool:
    result = case.results.get(patch.sha256)
    return (
        result is not None
        and result.mpp == patch.mpp
        and result.model_sha256 == on.scorer.model_set.sha256
    )


@contextmanager
def _progress(count: int) -> Iterator[Callable[[int, str], object]]:
    if count == 1:
        with st.spinner("Scoring the patch…"):
            yield lambda done, name: None
        return
    bar = st.progress(0.0)
    yield lambda done, name: bar.progress(
        done / count, text=f"Scoring patch {done + 1} of {count}: {name}"
    )
