"""Options that commands which score share, checked before anything heavy is loaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellularity_core.conventions import METHODS, MPP_RANGE
from cellularity_core.messages import complain

if TYPE_CHECKING:
    from cellularity_core.cluster import ClusterScorer
    from cellularity_core.model_store import ModelSet
    from cellularity_core.scorer import Scorer

MAX_VIEWS = 4
"""Test-time views there are; `scorer.VIEWS` without its import."""


class Device(StrEnum):
    """Where networks run."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Precision(StrEnum):
    """What networks multiply on a CPU."""

    AUTO = "auto"
    F32 = "f32"
    BF16 = "bf16"


PrecisionOption = Annotated[
    Precision,
    typer.Option(
        help="What networks multiply on a CPU: single precision, or bfloat16, the default where "
        "the CPU multiplies it. It is faster and moves a score by about 0.001."
    ),
]


class Engine(StrEnum):
    """What the networks run on."""

    LOCAL = "local"
    RAY = "ray"


EngineOption = Annotated[
    Engine, typer.Option(help="Run on this machine, or on the machines of a Ray cluster.")
]

AddressOption = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Head node of the Ray cluster; by default RAY_ADDRESS, or the cluster that this "
        "machine is part of.",
        show_default=False,
    ),
]


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
            f"{mpp} µm/px is not a pixel size of a microscope; expected {MPP_RANGE[0]} to "
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


def check_address(engine: Engine, address: str | None) -> None:
    """Refuse the address of a cluster that is not asked for."""
    if address is not None and engine is not Engine.RAY:
        raise typer.BadParameter(
            "an address is that of a Ray cluster; give --engine ray too.", param_hint="--address"
        )


@contextmanager
def opened_scorer(
    model_set: str,
    device: Device,
    methods: tuple[str, ...] | None,
    views: int | None,
    engine: Engine,
    address: str | None,
    precision: Precision,
) -> Iterator["Scorer | ClusterScorer"]:
    """The scorer that the options ask for, for as long as the block lasts."""
    chosen = _set_with(model_set, methods)
    options: dict[str, Any] = {
        "device": device.value,
        "precision": precision.value,
        "methods": methods,
        "views": views,
    }
    if engine is Engine.LOCAL:
        from cellularity_core.scorer import Scorer

        yield Scorer(chosen, **options)
        return
    from cellularity_core.cluster import ClusterScorer

    with ClusterScorer.connected(address, chosen, tell=complain, **options) as scorer:
        yield scorer


def _set_with(name: str, methods: tuple[str, ...] | None) -> "ModelSet":
    """The model set of a name, if it has the methods."""
    from cellularity_core.model_store import open_set

    known_set(name)
    chosen = open_set(name)
    if not set(methods or ()) <= set(chosen.methods):
        raise typer.BadParameter(
            f"the model set {name!r} has {', '.join(chosen.methods)} only.", param_hint="--models"
        )
    return chosen
