"""Studies with readers, repeats and models to look at: made of a seed, read through `db`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from db_support import commit, new_case, plan, sha
from sqlalchemy import Engine

from cellularity_core.export import png
from db import records
from db.session import transaction

READERS = ("Ana", "Ben", "Chi", "Dora")
METHODS = ("gbt", "cascade", "direct-r", "direct-c")
MODEL_SD = {"gbt": 0.07, "cascade": 0.08, "direct-r": 0.16, "direct-c": 0.10}
READER_SHIFT = {"Ana": 0.0, "Ben": 0.05, "Chi": -0.04, "Dora": 0.02}


def pixels(number: int) -> np.ndarray:
    """A small picture that differs from case to case."""
    rng = np.random.default_rng(number)
    return rng.integers(120, 250, (24, 24, 3), dtype=np.uint8)


def seeded_study(
    engine: Engine,
    *,
    n_cases: int = 12,
    readers: Sequence[str] = READERS,
    methods: Sequence[str] = METHODS,
    close: bool = True,
    picture: Callable[[int], np.ndarray] = pixels,
    seed: int = 1,
    first: int = 0,
    read: Sequence[str] | None = None,
    **changes: Any,
) -> records.StudyRecord:
    """A study of the patches from `first` on that `read` (not given: all) have read to its end.

    Every tenth first read of a reader cannot be scored; second scores go a third of
    the way to the models' mean where they were shown.
    """
    rng = np.random.default_rng(seed)
    truth = np.clip(rng.beta(0.9, 1.1, n_cases), 0.01, 0.99)
    cases = [
        new_case(first + k, png=png(picture(first + k)), patient=f"P-{k // 2}")
        for k in range(n_cases)
    ]
    given = {"readers": list(readers), "cases": cases, "repeat_share": 0.25} | changes
    with transaction(engine) as db:
        made = records.create_study(db, plan(**given), actor="Coordinator")
        models: dict[str, dict[str, float]] = {}
        for k in range(n_cases):
            scores = {
                name: float(np.clip(truth[k] + rng.normal(0, MODEL_SD[name]), 0, 1))
                for name in methods
            }
            models[sha(first + k)] = scores
            records.keep_model_scores(
                db,
                sha256=sha(first + k),
                mpp=0.5,
                scores={
                    name: (value, max(0.0, value - 0.1), min(1.0, value + 0.1))
                    for name, value in scores.items()
                },
                model_set="starter",
                model_sha256="f" * 64,
                software="cellularity 1.0",
            )
        made = records.open_study(db, study_id=made.id, actor="Coordinator")
    for reader in readers if read is None else read:
        with transaction(engine) as db:
            _read(db, made, reader, truth, models, rng, first)
    if close:
        with transaction(engine) as db:
            made = records.close_study(db, study_id=made.id, actor="Coordinator")
    return made


def _read(
    db: Any,
    study: records.StudyRecord,
    reader: str,
    truth: np.ndarray,
    models: dict[str, dict[str, float]],
    rng: np.random.Generator,
    first: int,
) -> None:
    place = {sha(first + k): k for k in range(len(truth))}
    count = 0
    while isinstance(
        task := records.next_assignment(db, study_id=study.id, reader=reader),
        records.AssignmentRecord,
    ):
        count += 1
        shift = READER_SHIFT.get(reader, 0.0)
        own = float(np.clip(truth[place[task.sha256]] + shift + rng.normal(0, 0.09), 0, 1))
        score: float | None = round(own, 2)
        if task.phase == "after" and task.before is not None and models[task.sha256]:
            advice = float(np.mean(list(models[task.sha256].values())))
            score = round(task.before + (advice - task.before) / 3, 2)
        elif task.phase == "control":
            score = task.before
        if score is None or (task.phase == "before" and count % 10 == 0):
            score = None
        commit(db, task, reader, score, seconds=float(rng.uniform(5, 40)))
