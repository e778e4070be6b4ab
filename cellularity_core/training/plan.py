"""The stages of a model set, each resumable, in one folder.

    segmentation-fold0 ...   one per fold, for maps of patients it never saw
    segmentation             of all patients: the one that ships
    maps/                    activations by the fold that did not see the patient
    gbt.txt, nuclei.json     boosted trees and nuclei thresholds on those maps
    cascade*, direct-*       of fold 0 (for figures), then of all patients

Figures come from patients that the network in question never saw: all folds for
the boosted trees and the nuclei, fold 0 for the cascade and the direct networks.
"""

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cellularity_core import boosting
from cellularity_core.conventions import FEATURE_MPP
from cellularity_core.datasets import load, patient_folds, without_test
from cellularity_core.errors import DataError
from cellularity_core.networks import create
from cellularity_core.nuclei import PointCounts, detect_nuclei, point_f1, rescaled
from cellularity_core.resample import resample_maps
from cellularity_core.training.activations import (
    Activations,
    crop_examples,
    make_activations,
    read_activations,
)
from cellularity_core.training.cascade import train_cascade
from cellularity_core.training.direct import train_direct
from cellularity_core.training.images import Loaded, load_images
from cellularity_core.training.loop import BEST, Compute, Schedule, load_weights
from cellularity_core.training.recipes import Direct, Recipe, recipe
from cellularity_core.training.segmentation import (
    SELF_LABELS,
    network_description,
    read_saved_points,
    train_segmentation,
    with_points,
)
from cellularity_core.training.targets import graded, is_weak, patch_target, regressed, trust

HEADS: Final = {"regression": "direct-r", "classification": "direct-c"}
INNER: Final = 6
"""One in so many training patients chooses the epoch, where a schedule keeps the best."""
F1_RADIUS_UM: Final = 3.0
"""Of the match of a nucleus and a point: 6 px at 20x."""


@dataclasses.dataclass(slots=True)
class Plan:
    """Data, recipe and folder of one model set in the making.

    Attributes
    ----------
    out : Path
    data : list of str
        ``KIND:FOLDER`` each; a published test part is left out.
    recipe_name : str
    compute : Compute
    folds : int
    seed : int
    resume : bool
    epochs_scale : float
    shared : Path, optional
        Folder of another plan whose segmentations and maps serve this one; `out` by default.
    """

    out: Path
    data: Sequence[str]
    recipe_name: str
    compute: Compute
    folds: int = 3
    seed: int = 0
    resume: bool = False
    epochs_scale: float = 1.0
    shared: Path | None = None
    items: list[Loaded] = dataclasses.field(init=False)
    fold_of: npt.NDArray[np.int64] = dataclasses.field(init=False)
    recipe: Recipe = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.recipe = recipe(self.recipe_name)
        samples = without_test([s for spec in self.data for s in load(spec)])
        names: set[str] = set()
        for sample in samples:  # maps, folds and scores are kept by name
            if sample.name in names:
                raise DataError(
                    f"Two images are called '{sample.name}'; give each data set once, and give "
                    "images of one name another."
                )
            names.add(sample.name)
        self.fold_of = patient_folds(samples, self.folds, self.seed)
        self.items = load_images(samples)

    def split(self, fold: int | None) -> tuple[list[Loaded], list[Loaded]]:
        """Training and validation items of a fold; all and none for no fold."""
        if fold is None:
            return list(self.items), []
        if not 0 <= fold < self.folds:
            raise DataError(f"There is no fold {fold}; choose 0 to {self.folds - 1}.")
        pairs = list(zip(self.items, self.fold_of, strict=True))
        return [i for i, k in pairs if k != fold], [i for i, k in pairs if k == fold]

    def hold_back(
        self, training: Sequence[Loaded], fold: int | None, *schedules: Schedule | None
    ) -> tuple[list[Loaded], list[Loaded]]:
        """Training items to learn from, and those of patients who choose the epoch.

        One patient of `INNER` chooses, the same in every stage of a fold, where a schedule
        keeps the best epoch; so the fold's own patients have no say. A network of all
        patients keeps its last epoch.
        """
        keeps = any(schedule is not None and schedule.keep_best for schedule in schedules)
        if fold is None or not keeps or len({i.sample.patient for i in training}) < 2:
            return list(training), []
        inner = patient_folds([i.sample for i in training], INNER, self.seed)
        pairs = list(zip(training, inner, strict=True))
        return [i for i, k in pairs if k != 0], [i for i, k in pairs if k == 0]

    def run(self, stage: str, fold: int | None) -> Path:
        """Folder of one training."""
        out = self.shared if stage == "segmentation" and self.shared else self.out
        return out / (stage if fold is None else f"{stage}-fold{fold}")

    @property
    def maps(self) -> Path:
        """Folder of activations."""
        return (self.shared or self.out) / "maps"

    def options(self, stage: str, fold: int | None) -> dict[str, Any]:
        return {
            "out": self.run(stage, fold),
            "compute": self.compute,
            "seed": self.seed,
            "resume": self.resume,
            "epochs_scale": self.epochs_scale,
        }


