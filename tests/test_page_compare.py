"""The page Compare through `app.py`: order, blinding, two model sets, and what is drawn."""

import io
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from db_support import new_case, plan
from models_support import app, make_set, own_models, words
from PIL import Image
from streamlit.testing.v1 import AppTest

from cellularity_core.agreement import bland_altman
from cellularity_core.conventions import METHODS
from cellularity_core.fingerprint import fingerprint
from cellularity_core.patch import Patch, load_patch
from cellularity_core.results import PatchResult
from cellularity_core.scorer import Scorer
from cellularity_core.synthetic import demo_patches
from db import records
from db.session import transaction
from pages.parts import state
from pages.parts.agreement_words import points, with_limits
from pages.parts.locks import LOCKED
from pages.parts.store import store
from pages.parts.words import percent

File = tuple[str, bytes, str]
SIDE = 192
TELLING = re.compile("data-method|[Aa]ctivation|points apart")
"""Words that only a model's output brings to the page."""


@pytest.fixture(autouse=True)
def _own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with own_models(tmp_path, monkeypatch):
        yield


@cache
def files() -> tuple[File, ...]:
    """Four small patches, unlike each other."""
    made = []
    for k, patch in enumerate(demo_patches()):
        buffer = io.BytesIO()
        Image.fromarray(patch.pixels[:SIDE, :SIDE]).save(buffer, format="PNG")
        made.append((f"{k}.png", buffer.getvalue(), "image/png"))
    return tuple(made)


@cache
def patches() -> tuple[Patch, ...]:
    return tuple(load_patch(data, name) for name, data, _ in files())


@cache
def scorer() -> Scorer:
    return Scorer.open("breast-1")


@cache
def results() -> tuple[PatchResult, ...]:
    return tuple(scorer().score(patches(), maps=False))


def compared(*chosen: int, **query: str) -> AppTest:
    at = app("compare", **query)
    return drop(at, *chosen)


def drop(at: AppTest, *chosen: int) -> AppTest:
    at.file_uploader[0].set_value([files()[k] for k in chosen]).run()
    assert not at.exception, at.exception
    return at


def two_by_two(at: AppTest) -> AppTest:
    at.segmented_control(key=state.COMPARE_VIEW).set_value("Two by two").run()
    assert not at.exception, at.exception
    return at


def chosen(at: AppTest, key: str) -> object:
    return next(box for box in at.selectbox if str(box.key).startswith(f"{key}."))


def values(k: int) -> dict[str, float]:
    return {m: 100 * s.value for m, s in results()[k].scores.items() if s.value is not None}


def sent(at: AppTest) -> str:
    return "\n".join(str(element.proto) for element in at if hasattr(element, "proto"))


def panes(at: AppTest) -> list[str]:
    """Titles of the panes on screen."""
    drawing = at.session_state[state.CASE].view[1]
    return [pane["title"] for pane in json.loads(drawing.sent)["panes"]]


def readers_scale(manifest: dict) -> None:
    """A set on a reader's scale: every score halved."""
    half = {"x": [0.0, 1.0], "y": [0.0, 0.5]}
    manifest |= {"scale": "reader: KW", "calibration": dict.fromkeys(manifest["methods"], half)}


def test_an_empty_page_says_what_to_do() -> None:
    at = app("compare")
    assert at.title[0].value == "Compare"
    assert "Drop H&E patches" in at.info[0].value


def test_the_table_begins_with_what_the_methods_disagree_on_and_has_every_score() -> None:
    at = compared(0, 1, 2, 3)
    table = at.dataframe[0].value
    single = [[v for m, v in values(k).items() if m != "combined"] for k in range(4)]
    gaps = [max(row) - min(row) for row in single]
    order = sorted(range(4), key=lambda k: -gaps[k])
    assert list(table["Patch"]) == [f"{k}.png" for k in order]
    assert table["Apart"].to_numpy() == pytest.approx([gaps[k] for k in order])
    for code, method in zip(("GBT", "SR", "R", "C", "mean"), METHODS, strict=True):
        assert table[code].to_numpy() == pytest.approx([values(k)[method] for k in order])
        score = results()[order[0]].scores[method]
        assert table[f"{code} 90 %"][0] == f"{100 * score.low:.0f} to {100 * score.high:.0f}"
    assert "weak TC scale, not a pathologist's" in words(at)
    assert panes(at) == ["The patch alone", f"Nuclei features: {values(0)['gbt']:.0f} %"]


def test_patches_of_analyse_are_there_and_the_same_one_is_open() -> None:
    at = drop(app(), 0, 1)
    at.button(key=state.NEXT).click().run()
    at.switch_page("pages/compare.py").run()
    assert at.subheader[0].value.startswith("1")
    assert sorted(at.dataframe[0].value["Patch"]) == ["0.png", "1.png"]


def test_two_raters_are_those_that_were_chosen() -> None:
    at = two_by_two(compared(0, 1, 2, 3))
    chosen(at, state.COMPARE_A).set_value("Nuclei maps").run()
    chosen(at, state.COMPARE_B).set_value("Image to grade").run()
    a, b = (np.array([values(k)[m] / 100 for k in range(4)]) for m in ("cascade", "direct-c"))
    found = bland_altman(a, b)
    said = words(at)
    assert "**Nuclei maps** less **Image to grade** on 4 patches" in said
    for statistic in (found.bias, found.loa_low, found.loa_high):
        assert with_limits(statistic, points) in said
    assert len(at.get("plotly_chart")) == 2


