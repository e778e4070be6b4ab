"""A score is given before the models are seen: the page Analyse, and what is kept."""

import re

import pytest
from models_support import unmarked
from pages_support import (
    app,
    cards,
    drop,
    expected,
    fresh_records,
    own_records,
    png,
    scored_names,
    sent,
    tissue,
    words,
)
from sqlalchemy import text
from streamlit.testing.v1 import AppTest

from cellularity_core import export
from cellularity_core.conventions import METHODS
from cellularity_core.patch import load_patch
from db.session import connect, database_url
from pages.parts import state
from pages.parts.words import percent

pytestmark = pytest.mark.usefixtures("own_records")
__all__ = ["fresh_records", "own_records", "scored_names"]
TELLING = re.compile("data-method|[Aa]ctivation|ontrast above|weak TC|waterfall")
"""Words that only a model's output brings to the page."""


def commit(at: AppTest, sha256: str, value: int) -> AppTest:
    at.number_input(key=state.own_key(sha256, "number")).set_value(value).run()
    at.button(key=state.COMMIT).click().run()
    assert not at.exception, at.exception
    return at


def kept() -> list[tuple[object, ...]]:
    engine = connect(database_url())
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT reader.name, patch.name, cellularity, seen_models, software FROM reading "
                "JOIN patch ON patch.id = patch_id JOIN reader ON reader.id = reader_id "
                "ORDER BY reading.id"
            )
        ).all()
    engine.dispose()
    return [tuple(row) for row in rows]


def scored_with() -> set[str]:
    """What the kept scores of the models were made by."""
    engine = connect(database_url())
    with engine.connect() as connection:
        found = set(connection.scalars(text("SELECT software FROM model_score")))
    engine.dispose()
    return found


def test_score_first_computes_and_shows_nothing_before_the_commit(
    scored_names: list[str],
) -> None:
    files = [png(tissue(k), f"{k}.png") for k in range(2)]
    at = app(reader="Kim")
    at.toggle(key=state.SCORE_FIRST).set_value(True).run()
    drop(at, *files)
    first, second = (load_patch(data, name).sha256 for name, data, _ in files)
    assert scored_names == []
    assert cards(at) == {}
    assert at.session_state[state.CASE].results == {}
    assert list(at.dataframe[0].value) == [" ", "Patch", "Your score"]
    drawing = at.session_state[state.CASE].view[1].sent.decode()
    assert not TELLING.search(drawing)
    assert not TELLING.search(sent(at))
    assert at.button(key=state.COMMIT).disabled

    commit(at, first, 35)
    assert scored_names == [first]
    assert TELLING.search(sent(at))
    result = expected(files[0])
    assert cards(at) == {
        "own": "35 %",
        **{method: percent(result.scores[method].value) for method in METHODS},
    }
    assert "Given before seeing the models" in words(at)
    assert re.search(r"Your 35 % is (below|above|among)", words(at))
    assert at.dataframe[0].value["GBT"].isna().tolist() == [False, True]
    assert kept() == [("Kim", "0.png", 0.35, 0, export.SOFTWARE)]
    assert scored_with() == {f"{export.SOFTWARE}, {result.precision}"}

    at.button(key=state.NEXT).click().run()
    assert cards(at) == {}
    assert scored_names == [first, first]  # the second is `expected` above
    assert second not in at.session_state[state.CASE].results


def test_a_second_score_stands_beside_the_first_as_seen() -> None:
    file = png(tissue())
    sha256 = load_patch(file[1], file[0]).sha256
    at = app(reader="Kim")
    at.toggle(key=state.SCORE_FIRST).set_value(True).run()
    drop(at, file)
    commit(at, sha256, 35)
    commit(at, sha256, 50)
    assert [row[2:4] for row in kept()] == [(0.35, 0), (0.5, 1)]
    assert cards(at)["own"] == "50 %"
    assert "Given after seeing the models" in words(at)
    assert "Earlier: 35 %" in words(at)


