"""The app as `streamlit run app.py` starts it, with a file that says what it holds.

Started by `load.py`; the app itself knows nothing of it.
"""

import atexit
import gc
import json
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any, Final

from streamlit.web import cli

from cellularity_core.scorer import Scorer

EVERY: Final = 5.0
"""Seconds between two looks."""


def watch(file: Path) -> None:
    """Write, every few seconds and at the end, how many scorers and threads there are."""
    opened: weakref.WeakSet[Scorer] = weakref.WeakSet()
    made = 0
    one = threading.Lock()
    begin = Scorer.__init__

    def counted(self: Scorer, *args: Any, **kwargs: Any) -> None:
        nonlocal made
        begin(self, *args, **kwargs)
        opened.add(self)
        made += 1

    Scorer.__init__ = counted  # type: ignore[method-assign]

    def tell() -> None:
        held = {
            "scorers": len(opened),
            "made": made,
            "threads": threading.active_count(),
            "collections": gc.get_stats()[-1]["collections"],
        }
        with one:
            whole = file.with_suffix(".new")
            whole.write_text(json.dumps(held), encoding="utf-8")
            whole.replace(file)

    def go_on() -> None:
        while True:
            time.sleep(EVERY)
            tell()

    threading.Thread(target=go_on, daemon=True).start()
    atexit.register(tell)


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
    sys.argv = ["streamlit", "run", *sys.argv[2:]]
    cli.main()
