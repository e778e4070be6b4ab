"""Training of the direct networks "R" and "C" (METHODS 5)."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cellularity_core.agreement import icc_a1, mse
from cellularity_core.errors import ModelError
from cellularity_core.networks import create
from cellularity_core.networks.direct import HALF, Direct
from cellularity_core.resample import resample
from cellularity_core.training.augmentation import jitter_stain, random_view
from cellularity_core.training.images import Loaded, batch_count, data_checksum, view_batches
from cellularity_core.training.loop import (
    BEST,
    CHOOSING,
    Compute,
    Schedule,
    fit,
    load_weights,
    save_weights,
    weights_checksum,
)
from cellularity_core.training.losses import level_loss, place_loss
from cellularity_core.training.places import patch_score
from cellularity_core.training.recipes import Direct as Settings
from cellularity_core.training.targets import PLACE, patch_target, place_targets, trust, view_target

WHOLE_UM: Final = 240.0
"""Side of a view that is nearly a whole patch of 512 pixels at 0.5 um/px, um."""

ENCODER: Final = "encoder."
"""Before the names of a segmentation's tensors that a direct network can take."""


def train_direct(
    training: Sequence[Loaded],
    validation: Sequence[Loaded],
    settings: Settings,
    *,
    out: Path,
    compute: Compute,
    seed: int = 0,
    resume: bool = False,
    epochs_scale: float = 1.0,
    choosing: Sequence[Loaded] | None = None,
    start: Path | None = None,
) -> nn.Module:
    """Train a direct network and leave ``best.pt`` and ``log.csv`` in `out`.

    Parameters and return value are those of `segmentation.train_segmentation`;
    every item needs a score, points, or a benign field.
    """
    description = network_description(settings)
    torch.manual_seed(seed)
    model = create({**description, "frozen": settings.frozen}, settings.init)
    assert isinstance(model, Direct)
    if start is not None:
        take_encoder(model, start)

    def make(index: int, rng: np.random.Generator, side: int) -> tuple[npt.NDArray[Any], ...]:
        item = training[index]
        points = item.points
        view = random_view(
            item.pixels,
            points.xy,
            points.label,
            side=side,
            mpp=item.sample.mpp,
            view_mpp=settings.view_mpp,
            rng=rng,
            zoom=settings.zoom,
        )
        target = view_target(item.sample, view)
        return (
            jitter_stain(view.pixels, rng, settings.jitter),
            np.array(target, np.float32),
            np.array(trust(item.sample), np.float32),
            place_targets(item.sample, view, PLACE if settings.places else side),
        )

    def loss(model: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        assert isinstance(model, Direct)
        images, target, weight, places = batch
        target, weight = target.to(compute.device), weight.to(compute.device)
        logits = model.logits(compute.images(images)).float()
        if settings.head == "classification" and settings.average == "features":
            return level_loss(logits, target, settings.spread)
        error = (model.score(logits) - target) ** 2
        whole = (error * weight).sum() / weight.sum()
        if not settings.places:
            return whole
        told = place_loss(logits, places.to(compute.device), weight, settings.spread)
        return whole + settings.places * told

    truth = np.array([patch_target(item) for item in validation])
    inner_truth = np.array([patch_target(item) for item in choosing or ()])

    def validate(model: nn.Module, epoch: int) -> dict[str, float]:
        measured = {}
        if validation:
            found = predict_direct(model, validation, settings, compute)
            measured["mse"] = mse(truth, found)
            measured["icc"] = icc_a1(np.stack([truth, found], axis=1))
        if choosing:
            inner = predict_direct(model, choosing, settings, compute)
            measured[f"{CHOOSING}mse"] = mse(inner_truth, inner)
        return measured

    told = {
        "network": description,
        "settings": dataclasses.asdict(settings),
        "seed": seed,
        "data": data_checksum(training=training, validation=validation, choosing=choosing or ()),
    }
    if start is not None:
        told["segmentation"] = weights_checksum(load_weights(start)["model"])

    def run(folder: Path, phase: Schedule, side: int, batch: int, views: int) -> None:
        def batches(epoch: int) -> Iterator[tuple[torch.Tensor, ...]]:
            def view(index: int, rng: np.random.Generator) -> tuple[npt.NDArray[Any], ...]:
                return make(index, rng, side)

            return view_batches(
                len(training), view, batch=batch, epoch=epoch, seed=seed, repeats=views
            )

        fit(
            model,
            out=folder,
            schedule=dataclasses.replace(phase, epochs=max(1, round(phase.epochs * epochs_scale))),
            compute=compute,
            batches=batches,
            steps=batch_count(len(training), batch, views),
            loss=loss,
            validate=validate,
            monitor=("mse" if choosing is None else f"{CHOOSING}mse", "min"),
            description=told,
            resume=resume,
        )

    if settings.whole is None:
        run(out, settings.schedule, settings.side, settings.batch, settings.views)
    else:
        run(out / "crops", settings.schedule, settings.side, settings.batch, settings.views)
        side = 32 * round(WHOLE_UM / settings.view_mpp / 32)
        run(out / "whole", settings.whole, side, max(2, settings.batch // 2), 1)
        save_weights(out / BEST, {"model": model.state_dict(), "description": told})
    return model.to(compute.device).eval()


def take_encoder(model: Direct, start: Path) -> None:
    """Give a direct network the encoder of a trained segmentation.

    Raises
    ------
    ModelError
        If the two are not of one kind.
    """
    own: Any = model.network
    found = {
        name.removeprefix(ENCODER): value
        for name, value in load_weights(start)["model"].items()
        if name.startswith(ENCODER)
    }
    shapes = {name: value.shape for name, value in own.state_dict().items()}
    strange = [name for name, value in found.items() if shapes.get(name) != value.shape]
    if strange or not found:
        raise ModelError(
            f"The segmentation in '{start.parent.name}' has another encoder than the direct "
            f"network that starts from it ({len(strange)} of {len(found)} tensors differ); "
            "name the same encoder in both tables of the recipe."
        )
    own.load_state_dict(found, strict=False)


def network_description(settings: Settings) -> dict[str, Any]:
    """What `networks.create` needs to build this network."""
    described = {"kind": "direct", "encoder": settings.encoder, "head": settings.head}
    usual = {"arguments": {}, "mean": HALF, "std": HALF, "average": "features"}
    special = {k: getattr(settings, k) for k in usual if getattr(settings, k) != usual[k]}
    return {**described, **special}


@torch.inference_mode()
def predict_direct(
    model: nn.Module, items: Sequence[Loaded], settings: Settings, compute: Compute
) -> npt.NDArray[np.float64]:
    """Cellularity of whole patches, shape (n,), as the scorer gives it."""
    network: Any = model.eval()
    found = []
    for item in items:
        pixels = resample(item.pixels, item.sample.mpp / settings.view_mpp)
        with compute.autocast():
            logits = network.logits(compute.images(torch.tensor(pixels)[None]))
            found.append(patch_score(network.places(logits), pixels, settings.view_mpp))
    return np.array(found)
