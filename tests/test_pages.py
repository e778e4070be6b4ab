"""Pages through `app.py`, as a user meets them; what they send is checked against the core."""

import gc
import re
from pathlib import Path

import numpy as np
import pytest
from pages_support import (
    app,
    cards,
    demo,
    drop,
    expected,
    fresh_records,
    own_records,
    png,
    scored_names,
    scorer,
    sent,
    tissue,
    words,
)
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager

from cellularity_core.conventions import METHODS
from cellularity_core.quality import FLAGS
from pages.parts import reader, state
from pages.parts.frame import RESEARCH_USE
from pages.parts.models_data import curves
from pages.parts.words import percent

pytestmark = pytest.mark.usefixtures("own_records")
__all__ = ["fresh_records", "own_records", "scored_names"]


def test_every_page_opens_and_says_research_use_only() -> None:
    at = app()
    assert not at.exception
    assert "Drop one or more H&E patches" in at.info[0].value
    assert RESEARCH_USE in words(at)
    at.switch_page("pages/models.py").run()
    assert not at.exception
    assert at.title[0].value == "Models"
    assert RESEARCH_USE in words(at)


def test_a_patch_shows_the_four_scores_of_the_core() -> None:
    file = png(tissue())
    at = drop(app(), file)
    result = expected(file)
    assert cards(at) == {method: percent(result.scores[method].value) for method in METHODS}
    assert words(at).count("weak TC scale, not a pathologist's") == len(METHODS)
    low, high = result.scores["gbt"].low, result.scores["gbt"].high
    assert f"90 % interval: {100 * low:.0f} to {100 * high:.0f} %" in words(at)
    assert f"left:{100 * low:.1f}%;width:{100 * (high - low):.1f}%" in words(at)
    assert "0.5 µm per pixel (assumed: the file states none)" in words(at)
    counts = result.nuclei.counts()
    assert f"{counts['malignant']} malignant, {counts['lymphocyte']} lymphocyte" in words(at)


def test_dropped_files_are_scored_in_the_run_that_takes_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs: list[int] = []
    heading = reader.reader_controls
    monkeypatch.setattr(reader, "reader_controls", lambda t: runs.append(1) or heading(t))
    held: list[int] = []
    remove = MemoryUploadedFileManager.remove_file

    def removed(uploads: MemoryUploadedFileManager, session: str, file: str) -> None:
        remove(uploads, session, file)
        held.append(len(uploads.file_storage[session]))

    monkeypatch.setattr(MemoryUploadedFileManager, "remove_file", removed)
    at = app()
    drop(at, png(tissue()))
    assert len(runs) == 2
    assert held == [0]  # the upload takes no memory any more
    assert set(cards(at)) == set(METHODS)
    assert not at.file_uploader[0].value
    # What is loaded for good is not looked through for garbage after each run.
    assert gc.get_freeze_count() > 100_000


def test_the_demo_is_labelled_synthetic() -> None:
    at = app()
    at.button(key=state.DEMO).click().run()
    assert not at.exception
    assert "synthetic" in at.info[0].value
    assert len(at.session_state[state.CASE].results) == len(demo())


def test_bad_files_get_a_sentence_each_and_the_others_go_on() -> None:
    good = png(tissue(), "good.png")
    small = png(tissue()[:40, :40], "small.png")
    at = drop(app(), ("torn.png", good[1][:900], "image/png"), good, small, ("no.tif", b"", ""))
    reasons = [element.value for element in at.text]
    assert len(reasons) == 3
    for name in ("torn.png", "small.png", "no.tif"):
        assert any(reason.startswith(name) for reason in reasons)
    assert len(cards(at)) == len(METHODS)
    assert "3 files were left out" in words(at)
    at.button(key=state.DISMISS).click().run()
    assert "left out" not in words(at)
    assert len(cards(at)) == len(METHODS)


def test_the_same_pixels_are_taken_once() -> None:
    at = drop(app(), png(tissue(), "a.png"), png(tissue(), "copy.png"))
    assert len(at.session_state[state.CASE].patches) == 1
    assert "copy.png shows the same pixels as a.png" in words(at)


def test_an_impossible_pixel_size_is_asked_about_not_believed(scored_names: list[str]) -> None:
    file = png(tissue(), "scan.png", dpi=(72, 72))
    at = drop(app(), file)
    assert scored_names == []
    assert "scan.png: the file states a pixel size" in words(at)
    at.number_input(key=state.ASKED_SIZE).set_value(0.5).run()
    at.number_input(key=state.ASKED_SIZE).set_value(5.0).run()  # 0.5 is no longer what is seen
    assert "5 µm/px was given for scan.png, and a patch has 0.1 to 2" in at.error[0].value
    assert at.button(key=state.ASKED_SIZE_SET).disabled
    at.number_input(key=state.ASKED_SIZE).set_value(0.5).run()
    at.button(key=state.ASKED_SIZE_SET).click().run()
    assert not at.exception
    assert len(scored_names) == 1
    assert cards(at)["gbt"] == percent(expected(file, mpp=0.5).scores["gbt"].value)
    assert "0.5 µm per pixel (given by you)" in words(at)


