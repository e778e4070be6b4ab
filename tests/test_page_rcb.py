"""The page RCB: what it asks, shows and refuses."""

import pytest
from streamlit.testing.v1 import AppTest

from cellularity_core.rcb import NOT_RCB_0
from tests.conftest import ROOT

GIVEN = {"d1": 20, "d2": 15, "ca": 30, "cis": 10, "nodes": 2, "met": 4}


@pytest.fixture
def page(monkeypatch, tmp_path):
    monkeypatch.setenv("CELLULARITY_DB", str(tmp_path / "records.db"))
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    return at.switch_page("pages/rcb.py").run()


def fill(at, **values):
    for name, value in values.items():
        at.number_input(key=f"rcb.{name}").set_value(value)
    return at.run()


def shown(at):
    return {m.label: m.value for m in at.metric}


def test_it_asks_then_shows_index_and_class(page):
    assert not page.exception
    assert "Fill in all six values" in page.info[0].value
    at = fill(page, **GIVEN)
    assert not at.exception
    assert shown(at) == {
        "RCB index": "3.21",
        "Class": "RCB-II",
        "Invasive share of the bed": "27.0 %",
        "Size of the bed": "17.3 mm",
    }
    assert not at.warning


def test_an_interval_gives_probabilities_and_warns_of_another_class(page):
    at = fill(fill(page, **GIVEN), low=12)
    assert "Give both limits" in at.warning[0].value
    at = fill(at, high=55)
    said = " ".join(m.value for m in at.markdown)
    assert "2.95 to 3.41" in said
    assert "**RCB-II** 71 %, **RCB-III** 29 %" in said
    assert "reaches into another class" in at.warning[0].value
    at = fill(at, low=29, high=31)
    assert not at.warning


def from_slides(page):
    """The page with a cellularity of 2 % that was carried there from a slide."""
    carried = {"ca": 2.0, "low": 0.5, "high": 18.0, "from": (2.0, "Cellularity from a.tif.")}
    for name, value in carried.items():
        page.session_state[f"rcb.{name}"] = value
    return fill(page.run(), d1=30, d2=20, cis=0, nodes=0, met=0)


def captions(at):
    return [c.value for c in at.caption]


def test_a_typed_cellularity_has_neither_limits_nor_source_of_a_slide(page):
    at = from_slides(page)
    assert "Cellularity from a.tif." in captions(at)
    assert at.number_input(key="rcb.high").value == 18
    at = fill(at, ca=3)
    assert not at.exception
    assert [at.number_input(key=f"rcb.{end}").value for end in ("low", "high")] == [None, None]
    assert "Probability" not in " ".join(m.value for m in at.markdown)
    assert "Cellularity from a.tif." not in captions(fill(at, ca=2))


def test_models_alone_leave_rcb_0_to_the_pathologist(page):
    at = from_slides(page)
    assert NOT_RCB_0 in [i.value for i in at.info]
    at = fill(at, nodes=1, met=2)  # which is no RCB-0
    assert not at.info
    at = fill(at, nodes=0, met=0, ca=3)
    at = fill(at, low=1, high=18)  # as the reader gave them
    assert not at.info
    assert NOT_RCB_0 in [i.value for i in fill(at, low=0).info]


def test_a_source_ends_with_the_boxes_it_filled(page):
    at = from_slides(page).switch_page("pages/models.py").run()
    at = at.switch_page("pages/rcb.py").run()
    assert at.number_input(key="rcb.ca").value is None
    at.session_state["rcb.ca"] = 2.0
    assert "Cellularity from a.tif." not in captions(at.run())


def test_values_that_contradict_are_told(page):
    at = fill(page, **GIVEN | {"met": 0})
    assert "contradict each other" in at.error[0].value
    at = fill(fill(at, **GIVEN), low=35, high=40)
    assert "must hold that value" in at.error[0].value
