"""From finished trainings to a model set: figures, weights, manifest and cards."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cellularity_core import __version__
from cellularity_core.conventions import INTERVAL, WEAK_SCALE
from cellularity_core.evaluation import auc, conformal_half_width, figures
from cellularity_core.model_store import MANIFEST, file_sha256
from cellularity_core.networks import create
from cellularity_core.training import cards
from cellularity_core.training.cascade import predict_cascade
from cellularity_core.training.direct import predict_direct
from cellularity_core.training.images import Loaded
from cellularity_core.training.loop import BEST, load_weights
from cellularity_core.training.packaging import save_network
from cellularity_core.training.plan import (
    HEADS,
    Plan,
    boosting_stage,
    describe_networks,
    direct_settings,
    nuclei_stage,
)
from cellularity_core.training.targets import patch_target

Scores = npt.NDArray[np.float64]


def assemble(plan: Plan, folder: Path, *, views: int = 1) -> Mapping[str, Any]:
    """Write a model set from a plan whose stages are all trained.

    Parameters
    ----------
    plan : Plan
    folder : Path
        Of the model set; its name is the set's name.
    views : int
        Test-time views of its default configuration.

    Returns
    -------
    mapping
        The manifest.

    Raises
    ------
    ModelError
        If a stage is missing; it is named.
    """
    seen = plan.recipe.needed(plan.recipe.segmentation, "segmentation")
    folder.mkdir(parents=True, exist_ok=True)
    networks = describe_networks(plan.recipe)
    held_out = held_out_scores(plan, networks)
    nuclei = nuclei_stage(plan)
    methods = {method: _method(items, scores) for method, (items, scores) in held_out.items()}
    for name, described in networks.items():
        arguments = {k: v for k, v in described.items() if k != "input_pool"}
        network = create(arguments)
        network.load_state_dict(load_weights(_weights_of(plan, name, None))["model"])
        save_network(network.eval(), folder / name, int(described.get("input_pool", 1)))
    (folder / "gbt.txt").write_bytes((plan.out / "gbt.txt").read_bytes())
    shipped = sorted([*folder.glob("*.safetensors"), *folder.glob("*.onnx"), folder / "gbt.txt"])
    manifest: dict[str, Any] = {
        "name": folder.name,
        "software": __version__,
        "scale": WEAK_SCALE if _is_weak(plan.items) else "pathologist",
        "interval": INTERVAL,
        "mpp": seen.view_mpp,
        "views": views,
        "recipe": plan.recipe_name,
        "seed": plan.seed,
        "folds": plan.folds,
        "data": [spec.partition(":")[0] for spec in plan.data],
        "networks": networks,
        "nuclei": nuclei,
        "methods": methods,
        "files": {p.name: file_sha256(p, p.stat().st_size, p.stat().st_mtime_ns) for p in shipped},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, allow_nan=False) + "\n")
    cards.write(plan, manifest, folder)
    return manifest


def held_out_scores(
    plan: Plan, networks: Mapping[str, Any]
) -> dict[str, tuple[list[Loaded], Scores]]:
    """Scores of patches by models that never saw their patient, by method."""
    out: dict[str, tuple[list[Loaded], Scores]] = {"gbt": (list(plan.items), boosting_stage(plan))}
    seen = plan.recipe.needed(plan.recipe.segmentation, "segmentation")
    heads = {name: head for head, name in HEADS.items()}
    _, held_out = plan.split(0)
    for name in ("cascade", "direct-r", "direct-c"):
        arguments = {k: v for k, v in networks[name].items() if k != "input_pool"}
        network = create(arguments)
        network.load_state_dict(load_weights(_weights_of(plan, name, 0))["model"])
        network.to(plan.compute.device).eval()
        if name == "cascade":
            scores = predict_cascade(network, held_out, seen, plan.compute)
        else:
            settings = direct_settings(plan.recipe, heads[name])
            scores = predict_direct(network, held_out, settings, plan.compute)
        out[name] = (held_out, scores)
    return out


def _weights_of(plan: Plan, network: str, fold: int | None) -> Path:
    return plan.run(network, fold) / BEST


def _is_weak(items: Sequence[Loaded]) -> bool:
    return not any(item.sample.scores for item in items)


def _method(items: Sequence[Loaded], scores: Scores) -> dict[str, Any]:
    """Figures of one method on held-out patients, and the half-width of its interval."""
    graded = [k for k, i in enumerate(items) if i.sample.scores]
    if not graded:
        graded = [k for k, i in enumerate(items) if i.sample.points is not None]
    truth = np.array([patch_target(items[k]) for k in graded])
    found = scores[graded]
    measured: dict[str, Any] = {
        name: [_finite(v) for v in values]
        for name, values in figures(truth, found, [items[k].sample.patient for k in graded]).items()
    }
    measured["n"] = len(graded)
    measured["patients"] = len({items[k].sample.patient for k in graded})
    fields = {
        label: np.array([s for i, s in zip(items, scores, strict=True) if i.sample.field == label])
        for label in ("benign", "malignant")
    }
    if len(fields["benign"]):
        measured["benign_mean"] = float(fields["benign"].mean())
        measured["benign_n"] = len(fields["benign"])
    if len(fields["malignant"]):
        measured["malignant_mean"] = float(fields["malignant"].mean())
        measured["malignant_n"] = len(fields["malignant"])
    measured["auc"] = _finite(auc(fields["malignant"], fields["benign"]))
    return {
        "half_width": conformal_half_width(truth - found, INTERVAL),
        "figures": measured,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
