"""`cellularity agreement` and its like, as the command line knows them.

Beside the package and not in it, so that help is shown without loading it.
"""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cellularity_core.messages import complain


class IntervalKind(StrEnum):
    """How intervals are made, where there is a choice."""

    AUTO = "auto"
    CLOSED = "closed"
    BOOTSTRAP = "bootstrap"


def add_commands(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(agreement)


def agreement(
    ratings: Annotated[
        Path,
        typer.Argument(
            metavar="RATINGS.csv",
            help="Columns case_id, reader, score, and if wanted patient_id, kind (reader or "
            "model), repeat, cannot_score, read_at.",
            show_default=False,
        ),
    ],
    json: Annotated[
        Path | None, typer.Option(help="Every figure as JSON; `-` is standard output.")
    ] = None,
    percent: Annotated[bool, typer.Option("--percent", help="Scores are 0 to 100.")] = False,
    intervals: Annotated[
        IntervalKind,
        typer.Option(
            help="Closed forms, or the bootstrap by patient; auto takes the bootstrap where a "
            "patient has several cases."
        ),
    ] = IntervalKind.AUTO,
) -> None:
    """Agreement of readers with each other and with models, with 95 % intervals."""
    if not ratings.is_file():
        raise typer.BadParameter(f"there is no file {ratings}.", param_hint="RATINGS.csv")
    from cellularity_core import export
    from cellularity_core.agreement.display import show_report
    from cellularity_core.agreement.ratings import RatingTable
    from cellularity_core.agreement.report import agreement_report, to_json
    from cellularity_core.outputs import STDOUT

    table = RatingTable.read(ratings, percent=percent)
    if table.ignored:
        complain(f"columns that mean nothing here are left out: {', '.join(table.ignored)}")
    report = agreement_report(table, intervals=intervals.value)
    if json is None:
        show_report(report)
        return
    text = export.json_text({"software": export.SOFTWARE} | to_json(report))
    if json == STDOUT:
        sys.stdout.write(text)
    else:
        json.write_text(text, encoding="utf-8")
