"""Turns, first come, first served: threads of one process at what one at a time may use.

SQLite lets whoever asks next after a commit write, and lets the others ask again after
growing pauses: of forty threads some would wait for many seconds. Here a process asks
with one thread at a time. Sessions that score take turns at their models in the same way.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

EVERY: Final = 0.2
"""Seconds between two times that who waits is told their place."""


class Turns:
    """A lock that is handed over in the order of asking."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._holder: int | None = None
        self.taken = 0
        """How often somebody had the turn."""

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting)

    @property
    def is_mine(self) -> bool:
        """Whether this thread holds the turn."""
        return self._holder == threading.get_ident()

    @contextmanager
    def mine(
        self, seconds: float = math.inf, tell: Callable[[int], object] | None = None
    ) -> Iterator[None]:
        """Wait for the turn, at most so long, and hold it.

        Parameters
        ----------
        seconds : float
            With 0 the turn is had at once or not at all.
        tell : callable, optional
            Told a few times a second, while the turn has not come, how many come before,
            with the one whose turn it is. What it raises ends the waiting.

        Raises
        ------
        TimeoutError
            If the turn did not come.
        RuntimeError
            If this thread holds it already and would wait for itself.
        """
        self._take(seconds, tell)
        self.taken += 1
        try:
            yield
        finally:
            with self._mutex:
                self._hand_over()

    def _take(self, seconds: float, tell: Callable[[int], object] | None) -> None:
        me = threading.get_ident()
        with self._mutex:
            if self._holder is None:
                self._holder = me
                return
            if self._holder == me:
                raise RuntimeError("who holds the turn and asks for it again waits for itself")
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        try:
            self._wait(turn, seconds, tell)
        except BaseException:
            with self._mutex:
                if turn in self._waiting:
                    self._waiting.remove(turn)
                else:  # it came at the last moment
                    self._hand_over()
            raise
        self._holder = me

    def _wait(
        self, turn: threading.Lock, seconds: float, tell: Callable[[int], object] | None
    ) -> None:
        until = time.monotonic() + seconds
        while not turn.acquire(timeout=max(0.0, min(EVERY, until - time.monotonic()))):
            if time.monotonic() >= until:
                raise TimeoutError
            if tell is not None:
                tell(self._before(turn))

    def _before(self, turn: threading.Lock) -> int:
        with self._mutex:
            return self._waiting.index(turn) + 1 if turn in self._waiting else 0

    def _hand_over(self) -> None:
        if self._waiting:
            self._holder = -1  # the next says who it is once it wakes
            self._waiting.popleft().release()
        else:
            self._holder = None


_turns: dict[str, Turns] = {}
_turns_mutex = threading.Lock()


def turns_at(place: str) -> Turns:
    """The turns of that file, the same for all threads of this process."""
    with _turns_mutex:
        return _turns.setdefault(place, Turns())
