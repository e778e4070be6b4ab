"""Writers of one process take turns at an SQLite file, first come, first served.

SQLite lets whoever asks next after a commit write, and lets the others ask again after
growing pauses: of forty threads some would wait for many seconds. Here a process asks
with one thread at a time.
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """A lock that is handed over in the order of asking."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._holder: int | None = None

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting)

    @contextmanager
    def mine(self, seconds: float) -> Iterator[None]:
        """Wait for the turn, at most so long, and hold it.

        Raises
        ------
        TimeoutError
            If the turn did not come.
        RuntimeError
            If this thread holds it already and would wait for itself.
        """
        self._take(seconds)
        try:
            yield
        finally:
            self._leave()

    def _take(self, seconds: float) -> None:
        me = threading.get_ident()
        with self._mutex:
            if self._holder is None:
                self._holder = me
                return
            if self._holder == me:
                raise RuntimeError("a writing transaction inside another one waits for itself")
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        has_come = turn.acquire(timeout=seconds)
        with self._mutex:
            if not has_come and turn in self._waiting:
                self._waiting.remove(turn)
                raise TimeoutError
            self._holder = me

    def _leave(self) -> None:
        with self._mutex:
            if self._waiting:
                self._holder = -1  # handed over; the next says who it is once it wakes
                self._waiting.popleft().release()
            else:
                self._holder = None


_turns: dict[str, Turns] = {}
_turns_mutex = threading.Lock()


def turns_at(place: str) -> Turns:
    """The turns of that file, the same for all threads of this process."""
    with _turns_mutex:
        return _turns.setdefault(place, Turns())
