"""What a reader sees of the models outside a study is noted before it is shown."""

from dataclasses import replace

import numpy as np
import pytest
from agreement_page_support import page as agreement
from agreement_page_support import section
from agreement_support import seeded_study
from db_support import commit, following, new_case, opened
from images import png
from models_support import app, cards, words
from pages_support import fresh_records
from sqlalchemy import event, text
from streamlit.testing.v1 import AppTest

from cellularity_core.fingerprint import turned_fingerprints
from cellularity_core.patch import Patch, load_patch
from cellularity_core.synthetic import demo_patches
from db import records
from db.session import snapshot, transaction
from pages.parts import state
from pages.parts.explanation import SYNTHETIC
from pages.parts.sights import name_reader, show_to
from pages.parts.state import Case
from pages.parts.store import store

pytestmark = pytest.mark.usefixtures("fresh_records")
__all__ = ["fresh_records"]


@pytest.fixture(scope="module")
def patches() -> list[Patch]:
    """Small ones, as from files of a user."""
    return [
        load_patch(png(patch.pixels[:192, :192]), f"{k}.png")
        for k, patch in enumerate(demo_patches())
    ]


def noted() -> list[tuple[str, str]]:
    """Who saw what, as the trail tells it, oldest first."""
    with snapshot(store()) as db:
        told = records.events(db, limit=999, entity="sight")[::-1]
        assert records.verify(db).ok
    return [(one.actor, one.new["sha256"]) for one in told]


def read_later(patch: Patch, reader: str, *, turns: int = 0) -> bool:
    """Whether a read of the patch in a study is kept as given after seeing the models."""
    pixels = np.ascontiguousarray(np.rot90(patch.pixels, turns))
    turned = turned_fingerprints(pixels)
    sha256 = load_patch(png(pixels), "p").sha256
    assert (sha256 == patch.sha256) == (turns == 0)
    case = new_case(1, sha256=sha256, png=png(pixels), phash=turned[0], turned=turned)
    with transaction(store()) as db:
        study = opened(db, name=f"Of {reader}", readers=[reader], cases=[case])
        return commit(db, following(db, study.id, reader), reader).seen_models


def dropped(patch: Patch, reader: str, page: str | None = None) -> AppTest:
    at = app(page)
    at.text_input(key=state.READER).set_value(reader).run()
    at.file_uploader[0].set_value([(patch.name, png(patch.pixels), "image/png")]).run()
    assert not at.exception, at.exception
    return at


def test_who_analysed_a_patch_does_not_read_it_blind_on_another_day(patches: list[Patch]) -> None:
    seen, other, *_ = patches
    at = dropped(seen, "Ana")
    assert cards(at)
    assert noted() == [("Ana", seen.sha256)]
    asked: list[str] = []
    event.listen(store(), "before_cursor_execute", lambda *told: asked.append(told[2]))
    at.run()
    assert cards(at) and noted() == [("Ana", seen.sha256)]
    assert not [text for text in asked if "FROM sight" in text and "reader_id =" in text]
    assert read_later(seen, "Ana", turns=1)
    assert not read_later(other, "Kim")
    assert cards(dropped(other, "Ana", "compare"))  # of another session
    assert noted() == [("Ana", seen.sha256), ("Ana", other.sha256)]


def test_no_score_is_shown_that_could_not_be_noted(patches: list[Patch]) -> None:
    full = "CREATE TRIGGER full BEFORE INSERT ON sight BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    with transaction(store()) as db:
        db.execute(text(full))
    for page in ("compare", None):
        at = dropped(patches[0], "Ana", page)
        said = words(at)
        assert "scores stay hidden" in said and "disk full" in said
        assert not cards(at) and not at.dataframe and not at.get("download_button")
        assert at.session_state[state.CASE].shown == set()
    with transaction(store()) as db:
        db.execute(text("DROP TRIGGER full"))
    at.run()
    assert cards(at) and noted() == [("Ana", patches[0].sha256)]


def test_what_was_shown_to_nobody_is_noted_for_who_is_named_next(patches: list[Patch]) -> None:
    one, two, three, *_ = patches
    case = Case()
    show_to(case, [one, two], "")
    assert noted() == [] and case.shown == {one.sha256, two.sha256}
    case.clear()
    name_reader(case, "Ana")
    name_reader(case, "Kim")
    assert sorted(noted()) == sorted(("Ana", patch.sha256) for patch in (one, two))
    assert read_later(one, "Ana", turns=2)
    show_to(case, [three], "Kim")
    assert noted()[2:] == [("Kim", three.sha256)]


def test_the_demo_is_not_noted(patches: list[Patch]) -> None:
    drawn = replace(patches[0], notes=(SYNTHETIC,))
    case = Case()
    show_to(case, [drawn], "Ana")
    show_to(case, [drawn], "")
    name_reader(case, "Ana")
    assert noted() == [] and case.shown == {drawn.sha256}


def test_a_case_looked_at_under_disagreements_is_noted() -> None:
    study = seeded_study(store(), n_cases=3)
    at = agreement(study.id, reader="Cora")
    assert noted() == []
    section(at, "Disagreements")
    [(who, sha256)] = noted()
    with snapshot(store()) as db:
        case = next(case for case in records.cases(db, study.id) if case.sha256 == sha256)
        hashes = records.perceptual_hashes(db, sha256=sha256)
        [told] = records.events(db, limit=9, entity="sight")
    assert (who, at.subheader[-1].value) == ("Cora", f"Case {case.code}")
    assert hashes and told.new["turned"].split() == list(hashes)
    section(at, "Disagreements")
    bare = seeded_study(store(), name="Bare", first=50, n_cases=3, methods=(), model_set=None)
    section(agreement(bare.id, reader="Cora"), "Disagreements")
    assert len(noted()) == 1
