"""The `cellularity` command.

Exit codes: 0 done, 1 something failed (other files were scored), 2 wrong usage,
130 interrupted. Results go to files or standard output, messages to standard
error. What is heavy is imported when a command runs, and torch by no command
that only scores on a CPU.
"""

import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellularity_core import __version__
from cellularity_core.agreement_command import add_commands as add_agreement
from cellularity_core.conventions import DEFAULT_MPP, DEFAULT_SET, METHODS
from cellularity_core.errors import CellularityError
from cellularity_core.messages import complain
from cellularity_core.rcb_command import add_commands as add_rcb
from cellularity_core.recalibrate_command import add_commands as add_recalibrate
from cellularity_core.reproduce_command import add_commands as add_reproduce
from cellularity_core.scoring_options import (
    MAX_VIEWS,
    AddressOption,
    Device,
    Engine,
    EngineOption,
    Precision,
    PrecisionOption,
    check_address,
    check_mpp,
    known_set,
    methods_in,
    opened_scorer,
)
from cellularity_core.slide_command import add_commands as add_slide

if TYPE_CHECKING:
    from cellularity_core.outputs import Targets

DEBUG = "CELLULARITY_DEBUG"
"""Environment variable that shows the traceback of an unexpected error."""

TABLE_ENDINGS = (".csv", ".parquet")

WITHOUT_TRAINING = (
    "score",
    "slide",
    "bed-coverage",
    "bench",
    "agreement",
    "agreement-coverage",
    "recalibrate",
    "rcb",
    "--version",
)
"""Commands that never load the training package."""


class Against(StrEnum):
    """What `bench` compares with."""

    NAIVE = "naive"
    PEERS = "peers"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; those of the process by default.

    Returns
    -------
    int
        The exit code.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        _build(arguments)(args=arguments, prog_name="cellularity")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        return 130
    except CellularityError as error:
        complain(str(error))
    except OSError as error:
        if os.environ.get(DEBUG):
            raise
        complain(f"{error.strerror}: {error.filename}" if error.filename else str(error))
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        complain(
            f"Something unexpected happened ({type(error).__name__}: {error}). "
            f"Run again with {DEBUG}=1 for the details, and report them."
        )
    return 1


