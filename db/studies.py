"""Studies: made from a plan, opened, read, closed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, Literal, cast

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db import audit, members, order, patches, readers
from db.errors import RecordError
from db.order import Design
from db.schema import Assignment, Case, Membership, Reader, Study

DESIGNS: Final[tuple[Design, ...]] = ("before", "before-after", "before-after with control")
"""What is asked of a case: one blinded score; a second one after the models' output;
or for half of each reader's cases a second one without it."""

State = Literal["draft", "open", "closed"]


@dataclass(frozen=True, slots=True)
class NewCase:
    """A case to be.

    Attributes
    ----------
    sha256, name, width, height, mpp
        Of the patch: checksum of the pixels, name, size in pixels, um/px.
    phash : str or None
        Perceptual hash, 16 hex digits.
    turned : sequence of str
        Perceptual hashes of the patch in its 8 orientations, as given first.
    png : bytes
        The pixels.
    patient : str or None
        Pseudonym.
    is_training : bool
    reference : float or None
        Known cellularity in [0, 1]; a training case needs it.
    """

    sha256: str
    name: str
    width: int
    height: int
    mpp: float
    phash: str | None
    png: bytes
    patient: str | None = None
    is_training: bool = False
    reference: float | None = None
    turned: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class StudyDesign:
    """What a study asks of its readers.

    Attributes
    ----------
    name, description : str
    arm : {"before", "before-after", "before-after with control"}
    seed : int
        Decides every order.
    repeat_share : float
        Share of the cases each reader reads twice, in [0, 1].
    washout_days : float
        Least time between the two reads of a case.
    proficiency : float or None
        Largest mean absolute error on the training cases, in [0, 1], with which a
        reader goes on; None: everybody does.
    show_feedback : bool
        Whether a reader sees the reference after each training case.
    model_set, model_sha256, software : str or None
        Whose scores are compared and shown: of a model set, made by one version of the
        software.
    """

    name: str
    description: str
    arm: Design
    seed: int
    repeat_share: float
    washout_days: float
    proficiency: float | None
    show_feedback: bool
    model_set: str | None
    model_sha256: str | None
    software: str | None


@dataclass(frozen=True, slots=True)
class StudyPlan(StudyDesign):
    """A study to be; names of `readers` are enrolled where unknown."""

    readers: Sequence[str]
    cases: Sequence[NewCase]


@dataclass(frozen=True, slots=True)
class StudyRecord(StudyDesign):
    """A study as it stands; `readers` in the order of joining."""

    id: int
    state: State
    created_by: str
    created_at: datetime
    readers: tuple[str, ...]
    n_cases: int
    n_training: int


@dataclass(frozen=True, slots=True)
class CaseRecord:
    """A case as coordinators see it."""

    id: int
    code: str
    patient: str | None
    is_training: bool
    reference: float | None
    sha256: str
    patch: str
    width: int
    height: int
    mpp: float


def create_study(session: Session, plan: StudyPlan, *, actor: str) -> StudyRecord:
    """Make a study in state "draft", with its cases, readers and their orders.

    Cases get their codes in an order of the seed, so that a code tells nothing
    of the order in which files were given.

    Raises
    ------
    RecordError
        If the plan does not hold together or the name is taken.
    """
    name = _checked(session, plan)
    study = Study(
        name=name,
        description=plan.description.strip(),
        arm=plan.arm,
        seed=int(plan.seed),
        repeat_share=float(plan.repeat_share),
        washout_days=float(plan.washout_days),
        proficiency=None if plan.proficiency is None else float(plan.proficiency),
        show_feedback=bool(plan.show_feedback),
        model_set=plan.model_set,
        model_sha256=plan.model_sha256,
        software=None if plan.model_set is None else plan.software,
        created_by=actor,
    )
    session.add(study)
    audit.record(session, actor=actor, action="create", entity=study)
    given = {case.sha256: case for case in plan.cases}
    for number, sha256 in enumerate(order.permuted(list(given), plan.seed, "code"), start=1):
        _add_case(session, study, f"C-{number:04}", given[sha256], actor)
    for reader in plan.readers:
        add_reader_to_study(session, study_id=study.id, reader=reader, actor=actor)
    return _plain(session, study)


