"""The whole plan as one bar: read from the folders of its runs, so a training need not tell."""

import io
import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import TextIO

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn

from cellularity_core.reproduce.estimate import Work


def clock(seconds: float) -> str:
    """A duration for people: ``3 h 05 min``, ``12 min``, ``40 s``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


class PlanProgress(Progress):
    """A bar over all work of a plan with the time left.

    Time left is what the estimate leaves, times how much slower or faster this call
    has been than its estimate so far.
    """

    def __init__(self, works: Sequence[Work], console: Console) -> None:
        self.works = works
        self.total = max(1e-9, sum(work.seconds for work in works))
        self.began = time.perf_counter()
        self.at_start = self.done_seconds()
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} % of the plan"),
            TextColumn("{task.fields[left]}"),
            console=console,
            refresh_per_second=1,
        )
        self.bar = self.add_task("starting", total=self.total, left="")

    def done_seconds(self) -> float:
        """Estimated seconds of all that is done."""
        return sum(work.seconds * work.fraction for work in self.works)

    def left(self) -> float:
        """Seconds left, by the pace of this call."""
        done = self.done_seconds()
        gained = done - self.at_start
        # the estimate is believed until a twentieth of what was left is done
        known = gained > 0.05 * (self.total - self.at_start)
        pace = (time.perf_counter() - self.began) / gained if known else 1.0
        return (self.total - done) * pace

    def skip(self, works: Iterable[Work]) -> None:
        """Take work that will not be done out of the plan."""
        gone = {(work.folder, work.marker) for work in works}
        self.works = [work for work in self.works if (work.folder, work.marker) not in gone]
        self.total = max(1e-9, sum(work.seconds for work in self.works))
        self.update(self.bar, total=self.total)

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar, brought up to date."""
        if hasattr(self, "bar"):
            self.update(self.bar, completed=self.done_seconds(), left=f"{clock(self.left())} left")
        return super().get_renderables()


class LogStream(io.TextIOBase):
    """A text stream whose lines go to a logger: bars and warnings of single trainings."""

    def __init__(self, logger: logging.Logger) -> None:
        self.logger = logger
        self.rest = ""

    def write(self, text: str) -> int:
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            if line.strip():
                self.logger.info("%s", line.rstrip())
        return len(text)

    def isatty(self) -> bool:
        return False


@contextmanager
def quiet_trainings(logger: logging.Logger) -> Iterator[TextIO]:
    """Send what trainings draw on standard error to the log; gives the real stream."""
    real = sys.stderr
    with redirect_stderr(LogStream(logger)):
        yield real
