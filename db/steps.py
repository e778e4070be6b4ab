"""Where a reader stands in a study: what comes next, and how far everybody is."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Final, Literal

from sqlalchemy import ColumnElement, Select, and_, bindparam, case, exists, func, or_, select
from sqlalchemy.orm import Session

from db import members, readers
from db.errors import RecordError
from db.schema import Assignment, Case, Image, Membership, Patch, Reader, Reading, Study, utcnow

Phase = Literal["before", "after", "control"]

_SECOND: Final[Mapping[str, Phase]] = {"ai": "after", "control": "control"}


@dataclass(frozen=True, slots=True)
class AssignmentRecord:
    """The read that comes next.

    It tells neither the case's code nor whether the read is a repeat: a reader who
    saw a code twice would know the repeat.

    Attributes
    ----------
    id, study_id : int
    phase : {"before", "after", "control"}
        Blinded first score; second score after the models' output; second score
        without it.
    is_training : bool
    position, total : int
        Of this read from 0, and how many reads there are.
    done : int
        How many are finished.
    sha256 : str
        Of the patch's pixels.
    png : bytes
        The pixels.
    width, height : int
        Pixels.
    mpp : float
        um/px.
    before : float or None
        The reader's own blinded score, once committed; None too where it could not be
        scored.
    """

    id: int
    study_id: int
    phase: Phase
    is_training: bool
    position: int
    total: int
    done: int
    sha256: str
    png: bytes
    width: int
    height: int
    mpp: float
    before: float | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing to read before `until` (UTC): the wash-out of the next repeat lasts so long."""

    until: datetime


@dataclass(frozen=True, slots=True)
class NotQualified:
    """The training ended above the proficiency line: the reader does not go on.

    Attributes
    ----------
    error : float
        Mean absolute error on the training cases; a case that was not scored counts
        with the largest error it could have had.
    limit : float
        The proficiency line: largest error allowed.
    """

    error: float
    limit: float


@dataclass(frozen=True, slots=True)
class ProgressRecord:
    """How far a reader is.

    Attributes
    ----------
    done, total : int
        Reads, training and repeats among them.
    training_done : int
    training_error : float or None
        Mean absolute error on the training cases done; None before the first.
    qualified : bool or None
        Whether the error is within the proficiency line; None as long as the
        training lasts or where there is no line.
    """

    reader: str
    done: int
    total: int
    training_done: int
    training_error: float | None
    qualified: bool | None


@dataclass(frozen=True, slots=True)
class Step:
    """A read and the phase of it that comes next."""

    assignment_id: int
    membership_id: int
    case_id: int
    patch_id: int
    position: int
    occasion: int
    is_training: bool
    mpp: float
    phase: Phase


def _given() -> ColumnElement[int]:
    """How many phases of an assignment are committed; they are so in their order."""
    query = select(func.count(Reading.id)).where(Reading.assignment_id == Assignment.id)
    return query.scalar_subquery()


def _phases() -> ColumnElement[int]:
    """How many phases an assignment has: one in the training and in the design "before"."""
    return case((or_(Case.is_training, Study.arm == "before"), 1), else_=2)


def _has_image() -> ColumnElement[bool]:
    """Whether an assignment can be read: its image was not erased."""
    return exists().where(Image.patch_id == Case.patch_id)


_PNG: Final = select(Image.png).where(Image.patch_id == bindparam("patch"))

_BEFORE: Final = select(Reading.cellularity).where(
    Reading.assignment_id == bindparam("task"), Reading.phase == "before"
)

_FOLLOWING: Final = (
    select(Assignment, Case.is_training, Case.patch_id, Case.mpp, _given())
    .join(Case, Case.id == Assignment.case_id)
    .join(Study, Study.id == Case.study_id)
    .where(Assignment.membership_id == bindparam("member"), _given() < _phases(), _has_image())
    .order_by(Assignment.position)
    .limit(1)
)

_SKIPPED: Final = (
    select(func.count(Assignment.id))
    .join(Case, Case.id == Assignment.case_id)
    .join(Study, Study.id == Case.study_id)
    .where(
        Assignment.membership_id == bindparam("member"),
        Assignment.position < bindparam("position"),
        _given() < _phases(),
        ~_has_image(),
    )
)


def next_assignment(
    session: Session, *, study_id: int, reader: str, now: datetime | None = None
) -> AssignmentRecord | Waiting | NotQualified | None:
    """What a reader reads next: exactly where they left off; None at the end.

    Parameters
    ----------
    now : datetime, optional
        Aware; not given: the server's clock.

    Raises
    ------
    RecordError
        If the study is not open or the reader does not take part.
    """
    study, member = part_of(session, study_id, reader)
    step = following(session, study, member, now or utcnow())
    if not isinstance(step, Step):
        return step
    patch = session.get_one(Patch, step.patch_id)
    png = session.scalars(_PNG, {"patch": step.patch_id}).one()
    before = session.scalars(_BEFORE, {"task": step.assignment_id}).one_or_none()
    [counted] = _counts(session, study_id, member.id)
    skipped = _skipped_before(session, member.id, step.position)
    return AssignmentRecord(
        id=step.assignment_id,
        study_id=study_id,
        phase=step.phase,
        is_training=step.is_training,
        position=step.position - skipped,
        total=counted.total,
        done=counted.done,
        sha256=patch.sha256,
        png=png,
        width=patch.width,
        height=patch.height,
        mpp=step.mpp,
        before=before,
    )


