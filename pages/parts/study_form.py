"""The form that creates a study."""

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import pandas as pd
import streamlit as st

from cellularity_core.export import scored_with
from cellularity_core.results import PatchResult
from db import records
from db.records import StudyPlan
from db.session import snapshot, transaction
from pages.parts import access, state
from pages.parts.markdown import plain
from pages.parts.models_active import active_set
from pages.parts.progress import forget_cancelling
from pages.parts.scoring import Engine, chosen_engine, score_all
from pages.parts.store import store
from pages.parts.study_draft import (
    TRAINING,
    Draft,
    case_sources,
    case_table,
    draft,
    faults,
    is_assumed,
    look_alikes,
    new_cases,
)
from pages.parts.words import counted

ARMS: Final = {
    "before": "Before AI only: readers never see the models",
    "before-after": "Before, then after AI: each case is scored, then scored again with the models",
    "before-after with control": "Before, then after AI, with a control arm: half of the cases "
    "are scored a second time without AI",
}
"""Arms of a study in words."""

CREATED: Final = "studies.created"

_SCORING: Final = "studies.scoring"

_MODELS: Final = "studies.models"
"""Checksum of the model set that the form showed last."""

CONTROL_NOTE: Final = (
    "Without a control arm a score that moves toward the models cannot be told from one that "
    "moves because the case was read twice."
)


def study_form() -> None:
    """Let a coordinator describe a study, and create it."""
    made = draft()
    st.markdown("**1. Cases**")
    case_sources(made)
    if not made.patches:
        st.info("Drop patches, name a folder, or take those of the page Analyse.")
        return
    table = case_table(made)
    alike = look_alikes(made)
    for one, other in alike[:5]:
        names = f"{made.patches[one].name} and {made.patches[other].name}"
        st.warning(f"{plain(names)} show the same tissue; one of them is enough.")
    training = int(table[TRAINING].sum())
    st.caption(
        f"{counted(len(table) - training, 'case')} to read and "
        f"{counted(training, 'training case')}."
    )
    is_sized = _sizes(made)

    st.markdown("**2. Readers**")
    with snapshot(store()) as db:
        known = [reader.name for reader in records.all_readers(db)]
    chosen = st.multiselect(
        "Readers",
        known,
        key="studies.readers",
        accept_new_options=not access.has_sign_in(),
        placeholder="Choose readers" if access.has_sign_in() else "Choose, or type a new name",
        help="Each reads all cases in an order of their own.",
    )

    st.markdown("**3. Design**")
    title = st.text_input("Name of the study", key="studies.name", max_chars=120)
    description = st.text_area("What it is for", key="studies.description", height=68)
    arm = st.radio("Arm", list(ARMS), format_func=ARMS.__getitem__, key="studies.arm")
    if arm == "before-after":
        st.caption(CONTROL_NOTE)
    left, middle, right = st.columns(3)
    share = left.slider(
        "Hidden repeats (%)",
        0,
        100,
        20,
        key="studies.repeats",
        disabled=arm == "before-after",
        help="Share of the cases read without the models that each reader meets a second time, "
        "unannounced. After the models were seen a repeat tells nothing of the reader alone.",
    )
    wash_out = middle.number_input(
        "Wash-out (days)", value=14, key="studies.washout", help="Least time before a repeat."
    )
    seed = right.number_input(
        "Seed", value=_first_seed(), key="studies.seed", help="The same seed, same orders."
    )
    feedback, limit = False, None
    if training:
        left, right = st.columns(2)
        feedback = left.toggle("Show the reference after each training case", True)
        wanted = left.toggle("Ask for proficiency before the real cases", False)
        if wanted:
            limit = right.number_input(
                "Largest mean difference from the references (points)", value=15
            )
    wrong = faults(made, table, alike) + _beyond(wash_out, seed, limit)
    if not is_sized:
        wrong.append("Put the assumed pixel sizes right, or say above that they are right.")
    if not chosen:
        wrong.append("Choose at least one reader.")
    if not title.strip():
        wrong.append("Give the study a name.")
    for sentence in wrong:
        st.caption(f":material/info: {plain(sentence)}")
    models = chosen_engine()
    model_set = models.scorer.model_set
    before = st.session_state.get(_MODELS, model_set.sha256)
    st.session_state[_MODELS] = model_set.sha256
    plan = StudyPlan(
        name=title.strip(),
        description=description.strip(),
        arm=arm,
        seed=int(seed),
        repeat_share=share / 100,
        washout_days=float(wash_out),
        proficiency=None if limit is None else limit / 100,
        show_feedback=feedback,
        model_set=model_set.name,
        model_sha256=model_set.sha256,
        software=None,  # known once the cases are scored
        readers=chosen,
        cases=(),
    )
    form = (plan, table.to_json(), is_sized)
    if st.button(
        "Score the cases by the models and create the study",
        key=state.STUDY_CREATE,
        type="primary",
        disabled=bool(wrong),
    ):
        access.allow("study")
        if before != model_set.sha256:
            _switched(model_set.name)
            return
        made.asked = form
        forget_cancelling(f"{_SCORING}.{model_set.sha256[:12]}")
    if made.asked == form:
        _create(plan, made, table, models)
    elif made.asked is not None:
        made.asked = None
        st.info(
            "The form or the models have changed, so no study was created. Press the button "
            "again; cases that are scored stay scored.",
            icon=":material/info:",
        )


