"""Who puts a model set in use, and what scores from then on."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from models_support import (
    ROOT,
    active,
    app,
    cards,
    drop,
    make_other,
    make_set,
    own_models,
    put_in_use,
    scored_by,
    shown_values,
    switch_key,
    unmarked,
    words,
)

from cellularity_core.model_store import open_set
from db import records
from db.session import transaction
from pages.parts import state
from pages.parts.store import store


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with own_models(tmp_path, monkeypatch):
        yield


@pytest.fixture
def other(tmp_path: Path) -> str:
    return make_other(tmp_path)


def test_without_a_choice_the_default_scores_and_nothing_is_warned_of() -> None:
    at = app("models", reader="Ada")
    assert "In use: **breast-1** (the software's default; nobody has chosen another)." in words(at)
    assert not at.warning
    assert not at.error
    assert not any("models.switch" in str(button.key) for button in at.button)


def of_kim(manifest: dict[str, Any]) -> None:
    """A set that was mapped to the scale of one reader."""
    manifest |= {"recalibrated_from": {"name": "breast-1"}, "scale": "Dr *Kim*"}


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lambda folder: folder.rename(folder.parent.parent / "lost"), "no model set 'breast-1'"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest of the model set"),
        (lambda folder: alter(folder / "gbt.txt"), "file 'gbt.txt' of the model set 'breast-1'"),
    ],
)
def test_where_the_default_cannot_be_used_another_scores_and_that_is_said(
    tmp_path: Path, other: str, harm: Callable[[Path], object], why: str
) -> None:
    """A set on one reader's scale only where there is no other, though it comes first."""
    make_set(tmp_path, "a-kim", of_kim)
    harm(tmp_path / "models" / "breast-1")
    at = app("models", reader="Ada")
    told = unmarked(at.error[0].value)
    assert "The software's own models cannot be used**, and nobody chose others." in told
    assert why in told
    assert "Until then scores come from “other”" in told
    assert "scale" not in told
    assert "In use:" not in words(at)
    assert any(button.key == switch_key("other") for button in at.button)
    remove(tmp_path / "models" / other)
    at = app("models", reader="Ada")
    told = unmarked(at.error[0].value)
    assert "Until then scores come from “a-kim”" in told
    assert "Its scores are on another scale: Dr *Kim*." in told
    assert "The software's own models cannot be used" in words(app(reader="Kim"))


def test_where_no_set_can_be_used_the_reason_is_said(tmp_path: Path, other: str) -> None:
    for name in ("breast-1", other):
        (tmp_path / "models" / name / "manifest.json").write_text("{}")
    told = app("models", reader="Ada").error[0].value
    assert "manifest of the model set 'breast-1' cannot be used" in told
    assert "No other model set can be used in its place." in told


def test_a_switch_says_what_it_changes_and_every_page_scores_by_it(other: str) -> None:
    before, after = (shown_values(scored_by(name)) for name in ("breast-1", other))
    assert before != after
    watching = drop(app(reader="Kim"))
    assert cards(watching) == before
    at = app("models", reader="Ada")
    at.selectbox(key=state.CARD_OF).set_value(other).run()
    assert "are scored by **other** instead of **breast-1**, for everybody" in words(at)
    assert "none is running now" in words(at)
    assert active() is None
    at.button(key=switch_key(other)).click().run()
    assert at.success[0].value == "“other” is in use now."
    chosen = active()
    assert chosen is not None
    assert (chosen.name, chosen.sha256, chosen.chosen_by) == (other, open_set(other).sha256, "Ada")
    assert f"In use: **other** (chosen by Ada, {chosen.chosen_at:%d %B %Y, %H:%M} UTC)" in words(at)
    assert not any("models.switch" in str(button.key) for button in at.button)
    assert cards(watching.run()) == after
    assert cards(drop(app(reader="Lee"))) == after


def test_a_choice_of_ones_own_is_said_and_ends_with_a_switch(tmp_path: Path, other: str) -> None:
    make_set(tmp_path, "third", lambda manifest: manifest.update(mpp=0.4))
    at = drop(app(reader="Kim"))
    [box] = [box for box in at.selectbox if box.label == "Models"]
    assert box.options == ["breast-1 (in use)", "other", "third"]
    box.set_value(other).run()
    assert cards(at) == shown_values(scored_by(other))
    assert "Your own choice, for you alone; everybody else scores with breast-1." in words(at)
    put_in_use("third", reader="Ada")
    assert cards(at.run()) == shown_values(scored_by("third"))
    assert "Your own choice" not in words(at)


def test_a_set_that_cannot_score_is_not_offered(tmp_path: Path, other: str) -> None:
    make_set(tmp_path, "third", lambda manifest: manifest.update(mpp=0.4))
    at = drop(app(reader="Kim"))
    at.selectbox[0].set_value(other).run()
    assert cards(at) == shown_values(scored_by(other))
    damage(tmp_path / "models" / other)
    (tmp_path / "models" / "third" / "manifest.json").write_text("{}")
    at.run()
    assert not at.exception and not at.error
    assert cards(at) == shown_values(scored_by("breast-1"))
    assert not any(box.label == "Models" for box in at.selectbox)
    assert "Not offered, because files are damaged or missing: other, third." in words(at)


