"""Scores of the models, and the consensus of a case: both append-only."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from db import audit, members, patches
from db.errors import RecordError
from db.schema import Case, Consensus, ModelScore, Patch, Study

_CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class ModelScoreRecord:
    """A model's score of a patch, with its 90 % interval; all None without tissue."""

    method: str
    value: float | None
    low: float | None
    high: float | None
    model_set: str
    model_sha256: str
    software: str


@dataclass(frozen=True, slots=True)
class ScoredBy:
    """A model set whose scores are kept, and for how many patches."""

    model_set: str
    model_sha256: str
    n_patches: int


@dataclass(frozen=True, slots=True)
class CaseModelScore:
    """A model's score of a case of a study."""

    case_id: int
    case: str
    patient: str | None
    is_training: bool
    method: str
    value: float | None
    low: float | None
    high: float | None
    model_set: str
    model_sha256: str
    mpp: float
    software: str


@dataclass(frozen=True, slots=True)
class ConsensusRecord:
    """The score agreed for a case."""

    case_id: int
    case: str
    cellularity: float
    reason: str
    by: str
    created_at: datetime


def keep_model_scores(
    session: Session,
    *,
    sha256: str,
    mpp: float,
    scores: Mapping[str, tuple[float | None, float | None, float | None]],
    model_set: str,
    model_sha256: str,
    software: str,
    actor: str | None = None,
) -> None:
    """Append the models' scores of a patch at a pixel size; those kept already for it stay.

    Parameters
    ----------
    sha256 : str
        Of a patch that is in the records.
    mpp : float
        um/px at which it was scored.
    scores : mapping of str to (value, low, high)
        By method, each in [0, 1] or None.
    actor : str, optional
        Who had it scored; not given: the software.

    Raises
    ------
    RecordError
        If the patch is unknown or a score is not in [0, 1].
    """
    patch = patches.find(session, sha256)
    if patch is None:
        raise RecordError(
            f"The patch {sha256[:12]} is not in the records, so no score can be kept for it."
        )
    size = patches.pixel_size(mpp)
    known = set(
        session.scalars(
            select(ModelScore.method).where(
                ModelScore.patch_id == patch.id,
                ModelScore.mpp == size,
                ModelScore.model_set == model_set,
                ModelScore.model_sha256 == model_sha256,
                ModelScore.software == software,
            )
        )
    )
    for method, values in scores.items():
        if method in known:
            continue
        value, low, high = (_unit(method, number) for number in values)
        score = ModelScore(
            patch=patch,
            method=method,
            value=value,
            low=low,
            high=high,
            model_set=model_set,
            model_sha256=model_sha256,
            software=software,
            mpp=size,
        )
        session.add(score)
        audit.record(session, actor=actor or software, action="score", entity=score)


def _unit(method: str, value: float | None) -> float | None:
    if value is None:
        return None
    if not (math.isfinite(value) and 0.0 <= value <= 1.0):
        raise RecordError(
            f"A score of {value} by {method} cannot be kept; it must lie between 0 and 1."
        )
    return float(value)


def model_scores(
    session: Session, study_id: int, *, asking: str | None = None
) -> list[CaseModelScore]:
    """Scores of a study's model set and version of the software for its cases, by method.

    Only scores at the pixel size of the case. Of a study that names no version the first
    kept.

    Parameters
    ----------
    asking : str, optional
        Reader who will see them. To be given wherever a reader may look; without it
        they are for the software itself. A reader at work sees `db.blinding.reveal`.

    Raises
    ------
    RecordError
        If `asking` takes part in the study and it is not closed.
    """
    members.check_may_see_others(session, study_id=study_id, asking=asking)
    return [
        CaseModelScore(
            case_id=case.id,
            case=case.code,
            patient=case.patient,
            is_training=case.is_training,
            method=score.method,
            value=score.value,
            low=score.low,
            high=score.high,
            model_set=score.model_set,
            model_sha256=score.model_sha256,
            mpp=score.mpp,
            software=score.software,
        )
        for case, score in _first_kept(session, Case.study_id == study_id)
    ]


def of_case(session: Session, case_id: int) -> dict[str, ModelScoreRecord]:
    """Scores for one case that its study uses, by method."""
    found = _first_kept(session, Case.id == case_id)
    return {score.method: _plain(score) for _, score in found}


def other_versions(session: Session, study_id: int) -> dict[str, int]:
    """Versions of the software whose scores a study does not use, and of how many cases.

    Scores of its model set at the pixel size of the case; empty where the study names no
    version, as it uses them all.
    """
    query = (
        _of_cases(ModelScore.software, func.count(Case.id.distinct()))
        .where(Case.study_id == study_id, ModelScore.software != Study.software)
        .group_by(ModelScore.software)
        .order_by(ModelScore.software)
    )
    return dict(session.execute(query).all())


