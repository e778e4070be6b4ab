"""What SECURITY.md promises and the code alone can show: see there for the other tests."""

import ast
import io
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from streamlit import config
from streamlit.testing.v1 import AppTest

from cellularity_core.export import png
from cellularity_core.patch import Patch, load_patch
from db import readers, session
from db.errors import RecordError
from pages.parts.markdown import plain

FOLDERS = ("cellularity_core", "db", "pages")
SHIPPED = [ROOT / "app.py", *(path for f in FOLDERS for path in sorted((ROOT / f).rglob("*.py")))]
SCRIPTS = sorted((ROOT / "pages" / "parts" / "js").glob("*.js"))

UNPICKLING = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
EVALUATING = {"eval", "exec", "os.system", "os.popen", "yaml.load", "pd.read_pickle"}
MARKED = "Patient 4711"


def nodes() -> Iterator[tuple[Path, ast.AST]]:
    for path in SHIPPED:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield path.relative_to(ROOT), node


def keyword(call: ast.Call, name: str) -> str | None:
    return next((ast.unparse(k.value) for k in call.keywords if k.arg == name), None)


def faults(tree: ast.AST) -> list[str]:
    """What of one piece of code would run what it reads."""
    if isinstance(tree, ast.Import):
        return [a.name for a in tree.names if a.name.split(".")[0] in UNPICKLING]
    if isinstance(tree, ast.ImportFrom):
        return [tree.module or ""] if (tree.module or "").split(".")[0] in UNPICKLING else []
    if not isinstance(tree, ast.Call):
        return []
    called = ast.unparse(tree.func)
    is_fault = (
        called in EVALUATING
        or (called == "torch.load" and keyword(tree, "weights_only") != "True")
        or (called in ("np.load", "numpy.load") and keyword(tree, "allow_pickle") != "False")
        or keyword(tree, "allow_pickle") == "True"
        or keyword(tree, "shell") == "True"
    )
    return [called] if is_fault else []


def test_nothing_shipped_unpickles_or_executes_what_it_reads() -> None:
    assert len(SHIPPED) > 100
    assert [(str(path), found) for path, node in nodes() for found in faults(node)] == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "eval(text)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_what_would_be_found(code: str) -> None:
    assert any(faults(node) for node in ast.walk(ast.parse(code)))


def test_html_of_pages_holds_no_name_that_is_not_escaped() -> None:
    """Only these files write HTML; `escape` stands in each that puts text into it."""
    writing = {
        path.as_posix()
        for path, node in nodes()
        if isinstance(node, ast.Call)
        and (ast.unparse(node.func) == "st.html" or keyword(node, "unsafe_allow_html") == "True")
    }
    assert writing == {
        "pages/parts/frame.py",
        "pages/parts/models_tables.py",
        "pages/parts/score_cards.py",
    }
    for path in writing - {"pages/parts/frame.py"}:
        assert "from html import escape" in (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "script", sorted((ROOT / "pages/parts/js").glob("*.js")), ids=lambda p: p.name
)
def test_scripts_write_text_and_never_html(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert way not in text


def test_the_server_is_set_up_against_other_sites() -> None:
    """Forged requests are refused, nothing of the disk is served, errors show no details."""
    given = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert given["server"] == {
        "address": "127.0.0.1",
        "showEmailPrompt": False,
        "maxUploadSize": 200,
        "enableXsrfProtection": True,
        "enableCORS": True,
        "xsrfCookieSameSite": "lax",
        "enableStaticServing": False,
    }
    assert given["client"] == {
        "toolbarMode": "minimal",
        "showErrorDetails": "none",
        "showErrorLinks": "false",
        "showSidebarNavigation": False,
        "disableDataExport": True,
        "allowedOrigins": [],
    }
    known = config.get_config_options()
    assert all(
        f"{part}.{name}" in known for part in given for name in given[part] if part != "theme"
    )


def test_personal_data_of_a_file_reach_no_copy() -> None:
    """EXIF, comments and thumbnails stay behind: only pixels, size and name go on."""
    pixels = np.random.default_rng(3).integers(0, 255, (64, 64, 3), np.uint8)
    exif = Image.Exif()
    exif[270], exif[315] = MARKED, MARKED
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", exif=exif, comment=MARKED.encode())
    assert data.getvalue().count(MARKED.encode()) == 3
    patch = load_patch(data.getvalue(), "a.jpg")
    assert isinstance(patch, Patch)
    assert MARKED not in repr(patch)
    assert MARKED.encode() not in png(patch.pixels)


def test_a_database_that_refuses_does_not_tell_the_password() -> None:
    url = session.database_url("postgresql+psycopg://kim:s3cr3t@127.0.0.1:9/cells")
    engine = session.connect(url)
    with pytest.raises(RecordError) as told, session.transaction(engine) as db:
        readers.enrol(db, name="Kim")
    assert "s3cr3t" not in str(told.value)
    assert "127.0.0.1:9/cells" in str(told.value)


def test_a_name_in_an_error_loads_and_links_nothing() -> None:
    """A picture in Markdown would be fetched from where it says, and tell who looks."""

    def page() -> None:
        from db.errors import RecordError
        from pages.parts import frame

        def fail() -> None:
            raise RecordError("No study is called “![](https://x.example/a.png) <b>[a](b)”.")

        with frame.frame():
            frame.show(fail)

    at = AppTest.from_function(page, default_timeout=30).run()
    assert at.error[0].value == plain(
        "No study is called “![](https://x.example/a.png) <b>[a](b)”."
    )
