"""From finished trainings to a model set: figures, weights, manifest and cards."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cellularity_core import __version__
from cellularity_core.conventions import COMBINED, INTERVAL
from cellularity_core.model_store import MANIFEST, file_sha256
from cellularity_core.networks import create
from cellularity_core.patch import pixel_digest
from cellularity_core.training import cards
from cellularity_core.training.ablation import FOLDER as TRIALS
from cellularity_core.training.ablation import kept_rows
from cellularity_core.training.held_out import (
    HELD_OUT,
    combine,
    held_out_csv,
    held_out_scores,
    means,
    measured,
)
from cellularity_core.training.loop import BEST, LOG, load_weights
from cellularity_core.training.packaging import save_network
from cellularity_core.training.plan import Plan, describe_networks, nuclei_stage, shared_networks
from cellularity_core.training.targets import is_weak, scale_of


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
    held_out = dict(held_out_scores(plan, networks))
    weak, alone = is_weak(plan.items), tuple(held_out)
    if plan.recipe.combined:
        held_out[COMBINED] = combine(held_out, plan.recipe.combined)
    folds = {i.sample.name: int(k) for i, k in zip(plan.items, plan.fold_of, strict=True)}
    saved = held_out_csv(plan.items, folds, held_out)
    for place in (plan.out, folder):
        (place / HELD_OUT).write_text(saved, encoding="utf-8")
    methods = {method: measured(one, weak, folds) for method, one in held_out.items()}
    if plan.recipe.combined:
        methods[COMBINED]["of"] = list(plan.recipe.combined)
    nuclei = nuclei_stage(plan)
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
        "scale": scale_of(plan.items),
        "interval": INTERVAL,
        "mpp": seen.view_mpp,
        "views": views,
        "recipe": plan.recipe_name,
        "seed": plan.seed,
        "folds": plan.folds,
        "epochs_scale": plan.epochs_scale,
        "device": plan.compute.device.type,
        "bf16": plan.compute.bf16,
        "learnt_from": sorted({pixel_digest(item.pixels) for item in plan.items}),
        "data": [spec.partition(":")[0] for spec in plan.data],
        "networks": networks,
        "looks_through": shared_networks(plan.recipe),
        "headline": COMBINED if plan.recipe.combined else "gbt",
        "nuclei": nuclei,
        "methods": methods,
        "ablation": [*kept_rows(plan), *means(held_out, alone, weak)],
        "curves": curves(plan),
        "files": {p.name: file_sha256(p, p.stat().st_size, p.stat().st_mtime_ns) for p in shipped},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, allow_nan=False) + "\n")
    cards.write(plan, manifest, folder)
    return manifest


def curves(plan: Plan) -> dict[str, dict[str, list[float | None]]]:
    """The log of every training of the set: run to column to values by epoch (Figs. 8 and 9)."""
    found: dict[str, dict[str, list[float | None]]] = {}
    for path in sorted(plan.out.rglob(LOG)):
        if plan.out / TRIALS in path.parents:
            continue
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        found[path.parent.relative_to(plan.out).as_posix()] = {
            name: [float(row[name]) if row[name] else None for row in rows]
            for name in (rows[0] if rows else ())
            if name != "seconds"
        }
    return found


def _weights_of(plan: Plan, network: str, fold: int | None) -> Path:
    return plan.run(network, fold) / BEST
