"""Model sets to test on, and the app that shows them.

The sets are made of the shipped one: `breast-1` as it is, `other` that looks at another
pixel size, so that its scores differ.
"""

import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from access_support import AUTH, ISSUER
from PIL import Image
from streamlit import config
from streamlit.runtime.secrets import Secrets
from streamlit.testing.v1 import AppTest

from cellularity_core.model_store import default_root, open_set
from cellularity_core.patch import load_patch
from cellularity_core.results import PatchResult
from cellularity_core.scorer import Scorer
from cellularity_core.synthetic import demo_patches
from db import model_sets, records
from db.session import snapshot, transaction
from pages.parts import models_active, scoring, sign_in, state
from pages.parts.store import store
from pages.parts.words import percent

ROOT = Path(__file__).resolve().parent.parent
APP = str(ROOT / "app.py")
SHIPPED = default_root() / "breast-1"
Change = Callable[[dict[str, Any]], None]


@contextmanager
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test has records, model sets, secrets and caches of its own."""
    monkeypatch.setenv("CELLULARITY_DB", str(tmp_path / "models.db"))
    monkeypatch.setenv("CELLULARITY_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(st, "secrets", Secrets())
    monkeypatch.setattr(models_active, "DEFAULT_SET", SHIPPED.name)
    options = {name: config.get_option(name) for name in ("server.address", "secrets.files")}
    config.set_option("secrets.files", [str(tmp_path / "secrets.toml")])
    store.clear()
    sign_in.forget()
    scoring.forget()
    make_set(tmp_path, "breast-1")
    yield
    sign_in.forget()
    store().dispose()
    store.clear()
    for name, value in options.items():
        config.set_option(name, value)


def make_set(tmp_path: Path, name: str, change: Change | None = None) -> None:
    """A model set of the shipped files, its manifest changed."""
    folder = tmp_path / "models" / name
    folder.mkdir(parents=True)
    for path in SHIPPED.iterdir():
        if path.suffix in (".onnx", ".safetensors", ".txt"):
            try:
                os.link(path, folder / path.name)
            except OSError:  # another disk
                shutil.copy(path, folder / path.name)
    (folder / "README.md").write_text(f"# Model set `{name}`\n\nMade by a test.\n")
    manifest = json.loads((SHIPPED / "manifest.json").read_text(encoding="utf-8"))
    manifest["name"] = name
    for key in ("curves", "ablation", "quality", "headline"):
        manifest.pop(key, None)
    if change is not None:
        change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def other_scale(manifest: dict[str, Any]) -> None:
    manifest["mpp"] = 0.6


def make_other(tmp_path: Path) -> str:
    """A second model set that scores otherwise; its name."""
    make_set(tmp_path, "other", other_scale)
    return "other"


def app(page: str | None = None, person: str | None = None, **query: str) -> AppTest:
    """The app; with `person` on a server, signed in as that one."""
    at = AppTest.from_file(APP, default_timeout=120)
    if person is not None:
        at.secrets = {"auth": AUTH}
        at.user = {"is_logged_in": True, "iss": ISSUER, "sub": person, "name": person}
    for name, value in query.items():
        at.query_params[name] = value
    at.run()
    if page is not None:
        at.switch_page(f"pages/{page}.py").run()
    assert not at.exception, at.exception
    return at


def words(at: AppTest) -> str:
    """Everything that is sent as text, without the marks that keep Markdown plain."""
    kinds = (at.markdown, at.caption, at.info, at.warning, at.error, at.success, at.subheader)
    elements = [element.value for kind in kinds for element in kind]
    html = [re.sub(r"<[^>]*>", " ", str(e.proto.body)) for e in at.get("html")]
    return unmarked(unescape("\n".join([*elements, *html])))


def unmarked(text: str) -> str:
    """Markdown without the marks that keep letters as they are."""
    return re.sub(r"\\([^\w\s]|_)", r"\1", text.replace(":small[]", ""))


def table_rows(at: AppTest, k: int = 0) -> list[list[str]]:
    """Cells of a table of the page, row by row, the heading first."""
    tables = [str(e.proto.body) for e in at.get("html") if "models-table" in str(e.proto.body)]
    rows = re.findall(r"<tr.*?</tr>", tables[k], re.DOTALL)
    return [
        [
            " ".join(unescape(re.sub(r"<[^>]*>", " ", cell)).split())
            for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)
        ]
        for row in rows
    ]


def switch_key(name: str) -> str:
    return f"models.switch.{open_set(name).sha256[:12]}"


def put_in_use(name: str, person: str | None = None, **query: str) -> AppTest:
    """Switch as somebody does on the page."""
    at = app("models", person, **query)
    at.selectbox(key=state.CARD_OF).set_value(name).run()
    at.button(key=switch_key(name)).click().run()
    assert not at.exception, at.exception
    return at


def active() -> model_sets.ActiveSet | None:
    with snapshot(store()) as db:
        return model_sets.active(db)


def png(k: int = 0) -> tuple[str, bytes, str]:
    buffer = io.BytesIO()
    Image.fromarray(demo_patches()[k].pixels).save(buffer, format="PNG")
    return f"{k}.png", buffer.getvalue(), "image/png"


def drop(at: AppTest) -> AppTest:
    at.file_uploader[0].set_value([png()]).run()
    assert not at.exception, at.exception
    return at


def cards(at: AppTest) -> dict[str, str]:
    """Value on each score card of Analyse, by method."""
    text = unescape("\n".join(e.value for e in at.markdown)).replace("\n", " ")
    return dict(re.findall(r'data-method="([\w-]+)">.*?<div class="value">(.*?)</div>', text))


def scored_by(name: str) -> PatchResult:
    file, data, _ = png()
    [result] = Scorer.open(name).score([load_patch(data, file)])
    return result


def shown_values(result: PatchResult) -> dict[str, str]:
    return {method: percent(score.value) for method, score in result.scores.items()}


def study_form() -> AppTest:
    """The form of a new study, filled in."""
    at = app("studies", reader="Coord")
    with transaction(store()) as db:
        records.enrol(db, name="Mae")
    at.run()
    next(u for u in at.file_uploader if str(u.key).startswith(state.STUDY_UPLOAD)).set_value(
        [png()]
    ).run()
    at.multiselect(key="studies.readers").set_value(["Mae"]).run()
    at.text_input(key="studies.name").set_value("Trial").run()
    at.radio(key="studies.arm").set_value("before-after").run()
    at.checkbox(key=f"{state.STUDY_SIZES}.1").check().run()
    assert not at.exception, at.exception
    return at
