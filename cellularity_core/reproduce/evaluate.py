"""``cellularity evaluate``: what a model set scores, and how well it agrees with the truth."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.progress import track

from cellularity_core import export
from cellularity_core.agreement import Statistic
from cellularity_core.conventions import FEATURE_MPP
from cellularity_core.datasets import load
from cellularity_core.errors import DataError
from cellularity_core.patch import load_patch
from cellularity_core.reproduce import charts, measure, panels, shifts
from cellularity_core.reproduce.document import Document, Picture, Table, Text, number, with_limits
from cellularity_core.reproduce.figures import histogram, views_of
from cellularity_core.reproduce.material import Material, sha256_of, truth_of
from cellularity_core.reproduce.measurable import ALL, groups, left_out, warnings
from cellularity_core.reproduce.measure import Scored
from cellularity_core.reproduce.results import FOOT, facts_table, versions, write_report
from cellularity_core.results import PatchResult
from cellularity_core.scorer import Scorer
from cellularity_core.training.images import Loaded, load_images

log = logging.getLogger(__name__)

DATA_LIST: Final = "data.csv"
SCORE_COLUMNS: Final = (
    *("name", "patient", "part", "field", "method", "score", "low", "high", "truth"),
    *("truth_scale", "score_scale", "left_out"),
)
TABLE_COLUMNS: Final = (
    *("method", "patches", "truth", "truth_scale", "score_scale", "statistic", "value", "low"),
    *("high", "n", "interval", "reason"),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One method on one group of patches.

    Attributes
    ----------
    method : str
    patches : str
        ``all``, or a published part.
    agreement : mapping
        See `measure.agreement`.
    fields : mapping
        See `measure.fields`.
    n : int
        Patches that the agreement is of.
    inside : float or None
        Share of truths within the score's own 90 % interval.
    """

    method: str
    patches: str
    agreement: Mapping[str, Mapping[str, Statistic]]
    fields: Mapping[str, float | int | None]
    n: int
    inside: float | None


def evaluate(scorer: Scorer, specs: Sequence[str], out: Path, *, with_shifts: bool = False) -> None:
    """Score data sets and write scores, tables, figures and a report.

    Parameters
    ----------
    scorer : Scorer
        Of the model set.
    specs : sequence of str
        ``KIND:FOLDER`` each.
    out : Path
        Gets ``results.json``, ``scores.csv``, ``tables.csv``, ``data.csv``,
        ``report.html`` and ``report.pdf``.
    with_shifts : bool
        Score the patches again with other arithmetic, with glass and cut smaller, and write
        ``shifts.csv``; see `shifts.measure_shifts`.

    Raises
    ------
    DataError
        If the data cannot be read, or nothing is there to compare with, or the set's
        scale was fitted to all of it; before anything is scored.
    """
    material = _material(specs)
    without = left_out(scorer.model_set, material)
    out.mkdir(parents=True, exist_ok=True)
    (out / DATA_LIST).write_text(material.data_list(), encoding="utf-8")
    results = _score(scorer, material.items)
    # Before any figure: scoring takes hours, and nothing after it may cost it.
    rows = _score_rows(material, results, scorer.model_set.scale, without)
    (out / "scores.csv").write_text(export.csv_text(rows, SCORE_COLUMNS), encoding="utf-8")
    found = [
        _measure(material, results, method, group, graded, without)
        for method in scorer.methods
        for group, graded in groups(material, without).items()
    ]
    said = warnings(scorer.model_set, material, without)
    table = _table_rows(found, material.scale, scorer.model_set.scale)
    (out / "tables.csv").write_text(export.csv_text(table, TABLE_COLUMNS), encoding="utf-8")
    moved = shifts.measure_shifts(scorer, material, results, without) if with_shifts else []
    if moved:
        text = export.csv_text(moved, shifts.COLUMNS)
        (out / "shifts.csv").write_text(text, encoding="utf-8")
    facts = _facts(scorer, specs, out / DATA_LIST)
    content = {
        **facts,
        "versions": versions(),
        "truth_scale": material.scale,
        "score_scale": scorer.model_set.scale,
        "warnings": said,
        "left_out": without,
        "methods": [_plain(one) for one in found],
        "shifts": moved,
    }
    (out / "results.json").write_text(export.json_text(content), encoding="utf-8")
    write_report(out, _report(scorer, material, found, moved, results, facts, said))