def _add_case(session: Session, study: Study, code: str, new: NewCase, actor: str) -> None:
    patch = patches.remembered(
        session,
        sha256=new.sha256,
        name=new.name,
        width=new.width,
        height=new.height,
        mpp=new.mpp,
        phash=new.phash,
        turned=new.turned,
        actor=actor,
    )
    patches.keep_image(session, patch=patch, png=new.png, actor=actor)
    case = Case(
        study=study,
        patch=patch,
        code=code,
        patient=new.patient or None,
        is_training=bool(new.is_training),
        reference=None if new.reference is None else float(new.reference),
        mpp=patches.pixel_size(new.mpp),
    )
    session.add(case)
    audit.record(session, actor=actor, action="add", entity=case)


def _checked(session: Session, plan: StudyPlan) -> str:
    """The study's name, once the plan holds together."""
    name = " ".join(plan.name.split())
    if not name or len(name) > readers.NAME_LENGTH:
        raise RecordError(
            f"A study's name needs 1 to {readers.NAME_LENGTH} letters; this one has {len(name)}."
        )
    if session.scalars(select(Study.id).where(Study.name == name)).one_or_none() is not None:
        raise RecordError(f"There is a study “{name}” already. Choose another name.")
    if plan.arm not in DESIGNS:
        raise RecordError(f"There is no design “{plan.arm}”. Choose one of {', '.join(DESIGNS)}.")
    _unit(plan.repeat_share, "The share of repeats")
    if plan.proficiency is not None:
        _unit(plan.proficiency, "The proficiency line")
    if not (math.isfinite(plan.washout_days) and plan.washout_days >= 0):
        raise RecordError(f"A wash-out of {plan.washout_days} days is none; give 0 days or more.")
    if not -(2**31) <= plan.seed < 2**31:
        raise RecordError(f"The seed {plan.seed} does not fit; give a number below 2 147 483 648.")
    if plan.model_set is None and plan.arm != "before":
        raise RecordError(
            f"The design “{plan.arm}” shows the models' scores. Choose a model set, or the "
            "design “before”."
        )
    if plan.model_set is not None and not plan.software:
        raise RecordError(
            f"The study uses scores of the model set “{plan.model_set}”, so it needs to know which "
            "version of the software made them. Give it, e.g. “cellularity 1.0, f32”."
        )
    real = [case for case in plan.cases if not case.is_training]
    if not real:
        raise RecordError("A study needs at least one case besides the training. Add patches.")
    if len({case.sha256 for case in plan.cases}) < len(plan.cases):
        raise RecordError("Two cases show the same pixels. Give each patch once.")
    if plan.proficiency is not None and len(real) == len(plan.cases):
        raise RecordError("A proficiency line needs training cases. Add some, or drop the line.")
    for case in plan.cases:
        if case.reference is not None:
            _unit(case.reference, f"The reference of {case.name}")
        elif case.is_training:
            raise RecordError(
                f"The training case {case.name} has no reference. Give its cellularity, "
                "between 0 and 1."
            )
    return name


def _unit(value: float, what: str) -> None:
    if not (math.isfinite(value) and 0.0 <= value <= 1.0):
        raise RecordError(f"{what} is {value}; it must lie between 0 and 1.")


