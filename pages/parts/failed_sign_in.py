"""Failed sign-ins into the audit trail: those that the sign-in service or Streamlit refused.

They end in Streamlit's server before a page is run; all that tells of them is its log.
Anybody can ask for the address where they end, so few are written, and the others counted.
"""

import logging
from threading import Lock, Thread
from time import monotonic
from typing import Any, Final

from db import records
from db.errors import RecordError
from db.session import transaction

SOURCE: Final = "streamlit.web.server.starlette.starlette_auth_routes"
"""Logger of the routes of signing in."""

PAUSE: Final = 10.0
"""Seconds from one event to the next; what fails in between is told with the next."""

LENGTH: Final = 200
"""Letters kept of a reason, which comes from outside."""


_NO_SIGN_IN: Final = "Missing provider for OAuth callback"
"""What is logged when the service sends somebody back who signed out, or a stale page does."""


class _Watch(logging.Handler):
    """Keeps what is logged as an event."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.engine: Any = None
        self.writing: Thread | None = None
        self._lock = Lock()
        self._last: float | None = None
        self._others = 0

    def forget(self, *, keep_count: bool = False) -> None:
        """Let the next be written at once; for tests."""
        self._last = None
        if not keep_count:
            self._others = 0

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith(_NO_SIGN_IN):
            return
        with self._lock:
            if self._last is not None and monotonic() - self._last < PAUSE:
                self._others += 1
                return
            self._last, others, self._others = monotonic(), self._others, 0
        why = " ".join(record.getMessage().split())[:LENGTH]
        if others:
            why += f" ({others} more since the event before)"
        # The server must not wait for the records.
        self.writing = Thread(target=self._keep, args=(why,), daemon=True)
        self.writing.start()

    def _keep(self, why: str) -> None:
        if self.engine is None:
            return
        try:
            with transaction(self.engine) as db:
                records.fail_sign_in(db, why=why)
        except RecordError as error:
            logging.getLogger(__name__).error("A failed sign-in was not recorded: %s", error)


def watch(engine: Any) -> _Watch:
    """Keep failed sign-ins in the records of `engine` from now on."""
    log = logging.getLogger(SOURCE)
    found = next((h for h in log.handlers if isinstance(h, _Watch)), None)
    if found is None:
        found = _Watch()
        log.addHandler(found)
    found.engine = engine
    return found
