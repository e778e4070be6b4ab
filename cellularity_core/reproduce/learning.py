"""What each row trains, once, and the scores it leaves of patients it never saw.

    runs/ROW/SPLIT/          best.pt, log.csv, done.json of its network
                   inner0/   the segmentation without one half of the training patients
                   maps6/    activations of every patch, by a network that never learnt from it
                   scores.csv, overlaps.csv, run.json   the row's own outcome, last

A segmentation that learnt from a patch draws it better than a new patient's, and a
regressor on such maps would trust them too much. So maps of patches that the
segmentation learns from are made by two inner segmentations, each without one half of
the training patients.
"""

import dataclasses
import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from cellularity_core import boosting
from cellularity_core.errors import DataError, ModelError
from cellularity_core.networks import create
from cellularity_core.networks.cascade import Cascade as CascadeNetwork
from cellularity_core.reproduce.kept import (
    ROW,
    RUN,
    SETTINGS,
    TREES,
    hold,
    logged_seconds,
    save_overlaps,
    save_scores,
    weight_files,
    write,
)
from cellularity_core.reproduce.material import (
    Material,
    Split,
    halves,
    pointed,
    sha256_of,
)
from cellularity_core.reproduce.rows import Row
from cellularity_core.training.activations import (
    crop_examples,
    make_activations,
    read_activations,
)
from cellularity_core.training.cascade import predict_cascade, train_cascade
from cellularity_core.training.direct import predict_direct, train_direct
from cellularity_core.training.images import Loaded, data_checksum
from cellularity_core.training.loop import BEST, DONE, Compute, Schedule, load_weights
from cellularity_core.training.recipes import Direct, Recipe, Segmentation, recipe
from cellularity_core.training.segmentation import (
    network_description,
    overlaps,
    train_segmentation,
)
from cellularity_core.training.targets import patch_target

log = logging.getLogger(__name__)

RUNS: Final = "runs"
MAPS: Final = "maps"
INNER: Final = ("inner0", "inner1")

Recipes = Callable[[str], Recipe]


