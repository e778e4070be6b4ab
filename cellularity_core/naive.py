"""The methods written the obvious way: what our speed is measured against.

PyTorch in eager mode and contiguous layout, one patch after another, 18 calls of
`skimage.feature.blob_log`, NumPy sums and the `shap` package. Same weights, same
scores; a test holds both pipelines to each other.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import shap
import torch
from skimage import feature

from cellularity_core.blobs import BLOB_THRESHOLDS, SIGMAS
from cellularity_core.conventions import CLASSES, COMBINED, FEATURE_MPP, FEATURE_PIXELS, METHODS
from cellularity_core.features import AREA_THRESHOLDS
from cellularity_core.masks import tissue_mask
from cellularity_core.model_store import ModelSet
from cellularity_core.openmp import import_lightgbm
from cellularity_core.passes import VIEWS
from cellularity_core.patch import Patch
from cellularity_core.resample import resize
from cellularity_core.training.packaging import load_network

Maps = npt.NDArray[np.float32]

NO_PRUNING: Final = 1.001
"""Overlap that no pair of blobs exceeds; rounding lifts some a little over 1."""


class EagerNetwork:
    """One network of a model set in PyTorch, on CPU, uncompiled.

    Parameters
    ----------
    model_set : ModelSet
    name : str
        Of the network, e.g. "direct-r".
    """

    def __init__(self, model_set: ModelSet, name: str) -> None:
        described = dict(model_set.manifest["networks"][name])
        self._network = load_network(described, model_set.file(f"{name}.safetensors")).eval()

        self.has_places: bool = self._network.has_places

    def __call__(self, tiles: npt.NDArray[np.uint8]) -> tuple[Maps, ...]:
        """What the network says of tiles (B, H, W, 3), as `engine.Network` gives it."""
        found = self.with_places(tiles)
        return found[:-1] if self.has_places else found

    def with_places(self, tiles: npt.NDArray[np.uint8]) -> tuple[Maps, ...]:
        """As `engine.Network.with_places`."""
        planes = np.ascontiguousarray(tiles.transpose(0, 3, 1, 2))
        with torch.inference_mode():
            found = self._network.with_places(torch.from_numpy(planes).permute(0, 2, 3, 1))
        return tuple(output.numpy() for output in found)


class NaivePipeline:
    """All methods of a model set, for patches at its pixel size that fit in one tile."""

    def __init__(self, model_set: ModelSet, views: int | None = None) -> None:
        self._mpp = model_set.mpp
        self._views = VIEWS[: views or model_set.views]
        self._networks = {
            name: EagerNetwork(model_set, name)
            for name in {
                model_set.network_of(part)
                for method in model_set.methods
                for part in model_set.parts(method)
            }
        }
        self._model_set = model_set
        self._trees = import_lightgbm().Booster(model_file=str(model_set.file("gbt.txt")))
        self._explainer = shap.TreeExplainer(self._trees)

    def score(self, patch: Patch) -> tuple[dict[str, float], npt.NDArray[np.float64]]:
        """Score one patch.

        Parameters
        ----------
        patch : Patch
            Sides in multiples of 32, at most `tiling.WHOLE` pixels.

        Returns
        -------
        scores : dict of str to float
            By method, in [0, 1].
        contributions : ndarray of float64, shape (81,)
            SHAP values of the "gbt" score.
        """
        views: dict[str, list[float]] = {}
        shares = []
        seen = self._model_set.network_of("gbt")
        for axes in self._views:
            tiles = np.flip(patch.pixels[None], axes)
            tissue = tissue_mask(tiles[0], self._mpp)
            for name, network in self._networks.items():
                outputs = network.with_places(tiles)
                if network.has_places:
                    score = by_tissue(outputs[-1][0], tissue)
                    views.setdefault(name, []).append(score)
                elif outputs[0].ndim == 1:
                    views.setdefault(name, []).append(float(outputs[0][0]))
                if name == seen:
                    # rows and columns: axes 1 and 2 of tiles (B, H, W, 3) and of (4, H, W)
                    [four] = [output[0] for output in outputs if output.ndim == 4]
                    maps = np.flip(four, axes)
            row = blob_log_features(self._small(maps))[None] / tissue.mean()
            views.setdefault("gbt", []).append(float(self._trees.predict(row)[0]))
            shares.append(self._explainer.shap_values(row)[0])
        alone = {"gbt": views["gbt"]}
        for method in METHODS:
            if method not in ("gbt", COMBINED):
                alone[method] = views.get(self._model_set.network_of(method), [])
        scores = {
            method: float(
                np.mean([np.clip(np.mean(alone[p]), 0, 1) for p in self._model_set.parts(method)])
            )
            for method in self._model_set.methods
        }
        return scores, np.mean(shares, axis=0)

    def _small(self, maps: Maps) -> Maps:
        height, width = (round(side * self._mpp / FEATURE_MPP) for side in maps.shape[1:])
        return np.stack([resize(np.ascontiguousarray(m), (height, width)) for m in maps])


def by_tissue(places: Maps, tissue: npt.NDArray[np.bool_]) -> float:
    """Mean of the places of an image, shape (h, w), by the tissue in each."""
    height, width = places.shape
    down, across = tissue.shape[0] // height, tissue.shape[1] // width
    weights = tissue.reshape(height, down, width, across).sum(axis=(1, 3))
    return float((places * weights).sum() / weights.sum())


def blob_log_features(maps: Maps) -> npt.NDArray[np.float64]:
    """The 81 features as `features.features` defines them, shape (81,)."""
    values: list[float] = []
    for image in maps[: len(CLASSES)]:
        values.append(image.sum(dtype=np.float64))
        for threshold in AREA_THRESHOLDS:
            above = image > threshold
            values += [above.sum(), image[above].sum(dtype=np.float64)]
        for threshold in BLOB_THRESHOLDS:
            found = all_blobs(image, threshold)
            values += [len(found), image[tuple(found[:, :2].astype(int).T)].sum(dtype=np.float64)]
    row: npt.NDArray[np.float64] = np.array(values) * (FEATURE_PIXELS / maps[0].size)
    return row


def all_blobs(image: Maps, threshold: float) -> Maps:
    """`skimage.feature.blob_log` at our scales without pruning: rows of (row, column, sigma)."""
    find: Any = feature.blob_log  # annotated in part
    found: Maps = find(
        image,
        min_sigma=SIGMAS[0],
        max_sigma=SIGMAS[-1],
        num_sigma=len(SIGMAS),
        threshold=threshold,
        overlap=NO_PRUNING,
    )
    return found