def add_reader_to_study(session: Session, *, study_id: int, reader: str, actor: str) -> StudyRecord:
    """Let a reader take part; nobody else's order changes.

    Raises
    ------
    RecordError
        If the study is closed, or the reader takes part already or reads one of its
        patches in another study that is not closed.
    """
    study = members.study_row(session, study_id)
    if study.state == "closed":
        raise RecordError(
            f"The study “{study.name}” is closed, so nobody can join it any more. Make a new "
            "study for more readers."
        )
    member = readers.enrolled(session, reader, actor=actor)
    if members.membership(session, study_id, member) is not None:
        raise RecordError(f"{member.name} takes part in “{study.name}” already.")
    other = members.shared_study(session, study_id=study_id, person=member)
    if other is not None:
        same = (
            f"{other.here} is in both"
            if other.here == other.there
            else f"{other.here} here and {other.there} there show the same tissue"
        )
        raise RecordError(
            f"{member.name} is reading some of these patches in “{other.study.name}”: {same}. "
            "Close that study first, choose another reader, or leave the patch out."
        )
    rank = members.count(session, study_id)
    joined = Membership(study=study, reader=member, rank=rank)
    session.add(joined)
    cases = {
        case.code: case
        for case in session.scalars(
            select(Case).where(Case.study_id == study_id).order_by(Case.code)
        )
    }
    slots = order.slots(
        seed=study.seed,
        reader=member.key,
        rank=rank,
        training=[code for code, case in cases.items() if case.is_training],
        cases=[code for code, case in cases.items() if not case.is_training],
        repeat_share=study.repeat_share,
        design=cast(Design, study.arm),
    )
    session.flush()
    assigned = [
        Assignment(
            membership_id=joined.id,
            case_id=cases[slot.code].id,
            position=position,
            occasion=slot.occasion,
            arm=slot.arm,
        )
        for position, slot in enumerate(slots)
    ]
    session.add_all(assigned)
    audit.record(
        session,
        actor=actor,
        action="add",
        entity=joined,
        new={
            "study": study.name,
            "reader": member.name,
            "order": [[slot.code, slot.occasion, slot.arm] for slot in slots],
        },
        parts=assigned,
    )
    return _plain(session, study)


def open_study(session: Session, *, study_id: int, actor: str) -> StudyRecord:
    """Let the readers of a draft begin."""
    study = members.study_row(session, study_id)
    if members.count(session, study_id) == 0:
        raise RecordError(f"The study “{study.name}” has no reader. Add one before opening it.")
    return _move(session, study, ("draft",), "open", actor)


def close_study(session: Session, *, study_id: int, actor: str) -> StudyRecord:
    """End the reading: no score is taken any more, and results may be shown."""
    return _move(session, members.study_row(session, study_id), ("draft", "open"), "closed", actor)


def _move(
    session: Session, study: Study, origins: Sequence[State], state: State, actor: str
) -> StudyRecord:
    if study.state not in origins:
        raise RecordError(
            f"The study “{study.name}” is {study.state}, so it cannot become {state}. "
            "Reload the page to see where it stands."
        )
    old, study.state = study.state, state
    action = "open" if state == "open" else "close"
    audit.record(session, actor=actor, action=action, entity=study, old=old, new=state)
    return _plain(session, study)


def studies(session: Session, *, reader: str | None = None) -> list[StudyRecord]:
    """Every study, newest first; with `reader` those in which that reader takes part."""
    query = select(Study).order_by(Study.id.desc())
    if reader is not None:
        key = readers.clean_name(reader).casefold()
        query = query.join(Membership, Membership.study_id == Study.id)
        query = query.join(Reader, Reader.id == Membership.reader_id).where(Reader.key == key)
    return [_plain(session, found) for found in session.scalars(query)]


def study(session: Session, study_id: int) -> StudyRecord:
    """The study of that number.

    Raises
    ------
    RecordError
        If there is none.
    """
    return _plain(session, members.study_row(session, study_id))


def cases(session: Session, study_id: int) -> list[CaseRecord]:
    """Cases of a study by code: for coordinators, as patients and references are in it."""
    query = select(Case).where(Case.study_id == study_id).order_by(Case.code)
    return [
        CaseRecord(
            id=case.id,
            code=case.code,
            patient=case.patient,
            is_training=case.is_training,
            reference=case.reference,
            sha256=case.patch.sha256,
            patch=case.patch.name,
            width=case.patch.width,
            height=case.patch.height,
            mpp=case.mpp,
        )
        for case in session.scalars(query)
    ]


def _plain(session: Session, study: Study) -> StudyRecord:
    names = session.scalars(
        select(Reader.name)
        .join(Membership, Membership.reader_id == Reader.id)
        .where(Membership.study_id == study.id)
        .order_by(Membership.rank)
    ).all()
    counts = dict(
        session.execute(
            select(Case.is_training, func.count())
            .where(Case.study_id == study.id)
            .group_by(Case.is_training)
        ).all()
    )
    design: dict[str, Any] = {one.name: getattr(study, one.name) for one in fields(StudyDesign)}
    return StudyRecord(
        **design,
        id=study.id,
        state=cast(State, study.state),
        created_by=study.created_by,
        created_at=study.created_at,
        readers=tuple(names),
        n_cases=counts.get(False, 0),
        n_training=counts.get(True, 0),
    )
