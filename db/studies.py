"""Studies: made from a plan, joined, opened, closed."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal, cast

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db import audit, members, order, patches, readers
from db.errors import RecordError
from db.order import Design
from db.schema import Assignment, Case, Membership, Reader, Study
from db.study_plans import NewCase, StudyDesign, StudyPlan, checked_name

State = Literal["draft", "open", "closed"]


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
    name = checked_name(session, plan)
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
