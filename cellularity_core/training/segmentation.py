"""Training of the segmentation, with whole labelled fields as hard negatives.

Fields without points (benign or malignant as a whole) join after a share of the
training: the network itself finds their nuclei, and the field decides the class.
A benign field has no malignant nucleus, so every epithelial nucleus in it becomes
Normal; a malignant field keeps what the network says (METHODS 1).
"""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from cellularity_core.conventions import CHANNELS, MALIGNANT, NORMAL
from cellularity_core.masks import segmentation_target
from cellularity_core.networks import create
from cellularity_core.nuclei import detect_nuclei
from cellularity_core.points import NucleiPoints
from cellularity_core.resample import resample
from cellularity_core.training.augmentation import jitter_stain, random_view
from cellularity_core.training.images import Loaded, batch_count, data_checksum, view_batches
from cellularity_core.training.loop import CHOOSING, Compute, fit
from cellularity_core.training.losses import segmentation_loss
from cellularity_core.training.recipes import Segmentation as Settings

SELF_LABEL_THRESHOLDS: Final = (0.3, 0.3, 0.3)
SELF_LABELS: Final = "fields.json"
STRIDE: Final = 32
SHORT: Final = 20
"""Epochs up to which each is validated, so that a curve has points."""


def train_segmentation(
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
) -> nn.Module:
    """Train a segmentation and leave ``best.pt``, ``log.csv`` and ``fields.json`` in `out`.

    Parameters
    ----------
    training, validation : sequence of Loaded
        Of different patients; samples with points are learnt from at once, fields
        after `settings.fields_from`.
    settings : Segmentation
    out : Path
    compute : Compute
    seed : int
    resume : bool
    epochs_scale : float
        Multiplies the epochs of the recipe.
    choosing : sequence of Loaded, optional
        Training patients held back to choose the epoch, where the schedule keeps the
        best; `validation` is then only logged. Without it `validation` chooses.

    Returns
    -------
    nn.Module
        On the compute device, in evaluation mode.
    """
    schedule = dataclasses.replace(
        settings.schedule, epochs=max(1, round(settings.schedule.epochs * epochs_scale))
    )
    description = network_description(settings)
    torch.manual_seed(seed)
    model = create(description, settings.init)
    pointed = [item for item in training if item.sample.points is not None]
    fields = [item for item in training if item.sample.points is None and item.sample.field]
    inner = [item for item in choosing or () if item.sample.points is not None]
    join = round(settings.fields_from * schedule.epochs)
    named: list[Loaded] = []
    if not resume:
        (out / SELF_LABELS).unlink(missing_ok=True)  # another run's

    def before_epoch(model: nn.Module, epoch: int) -> None:
        if fields and epoch >= join and not named:
            path = out / SELF_LABELS
            if not (resume and path.exists()):
                save_points(path, name_fields(model, fields, settings.view_mpp, compute))
            named.extend(with_points(fields, read_saved_points(path)))

    def make(items: Sequence[Loaded]) -> Any:
        def view(index: int, rng: np.random.Generator) -> tuple[npt.NDArray[Any], ...]:
            return segmentation_view(items[index], settings, rng)

        return view

    def batches(epoch: int) -> Iterator[tuple[torch.Tensor, ...]]:
        items = [*pointed, *named]
        return view_batches(len(items), make(items), batch=settings.batch, epoch=epoch, seed=seed)

    def loss(model: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        images, target, known = batch
        logits = model(compute.images(images))
        return segmentation_loss(
            logits,
            target.to(compute.device).float(),
            settings.class_weights,
            known.to(compute.device),
        )

    def validate(model: nn.Module, epoch: int) -> dict[str, float]:
        last = epoch + 1 == schedule.epochs
        every = 1 if schedule.epochs <= SHORT else 10
        if epoch % every != every - 1 and not last:
            return {}
        found = jaccard(model, validation, settings, compute) if validation else {}
        if inner:
            overlap = jaccard(model, inner, settings, compute)["jaccard"]
            found[f"{CHOOSING}jaccard"] = overlap
        return found

    fit(
        model,
        out=out,
        schedule=schedule,
        compute=compute,
        batches=batches,
        steps=batch_count(len(pointed) + len(fields), settings.batch),
        loss=loss,
        validate=validate,
        monitor=("jaccard" if choosing is None else f"{CHOOSING}jaccard", "max"),
        description={
            "network": description,
            "settings": dataclasses.asdict(settings),
            "seed": seed,
            "data": data_checksum(
                training=training, validation=validation, choosing=choosing or ()
            ),
        },
        resume=resume,
        before_epoch=before_epoch,
    )
    return model.to(compute.device).eval()


def network_description(settings: Settings) -> dict[str, Any]:
    """What `networks.create` needs to build this segmentation."""
    return {"kind": "segmentation", "encoder": settings.encoder, "decoder": settings.decoder}


def segmentation_view(
    item: Loaded, settings: Settings, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """A random view: pixels (S, S, 3), target (4, S, S) and which channels are known (4,)."""
    points = item.points
    view = random_view(
        item.pixels,
        points.xy,
        points.label,
        side=settings.side,
        mpp=item.sample.mpp,
        view_mpp=settings.view_mpp,
        rng=rng,
        zoom=settings.zoom,
    )
    shape = view.pixels.shape[:2]
    target = segmentation_target(view.xy, view.label, shape, settings.disc_um / view.mpp)
    known = np.ones(len(CHANNELS), np.float32)
    if item.sample.field == "malignant":
        # The network's own word about a field is a weaker teacher than a person's.
        known[:] = 0.5
    return jitter_stain(view.pixels, rng, settings.jitter), target.astype(np.uint8), known


def name_fields(
    model: nn.Module, fields: Sequence[Loaded], view_mpp: float, compute: Compute
) -> dict[str, NucleiPoints]:
    """Nuclei of whole labelled fields: where by the network, which class by the field.

    Parameters
    ----------
    model : nn.Module
    fields : sequence of Loaded
    view_mpp : float
        um per pixel that the network works at.
    compute : Compute

    Returns
    -------
    dict of str to NucleiPoints
        By sample name, in pixels of its image.
    """
    model.eval()
    found = {}
    for item in fields:
        pixels, _, mpp = at_pixel_size(item, view_mpp)
        nuclei = detect_nuclei(
            activation(model, pixels, compute, flips=True), mpp, SELF_LABEL_THRESHOLDS
        )
        xy = (nuclei.xy.astype(np.float64) + 0.5) * (mpp / item.sample.mpp) - 0.5
        label = nuclei.label.copy()
        if item.sample.field == "benign":
            label[label == MALIGNANT] = NORMAL
        found[item.sample.name] = NucleiPoints(xy, label, {})
    return found


def with_points(items: Sequence[Loaded], points: dict[str, NucleiPoints]) -> list[Loaded]:
    """The same items carrying these points."""
    return [
        Loaded(dataclasses.replace(item.sample, points=points[item.sample.name]), item.pixels)
        for item in items
    ]


def save_points(path: Path, points: dict[str, NucleiPoints]) -> None:
    """Points by sample name, as JSON."""
    plain = {
        name: {"xy": p.xy.round(2).tolist(), "label": p.label.tolist()}
        for name, p in points.items()
    }
    path.write_text(json.dumps(plain))


def read_saved_points(path: Path) -> dict[str, NucleiPoints]:
    """What `save_points` wrote."""
    return {
        name: NucleiPoints(
            np.array(p["xy"], np.float64).reshape(-1, 2), np.array(p["label"], np.int8), {}
        )
        for name, p in json.loads(path.read_text()).items()
    }


@torch.inference_mode()
def activation(
    model: nn.Module, pixels: npt.NDArray[np.uint8], compute: Compute, flips: bool = False
) -> npt.NDArray[np.float32]:
    """Sigmoid maps of a whole image.

    Parameters
    ----------
    model : nn.Module
        A `Segmentation`, in evaluation mode.
    pixels : ndarray of uint8, shape (H, W, 3)
        At the network's pixel size.
    compute : Compute
    flips : bool
        Mean over the image and its two flips and half turn.

    Returns
    -------
    ndarray of float32, shape (4, H, W)
    """
    height, width = pixels.shape[:2]
    x = compute.images(torch.tensor(pixels)[None])
    x = F.pad(x, (0, -width % STRIDE, 0, -height % STRIDE), mode="reflect")
    total = torch.zeros(())
    views: list[list[int]] = [[], [2], [3], [2, 3]] if flips else [[]]
    for axes in views:
        with compute.autocast():
            logits = model(x.flip(axes) if axes else x)
        p = logits.float().sigmoid()
        total = total + (p.flip(axes) if axes else p).cpu()
    maps: npt.NDArray[np.float32] = (total[0] / len(views))[:, :height, :width].numpy()
    return maps


def jaccard(
    model: nn.Module, items: Sequence[Loaded], settings: Settings, compute: Compute
) -> dict[str, float]:
    """Jaccard index of each channel over all pixels at threshold 0.5, and its mean.

    NaN where `overlaps` has no number.
    """
    pointed = [item for item in items if item.sample.points is not None]
    both, either = overlaps(model, pointed, settings, compute)
    index = both.sum(axis=0) / np.maximum(either.sum(axis=0), 1)
    named = {f"jaccard_{name}": float(v) for name, v in zip(CHANNELS, index, strict=True)}
    return {**named, "jaccard": float(index.mean())}


def overlaps(
    model: nn.Module, items: Sequence[Loaded], settings: Settings, compute: Compute
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Pixels of masks at threshold 0.5 and of the targets: in both, and in either.

    Parameters
    ----------
    model : nn.Module
        A `Segmentation`, in evaluation mode.
    items : sequence of Loaded
        With points.
    settings : Segmentation
    compute : Compute

    Returns
    -------
    both, either : ndarray of float64, shape (n, 4)
        Whole numbers by item and channel, at the network's pixel size; NaN where a
        map of the item holds what is no number.
    """
    both = np.full((len(items), len(CHANNELS)), np.nan)
    either = np.full_like(both, np.nan)
    for k, item in enumerate(items):
        pixels, xy, mpp = at_pixel_size(item, settings.view_mpp)
        truth = segmentation_target(
            xy, item.points.label, pixels.shape[:2], settings.disc_um / mpp
        ).astype(bool)
        maps = activation(model, pixels, compute)
        if not np.isfinite(maps).all():
            continue
        found = maps > 0.5
        both[k] = (truth & found).sum(axis=(1, 2))
        either[k] = (truth | found).sum(axis=(1, 2))
    return both, either


def at_pixel_size(
    item: Loaded, mpp: float
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64], float]:
    """Pixels and points of an item brought near a pixel size, and the size reached."""
    view = item.pixels
    if abs(mpp / item.sample.mpp - 1) < 0.05:
        return view, item.points.xy, item.sample.mpp
    factor = item.sample.mpp / mpp
    return resample(view, factor), (item.points.xy + 0.5) * factor - 0.5, mpp
