"""Readings and model scores as the ratings that statistics take: pure, no widgets."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Final

import numpy as np
import numpy.typing as npt

from cellularity_core.agreement import (
    AutomationBias,
    Rating,
    RatingTable,
    SecondReads,
    automation_bias,
)
from cellularity_core.conventions import COMBINED
from db.records import (
    CaseModelScore,
    CaseRecord,
    ConsensusRecord,
    ModelScoreRecord,
    ReadingRecord,
    ReadingRow,
    StudyRecord,
)
from pages.parts.words import METHOD_NAMES

Floats = npt.NDArray[np.float64]

Shown = tuple[str, float]
"""A patch as it was shown: checksum of its pixels, and um/px."""

MEAN_OF_MODELS: Final = "Mean of the models"
"""Of the methods that are no mean of others themselves."""


@dataclass(frozen=True, slots=True)
class Material:
    """What statistics are made of, and where it comes from.

    Attributes
    ----------
    title : str
    ratings : tuple of Rating
        Blinded first reads and their repeats, missing reads, the models' scores.
    study : StudyRecord or None
        None for everyday scores.
    rows : tuple of ReadingRow
        Every reading of the study, those that do not count included.
    free : tuple of ReadingRecord
        Every reading outside studies.
    model_scores : tuple of CaseModelScore
        Of the study's cases.
    model_set, model_sha256 : str or None
    model_software : tuple of str
        Versions of the software that made the models' scores.
    other_versions : dict of str to int
        Of how many cases of the study there are scores by other versions, which do not count.
    scale : str or None
        Whose scale the models' scores are on; None where it is not known.
    images : dict of str to str
        Checksum of the patch of each case.
    case_ids : dict of str to int
        Number of each case in the records; empty for everyday scores.
    consensus : tuple of ConsensusRecord
    n_met : int
        Cases whose patch the models, or the scale of their scores, were made from.
    n_amended, n_seen : int
        Readings with an amendment beside them; readings left out as the models'
        output had been on screen.
    """

    title: str
    ratings: tuple[Rating, ...]
    study: StudyRecord | None = None
    rows: tuple[ReadingRow, ...] = ()
    free: tuple[ReadingRecord, ...] = ()
    model_scores: tuple[CaseModelScore, ...] = ()
    model_set: str | None = None
    model_sha256: str | None = None
    model_software: tuple[str, ...] = ()
    other_versions: Mapping[str, int] = field(default_factory=dict)
    scale: str | None = None
    images: Mapping[str, str] = field(default_factory=dict)
    case_ids: Mapping[str, int] = field(default_factory=dict)
    consensus: tuple[ConsensusRecord, ...] = ()
    n_met: int = 0
    n_amended: int = 0
    n_seen: int = 0

    @property
    def table(self) -> RatingTable:
        """The ratings, checked."""
        return RatingTable.from_ratings(self.ratings)

    @property
    def key(self) -> str:
        """Changes with any of the ratings: what is computed of them is kept under it."""
        return sha256(repr(self.ratings).encode()).hexdigest()

    @property
    def is_final(self) -> bool:
        """Whether no reading of the study can be added any more."""
        return self.study is not None and self.study.state == "closed"


def of_study(
    study: StudyRecord,
    cases: Sequence[CaseRecord],
    rows: Sequence[ReadingRow],
    scores: Sequence[CaseModelScore],
    consensus: Sequence[ConsensusRecord],
) -> Material:
    """Ratings of a study.

    Only real cases and only the score that was committed before any model was shown
    count; of a case that a reader reads twice the second one is a repeat. Amendments
    never count.
    """
    real = [case for case in cases if not case.is_training]
    patients = {case.code: case.patient for case in real}
    given = [row for row in rows if row.phase == "before" and not row.is_training]
    counted = [row for row in given if not row.seen_models]
    raters = list(dict.fromkeys((*study.readers, *(row.reader for row in given))))
    first = {(row.reader, row.case) for row in counted if row.occasion == 0}
    ratings = [
        Rating(
            case_id=row.case,
            reader=row.reader,
            score=row.cellularity,
            patient_id=row.patient,
            repeat=row.occasion,
            cannot_score=row.cellularity is None,
            read_at=row.created_at,
        )
        for row in counted
    ]
    ratings += [
        Rating(code, reader, None, patient)
        for reader in raters
        for code, patient in patients.items()
        if (reader, code) not in first
    ]
    names = model_names(raters)
    ratings += [
        Rating(
            case_id=score.case,
            reader=names[score.method],
            score=score.value,
            patient_id=score.patient,
            kind="model",
            cannot_score=score.value is None,
        )
        for score in scores
        if not score.is_training
    ]
    order = {name: place for place, name in enumerate((*raters, *names.values()))}
    ratings.sort(key=lambda rating: (order[rating.reader], rating.case_id, rating.repeat))
    return Material(
        title=study.name,
        ratings=tuple(ratings),
        study=study,
        rows=tuple(rows),
        model_scores=tuple(scores),
        model_set=study.model_set,
        model_sha256=study.model_sha256,
        model_software=tuple(sorted({score.software for score in scores})),
        images={case.code: case.sha256 for case in real},
        case_ids={case.code: case.id for case in real},
        consensus=tuple(consensus),
        n_amended=sum(row.amended for row in given),
        n_seen=len(given) - len(counted),
    )


def of_everyday(
    readings: Sequence[ReadingRecord],
    scores: Mapping[Shown, Mapping[str, ModelScoreRecord]],
    *,
    with_seen: bool,
) -> Material:
    """Ratings of the scores given outside studies.

    A case is a patch at one pixel size, so that like is compared with like.

    Parameters
    ----------
    readings : sequence of ReadingRecord
        Oldest first.
    scores : mapping
        Of one model set, by patch and pixel size, then by method.
    with_seen : bool
        Whether a score counts that was given when the reader had seen the models'
        output for the patch, in this or an earlier reading.
    """
    names = case_names(readings)
    seen: set[tuple[str, str]] = set()
    times: Counter[tuple[Shown, str]] = Counter()
    ratings, left_out = [], 0
    for reading in readings:
        shown = (reading.sha256, reading.mpp)
        if reading.seen_models:
            seen.add((reading.sha256, reading.reader))
        if (reading.sha256, reading.reader) in seen and not with_seen:
            left_out += 1
            continue
        ratings.append(
            Rating(
                case_id=names[shown],
                reader=reading.reader,
                score=reading.cellularity,
                repeat=times[shown, reading.reader],
                cannot_score=reading.cellularity is None,
                read_at=reading.created_at,
            )
        )
        times[shown, reading.reader] += 1
    counted = {rating.case_id for rating in ratings}
    raters = model_names({rating.reader for rating in ratings})
    ratings += [
        Rating(
            case_id=names[shown],
            reader=raters[method],
            score=score.value,
            kind="model",
            cannot_score=score.value is None,
        )
        for shown, of_patch in scores.items()
        if names.get(shown) in counted
        for method, score in of_patch.items()
    ]
    used = [s for shown, of in scores.items() if names.get(shown) in counted for s in of.values()]
    some = next((score for of_patch in scores.values() for score in of_patch.values()), None)
    return Material(
        title="Everyday scores",
        ratings=tuple(ratings),
        free=tuple(readings),
        model_set=some.model_set if some else None,
        model_sha256=some.model_sha256 if some else None,
        model_software=tuple(sorted({score.software for score in used})),
        images={name: sha256 for (sha256, _), name in names.items()},
        n_seen=left_out,
    )


def case_names(readings: Sequence[ReadingRecord]) -> dict[Shown, str]:
    """A name for each patch and pixel size; what tells it apart behind one that is not unique."""
    patches = {reading.sha256: reading.patch for reading in readings}
    shown = list(dict.fromkeys((reading.sha256, reading.mpp) for reading in readings))
    often, sizes = Counter(patches.values()), Counter(patch for patch, _ in shown)
    digits = next(
        n for n in (8, 16, 32, 64) if len({patch[:n] for patch in patches}) == len(patches)
    )
    return {
        (patch, mpp): patches[patch]
        + (f" ({patch[:digits]})" if often[patches[patch]] > 1 else "")
        + (f" at {mpp:g} µm/px" if sizes[patch] > 1 else "")
        for patch, mpp in shown
    }


def model_names(readers: Collection[str]) -> dict[str, str]:
    """Names of the methods that no reader has."""
    return {
        method: f"{name} (model)" if name in readers else name
        for method, name in METHOD_NAMES.items()
    }


def single_models(ratings: Iterable[Rating]) -> frozenset[str]:
    """Models to take the mean of: all but the one that is the mean of others already.

    That one itself where there is no other.
    """
    kinds = {rating.reader: rating.kind for rating in ratings}
    models = frozenset(name for name, kind in kinds.items() if kind == "model")
    mean = model_names([name for name, kind in kinds.items() if kind == "reader"])[COMBINED]
    return models - {mean} or models


def shared_scores(table: RatingTable, a: str, b: str) -> tuple[list[str], Floats, Floats]:
    """Cases that two raters both scored, and their scores."""
    scores = table.first_reads((a, b))
    both = np.isfinite(scores).all(axis=1)
    cases = [case for case, has in zip(table.cases, both, strict=True) if has]
    return cases, scores[both, 0], scores[both, 1]


def movement(material: Material, model: str) -> AutomationBias | None:
    """How second reads moved toward `model`; None where nothing was read after the models.

    Repeats are left out, as their first score came after the models had been shown once, and
    cases whose reader had met the models' output before the first score.

    Parameters
    ----------
    material : Material
        Of a study.
    model : str
        Name of a model among the ratings, or `MEAN_OF_MODELS`.
    """
    advice = _advice(material, model)
    agreed = {found.case: found.cellularity for found in material.consensus}
    before = {
        (row.case, row.reader): row.cellularity
        for row in material.rows
        if row.phase == "before"
        and row.occasion == 0
        and not row.is_training
        and not row.seen_models
    }

    def arm(phase: str) -> SecondReads | None:
        second = [
            row
            for row in material.rows
            if row.phase == phase and row.occasion == 0 and (row.case, row.reader) in before
        ]
        if not second:
            return None
        return SecondReads(
            before=_numbers(before[row.case, row.reader] for row in second),
            after=_numbers(row.cellularity for row in second),
            model=_numbers(advice.get(row.case) for row in second),
            patients=[row.patient or f"case {row.case}" for row in second],
            reference=_numbers(agreed.get(row.case) for row in second),
        )

    shown, control = arm("after"), arm("control")
    if shown is None:
        return None
    return automation_bias(
        shown.before,
        shown.after,
        shown.model,
        patients=shown.patients,
        reference=shown.reference,
        control=control,
    )


def _advice(material: Material, model: str) -> dict[str, float]:
    """What the model said of each case."""
    meant = single_models(material.ratings) if model == MEAN_OF_MODELS else {model}
    found: dict[str, list[float]] = {}
    for rating in material.ratings:
        if rating.kind == "model" and rating.score is not None and rating.reader in meant:
            found.setdefault(rating.case_id, []).append(rating.score)
    return {case: float(np.mean(scores)) for case, scores in found.items()}


def _numbers(values: Iterable[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], float)


def span(moments: Collection[datetime]) -> str:
    """First and last day, in words; "" for none."""
    if not moments:
        return ""
    first, last = (f"{moment:%d %b %Y}" for moment in (min(moments), max(moments)))
    return first if first == last else f"{first} to {last}"
