"""Everyday scores on the page Agreement: which count, and who sees them."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from agreement_page_support import APP, SECTIONS, frames, own_records, page, said, section
from agreement_support import seeded_study
from db_support import sha
from streamlit.testing.v1 import AppTest

from cellularity_core.model_store import open_set
from db import records
from db.session import snapshot, transaction
from pages.parts import state
from pages.parts.agreement_data import Material, of_everyday
from pages.parts.agreement_source import described
from pages.parts.agreement_words import models_notes
from pages.parts.store import store


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with own_records(tmp_path, monkeypatch):
        yield


def reading(
    reader: str, patch: int, score: float, *, seen: bool = False, mpp: float = 0.5
) -> records.ReadingRecord:
    return records.ReadingRecord(
        sha256=sha(patch),
        patch=f"{patch % 10}.png",
        reader=reader,
        cellularity=score,
        seen_models=seen,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        software="cellularity 1.0",
        id=1,
        phase="free",
        assignment_id=None,
        cannot_score_reason=None,
        confidence=None,
        seconds=None,
        mpp=mpp,
    )


def test_everyday_scores_count_while_the_models_were_out_of_sight() -> None:
    given = [
        reading("Ana", 1, 0.1),
        reading("Ana", 1, 0.2),  # once more, still blinded: a repeat
        reading("Ben", 1, 0.5, seen=True),
        reading("Ben", 1, 0.6),  # had seen them before
        reading("Ben", 11, 0.7),  # another patch of the same name
    ]
    starter = ("starter", "f" * 64, "s")
    scores = {
        (sha(1), 0.5): {"gbt": records.ModelScoreRecord("gbt", 0.3, 0.2, 0.4, *starter)},
        (sha(11), 0.5): {"gbt": records.ModelScoreRecord("gbt", None, None, None, *starter)},
    }
    found = of_everyday(given, scores, with_seen=False)
    readers = [(r.reader, r.score, r.repeat) for r in found.ratings if r.kind == "reader"]
    assert readers == [("Ana", 0.1, 0), ("Ana", 0.2, 1), ("Ben", 0.7, 0)]
    assert found.n_seen == 2
    assert len(found.table.cases) == 2
    assert [r.score for r in found.ratings if r.kind == "model"] == [0.3, None]
    everything = of_everyday(given, scores, with_seen=True)
    assert everything.n_seen == 0
    assert [(r.score, r.repeat) for r in everything.ratings if r.reader == "Ben"] == [
        (0.5, 0),
        (0.6, 1),
        (0.7, 0),
    ]


def test_a_patch_at_another_pixel_size_is_another_case() -> None:
    """A model's score at one size says nothing of a reader's at another."""
    given = [
        reading("Ana", 1, 0.1),
        reading("Ana", 1, 0.3, mpp=0.25),
        reading("Ben", 1, 0.4, mpp=0.25),
        reading("Ben", 2, 0.9),
    ]
    scores = {
        (sha(1), mpp): {
            "gbt": records.ModelScoreRecord("gbt", value, None, None, "starter", "f" * 64, "s")
        }
        for mpp, value in ((0.5, 0.55), (0.25, 0.22), (1.0, 0.11))
    }
    found = of_everyday(given, scores, with_seen=False)
    told = {(r.case_id, r.kind, r.reader): (r.score, r.repeat) for r in found.ratings}
    [gbt] = {reader for _, kind, reader in told if kind == "model"}
    assert told == {
        ("1.png at 0.5 µm/px", "reader", "Ana"): (0.1, 0),
        ("1.png at 0.5 µm/px", "model", gbt): (0.55, 0),
        ("1.png at 0.25 µm/px", "reader", "Ana"): (0.3, 0),
        ("1.png at 0.25 µm/px", "reader", "Ben"): (0.4, 0),
        ("1.png at 0.25 µm/px", "model", gbt): (0.22, 0),
        ("2.png", "reader", "Ben"): (0.9, 0),
    }
    assert found.images["1.png at 0.25 µm/px"] == sha(1)


def test_patches_that_the_models_were_made_from_are_counted() -> None:
    models = open_set()
    known = next(iter(models.met))
    material = Material(
        "Study",
        (),
        model_set=models.name,
        model_sha256=models.sha256,
        images={"a": known, "b": "0" * 64},
    )
    found = described(material)
    assert (found.scale, found.n_met) == (models.scale, 1)
    assert "were made from 1 of the 2 patches here" in models_notes(found)[0]
    assert described(replace(material, model_sha256="f" * 64)).n_met == 0


def test_everyday_scores_are_shown_of_patches_that_one_scored_oneself() -> None:
    with transaction(store()) as db:
        for reader, patches in (("Ana", (0, 1, 2)), ("Ben", (0, 1, 2)), ("Cora", (0,))):
            for patch in patches:
                records.add_reading(
                    db,
                    sha256=sha(patch),
                    patch=f"{patch}.png",
                    width=10,
                    height=10,
                    mpp=0.5,
                    reader=reader,
                    cellularity=0.1 + 0.2 * patch,
                    seen_models=False,
                    software="cellularity 1.0",
                )
        records.keep_model_scores(
            db,
            sha256=sha(0),
            mpp=0.5,
            scores={"gbt": (0.4, 0.3, 0.5)},
            model_set="starter",
            model_sha256="f" * 64,
            software="cellularity 1.0",
        )
    at = page()
    assert "3 readers scored 1 case" in said(at)
    assert "Nuclei features" in frames(at)[0]["Rater"].tolist()
    at.toggle(key=state.AGREEMENT_OTHERS).set_value(True).run()
    assert "3 readers scored 3 cases" in said(at)
    for name in SECTIONS:
        section(at, name)
    at.button(key=state.REPORT_MAKE).click().run()
    assert not at.exception
    seeded_study(store(), readers=["Ana"], n_cases=1, close=False, first=2, read=())
    locked = page(reader="Ana")
    assert not any(toggle.key == state.AGREEMENT_OTHERS for toggle in locked.toggle)
    assert "3 readers scored 2 cases" in said(locked)


@pytest.mark.parametrize("score_first", [True, False])
def test_the_models_scores_are_kept_beside_a_readers(score_first: bool) -> None:
    """Whether the reader scores before or after they are shown, and never without one."""
    at = AppTest.from_file(APP, default_timeout=120)
    at.query_params["reader"] = "Ana"
    at.run()
    at.toggle(key=state.SCORE_FIRST).set_value(score_first).run()
    at.button(key=state.DEMO).click().run()
    case = at.session_state[state.CASE]
    patch = case.current

    def kept() -> dict[str, records.ModelScoreRecord]:
        with snapshot(store()) as db:
            sets = records.model_sets_of(db, sha256s=list(case.patches))
            if not sets:
                return {}
            [one] = sets
            found = records.model_scores_of(
                db, sha256s=list(case.patches), model_sha256=one.model_sha256
            )
        [key] = found
        assert key == (patch, case.patches[patch].mpp)
        return found[key]

    assert kept() == {}
    at.number_input(key=state.own_key(patch, "number")).set_value(35).run()
    assert kept() == {}
    at.button(key=state.COMMIT).click().run()
    assert not at.exception
    scores = case.results[patch].scores
    assert {name: (s.value, s.low, s.high) for name, s in kept().items()} == {
        name: (s.value, s.low, s.high) for name, s in scores.items()
    }
    [mine] = own_of(patch)
    assert mine.seen_models == (not score_first)
    if score_first:
        told = re.sub(r"\\(\W)", r"\1", said(page(reader="Ana")))
        assert "Scale of the models' scores: weak TC, not a pathologist's." in told


def own_of(patch: str) -> list[records.ReadingRecord]:
    with snapshot(store()) as db:
        return records.readings(db, sha256s=[patch], reader="Ana")[patch]


def test_no_everyday_score_is_said() -> None:
    assert "No everyday score counts here yet" in page().info[0].value
