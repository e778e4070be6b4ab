"""Micrometres are µm wherever somebody reads them."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
UM = re.compile(r"(?<![A-Za-z_])um(?![A-Za-z_])")
KEPT = {
    "cellularity_core/classical/features.py",  # names of features
    "cellularity_core/export/geometry.py",  # a measurement's name in GeoJSON
    "cellularity_core/pixel_size.py",  # a unit as image files write it
    "cellularity_core/reproduce/shifts.py",  # keys in results
    "cellularity_core/slides/run.py",  # a fact by which a folder knows its run
    "cellularity_core/training/cards.py",  # the cards of breast-1, byte for byte
}
"""Files in which "um" is part of what other files hold."""


def sentences(path: Path) -> list[str]:
    """Strings of a file that are no documentation of it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in documentation
    ]


def test_only_what_files_hold_says_um() -> None:
    paths = [
        path for part in ("cellularity_core", "db", "pages") for path in (ROOT / part).rglob("*.py")
    ]
    found = {
        path.relative_to(ROOT).as_posix()
        for path in paths
        if any(UM.search(text) for text in sentences(path))
    }
    assert found == KEPT
