"""Made-up readers and studies of synthetic patches, for the pictures in this folder.

Nobody read anything: a reader's score is the share of the field that tumour was drawn
in, shifted by the reader's habit and by chance of a fixed seed.
"""

from pathlib import Path
from typing import Final

import cv2
import numpy as np
from sqlalchemy.orm import Session

from cellularity_core.conventions import DEFAULT_MPP, DEFAULT_SET
from cellularity_core.export import SOFTWARE
from cellularity_core.fingerprint import fingerprint
from cellularity_core.patch import Patch, pixel_digest
from cellularity_core.results import PatchResult
from cellularity_core.scorer import Scorer
from cellularity_core.synthetic import synthesise
from db import model_sets, records
from db.records import AssignmentRecord, Design, NewCase, StudyPlan
from db.session import open_records, transaction

COORDINATOR: Final = "Example Coordinator"
READERS: Final = {"Reader A": 0.02, "Reader B": -0.05, "Reader C": 0.08}
"""Names, and by how much each scores higher than was drawn."""

DRAWN: Final = (0.0, 0.04, 0.1, 0.18, 0.25, 0.33, 0.42, 0.5, 0.58, 0.66, 0.74, 0.85)
"""Shares of tumour of the cases of the first study; the second has every third, drawn anew."""

_NOISE: Final = 0.06


def fill(database: Path) -> None:
    """Write two studies into new records: one read to its end, one that goes on."""
    scorer = Scorer.open(DEFAULT_SET)
    rng = np.random.default_rng(2026)
    engine = open_records(str(database))
    first = _cases(DRAWN, seed=100)
    second = _cases(DRAWN[1::3], seed=200)
    with transaction(engine) as db:
        for name in (COORDINATOR, *READERS):
            records.enrol(db, name=name)
        used = scorer.model_set
        model_sets.choose(db, name=used.name, sha256=used.sha256, actor=COORDINATOR)
    for name, arm, cases, is_closed in (
        ("Made-up study 1", "before-after", first, True),
        ("Made-up study 2", "before", second, False),
    ):
        results = list(scorer.score([patch for patch, _ in cases]))
        with transaction(engine) as db:
            study = _study(db, name, arm, [patch for patch, _ in cases], results)
        drawn = {patch.sha256: share for patch, share in cases}
        for reader, shift in READERS.items():
            most = len(cases) * 2 if is_closed else {"Reader A": 1, "Reader B": 3}.get(reader, 0)
            for _ in range(most):
                with transaction(engine) as db:
                    _read(db, study.id, reader, drawn, shift, rng)
        if is_closed:
            with transaction(engine) as db:
                records.close_study(db, study_id=study.id, actor=COORDINATOR)
    engine.dispose()


def _cases(shares: tuple[float, ...], seed: int) -> list[tuple[Patch, float]]:
    stains = ("default", "violet", "red")
    found = []
    for k, share in enumerate(shares):
        pixels = synthesise(seed + k, cellularity=share, stain=stains[k % 3], acini=3).pixels
        name = f"synthetic {seed + k}.png"
        found.append((Patch(name, pixels, DEFAULT_MPP, "file", pixel_digest(pixels), ()), share))
    return found


def _study(
    db: Session, name: str, arm: Design, patches: list[Patch], results: list[PatchResult]
) -> records.StudyRecord:
    plan = StudyPlan(
        name=name,
        description="Synthetic patches and invented scores, to show what the pages look like.",
        arm=arm,
        seed=1,
        repeat_share=0.0,
        washout_days=0.0,
        proficiency=None,
        show_feedback=False,
        model_set=results[0].model_set,
        model_sha256=results[0].model_sha256,
        software=SOFTWARE,
        readers=list(READERS),
        cases=[
            NewCase(
                sha256=patch.sha256,
                name=patch.name,
                width=patch.pixels.shape[1],
                height=patch.pixels.shape[0],
                mpp=patch.mpp,
                phash=fingerprint(patch.pixels),
                png=_png(patch),
                patient=f"P-{k:02}",
            )
            for k, patch in enumerate(patches)
        ],
    )
    study = records.create_study(db, plan, actor=COORDINATOR)
    for result in results:
        records.keep_model_scores(
            db,
            sha256=result.sha256,
            mpp=result.mpp,
            scores={m: (s.value, s.low, s.high) for m, s in result.scores.items()},
            model_set=result.model_set,
            model_sha256=result.model_sha256,
            software=SOFTWARE,
            actor=COORDINATOR,
        )
    return records.open_study(db, study_id=study.id, actor=COORDINATOR)


def _png(patch: Patch) -> bytes:
    _, data = cv2.imencode(".png", cv2.cvtColor(patch.pixels, cv2.COLOR_RGB2BGR))
    return bytes(data)


def _read(
    db: Session,
    study_id: int,
    reader: str,
    drawn: dict[str, float],
    shift: float,
    rng: np.random.Generator,
) -> None:
    step = records.next_assignment(db, study_id=study_id, reader=reader)
    assert isinstance(step, AssignmentRecord)
    is_second = step.phase == "after"
    noise = rng.normal(0, _NOISE / 2 if is_second else _NOISE)
    value = drawn[step.sha256] + shift * (0.5 if is_second else 1.0) + noise
    records.commit_reading(
        db,
        assignment_id=step.id,
        reader=reader,
        phase=step.phase,
        cellularity=float(np.clip(round(value, 2), 0, 1)),
        cannot_score_reason=None,
        confidence=int(rng.integers(2, 6)),
        seconds=float(rng.uniform(4, 20)),
        seen_models=is_second,
        software=SOFTWARE,
        token=f"{step.id}.{step.phase}",
    )
