"""From a study's next assignment to the desk, and from the desk to the records."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

import streamlit as st

from cellularity_core.export import SOFTWARE
from db import records
from db.errors import RecordError
from db.records import AssignmentRecord, ModelScoreRecord, NotQualified, StudyRecord, Waiting
from db.session import snapshot, transaction
from pages.parts import access, state
from pages.parts.access import Identity
from pages.parts.desk import Given, Mode, Task, given
from pages.parts.frame import harmless
from pages.parts.models_active import scale_of
from pages.parts.sights import name_reader
from pages.parts.store import store
from pages.parts.words import METHOD_NAMES, models_scale, percent

QUESTION: Final = "What share of the tumour bed is covered by malignant cells?"
WITH_AI: Final = "Now that you see the models: keep your score, or change it."
ALONE: Final = "Look once more, without any help: keep your score, or change it."
ANSWER: Final = "Training case: your score beside the reference."

_TOLD: Final = "read.told"


@dataclass(frozen=True, slots=True)
class _Answered:
    """A training case whose reference the reader has not seen yet."""

    study_id: int
    reader: str
    step: AssignmentRecord
    value: int | None


@dataclass(slots=True)
class _Told:
    """What a session is told of its commits.

    One object that is changed in place: whatever looks into the session's state can be
    broken off there by the next click, and what was kept is to be told all the same.
    """

    kept: str = ""
    saved: str = ""
    error: str = ""
    attempt: int = 0
    answered: _Answered | None = None


def _told() -> _Told:
    told: _Told = st.session_state.setdefault(_TOLD, _Told())
    return told


def next_task(study: StudyRecord, identity: Identity) -> Task | str:
    """What this reader does next in the study: a read, or why there is none.

    Nothing of a model or of another reader is in it before the reader's own score
    of that read is committed: the records refuse to give it.
    """
    name_reader(state.case(), identity.name)
    here = (study.id, identity.name)
    answered = _told().answered
    if answered is not None and (answered.study_id, answered.reader) == here:
        token = _token(study, answered.step, identity)
        shown = _reveal(answered.step, identity)
        own = "not scored" if answered.value is None else f"{answered.value} %"
        beside = (("Your score", own), ("Reference", percent(shown.reference)))
        return _task(answered.step, f"{token}.answer", "feedback", ANSWER, beside)
    with snapshot(store()) as db:
        step = records.next_assignment(db, study_id=study.id, reader=identity.name)
    if isinstance(step, AssignmentRecord):
        token = _token(study, step, identity)
        if step.phase != "after":
            return _task(step, token, "score", QUESTION if step.phase == "before" else ALONE)
        shown = _reveal(step, identity).model_scores
        beside = tuple(
            (METHOD_NAMES.get(method, method), f"{percent(s.value)}{_range(s.low, s.high)}")
            for method, s in shown.items()
        )
        return _task(step, token, "score", f"{WITH_AI} {_scale(shown)}", beside)
    if step is None:
        return "You have read every case of this study. Thank you."
    if isinstance(step, Waiting):
        return (
            f"This session is done. Your next one begins on {step.until:%d %B %Y, %H:%M} UTC; "
            "what you gave is kept."
        )
    assert isinstance(step, NotQualified)
    return (
        f"Your training scores are {100 * step.error:.0f} points from the references on average, "
        f"and this study asks for {100 * step.limit:.0f} or less. Speak with its coordinator "
        "before you go on."
    )


def _reveal(step: AssignmentRecord, identity: Identity) -> records.Revealed:
    """What may be seen of a read by now; a first look is an event of the trail, so it writes."""
    with transaction(store()) as db:
        return records.reveal(db, assignment_id=step.id, reader=identity.name)


def _scale(scores: Mapping[str, ModelScoreRecord]) -> str:
    """Whose scale the scores beside a read are on, in brackets; "" without any."""
    if not scores:
        return ""
    by = next(iter(scores.values()))  # all of a study are by one set
    scale = models_scale(by.model_set, scale_of(by.model_set, by.model_sha256))
    return f"(The models' scale: {scale}.)"


def _range(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"  ({100 * low:.0f}–{100 * high:.0f})"


def _token(study: StudyRecord, step: AssignmentRecord, identity: Identity) -> str:
    """Of a read, and of no other in whatever records: numbers begin at 1 in each of them.

    It differs between a case and its repeat, so that it cannot tell of one.
    """
    read = (study.created_at.isoformat(), identity.name, step.sha256, step.id, step.phase)
    return sha256(repr(read).encode()).hexdigest()[:16]


def _task(
    step: AssignmentRecord,
    token: str,
    mode: Mode,
    question: str,
    beside: tuple[tuple[str, str], ...] = (),
) -> Task:
    kind = "Training case" if step.is_training else "Case"
    told = _told()
    return Task(
        token=token,
        assignment=step.id,
        phase=step.phase,
        mode=mode,
        png=step.png,
        mpp=step.mpp,
        where=f"{kind} {step.position + 1} of {step.total}",
        question=question,
        done=step.done,
        total=step.total,
        start=None if step.before is None else round(100 * step.before),
        beside=beside,
        kept=told.kept,
        saved=told.saved,
        error=told.error,
        attempt=told.attempt,
    )


def take(study: StudyRecord) -> None:
    """Keep what the desk sent. "Saved" is said only after it is on disk.

    All that is needed of the session is fetched first: a click that waits would break
    off the keeping, without a word.
    """
    told, on_screen = _told(), state.case().shown
    try:
        identity = access.allow("read")
        sent = given(state.DESK)
        if sent.mode == "feedback":
            told.answered = None
            return
        answered = _keep(study, identity, sent, on_screen)
    except (RecordError, ValueError) as error:
        told.error, told.saved = str(error), ""
        told.attempt += 1
        return
    told.kept, told.saved = sent.token, f"Saved at {datetime.now(UTC):%H:%M:%S} UTC."
    told.error = ""
    if answered is not None:
        told.answered = answered


def tell_refusal() -> None:
    """Say why the last commit was refused, where there is no desk to say it on."""
    told = _told()
    if told.error:
        st.error(harmless(f"Your last score was not kept. {told.error}"))
        told.error = ""


def _keep(
    study: StudyRecord, identity: Identity, sent: Given, on_screen: Collection[str]
) -> _Answered | None:
    with transaction(store()) as db:
        step = records.next_assignment(db, study_id=study.id, reader=identity.name)
        is_next = isinstance(step, AssignmentRecord) and step.id == sent.assignment
        if isinstance(step, AssignmentRecord) and is_next and step.phase == sent.phase:
            _check_token(sent, _token(study, step, identity))
        seen = sent.phase == "after"
        if isinstance(step, AssignmentRecord) and is_next:
            seen = seen or step.sha256 in on_screen
        records.commit_reading(
            db,
            assignment_id=sent.assignment,
            reader=identity.name,
            phase=_phase(sent.phase),
            cellularity=None if sent.value is None else sent.value / 100,
            cannot_score_reason=sent.reason,
            confidence=sent.confidence,
            seconds=sent.seconds,
            seen_models=seen,
            software=SOFTWARE,
            token=f"{sent.assignment}.{sent.phase}",
        )
    if isinstance(step, AssignmentRecord) and is_next and step.is_training and study.show_feedback:
        return _Answered(study.id, identity.name, step, sent.value)
    return None


def _check_token(sent: Given, token: str) -> None:
    if sent.token != token:
        raise ValueError(
            "Nothing was kept: this score was given to another patch, before the records were "
            "changed for others. Look at the patch that is shown now, and score it anew."
        )


_PHASES: Final[Mapping[str, records.Phase]] = {
    "before": "before",
    "after": "after",
    "control": "control",
}


def _phase(name: str) -> records.Phase:
    if name not in _PHASES:
        raise ValueError(f"{name!r} is no phase of a read.")
    return _PHASES[name]
