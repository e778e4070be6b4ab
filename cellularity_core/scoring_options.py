"""Options that commands which score share, checked before anything heavy is loaded."""

from enum import StrEnum
from typing import TYPE_CHECKING

import typer

from cellularity_core.conventions import METHODS, MPP_RANGE

if TYPE_CHECKING:
    from cellularity_core.scorer import Scorer

MAX_VIEWS = 4
"""Test-time views there are; `scorer.VIEWS` without its import."""


class Device(StrEnum):
    """Where networks run."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


def methods_in(text: str | None) -> tuple[str, ...] | None:
    """Methods named in a list with commas, in the order of `METHODS`; None for None."""
    if text is None:
        return None
    asked = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in asked if name not in METHODS]
    if unknown or not asked:
        raise typer.BadParameter(
            f"got {text!r}; expected names among {', '.join(METHODS)}, with commas between.",
            param_hint="--models",
        )
    return tuple(name for name in METHODS if name in asked)


def check_mpp(mpp: float | None) -> None:
    """Refuse a pixel size that no microscope has."""
    if mpp is not None and not MPP_RANGE[0] <= mpp <= MPP_RANGE[1]:
        raise typer.BadParameter(
            f"{mpp} um/px is not a pixel size of a microscope; expected {MPP_RANGE[0]} to "
            f"{MPP_RANGE[1]}, 0.5 being usual at 20x.",
            param_hint="--mpp",
        )


def known_set(name: str) -> None:
    """Refuse a model set that is not there."""
    from cellularity_core.model_store import available

    if name not in available():
        raise typer.BadParameter(
            f"there is no model set {name!r}; there is {', '.join(available()) or 'none'}.",
            param_hint="--model-set",
        )


def open_scorer(
    model_set: str, device: Device, methods: tuple[str, ...] | None, views: int | None
) -> "Scorer":
    """The scorer that the options ask for."""
    from cellularity_core.model_store import open_set

    known_set(model_set)
    held = open_set(model_set).methods
    if not set(methods or ()) <= set(held):
        raise typer.BadParameter(
            f"the model set {model_set!r} has {', '.join(held)} only.", param_hint="--models"
        )
    from cellularity_core.scorer import Scorer

    return Scorer.open(model_set, device=device.value, methods=methods, views=views)