def segmentation_stage(plan: Plan, fold: int | None) -> None:
    """Train the segmentation of a fold, or of all patients."""
    settings = plan.recipe.needed(plan.recipe.segmentation, "segmentation")
    training, validation = plan.split(fold)
    training, choosing = plan.hold_back(training, fold, settings.schedule)
    train_segmentation(
        training,
        validation,
        settings,
        choosing=choosing,
        **plan.options("segmentation", fold),
    )


def maps_stage(plan: Plan) -> None:
    """Activations of every patch by the segmentation of the fold that held it out."""
    settings = plan.recipe.needed(plan.recipe.segmentation, "segmentation")
    viewed = plan.recipe.boosting or plan.recipe.needed(plan.recipe.cascade, "cascade")
    for fold in range(plan.folds):
        _, held_out = plan.split(fold)
        state = load_weights(plan.run("segmentation", fold) / BEST)
        model = create(network_description(settings))
        model.load_state_dict(state["model"])
        make_activations(
            model.to(plan.compute.device).eval(),
            held_out,
            settings,
            plan.compute,
            out=plan.maps,
            views=viewed.views,
            seed=plan.seed,
        )


def named(plan: Plan, items: Sequence[Loaded], fold: int | None) -> list[Loaded]:
    """Items whose whole fields carry the nuclei that the segmentation of `fold` named."""
    path = plan.run("segmentation", fold) / SELF_LABELS
    points = read_saved_points(path) if path.exists() else {}
    return [
        with_points([item], points)[0] if item.sample.name in points else item for item in items
    ]


def learnable(plan: Plan, items: Sequence[Loaded]) -> list[Loaded]:
    """Items that teach a score on the plan's scale; see `targets.regressed`."""
    return regressed(items, is_weak(plan.items))


def check_graded(plan: Plan) -> None:
    """Make sure that some cellularity is known outside every fold.

    Raises
    ------
    DataError
        If models of a fold would have nothing to learn a score from.
    """
    weak = is_weak(plan.items)
    for fold in range(plan.folds):
        if not graded(plan.split(fold)[0], weak):
            known = "have nuclei points" if weak else "are scored by a pathologist"
            raise DataError(
                f"{len(graded(plan.items, weak))} patches {known}, none of them outside fold "
                f"{fold} of {plan.folds}, so its models would learn no score; give such patches "
                "of more patients" + ("." if weak else ", or none to learn weak TC from points.")
            )


def direct_settings(chosen: Recipe, head: str) -> Direct:
    """What a recipe says of a head.

    Raises
    ------
    ModelError
        If it says nothing.
    """
    if head == "regression":
        return chosen.needed(chosen.direct, "direct")
    return chosen.needed(chosen.direct_classes, "direct_classes")


def head_of(chosen: Recipe, head: str | None) -> str:
    """The head asked for, or the only one that a recipe speaks of; regression of both."""
    if head is not None:
        return head
    only_classes = chosen.direct is None and chosen.direct_classes is not None
    return "classification" if only_classes else "regression"


def direct_stage(plan: Plan, head: str, fold: int | None) -> None:
    """Train a direct network of a fold, or of all patients."""
    settings = direct_settings(plan.recipe, head)
    training, validation = plan.split(fold)
    training, choosing = plan.hold_back(training, fold, settings.schedule, settings.whole)
    train_direct(
        learnable(plan, named(plan, training, fold)),
        learnable(plan, validation),
        settings,
        choosing=learnable(plan, choosing),
        start=plan.run("segmentation", fold) / BEST if settings.after_segmentation else None,
        **plan.options(HEADS[head], fold),
    )


def cascade_stage(plan: Plan, fold: int | None) -> None:
    """Train the cascade of a fold, or of all patients."""
    settings = plan.recipe.needed(plan.recipe.cascade, "cascade")
    training, validation = plan.split(fold)
    training, choosing = plan.hold_back(training, fold, settings.frozen, settings.joint)
    usable = learnable(plan, named(plan, training, fold))
    maps = [read_activations(plan.maps, item.sample.name) for item in usable]
    train_cascade(
        usable,
        maps,
        learnable(plan, validation),
        plan.run("segmentation", fold) / BEST,
        settings,
        plan.recipe.needed(plan.recipe.segmentation, "segmentation"),
        choosing=learnable(plan, choosing),
        **plan.options("cascade", fold),
    )