def _first_kept(session: Session, which: ColumnElement[bool]) -> list[tuple[Case, ModelScore]]:
    """Cases, and the first kept score of each method that their study uses."""
    query = (
        _of_cases(Case, ModelScore)
        .where(which, or_(Study.software.is_(None), ModelScore.software == Study.software))
        .order_by(Case.code, ModelScore.id)
    )
    first: dict[tuple[int, str], tuple[Case, ModelScore]] = {}
    for case, score in session.execute(query):
        first.setdefault((case.id, score.method), (case, score))
    return list(first.values())


def _of_cases(*chosen: Any) -> Select[Any]:
    """`chosen` of studies, their cases, and the scores by their model set at that pixel size."""
    return (
        select(*chosen)
        .select_from(Case)
        .join(Study, Study.id == Case.study_id)
        .join(
            ModelScore,
            and_(
                ModelScore.patch_id == Case.patch_id,
                ModelScore.mpp == Case.mpp,
                ModelScore.model_set == Study.model_set,
                ModelScore.model_sha256 == Study.model_sha256,
            ),
        )
    )


def model_scores_of(
    session: Session, *, sha256s: Collection[str], model_sha256: str
) -> dict[tuple[str, float], dict[str, ModelScoreRecord]]:
    """A model set's scores of patches, by checksum and um/px, then by method.

    Of each method the first kept.
    """
    found: dict[tuple[str, float], dict[str, ModelScoreRecord]] = {}
    wanted = sorted(sha256s)
    for start in range(0, len(wanted), _CHUNK):
        query = (
            select(Patch.sha256, ModelScore)
            .join(ModelScore, ModelScore.patch_id == Patch.id)
            .where(
                Patch.sha256.in_(wanted[start : start + _CHUNK]),
                ModelScore.model_sha256 == model_sha256,
            )
            .order_by(ModelScore.id)
        )
        for sha256, score in session.execute(query):
            found.setdefault((sha256, score.mpp), {}).setdefault(score.method, _plain(score))
    return found


def model_sets_of(session: Session, *, sha256s: list[str]) -> list[ScoredBy]:
    """Model sets with scores of any of these patches, the one used last first."""
    last: dict[tuple[str, str], int] = {}
    patches_of: dict[tuple[str, str], set[int]] = {}
    for start in range(0, len(sha256s), _CHUNK):
        query = (
            select(
                ModelScore.model_set,
                ModelScore.model_sha256,
                ModelScore.patch_id,
                func.max(ModelScore.id),
            )
            .join(Patch, Patch.id == ModelScore.patch_id)
            .where(Patch.sha256.in_(sha256s[start : start + _CHUNK]))
            .group_by(ModelScore.model_set, ModelScore.model_sha256, ModelScore.patch_id)
        )
        for name, sha256, patch_id, latest in session.execute(query):
            key = (name, sha256)
            last[key] = max(latest, last.get(key, 0))
            patches_of.setdefault(key, set()).add(patch_id)
    order = sorted(last, key=last.__getitem__, reverse=True)
    return [ScoredBy(*key, len(patches_of[key])) for key in order]


def _plain(score: ModelScore) -> ModelScoreRecord:
    return ModelScoreRecord(
        score.method,
        score.value,
        score.low,
        score.high,
        score.model_set,
        score.model_sha256,
        score.software,
    )


def keep_consensus(
    session: Session, *, case_id: int, cellularity: float, reason: str, by: str
) -> ConsensusRecord:
    """Append the score agreed for a case; an earlier one stays beside it.

    Raises
    ------
    RecordError
        If the study is still open, the score is not in [0, 1] or no reason is given.
    """
    case = session.get(Case, case_id)
    if case is None:
        raise RecordError(f"There is no case {case_id}. Choose one from the queue.")
    if case.study.state != "closed":
        raise RecordError(
            f"The study “{case.study.name}” is {case.study.state}; a consensus is sought once "
            "it is closed."
        )
    score = _unit("consensus", cellularity)
    assert score is not None
    clean = " ".join(reason.split())
    if not 1 <= len(clean) <= 500:
        raise RecordError(f"A consensus needs its reason, in 1 to 500 letters, not {len(clean)}.")
    agreed = Consensus(case=case, cellularity=score, reason=clean, by=by)
    session.add(agreed)
    audit.record(session, actor=by, action="agree", entity=agreed)
    return _plain_consensus(agreed)


def consensus(session: Session, study_id: int) -> list[ConsensusRecord]:
    """The latest consensus of each case of a study that has one, by code."""
    query = (
        select(Consensus)
        .join(Case, Case.id == Consensus.case_id)
        .where(Case.study_id == study_id)
        .order_by(Case.code, Consensus.id)
    )
    latest = {agreed.case_id: _plain_consensus(agreed) for agreed in session.scalars(query)}
    return list(latest.values())


def _plain_consensus(agreed: Consensus) -> ConsensusRecord:
    return ConsensusRecord(
        case_id=agreed.case_id,
        case=agreed.case.code,
        cellularity=agreed.cellularity,
        reason=agreed.reason,
        by=agreed.by,
        created_at=agreed.created_at,
    )