def _material(specs: Sequence[str]) -> Material:
    samples, kinds = [], {}
    for spec in specs:
        for sample in load(spec):
            if sample.name in kinds:
                raise DataError(
                    f"Two images are called '{sample.name}'; give each data set once, and give "
                    "images of one name another."
                )
            kinds[sample.name] = spec.partition(":")[0]
            samples.append(sample)
    return Material(tuple(specs), load_images(samples), kinds, [], "")


def _score(scorer: Scorer, items: Sequence[Loaded]) -> dict[str, PatchResult]:
    patches = (
        load_patch(item.sample.image.read_bytes(), item.sample.name, item.sample.mpp)
        for item in items
    )
    results = track(
        scorer.score(patches, maps=False),
        "scoring",
        total=len(items),
        console=Console(stderr=True),
    )
    return {item.sample.name: result for item, result in zip(items, results, strict=True)}


def _measure(
    material: Material,
    results: Mapping[str, PatchResult],
    method: str,
    group: str,
    graded: Collection[str],
    without: Collection[str],
) -> Measured:
    scored, inside = [], []
    for item in material.items:
        sample, score = item.sample, results[item.sample.name].scores[method]
        if score.value is None or sample.name in without:
            continue
        if group != ALL and sample.part != group:
            continue
        truths = truth_of(item) if sample.name in graded else ()
        scored.append(Scored(sample.name, sample.patient, truths, sample.field or "", score.value))
        if score.low is not None and score.high is not None:
            inside += [score.low <= truth <= score.high for truth in truths]
    has_truth = [one for one in scored if one.truths]
    return Measured(
        method,
        group,
        measure.agreement(scored, material.truth_word) if has_truth else {},
        measure.fields(scored) if any(one.field for one in scored) else {},
        len(has_truth),
        float(np.mean(inside)) if inside else None,
    )


def _score_rows(
    material: Material, results: Mapping[str, PatchResult], scale: str, without: Mapping[str, str]
) -> list[dict[str, Any]]:
    graded = {item.sample.name for item in material.graded(material.items)}
    return [
        {
            "name": item.sample.name,
            "patient": item.sample.patient,
            "part": item.sample.part or "",
            "field": item.sample.field or "",
            "method": method,
            "score": score.value,
            "low": score.low,
            "high": score.high,
            "truth": " ".join(f"{truth:g}" for truth in truth_of(item))
            if item.sample.name in graded
            else "",
            "truth_scale": material.scale if item.sample.name in graded else "",
            "score_scale": scale,
            "left_out": without.get(item.sample.name, ""),
        }
        for item in material.items
        for method, score in results[item.sample.name].scores.items()
    ]


def _table_rows(found: Sequence[Measured], truth: str, score: str) -> list[dict[str, Any]]:
    rows = []
    for one in found:
        figures = [
            (against, name, statistic)
            for against, statistics in one.agreement.items()
            for name, statistic in statistics.items()
        ]
        figures += [
            ("field labels", name, Statistic(None if value is None else float(value)))
            for name, value in one.fields.items()
        ]
        if one.inside is not None:
            figures.append(("all truths", "inside_90", Statistic(one.inside, n=one.n)))
        for against, name, statistic in figures:
            rows.append(
                {
                    "method": one.method,
                    "patches": one.patches,
                    "truth": against,
                    "truth_scale": truth,
                    "score_scale": score,
                    "statistic": name,
                    "value": statistic.value,
                    "low": statistic.low,
                    "high": statistic.high,
                    "n": statistic.n or "",
                    "interval": statistic.interval or "",
                    "reason": statistic.reason or "",
                }
            )
    return rows


def _plain(one: Measured) -> dict[str, Any]:
    return {
        "method": one.method,
        "patches": one.patches,
        "n": one.n,
        "inside_90": one.inside,
        "agreement": {
            truth: {name: asdict(statistic) for name, statistic in statistics.items()}
            for truth, statistics in one.agreement.items()
        },
        "fields": dict(one.fields),
    }


def _facts(scorer: Scorer, specs: Sequence[str], data_list: Path) -> dict[str, str]:
    return {
        "software": export.SOFTWARE,
        "model_set": scorer.model_set.name,
        "model_sha256": scorer.model_set.sha256,
        "test_time_views": str(scorer.views),
        "data": ", ".join(specs),
        "data_list_sha256": sha256_of(data_list),
    }