def test_who_may_not_switch_is_told_who_may(other: str) -> None:
    app(person="ada")  # the first account is admin
    for role in ("reader", "coordinator"):
        app(person="kim")
        with transaction(store()) as db:
            records.set_role(db, name="kim", role=role, actor="ada")
        at = app("models", "kim")
        at.selectbox(key=state.CARD_OF).set_value(other).run()
        assert "An admin puts another model set in use." in words(at)
        assert not any("models.switch" in str(button.key) for button in at.button)
    assert active() is None
    put_in_use(other, "ada")
    assert active().chosen_by == "ada"


def test_an_admin_who_is_one_no_more_cannot_switch(other: str) -> None:
    app(person="ada")
    app(person="kim")
    with transaction(store()) as db:
        records.set_role(db, name="kim", role="admin", actor="ada")
    at = app("models", "kim")
    at.selectbox(key=state.CARD_OF).set_value(other).run()
    with transaction(store()) as db:
        records.set_role(db, name="kim", role="reader", actor="ada")
    at.button(key=switch_key(other)).click().run()
    assert "This is for admins only" in at.error[0].value
    assert active() is None


def test_on_one_machine_a_name_is_asked_for_first(other: str) -> None:
    at = app("models")
    at.selectbox(key=state.CARD_OF).set_value(other).run()
    assert "Type your name first." in words(at)
    assert not any("models.switch" in str(button.key) for button in at.button)


def alter(path: Path) -> None:
    text = path.read_text()
    path.unlink()  # it may be the shipped file itself, under a second name
    path.write_text(text + "\n")


def damage(folder: Path) -> str:
    """Alter a file that the manifest names."""
    alter(folder / "gbt.txt")
    return "The file 'gbt.txt' of the model set 'other' has the checksum"


def replace(folder: Path) -> str:
    """Another training under the same name."""
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"mpp": 0.7}))
    return "The folder of the model set 'other' now holds another one"


def remove(folder: Path) -> str:
    """The folder is gone."""
    folder.rename(folder.parent.parent / "gone")
    return "There is no model set 'other'"


@pytest.mark.parametrize("harm", [damage, replace, remove])
def test_a_chosen_set_that_is_not_there_as_chosen_is_warned_of_on_every_page(
    tmp_path: Path, other: str, harm: Callable[[Path], str]
) -> None:
    put_in_use(other, reader="Ada")
    why = harm(tmp_path / "models" / other)
    at = app("models", reader="Ada")
    told = unmarked(at.error[0].value)
    assert "The models that were chosen cannot be used." in told
    assert "Ada chose “other” on" in told
    assert why in told
    assert "Until then scores come from “breast-1”" in told
    assert "In use:" not in words(at)
    at = drop(app(reader="Kim"))
    assert cards(at) == shown_values(scored_by("breast-1"))
    assert "The models that were chosen cannot be used." in words(at)


def test_the_scale_of_what_scores_in_place_of_a_chosen_set_is_told(tmp_path: Path) -> None:
    make_set(tmp_path, "kim", of_kim)
    put_in_use("kim", reader="Ada")
    alter(tmp_path / "models" / "kim" / "gbt.txt")
    told = unmarked(app("models", reader="Ada").error[0].value)
    assert "on another scale: weak TC, not a pathologist's." in told
    remove(tmp_path / "models" / "kim")
    told = unmarked(app("models", reader="Ada").error[0].value)
    assert "on this scale: weak TC, not a pathologist's." in told


def test_a_damaged_set_cannot_be_put_in_use(tmp_path: Path, other: str) -> None:
    why = damage(tmp_path / "models" / other)
    at = put_in_use(other, reader="Ada")
    assert "“other” was not put in use." in at.error[0].value
    assert why in at.error[0].value
    assert active() is None


def test_a_set_that_changed_since_the_page_was_drawn_is_not_put_in_use(
    tmp_path: Path, other: str
) -> None:
    at = app("models", reader="Ada")
    at.selectbox(key=state.CARD_OF).set_value(other).run()
    key = switch_key(other)
    replace(tmp_path / "models" / other)
    at.button(key=key).click().run()
    assert "was not put in use" in at.error[0].value
    assert active() is None


def test_a_choice_can_be_made_again_after_a_fault(tmp_path: Path, other: str) -> None:
    put_in_use(other, reader="Ada")
    remove(tmp_path / "models" / other)
    at = app("models", reader="Ada")
    at.button(key=switch_key("breast-1")).click().run()
    assert active().name == "breast-1"
    assert not at.error


def test_only_one_place_opens_a_scorer() -> None:
    users = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "pages").rglob("*.py"))
        if re.search(r"Scorer\.open|\bScorer\(|DEFAULT_SET", path.read_text(encoding="utf-8"))
    ]
    assert users == ["pages/parts/models_active.py", "pages/parts/scoring.py"]
