"""How long a plan takes on this machine: one timed step of each kind of network, scaled up."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from cellularity_core import boosting
from cellularity_core.conventions import FEATURE_MPP, FEATURE_PIXELS
from cellularity_core.features import FEATURE_NAMES, features
from cellularity_core.masks import segmentation_target
from cellularity_core.networks import create
from cellularity_core.networks.cascade import Cascade as CascadeNetwork
from cellularity_core.reproduce.kept import RUN, log_rows
from cellularity_core.reproduce.learning import INNER, MAPS, Runner, drawn
from cellularity_core.reproduce.material import Split, halves, pointed
from cellularity_core.reproduce.rows import Row
from cellularity_core.training import cascade as cascades
from cellularity_core.training import direct as directs
from cellularity_core.training import segmentation as segmentations
from cellularity_core.training.augmentation import StainJitter, jitter_stain, random_view
from cellularity_core.training.images import Loaded, batch_count
from cellularity_core.training.loop import DONE, LOG, Compute, Schedule
from cellularity_core.training.segmentation import SHORT

QUICK: Final = 3.0
"""Seconds below which a step is timed again: its first run pays for set-up."""

TIMED_ROUNDS: Final = 20
NUCLEI: Final = 224
"""On the maps whose features are timed: the median of BRCA-M2C's patches."""
FROZEN_REPEATS: Final = 2
"""Views of each patch an epoch, in the frozen phase of a cascade."""


@dataclass(frozen=True, slots=True)
class Work:
    """A part of the plan whose progress can be seen in its folder.

    Attributes
    ----------
    folder : Path
    marker : str
        File that is there when it is done.
    seconds : float
        Estimated, from nothing to done.
    epochs : int
        Rows of its log when done; 0 where it keeps none.
    what : str
        Kind of network, for the estimate's table.
    """

    folder: Path
    marker: str
    seconds: float
    epochs: int
    what: str

    @property
    def fraction(self) -> float:
        """Share that is done, 0 to 1."""
        if (self.folder / self.marker).exists():
            return 1.0
        if not self.epochs:
            return 0.0
        return min(0.99, len(log_rows(self.folder / LOG)) / self.epochs)


@dataclass(slots=True)
class Timings:
    """Seconds of a training step, a look and a view, each measured once a kind."""

    compute: Compute
    known: dict[str, float] = field(default_factory=dict)

    def step(self, described: Mapping[str, Any], shape: tuple[int, int, int]) -> float:
        """One training step of a network.

        Parameters
        ----------
        described : mapping
            As `networks.create` takes it; ``regressor`` as kind is a cascade's alone.
        shape : tuple of int
            Batch, channels and side.
        """
        return self._timed("step", described, shape, _train_once)

    def look(self, described: Mapping[str, Any], shape: tuple[int, int, int]) -> float:
        """One batch without learning."""
        return self._timed("look", described, shape, _look_once)

    def view(self, item: Loaded, side: int, mpp: float, zoom: float, jitter: StainJitter) -> float:
        """One augmented view of an image."""
        key = json.dumps(["view", side, mpp, zoom, asdict(jitter)])
        if key not in self.known:
            points = item.points
            rng = np.random.default_rng(0)

            def make() -> None:
                view = random_view(
                    item.pixels,
                    points.xy,
                    points.label,
                    side=side,
                    mpp=item.sample.mpp,
                    view_mpp=mpp,
                    rng=rng,
                    zoom=zoom,
                )
                jitter_stain(view.pixels, rng, jitter)

            make()
            self.known[key] = _seconds(make)
        return self.known[key]

    def features(self) -> float:
        """The 81 features of 256 x 256 maps with as many nuclei as a patch has."""
        if "features" not in self.known:
            rng = np.random.default_rng(0)
            side = round(FEATURE_PIXELS**0.5)
            xy, label = rng.uniform(0, side, (NUCLEI, 2)), rng.integers(0, 3, NUCLEI)
            maps = segmentation_target(xy, label, (side, side), 7.5)
            self.known["features"] = _seconds(lambda: features(maps.astype(np.float32)))
        return self.known["features"]

    def trees(self, rows: int, rounds: int) -> float:
        """Boosting of this many rows and rounds."""
        key = json.dumps(["trees", rows])
        if key not in self.known:
            rng = np.random.default_rng(0)
            count = max(rows, 2 * boosting.MIN_LEAF)
            table = rng.random((count, len(FEATURE_NAMES)))
            self.known[key] = _seconds(
                lambda: boosting.train(table, table[:, 0], seed=0, rounds=TIMED_ROUNDS)
            )
        return self.known[key] * rounds / TIMED_ROUNDS

    def _timed(
        self, what: str, described: Mapping[str, Any], shape: tuple[int, int, int], run: Any
    ) -> float:
        # both heads of a direct network cost the same
        shown = {k: v for k, v in described.items() if k != "head"}
        key = json.dumps([what, shown, shape], sort_keys=True)
        if key not in self.known:
            network = _network(described).to(self.compute.device)
            batch, channels, side = shape
            x = torch.rand(batch, channels, side, side, device=self.compute.device)
            seconds = _seconds(lambda: run(network, x, self.compute))
            if seconds < QUICK:
                seconds = _seconds(lambda: run(network, x, self.compute))
            self.known[key] = seconds
        return self.known[key]