def test_nothing_of_the_models_is_there_before_the_reader_has_scored() -> None:
    at = app("compare", reader="KW")
    at.toggle(key=state.SCORE_FIRST).set_value(True).run()
    drop(at, 0, 1)
    case = at.session_state[state.CASE]
    assert case.results == {} and case.shown == set()
    assert at.dataframe[0].value["GBT"].isna().all()
    assert set(at.dataframe[0].value["Warnings"]) == {"score it first"}
    assert not TELLING.search(sent(at))
    assert panes(at) == [""]
    first = patches()[0].sha256
    at.number_input(key=state.own_key(first, "number")).set_value(40).run()
    at.button(key=state.COMMIT).click().run()
    assert not at.exception
    table = at.dataframe[0].value.set_index("Patch")
    assert set(case.results) == {first}
    assert table.loc["0.png", "GBT"] == pytest.approx(values(0)["gbt"])
    assert table.loc["0.png", "Your score"] == 40
    assert np.isnan(table.loc["1.png", "GBT"])
    two_by_two(at)
    assert "on 1 patch:" in words(at)


def test_a_patch_of_an_open_study_stays_without_scores() -> None:
    made = patches()[0]
    one = new_case(0, sha256=made.sha256, phash=fingerprint(made.pixels), png=files()[0][1])
    with transaction(store()) as db:
        study = records.create_study(db, plan(cases=[one], readers=["KW"]), actor="Coordinator")
        records.open_study(db, study_id=study.id, actor="Coordinator")
    at = compared(0, 1, reader="KW")
    table = at.dataframe[0].value.set_index("Patch")
    assert table.loc["0.png", "Warnings"] == "in an open study"
    assert np.isnan(table.loc["0.png", "GBT"]) and not np.isnan(table.loc["1.png", "GBT"])
    assert any(warning.value == LOCKED for warning in at.warning)
    assert made.sha256 not in at.session_state[state.CASE].results
    other = compared(0, 1, reader="Ana")
    assert not other.dataframe[0].value["GBT"].isna().any()


def test_two_sets_stand_side_by_side_and_are_not_mixed_across_scales(tmp_path: Path) -> None:
    make_set(tmp_path, "kw", readers_scale)
    at = compared(0, 1, 2)
    chosen(at, state.COMPARE_SECOND).set_value("kw").run()
    assert not at.exception
    table = at.dataframe[0].value
    assert table["B SR"].to_numpy() == pytest.approx(table["A SR"].to_numpy() / 2, abs=1e-4)
    assert table["Apart"].max() == pytest.approx(
        (
            table[["A GBT", "A SR", "A R", "A C"]].max(axis=1)
            - table[["A GBT", "A SR", "A R", "A C"]].min(axis=1)
        ).max()
    )
    assert "B less A" not in table
    assert "The two sets are not on one scale" in words(at)
    case = at.session_state[state.CASE]
    assert {r.model_set for r in case.results.values()} == {"breast-1"}
    assert {r.model_set for r in case.second.values()} == {"kw"}
    half = round(values(0)["gbt"] / 2 + 1e-9)
    assert (
        panes(at)[2].startswith("B: Nuclei features")
        and abs(int(re.findall(r"(\d+) %", panes(at)[2])[0]) - half) <= 1
    )
    at.session_state[f"{state.COMPARE_WHY}.sets"] = True
    at.run()
    assert "Before set B put its score on a reader's scale, both gave" in words(at)
    [steps] = [t.value for t in at.dataframe if "From the patch to the scores" in t.value]
    told = steps.set_index("From the patch to the scores").loc["Image to number"]
    before = case.results[case.current].scores["direct-r"].value
    assert told["Set A"].startswith(f"{percent(before)} (")
    assert told["Set B"].startswith(
        f"{percent(before)}, on the reader's scale {percent(before / 2)} ("
    )
    two_by_two(at)
    chosen(at, state.COMPARE_A).set_value("A: Nuclei maps").run()
    chosen(at, state.COMPARE_B).set_value("B: Nuclei maps").run()
    assert any("Not on one scale" in warning.value for warning in at.warning)
    assert "**A: Nuclei maps** less **B: Nuclei maps** on 3 patches" in words(at)


def test_sets_on_one_scale_are_subtracted(tmp_path: Path) -> None:
    make_set(tmp_path, "same", lambda manifest: None)
    at = compared(0, 1)
    chosen(at, state.COMPARE_SECOND).set_value("same").run()
    assert at.dataframe[0].value["B less A"].tolist() == pytest.approx([0, 0], abs=1e-6)
    assert "Both sets are on one scale" in words(at)
    two_by_two(at)
    chosen(at, state.COMPARE_A).set_value("A: Image to number").run()
    chosen(at, state.COMPARE_B).set_value("B: Image to number").run()
    assert not any("Not on one scale" in warning.value for warning in at.warning)


def test_the_views_can_be_chosen_and_the_bare_patch_is_always_possible() -> None:
    at = compared(0)
    box = at.multiselect(key=f"{state.COMPARE_PANES}.1")
    box.set_value(["Image to grade", "The patch alone", "Nuclei maps"]).run()
    assert not at.exception
    shown = panes(at)
    assert shown[0].startswith(f"Image to grade: {values(0)['direct-c']:.0f} %")
    assert shown[1] == "The patch alone"
    assert shown[2] == f"Nuclei maps: {values(0)['cascade']:.0f} %"
    at.multiselect(key=f"{state.COMPARE_PANES}.1").set_value([]).run()
    assert panes(at) == ["The patch alone"]
