"""A run of `cellularity score`: read, score, write, report."""

import signal
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from cellularity_core.conventions import CLASSES, INTERVAL
from cellularity_core.messages import complain, printable
from cellularity_core.outputs import Targets, Writer
from cellularity_core.patch import Patch, Rejected, collect
from cellularity_core.results import PatchResult, Score

if TYPE_CHECKING:
    from cellularity_core.cluster import ClusterScorer
    from cellularity_core.scorer import Scorer


def run(
    scorer: "Scorer | ClusterScorer",
    inputs: Sequence[Path],
    mpp: float | None,
    targets: Targets,
    methods: tuple[str, ...],
) -> int:
    """Score what is named and write it.

    What is scored is written also where the run ends early, by the first Ctrl-C or by an
    error; the second Ctrl-C ends it at once.

    Parameters
    ----------
    scorer : Scorer or ClusterScorer
    inputs : sequence of Path
        Images, folders, ZIP files or manifests.
    mpp : float or None
        Pixel size of all images, if the user gave one.
    targets : Targets
        What to write; a table is printed where that is nothing.
    methods : tuple of str
        Those the scorer was opened with.

    Returns
    -------
    int
        0, or 1 if something could not be read; it was named on standard error.

    Raises
    ------
    KeyboardInterrupt
        If it was stopped.
    """
    errors: list[tuple[str, str]] = []
    ended: list[BaseException] = []
    waiting: deque[npt.NDArray[np.uint8] | None] = deque()
    rows: list[tuple[str, ...]] = []
    show = not targets.files() and not targets.folders()
    draw = targets.draws
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.completed} patches scored, {task.fields[rate]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with progress, _asked_to_stop() as asked, Writer(targets, methods) as writer:
        task = progress.add_task("score", total=None, rate="")
        patches = _read(inputs, mpp, errors, waiting, draw, _own(targets, inputs))
        count = 0
        results = _until_stopped(scorer.score(patches, maps=draw), asked, ended)
        for count, result in enumerate(results, 1):
            writer.add(result, waiting.popleft())
            if show:
                rows.append(_table_row(result, methods))
            elapsed = progress.tasks[0].elapsed or 0.0
            progress.update(
                task, completed=count, rate=f"{count / elapsed:.1f} a second" if elapsed else ""
            )
        if ended and not count:
            raise ended[0]
        if ended:
            reason = f"The run was stopped after {count} patches; the others are not scored."
            errors.append(("(the run)", reason))
            complain(reason)
        model_set = scorer.model_set
        writer.finish(
            errors,
            model_set=model_set.name,
            model_sha256=model_set.sha256,
            scale=model_set.scale,
        )
    if rows:
        _print_table(rows, methods, model_set.name, model_set.scale)
    if ended:
        raise ended[0]
    return 1 if errors else 0


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """Set by the first Ctrl-C, which ends nothing by itself; the second does as ever."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(*_: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _until_stopped(
    results: Iterable[PatchResult], asked: threading.Event, ended: list[BaseException]
) -> Iterator[PatchResult]:
    """Results until the last one; what ends them before goes to `ended`."""
    try:
        for result in results:
            if asked.is_set():
                ended.append(KeyboardInterrupt())
                return
            yield result
    except Exception as error:
        ended.append(error)


def _own(targets: Targets, inputs: Sequence[Path]) -> set[str]:
    """Names that output files have where they lie in a folder that is scored."""
    return {
        file.resolve().relative_to(folder.resolve()).as_posix()
        for file in targets.files().values()
        for folder in inputs
        if folder.is_dir() and file.resolve().is_relative_to(folder.resolve())
    }


def _read(
    inputs: Sequence[Path],
    mpp: float | None,
    errors: list[tuple[str, str]],
    waiting: deque[npt.NDArray[np.uint8] | None],
    keep: bool,
    own: set[str],
) -> Iterator[Patch]:
    """Patches as they are read; files that cannot be read go to `errors`.

    Pixels of patches on their way through the scorer wait in `waiting`, None
    where nothing is drawn on them. What an earlier run wrote (`own`) is no error.
    """
    for item in collect(inputs, mpp):
        if isinstance(item, Rejected):
            if item.name in own:
                continue
            errors.append((item.name, item.reason))
            complain(item.reason)
        else:
            waiting.append(item.pixels if keep else None)
            yield item


def _table_row(result: PatchResult, methods: Sequence[str]) -> tuple[str, ...]:
    counts = result.nuclei.counts()
    return (
        printable(result.image),
        *(_percent(result.scores[method]) for method in methods),
        *(str(count) for count in counts.values()),
        ", ".join(flag.replace("-", " ") for flag in result.quality.flags) or "-",
        "yes" if result.quality.reliable else "NO",
    )


def _percent(score: Score) -> str:
    if score.value is None or score.low is None or score.high is None:
        return "-"
    return f"{score.value:.0%} ({score.low:.0%}-{score.high:.0%})"


def _print_table(
    rows: Sequence[tuple[str, ...]], methods: Sequence[str], model_set: str, scale: str
) -> None:
    """Scores in per cent for a person to read."""
    table = Table(
        caption=f"Cellularity with its {INTERVAL:.0%} interval and nuclei found, by model set "
        f"{model_set}. Scale: {scale}. Research use only.",
    )
    table.add_column("image", overflow="fold")
    kinds: dict[str, Any] = {"justify": "right", "no_wrap": True}
    for name in (*methods, *CLASSES):
        table.add_column(name, **kinds)
    table.add_column("flags")
    table.add_column("reliable")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
