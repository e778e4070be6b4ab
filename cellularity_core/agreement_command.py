"""`cellularity agreement` and its like, as the command line knows them.

Beside the package and not in it, so that help is shown without loading it.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cellularity_core.messages import complain, write_json


class IntervalKind(StrEnum):
    """How intervals are made, where there is a choice."""

    AUTO = "auto"
    CLOSED = "closed"
    BOOTSTRAP = "bootstrap"


def add_commands(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(agreement)
    app.command("agreement-coverage")(agreement_coverage)


def agreement(
    ratings: Annotated[
        Path,
        typer.Argument(
            metavar="RATINGS.csv",
            help="Columns case_id, reader, score, and if wanted patient_id, kind (reader or "
            "model), repeat (0 or empty is the first read), cannot_score, read_at.",
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
            help="Closed forms and the jackknife, or the bootstrap by patient; auto takes the "
            "bootstrap where a patient has several cases."
        ),
    ] = IntervalKind.AUTO,
) -> None:
    """Agreement of readers with each other and with models, with 95 % intervals."""
    if not ratings.is_file():
        raise typer.BadParameter(f"there is no file {ratings}.", param_hint="RATINGS.csv")
    from cellularity_core.agreement.display import show_report
    from cellularity_core.agreement.ratings import RatingTable
    from cellularity_core.agreement.report import agreement_report, to_json

    table = RatingTable.read(ratings, percent=percent)
    if table.ignored:
        complain(f"columns that mean nothing here are left out: {', '.join(table.ignored)}")
    report = agreement_report(table, intervals=intervals.value)
    if json is None:
        show_report(report)
        return
    write_json(json, to_json(report))


def agreement_coverage(
    draws: Annotated[int, typer.Option(min=100, help="Tables simulated for each setting.")] = 4000,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulation.")] = 0,
    patients: Annotated[
        bool, typer.Option("--patients", help="Patients have several cases.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option(help="Figures as JSON; `-` is standard output.")
    ] = None,
) -> None:
    """How often the 95 % intervals of agreement hold the truth, by simulation."""
    from dataclasses import asdict

    from rich.console import Console

    from cellularity_core.agreement import coverage, coverage_patients
    from cellularity_core.agreement.display import show_coverage

    simulate = coverage_patients.simulate if patients else coverage.simulate
    found: list[coverage.Coverage] = []
    with Console(stderr=True).status("simulating") as status:
        for entry in simulate(draws, seed):
            found.append(entry)
            status.update(f"{entry.setting} reader variance")
    if json is None:
        show_coverage(found)
        return
    write_json(json, {"seed": seed, "coverage": [asdict(entry) for entry in found]})
