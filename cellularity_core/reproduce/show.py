"""How long a plan takes, on a terminal."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from cellularity_core.reproduce.estimate import Work, without_repeats
from cellularity_core.reproduce.progress import clock


def show_estimate(
    console: Console,
    found: Sequence[Work],
    done: Sequence[str],
    unavailable: Mapping[str, str],
    untimed: Sequence[str] = (),
) -> None:
    """Print the time of each kind of work, and what is done or cannot be.

    Parameters
    ----------
    console : Console
    found : sequence of Work
        Of all rows that can be run, with repeats.
    done : sequence of str
        Rows that are done.
    unavailable : mapping
        Rows that will not be run, and why.
    untimed : sequence of str
        Rows that will be run and could not be timed.
    """
    every = without_repeats(found)
    table = Table("work", "runs", "epochs", "time", "of it done")
    for what in dict.fromkeys(work.what for work in every):
        same = [work for work in every if work.what == what]
        table.add_row(
            what,
            str(len(same)),
            str(sum(work.epochs for work in same)) if any(w.epochs for w in same) else "",
            clock(sum(work.seconds for work in same)),
            f"{100 * _done(same):.0f} %",
        )
    if every:
        console.print(table)
    left = sum(work.seconds * (1 - work.fraction) for work in every)
    console.print(
        f"Estimated time left on this machine: {left / 3600:.2f} h ({clock(left)}).",
        highlight=False,
    )
    if untimed:
        console.print(
            f"Without {', '.join(untimed)}, which could not be timed (the log says why).",
            markup=False,
            highlight=False,
        )
    if done:
        console.print(f"Done already: {', '.join(done)}.", markup=False, highlight=False)
    for reason in dict.fromkeys(unavailable.values()):
        names = [name for name, why in unavailable.items() if why == reason]
        console.print(f"{', '.join(names)}: {reason}", markup=False, highlight=False)


def _done(works: Sequence[Work]) -> float:
    total = sum(work.seconds for work in works)
    if not total:
        return float(all(work.fraction == 1 for work in works))
    return sum(work.seconds * work.fraction for work in works) / total
