"""The app with records of its own, patches dropped on it, and what it says."""

import io
import re
from collections.abc import Iterator
from functools import cache
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from cellularity_core.patch import Patch, load_patch
from cellularity_core.results import PatchResult
from cellularity_core.scorer import Scorer
from cellularity_core.synthetic import demo_patches
from pages.parts import reader, scoring

APP = str(Path(__file__).resolve().parent.parent / "app.py")
File = tuple[str, bytes, str]


@pytest.fixture
def fresh_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test has records of its own."""
    monkeypatch.setenv("CELLULARITY_DB", str(tmp_path / "pages.db"))
    reader.store.clear()
    yield
    reader.store().dispose()
    reader.store.clear()


@pytest.fixture
def own_records(fresh_records: None) -> None:
    """Every test has records and caches of its own."""
    scoring.forget()


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
