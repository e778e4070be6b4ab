"""``cellularity reproduce`` and ``cellularity evaluate``, as the command line knows them.

Beside the package and not in it, so that help is shown without loading it.
"""

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    list[str],
    typer.Option(
        "--data", help="KIND:FOLDER with KIND brca-m2c, ucsb or breastpathq; may be repeated."
    ),
]


def add_commands(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(reproduce)
    app.command()(evaluate)


def reproduce(
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder of the runs and the report.")],
    epochs_scale: Annotated[
        float, typer.Option("--epochs-scale", min=0.0, help="Multiplies the recipes' epochs.")
    ] = 1.0,
    rows: Annotated[
        str, typer.Option("--rows", metavar="NAME,...", help="Rows to make; all by default.")
    ] = "",
    folds: Annotated[
        int, typer.Option("--folds", min=2, help="Folds by patient, without published splits.")
    ] = 3,
    fold_limit: Annotated[
        int,
        typer.Option(
            "--fold-limit", min=1, help="Folds held out in turn; the number of folds is all."
        ),
    ] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything random.")] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    bf16: Annotated[
        bool,
        typer.Option("--bf16", help="bfloat16 on a CPU that multiplies it; always used on CUDA."),
    ] = False,
    threads: Annotated[int, typer.Option("--threads", min=0, help="Cores; 0 is all.")] = 0,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Say how long it takes, and stop.")
    ] = False,
) -> None:
    """Train and measure every row of the paper's tables; go on where a call stopped."""
    import cv2
    import torch

    from cellularity_core.reproduce.rows import select
    from cellularity_core.reproduce.run import Request
    from cellularity_core.reproduce.run import reproduce as carry_out
    from cellularity_core.threads import usable_cores
    from cellularity_core.training.loop import Compute

    chosen = select([name.strip() for name in rows.split(",") if name.strip()])
    torch.set_num_threads(threads or usable_cores())
    cv2.setNumThreads(1)
    request = Request(
        data=data,
        out=out,
        rows=chosen,
        compute=Compute.choose(device, True if bf16 else None),
        epochs_scale=epochs_scale,
        folds=folds,
        fold_limit=fold_limit,
        seed=seed,
    )
    raise typer.Exit(carry_out(request, only_estimate=estimate))


def evaluate(
    model_set: Annotated[
        str, typer.Argument(metavar="MODEL_SET", help="Name of a model set.", show_default=False)
    ],
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder of the report.")],
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    views: Annotated[
        int | None,
        typer.Option(
            "--tta",
            min=1,
            max=4,
            help="Views to average; by default the set's.",
            show_default=False,
        ),
    ] = None,
    shifts: Annotated[
        bool,
        typer.Option(
            "--shifts",
            help="Also measure what other arithmetic, glass and a smaller field do to scores.",
        ),
    ] = False,
) -> None:
    """Score a data set with a model set and compare with its truth."""
    from cellularity_core.reproduce.evaluate import evaluate as carry_out
    from cellularity_core.scorer import Scorer

    scorer = Scorer.open(model_set, device=device, views=views)
    carry_out(scorer, data, out, with_shifts=shifts)
