"""`cellularity rcb`, as the command line knows it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellularity_core.messages import printable, write_json

if TYPE_CHECKING:
    from cellularity_core.slides.burden import Source

_LOWER = "Lower limit of the 95 % interval of --ca, per cent; with --ca-high."


def add_commands(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(rcb)


def rcb(
    d1: Annotated[float, typer.Option(metavar="MM", help="First dimension of the tumour bed, mm.")],
    d2: Annotated[float, typer.Option(metavar="MM", help="Second dimension, mm.")],
    cis: Annotated[
        float, typer.Option(metavar="PCT", help="Share of that cancer that is in situ, per cent.")
    ],
    nodes: Annotated[int, typer.Option(metavar="N", help="Positive lymph nodes.")],
    met: Annotated[
        float, typer.Option(metavar="MM", help="Diameter of the largest metastasis, mm.")
    ],
    ca: Annotated[
        float | None,
        typer.Option(
            metavar="PCT",
            help="Cancer cellularity, the mean over the bed, per cent; or --slide.",
            show_default=False,
        ),
    ] = None,
    ca_low: Annotated[float | None, typer.Option(metavar="PCT", help=_LOWER)] = None,
    ca_high: Annotated[
        float | None, typer.Option(metavar="PCT", help="Upper limit; with --ca-low.")
    ] = None,
    slide: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="SUMMARY.json",
            help="Cellularity and its interval from the region of a slide, scored on a reader's "
            "scale; once for each slide of the case, averaged by area.",
        ),
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="Whose scores of the slide; by default the combined ones.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="The result as JSON; `-` is standard output.")
    ] = None,
) -> None:
    """Residual Cancer Burden, with the interval of the cellularity carried through."""
    if (ca_low is None) != (ca_high is None):
        raise typer.BadParameter("give both limits, or neither.", param_hint="--ca-low --ca-high")
    if (ca is None) == (not slide) or (slide and ca_low is not None):
        raise typer.BadParameter(
            "give the cellularity, or a slide that it comes from.", param_hint="--ca --slide"
        )
    from dataclasses import asdict

    from cellularity_core.errors import DataError
    from cellularity_core.rcb import Burden, sentences, to_json
    from cellularity_core.rcb import rcb as index_of

    sources: tuple[Source, ...] = ()
    limits = None if ca_low is None or ca_high is None else (ca_low, ca_high)
    if slide:
        from cellularity_core.slides.burden import bed_cellularity

        bed = bed_cellularity(slide, method)
        ca, limits, sources = bed.mean, bed.limits, bed.sources
    try:
        found = index_of(Burden(d1, d2, ca or 0.0, cis, nodes, met), limits, bool(slide))
    except DataError as error:
        raise typer.BadParameter(str(error)) from None
    if json is not None:
        write_json(json, to_json(found) | {"sources": [asdict(source) for source in sources]})
        return
    told = [line for source in sources for line in (source.sentence(), *source.notes)]
    for line in (*sentences(found), *told):
        typer.echo(printable(line))
