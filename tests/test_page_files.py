"""The area Files of the page Analyse: what is offered, and what its button makes."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from db_support import new_case, opened
from pages_support import fresh_records, own_records
from PIL import Image
from pypdf import PdfReader
from streamlit.delta_generator import DeltaGenerator
from streamlit.testing.v1 import AppTest

from cellularity_core import export
from cellularity_core.export import files
from cellularity_core.fingerprint import fingerprint
from cellularity_core.patch import load_patch
from cellularity_core.scorer import Scorer
from cellularity_core.synthetic import synthesise
from db import records
from db.errors import RecordError
from db.session import transaction
from pages.parts import access, reader, state
from pages.parts import files as page_files
from pages.parts.locks import LOCKED

APP = str(Path(__file__).resolve().parent.parent / "app.py")
KIND, WHICH = f"{state.FILES}.kind", f"{state.FILES}.which"


pytestmark = pytest.mark.usefixtures("own_records")
__all__ = ["fresh_records", "own_records"]


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the download button was given last."""
    last: dict[str, Any] = {}
    plain = DeltaGenerator.download_button

    def watched(self: DeltaGenerator, label: str, data: Any, **how: Any) -> bool:
        last.update(how, data=data)
        return plain(self, label, data, **how)

    monkeypatch.setattr(DeltaGenerator, "download_button", watched)
    return last


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Kinds of the files that were made."""
    kinds: list[str] = []
    plain = files.make

    def watched(kind: str, *given: Any) -> bytes:
        kinds.append(kind)
        return plain(kind, *given)

    monkeypatch.setattr(files, "make", watched)
    return kinds


def drop(*names: str) -> AppTest:
    at = AppTest.from_file(APP, default_timeout=120).run()
    at.file_uploader[0].set_value([(n, png(k), "image/png") for k, n in enumerate(names)]).run()
    assert not at.exception
    return at


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(synthesise(seed, 128).pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def test_one_patch_has_every_kind_and_nothing_is_made_before_it_is_asked_for(
    offered: dict[str, Any], made: list[str]
) -> None:
    at = drop("=p.png")
    menu = at.selectbox(key=KIND)
    assert menu.options == [kind.label for kind in files.KINDS.values()]
    assert not [b for b in at.button_group if b.key == WHICH]
    patch = load_patch(png(0), "=p.png")
    [result] = Scorer.open().score([patch])
    for kind in files.KINDS:
        menu.set_value(kind).run()
        assert not at.exception
        assert offered["file_name"] == files.name(kind, ["=p.png"])[0]
        assert made == []
        assert any(files.KINDS[kind].what in caption.value for caption in at.caption)
        if kind == "json":
            continue  # seconds differ
        assert offered["data"]() == files.make(kind, [(result, patch.pixels)], 1)
        made.clear()


def test_a_study_opened_since_the_page_was_drawn_keeps_the_file(
    offered: dict[str, Any], made: list[str]
) -> None:
    at = drop("a.png", "b.png")
    at.text_input(key=state.READER).set_value("Ana").run()
    save = offered["data"]
    assert save() and made == ["pdf"]
    patch = load_patch(png(0), "a.png")
    case = new_case(1, sha256=patch.sha256, png=png(0), phash=fingerprint(patch.pixels))
    with transaction(reader.store()) as db:
        opened(db, readers=["Kim"], cases=[case])
    assert save() and len(made) == 2
    with transaction(reader.store()) as db:
        [study] = records.studies(db)
        records.add_reader_to_study(db, study_id=study.id, reader="Ana", actor="C")
    with pytest.raises(RecordError, match="may not be saved any more"):
        save()
    assert len(made) == 2
    at.download_button(key=f"{state.FILES}.save").click().run()
    assert not at.exception and LOCKED in [warning.value for warning in at.warning]
    assert not at.download_button


def test_on_a_server_a_file_is_made_for_who_has_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "has_sign_in", lambda: True)
    with transaction(reader.store()) as db:
        records.enrol(db, name="Typed")
        records.account(db, issuer="https://id", subject="s", name="Ana", email=None)
    assert [access.is_known(name) for name in ("Ana", "Typed", "Nobody", "")] == [
        *(True, False, False, False)
    ]


def test_several_patches_are_one_file_or_the_one_that_is_looked_at(
    offered: dict[str, Any],
) -> None:
    at = drop("a.png", "b.png", "c.png")
    assert offered["file_name"] == "a.pdf"
    [choice] = [b for b in at.button_group if b.key == WHICH]
    choice.set_value("All 3 patches").run()
    assert offered["file_name"] == "cellularity.pdf"
    first, *rest = PdfReader(io.BytesIO(offered["data"]())).pages
    assert "Cellularity of 3 patches" in first.extract_text()
    assert len(rest) == 3
    at.selectbox(key=KIND).set_value("geojson").run()
    assert (offered["file_name"], offered["mime"]) == (
        "cellularity.geojson.zip",
        "application/zip",
    )


def test_only_what_is_drawn_is_scored_anew_and_too_many_pictures_are_refused(
    offered: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = drop("a.png", "b.png", "c.png")
    [choice] = [b for b in at.button_group if b.key == WHICH]
    choice.set_value("All 3 patches").run()
    scored: list[str] = []
    plain = Scorer.score

    def watched(self: Scorer, patches: Any, **how: Any) -> Any:
        scored.extend(patch.name for patch in patches)
        return plain(self, patches, **how)

    monkeypatch.setattr(Scorer, "score", watched)
    pdf = files.KINDS["pdf"]
    monkeypatch.setitem(files.KINDS, "pdf", replace(pdf, drawn=2))
    assert len(offered["data"]()) > 0
    assert scored == ["a.png", "b.png"]
    at.selectbox(key=KIND).set_value("csv").run()
    assert len(offered["data"]()) > 0
    assert scored == ["a.png", "b.png"]
    monkeypatch.setattr(page_files, "MOST_FILES", 2)
    at.selectbox(key=KIND).set_value("ome-tiff").run()
    assert offered["disabled"]
    assert any("saves up to 2 at a time" in caption.value for caption in at.caption)


def test_files_that_were_not_scored_are_named_with_all_patches(offered: dict[str, Any]) -> None:
    at = AppTest.from_file(APP, default_timeout=120).run()
    given = [("a.png", png(0), "image/png"), ("bad.png", b"no image", "image/png")]
    at.file_uploader[0].set_value(given).run()
    at.selectbox(key=KIND).set_value("json").run()
    content = json.loads(offered["data"]())
    assert [patch["image"] for patch in content["patches"]] == ["a.png"]
    assert [error["image"] for error in content["errors"]] == ["bad.png"]
    assert content["purpose"] == export.PURPOSE


def test_no_file_is_offered_before_the_readers_own_score() -> None:
    at = drop("a.png")
    at.toggle(key=state.SCORE_FIRST).set_value(True).run()
    assert at.get("download_button")
    fresh = AppTest.from_file(APP, default_timeout=120).run()
    fresh.toggle(key=state.SCORE_FIRST).set_value(True).run()
    fresh.file_uploader[0].set_value([("n.png", png(9), "image/png")]).run()
    assert not fresh.exception
    assert not fresh.get("download_button")
