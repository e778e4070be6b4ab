"""Trials of a recipe: one ingredient left out or changed, measured on the same folds."""

import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from cellularity_core.training.held_out import (
    HELD_OUT,
    HeldOut,
    combine,
    held_out_scores,
    ingredient,
)
from cellularity_core.training.plan import (
    HEADS,
    Plan,
    cascade_stage,
    describe_networks,
    direct_stage,
    maps_stage,
    segmentation_stage,
)
from cellularity_core.training.recipes import Trial
from cellularity_core.training.targets import is_weak
from cellularity_core.wording import listed

TRIALS: Final = "trials.json"
"""In a plan's folder: rows of trials, for the card of the set."""
FOLDER: Final = "trials"
"""In a plan's folder: the runs of trials, a folder each."""

Row = dict[str, Any]


def measure_trial(plan: Plan, trial: Trial) -> list[Row]:
    """Train what a trial changes and measure it on patients that it never saw.

    Segmentations and maps are the plan's own where the trial changes nothing of them; what is
    trained already, with the same settings and data on the same device, is kept.

    Parameters
    ----------
    plan : Plan
        Of the recipe that has the trial; its folds are those of the trial.
    trial : Trial

    Returns
    -------
    list of dict
        "ingredient", "icc", "mse" and, as "trial", the trial's name; "epochs_scale" where the
        recipe's epochs were multiplied.

    Raises
    ------
    ModelError
        If what is there was trained with other settings or data, on another device or in
        another precision.
    """
    own = copy.copy(plan)
    own.resume = True
    tried = copy.copy(own)
    tried.out, tried.recipe = plan.out / FOLDER / trial.name, trial.recipe
    if _seen(tried) == _seen(own):
        tried.shared = plan.out
    folds = trial.folds or tuple(range(plan.folds))
    read = {"gbt", "cascade"} & set(trial.methods)
    for fold in range(plan.folds) if read else folds:
        segmentation_stage(tried, fold)
    if read:
        maps_stage(tried)
    heads = {name: head for head, name in HEADS.items()}
    for method in trial.methods:
        for fold in folds:
            if method == "cascade":
                cascade_stage(tried, fold)
            elif method in heads:
                direct_stage(tried, heads[method], fold)
    scores = held_out_scores(tried, describe_networks(trial.recipe), trial.methods)
    rows: list[Row] = []
    for name, held_out in scores.items():
        rows += _rows(plan, trial, name, held_out)
        if trial.with_own:
            rows.append(_with_own(own, name, held_out))
    told: Row = {"trial": trial.name}
    if plan.epochs_scale != 1:
        told["epochs_scale"] = plan.epochs_scale
    return [{**row, **told} for row in rows]


def _seen(plan: Plan) -> tuple[Any, ...]:
    """What segmentations and maps are made with."""
    return plan.recipe.segmentation, plan.recipe.boosting and plan.recipe.boosting.views


def _rows(plan: Plan, trial: Trial, method: str, held_out: HeldOut) -> Iterator[Row]:
    weak, name = is_weak(plan.items), f"{method} {trial.what}"
    for fold in trial.alone:
        yield ingredient(f"{name} (fold {fold}, {{n}} patches)", _of(plan, held_out, (fold,)), weak)
    folds = "".join(f"fold {fold}, " for fold in trial.folds)
    name = "the same, all folds" if trial.alone and not folds else name
    yield ingredient(f"{name} ({folds}{{n}} patches)", _of(plan, held_out, trial.folds), weak)


def _of(plan: Plan, held_out: HeldOut, folds: Sequence[int]) -> HeldOut:
    """Of the patches of some folds; of all where none is named."""
    fold_of = {i.sample.name: int(k) for i, k in zip(plan.items, plan.fold_of, strict=True)}
    kept = [k for k, i in enumerate(held_out.items) if not folds or fold_of[i.sample.name] in folds]
    return HeldOut([held_out.items[k] for k in kept], held_out.scores[kept])


def _with_own(plan: Plan, method: str, held_out: HeldOut) -> Row:
    """The mean with the scores of the recipe as it is."""
    if method == "gbt":
        for fold in range(plan.folds):
            segmentation_stage(plan, fold)
        maps_stage(plan)
    own = held_out_scores(plan, describe_networks(plan.recipe), [method])[method]
    both = combine({"own": own, "tried": held_out}, ["own", "tried"])
    what = f"the same, mean with the scores of {method} itself ({{n}} patches)"
    return ingredient(what, both, is_weak(plan.items))


def keep_rows(plan: Plan, trials: Sequence[Trial], rows: Sequence[Row]) -> None:
    """Put rows into ``trials.json``, in the recipe's order; others stay, without a trial last."""
    order = {trial.name: k for k, trial in enumerate(trials)}
    made = {row["trial"] for row in rows}
    table = [row for row in kept_rows(plan) if row.get("trial") not in made] + list(rows)
    table.sort(key=lambda row: order.get(row.get("trial", ""), len(order)))
    plan.out.mkdir(parents=True, exist_ok=True)
    (plan.out / TRIALS).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def kept_rows(plan: Plan) -> list[Row]:
    """Rows of ``trials.json``; none where there is no such file."""
    path = plan.out / TRIALS
    rows: list[Row] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return rows


def table(rows: Sequence[Row]) -> list[str]:
    """Lines of Markdown: what each ingredient gave; remarks on rows below, numbered."""
    remarks = list(dict.fromkeys(row["remark"] for row in rows if "remark" in row))
    lines = ["| ingredient | ICC(A,1) | MSE |", "|---|---|---|"]
    for row in rows:
        name = row["ingredient"]
        if "epochs_scale" in row:
            name += f", epochs x {row['epochs_scale']:g}"
        if "remark" in row:
            name += f" ({remarks.index(row['remark']) + 1})"
        lines.append(f"| {name} | {row['icc']:.3f} | {row['mse']:.4f} |")
    for k, remark in enumerate(remarks, 1):
        lines += ["", f"({k}) {remark}"]
    return lines


def section(rows: Sequence[Row], command: str) -> list[str]:
    """Of a card: what each ingredient gave, and the command that measures it anew."""
    if not rows:
        return []
    lines = ["## What each ingredient gave", "", *table(rows), ""]
    if trials := list(dict.fromkeys(row["trial"] for row in rows if "trial" in row)):
        lines += [
            "Where something was changed or left out, this trains and measures it anew, on the "
            f"same folds (`--trial` with one of {listed(trials)} for its rows only). The means "
            f"are of the scores in [{HELD_OUT}]({HELD_OUT}).",
            "",
            "```",
            command,
            "```",
            "",
        ]
    return lines
