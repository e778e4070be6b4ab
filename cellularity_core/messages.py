"""What a command says: lines on standard error, and JSON where it was asked for."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def printable(text: str) -> str:
    """`text` without what a terminal would act on."""
    return "".join(c if c.isprintable() else "?" for c in text)


def complain(message: str) -> None:
    """Say one line on standard error, in the program's name."""
    sys.stderr.write(f"cellularity: {printable(message)}\n")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content`, with the software's version, to a file or (`-`) standard output."""
    from cellularity_core import export
    from cellularity_core.outputs import STDOUT

    text = export.json_text({"software": export.SOFTWARE} | dict(content))
    if path == STDOUT:
        sys.stdout.write(text)
    else:
        path.write_text(text, encoding="utf-8")
