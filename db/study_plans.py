"""Plans of studies: what a study to be asks of whom, and whether it holds together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import readers
from db.errors import RecordError
from db.order import Design
from db.schema import Study

DESIGNS: Final[tuple[Design, ...]] = ("before", "before-after", "before-after with control")
"""What is asked of a case: one blinded score; a second one after the models' output;
or for half of each reader's cases a second one without it."""


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


def checked_name(session: Session, plan: StudyPlan) -> str:
    """The study's name, once the plan holds together.

    Raises
    ------
    RecordError
        If it does not, or the name is taken.
    """
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