def boosting_stage(plan: Plan) -> npt.NDArray[np.float64]:
    """Train the boosted trees and write ``gbt.txt``; return each patch's score by trees
    that never saw its patient, in the order of the plan's items."""
    settings = plan.recipe.needed(plan.recipe.boosting, "boosting")
    maps = {i.sample.name: read_activations(plan.maps, i.sample.name) for i in plan.items}
    fold = dict(zip((i.sample.name for i in plan.items), plan.fold_of, strict=True))

    def examples(item: Loaded) -> tuple[npt.NDArray[np.float64], ...]:
        one = maps[item.sample.name]
        table, targets = crop_examples(item, one, count=settings.crops, seed=plan.seed)
        whole = np.full(len(one.features), patch_target(item))
        targets = np.concatenate([whole, targets])
        weights = np.full(len(targets), trust(item.sample))
        return np.concatenate([one.features, table]), targets, weights

    made: dict[int, tuple[npt.NDArray[np.float64], ...]] = {}  # by item: most serve every fold
    kept: list[Loaded] = []  # an identity is one as long as its item lives

    def fit_trees(k: int | None) -> boosting.BoostedTrees:
        items = [i for i in plan.items if k is None or fold[i.sample.name] != k]
        items = learnable(plan, named(plan, items, k))  # fields named without the fold's patients
        kept.extend(items)
        for item in items:
            if id(item) not in made:
                made[id(item)] = examples(item)
        tables, targets, weights = zip(*(made[id(i)] for i in items), strict=True)
        return boosting.train(
            np.concatenate(tables),
            np.concatenate(targets),
            weights=np.concatenate(weights),
            seed=plan.seed,
            rounds=settings.rounds,
            learning_rate=settings.rate,
        )

    found = {}
    for k in range(plan.folds):
        trees = fit_trees(k)
        for name, one in maps.items():
            if fold[name] == k:
                found[name] = float(trees.predict(one.features[:1])[0])
    fit_trees(None).save(plan.out / "gbt.txt")
    return np.array([found[i.sample.name] for i in plan.items])


def nuclei_stage(plan: Plan) -> dict[str, Any]:
    """Choose how nuclei are found, by point F1 on held-out maps; write ``nuclei.json``."""
    pointed = [i for i in plan.items if i.sample.points is not None]
    maps = [read_activations(plan.maps, i.sample.name) for i in pointed]
    mpp = plan.recipe.needed(plan.recipe.segmentation, "segmentation").view_mpp
    best: dict[str, Any] = {"f1": [-1.0]}
    for joint, sigma in itertools.product((True, False), (1.5, 1.75, 2.0, 2.5)):
        grid = np.arange(0.06, 0.5, 0.04)
        counts = {
            round(float(t), 2): _counts(pointed, maps, mpp, [float(t)] * 3, sigma, joint)
            for t in grid
        }
        # Per class independent thresholds; joint detection couples them only weakly.
        chosen = [
            max(counts, key=lambda t, k=k: counts[t].f1()[k])  # type: ignore[misc]
            for k in range(3)
        ]
        f1 = _counts(pointed, maps, mpp, chosen, sigma, joint).f1()
        if f1.mean() > np.mean(best["f1"]):
            best = {
                "thresholds": [float(c) for c in chosen],
                "sigma_um": sigma,
                "joint": joint,
                "f1": [float(v) for v in f1],
                "radius_um": F1_RADIUS_UM,
            }
    (plan.out / "nuclei.json").write_text(json.dumps(best, indent=1))
    return best


def _counts(
    items: Sequence[Loaded],
    activations: Sequence[Activations],
    mpp: float,
    thresholds: Sequence[float],
    sigma: float,
    joint: bool,
) -> PointCounts:
    total: PointCounts | None = None
    for item, one in zip(items, activations, strict=True):
        # On maps at the size of features, as the scorer finds them.
        maps = resample_maps(one.plain.astype(np.float32) / 255, mpp / FEATURE_MPP)
        found = detect_nuclei(maps, FEATURE_MPP, thresholds, sigma_um=sigma, joint=joint)
        height, width = item.pixels.shape[:2]  # where the points are
        found = rescaled(found, (width / maps.shape[2], height / maps.shape[1]))
        counted = point_f1(item.points.xy, item.points.label, found, F1_RADIUS_UM / item.sample.mpp)
        total = counted if total is None else total + counted
    if total is None:
        raise DataError("No patch has nuclei points; add a data set that has, e.g. brca-m2c.")
    return total


def describe_networks(chosen: Recipe) -> dict[str, Mapping[str, Any]]:
    """Description of every network of a set, as its manifest holds it."""
    from cellularity_core.training import cascade, direct

    segmentation = chosen.needed(chosen.segmentation, "segmentation")
    heads = {name: direct_settings(chosen, head) for head, name in HEADS.items()}
    own = {} if shared_networks(chosen) else {"segmentation": network_description(segmentation)}
    return {
        **own,
        "cascade": cascade.network_description(
            chosen.needed(chosen.cascade, "cascade"), segmentation
        ),
        **{
            name: {
                **direct.network_description(settings),
                "input_pool": round(settings.view_mpp / segmentation.view_mpp),
            }
            for name, settings in heads.items()
        },
    }


def shared_networks(chosen: Recipe) -> dict[str, str]:
    """Methods that look through another's network.

    A cascade whose segmentation stays as it was trained holds the maps that the boosted
    trees read, so one run of it serves both.
    """
    cascade = chosen.needed(chosen.cascade, "cascade")
    return {"gbt": "cascade"} if cascade.joint is None else {}
