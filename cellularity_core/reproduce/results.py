"""Everything a reproduction leaves: results.json, tables.csv, report.html and report.pdf."""

import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cellularity_core import export
from cellularity_core.reproduce import tables
from cellularity_core.reproduce.document import Document, Picture, Table, Text
from cellularity_core.reproduce.figures import run_pictures
from cellularity_core.reproduce.learning import Runner
from cellularity_core.reproduce.material import Material, sha256_of
from cellularity_core.reproduce.outcome import Outcome
from cellularity_core.reproduce.report_html import html
from cellularity_core.reproduce.report_pdf import pdf
from cellularity_core.training.loop import Compute

LIBRARIES: Final = (
    "torch",
    "timm",
    "lightgbm",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "scikit-learn",
    "scikit-image",
    "matplotlib",
)
WEAK: Final = (
    "Every truth and every score here is weak TC: the share of the tissue within 10 µm of an "
    "annotated tumour nucleus. It is not a pathologist's score, and figures made with it cannot "
    "be compared number by number with the paper's."
)
FOOT: Final = "Research use only. Not for diagnosis or treatment decisions."


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where figures come from.

    Attributes
    ----------
    command : str
    seed : int
    epochs_scale : float
    folds : int
    compute : Compute
    data_list : Path
        CSV of every image with its checksum.
    """

    command: str
    seed: int
    epochs_scale: float
    folds: int
    compute: Compute
    data_list: Path


def versions() -> dict[str, str]:
    """Software, Python, machine and libraries."""
    return {
        "software": export.SOFTWARE,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        **{name: importlib.metadata.version(name) for name in LIBRARIES},
    }


def write_results(
    out: Path, runner: Runner, outcomes: Sequence[Outcome], provenance: Provenance
) -> None:
    """Write all four files into `out`."""
    material = runner.material
    results: dict[str, Any] = {
        "software": export.SOFTWARE,
        "versions": versions(),
        "command": provenance.command,
        "seed": provenance.seed,
        "epochs_scale": provenance.epochs_scale,
        "device": provenance.compute.device.type,
        "bf16": provenance.compute.bf16,
        "scale": material.scale,
        "data": {
            "sets": list(material.specs),
            "list": provenance.data_list.name,
            "list_sha256": sha256_of(provenance.data_list),
            "images": len(material.items),
            "patients": len({item.sample.patient for item in material.items}),
        },
        "splits": split_facts(material),
        "warnings": list(material.remarks),
        "rows": [one.plain() for one in outcomes],
    }
    document = report(runner, outcomes, provenance)
    (out / "results.json").write_text(export.json_text(results), encoding="utf-8")
    (out / "tables.csv").write_text(tables.csv_rows(outcomes, material.scale), encoding="utf-8")
    write_report(out, document)


def write_report(out: Path, document: Document) -> None:
    """Write a document as ``report.html`` and ``report.pdf``."""
    (out / "report.html").write_text(html(document), encoding="utf-8")
    (out / "report.pdf").write_bytes(pdf(document))


def split_facts(material: Material) -> list[dict[str, Any]]:
    """Images and patients on each side of each split."""
    facts = []
    for split in material.splits:
        entry: dict[str, Any] = {"name": split.name, "measured_part": material.measured_part}
        for side in ("training", "validation", "measured"):
            items = getattr(split, side)
            entry[side] = {
                "images": len(items),
                "patients": len({item.sample.patient for item in items}),
            }
        facts.append(entry)
    return facts


def report(runner: Runner, outcomes: Sequence[Outcome], provenance: Provenance) -> Document:
    """The whole report as plain content."""
    material = runner.material
    word = material.truth_word
    measured = material.figure_word
    found: list[Text | Table | Picture | None] = [
        tables.table_1(outcomes),
        tables.table_2(outcomes, measured),
        tables.table_3(outcomes, measured),
        tables.each_pathologist(outcomes, measured),
        tables.field_table(outcomes, word),
        tables.missing(outcomes),
    ]
    pictures, left_out = run_pictures(runner, outcomes)
    found += pictures
    if left_out:
        found.append(Text("Figures not drawn, and why", tuple(left_out)))
    found += [
        Text("How it was made", tuple(_how(material, provenance))),
        tables.commands(outcomes, provenance.seed),
        facts_table("Software", versions()),
        facts_table(
            "Data",
            {
                "data sets": ", ".join(material.specs),
                f"SHA-256 of {provenance.data_list.name}": sha256_of(provenance.data_list),
            },
        ),
        tables.checksums(outcomes),
    ]
    done = sum(one.status == "done" for one in outcomes)
    return Document(
        title=f"The paper's tables and figures, reproduced{' on weak TC' * material.is_weak}",
        lead=[
            f"{done} of {len(outcomes)} rows have figures; {len(material.items)} images of "
            f"{len({item.sample.patient for item in material.items})} patients. Epochs are "
            f"{provenance.epochs_scale:g} of each recipe's, seed {provenance.seed}."
            + (
                " A short training shows that the pipeline works, not how good a method is."
                if provenance.epochs_scale < 1
                else ""
            ),
        ],
        parts=[part for part in found if part is not None],
        warning=" ".join([*([WEAK] if material.is_weak else []), *material.remarks]),
        foot=f"{FOOT} {export.SOFTWARE}",
    )


def facts_table(title: str, facts: Mapping[str, str]) -> Table:
    """Names and values as a table."""
    return Table(title, ("What", "Is"), list(facts.items()), "", (30, 70))


def _how(material: Material, provenance: Provenance) -> list[str]:
    lines = [f"Command: {provenance.command}"]
    for facts in split_facts(material):
        sides = ", ".join(
            f"{side} {facts[side]['images']} images of {facts[side]['patients']} patients"
            for side in ("training", "validation", "measured")
        )
        lines.append(f"Split {facts['name']}: {sides}.")
    if material.measured_part:
        lines.append(
            f"Scored patches keep their published parts; figures are of the "
            f"{material.measured_part} part. The epoch of direct networks and cascades is the best "
            "on the validation part, where there is one beside; that of a segmentation is its last."
        )
    else:
        lines.append(
            f"Held out: {len(material.splits)} of {provenance.folds} folds by patient. Every "
            "network keeps its last epoch, so nothing is chosen on the patients that are measured."
        )
    lines.append(
        "Boosted trees and the frozen phase of SR learn from maps of segmentations that never "
        "learnt from that patch; at test time the trees' score is the mean over the views."
    )
    return lines
