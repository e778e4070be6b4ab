"""Pages through `app.py`, as a user meets them; what they send is checked against the core."""

import gc
import io
import re
from collections.abc import Iterator
from functools import cache
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from models_support import unmarked
from PIL import Image
from sqlalchemy import text
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.testing.v1 import AppTest

from cellularity_core import export
from cellularity_core.conventions import METHODS
from cellularity_core.patch import Patch, load_patch
from cellularity_core.quality import FLAGS
from cellularity_core.results import PatchResult
from cellularity_core.scorer import Scorer
from cellularity_core.synthetic import demo_patches
from db.session import connect, database_url
from pages.parts import reader, scoring, state
from pages.parts.frame import RESEARCH_USE
from pages.parts.models_data import curves
from pages.parts.words import percent

APP = str(Path(__file__).resolve().parent.parent / "app.py")
File = tuple[str, bytes, str]
TELLING = re.compile("data-method|[Aa]ctivation|ontrast above|weak TC|waterfall")
"""Words that only a model's output brings to the page."""


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test has records and caches of its own."""
    monkeypatch.setenv("CELLULARITY_DB", str(tmp_path / "pages.db"))
    reader.store.clear()
    scoring.forget()
    yield
    reader.store().dispose()
    reader.store.clear()


@pytest.fixture
def scored_names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Checksums of the patches that reach the models, in order."""
    seen: list[str] = []
    score = Scorer.score

    def watched(self: Scorer, patches: list[Patch], maps: bool = True) -> Iterator[PatchResult]:
        patches = list(patches)
        seen.extend(patch.sha256 for patch in patches)
        return score(self, patches, maps)

    monkeypatch.setattr(Scorer, "score", watched)
    return seen


def app(**query: str) -> AppTest:
    at = AppTest.from_file(APP, default_timeout=120)
    for name, value in query.items():
        at.query_params[name] = value
    return at.run()


def png(pixels: np.ndarray, name: str = "patch.png", **how: object) -> File:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", **how)
    return name, buffer.getvalue(), "image/png"


@cache
def demo() -> list[Patch]:
    return demo_patches()


def tissue(k: int = 0) -> np.ndarray:
    return demo()[k].pixels


def drop(at: AppTest, *files: File) -> AppTest:
    at.file_uploader[0].set_value(list(files)).run()
    assert not at.exception, at.exception
    return at


def words(at: AppTest) -> str:
    """Everything that is sent as text, whatever the element."""
    kinds = (at.markdown, at.caption, at.text, at.info, at.warning, at.error, at.title)
    elements = [e.value for kind in (*kinds, at.subheader) for e in kind]
    return unescape("\n".join([*elements, *(str(e.proto.body) for e in at.get("html"))]))


def cards(at: AppTest) -> dict[str, str]:
    """Value on each score card, by method."""
    found = re.findall(
        r'data-method="([\w-]+)">.*?<div class="value">(.*?)</div>', words(at).replace("\n", " ")
    )
    return dict(found)


@cache
def scorer() -> Scorer:
    return Scorer.open()


def expected(file: File, **how: float) -> PatchResult:
    [result] = scorer().score([load_patch(file[1], file[0], **how)])
    return result


def sent(at: AppTest) -> str:
    """All that a run sends to the browser, as one text."""
    return "\n".join(str(element.proto) for element in at if hasattr(element, "proto"))


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


def test_one_users_file_name_is_not_another_users(scored_names: list[str]) -> None:
    drop(app(), png(tissue(), "Mrs Jones.png"))
    at = drop(app(), png(tissue(), "other.png"))
    assert len(scored_names) == 1
    assert "Jones" not in words(at) + sent(at)
    [result] = at.session_state[state.CASE].results.values()
    assert result.image == "other.png"


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>.png", "**bold** $x$ :red[a].png"])
def test_a_name_is_shown_as_it_is(name: str) -> None:
    at = drop(app(reader=f"K {name[:-4]}"), png(tissue(), name))
    shown = at.subheader[0].value
    assert unmarked(shown) == name
    assert "\\<" in shown or "\\*" in shown
    commit(at, load_patch(png(tissue())[1], "x").sha256, 10)
    assert not any("<img" in element.value for element in at.markdown)


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
