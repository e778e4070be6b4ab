"""The one public way in: patches to scores, maps, nuclei and reasons.

The page, the command line and every pipeline call `Scorer.open(...).score(patches)`;
there is no second path. Importing this module loads no training library.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from cellularity_core import quality
from cellularity_core.boosting import BoostedTrees
from cellularity_core.conventions import DEFAULT_SET, FEATURE_MPP, METHODS
from cellularity_core.engine import (
    Network,
    resolve_device,
    resolve_precision,
)
from cellularity_core.errors import ModelError
from cellularity_core.features import features
from cellularity_core.memory import give_back_memory
from cellularity_core.model_store import ModelSet, open_set
from cellularity_core.nuclei import detect_nuclei, rescaled
from cellularity_core.passes import VIEWS, Networks, Pass
from cellularity_core.patch import Patch
from cellularity_core.resample import resample_maps, resize_maps
from cellularity_core.results import Nuclei, PatchResult, Quality, Score
from cellularity_core.saliency import PlaceMap
from cellularity_core.threads import usable_cores

Maps = npt.NDArray[np.float32]


class Scorer:
    """Scores patches with the methods of one model set.

    Open it once and keep it: it holds the networks. It may be called from several
    threads.
    """

    def __init__(
        self,
        model_set: ModelSet,
        *,
        device: str = "auto",
        precision: str = "auto",
        methods: Sequence[str] | None = None,
        views: int | None = None,
        threads: int | None = None,
    ) -> None:
        methods = model_set.methods if methods is None else methods
        unknown = [m for m in methods if m not in model_set.methods]
        if unknown or not methods:
            raise ModelError(
                f"The model set '{model_set.name}' has no method '{', '.join(unknown)}'; choose "
                f"from {', '.join(model_set.methods)}."
            )
        self.model_set = model_set
        self.methods = tuple(m for m in METHODS if m in methods)
        self._parts = {m: model_set.parts(m) for m in self.methods}
        single = dict.fromkeys(("gbt", *(p for parts in self._parts.values() for p in parts)))
        self._met = model_set.met
        self._network_of = {m: model_set.network_of(m) for m in single}
        self.views = model_set.views if views is None else views
        if not 1 <= self.views <= len(VIEWS):
            raise ModelError(
                f"{self.views} test-time views were asked for; choose 1 to {len(VIEWS)}."
            )
        self.device = resolve_device(device)
        self.precision = resolve_precision(precision, self.device)
        self._threads = threads or usable_cores()
        # OpenCV's own threads would take the cores from the networks
        cv2.setNumThreads(1)
        # LightGBM takes as long to import as the networks to compile.
        with ThreadPoolExecutor(1) as aside:
            trees = aside.submit(BoostedTrees.load, model_set.file("gbt.txt"))
            self._networks = Networks(
                model_set,
                dict.fromkeys(self._network_of.values()),
                device=self.device,
                precision=self.precision,
                threads=self._threads,
                views=self.views,
            )
            self._trees = trees.result()

    @classmethod
    def open(
        cls,
        model_set: str = DEFAULT_SET,
        *,
        device: str = "auto",
        precision: str = "auto",
        methods: Sequence[str] | None = None,
        views: int | None = None,
        threads: int | None = None,
        root: Path | None = None,
    ) -> "Scorer":
        """Load a model set.

        Parameters
        ----------
        model_set : str
            Name of a folder under `root`.
        device : {"auto", "cpu", "cuda"}
        precision : {"auto", "f32", "bf16"}
            What networks multiply on a CPU; by default bfloat16 where it is in hardware.
        methods : sequence of str, optional
            Which of `METHODS` to score with; all that the set has by default. The maps of
            "gbt" are always made, since nuclei, features and reasons rest on them.
        views : int, optional
            Test-time views, 1 to 4; the set's own by default.
        threads : int, optional
            Cores to use; all by default.
        root : Path, optional
            Folder of the model sets.

        Raises
        ------
        ModelError
            If the set, a method, the device, the precision or a file cannot be used.
        """
        return cls(
            open_set(model_set, root),
            device=device,
            precision=precision,
            methods=methods,
            views=views,
            threads=threads,
        )

    def score(self, patches: Iterable[Patch], maps: bool = True) -> Iterator[PatchResult]:
        """Score patches, in order, as many at a time as keep all cores at work.

        Parameters
        ----------
        patches : iterable of Patch
            Read lazily; only the ones being worked on are held.
        maps : bool
            Whether results carry `activations` and `feature_maps`.

        Yields
        ------
        PatchResult
        """
        waiting: deque[tuple[Pass, Quality]] = deque()
        behind = 0  # tiles of those that wait, but for the first
        for patch in patches:
            # judged while the networks are at work
            waiting.append((self._networks.begin(patch), quality.assess(patch)))
            behind += len(waiting[-1][0].tiles) if len(waiting) > 1 else 0
            while behind >= self._threads:
                yield self._finish(*waiting.popleft(), maps)
                behind -= len(waiting[0][0].tiles)
        while waiting:
            yield self._finish(*waiting.popleft(), maps)

    def places(self, patch: Patch) -> dict[str, PlaceMap]:
        """Where in a patch each network finds its score; made on demand.

        Parameters
        ----------
        patch : Patch

        Returns
        -------
        dict of str to PlaceMap
            By method, for those whose score is the mean of the scores of places; on the
            scale of the network, before any `calibration`.
        """
        begun = self._networks.begin(patch)
        return {
            method: begun.places(name)
            for method, name in self._network_of.items()
            # The trees may look through a network that has a score of its own.
            if method != "gbt" and method in self.methods and self._networks[name].has_places
        }

    def gain(self) -> Mapping[str, float]:
        """Total gain of each of the 81 features in the boosted trees (Fig. 10)."""
        return self._trees.gain()

    def network(self, name: str) -> Network:
        """A network of the set that these methods run; to be measured alone."""
        return self._networks[name]

    def release(self) -> None:
        """Give back the memory that scoring took, some hundred MB; the next patch takes it anew.

        Not while a patch is being scored.
        """
        self._networks.release()
        give_back_memory()

    def _finish(self, begun: Pass, judged: Quality, keep_maps: bool) -> PatchResult:
        patch = begun.patch
        seen = self._network_of["gbt"]
        views = {seen: begun.maps(seen)}
        shown: list[str] = [m for m in ("gbt", "cascade") if keep_maps and m in self.methods]
        for name in {self._network_of[m] for m in shown} - {seen}:
            views[name] = begun.maps(name)
        seconds = {"networks": time.perf_counter() - begun.started}
        began = time.perf_counter()
        at_feature_size = [self._feature_map(m) for m in views[seen]]
        # of the tissue: bare glass would thin out every area, sum and count
        table = np.stack([features(m) for m in at_feature_size]) / begun.tissue
        seconds["features"] = time.perf_counter() - began

        began = time.perf_counter()
        shares, base = self._trees.contributions(table)
        raw: dict[str, npt.NDArray[np.float64]] = {"gbt": self._trees.predict(table)}
        seconds["trees"] = time.perf_counter() - began

        began = time.perf_counter()
        shape = patch.pixels.shape[:2]
        small = {seen: _mean(at_feature_size)}
        found = self._nuclei(small[seen], shape)
        seconds["nuclei"] = time.perf_counter() - began

        for method, network in self._network_of.items():
            if method != "gbt":
                raw[method] = begun.scores(network)
        blank = "no-tissue" in judged.flags
        means = {
            m: np.mean([raw[p].clip(0, 1) for p in parts], axis=0)
            for m, parts in self._parts.items()
        }
        scores = {
            m: Score(None, None, None) if blank else self._score(m, views)
            for m, views in means.items()
        }
        if patch.sha256 in self._met:
            judged = quality.with_flag(judged, "learnt-from")
        if not blank and any(self._is_beyond(m, one) for m, one in means.items()):
            judged = quality.with_flag(judged, "beyond-reader")
        drawn = {}
        for name in {self._network_of[m] for m in shown}:
            mean = _mean(views[name])
            drawn[name] = resize_maps(mean, shape).astype(np.float16)
            small.setdefault(name, self._feature_map(mean))
        activations = {m: drawn[self._network_of[m]] for m in shown}
        feature_maps = {m: small[self._network_of[m]] for m in shown}
        seconds["total"] = time.perf_counter() - begun.started
        return PatchResult(
            image=patch.name,
            width=shape[1],
            height=shape[0],
            mpp=patch.mpp,
            sha256=patch.sha256,
            scores=scores,
            nuclei=_none_found() if blank else found,
            features=table.mean(axis=0),
            contributions=shares.mean(axis=0),
            base_value=base,
            quality=judged,
            model_set=self.model_set.name,
            model_sha256=self.model_set.sha256,
            scale=self.model_set.scale,
            precision=self.precision,
            views=self.views,
            notes=patch.notes,
            uncalibrated={
                m: float(views.mean())
                for m, views in means.items()
                if not blank and self.model_set.calibration(m) is not None
            },
            seconds=seconds,
            activations=activations,
            feature_maps=feature_maps,
        )

    def _feature_map(self, maps: Maps) -> Maps:
        return resample_maps(maps, self.model_set.mpp / FEATURE_MPP)

    def _nuclei(self, small: Maps, shape: tuple[int, int]) -> Nuclei:
        """Nuclei of maps at the size of features, on the patch's own pixels."""
        settings: Mapping[str, Any] = self.model_set.manifest["nuclei"]
        found = detect_nuclei(
            small,
            FEATURE_MPP,
            settings["thresholds"],
            sigma_um=settings["sigma_um"],
            joint=settings["joint"],
        )
        return rescaled(found, (shape[1] / small.shape[2], shape[0] / small.shape[1]))

    def _is_beyond(self, method: str, views: npt.NDArray[np.float64]) -> bool:
        calibration = self.model_set.calibration(method)
        return calibration is not None and calibration.is_beyond(float(views.mean()))

    def _score(self, method: str, views: npt.NDArray[np.float64]) -> Score:
        """Mean over views, on the set's scale, with its interval."""
        value = float(views.mean())
        spread = float(views.std()) if len(views) > 1 else None
        calibration = self.model_set.calibration(method)
        interval = self.model_set.interval(method)
        if calibration is not None:
            return Score(float(calibration(value)), *calibration.limits(value, spread, interval))
        low, high = interval.limits(value, spread)
        return Score(value, float(low), float(high))


def _mean(maps: Sequence[Maps]) -> Maps:
    """Mean of the views' maps; no copy of a single view's."""
    return maps[0] if len(maps) == 1 else np.mean(maps, axis=0)


def _none_found() -> Nuclei:
    return Nuclei(
        np.empty((0, 2), np.float32),
        np.empty(0, np.int8),
        np.empty(0, np.float32),
        np.empty(0, np.float32),
    )