def test_a_score_given_after_the_models_were_seen_says_so() -> None:
    file = png(tissue())
    at = drop(app(reader="Kim"), file)
    at.toggle(key=state.SCORE_FIRST).set_value(True).run()
    assert len(cards(at)) == len(METHODS)  # hiding what was seen would be pretence
    commit(at, load_patch(file[1], file[0]).sha256, 20)
    assert [row[2:4] for row in kept()] == [(0.2, 1)]


def test_clearing_does_not_make_a_seen_patch_unseen() -> None:
    file = png(tissue())
    at = drop(app(reader="Kim"), file)
    at.button(key=state.CLEAR).click().run()
    at.toggle(key=state.SCORE_FIRST).set_value(True).run()
    drop(at, file)
    commit(at, load_patch(file[1], file[0]).sha256, 20)
    assert [row[3] for row in kept()] == [1]


def test_nobody_can_commit_without_a_name_or_a_score() -> None:
    file = png(tissue())
    sha256 = load_patch(file[1], file[0]).sha256
    at = app()
    at.toggle(key=state.SCORE_FIRST).set_value(True).run()
    drop(at, file)
    at.number_input(key=state.own_key(sha256, "number")).set_value(40).run()
    assert at.button(key=state.COMMIT).disabled
    assert "Type your name" in words(at)
    at.text_input(key=state.READER).set_value("Kim").run()
    assert not at.button(key=state.COMMIT).disabled


def test_slider_and_number_are_one_score() -> None:
    file = png(tissue())
    sha256 = load_patch(file[1], file[0]).sha256
    at = app(reader="Kim")
    at.toggle(key=state.SCORE_FIRST).set_value(True).run()
    drop(at, file)
    at.slider(key=state.own_key(sha256, "slider")).set_value(62).run()
    assert at.number_input(key=state.own_key(sha256, "number")).value == 62
    at.number_input(key=state.own_key(sha256, "number")).set_value(7).run()
    assert at.slider(key=state.own_key(sha256, "slider")).value == 7


def test_a_box_that_holds_no_score_keeps_none() -> None:
    """What stood there before is not kept in its place, nor 0 for an empty box."""
    file = png(tissue())
    sha256 = load_patch(file[1], file[0]).sha256
    at = app(reader="Kim")
    at.toggle(key=state.SCORE_FIRST).set_value(True).run()
    drop(at, file)
    box, slider = (state.own_key(sha256, kind) for kind in ("number", "slider"))
    for typed in (150, 15.5, -1, None):
        at.number_input(key=box).set_value(40).run()
        assert not at.button(key=state.COMMIT).disabled
        at.number_input(key=box).set_value(typed)
        at.button(key=state.COMMIT).click().run()
        assert not at.exception
        assert at.button(key=state.COMMIT).disabled
        assert ("is not a score" in words(at)) == (typed is not None)
        assert at.slider(key=slider).value == 40
        assert kept() == []


def test_a_reader_keeps_score_first_as_the_default() -> None:
    at = app(reader="Kim")
    at.toggle(key=state.SCORE_FIRST).set_value(True).run()
    assert app(reader="kim").toggle(key=state.SCORE_FIRST).value
    assert not app(reader="Ana").toggle(key=state.SCORE_FIRST).value
    at.toggle(key=state.SCORE_FIRST).set_value(False).run()
    assert not app(reader="Kim").toggle(key=state.SCORE_FIRST).value


def test_earlier_readings_come_back_in_a_new_session() -> None:
    file = png(tissue())
    at = app(reader="Kim")
    at.toggle(key=state.SCORE_FIRST).set_value(True).run()
    drop(at, file)
    commit(at, load_patch(file[1], file[0]).sha256, 35)
    assert cards(drop(app(reader="Kim"), file))["own"] == "35 %"
    assert "own" not in cards(drop(app(reader="Ana"), file))


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>.png", "**bold** $x$ :red[a].png"])
def test_a_name_is_shown_as_it_is(name: str) -> None:
    at = drop(app(reader=f"K {name[:-4]}"), png(tissue(), name))
    shown = at.subheader[0].value
    assert unmarked(shown) == name
    assert "\\<" in shown or "\\*" in shown
    commit(at, load_patch(png(tissue())[1], "x").sha256, 10)
    assert not any("<img" in element.value for element in at.markdown)
