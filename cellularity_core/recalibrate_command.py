"""`cellularity recalibrate`, as the command line knows it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellularity_core.messages import complain, printable

if TYPE_CHECKING:
    from cellularity_core.recalibration import Recalibration


def add_commands(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(recalibrate)


def recalibrate(
    model_set: Annotated[
        str, typer.Argument(metavar="MODEL_SET", help="Set to start from.", show_default=False)
    ],
    scores: Annotated[
        Path,
        typer.Option(
            metavar="F.csv",
            help="Columns image and score, and if wanted patient and mpp: patches that one "
            "reader scored.",
        ),
    ],
    out: Annotated[str, typer.Option(metavar="NAME", help="Name of the new set.")],
    images: Annotated[
        Path | None,
        typer.Option(help="Folder from which images are named; that of the CSV by default."),
    ] = None,
    percent: Annotated[bool, typer.Option("--percent", help="Scores are 0 to 100.")] = False,
    scale_name: Annotated[
        str | None, typer.Option(help="Reader or site whose scale it is; NAME by default.")
    ] = None,
    half_width: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=0.5,
            help="Also say how many patients an interval of +- this much needs (0 to 1).",
        ),
    ] = None,
    models_root: Annotated[
        Path | None, typer.Option(help="Folder of the model sets; the installed ones by default.")
    ] = None,
) -> None:
    """Map a set's scores to a reader's scale, from a few patches that this reader scored."""
    if not scores.is_file():
        raise typer.BadParameter(f"there is no file {scores}.", param_hint="--scores")
    if images is not None and not images.is_dir():
        raise typer.BadParameter(f"there is no folder {images}.", param_hint="--images")
    from cellularity_core import recalibration as work
    from cellularity_core.model_store import default_root, open_set
    from cellularity_core.readings import Readings
    from cellularity_core.recalibration_card import UNKNOWN, about_sizes, card, gaps
    from cellularity_core.scorer import Scorer

    root = models_root or default_root()
    work.check_name(out, root)
    scale = work.scale_of(scale_name or out)
    source = open_set(model_set, root)
    work.check_source(source)
    readings = Readings.read(scores, images=images, percent=percent)
    if readings.ignored:
        complain(f"columns that mean nothing here are left out: {', '.join(readings.ignored)}")
    if not readings.names_patients:
        complain("patients are not all named; a patch without one counts as a patient of its own")
    made = work.recalibrate(Scorer(source, methods=source.methods), readings, scale)
    for image, why in made.left_out:
        complain(f"{image} is left out: {why}")
    if source.learnt_from is None:
        complain(UNKNOWN)
    if made.assumed:
        complain(about_sizes(made))
    for sentence in gaps(made.methods):
        complain(sentence)
    folder = work.write_set(made, out, card(made, out, half_width), root)
    _show(made, out, folder, half_width)


def _show(made: "Recalibration", name: str, folder: Path, wanted: float | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from cellularity_core.recalibration_card import need

    table = Table(
        caption=f"Against {made.scale}, {made.patches} patches of {made.patients} patients; after: "
        "each patient by the map of the others."
    )
    for column in ("method", "ICC before", "after", "MSE before", "after", "90 % interval"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for method, one in made.methods.items():
        cells = [
            f"{figures[key][0]:.{digits}f}"
            for key, digits in (("icc_a1", 3), ("mse", 4))
            for figures in (one.before, one.after)
        ]
        table.add_row(method, *cells, f"+-{100 * one.interval.half_width:.0f} points")
    console = Console(width=None if Console().is_terminal else 160)
    console.print(table)
    console.print(Text("Half width by patients scored:"))
    for line in need(made.methods, wanted):
        console.print(Text(f"  {line}"))
    console.print(Text(printable(f"The set '{name}' is in {folder}; its scale is {made.scale}.")))
