"""``cellularity reproduce``: plan, estimate, train what is not done, measure, report."""

import logging
import shlex
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout
from rich.console import Console

from cellularity_core.errors import CellularityError, DataError
from cellularity_core.reproduce.estimate import Timings, Work, without_repeats, works
from cellularity_core.reproduce.learning import Recipes, Runner
from cellularity_core.reproduce.material import Material, gather
from cellularity_core.reproduce.outcome import Outcome, measured, recipe_of
from cellularity_core.reproduce.progress import PlanProgress, clock, quiet_trainings
from cellularity_core.reproduce.results import Provenance, write_results
from cellularity_core.reproduce.rows import Row
from cellularity_core.reproduce.show import show_estimate
from cellularity_core.reproduce.weights import encoders_of, unavailable
from cellularity_core.training.loop import Compute
from cellularity_core.training.recipes import recipe

log = logging.getLogger("cellularity_core.reproduce")

LOG_FILE: Final = "log.txt"
LOCK_FILE: Final = ".lock"
DATA_LIST: Final = "data.csv"
NO_WEIGHTS: Final = "not run: weights unavailable"


@dataclass(frozen=True, slots=True)
class Request:
    """What to reproduce, and how.

    Attributes
    ----------
    data : sequence of str
        ``KIND:FOLDER`` each.
    out : Path
    rows : sequence of Row
    compute : Compute
    epochs_scale : float
        Multiplies the epochs of every recipe.
    folds, fold_limit : int
        Folds by patient, and how many of them are held out in turn.
    seed : int
    recipes : callable
        Name to recipe.
    without : callable
        Encoders to those whose weights cannot be had, and why.
    """

    data: Sequence[str]
    out: Path
    rows: Sequence[Row]
    compute: Compute
    epochs_scale: float = 1.0
    folds: int = 3
    fold_limit: int = 1
    seed: int = 0
    recipes: Recipes = recipe
    without: Callable[[Collection[str]], dict[str, str]] = field(default=unavailable)

    def command(self, row: Row | None = None) -> str:
        """The command line of the whole plan, or of one row of it."""
        words = ["cellularity", "reproduce"]
        for spec in self.data:
            words += ["--data", spec]
        words += ["--out", str(self.out), "--epochs-scale", f"{self.epochs_scale:g}"]
        words += ["--folds", str(self.folds), "--fold-limit", str(self.fold_limit)]
        words += ["--seed", str(self.seed), "--device", self.compute.device.type]
        if self.compute.bf16 and self.compute.device.type == "cpu":
            words.append("--bf16")
        names = [row.name] if row else [one.name for one in self.rows]
        return shlex.join([*words, "--rows", ",".join(names)])


def reproduce(request: Request, *, only_estimate: bool = False) -> int:
    """Carry out a plan, going on where an earlier call stopped.

    Parameters
    ----------
    request : Request
    only_estimate : bool
        Print how long the plan takes, on standard output, and train nothing.

    Returns
    -------
    int
        0, or 1 where a row failed. A row whose weights cannot be had has not failed.

    Raises
    ------
    CellularityError
        If the data cannot be used, or the folder holds a plan of other data or settings or
        is being worked in.
    """
    request.out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(request.out / LOCK_FILE)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise DataError(
            f"Another reproduction is at work in '{request.out}'; wait until it has ended, or "
            "choose another folder with --out."
        ) from None
    try:
        return _logged(request, only_estimate)
    finally:
        lock.release()