def works(runner: Runner, row: Row, split: Split, timings: Timings) -> list[Work]:
    """Everything a row does on a split; rows that share a run name the same folder."""
    make = {
        "segmentation": _segmentation_works,
        "gbt": _gbt_works,
        "cascade": _cascade_works,
        "direct": _direct_works,
        "classical": _classical_works,
    }
    return make[row.kind](runner, row, split, timings)


def without_repeats(found: Sequence[Work]) -> list[Work]:
    """Each folder's work once."""
    return list({(work.folder, work.marker): work for work in found}.values())


def _segmentation_works(r: Runner, row: Row, split: Split, t: Timings) -> list[Work]:
    return [
        _segmentation(r, row.segmentation, split, t),
        Work(r.folder(row.name, split), RUN, 0.0, 0, "masks"),
    ]


def _segmentation(r: Runner, name: str, split: Split, t: Timings, inner: str = "") -> Work:
    settings = r.segmentation_settings(name)
    training, validation = drawn(split.training), pointed(split.measured)
    if inner:
        half = halves(training, r.seed)
        training = [i for i, h in zip(training, half, strict=True) if h != INNER.index(inner)]
        validation = []
    epochs = _epochs(settings.schedule, r.epochs_scale)
    described = segmentations.network_description(settings)
    step = t.step(described, (settings.batch, 3, settings.side))
    view = t.view(
        r.material.items[0], settings.side, settings.view_mpp, settings.zoom, settings.jitter
    )
    alone = len(pointed(training))
    joining = round(settings.fields_from * epochs) if alone < len(training) else epochs
    seconds = joining * _epoch(alone, settings.batch, 1, step, view)
    seconds += (epochs - joining) * _epoch(len(training), settings.batch, 1, step, view)
    checks = epochs if epochs <= SHORT else epochs // 10 + 1
    seconds += checks * len(validation) * _patch(t, described, settings.view_mpp, r)
    folder = r.folder(name, split) / inner
    return Work(folder, DONE, seconds, epochs, f"segmentation, {settings.decoder}")


def _map_works(r: Runner, row: Row, split: Split, t: Timings) -> list[Work]:
    """The segmentation a row stands on, its inner ones where needed, and all maps."""
    found = [_segmentation(r, row.segmentation, split, t)]
    usable = r.material.regressed(split.training)
    learnt = {item.sample.name for item in drawn(split.training)}
    if any(item.sample.name in learnt for item in usable):
        found += [_segmentation(r, row.segmentation, split, t, inner) for inner in INNER]
    chosen = r.recipes(row.name)
    views = (chosen.boosting or chosen.needed(chosen.cascade, "cascade")).views
    settings = r.segmentation_settings(row.segmentation)
    described = segmentations.network_description(settings)
    count = len(usable) + len(r.to_score(split))
    pixels = _side_um(r.material.items) ** 2 / FEATURE_MPP**2
    each = _patch(t, described, settings.view_mpp, r) + t.features() * pixels / FEATURE_PIXELS
    seconds = views * count * each
    folder = r.folder(row.segmentation, split) / f"{MAPS}{views}"
    return [*found, Work(folder, DONE, seconds, 0, "maps")]


def _gbt_works(r: Runner, row: Row, split: Split, t: Timings) -> list[Work]:
    settings = r.recipes(row.name).boosting
    assert settings is not None
    rows = len(r.material.regressed(split.training)) * settings.views * (1 + settings.crops)
    seconds = t.trees(rows, settings.rounds)
    trees = Work(r.folder(row.name, split), RUN, seconds, 0, "trees")
    return [*_map_works(r, row, split, t), trees]