def _sizes(made: Draft) -> bool:
    """Whether the pixel size of every patch is known; where it is assumed, ask."""
    sizes = Counter(f"{p.mpp:.3g}" for p in made.patches.values() if is_assumed(p))
    if not sizes:
        return True
    count = sizes.total()
    st.warning(
        f"The pixel size of {counted(count, 'patch', 'patches')} is assumed "
        f"({' or '.join(sizes)} µm per pixel), as the files state none. Were it wrong, readers "
        "would see the cells too large or too small, and the models would score wrongly. If "
        "you know another size, give it on the page Analyse and take the patches from there.",
        icon=":material/straighten:",
    )
    return st.checkbox(
        f"I have checked that the pixel size assumed for {counted(count, 'patch', 'patches')} "
        "is right",
        key=f"{state.STUDY_SIZES}.{count}",
    )


def _switched(name: str) -> None:
    """Say that other models than those of the form would score the cases."""
    why = (
        f"“{plain(name)}” was put in use while you filled in this form"
        if active_set().fault is None
        else "the models that this form showed cannot be used any more, so that "
        f"“{plain(name)}” would score the cases"
    )
    st.warning(
        f"No study was created yet: {why}. Press the button again to make the study with it; "
        "it keeps that model set to its end.",
        icon=":material/warning:",
    )


def _beyond(wash_out: int, seed: int, limit: int | None) -> list[str]:
    """Numbers of the form that cannot be.

    Their boxes have no limits: the browser would keep back what is beyond them, and the
    number that was typed before would stand for what is seen.
    """
    typed = (
        ("wash-out", wash_out, 0, 365, " days"),
        ("seed", seed, 0, 2**31 - 1, ""),
        ("mean difference from the references", limit, 1, 100, " points"),
    )
    return [
        f"The {name} is {value}: make it {low} to {high}{unit}."
        for name, value, low, high, unit in typed
        if value is not None and not low <= value <= high
    ]


def _first_seed() -> int:
    seed: int = st.session_state.setdefault("studies.first_seed", secrets.randbelow(10_000))
    return seed


def _create(plan: StudyPlan, made: Draft, table: pd.DataFrame, models: Engine) -> None:
    """Score every case, then keep the study and the scores at once or not at all."""
    score_all(made.results, list(made.patches.values()), models, key=_SCORING)
    results = [made.results[s] for s in made.patches if s in made.results]
    if len(results) < len(made.patches):
        return  # cancelled
    made.asked = None
    with st.spinner("Keeping the cases and their scores…", show_time=True):
        software = scored_with(results[0])
        _keep(replace(plan, software=software, cases=new_cases(made, table)), results)
    st.session_state[state.STUDY_DRAFT] = Draft(uploads=made.uploads + 1)
    st.session_state[CREATED] = (
        f"“{plan.name}” is open for {', '.join(plan.readers)}. They find it on the page Read."
    )
    st.rerun()


def _keep(plan: StudyPlan, results: Sequence[PatchResult]) -> None:
    identity = access.allow("study")  # again: scoring took minutes, and roles are taken away
    with transaction(store()) as db:
        created = records.create_study(db, plan, actor=identity.name)
        for result in results:
            records.keep_model_scores(
                db,
                sha256=result.sha256,
                mpp=result.mpp,
                scores={m: (s.value, s.low, s.high) for m, s in result.scores.items()},
                model_set=result.model_set,
                model_sha256=result.model_sha256,
                software=scored_with(result),
                actor=identity.name,
            )
        records.open_study(db, study_id=created.id, actor=identity.name)