def test_another_pixel_size_gives_other_scores() -> None:
    file = png(np.dstack([tissue(), np.full(tissue().shape[:2], 254, np.uint8)]))
    at = drop(app(), file)
    assumed, read = FLAGS["pixel-size-assumed"].text, "Transparent parts are shown on white."
    assert assumed in at.warning[0].value
    assert f"µm per pixel (assumed: the file states none). {read}" in words(at)
    key = next(n.key for n in at.number_input if str(n.key).startswith(state.SIZE + "."))
    at.number_input(key=key).set_value(3.0).run()
    assert "a patch has 0.1 to 2" in at.error[0].value and at.button(key=state.SIZE_SET).disabled
    at.number_input(key=key).set_value(0.3).run()
    at.button(key=state.SIZE_SET).click().run()
    result = expected(file, mpp=0.3)
    assert cards(at) == {method: percent(result.scores[method].value) for method in METHODS}
    assert f"0.3 µm per pixel (given by you). {read}" in words(at)
    assert assumed not in words(at)


def test_no_tissue_says_so_and_warns() -> None:
    at = drop(app(), png(np.full((256, 256, 3), 245, np.uint8), "blank.png"))
    assert set(cards(at).values()) == {"no tissue"}
    assert at.error[0].value.startswith("**Do not rely on this score:**")


def test_a_batch_is_a_table_one_can_step_through() -> None:
    files = [png(tissue(k), f"{k}.png") for k in range(3)]
    at = drop(app(), *files)
    table = at.dataframe[0].value
    assert list(table["Patch"]) == ["0.png", "1.png", "2.png"]
    values = [100 * expected(file).scores["cascade"].value for file in files]
    assert np.allclose(table["SR"], values)
    assert at.subheader[0].value.startswith("0")
    assert at.button(key=state.PREVIOUS).disabled
    at.button(key=state.NEXT).click().run()
    at.button(key=state.NEXT).click().run()
    assert at.subheader[0].value.startswith("2")
    assert at.button(key=state.NEXT).disabled
    assert cards(at)["cascade"] == percent(values[2] / 100)


def test_a_batch_that_was_cancelled_shows_what_is_scored_and_can_go_on(
    scored_names: list[str],
) -> None:
    at = app()
    at.session_state[f"scoring.{scorer().model_set.sha256[:12]}.cancelled"] = True
    drop(at, *(png(tissue(k), f"{k}.png") for k in range(3)))
    assert at.dataframe[0].value["SR"].isna().tolist() == [False, True, True]
    assert len(cards(at)) == len(METHODS)
    assert "**2 of 3** are still to be done" in words(at)
    at.button(key=state.NEXT).click().run()
    assert len(cards(at)) == len(METHODS)  # what is looked at is scored all the same
    next(b for b in at.button if b.label == "Go on").click().run()
    assert not at.dataframe[0].value["SR"].isna().any()
    assert len(scored_names) == 3


def test_patches_and_choices_survive_another_page(scored_names: list[str]) -> None:
    at = drop(app(), png(tissue(0), "a.png"), png(tissue(1), "b.png"))
    at.button(key=state.NEXT).click().run()
    at.toggle(key=state.SCORE_FIRST).set_value(True).run()
    before = cards(at)
    at.switch_page("pages/models.py").run()
    at.switch_page("pages/analyse.py").run()
    assert at.subheader[0].value.startswith("b")
    assert at.toggle(key=state.SCORE_FIRST).value
    assert cards(at) == before
    assert len(scored_names) == 2


def test_clear_all_forgets_the_patches() -> None:
    at = drop(app(), png(tissue()))
    at.button(key=state.CLEAR).click().run()
    assert "Nothing here yet" in at.info[0].value
    assert cards(at) == {}


def test_one_users_file_name_is_not_another_users(scored_names: list[str]) -> None:
    drop(app(), png(tissue(), "Mrs Jones.png"))
    at = drop(app(), png(tissue(), "other.png"))
    assert len(scored_names) == 1
    assert "Jones" not in words(at) + sent(at)
    [result] = at.session_state[state.CASE].results.values()
    assert result.image == "other.png"


def test_records_that_cannot_be_opened_give_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").write_text("no database " * 50)
    monkeypatch.setenv("CELLULARITY_DB", str(tmp_path / "notes.txt"))
    at = app(reader="Kim")
    assert not at.exception
    assert "cannot be opened" in at.error[0].value
    monkeypatch.undo()


def test_no_models_give_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLULARITY_MODELS", str(tmp_path))
    at = drop(app(), png(tissue()))
    assert "There are no models" in at.error[0].value
    at.switch_page("pages/models.py").run()
    assert "There are no models" in at.error[0].value


def test_the_models_page_shows_card_figures_and_gain() -> None:
    at = app().switch_page("pages/models.py").run()
    assert not at.exception
    models = scorer().model_set
    for path in models.folder.glob("*.md"):
        *_, heading = path.read_text(encoding="utf-8").splitlines()
        assert any(heading in element.value for element in at.markdown)
    icc = re.findall(r"gbt \| ([\d.]+ \[[\d., ]+\])", models.card())[0]
    assert icc in words(at)
    assert not re.search(r"\]\(\w+\.md\)", words(at))
    charts = {str(chart.proto.id).rpartition("models.")[2] for chart in at.get("plotly_chart")}
    logged = [name for name in ("jaccard", "mse") if curves(models.manifest, name)]
    assert charts == {"gain", *logged}