def _report(
    scorer: Scorer,
    material: Material,
    found: Sequence[Measured],
    moved: Sequence[Mapping[str, Any]],
    results: Mapping[str, PatchResult],
    facts: Mapping[str, str],
    said: Sequence[str],
) -> Document:
    name, word = scorer.model_set.name, material.truth_word
    parts: list[Text | Table | Picture] = []
    if any(one.agreement for one in found):
        parts.append(_agreement_table(found, word))
    if any(one.fields for one in found):
        parts.append(_field_table(found, scorer.model_set.scale))
    if moved:
        parts.append(shifts.shifts_table(moved))
    pictures, left_out = _pictures(scorer, material)
    parts += pictures
    if left_out:
        parts.append(Text("Figures not drawn, and why", tuple(left_out)))
    flagged = [n for n, result in results.items() if not result.quality.reliable]
    if flagged:
        parts.append(
            Text("Patches whose scores should not be relied on", (", ".join(flagged),)),
        )
    command = " ".join(
        [
            *("cellularity", "evaluate", name),
            *(f"--data {spec}" for spec in material.specs),
            *(["--shifts"] if moved else []),
        ]
    )
    parts.append(facts_table("How it was made", {"command": f"{command} --out DIR", **facts}))
    parts.append(facts_table("Software", versions()))
    return Document(
        title=f"Model set {name} evaluated on {', '.join(sorted(set(material.kinds.values())))}",
        lead=[
            f"{len(material.items)} images of "
            f"{len({item.sample.patient for item in material.items})} patients. Scores are on the "
            f"scale '{scorer.model_set.scale}', the truth is '{material.scale}'."
        ],
        parts=parts,
        warning=" ".join(said),
        foot=f"{FOOT} {export.SOFTWARE}",
    )


def _agreement_table(found: Sequence[Measured], word: str) -> Table:
    rows = [
        (
            one.method,
            one.patches,
            truth,
            with_limits(statistics["mse"], 4),
            with_limits(statistics["kappa4"]),
            with_limits(statistics["icc_a1"]),
            with_limits(statistics["icc_c1"]),
            with_limits(statistics["pk"]),
            number(one.inside, 2),
            str(one.n),
        )
        for one in found
        for truth, statistics in one.agreement.items()
    ]
    columns = ("MSE", "Kappa, 4 bins", "ICC(A,1)", "ICC(C,1)", "PK", "In 90 % interval", "n")
    return Table(
        f"Agreement with {word}",
        ("Method", "Patches", "Truth", *columns),
        rows,
        "Brackets: 95 % intervals, bootstrap by patient. 'In 90 % interval': share of truths "
        "within the score's own interval.",
        (10, 9, 12, 18, 17, 17, 17, 17, 9, 5),
    )


def _field_table(found: Sequence[Measured], scale: str) -> Table:
    rows = [
        (
            one.method,
            f"{number(one.fields['benign_mean'])} ({one.fields['benign_n']})",
            f"{number(one.fields['malignant_mean'])} ({one.fields['malignant_n']})",
            number(one.fields["auc"]),
        )
        for one in found
        if one.fields
    ]
    return Table(
        f"Benign and malignant fields: mean score on the scale '{scale}'",
        ("Method", "Benign fields (n)", "Malignant fields (n)", "AUC"),
        rows,
        "A benign field holds no malignant nucleus, so 0 is right for it.",
    )


def _pictures(scorer: Scorer, material: Material) -> tuple[list[Picture], list[str]]:
    """Figures 4, 5, 6, 7 and 10, in order, and why any is missing."""
    pictures, left_out = [], []
    items = material.graded(material.items) or material.items
    truths = [float(np.mean(truth_of(item))) if truth_of(item) else 0.0 for item in items]
    if "gbt" in scorer.methods:
        chosen = panels.examples(items, truths)
        patches = [
            load_patch(item.sample.image.read_bytes(), item.sample.name, item.sample.mpp)
            for item in chosen
        ]
        seen = [
            panels.at_feature_size(item, result.feature_maps["gbt"], FEATURE_MPP)
            for item, result in zip(chosen, scorer.score(patches), strict=True)
        ]
        pictures += views_of(seen, material.truth_word)
    drawn, reason = histogram(material)
    pictures += drawn
    left_out += [reason] if reason else []
    pictures.append(charts.importance({"GBT": scorer.gain()}, scorer.model_set.scale))
    return sorted(pictures, key=charts.figure_number), left_out
