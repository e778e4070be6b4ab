"""Training of the cascade "SR": the regressor alone, then both together (METHODS 3)."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cellularity_core.agreement import icc_a1, mse
from cellularity_core.conventions import FEATURE_MPP
from cellularity_core.networks import create
from cellularity_core.networks.cascade import Cascade, MaskRegressor
from cellularity_core.resample import resample
from cellularity_core.training import segmentation as segmenting
from cellularity_core.training.activations import Activations
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
from cellularity_core.training.losses import place_loss
from cellularity_core.training.places import patch_score
from cellularity_core.training.recipes import Cascade as Settings
from cellularity_core.training.recipes import Segmentation as SegmentationSettings
from cellularity_core.training.targets import PLACE, patch_target, place_targets, trust, view_target


def train_cascade(
    training: Sequence[Loaded],
    maps: Sequence[Activations],
    validation: Sequence[Loaded],
    segmentation: Path,
    settings: Settings,
    seen: SegmentationSettings,
    *,
    out: Path,
    compute: Compute,
    seed: int = 0,
    resume: bool = False,
    epochs_scale: float = 1.0,
    choosing: Sequence[Loaded] | None = None,
) -> nn.Module:
    """Train the phases in ``out/frozen`` and ``out/joint``; leave the whole in ``best.pt``.

    Parameters
    ----------
    training : sequence of Loaded
    maps : sequence of Activations
        Of the training items, by segmentations that never saw their patients: what
        the regressor learns from while the segmentation is frozen.
    validation : sequence of Loaded
        Of patients that neither phase nor `segmentation` saw; may be empty.
    segmentation : Path
        ``best.pt`` of the segmentation to build on.
    settings : Cascade
    seen : Segmentation
        Settings of that segmentation.
    out, compute, seed, resume, epochs_scale, choosing
        As in `segmentation.train_segmentation`.

    Returns
    -------
    nn.Module
        A `Cascade` on the compute device, in evaluation mode.
    """
    weights = load_weights(segmentation)
    torch.manual_seed(seed)
    model = create(network_description(settings, seen), "random")
    assert isinstance(model, Cascade)
    model.segmentation.load_state_dict(weights["model"])
    model.regressor = MaskRegressor(
        settings.regressor, settings.channels, init=settings.init, average=settings.average
    )
    truth = np.array([patch_target(item) for item in validation])
    inner_truth = np.array([patch_target(item) for item in choosing or ()])

    def map_view(index: int, rng: np.random.Generator) -> tuple[npt.NDArray[Any], ...]:
        item, chosen = training[index], maps[index]
        state = rng.integers(2**63)
        half = resample(item.pixels, item.sample.mpp / FEATURE_MPP)
        xy = (item.points.xy + 0.5) * (item.sample.mpp / FEATURE_MPP) - 0.5
        one = chosen.views[rng.integers(len(chosen.views))]
        views = [
            random_view(
                np.ascontiguousarray(image),
                xy,
                item.points.label,
                side=settings.side,
                mpp=FEATURE_MPP,
                view_mpp=FEATURE_MPP,
                rng=np.random.default_rng(state),
                zoom=seen.zoom,
            )
            for image in (half, one.transpose(1, 2, 0))
        ]
        target = view_target(item.sample, views[0])
        return (
            views[1].pixels.transpose(2, 0, 1),
            np.array(target, np.float32),
            np.array(trust(item.sample), np.float32),
            place_targets(item.sample, views[0], PLACE if settings.places else settings.side),
        )

    def image_view(index: int, rng: np.random.Generator) -> tuple[npt.NDArray[Any], ...]:
        item = training[index]
        view = random_view(
            item.pixels,
            item.points.xy,
            item.points.label,
            side=settings.joint_side,
            mpp=item.sample.mpp,
            view_mpp=seen.view_mpp,
            rng=rng,
            zoom=seen.zoom,
        )
        target = view_target(item.sample, view)
        return (
            jitter_stain(view.pixels, rng, seen.jitter),
            np.array(target, np.float32),
            np.array(trust(item.sample), np.float32),
        )

    def frozen_loss(network: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        assert isinstance(network, MaskRegressor)
        logits = network.logits(batch[0].to(compute.device).float() / 255).float()
        error = _weighted_error(network.score(logits), batch, compute)
        if not settings.places:
            return error
        weight, places = batch[2].to(compute.device), batch[3].to(compute.device)
        return error + settings.places * place_loss(logits, places, weight)

    def joint_loss(network: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        found, _ = network(compute.images(batch[0]))
        return _weighted_error(found, batch, compute)

    description = {
        "network": network_description(settings, seen),
        "settings": dataclasses.asdict(settings),
        "seed": seed,
        "data": data_checksum(training=training, validation=validation, choosing=choosing or ()),
        "segmentation": weights_checksum(weights["model"]),
    }

    def run(name: str, network: nn.Module, phase: Schedule, repeats: int) -> None:
        epochs = max(1, round(phase.epochs * epochs_scale))
        schedule = dataclasses.replace(phase, epochs=epochs)
        make = map_view if name == "frozen" else image_view

        def validate(_: nn.Module, epoch: int) -> dict[str, float]:
            last = epoch + 1 == epochs
            skip = name == "frozen" and not last and not schedule.keep_best
            if skip or not (validation or choosing):
                return {}
            model.to(compute.device)
            measured = {}
            if validation:
                found = predict_cascade(model, validation, seen, compute)
                overlap = segmenting.jaccard(model.segmentation, validation, seen, compute)
                measured["mse"] = mse(truth, found)
                measured["icc"] = icc_a1(np.stack([truth, found], axis=1))
                measured["jaccard"] = overlap["jaccard"]
            if choosing:
                inner = predict_cascade(model, choosing, seen, compute)
                measured[f"{CHOOSING}mse"] = mse(inner_truth, inner)
            return measured

        def batches(epoch: int) -> Iterator[tuple[torch.Tensor, ...]]:
            return view_batches(
                len(training),
                make,
                batch=settings.batch,
                epoch=epoch,
                seed=seed,
                repeats=repeats,
            )

        fit(
            network,
            out=out / name,
            schedule=schedule,
            compute=compute,
            batches=batches,
            steps=batch_count(len(training), settings.batch, repeats),
            loss=frozen_loss if name == "frozen" else joint_loss,
            validate=validate,
            monitor=("mse" if choosing is None else f"{CHOOSING}mse", "min"),
            description=description,
            resume=resume,
        )

    model.segmentation.eval()
    run("frozen", model.regressor, settings.frozen, repeats=settings.repeats)
    if settings.joint is not None:
        run("joint", model, settings.joint, repeats=1)
    save_weights(out / BEST, {"model": model.state_dict(), "description": description})
    return model.to(compute.device).eval()


def _weighted_error(
    found: torch.Tensor, batch: tuple[torch.Tensor, ...], compute: Compute
) -> torch.Tensor:
    target, weight = batch[1].to(compute.device), batch[2].to(compute.device)
    return ((found.float() - target) ** 2 * weight).sum() / weight.sum()


def network_description(settings: Settings, seen: SegmentationSettings) -> dict[str, Any]:
    """What `networks.create` needs to build this cascade."""
    average = {} if settings.average == "features" else {"average": settings.average}
    return {
        "kind": "cascade",
        "segmentation": {"encoder": seen.encoder, "decoder": seen.decoder},
        "regressor": {
            "encoder": settings.regressor,
            "channels": settings.channels,
            **average,
        },
        "pool": settings.pool,
    }


@torch.inference_mode()
def predict_cascade(
    model: nn.Module, items: Sequence[Loaded], seen: SegmentationSettings, compute: Compute
) -> npt.NDArray[np.float64]:
    """Cellularity of whole patches, shape (n,), as the scorer gives it."""
    network: Any = model.eval()
    stride = segmenting.STRIDE
    found = []
    for item in items:
        pixels, _, mpp = segmenting.at_pixel_size(item, seen.view_mpp)
        pad = [(0, -side % stride) for side in pixels.shape[:2]]
        padded = np.pad(pixels, [*pad, (0, 0)], mode="symmetric")
        with compute.autocast():
            seen_maps = network.pooled(
                network.segmentation(compute.images(torch.from_numpy(padded)[None]))
            )
            places = network.regressor.places(network.regressor.logits(seen_maps))
        found.append(patch_score(places, pixels, mpp, padded.shape[:2]))
    return np.array(found)
