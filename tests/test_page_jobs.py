"""Long jobs of the pages: cancelled they keep what is whole, and go on from there."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import streamlit as st
from agreement_page_support import material
from agreement_support import seeded_study
from models_support import app, own_models, words
from streamlit.testing.v1 import AppTest

from cellularity_core.patch import Patch
from cellularity_core.results import PatchResult
from db import records
from db.session import snapshot, transaction
from pages.parts import agreement_stats, scoring, state, study_draft
from pages.parts.store import store


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with own_models(tmp_path, monkeypatch):
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three patches, one of them deeper, and a file that is none."""
    made = tmp_path / "patches"
    (made / "sub").mkdir(parents=True)
    rng = np.random.default_rng(1)
    for name in ("a.png", "b.png", "sub/c.png"):
        cv2.imwrite(str(made / name), rng.integers(0, 255, (96, 96, 3), np.uint8))
    (made / "notes.txt").write_text("no picture")
    return made


def cancelling(work: Callable[..., Any], at: int, flag: str) -> Callable[..., Any]:
    """`work`; at call number `at`, once, the user clicks on Cancel."""
    calls: list[int] = []

    def watched(*args: Any, **kwargs: Any) -> Any:
        found = work(*args, **kwargs)
        calls.append(1)
        if len(calls) == at:
            st.session_state[f"{flag}.cancelled"] = True  # as the button's callback does
            st.rerun()
        return found

    return watched


def form_of(folder: Path) -> AppTest:
    """The form of a new study with the folder's patches."""
    at = app("studies", reader="Coord")
    with transaction(store()) as db:
        records.enrol(db, name="Mae")
    at.text_input(key=state.STUDY_FOLDER).set_value(str(folder)).run()
    next(b for b in at.button if b.label == "Take folder").click().run()
    assert not at.exception, at.exception
    return at


def study_names() -> list[str]:
    with snapshot(store()) as db:
        return [study.name for study in records.studies(db)]


