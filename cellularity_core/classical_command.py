"""``cellularity train classical``."""

from pathlib import Path
from typing import Annotated

import typer


def train_classical(
    data: Annotated[
        list[str],
        typer.Option(
            "--data", help="KIND:FOLDER with KIND brca-m2c, ucsb or breastpathq; may be repeated."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the trained peer.")],
    fold: Annotated[
        int | None,
        typer.Option("--fold", help="Hold this fold's patients out; all patients without it."),
    ] = None,
    folds: Annotated[int, typer.Option("--folds", min=2, help="Folds, by patient.")] = 3,
    seed: Annotated[int, typer.Option("--seed", help="Of the inner split.")] = 0,
) -> None:
    """Train the classical peer: outlined nuclei, hand-made features, SVM, areas."""
    from cellularity_core import datasets
    from cellularity_core.classical.training import train
    from cellularity_core.errors import DataError
    from cellularity_core.training.images import load_images

    samples = [sample for spec in data for sample in datasets.load(spec)]
    if fold is not None:
        if not 0 <= fold < folds:
            raise DataError(f"There is no fold {fold} of {folds}; give 0 to {folds - 1}.")
        of = datasets.patient_folds(samples, folds, seed)
        samples = [s for s, f in zip(samples, of, strict=True) if f != fold]
    train(load_images(datasets.without_test(samples)), seed=seed, out=out)
