"""`cellularity slide`, as the command line knows it."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellularity_core.conventions import DEFAULT_SET, METHODS
from cellularity_core.messages import complain, printable, write_json
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
    methods_in,
    opened_scorer,
)

if TYPE_CHECKING:
    from cellularity_core.cluster import ClusterScorer
    from cellularity_core.scorer import Scorer
    from cellularity_core.slides.cohort import Entry


def add_commands(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(slide)
    app.command("bed-coverage")(bed_coverage)


def slide(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE|FOLDER|MANIFEST.csv...",
            help="Slides: SVS, NDPI, MRXS, SCN, tiled TIFF or DICOM; a manifest has the column "
            "slide and, if wanted, mpp and roi.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of results, one in it a slide.")],
    mpp: Annotated[
        float | None,
        typer.Option(
            help="Pixel size in µm/px of the full resolution, of a slide named alone or of those "
            "that state none; by default the file's own.",
            show_default=False,
        ),
    ] = None,
    override_mpp: Annotated[
        bool,
        typer.Option(
            "--override-mpp",
            help="Use --mpp for several slides even where the files state another one; scores of "
            "those are then not relied on.",
        ),
    ] = False,
    roi: Annotated[
        Path | None,
        typer.Option(
            metavar="F.geojson",
            help="Region over which to average too, such as the tumour bed, as QuPath exports it.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option(help="Keep tiles that an earlier run finished, or start again.")
    ] = True,
    any_stain: Annotated[
        bool,
        typer.Option(
            "--any-stain",
            help="Score slides that do not look like H&E too; what is not stays flagged.",
        ),
    ] = False,
    models: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help=f"Methods to run, of {', '.join(METHODS)}; by default all of the model set.",
            show_default=False,
        ),
    ] = None,
    model_set: Annotated[str, typer.Option(help="Trained models to use.")] = DEFAULT_SET,
    device: Annotated[Device, typer.Option(help="Where networks run.")] = Device.AUTO,
    tta: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_VIEWS,
            help="Views of a tile to average; by default the model set's.",
            show_default=False,
        ),
    ] = None,
    precision: PrecisionOption = Precision.AUTO,
    engine: EngineOption = Engine.LOCAL,
    address: AddressOption = None,
) -> None:
    """Score whole slides tile by tile: heat maps, counts, uncertainty, means."""
    asked = methods_in(models)
    check_mpp(mpp)
    if override_mpp and mpp is None:
        raise typer.BadParameter("it needs --mpp.", param_hint="--override-mpp")
    check_address(engine, address)
    _check_paths(inputs, out, roi)
    from cellularity_core.slides.cohort import entries

    slides = list(entries(inputs, mpp, roi, override_mpp))
    if not slides:
        raise typer.BadParameter(
            f"there is no slide in {', '.join(map(str, inputs))}.",
            param_hint="FILE|FOLDER|MANIFEST.csv",
        )
    if roi is not None and len(slides) > 1:
        raise typer.BadParameter(
            f"one region cannot lie on {len(slides)} slides; give one slide, or name the region "
            "of each in a manifest.",
            param_hint="--roi",
        )
    with opened_scorer(model_set, device, asked, tta, engine, address, precision) as scorer:
        summaries, errors = _scored(slides, scorer, out, resume, any_stain)
    if summaries:
        _show(summaries, scorer.methods)
    raise typer.Exit(1 if errors else 0)


def _scored(
    slides: Sequence["Entry"],
    scorer: "Scorer | ClusterScorer",
    out: Path,
    resume: bool,
    any_stain: bool,
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """What `score_slides` returns, with a bar on standard error meanwhile."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from cellularity_core.slides.cohort import score_slides
    from cellularity_core.slides.run import Scoring

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("tiles"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as progress:
        task = progress.add_task("", total=None)
        return score_slides(
            slides,
            Scoring.by(scorer),
            out,
            resume=resume,
            any_stain=any_stain,
            observe=lambda name, done, total: progress.update(
                task, description=printable(name), completed=done, total=total
            ),
            tell=complain,
        )


def bed_coverage(
    fields: Annotated[int, typer.Option(min=10, help="Fields simulated for each length.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulation.")] = 0,
    small: Annotated[
        bool, typer.Option("--small", help="Small beds with few scores instead.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option(help="Figures as JSON; `-` is standard output.")
    ] = None,
) -> None:
    """How often the 95 % interval of a bed's mean cellularity holds it, by simulation."""
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Table

    from cellularity_core.slides.bed_coverage import FIELD_SD, LENGTHS, SHARED, simulate

    with Console(stderr=True).status("simulating"):
        found = list(simulate(fields, seed, small=small))
    if json is not None:
        write_json(
            json,
            {
                "seed": seed,
                "coverage": [
                    asdict(entry) | {"standard_error": entry.standard_error} for entry in found
                ],
            },
        )
        return
    table = Table(
        title="Share of 95 % intervals that hold the mean of the bed (and their median half width)",
        caption=f"{fields} fields of standard deviation {FIELD_SD:g} for each correlation length, "
        f"so that a true 95 % shows within {100 * 1.96 * (0.95 * 0.05 / fields) ** 0.5:.1f} points "
        "of it, 19 times in 20. "
        f"{SHARED:.0%} of the variance of the model's error is common to the bed.",
    )
    for name in ("tiles with a score", "model's error", *(f"{n:g} tiles" for n in LENGTHS)):
        table.add_column(name)
    rows: dict[tuple[str, float], list[str]] = {}
    for entry in found:
        design = f"{entry.design}, of {entry.tiles:,}" if small else entry.design
        cell = f"{entry.covered:.1%} ({entry.half_width:.3f})"
        if entry.unknown:
            cell += f", {entry.unknown} without"
        rows.setdefault((design, entry.model_sd), []).append(cell)
    for (design, sd), cells in rows.items():
        table.add_row(design, f"{sd:g}", *cells)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _check_paths(inputs: Sequence[Path], out: Path, roi: Path | None) -> None:
    for path in inputs:
        if not path.exists():
            raise typer.BadParameter(
                f"there is no {path}; check the path.", param_hint="FILE|FOLDER|MANIFEST.csv"
            )
        if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
            raise typer.BadParameter(
                f"{out} lies in {path}, so what is written would be scored too; choose a folder "
                "elsewhere.",
                param_hint="--out",
            )
    if out.exists() and not out.is_dir():
        raise typer.BadParameter(f"{out} is a file; a folder is needed.", param_hint="--out")
    if roi is not None and not roi.is_file():
        raise typer.BadParameter(f"there is no file {roi}.", param_hint="--roi")


def _show(summaries: Sequence[dict[str, Any]], methods: Sequence[str]) -> None:
    """Means in per cent for a person to read."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    first = summaries[0]
    table = Table(
        caption=f"Mean cellularity over what is fit to score (and its {first['mean_interval']:.0%} "
        f"interval), by model set {first['model_set']}. "
        f"Scale: {first['scale']}. {first['use']}"
    )
    table.add_column("slide", overflow="fold")
    table.add_column("over")
    for name in ("mm2", *methods):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("reliable")
    for summary in summaries:
        for area in ("tissue", "region"):
            found = summary[area]
            if found is None:
                continue
            cells = [printable(summary["slide"]["name"]), area, f"{found['fit_mm2']:.2f}"]
            cells += [
                _told(*(found[k][method] for k in ("mean", "low", "high"))) for method in methods
            ]
            table.add_row(*map(Text, cells), "yes" if summary["reliable"] else "NO")
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _told(mean: float | None, low: float | None, high: float | None) -> str:
    if mean is None:
        return "-"
    return f"{mean:.0%} " + (
        "(unknown)" if low is None or high is None else f"({100 * low:.0f} to {100 * high:.0f})"
    )