def _build(arguments: Sequence[str]) -> typer.Typer:
    """The application; with the training commands where they may be called for."""
    app = typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Residual breast tumour cellularity of H&E patches. Research use only.",
    )
    app.callback()(_options)
    app.command()(score)
    app.command()(bench)
    add_slide(app)
    add_agreement(app)
    add_recalibrate(app)
    add_rcb(app)
    add_reproduce(app)
    if not arguments or arguments[0] not in WITHOUT_TRAINING:
        from cellularity_core.training.commands import add_commands

        add_commands(app)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cellularity {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Options of the program itself."""


def score(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE|FOLDER|ZIP|MANIFEST.csv...", help="What to score.", show_default=False
        ),
    ],
    json: Annotated[Path | None, typer.Option(help="Everything but maps, as JSON.")] = None,
    parquet: Annotated[
        Path | None, typer.Option(help="Scores and the 81 features, a row a patch.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Scores, a row a patch.")] = None,
    nuclei: Annotated[
        Path | None, typer.Option(help="Nuclei as CSV, in pixels of the image as given.")
    ] = None,
    geojson: Annotated[
        Path | None,
        typer.Option(help="Folder for nuclei and class areas as GeoJSON (QuPath), a file a patch."),
    ] = None,
    overlay: Annotated[
        Path | None, typer.Option(help="Folder for class areas drawn over each patch.")
    ] = None,
    ome_tiff: Annotated[
        Path | None,
        typer.Option(help="Folder for OME-TIFF: each patch and its class maps as channels."),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            metavar="F.csv|F.parquet",
            help="The 81 features and the share of each in the score (SHAP), a row a patch.",
        ),
    ] = None,
    pdf: Annotated[
        Path | None,
        typer.Option(help="A page a patch: pictures, scores, nuclei and reasons, as PDF."),
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help=f"Methods to run, of {', '.join(METHODS)}; by default all of the model set.",
            show_default=False,
        ),
    ] = None,
    model_set: Annotated[str, typer.Option(help="Trained models to use.")] = DEFAULT_SET,
    mpp: Annotated[
        float | None,
        typer.Option(
            help="Pixel size in µm/px of every image; by default the file's own, "
            f"or {DEFAULT_MPP} where it has none.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[Device, typer.Option(help="Where networks run.")] = Device.AUTO,
    tta: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_VIEWS,
            help="Views of a patch to average; by default the model set's.",
            show_default=False,
        ),
    ] = None,
    precision: PrecisionOption = Precision.AUTO,
    engine: EngineOption = Engine.LOCAL,
    address: AddressOption = None,
) -> None:
    """Score patches; a file of `-` is standard output, none at all prints a table."""
    asked = methods_in(models)
    check_mpp(mpp)
    check_address(engine, address)
    targets = _targets(
        json=json,
        parquet=parquet,
        csv=csv,
        nuclei=nuclei,
        features=features,
        pdf=pdf,
        geojson=geojson,
        overlay=overlay,
        ome_tiff=ome_tiff,
    )
    if not any(map(_holds_files, inputs)):
        raise typer.BadParameter(
            f"there is no file in {', '.join(map(str, inputs))}; give images, or folders, ZIP "
            "files or manifests of images.",
            param_hint="IMAGE|FOLDER|ZIP|MANIFEST.csv",
        )
    for name, folder in targets.folders().items():
        around = [path for path in inputs if folder.resolve().is_relative_to(path.resolve())]
        if around:
            raise typer.BadParameter(
                f"{folder} lies in {around[0]}, so what is written would be scored too; "
                "choose a folder elsewhere.",
                param_hint=_option(name),
            )
    with opened_scorer(model_set, device, asked, tta, engine, address, precision) as scorer:
        from cellularity_core import batch

        code = batch.run(scorer, inputs, mpp, targets, scorer.methods)
    raise typer.Exit(code)


def bench(
    against: Annotated[
        Against | None,
        typer.Option(help="Also run the obvious pipeline, or the networks of other software."),
    ] = None,
    slides: Annotated[
        bool, typer.Option("--slides", help="Also score made-up whole slides; takes minutes.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option(help="Figures as JSON; `-` is standard output.")
    ] = None,
    model_set: Annotated[str, typer.Option(help="Trained models to use.")] = DEFAULT_SET,
) -> None:
    """Measure speed and memory on this machine, each ratio within one run."""
    from cellularity_core import bench as measure

    known_set(model_set)
    measure.run(
        model_set=model_set,
        naive=against is Against.NAIVE,
        peers=against is Against.PEERS,
        slides=slides,
        json_path=json,
    )


def _targets(**paths: Path | None) -> "Targets":
    """What to write, checked before any work is done."""
    from cellularity_core.outputs import STDOUT, Targets

    targets = Targets(**paths)
    files = targets.files()
    for name, path in files.items():
        if list(files.values()).count(path) > 1:
            raise typer.BadParameter(
                f"{path} is named for more than one output; give each its own.",
                param_hint=_option(name),
            )
        if path != STDOUT and (path.is_dir() or not path.parent.is_dir()):
            raise typer.BadParameter(
                f"{path} cannot be written: it is a folder, or lies in one that does not exist.",
                param_hint=_option(name),
            )
    table = targets.features
    if table is not None and table != STDOUT and table.suffix.lower() not in TABLE_ENDINGS:
        raise typer.BadParameter(
            f"{table} has to end in {' or '.join(TABLE_ENDINGS)}, which says what to write.",
            param_hint="--features",
        )
    for name, path in targets.folders().items():
        if path.exists() and not path.is_dir():
            raise typer.BadParameter(
                f"{path} is a file; a folder is needed.", param_hint=_option(name)
            )
    return targets


def _option(name: str) -> str:
    """A parameter's name as it is typed."""
    return f"--{name.replace('_', '-')}"


def _holds_files(path: Path) -> bool:
    """Whether there is anything to read at `path`."""
    return path.is_file() or any(inner.is_file() for inner in path.rglob("*"))