def part_of(session: Session, study_id: int, reader: str) -> tuple[Study, Membership]:
    """An open study and the reader's part in it.

    Raises
    ------
    RecordError
        If the study is not open or the reader does not take part.
    """
    study = members.study_row(session, study_id)
    person = readers.required(session, reader)
    member = members.membership(session, study_id, person)
    if member is None:
        raise RecordError(
            f"{person.name} takes no part in “{study.name}”. Ask its coordinator to be added."
        )
    if study.state != "open":
        raise RecordError(
            f"The study “{study.name}” is {study.state}, so there is nothing to read in it. "
            "Choose another study, or ask its coordinator."
        )
    return study, member


def following(
    session: Session, study: Study, member: Membership, now: datetime
) -> Step | Waiting | NotQualified | None:
    """What comes next for a member of an open study."""
    found = session.execute(_FOLLOWING, {"member": member.id}).one_or_none()
    if found is None:
        return None
    task, is_training, patch_id, mpp, n_given = found
    line = study.proficiency
    if line is not None and not is_training:
        error = _training_errors(session, study.id, member.id).get(member.id)
        if error is not None and error > line:
            return NotQualified(error, line)
    if task.occasion == 1 and n_given == 0:
        until = _first_read(session, task) + timedelta(days=study.washout_days)
        if now < until:
            return Waiting(until)
    phase: Phase = "before" if n_given == 0 else _SECOND[task.arm]
    return Step(
        assignment_id=task.id,
        membership_id=member.id,
        case_id=task.case_id,
        patch_id=patch_id,
        position=task.position,
        occasion=task.occasion,
        is_training=is_training,
        mpp=mpp,
        phase=phase,
    )


def _first_read(session: Session, task: Assignment) -> datetime:
    """When the first read of a repeated case was finished; repeats come behind all firsts."""
    query = (
        select(Reading.created_at)
        .join(Assignment, Assignment.id == Reading.assignment_id)
        .where(
            Assignment.membership_id == task.membership_id,
            Assignment.case_id == task.case_id,
            Assignment.occasion == 0,
        )
    )
    return max(session.scalars(query))


def _skipped_before(session: Session, membership_id: int, position: int) -> int:
    """How many reads before that position cannot be done any more."""
    return session.scalars(_SKIPPED, {"member": membership_id, "position": position}).one()


def _training_errors(
    session: Session, study_id: int, membership_id: int | None = None
) -> dict[int, float]:
    """Mean absolute error on the training cases done, by membership; absent without one.

    A case that was not scored counts with the largest error it could have had.
    """
    query = (
        select(Assignment.membership_id, Case.reference, Reading.cellularity)
        .join(Case, Case.id == Assignment.case_id)
        .join(Reading, Reading.assignment_id == Assignment.id)
        .where(Case.study_id == study_id, Case.is_training)
    )
    if membership_id is not None:
        query = query.where(Assignment.membership_id == membership_id)
    errors: dict[int, list[float]] = defaultdict(list)
    for member, reference, score in session.execute(query):
        assert reference is not None
        worst = max(reference, 1 - reference)
        errors[member].append(worst if score is None else abs(score - reference))
    # rounded, so that 0.4 - 0.3 is within a line of 0.1
    return {member: round(sum(some) / len(some), 12) for member, some in errors.items()}


@dataclass(frozen=True, slots=True)
class _Count:
    membership_id: int
    reader: str
    done: int
    total: int
    training_done: int
    training_total: int


def _counts(session: Session, study_id: int, membership_id: int | None = None) -> list[_Count]:
    """How many reads are done and asked, by member in the order of joining."""
    asked = {"study": study_id} | ({} if membership_id is None else {"member": membership_id})
    found = session.execute(_counting(membership_id is not None), asked)
    return [_Count(*row) for row in found]


@cache
def _counting(of_one: bool) -> Select[int, str, int, int, int, int]:
    """What `_counts` asks, of all members or of one."""
    tasks = (
        select(
            Assignment.membership_id,
            Case.is_training,
            (_given() >= _phases()).label("is_done"),
            _has_image().label("has_image"),
        )
        .join(Case, Case.id == Assignment.case_id)
        .join(Study, Study.id == Case.study_id)
        .where(Case.study_id == bindparam("study"))
    )
    if of_one:
        tasks = tasks.where(Assignment.membership_id == bindparam("member"))
    task = tasks.subquery()

    def count(condition: ColumnElement[bool]) -> ColumnElement[int]:
        return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)

    is_asked = or_(task.c.is_done, task.c.has_image)
    query = (
        select(
            Membership.id,
            Reader.name,
            count(task.c.is_done),
            count(is_asked),
            count(and_(task.c.is_done, task.c.is_training)),
            count(and_(is_asked, task.c.is_training)),
        )
        .join(Reader, Reader.id == Membership.reader_id)
        .outerjoin(task, task.c.membership_id == Membership.id)
        .where(Membership.study_id == bindparam("study"))
        .group_by(Membership.id, Membership.rank, Reader.name)
        .order_by(Membership.rank)
    )
    return query.where(Membership.id == bindparam("member")) if of_one else query


def progress(session: Session, study_id: int) -> list[ProgressRecord]:
    """How far each reader of a study is, in the order of joining."""
    line = members.study_row(session, study_id).proficiency
    errors = _training_errors(session, study_id)
    found = []
    for count in _counts(session, study_id):
        error = errors.get(count.membership_id)
        is_trained = count.training_done == count.training_total
        found.append(
            ProgressRecord(
                reader=count.reader,
                done=count.done,
                total=count.total,
                training_done=count.training_done,
                training_error=error,
                qualified=(
                    error <= line if is_trained and line is not None and error is not None else None
                ),
            )
        )
    return found
