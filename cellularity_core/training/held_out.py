"""Scores of patients that a method never saw, and the figures made of them."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cellularity_core.agreement import icc_a1, mse, to_bins
from cellularity_core.conformal import coverage_report, fit_interval
from cellularity_core.errors import ModelError
from cellularity_core.evaluation import auc, figures
from cellularity_core.export import csv_text
from cellularity_core.networks import create
from cellularity_core.training.cascade import predict_cascade
from cellularity_core.training.coverage import coverage_by
from cellularity_core.training.direct import predict_direct
from cellularity_core.training.images import Loaded
from cellularity_core.training.loop import BEST, DONE, load_weights
from cellularity_core.training.plan import HEADS, Plan, boosting_stage, direct_settings
from cellularity_core.training.targets import graded, patch_target

Scores = npt.NDArray[np.float64]

BIN_NAMES: Final = ("0-0.25", "0.25-0.5", "0.5-0.75", "0.75-1")
"""Of `agreement.to_bins`."""
HELD_OUT: Final = "held-out.csv"
HELD_OUT_COLUMNS: Final = (
    "patch",
    "patient",
    "fold",
    "site",
    "reference",
    "reference_kind",
    "field",
)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Patches and their scores by a method that never saw their patients.

    Attributes
    ----------
    items : list of Loaded
    scores : ndarray, shape (n,)
    """

    items: list[Loaded]
    scores: Scores

    def by_name(self) -> dict[str, float]:
        return {i.sample.name: float(s) for i, s in zip(self.items, self.scores, strict=True)}

    def graded(self, weak: bool) -> tuple[list[Loaded], Scores, Scores]:
        """Patches with a reference, that reference, and their scores; see `targets.graded`."""
        items, table = graded(self.items, weak), self.by_name()
        truth = np.array([patch_target(i) for i in items])
        return items, truth, np.array([table[i.sample.name] for i in items])


def held_out_scores(
    plan: Plan,
    networks: Mapping[str, Any],
    methods: Sequence[str] = ("gbt", "cascade", *HEADS.values()),
) -> dict[str, HeldOut]:
    """Held-out scores of every method, or of those named.

    The boosted trees score every patch; a network those of the folds that it was
    trained without, as far as they were trained.

    Raises
    ------
    ModelError
        If a network was trained for no fold.
    """
    found: dict[str, HeldOut] = {}
    if "gbt" in methods:
        found["gbt"] = HeldOut(list(plan.items), boosting_stage(plan).clip(0, 1))
    seen = plan.recipe.needed(plan.recipe.segmentation, "segmentation")
    heads = {name: head for head, name in HEADS.items()}
    # In single precision, as the models are shipped, whatever they were trained in.
    compute = replace(plan.compute, bf16=False)
    for name in (one for one in methods if one != "gbt"):
        arguments = {k: v for k, v in networks[name].items() if k != "input_pool"}
        network = create(arguments).to(compute.device)
        items: list[Loaded] = []
        scores: list[float] = []
        for fold in range(plan.folds):
            run = plan.run(name, fold)
            if not (run / BEST).exists() or not list(run.rglob(DONE)):
                continue
            network.load_state_dict(load_weights(run / BEST)["model"])
            _, held_out = plan.split(fold)
            items += held_out
            scores += list(
                predict_cascade(network.eval(), held_out, seen, compute)
                if name == "cascade"
                else predict_direct(
                    network, held_out, direct_settings(plan.recipe, heads[name]), compute
                )
            )
        if not items:
            raise ModelError(
                f"No fold of '{name}' is trained, so it cannot be measured; train one with --fold."
            )
        found[name] = HeldOut(items, np.array(scores))
    return found


def combine(held_out: Mapping[str, HeldOut], methods: Sequence[str]) -> HeldOut:
    """Mean of several methods' scores, of the patches that all of them scored."""
    tables = [held_out[method].by_name() for method in methods]
    items = [i for i in held_out[methods[0]].items if all(i.sample.name in t for t in tables)]
    return HeldOut(
        items, np.array([np.mean([t[i.sample.name] for t in tables]) for i in items], float)
    )


