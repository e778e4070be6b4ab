"""The page's part on why methods differ: nothing is computed before it is opened."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from cellularity_core.patch import Patch
from cellularity_core.saliency import PlaceMap
from cellularity_core.scorer import Scorer
from pages.parts import differences, scoring, state
from pages.parts.words import METHOD_NAMES

APP = Path(__file__).resolve().parent.parent / "app.py"


@pytest.fixture
def looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the patches whose places were asked for."""
    monkeypatch.setenv("CELLULARITY_DB", str(tmp_path / "own.db"))
    scoring.forget()
    names: list[str] = []
    places = Scorer.places

    def watched(self: Scorer, patch: Patch) -> dict[str, PlaceMap]:
        names.append(patch.name)
        return places(self, patch)

    monkeypatch.setattr(Scorer, "places", watched)
    yield names
    scoring.forget()


def test_the_fold_computes_when_opened_and_once(looked: list[str]) -> None:
    at = AppTest.from_file(APP, default_timeout=120).run()
    at.button(key=state.DEMO).click().run()
    assert not at.exception
    assert "Score" in "".join(html.proto.body for html in at.get("html"))
    assert looked == []
    at.session_state[state.DIFFERENCES] = True
    at.run()
    assert not at.exception
    assert len(looked) == 1
    said = " ".join(m.value for m in at.markdown)
    assert "points more than" in said
    assert "cover" in said or "the same map" in said or "scores higher" in said
    case = at.session_state[state.CASE]
    result = case.results[case.current]
    a = at.selectbox(key=f"{state.DIFFERENCES}.a")
    a.set_value("combined").run()
    b = at.selectbox(key=f"{state.DIFFERENCES}.b.combined")
    b.set_value("cascade").run()
    assert not at.exception
    assert len(looked) == 1
    assert any("Combined is the mean of" in m.value for m in at.markdown)
    assert result.scores["combined"].value is not None


def test_the_page_compare_says_why_and_draws_what_an_image_network_sees(
    looked: list[str],
) -> None:
    at = AppTest.from_file(APP, default_timeout=120).run()
    at.button(key=state.DEMO).click().run()
    at.switch_page("pages/compare.py").run()
    assert not at.exception
    assert looked == []
    at.session_state[f"{state.COMPARE_WHY}."] = True
    at.run()
    assert not at.exception
    assert any("points more than" in m.value for m in at.markdown)
    panes = at.multiselect(key=f"{state.COMPARE_PANES}.1")
    [image] = [option for option in panes.options if option.startswith(METHOD_NAMES["direct-r"])]
    panes.set_value([image]).run()
    assert not at.exception
    assert len(looked) == 1
    _, view = at.session_state[state.CASE].view
    [pane] = json.loads(view.sent)["panes"]
    assert pane["overlay_name"] == differences.MAP_NAME
    assert pane["overlay"].startswith("data:image/")
    # the key of its colours, below it and below the maps of why methods differ
    assert sum(c.value.startswith("Dark violet: ") for c in at.caption) == 2


def test_the_picture_of_a_map_is_violet_low_and_yellow_high() -> None:
    values = np.zeros((4, 8))
    values[:, 4:] = 1.0
    found = PlaceMap(values, np.full((4, 8), 1 / 32), 500.0)
    drawn = differences.place_picture(found, (2000, 4000))
    assert drawn.shape == (512, 1024, 4)
    assert tuple(drawn[250, 5]) == (68, 1, 84, 255)
    assert tuple(drawn[250, 1015]) == (253, 231, 37, 255)
