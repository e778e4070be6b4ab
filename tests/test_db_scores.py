"""Scores outside studies, scores of the models, and the consensus."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from db_support import (
    BACKENDS,
    MODELS,
    commit,
    following,
    open_database,
    opened,
    plan,
    sha,
)
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from db import records
from db.errors import RecordError
from db.schema import utcnow
from db.session import transaction


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with open_database(request.param, tmp_path) as engine:
        yield engine


def test_scores_outside_studies_have_their_own_list(engine: Engine) -> None:
    def free(db: Session, number: int, reader: str, score: float) -> None:
        records.add_reading(
            db,
            sha256=sha(number),
            patch=f"{number}.png",
            width=512,
            height=512,
            mpp=0.5,
            reader=reader,
            cellularity=score,
            seen_models=False,
            software="s",
        )

    with transaction(engine) as db:
        free(db, 50, "Ana", 0.1)
        free(db, 50, "Zoe", 0.2)
        free(db, 51, "Zoe", 0.3)
        made = opened(db)
        commit(db, following(db, made.id), "Ana", 0.9)
        everything = records.free_readings(db)
        anas = records.free_readings(db, asking="Ana")
        late = records.free_readings(db, since=utcnow() + timedelta(seconds=5))
        own = records.readings(db, sha256s=[sha(k) for k in range(60)], reader="Ana")
    assert [(r.patch, r.reader, r.cellularity) for r in everything] == [
        ("50.png", "Ana", 0.1),
        ("50.png", "Zoe", 0.2),
        ("51.png", "Zoe", 0.3),
    ]
    assert [(r.patch, r.reader) for r in anas] == [("50.png", "Ana"), ("50.png", "Zoe")]
    assert late == []
    assert list(own) == [sha(50)]


def test_model_scores_are_kept_once_and_by_model_set(engine: Engine) -> None:
    kept = {
        "sha256": sha(0),
        "mpp": 0.5,
        "model_set": "starter",
        "model_sha256": "f" * 64,
        "software": "cellularity 1.0",
    }
    with transaction(engine) as db:
        made = opened(db, n_cases=1)
        first = records.model_scores(db, made.id)
        records.keep_model_scores(db, **kept, scores={"gbt": (0.9, 0.8, 1.0)})
        records.keep_model_scores(
            db, **kept | {"software": "cellularity 2.0"}, scores={"gbt": (0.9, 0.8, 1.0)}
        )
        records.keep_model_scores(
            db, **kept | {"model_sha256": "e" * 64}, scores={"gbt": (None, None, None)}
        )
        assert records.model_scores(db, made.id) == first
        found = records.model_scores_of(db, sha256s=[sha(0), sha(9)], model_sha256="e" * 64)
        for change, words in (
            ({"scores": {"gbt": (1.5, 0.1, 0.2)}}, "between 0 and 1"),
            ({"sha256": sha(99), "scores": {}}, "not in the records"),
        ):
            with pytest.raises(RecordError, match=words):
                records.keep_model_scores(db, **kept | {"model_set": "new"} | change)
    assert {(s.method, s.value, s.low, s.high, s.case) for s in first} == {
        (name, *values, "C-0001") for name, values in MODELS.items()
    }
    assert list(found) == [(sha(0), 0.5)]
    assert found[sha(0), 0.5]["gbt"].value is None


def test_a_study_uses_the_scores_of_one_version_of_the_software(engine: Engine) -> None:
    """Whatever was kept of its patches before or after; what does not count is told."""

    def keep(number: int, software: str, value: float, mpp: float = 0.5) -> None:
        records.keep_model_scores(
            db,
            sha256=sha(number),
            mpp=mpp,
            scores={"gbt": (value, None, None), "cascade": (value, None, None)},
            model_set="starter",
            model_sha256="f" * 64,
            software=software,
        )

    with transaction(engine) as db:
        old = records.create_study(db, plan(name="Old", n_cases=2, readers=["Kim"]), actor="C")
        for number in (0, 1):
            keep(number, "cellularity 1.0", 0.1)
        new = records.create_study(
            db,
            plan(n_cases=3, readers=["Ana"], arm="before-after", software="cellularity 2.0"),
            actor="C",
        )
        for number in (0, 1, 2):
            keep(number, "cellularity 2.0", 0.2)
        records.open_study(db, study_id=new.id, actor="C")
        keep(2, "cellularity 3.0", 0.3)
        keep(2, "cellularity 3.0", 0.3, mpp=0.25)
        assert (old.software, new.software) == ("cellularity 1.0", "cellularity 2.0")
        found = {
            study.id: sorted(
                (s.method, s.value, s.software) for s in records.model_scores(db, study.id)
            )
            for study in (old, new)
        }
        others = [records.other_versions(db, study.id) for study in (old, new)]
        for _ in range(3):
            task = following(db, new.id)
            commit(db, task, "Ana")
            shown = records.reveal(db, assignment_id=task.id, reader="Ana").model_scores
            assert {(s.value, s.software) for s in shown.values()} == {(0.2, "cellularity 2.0")}
            commit(db, following(db, new.id), "Ana")
    methods = ("cascade", "gbt")
    assert found == {
        old.id: [(m, 0.1, "cellularity 1.0") for m in methods for _ in range(2)],
        new.id: [(m, 0.2, "cellularity 2.0") for m in methods for _ in range(3)],
    }
    assert others == [{"cellularity 2.0": 2}, {"cellularity 1.0": 2, "cellularity 3.0": 1}]


def test_a_study_with_models_names_the_software_that_scored(engine: Engine) -> None:
    with transaction(engine) as db:
        bare = records.create_study(
            db, plan(name="Bare", model_set=None, model_sha256=None), actor="C"
        )
        assert bare.software is None
        with pytest.raises(RecordError, match="which version of the software"):
            records.create_study(db, plan(readers=["Zoe"], software=None), actor="C")


def test_everyday_scores_of_one_patch_at_two_sizes_stand_apart(engine: Engine) -> None:
    free = {
        "patch": "p.png",
        "width": 512,
        "height": 512,
        "seen_models": False,
        "software": "s",
        "reader": "Ana",
    }
    sizes = (0.5, 0.252600049, 0.2526)  # the last two are one size, written by two programs
    with transaction(engine) as db:
        for number, mpp in enumerate(sizes):
            records.add_reading(db, **free, sha256=sha(1), mpp=mpp, cellularity=number / 10)
            records.keep_model_scores(
                db,
                sha256=sha(1),
                mpp=mpp,
                scores={"gbt": (0.2 + number / 10, None, None)},
                model_set="starter",
                model_sha256="f" * 64,
                software="s",
            )
        given = records.free_readings(db)
        found = records.model_scores_of(db, sha256s=[sha(1)], model_sha256="f" * 64)
        assert records.model_sets_of(db, sha256s=[sha(1)]) == [
            records.ScoredBy("starter", "f" * 64, 1)
        ]
    assert [(reading.mpp, reading.cellularity) for reading in given] == [
        (0.5, 0.0),
        (0.2526, 0.1),
        (0.2526, 0.2),
    ]
    assert {key: scores["gbt"].value for key, scores in found.items()} == {
        (sha(1), 0.5): 0.2,
        (sha(1), 0.2526): pytest.approx(0.3),
    }


def test_model_sets_of_patches_with_the_one_used_last_first(engine: Engine) -> None:
    with transaction(engine) as db:
        opened(db, n_cases=2)
        for name, sha256 in (("newer", "e" * 64), ("starter", "d" * 64)):
            records.keep_model_scores(
                db,
                sha256=sha(0),
                mpp=0.5,
                scores=MODELS,
                model_set=name,
                model_sha256=sha256,
                software="cellularity 1.0",
            )
        found = records.model_sets_of(db, sha256s=[sha(0), sha(1), sha(9)])
        second = records.model_sets_of(db, sha256s=[sha(1)])
        assert records.model_sets_of(db, sha256s=[]) == []
    assert found == [
        records.ScoredBy("starter", "d" * 64, 1),
        records.ScoredBy("newer", "e" * 64, 1),
        records.ScoredBy("starter", "f" * 64, 2),
    ]
    assert second == [records.ScoredBy("starter", "f" * 64, 1)]


def test_the_latest_consensus_counts(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(db)
        [case, *_] = records.cases(db, made.id)
        agree = {"case_id": case.id, "by": "C"}
        with pytest.raises(RecordError, match="once it is closed"):
            records.keep_consensus(db, **agree, cellularity=0.5, reason="talk")
        records.close_study(db, study_id=made.id, actor="C")
        records.keep_consensus(db, **agree, cellularity=0.5, reason="talk")
        records.keep_consensus(db, **agree, cellularity=0.6, reason="second talk")
        [agreed] = records.consensus(db, made.id)
        for changes, words in (
            ({"cellularity": 0.5, "reason": " "}, "needs its reason"),
            ({"cellularity": 2.0, "reason": "x"}, "between 0 and 1"),
            ({"cellularity": 0.5, "reason": "x", "case_id": 999}, "no case"),
        ):
            with pytest.raises(RecordError, match=words):
                records.keep_consensus(db, **agree | changes)
    assert (agreed.case, agreed.cellularity, agreed.reason) == (case.code, 0.6, "second talk")
