"""What the page Agreement is about: a study, or the everyday scores; read from the records."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from typing import Any, Final

import streamlit as st

from db import records
from db.errors import RecordError
from db.records import StudyRecord
from db.session import snapshot
from pages.parts import access, state
from pages.parts.access import Identity
from pages.parts.agreement_data import Material, of_everyday, of_study
from pages.parts.markdown import harmless, plain
from pages.parts.models_active import set_of
from pages.parts.store import store
from pages.parts.words import counted

EVERYDAY: Final = 0
"""In place of a study's number."""


@dataclass(frozen=True, slots=True)
class Everyday:
    """Which everyday scores: of one model set, since when, and which are left out."""

    model_sha256: str | None
    with_seen: bool
    since: datetime | None
    with_others: bool


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was chosen, and what is in it; `everyday` is None for a study."""

    material: Material
    everyday: Everyday | None = None


def chosen_source(identity: Identity) -> Chosen | None:
    """The title, the choice of what to look at, and what is in it; None where nothing is."""
    with snapshot(store()) as db:
        studies = [study for study in records.studies(db) if study.state != "draft"]
    left, who, which = st.columns([1.5, 1.2, 2], vertical_alignment="center")
    left.title("Agreement", anchor=False)
    if not identity.verified:
        access.reader_name(who)
    by_id = {study.id: study for study in studies}
    names = {study.id: f"{study.name} ({study.state})" for study in studies}
    names[EVERYDAY] = "Everyday scores, outside studies"
    wanted = st.query_params.get(state.STUDY, "")
    asked = int(wanted) if wanted.isdecimal() else None
    if state.AGREEMENT_SOURCE not in st.session_state and asked in names:
        st.session_state[state.AGREEMENT_SOURCE] = asked
    source = which.selectbox(
        "Study, or everyday scores",
        list(names),
        format_func=names.__getitem__,
        key=state.AGREEMENT_SOURCE,
        label_visibility="collapsed",
        persist_state="session",
    )
    if wanted and asked not in names:
        st.warning(f"There is no study {plain(wanted)} to show. Choose one from the list above.")
    st.query_params[state.STUDY] = str(source)
    if source in by_id:
        return _study(identity, by_id[source])
    return _everyday(identity)


def _study(identity: Identity, study: StudyRecord) -> Chosen | None:
    with snapshot(store()) as db:
        try:
            material = read_study(db, study, identity)
        except RecordError as error:
            more = "Until then your cases are on the page Read."
            st.info(f"{harmless(str(error))} {more}", icon=":material/visibility_off:")
            return None
    if not any(row.phase == "before" for row in material.rows if not row.is_training):
        st.info(
            f"Nothing of “{plain(study.name)}” has been read yet. Its readers find it on "
            "the page Read.",
            icon=":material/hourglass_empty:",
        )
        return None
    if study.state == "open":
        st.warning(
            "This study is still open: all numbers are interim and will change. Do not decide "
            "by them when to close it.",
            icon=":material/hourglass_top:",
        )
    return Chosen(material)


def read_study(db: Any, study: StudyRecord, identity: Identity) -> Material:
    """A study's ratings, as far as this person may see them.

    Raises
    ------
    RecordError
        If they take part in it and it is not closed.
    """
    rows = records.study_readings(db, study.id, asking=identity.name)
    scores = records.model_scores(db, study.id, asking=identity.name)
    agreed = records.consensus(db, study.id)
    material = of_study(study, records.cases(db, study.id), rows, scores, agreed)
    return described(replace(material, other_versions=records.other_versions(db, study.id)))


def _everyday(identity: Identity) -> Chosen | None:
    with snapshot(store()) as db:
        is_locked = bool(records.locked_patches(db, reader=identity.name))
    others, since, seen = st.columns([1.2, 1, 1.6], vertical_alignment="center")
    with_others = not is_locked and others.toggle(
        "Also others' patches",
        key=state.AGREEMENT_OTHERS,
        persist_state="session",
        help="Patches that you did not score. Scores of others, seen first, would change yours.",
    )
    if is_locked:
        others.caption("Only patches that you scored: you take part in an open study.")
    day = since.date_input(
        "Since", None, key=state.AGREEMENT_SINCE, persist_state="session", format="YYYY-MM-DD"
    )
    with_seen = seen.toggle(
        "Also scores given with the models in sight",
        key=state.AGREEMENT_SEEN,
        persist_state="session",
        help="A reader who has seen the models' scores agrees with them more than a blinded "
        "one would.",
    )
    moment = datetime.combine(day, time(), UTC) if day else None
    wanted = Everyday(None, with_seen, moment, with_others)
    with snapshot(store()) as db:
        found = everyday_readings(db, wanted, identity)
        sets = records.model_sets_of(db, sha256s=sorted({r.sha256 for r in found}))
    if len(sets) > 1:
        labels = {s.model_sha256: f"{s.model_set} {s.model_sha256[:8]}" for s in sets}
        model = st.selectbox(
            "Models' scores of",
            list(labels),
            format_func=labels.__getitem__,
            key=state.AGREEMENT_MODELS,
            persist_state="session",
        )
    else:
        model = sets[0].model_sha256 if sets else None
    wanted = Everyday(model, with_seen, moment, with_others)
    with snapshot(store()) as db:
        material = read_everyday(db, wanted, identity)
    if material.n_seen:
        st.caption(
            f"{counted(material.n_seen, 'score')} left out: given with the models' output in sight."
        )
    if not material.ratings:
        st.info(
            "No everyday score counts here yet. Score patches on the page Analyse with “Score "
            "first, then reveal the models”; scores of several readers for the same patches are "
            "compared here.",
            icon=":material/inbox:",
        )
        return None
    st.caption(
        "Every patch counts as a patient of its own, since everyday scores name none; repeated "
        "scores of a patch were not hidden from the reader."
    )
    return Chosen(material, wanted)


def everyday_readings(db: Any, wanted: Everyday, identity: Identity) -> list[records.ReadingRecord]:
    """The everyday scores this person may see: of patches scored by themselves, or of all."""
    locked = {one.sha256 for one in records.locked_patches(db, reader=identity.name)}
    if wanted.with_others and not locked:
        return records.free_readings(db, since=wanted.since)
    return records.free_readings(db, asking=identity.name, since=wanted.since)


def read_everyday(db: Any, wanted: Everyday, identity: Identity) -> Material:
    """The everyday scores and those of one model set, as far as this person may see them."""
    found = everyday_readings(db, wanted, identity)
    scores = (
        records.model_scores_of(
            db, sha256s=sorted({r.sha256 for r in found}), model_sha256=wanted.model_sha256
        )
        if wanted.model_sha256
        else {}
    )
    return described(of_everyday(found, scores, with_seen=wanted.with_seen))


def described(material: Material) -> Material:
    """With what the records do not keep of its models but the model set does."""
    if material.model_set is None or material.model_sha256 is None:
        return material
    models = set_of(material.model_set, material.model_sha256)
    if models is None:
        return material
    met = sum(sha256 in models.met for sha256 in material.images.values())
    return replace(material, scale=models.scale, n_met=met)
