"""Where a reader stands in a study: what comes next, and how far everybody is."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import patches, readers, studies
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


@dataclass(slots=True)
class Step:
    """An assignment and what was committed for it: phase -> (score, moment)."""

    id: int
    position: int
    occasion: int
    arm: str
    case_id: int
    is_training: bool
    reference: float | None
    has_image: bool
    design: str
    sha256: str
    width: int
    height: int
    mpp: float
    given: dict[str, tuple[float | None, datetime]] = field(default_factory=dict)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """What is asked of this read, in order."""
        if self.is_training or self.design == "before":
            return ("before",)
        return ("before", _SECOND[self.arm])

    @property
    def missing(self) -> Phase | None:
        """First phase that is not committed."""
        return next((phase for phase in self.phases if phase not in self.given), None)

    @property
    def is_asked(self) -> bool:
        """Whether it is done or can be done: not where the image was erased."""
        return self.has_image or self.missing is None


def steps(
    session: Session, study_id: int, *, member: Membership | None = None
) -> dict[str, list[Step]]:
    """Steps by name of the reader, in their order; with `member` only of that one."""
    query = (
        select(
            Reader.name,
            Assignment,
            Case.is_training,
            Case.reference,
            Image.patch_id,
            Study.arm,
            Patch,
            Reading.phase,
            Reading.cellularity,
            Reading.created_at,
        )
        .join(Membership, Membership.id == Assignment.membership_id)
        .join(Reader, Reader.id == Membership.reader_id)
        .join(Case, Case.id == Assignment.case_id)
        .join(Study, Study.id == Case.study_id)
        .join(Patch, Patch.id == Case.patch_id)
        .outerjoin(Image, Image.patch_id == Case.patch_id)
        .outerjoin(Reading, Reading.assignment_id == Assignment.id)
        .where(Membership.study_id == study_id)
        .order_by(Membership.rank, Assignment.position)
    )
    if member is not None:
        query = query.where(Membership.id == member.id)
    found: dict[str, dict[int, Step]] = {}
    for (
        name,
        task,
        is_training,
        reference,
        image,
        design,
        patch,
        phase,
        score,
        at,
    ) in session.execute(query):
        step = found.setdefault(name, {}).setdefault(
            task.id,
            Step(
                id=task.id,
                position=task.position,
                occasion=task.occasion,
                arm=task.arm,
                case_id=task.case_id,
                is_training=is_training,
                reference=reference,
                has_image=image is not None,
                design=design,
                sha256=patch.sha256,
                width=patch.width,
                height=patch.height,
                mpp=patch.mpp,
            ),
        )
        if phase is not None:
            step.given[phase] = (score, at)
    return {name: list(by_id.values()) for name, by_id in found.items()}


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
    asked = steps(session, study_id, member=member).get(member.reader.name, [])
    step = following(study, asked, now or utcnow())
    if not isinstance(step, Step):
        return step
    phase, png = step.missing, patches.image(session, sha256=step.sha256)
    assert phase is not None
    assert png is not None
    asked = [other for other in asked if other.is_asked]
    before = step.given.get("before")
    return AssignmentRecord(
        id=step.id,
        study_id=study_id,
        phase=phase,
        is_training=step.is_training,
        position=asked.index(step),
        total=len(asked),
        done=sum(other.missing is None for other in asked),
        sha256=step.sha256,
        png=png,
        width=step.width,
        height=step.height,
        mpp=step.mpp,
        before=None if before is None else before[0],
    )


def part_of(session: Session, study_id: int, reader: str) -> tuple[Study, Membership]:
    """An open study and the reader's part in it.

    Raises
    ------
    RecordError
        If the study is not open or the reader does not take part.
    """
    study = studies.row(session, study_id)
    person = readers.required(session, reader)
    member = studies.membership(session, study_id, person)
    if member is None:
        raise RecordError(
            f"{person.name} takes no part in “{study.name}”. Ask its coordinator to be added."
        )
    if study.state != "open":
        raise RecordError(
            f"The study “{study.name}” is {study.state}, so there is nothing to read in it."
        )
    return study, member


def following(
    study: Study, taken: Iterable[Step], now: datetime
) -> Step | Waiting | NotQualified | None:
    """What comes next after what the steps hold."""
    asked = [step for step in taken if step.is_asked]
    step = next((step for step in asked if step.missing is not None), None)
    if step is None:
        return None
    error, line = training_error(asked), study.proficiency
    if not step.is_training and line is not None and error is not None and error > line:
        return NotQualified(error, line)
    if step.occasion == 1 and step.missing == "before":
        first = next(s for s in asked if s.case_id == step.case_id and s.occasion == 0)
        read_at = max(at for _, at in first.given.values())
        until = read_at + timedelta(days=study.washout_days)
        if now < until:
            return Waiting(until)
    return step


def training_error(taken: Iterable[Step]) -> float | None:
    """Mean absolute error on the training cases done, in [0, 1]; None without one.

    A case that was not scored counts with the largest error it could have had.
    """
    errors = []
    for step in taken:
        if step.is_training and step.reference is not None and "before" in step.given:
            score, _ = step.given["before"]
            worst = max(step.reference, 1 - step.reference)
            errors.append(worst if score is None else abs(score - step.reference))
    # rounded, so that 0.4 - 0.3 is within a line of 0.1
    return round(sum(errors) / len(errors), 12) if errors else None


def progress(session: Session, study_id: int) -> list[ProgressRecord]:
    """How far each reader of a study is, in the order of joining."""
    line = studies.row(session, study_id).proficiency
    found = []
    for reader, taken in steps(session, study_id).items():
        asked = [step for step in taken if step.is_asked]
        training = [step for step in asked if step.is_training]
        error = training_error(training)
        is_trained = all(step.missing is None for step in training)
        found.append(
            ProgressRecord(
                reader=reader,
                done=sum(step.missing is None for step in asked),
                total=len(asked),
                training_done=sum(step.missing is None for step in training),
                training_error=error,
                qualified=(
                    error <= line if is_trained and line is not None and error is not None else None
                ),
            )
        )
    return found
