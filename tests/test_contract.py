"""What holds across modules: imports, dependencies, versions, promises of the README."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
INSTALL = "python -m pip install -r requirements.txt && python -m streamlit run app.py"
TEST = "python -m pip install -r requirements.txt -r requirements-dev.txt && python -m pytest"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def lines(name: str) -> list[str]:
    """Lines of a requirements file that are not comments."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def ranges(name: str) -> list[str]:
    return [line for line in lines(name) if not line.startswith("-")]


def normal(requirement: str) -> str:
    """Distribution's name in the one spelling that PEP 503 gives it."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match, requirement
    return re.sub(r"[-_.]+", "-", match.group()).lower()


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in a new process after `statement`."""
    code = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def test_imports_go_one_way() -> None:
    run = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"Contracts: [4-9] kept, 0 broken", run.stdout), run.stdout


def aliases(tree: ast.Module, what: str) -> set[str]:
    """Names that are assigned exactly `what`."""
    pairs: list[tuple[ast.expr, ast.expr]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            [target, *_], value = node.targets, node.value
            both = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
            pairs += zip(target.elts, value.elts, strict=False) if both else [(target, value)]
    return {ast.unparse(name) for name, value in pairs if ast.unparse(value) == what}


def test_nothing_of_the_session_is_looked_up_while_records_are_written() -> None:
    """Streamlit breaks a run off there when a click waits, and what was written is undone."""
    found, seen = [], 0
    for path in sorted((ROOT / "pages").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        session = {"st", "state", "access"} | aliases(tree, "st.session_state")
        for node in ast.walk(tree):
            if isinstance(node, ast.With) and "transaction(" in ast.unparse(node.items[0]):
                seen += 1
                for part in [inner for line in node.body for inner in ast.walk(line)]:
                    if isinstance(part, ast.Name) and part.id in session:
                        found.append(f"{path.name}, line {part.lineno}: {part.id}")
    assert seen > 10
    assert found == []


def test_the_entry_imports_neither_sql_nor_networks() -> None:
    tree = ast.parse((ROOT / "app.py").read_text(encoding="utf-8"))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    allowed = {"streamlit", "pages", "db", "cellularity_core", *sys.stdlib_module_names}
    assert names <= allowed, names - allowed


@pytest.mark.parametrize(
    "statement",
    [
        "import cellularity_core.scorer",
        "import cellularity_core.cli",
        "from cellularity_core.cli import main; assert main(['score', '--help']) == 0",
    ],
)
def test_scoring_loads_no_training_framework(statement: str) -> None:
    heavy = {"torch", "torchvision", "timm", "segmentation_models_pytorch", "shap"}
    assert loaded_by(statement) & (heavy | {"streamlit", "sqlalchemy"}) == set()


def test_the_help_loads_nothing_heavy() -> None:
    heavy = {"torch", "cv2", "scipy", "skimage", "openvino", "lightgbm", "pandas", "sklearn"}
    assert (
        loaded_by("from cellularity_core.cli import main; assert main(['--help']) == 0") & heavy
        == set()
    )


def test_requirements_and_project_name_the_same_ranges() -> None:
    assert sorted(ranges("requirements.txt")) == sorted(PROJECT["project"]["dependencies"])
    assert "-e ." in lines("requirements.txt")


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_requirement_has_a_tested_version(name: str) -> None:
    assert "-c constraints.txt" in lines(name)
    pinned = {normal(line) for line in lines("constraints.txt")}
    assert {normal(line) for line in ranges(name)} <= pinned


def test_constraints_are_exact_and_portable() -> None:
    for line in lines("constraints.txt"):
        assert re.fullmatch(r"[a-z0-9._-]+==[0-9][0-9a-z.]*", line), line
        assert not line.startswith(("nvidia-", "cuda-", "triton")), line


def test_the_whole_resolved_set_is_pinned() -> None:
    """Every distribution that ours needs, however indirectly, has its version."""
    pinned = {normal(line) for line in lines("constraints.txt")}
    waiting = [
        normal(line) for line in (*ranges("requirements.txt"), *ranges("requirements-dev.txt"))
    ]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen or name.startswith(("nvidia-", "cuda-", "triton")):
            continue
        seen.add(name)
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # of another platform
        waiting += [normal(need) for need in needs if "extra ==" not in need]
    installed = {normal(entry.metadata["Name"]) for entry in importlib.metadata.distributions()}
    assert (seen & installed) - pinned == set()
    assert len(seen & installed) > 80


def test_opencv_comes_without_a_screen() -> None:
    pinned = [normal(line) for line in lines("constraints.txt") if line.startswith("opencv")]
    assert pinned == ["opencv-python-headless"]
    needing = {
        normal(entry.metadata["Name"])
        for entry in importlib.metadata.distributions()
        for need in entry.requires or ()
        if normal(need) in ("opencv-python", "opencv-contrib-python") and "extra ==" not in need
    }
    assert needing == set()


def test_readme_gives_the_commands_that_ci_runs() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert INSTALL in readme
    assert TEST in readme
    assert f"test_command='{TEST}'" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_command_is_installed_under_its_name() -> None:
    assert PROJECT["project"]["scripts"] == {"cellularity": "cellularity_core.cli:main"}
    assert PROJECT["project"]["requires-python"] == ">=3.11,<3.14"
    python = "Programming Language :: Python :: "
    named = [
        name[len(python) :] for name in PROJECT["project"]["classifiers"] if name.startswith(python)
    ]
    assert named == ["3.11", "3.12", "3.13"]  # each was tried, and the README says so
