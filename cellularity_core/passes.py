"""Patches on their way through a set's networks: cut to tiles, turned, and put together."""

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cellularity_core import tiling
from cellularity_core.engine import CompiledNetwork, Network, TorchNetwork
from cellularity_core.masks import tissue_mask
from cellularity_core.model_store import ModelSet
from cellularity_core.patch import Patch
from cellularity_core.resample import resample
from cellularity_core.saliency import PlaceMap, place_map, tissue_cells

Maps = npt.NDArray[np.float32]

VIEWS: Final = ((), (2,), (1,), (1, 2))
"""Test-time views: the axes of tiles (B, H, W, 3) that are flipped."""

EVEN: Final = 2
"""Sides of tiles of networks that give a score only: all that their scores were measured on."""

LARGEST: Final = 8192
"""Longest side to which a patch is enlarged, which takes 6 GB: 4096 pixels of 1 µm. Only one of
coarser pixels would be larger, 20 GB at 2 µm, and its score is not to be relied on at any size."""

SAME_MPP: Final = 0.02
"""Relative difference of pixel size below which a patch is not resampled."""


class Seen(NamedTuple):
    """What a network says of one tile in one view, turned back; what it has not is None."""

    score: float | None
    maps: Maps | None
    places: Maps | None


class Networks:
    """The networks of a set, and the threads they run on.

    Parameters
    ----------
    model_set : ModelSet
    names : iterable of str
        Of the networks.
    device, precision : str
        Resolved; see `engine`.
    threads : int
        Tiles at once.
    views : int
        Test-time views, 1 to 4.

    Raises
    ------
    ModelError
        If a file of the set cannot be used.
    """

    def __init__(
        self,
        model_set: ModelSet,
        names: Iterable[str],
        *,
        device: str,
        precision: str,
        threads: int,
        views: int,
    ) -> None:
        self._set = model_set
        self._views = views
        self._pool = ThreadPoolExecutor(threads, "network")
        names = list(names)

        def load(name: str) -> Network:
            described = dict(model_set.manifest["networks"][name])
            weights = model_set.file(f"{name}.safetensors")
            if device == "cuda":
                return TorchNetwork(described, weights, device)
            return CompiledNetwork(model_set.file(f"{name}.onnx"), threads, precision)

        with ThreadPoolExecutor(len(names)) as loading:
            self._networks = dict(zip(names, loading.map(load, names), strict=True))

    def __getitem__(self, name: str) -> Network:
        return self._networks[name]

    def release(self) -> None:
        """Give back the memory of the last calls. Not while one is running."""
        for network in self._networks.values():
            network.release()

    def begin(self, patch: Patch) -> "Pass":
        """Send a patch through all networks; what comes of it is asked of the pass."""
        started = time.perf_counter()
        pixels = self._pixels(patch)
        plan = tiling.plan(*pixels.shape[:2])
        cuts = {
            stride: [tiling.cut(pixels, tile, stride)[None] for tile in plan]
            for stride in (tiling.STRIDE, EVEN)
        }
        outputs = {
            name: [
                [self._pool.submit(_run, network, cut, axes) for cut in cuts[self.stride(name)]]
                for axes in VIEWS[: self._views]
            ]
            for name, network in self._networks.items()
        }
        cells = tissue_cells(tissue_mask(pixels, self._set.mpp))
        return Pass(patch, self, pixels, self._set.mpp, plan, cells, started, outputs)

    def stride(self, name: str) -> int:
        """Of what sides of a tile are multiples; a score alone needs no more than even ones."""
        kind = self._set.manifest["networks"][name]["kind"]
        return EVEN if kind == "direct" else tiling.STRIDE

    def _pixels(self, patch: Patch) -> npt.NDArray[np.uint8]:
        """A patch at the set's pixel size, if it is then no larger than `LARGEST`."""
        factor = min(patch.mpp / self._set.mpp, LARGEST / max(patch.width, patch.height))
        return patch.pixels if abs(factor - 1) < SAME_MPP else resample(patch.pixels, factor)


@dataclass(slots=True)
class Pass:
    """A patch on its way through the networks."""

    patch: Patch
    networks: Networks
    pixels: npt.NDArray[np.uint8]
    mpp: float
    """um per pixel of `pixels`."""
    tiles: list[tiling.Tile]
    cells: npt.NDArray[np.float64]
    """Of `saliency.tissue_cells`."""
    started: float
    outputs: dict[str, list[list[Future[Seen]]]]
    """By network, view and tile."""

    @property
    def tissue(self) -> float:
        """Share of the patch that is tissue, in (0, 1]; 1 where there is none at all."""
        return float(self.cells.sum() / (self.pixels.shape[0] * self.pixels.shape[1]))

    def maps(self, name: str) -> list[Maps]:
        """Blended maps of each view, at the set's pixel size."""
        shape = self.pixels.shape[:2]

        def maps_of(future: Future[Seen]) -> Maps:
            maps = future.result().maps
            assert maps is not None
            return maps

        return [
            tiling.blend(((t, maps_of(f)) for t, f in zip(self.tiles, view, strict=True)), *shape)
            for view in self.outputs.get(name, ())
        ]

    def scores(self, name: str) -> npt.NDArray[np.float64]:
        """Score of each view, shape (V,): a share of the tissue, not of the glass about it."""
        if self.networks[name].has_places:
            return np.array([self._placed(name, [view]).mean for view in self.outputs[name]])
        # A network that averages features has one word for a tile, glass and all.
        weights = tiling.tissue_shares(self.pixels, self.tiles, self.mpp)
        scores = [[future.result().score for future in view] for view in self.outputs[name]]
        return np.array(scores, np.float64) @ weights

    def places(self, name: str) -> PlaceMap:
        """Scores of the places of the patch, the mean of all views."""
        return self._placed(name, self.outputs[name])

    def _placed(self, name: str, views: Sequence[list[Future[Seen]]]) -> PlaceMap:
        places = [
            np.mean([f.result().places for f in tile], axis=0) for tile in zip(*views, strict=True)
        ]
        stride = self.networks.stride(name)
        return place_map(
            self.tiles,
            places,
            self.cells,
            padded=[tiling.padded(tile, stride) for tile in self.tiles],
            factor=self.pixels.shape[1] / self.patch.pixels.shape[1],
        )


def _run(network: Network, tile: npt.NDArray[np.uint8], axes: tuple[int, ...]) -> Seen:
    """What a network says of a tile (1, H, W, 3) of which these axes are flipped."""
    found = [o[0] for o in network.with_places(np.ascontiguousarray(np.flip(tile, axes)))]
    # rows and columns are axes 1 and 2 of tiles, and the last two of what comes back
    turned = tuple(axis - 3 for axis in axes)
    places = np.flip(found.pop(), turned) if network.has_places else None
    maps = next((np.flip(o, turned) for o in found if o.ndim == 3), None)
    return Seen(next((float(o) for o in found if o.ndim == 0), None), maps, places)