def test_a_folder_is_read_a_file_at_a_time_and_goes_on_after_cancelling(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    def read(path: Path, name: str) -> Iterator[Any]:
        shown.append(name)
        return load(path, name)

    load = study_draft.load_file
    monkeypatch.setattr(study_draft, "load_file", read)
    add = cancelling(study_draft.Draft.add, 2, "studies.reading")
    monkeypatch.setattr(study_draft.Draft, "add", add)
    at = form_of(folder)
    assert shown == ["a.png", "b.png"]
    assert "**3 of 4** are still to be done" in words(at)  # stopped in the middle of the second
    made = at.session_state[state.STUDY_DRAFT]
    assert [patch.name for patch in made.patches.values()] == ["a.png", "b.png"]
    at.button(key="studies.reading.go_on").click().run()
    made = at.session_state[state.STUDY_DRAFT]
    assert [patch.name for patch in made.patches.values()] == ["a.png", "b.png", "sub/c.png"]
    assert sum("notes.txt" in problem for problem in made.problems) == 1
    assert not made.queue
    assert "3 cases to read" in words(at)


def test_a_folder_without_files_and_one_that_is_not_there_are_said(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    at = form_of(tmp_path / "none")
    assert "is a folder with no files in it" in words(at)
    at.text_input(key=state.STUDY_FOLDER).set_value(str(tmp_path / "gone")).run()
    next(b for b in at.button if b.label == "Take folder").click().run()
    assert "There is no folder" in words(at)


def filled(at: AppTest) -> AppTest:
    at.multiselect(key="studies.readers").set_value(["Mae"]).run()
    at.text_input(key="studies.name").set_value("Trial").run()
    at.checkbox(key=f"{state.STUDY_SIZES}.3").check().run()
    return at


def test_assumed_pixel_sizes_are_said_corrected_and_asked_for(folder: Path) -> None:
    at = filled(form_of(folder))
    create = at.button(key=state.STUDY_CREATE)
    assert not create.disabled
    at.checkbox(key=f"{state.STUDY_SIZES}.3").uncheck().run()
    assert at.button(key=state.STUDY_CREATE).disabled
    assert "size of 3 patches is assumed (0.5 µm per pixel)" in words(at)
    made = at.session_state[state.STUDY_DRAFT]
    assert list(shown_sizes(at)) == ["0.5 assumed"] * 3
    first, second, third = made.patches.values()
    made.results[first.sha256] = "at 0.5 µm"
    made.add([replace(first, mpp=0.25, mpp_source="user"), replace(second, mpp_source="user")])
    made.add([replace(first, mpp=0.5, mpp_source="default")])  # the file, dropped once more
    at.run()
    assert list(shown_sizes(at)) == ["0.25", "0.5", "0.5 assumed"]
    assert first.sha256 not in made.results
    assert "size of 1 patch is assumed" in words(at)
    assert at.button(key=state.STUDY_CREATE).disabled
    made.add([replace(third, mpp=0.4, mpp_source="user")])
    at.run()
    assert not at.button(key=state.STUDY_CREATE).disabled
    assert "assumed" not in words(at)
    table = study_draft.pd.DataFrame(at.dataframe[0].value)
    cases = study_draft.new_cases(made, table)
    assert [case.mpp for case in cases] == [0.25, 0.5, 0.4]


def shown_sizes(at: AppTest) -> Any:
    return at.dataframe[0].value[study_draft.SIZE]


def test_scoring_a_study_goes_on_where_it_was_cancelled(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[str] = []
    score = scoring.scored

    def counting(patch: Patch, on: Any) -> Any:
        scored.append(patch.name)
        return score(patch, on)

    at = filled(form_of(folder))
    work = f"studies.scoring.{scoring.active_set().models.sha256[:12]}"
    monkeypatch.setattr(scoring, "scored", counting)
    monkeypatch.setattr(scoring, "let_go", cancelling(scoring.let_go, 2, work))
    at.button(key=state.STUDY_CREATE).click().run()
    assert not at.exception
    assert "**1 of 3** are still to be done" in words(at)
    assert study_names() == []
    at.button(key=f"{work}.go_on").click().run()
    assert scored == ["a.png", "b.png", "sub/c.png"]
    assert study_names() == ["Trial"]
    assert "“Trial” is open for Mae" in words(at)


def test_a_form_that_is_changed_while_it_waits_makes_no_study(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = filled(form_of(folder))
    work = f"studies.scoring.{scoring.active_set().models.sha256[:12]}"
    monkeypatch.setattr(scoring, "let_go", cancelling(scoring.let_go, 1, work))
    at.button(key=state.STUDY_CREATE).click().run()
    at.text_input(key="studies.name").set_value("Other").run()
    assert "no study was created" in words(at)
    assert study_names() == []
    at.button(key=state.STUDY_CREATE).click().run()  # and not "Go on"
    assert study_names() == ["Other"]
    results: dict[str, PatchResult] = at.session_state[state.STUDY_DRAFT].results
    assert results == {}


def test_the_number_of_cases_is_worked_out_reader_by_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from cellularity_core.agreement import planning

    expected = planning.sample_size(0.2, 0.85, reader_share=0.25)
    at = app("studies", reader="Coord")
    at.button(key="studies.size").click().run()
    assert not at.exception
    [table] = [frame.value for frame in at.dataframe]
    assert list(table["Readers"]) == [size.readers for size in expected]
    assert [None if np.isnan(n) else int(n) for n in table["Cases"]] == [s.cases for s in expected]
    at.slider(key="studies.size_width").set_value(0.30).run()
    assert not at.dataframe  # of another width


def test_agreement_that_is_cancelled_waits_and_is_computed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = seeded_study(store())
    agreement_stats._kept.clear()
    calls: list[int] = []
    compute = agreement_stats.agreement_report

    def watched(table: Any, progress: Callable[[int, int], None]) -> Any:
        told: list[tuple[int, int]] = []
        found = compute(table, progress=lambda *at: (told.append(at), progress(*at)))
        assert told == [(k, len(told)) for k in range(len(told))]
        calls.append(len(told))
        return found

    monkeypatch.setattr(agreement_stats, "agreement_report", watched)
    at = app(reader="Cora", study=str(study.id))
    work = f"agreement.computing.{material(study).key[:12]}"
    at.session_state[f"{work}.cancelled"] = True
    at.switch_page("pages/agreement.py").run()
    assert not at.exception
    assert "Cancelled, so there is nothing to show" in words(at)
    assert not at.get("plotly_chart") and not at.segmented_control
    assert calls == []
    assert at.button(key=f"{work}.start_again").label == "Start again"

    at = app("agreement", reader="Cora", study=str(study.id))
    assert at.get("plotly_chart")
    at.segmented_control(key=state.AGREEMENT_SECTION).set_value("Report").run()
    at.button(key=state.REPORT_MAKE).click().run()
    assert not at.exception
    assert at.get("download_button")
    assert len(calls) == 1
