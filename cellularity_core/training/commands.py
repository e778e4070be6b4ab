"""``cellularity train ...``: every training as a command."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellularity_core.classical_command import train_classical

if TYPE_CHECKING:
    from cellularity_core.training.plan import Plan

Data = Annotated[
    list[str],
    typer.Option(
        "--data", help="KIND:FOLDER with KIND brca-m2c, ucsb or breastpathq; may be repeated."
    ),
]
Out = Annotated[Path, typer.Option("--out", help="Folder of the whole plan; stages share it.")]
RecipeName = Annotated[
    str,
    typer.Option(
        "--recipe", help="Name of a recipe (a wrong one lists them), or path of a TOML file."
    ),
]
Fold = Annotated[
    int | None,
    typer.Option("--fold", help="Hold this fold's patients out; all patients without it."),
]
Folds = Annotated[int, typer.Option("--folds", min=2, help="Folds, by patient.")]
Seed = Annotated[int, typer.Option("--seed", help="Of everything random.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where a run stopped.")]
Scale = Annotated[
    float, typer.Option("--epochs-scale", min=0.0, help="Multiplies the recipe's epochs.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Bf16 = Annotated[
    bool,
    typer.Option("--bf16", help="bfloat16 on a CPU that multiplies it; always used on CUDA."),
]
Threads = Annotated[int, typer.Option("--threads", min=0, help="Cores; 0 is all.")]


def add_commands(app: typer.Typer) -> None:
    """Register ``train`` and its subcommands."""
    train = typer.Typer(no_args_is_help=True, help="Train networks and make model sets.")
    train.command("segmentation")(train_segmentation)
    train.command("gbt")(train_gbt)
    train.command("cascade")(train_cascade)
    train.command("direct")(train_direct)
    train.command("set")(train_set)
    train.command("ablation")(train_ablation)
    train.command("classical")(train_classical)
    app.add_typer(train, name="train")


def _plan(
    data: list[str],
    out: Path,
    recipe: str,
    folds: int,
    seed: int,
    resume: bool,
    epochs_scale: float,
    device: str,
    bf16: bool,
    threads: int,
    *,
    needs: Sequence[str],
    starts: Sequence[str] = (),
) -> "Plan":
    """The plan; `needs` are parts of the recipe, `starts` those whose networks are begun."""
    import cv2
    import torch

    from cellularity_core.threads import usable_cores
    from cellularity_core.training.loop import Compute
    from cellularity_core.training.plan import Plan, check_graded
    from cellularity_core.training.recipes import recipe as named

    # Before data are read, which can take minutes.
    chosen = named(recipe)
    for part in needs:
        chosen.needed(getattr(chosen, part), part)
    if starts:
        chosen.check_starts(*starts)
    torch.set_num_threads(threads or usable_cores())
    cv2.setNumThreads(1)
    plan = Plan(
        out=out,
        data=data,
        recipe_name=recipe,
        compute=Compute.choose(device, True if bf16 else None),
        folds=folds,
        seed=seed,
        resume=resume,
        epochs_scale=epochs_scale,
    )
    if list(needs) != ["segmentation"]:
        check_graded(plan)
    return plan


def train_segmentation(
    data: Data,
    out: Out,
    recipe: RecipeName = "breast-1",
    fold: Fold = None,
    folds: Folds = 3,
    seed: Seed = 0,
    resume: Resume = False,
    epochs_scale: Scale = 1.0,
    device: Device = "auto",
    bf16: Bf16 = False,
    threads: Threads = 0,
) -> None:
    """Train the nuclei segmentation of one fold, or of all patients."""
    from cellularity_core.training import plan as stages

    plan = _plan(
        data,
        out,
        recipe,
        folds,
        seed,
        resume,
        epochs_scale,
        device,
        bf16,
        threads,
        needs=["segmentation"],
        starts=["segmentation"],
    )
    stages.segmentation_stage(plan, fold)


def train_gbt(
    data: Data,
    out: Out,
    recipe: RecipeName = "breast-1",
    folds: Folds = 3,
    seed: Seed = 0,
    device: Device = "auto",
    bf16: Bf16 = False,
    threads: Threads = 0,
) -> None:
    """Train the boosted trees on maps of the fold segmentations; choose nuclei thresholds."""
    from cellularity_core.training import plan as stages

    plan = _plan(
        data,
        out,
        recipe,
        folds,
        seed,
        True,
        1.0,
        device,
        bf16,
        threads,
        needs=["segmentation", "boosting"],
    )
    stages.maps_stage(plan)
    stages.boosting_stage(plan)
    stages.nuclei_stage(plan)


def train_cascade(
    data: Data,
    out: Out,
    recipe: RecipeName = "breast-1",
    fold: Fold = None,
    folds: Folds = 3,
    seed: Seed = 0,
    resume: Resume = False,
    epochs_scale: Scale = 1.0,
    device: Device = "auto",
    bf16: Bf16 = False,
    threads: Threads = 0,
) -> None:
    """Train the cascade on the segmentation and maps in the same folder, both phases."""
    from cellularity_core.training import plan as stages

    plan = _plan(
        data,
        out,
        recipe,
        folds,
        seed,
        resume,
        epochs_scale,
        device,
        bf16,
        threads,
        needs=["segmentation", "cascade"],
        starts=["cascade"],
    )
    stages.maps_stage(plan)
    stages.cascade_stage(plan, fold)


def train_direct(
    data: Data,
    out: Out,
    head: Annotated[
        str | None,
        typer.Option(
            "--head",
            help="regression (R) or classification (C); by default the recipe's, R of both.",
        ),
    ] = None,
    recipe: RecipeName = "breast-1",
    fold: Fold = None,
    folds: Folds = 3,
    seed: Seed = 0,
    resume: Resume = False,
    epochs_scale: Scale = 1.0,
    device: Device = "auto",
    bf16: Bf16 = False,
    threads: Threads = 0,
) -> None:
    """Train a direct network; fields named by the segmentation of the folder help it."""
    from cellularity_core.errors import ModelError
    from cellularity_core.training import plan as stages
    from cellularity_core.training import recipes

    if head is not None and head not in stages.HEADS:
        raise ModelError(f"There is no head '{head}'; choose {' or '.join(stages.HEADS)}.")
    head = stages.head_of(recipes.recipe(recipe), head)
    part = "direct" if head == "regression" else "direct_classes"
    plan = _plan(
        data,
        out,
        recipe,
        folds,
        seed,
        resume,
        epochs_scale,
        device,
        bf16,
        threads,
        needs=[part],
        starts=[part],
    )
    stages.direct_stage(plan, head, fold)


def train_set(
    data: Data,
    out: Out,
    models: Annotated[Path, typer.Option("--models", help="Folder of the finished model set.")],
    recipe: RecipeName = "breast-1",
    folds: Folds = 3,
    seed: Seed = 0,
    resume: Resume = False,
    epochs_scale: Scale = 1.0,
    views: Annotated[int, typer.Option("--views", min=1, max=4, help="Test-time views.")] = 1,
    device: Device = "auto",
    bf16: Bf16 = False,
    threads: Threads = 0,
) -> None:
    """Train every stage and write the model set with its cards."""
    from cellularity_core.training import plan as stages
    from cellularity_core.training.assemble import assemble

    parts = ["segmentation", "boosting", "cascade", "direct", "direct_classes"]
    plan = _plan(
        data,
        out,
        recipe,
        folds,
        seed,
        resume,
        epochs_scale,
        device,
        bf16,
        threads,
        needs=parts,
        starts=parts,
    )
    every = (*range(folds), None)
    for fold in every:
        stages.segmentation_stage(plan, fold)
    stages.maps_stage(plan)
    for fold in every:
        stages.cascade_stage(plan, fold)
        for head in stages.HEADS:
            stages.direct_stage(plan, head, fold)
    assemble(plan, models, views=views)


def train_ablation(
    data: Data,
    out: Out,
    trial: Annotated[
        list[str] | None,
        typer.Option("--trial", help="Of those the recipe names; may be repeated; all by default."),
    ] = None,
    recipe: RecipeName = "breast-1",
    folds: Folds = 3,
    seed: Seed = 0,
    epochs_scale: Scale = 1.0,
    device: Device = "auto",
    bf16: Bf16 = False,
    threads: Threads = 0,
) -> None:
    """Train a recipe with one ingredient left out or changed, and measure it on the same folds.

    What is trained already in --out is kept. Figures go into its trials.json, for the card that
    'train set' writes.
    """
    from cellularity_core.errors import ModelError
    from cellularity_core.training import ablation
    from cellularity_core.training.recipes import trials

    named = {one.name: one for one in trials(recipe)}
    if not named:
        raise ModelError(
            f"The recipe '{recipe}' names no trials; add tables [[trials]] to it, as in breast-1."
        )
    if strange := [name for name in trial or () if name not in named]:
        raise ModelError(
            f"The recipe '{recipe}' has no trial '{strange[0]}'; choose of {', '.join(named)}."
        )
    chosen = [named[name] for name in dict.fromkeys(trial or named)]
    for one in chosen:
        one.recipe.check_starts()
    parts = ["segmentation", "boosting", "cascade", "direct", "direct_classes"]
    plan = _plan(
        data, out, recipe, folds, seed, True, epochs_scale, device, bf16, threads, needs=parts
    )
    for one in chosen:
        rows = ablation.measure_trial(plan, one)
        ablation.keep_rows(plan, list(named.values()), rows)
        typer.echo("\n".join(ablation.table(rows)))
