"""Activation maps of patches by a segmentation that never saw their patient.

The regressors after the segmentation (boosted trees, cascade) learn from these, so
that they meet maps as good, and as bad, as those of a new patient.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from torch import nn

from cellularity_core.conventions import FEATURE_MPP
from cellularity_core.errors import ModelError
from cellularity_core.features import FEATURE_NAMES, features
from cellularity_core.masks import tissue_share
from cellularity_core.patch import pixel_digest
from cellularity_core.resample import resample, resize
from cellularity_core.training.augmentation import View, jitter_stain
from cellularity_core.training.images import Loaded
from cellularity_core.training.loop import Compute, weights_checksum
from cellularity_core.training.recipes import Segmentation as Settings
from cellularity_core.training.segmentation import activation, at_pixel_size
from cellularity_core.training.targets import view_target

CROP_SHARE: Final = (0.45, 0.8)
"""Range of a crop's side, in sides of the patch."""


@dataclass(frozen=True, slots=True)
class Activations:
    """Maps of one patch, its plain view first, then restained ones.

    Attributes
    ----------
    plain : ndarray of uint8, shape (4, H, W)
        Of the plain view at the network's pixel size; 255 is 1.
    views : ndarray of uint8, shape (V, 4, h, w)
        Of every view at 1 um/px.
    features : ndarray of float64, shape (V, 81)
        Of every view, by area of tissue.
    """

    plain: npt.NDArray[np.uint8]
    views: npt.NDArray[np.uint8]
    features: npt.NDArray[np.float64]


def activations_of(
    model: nn.Module,
    item: Loaded,
    settings: Settings,
    compute: Compute,
    *,
    views: int,
    seed: int,
) -> Activations:
    """Maps and features of one patch and of its restained views.

    Raises
    ------
    ModelError
        If a map holds what is no number, as those of a network that has diverged do.
    """
    rng = np.random.default_rng([seed, *item.sample.name.encode()])
    pixels, _, mpp = at_pixel_size(item, settings.view_mpp)
    small, table, tissue = [], [], tissue_share(pixels, mpp)
    plain: npt.NDArray[np.float32] | None = None
    for k in range(views):
        seen = jitter_stain(pixels, rng, settings.jitter) if k else pixels
        maps = activation(model, seen, compute)
        if not np.isfinite(maps).all():
            raise ModelError(
                f"Maps of '{item.sample.name}' hold what is no number: the training of the "
                "segmentation has diverged. Lower its learning rate in the recipe, and begin it "
                "anew."
            )
        plain = maps if plain is None else plain
        shape = tuple(round(side * mpp / FEATURE_MPP) for side in maps.shape[1:])
        reduced = np.stack([resize(m, (shape[0], shape[1])) for m in maps])
        small.append(_to_bytes(reduced))
        table.append(features(reduced) / tissue)
    if plain is None:
        raise ValueError("views must be at least 1")
    return Activations(_to_bytes(plain), np.stack(small), np.stack(table))


def make_activations(
    model: nn.Module,
    items: Sequence[Loaded],
    settings: Settings,
    compute: Compute,
    *,
    out: Path,
    views: int,
    seed: int = 0,
) -> None:
    """Write the activations of each item to ``out/NAME.npz``.

    Those that the same network made of the same image with the same settings are kept, so
    that a run that was stopped goes on; any others are made anew.
    """
    out.mkdir(parents=True, exist_ok=True)
    model.eval()
    network = weights_checksum(model.state_dict())
    how = (settings.view_mpp, settings.jitter, views, seed, "by tissue")
    for item in items:
        seen = (item.sample.mpp, pixel_digest(item.pixels))
        made_by = hashlib.sha256(repr((network, how, seen)).encode()).hexdigest()
        path = out / f"{item.sample.name}.npz"
        if path.exists() and _made_by(path) == made_by:
            continue
        made = activations_of(model, item, settings, compute, views=views, seed=seed)
        part = path.with_suffix(".part.npz")
        np.savez_compressed(
            part,
            plain=made.plain,
            views=made.views,
            features=made.features,
            made_by=np.array(made_by),
        )
        part.rename(path)


def _made_by(path: Path) -> str:
    with np.load(path, allow_pickle=False) as file:
        return str(file["made_by"]) if "made_by" in file else ""


def read_activations(out: Path, name: str) -> Activations:
    """What `make_activations` wrote for one sample."""
    with np.load(out / f"{name}.npz", allow_pickle=False) as file:
        return Activations(file["plain"], file["views"], file["features"])


def crop_examples(
    item: Loaded, made: Activations, *, count: int, seed: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Features and cellularity of random square crops of a patch's maps.

    Parameters
    ----------
    item : Loaded
    made : Activations
        Of that patch.
    count : int
        Crops of each view.
    seed : int

    Returns
    -------
    features : ndarray, shape (n, 81)
        n is 0 where a crop's cellularity is unknown: a pathologist scored the whole.
    targets : ndarray, shape (n,)
    """
    rng = np.random.default_rng([seed, *item.sample.name.encode()])
    table, targets = [], []
    if not item.sample.scores:
        factor = item.sample.mpp / FEATURE_MPP
        pixels = resample(item.pixels, factor)
        xy = (item.points.xy + 0.5) * factor - 0.5
        for maps in made.views:
            extent = np.array(maps.shape[:0:-1])
            for _ in range(count):
                side = int(extent.min() * rng.uniform(*CROP_SHARE))
                x, y = (int(rng.integers(room + 1)) for room in extent - side)
                cut = np.s_[y : y + side, x : x + side]
                view = View(pixels[cut], xy - (x, y), item.points.label, FEATURE_MPP)
                tissue = tissue_share(view.pixels, FEATURE_MPP)
                found = features(maps[:, cut[0], cut[1]].astype(np.float32) / 255)
                table.append(found / tissue)
                targets.append(view_target(item.sample, view))
    return np.array(table).reshape(-1, len(FEATURE_NAMES)), np.array(targets)


def _to_bytes(maps: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    out: npt.NDArray[np.uint8] = np.rint(maps * 255).astype(np.uint8)
    return out