def _cascade_works(r: Runner, row: Row, split: Split, t: Timings) -> list[Work]:
    found = _map_works(r, row, split, t)
    settings = r.recipes(row.name).cascade
    assert settings is not None
    seen = r.segmentation_settings(row.segmentation)
    usable = r.material.regressed(split.training)
    described = cascades.network_description(settings, seen)
    alone = {**described, "kind": "regressor"}
    validation = len(r.curve_items(split)) * _patch(t, described, seen.view_mpp, r)
    view = t.view(r.material.items[0], settings.side, 1.0, seen.zoom, seen.jitter)
    folder = r.folder(row.name, split)
    epochs = _epochs(settings.frozen, r.epochs_scale)
    step = t.step(alone, (settings.batch, settings.channels, settings.side))
    seconds = epochs * _epoch(len(usable), settings.batch, FROZEN_REPEATS, step, 2 * view)
    checks = epochs if settings.frozen.keep_best and split.validation else 1
    seconds += checks * validation
    found.append(Work(folder / "frozen", DONE, seconds, epochs, "SR, segmentation frozen"))
    if settings.joint is not None:
        epochs = _epochs(settings.joint, r.epochs_scale)
        step = t.step(described, (settings.batch, 3, settings.joint_side))
        view = t.view(
            r.material.items[0], settings.joint_side, seen.view_mpp, seen.zoom, seen.jitter
        )
        seconds = epochs * (_epoch(len(usable), settings.batch, 1, step, view) + validation)
        found.append(Work(folder / "joint", DONE, seconds, epochs, "SR, both"))
    looks = len(r.to_score(split)) * _patch(t, described, seen.view_mpp, r)
    return [*found, Work(folder, RUN, looks, 0, "scores")]


def _direct_works(r: Runner, row: Row, split: Split, t: Timings) -> list[Work]:
    settings = r.direct_settings(row)
    usable = r.material.regressed(split.training)
    described = directs.network_description(settings)
    step = t.step(described, (settings.batch, 3, settings.side))
    view = t.view(
        r.material.items[0], settings.side, settings.view_mpp, settings.zoom, settings.jitter
    )
    epochs = _epochs(settings.schedule, r.epochs_scale)
    each = _patch(t, described, settings.view_mpp, r)
    seconds = epochs * (
        _epoch(len(usable), settings.batch, settings.views, step, view)
        + len(r.curve_items(split)) * each
    )
    folder = r.folder(row.name, split)
    return [
        Work(folder, DONE, seconds, epochs, f"direct, {settings.encoder}"),
        Work(folder, RUN, len(r.to_score(split)) * each, 0, "scores"),
    ]


def _classical_works(r: Runner, row: Row, split: Split, t: Timings) -> list[Work]:
    key = "classical"
    if key not in t.known:
        from cellularity_core.classical.features import measure

        item = r.material.items[0]
        t.known[key] = _seconds(lambda: measure(item.pixels, item.sample.mpp))
    count = len(split.training) + len(r.to_score(split))
    return [Work(r.folder(row.name, split), RUN, count * t.known[key], 0, "classical")]


def _epochs(schedule: Schedule, scale: float) -> int:
    return max(1, round(schedule.epochs * scale))


def _epoch(count: int, batch: int, repeats: int, step: float, view: float) -> float:
    """Seconds of an epoch; views are made beside the network, on the same cores."""
    return batch_count(count, batch, repeats) * (step + batch * view)


def _patch(t: Timings, described: Mapping[str, Any], mpp: float, r: Runner) -> float:
    """Seconds a network looks at a whole patch, of all images' mean area."""
    stride = segmentations.STRIDE
    side = round(_side_um(r.material.items) / mpp)
    return t.look(described, (1, 3, -(-side // stride) * stride))


def _side_um(items: Sequence[Loaded]) -> float:
    """Side of a square of the images' mean area, um."""
    return float(np.mean([i.pixels[..., 0].size * i.sample.mpp**2 for i in items]) ** 0.5)


def _network(described: Mapping[str, Any]) -> torch.nn.Module:
    if described["kind"] != "regressor":
        return create(described)
    whole = create({**described, "kind": "cascade"})
    assert isinstance(whole, CascadeNetwork)
    return whole.regressor


def _train_once(network: torch.nn.Module, x: torch.Tensor, compute: Compute) -> None:
    network.train()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.0)
    with compute.autocast():
        found = network(x)
    value = sum(out.float().mean() for out in (found if isinstance(found, tuple) else (found,)))
    assert isinstance(value, torch.Tensor)
    value.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    _wait(compute)


@torch.inference_mode()
def _look_once(network: torch.nn.Module, x: torch.Tensor, compute: Compute) -> None:
    network.eval()
    with compute.autocast():
        network(x)
    _wait(compute)


def _wait(compute: Compute) -> None:
    if compute.device.type == "cuda":
        torch.cuda.synchronize()


def _seconds(run: Any) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