def measured(held_out: HeldOut, weak: bool, folds: Mapping[str, int]) -> dict[str, Any]:
    """A method's entry in the manifest: figures with intervals, and the interval of a score.

    Parameters
    ----------
    held_out : HeldOut
    weak : bool
        Whether the reference is weak TC; see `targets.graded`.
    folds : mapping of str to int
        Fold of each patch, by its name.

    Raises
    ------
    ModelError
        If no patch has a reference.
    """
    items, truth, score = held_out.graded(weak)
    if not items:
        raise ModelError(
            "No patch of the folds that were trained has a known cellularity, so nothing can be "
            "measured; train the other folds with --fold."
        )
    patients = [i.sample.patient for i in items]
    out: dict[str, Any] = {
        name: [_finite(v) for v in values]
        for name, values in figures(truth, score, patients).items()
    }
    out["n"] = len(items)
    out["patients"] = len(set(patients))
    fields = {label: _field_scores(held_out, label) for label in ("benign", "malignant")}
    for label, values in fields.items():
        if len(values):
            out[f"{label}_mean"] = float(values.mean())
            out[f"{label}_n"] = len(values)
    out["auc"] = _finite(auc(fields["malignant"], fields["benign"]))
    report = coverage_report(truth, score, None, patients)
    out["coverage"], out["mean_width"] = report["coverage"], report["mean_width"]
    bins = [BIN_NAMES[b] for b in to_bins(score)]
    out["coverage_by"] = {
        "fold": coverage_by(truth, score, patients, [str(folds[i.sample.name]) for i in items]),
        "site": coverage_by(truth, score, patients, [i.sample.site for i in items]),
        "score": coverage_by(truth, score, patients, bins, left_out=patients),
    }
    return {"interval": fit_interval(truth, score, None, patients).to_json(), "figures": out}


def means(
    held_out: Mapping[str, HeldOut], methods: Sequence[str], weak: bool
) -> list[dict[str, Any]]:
    """Figures of the mean of every subset of methods, on the patches that all scored.

    Returns
    -------
    list of dict
        "ingredient", "icc", "mse", fewest methods first.
    """
    shared = {i.sample.name for i in combine(held_out, methods).items}
    rows = []
    for count in range(1, len(methods) + 1):
        for some in itertools.combinations(methods, count):
            one = combine(held_out, some)
            kept = [k for k, i in enumerate(one.items) if i.sample.name in shared]
            both = HeldOut([one.items[k] for k in kept], one.scores[kept])
            rows.append(ingredient(" + ".join(some) + ", {n} patches", both, weak))
    return rows


def ingredient(what: str, held_out: HeldOut, weak: bool) -> dict[str, Any]:
    """A row of what ingredients gave: "ingredient" (``{n}`` in `what` is how many patches),
    "icc", "mse"."""
    items, truth, score = held_out.graded(weak)
    return {
        "ingredient": what.replace("{n}", str(len(items))),
        "icc": icc_a1(np.stack([truth, score], axis=1)),
        "mse": mse(truth, score),
    }


def held_out_csv(
    items: Sequence[Loaded],
    folds: Mapping[str, int],
    held_out: Mapping[str, HeldOut],
) -> str:
    """Every held-out score, so that other figures of them need no training.

    Parameters
    ----------
    items : sequence of Loaded
    folds : mapping of str to int
        Fold that each patch was held out in, by its name.
    held_out : mapping of str to HeldOut
        By method.

    Returns
    -------
    str
        CSV, a row a patch. ``patient`` is a number. ``reference_kind`` is ``reader``, ``weak``
        (of points: no reference of a set on a reader's scale) or ``field`` (0 for a benign
        one, none for a malignant one). A score that a method did not give is empty.
    """
    patients = sorted({item.sample.patient for item in items})
    tables = {method: one.by_name() for method, one in held_out.items()}
    return csv_text(
        [
            {
                "patch": (sample := item.sample).name,
                "patient": patients.index(sample.patient) + 1,
                "fold": folds[sample.name],
                "site": sample.site,
                **_reference(item),
                **{m: _digits(table.get(sample.name)) for m, table in tables.items()},
            }
            for item in items
        ],
        (*HELD_OUT_COLUMNS, *tables),
    )


def _reference(item: Loaded) -> dict[str, Any]:
    sample = item.sample
    kind = (
        "reader"
        if sample.scores
        else "weak"
        if sample.points is not None
        else "field"
        if sample.field
        else None
    )
    known = kind in ("reader", "weak") or sample.field == "benign"
    return {
        "reference": _digits(patch_target(item)) if known else None,
        "reference_kind": kind,
        "field": sample.field,
    }


def _digits(value: float | None) -> str | None:
    return None if value is None else f"{value:.6f}"


def _field_scores(held_out: HeldOut, label: str) -> Scores:
    pairs = zip(held_out.items, held_out.scores, strict=True)
    return np.array([s for i, s in pairs if i.sample.field == label])


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