def _logged(request: Request, only_estimate: bool) -> int:
    handler = logging.FileHandler(request.out / LOG_FILE, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    package = logging.getLogger("cellularity_core")
    level = package.level
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    try:
        return _carry_out(request, only_estimate)
    finally:
        package.setLevel(level)
        package.removeHandler(handler)
        handler.close()


def _carry_out(request: Request, only_estimate: bool) -> int:
    log.info("command: %s", request.command())
    material = gather(
        request.data, folds=request.folds, fold_limit=request.fold_limit, seed=request.seed
    )
    _keep_data_list(request.out / DATA_LIST, material)
    runner = Runner(
        material,
        request.out,
        request.compute,
        request.seed,
        request.epochs_scale,
        request.recipes,
    )
    outcomes = _of_other_settings(request, runner)
    waiting = [
        row for row in request.rows if row.name not in outcomes and not _is_done(runner, row)
    ]
    outcomes |= _without_weights(request, runner, waiting)
    todo = [row for row in waiting if row.name not in outcomes]
    console = Console() if only_estimate else Console(stderr=True)
    planned = _estimate(runner, todo, Timings(request.compute), console)
    show_estimate(
        console,
        [work for found in planned.values() for work in found],
        [row.name for row in request.rows if row not in waiting and row.name not in outcomes],
        {name: one.reason for name, one in outcomes.items()},
        [name for name, found in planned.items() if not found],
    )
    if only_estimate:
        return 0
    _train(request, runner, todo, planned, outcomes)
    for row in request.rows:
        if row.name not in outcomes:
            outcomes[row.name] = _measure(request, runner, row)
    ordered = [outcomes[row.name] for row in request.rows]
    provenance = Provenance(
        command=request.command(),
        seed=request.seed,
        epochs_scale=request.epochs_scale,
        folds=request.folds,
        compute=request.compute,
        data_list=request.out / DATA_LIST,
    )
    write_results(request.out, runner, ordered, provenance)
    failed = [one.row.name for one in ordered if one.status == "failed"]
    for one in ordered:
        if one.status != "done":
            console.print(f"{one.row.name}: {one.reason}", markup=False, highlight=False)
    console.print(f"report: {request.out / 'report.html'}", markup=False, highlight=False)
    return 1 if failed else 0


def _is_done(runner: Runner, row: Row) -> bool:
    return all(runner.is_done(row, split) for split in runner.material.splits)


def _of_other_settings(request: Request, runner: Runner) -> dict[str, Outcome]:
    """Rows whose folder holds a run that this plan would not make."""
    outcomes = {}
    for row in request.rows:
        try:
            for split in runner.material.splits:
                runner.claim(row, split)
        except CellularityError as error:
            outcomes[row.name] = _failed(request, row, error)
    return outcomes


def _keep_data_list(path: Path, material: Material) -> None:
    """Write the list of the data, or refuse a folder whose runs saw other data."""
    text = material.data_list()
    if not path.exists():
        path.write_text(text, encoding="utf-8")
    elif path.read_text(encoding="utf-8") != text:
        raise DataError(
            f"'{path.parent}' holds a plan of other data, folds or seed; choose another folder "
            "with --out."
        )


def _without_weights(request: Request, runner: Runner, rows: Sequence[Row]) -> dict[str, Outcome]:
    """Rows that cannot start because weights are not to be had."""
    wanted: dict[str, set[str]] = {}
    for row in rows:
        names = [row.name] if row.kind != "classical" else []
        names += [row.segmentation] if row.segmentation else []
        try:
            wanted[row.name] = {e for name in names for e in encoders_of(request.recipes(name))}
        except CellularityError:
            wanted[row.name] = set()  # the row itself will tell
    missing = request.without(set().union(*wanted.values()) if wanted else set())
    for encoder, reason in missing.items():
        log.warning("weights of %s: %s", encoder, reason)
    outcomes = {}
    for row in rows:
        reasons = [missing[e] for e in sorted(wanted[row.name]) if e in missing]
        if reasons:
            outcomes[row.name] = Outcome(
                row,
                "not run",
                f"{NO_WEIGHTS} ({reasons[0]})",
                recipe=recipe_of(runner, row),
                command=request.command(row),
            )
    return outcomes


def _estimate(
    runner: Runner, rows: Sequence[Row], timings: Timings, console: Console
) -> dict[str, list[Work]]:
    """Work of each row that is not done; a row that cannot be estimated will tell when run."""
    planned: dict[str, list[Work]] = {}
    with console.status("timing one step of each kind of network"):
        for row in rows:
            try:
                planned[row.name] = [
                    work
                    for split in runner.material.splits
                    for work in works(runner, row, split, timings)
                ]
            except Exception:
                log.exception("%s cannot be estimated", row.name)
                planned[row.name] = []
    return planned


def _train(
    request: Request,
    runner: Runner,
    rows: Sequence[Row],
    planned: dict[str, list[Work]],
    outcomes: dict[str, Outcome],
) -> None:
    every = without_repeats([work for found in planned.values() for work in found])
    with (
        quiet_trainings(log) as stream,
        PlanProgress(every, Console(file=stream)) as progress,
    ):
        for place, row in enumerate(rows, 1):
            progress.update(progress.bar, description=row.name)
            note = f"{row.name} ({place} of {len(rows)}), {clock(progress.left())} left"
            progress.console.print(note, markup=False, highlight=False)
            log.info("%s begins", row.name)
            try:
                for split in runner.material.splits:
                    runner.run(row, split)
                log.info("%s is done", row.name)
            except Exception as error:
                outcomes[row.name] = _failed(request, row, error)
                progress.skip(planned[row.name])


def _measure(request: Request, runner: Runner, row: Row) -> Outcome:
    try:
        return measured(runner, row, runner.material.splits, request.command(row))
    except Exception as error:
        return _failed(request, row, error)


def _failed(request: Request, row: Row, error: Exception) -> Outcome:
    """What went wrong in a sentence; the log has where."""
    if isinstance(error, CellularityError):
        log.error("%s failed: %s", row.name, error)
        reason = str(error)
    else:
        log.error("%s failed", row.name, exc_info=error)
        reason = f"{type(error).__name__}: {error} (see {LOG_FILE})"
    return Outcome(row, "failed", reason, command=request.command(row))