@dataclasses.dataclass(slots=True)
class Runner:
    """Trains rows in one folder.

    Attributes
    ----------
    material : Material
    out : Path
    compute : Compute
    seed : int
    epochs_scale : float
    recipes : callable
        Name to recipe.
    """

    material: Material
    out: Path
    compute: Compute
    seed: int = 0
    epochs_scale: float = 1.0
    recipes: Recipes = recipe
    failed: dict[Path, Exception] = dataclasses.field(default_factory=dict)
    checksums: dict[str, str] = dataclasses.field(default_factory=dict)

    def folder(self, name: str, split: Split) -> Path:
        """Where a row's run of a split lives."""
        return self.out / RUNS / name / split.name

    def is_done(self, row: Row, split: Split) -> bool:
        return (self.folder(row.name, split) / RUN).exists()

    def run(self, row: Row, split: Split) -> None:
        """Train a row on one split and leave its outcome; nothing where it is done.

        Raises
        ------
        CellularityError
            If the row cannot be trained, or its folder holds a run of other settings.
        """
        folder = self.folder(row.name, split)
        self.claim(row, split, take=True)
        if self.is_done(row, split):
            return
        began = time.perf_counter()
        {
            "segmentation": self._segmentation_row,
            "gbt": self._gbt_row,
            "cascade": self._cascade_row,
            "direct": self._direct_row,
            "classical": self._classical_row,
        }[row.kind](row, split)
        weights = {str(path.relative_to(folder)): sha256_of(path) for path in weight_files(folder)}
        seconds = max(time.perf_counter() - began, logged_seconds(folder))
        write(folder / RUN, json.dumps({"seconds": seconds, "weights": weights}, indent=1))

    def segmentation_settings(self, name: str) -> Segmentation:
        """Settings of a segmentation; its last epoch is kept, chosen on nobody."""
        chosen = self.recipes(name)
        settings = chosen.needed(chosen.segmentation, "segmentation")
        return dataclasses.replace(settings, schedule=_keeping(settings.schedule, False))

    def direct_settings(self, row: Row) -> Direct:
        """Settings of a direct network, whose training is one phase from its own start.

        Raises
        ------
        ModelError
            If the recipe says more than that.
        """
        chosen = self.recipes(row.name)
        settings = chosen.direct or chosen.needed(chosen.direct_classes, "direct")
        more = [key for key in ("after_segmentation", "whole") if getattr(settings, key)]
        if more:
            raise ModelError(
                f"The recipe '{row.name}' has {' and '.join(more)}, and a row of the tables is one "
                "network trained in one phase from its own start; take that out of the recipe, or "
                "train it with `cellularity train direct`."
            )
        return settings

    def segmentation(self, name: str, split: Split) -> Path:
        """Folder of the trained segmentation that rows share."""
        folder = self.folder(name, split)
        training = drawn(split.training)
        self._train_segmentation(name, training, pointed(split.measured), folder)
        return folder

    def maps(self, row: Row, split: Split) -> Path:
        """Folder of the maps of all that is learnt from or measured."""
        folder = self.segmentation(row.segmentation, split)
        chosen = self.recipes(row.name)
        views = (chosen.boosting or chosen.needed(chosen.cascade, "cascade")).views
        out = folder / f"{MAPS}{views}"
        if (out / DONE).exists():
            return out
        regressed = self.material.regressed(split.training)
        by_outer, by_inner = self._makers(split, regressed)
        self._make_maps(row, folder, [*by_outer, *self.to_score(split)], out, views)
        training = drawn(split.training)
        half = halves(training, self.seed)
        for j, name in enumerate(INNER):
            inside = {i.sample.name for i, h in zip(training, half, strict=True) if h == j}
            wanted = [i for i in by_inner if i.sample.name in inside]
            if not wanted:
                continue
            rest = [i for i, h in zip(training, half, strict=True) if h != j]
            self._train_segmentation(row.segmentation, rest, [], folder / name)
            self._make_maps(row, folder / name, wanted, out, views)
        write(out / DONE, "{}")
        return out

    def _makers(self, split: Split, items: Sequence[Loaded]) -> tuple[list[Loaded], list[Loaded]]:
        """Items whose maps the segmentation may make, and those it learnt from."""
        learnt = {item.sample.name for item in drawn(split.training)}
        return (
            [item for item in items if item.sample.name not in learnt],
            [item for item in items if item.sample.name in learnt],
        )

    def to_score(self, split: Split) -> list[Loaded]:
        """Measured items: those with a truth, and whole fields."""
        graded = {item.sample.name for item in self.material.graded(split.measured)}
        return [
            item
            for item in split.measured
            if item.sample.name in graded or item.sample.field is not None
        ]

    def curve_items(self, split: Split) -> list[Loaded]:
        """Items of the MSE by epoch: those that choose the epoch, or else the measured."""
        return self.material.graded(split.validation or split.measured)

    def _segmentation_row(self, row: Row, split: Split) -> None:
        folder = self.segmentation(row.segmentation, split)
        settings = self.segmentation_settings(row.segmentation)
        model = self.load_segmentation(settings, folder)
        self._measure_overlaps(folder, model, settings, split)

    def _gbt_row(self, row: Row, split: Split) -> None:
        maps, chosen = self.maps(row, split), self.recipes(row.name)
        settings = chosen.needed(chosen.boosting, "boosting")
        tables, targets = [], []
        for item in self.material.regressed(split.training):
            one = read_activations(maps, item.sample.name)
            crops, of_crops = crop_examples(item, one, count=settings.crops, seed=self.seed)
            whole = np.full(len(one.features), patch_target(item))
            tables += [one.features, crops]
            targets += [whole, of_crops]
        if not tables:
            raise DataError(
                "No training patch has a known cellularity; give scored or pointed patches."
            )
        trees = boosting.train(
            np.concatenate(tables),
            np.concatenate(targets),
            seed=self.seed,
            rounds=settings.rounds,
            learning_rate=settings.rate,
        )
        folder = self.folder(row.name, split)
        trees.save(folder / TREES)
        items = self.to_score(split)
        # METHODS 4: at test time the mean over views
        values = [
            float(trees.predict(read_activations(maps, i.sample.name).features).mean())
            for i in items
        ]
        save_scores(folder, items, values)

    def _cascade_row(self, row: Row, split: Split) -> None:
        maps, chosen = self.maps(row, split), self.recipes(row.name)
        settings = chosen.needed(chosen.cascade, "cascade")
        keeps = bool(split.validation)
        settings = dataclasses.replace(
            settings,
            frozen=_keeping(settings.frozen, keeps),
            joint=settings.joint and _keeping(settings.joint, keeps),
        )
        seen = self.segmentation_settings(row.segmentation)
        usable = self._usable(split)
        folder = self.folder(row.name, split)
        model = train_cascade(
            usable,
            [read_activations(maps, item.sample.name) for item in usable],
            self.curve_items(split),
            self.segmentation(row.segmentation, split) / BEST,
            settings,
            seen,
            **self._options(folder),
        )
        assert isinstance(model, CascadeNetwork)
        items = self.to_score(split)
        save_scores(folder, items, predict_cascade(model, items, seen, self.compute).tolist())
        self._measure_overlaps(folder, model.segmentation, seen, split)

    def _direct_row(self, row: Row, split: Split) -> None:
        settings = self.direct_settings(row)
        schedule = _keeping(settings.schedule, bool(split.validation))
        settings = dataclasses.replace(settings, schedule=schedule)
        folder = self.folder(row.name, split)
        model = train_direct(
            self._usable(split), self.curve_items(split), settings, **self._options(folder)
        )
        items = self.to_score(split)
        save_scores(folder, items, predict_direct(model, items, settings, self.compute).tolist())

    def _classical_row(self, row: Row, split: Split) -> None:
        from cellularity_core import classical

        folder = self.folder(row.name, split)
        classical.train(split.training, seed=self.seed, out=folder)
        items = self.to_score(split)
        found = classical.load(folder).predict(items)
        save_scores(folder, items, np.nan_to_num(found, nan=0.0).tolist())  # NaN: no tissue

    def _usable(self, split: Split) -> list[Loaded]:
        usable = self.material.regressed(split.training)
        if len(usable) < 2:
            raise DataError(
                f"{len(usable)} training patches have a known cellularity; give two or more "
                "scored or pointed patches."
            )
        return usable

    def _options(self, folder: Path) -> dict[str, Any]:
        return {
            "out": folder,
            "compute": self.compute,
            "seed": self.seed,
            "resume": True,
            "epochs_scale": self.epochs_scale,
        }

    def _train_segmentation(
        self, name: str, training: Sequence[Loaded], validation: Sequence[Loaded], folder: Path
    ) -> None:
        settings = self.segmentation_settings(name)
        data = data_checksum(training=training, validation=validation)
        wanted = {"segmentation": settings, "data": data}
        self._match(folder, wanted, SETTINGS, DONE)
        if (folder / DONE).exists():
            return
        if folder in self.failed:
            raise self.failed[folder]
        if len(pointed(training)) < 2:
            raise DataError(
                "A segmentation needs two training patches with nuclei points or more, "
                f"'{folder.parent.name}/{folder.name}' has {len(pointed(training))}; give more "
                "patients with points, for example of brca-m2c."
            )
        try:
            train_segmentation(training, validation, settings, **self._options(folder))
        except Exception as error:
            self.failed[folder] = error
            raise

    def load_segmentation(self, settings: Segmentation, folder: Path) -> torch.nn.Module:
        """A trained segmentation, ready to look."""
        model = create(network_description(settings))
        model.load_state_dict(load_weights(folder / BEST)["model"])
        return model.to(self.compute.device).eval()

    def _make_maps(
        self, row: Row, folder: Path, items: Sequence[Loaded], out: Path, views: int
    ) -> None:
        missing = [item for item in items if not (out / f"{item.sample.name}.npz").exists()]
        if missing:
            settings = self.segmentation_settings(row.segmentation)
            model = self.load_segmentation(settings, folder)
            make_activations(
                model, missing, settings, self.compute, out=out, views=views, seed=self.seed
            )

    def claim(self, row: Row, split: Split, *, take: bool = False) -> None:
        """Refuse a row's folder of other settings; with `take`, write these into a new one.

        Raises
        ------
        ModelError
            If the folder holds a run of other settings, data or patients, on another device
            or in another precision, or a finished one that does not say of which, or the
            recipe has what no row is trained by.
        """
        if row.kind == "direct":
            self.direct_settings(row)
        wanted: dict[str, Any] = {"data": self._data(split)}
        if row.kind != "classical":
            wanted["recipe"] = self.recipes(row.name)
        folder = self.folder(row.name, split)
        if take or (folder / ROW).exists() or (folder / RUN).exists():
            self._match(folder, wanted, ROW, RUN)

    def _data(self, split: Split) -> str:
        """Checksum of the images of a split and of what is known of them, made once."""
        if split.name not in self.checksums:
            self.checksums[split.name] = data_checksum(
                training=split.training, validation=split.validation, measured=split.measured
            )
        return self.checksums[split.name]

    def _match(self, folder: Path, wanted: dict[str, Any], name: str, finished: str) -> None:
        compute = {"device": self.compute.device.type, "bf16": self.compute.bf16}
        plain = {"seed": self.seed, "epochs_scale": self.epochs_scale, **compute, **wanted}
        text = json.dumps(plain, default=dataclasses.asdict, indent=1)
        hold(folder / name, text, folder / finished)

    def _measure_overlaps(
        self, folder: Path, model: torch.nn.Module, settings: Segmentation, split: Split
    ) -> None:
        items = pointed(split.measured)
        save_overlaps(folder, items, *overlaps(model, items, settings, self.compute))


def drawn(items: Sequence[Loaded]) -> list[Loaded]:
    """Items that a segmentation learns from: pointed ones, and whole fields."""
    return [item for item in items if item.sample.points is not None or item.sample.field]


def _keeping(schedule: Schedule, best: bool) -> Schedule:
    return dataclasses.replace(schedule, keep_best=schedule.keep_best and best)
