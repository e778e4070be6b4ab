"""What a model set's manifest says, as rows for tables and lines for curves: pure, no widgets."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cellularity_core.conventions import CLASSES
from cellularity_core.model_store import ModelSet
from pages.parts.words import METHOD_NAMES

SEGMENTATION: Final = "Finding nuclei"
"""The network that marks nuclei, as it is called on screen."""

_PHASES: Final = {
    "frozen": "reading the maps",
    "crops": "on crops",
    "whole": "on whole patches",
    "joint": "maps and reading together",
    "joint-tried": "maps and reading together, not shipped",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure with its 95 % interval; None where it was not measured."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A figure that is told of every method.

    Attributes
    ----------
    key : str
        In the manifest.
    label : str
    meaning : str
        A sentence for a pathologist.
    digits : int
    """

    key: str
    label: str
    meaning: str
    digits: int = 2


COLUMNS: Final = (
    Column(
        "icc_a1",
        "ICC(A,1)",
        "Agreement with the reference score: 1 is perfect, 0 is none. A method that orders "
        "patches well but scores all of them too high loses here.",
        3,
    ),
    Column(
        "mse",
        "MSE",
        "Mean squared error: the mean of the squared differences from the reference, both on a "
        "scale of 0 to 1; 0 is perfect. 0.01 means about 10 percentage points off.",
        4,
    ),
    Column(
        "kappa4",
        "Kappa",
        "Agreement on four grades (0–25, 26–50, 51–75, 76–100 %) beyond what chance gives: "
        "1 is perfect, 0 is chance.",
    ),
    Column(
        "pk",
        "PK",
        "Prediction probability: how often two patches are put in the right order; "
        "1 is always, 0.5 is a coin.",
    ),
)
"""Figures with an interval, in the order they are shown."""

COUNTED: Final = Column(
    "n",
    "Patches (patients)",
    "On how many patches of how many patients this was measured.",
)
BENIGN: Final = Column(
    "benign_mean",
    "Benign fields",
    "Mean score of fields without any tumour, where it should be near 0 %; in brackets how many.",
)
AUC: Final = Column(
    "auc",
    "AUC",
    "Area under the ROC curve: how often a malignant field is scored higher than a benign one; "
    "1 is always, 0.5 is a coin.",
)
COVERAGE: Final = Column(
    "coverage",
    "In the interval",
    "How often the reference lay in the 90 % interval beside a score; it should be 90 %.",
)
WIDTH: Final = Column(
    "mean_width",
    "Interval width (points)",
    "Width of the 90 % interval beside a score, in percentage points; narrower tells more.",
)


@dataclass(frozen=True, slots=True)
class MethodFigures:
    """What was measured of one method on patients it had not learnt from.

    Attributes
    ----------
    method : str
    is_headline : bool
        Whether the card names this score first.
    measured : mapping of str to Measured
        By `Column.key`; coverage (share) and mean width (of 0 to 1) of the 90 % intervals
        only where they were measured.
    n, patients, benign_n : int or None
    benign_mean, auc : float or None
    parts : tuple of str
        Methods whose scores are averaged into it; itself where it is no mean.
    half_width : float or None
        Half of the 90 % interval before it is cut at 0 and 1.
    has_one_width : bool
        Whether that is the half width of every score; else it is a typical one.
    """

    method: str
    is_headline: bool
    measured: Mapping[str, Measured]
    n: int | None
    patients: int | None
    benign_mean: float | None
    benign_n: int | None
    auc: float | None
    parts: tuple[str, ...]
    half_width: float | None
    has_one_width: bool


@dataclass(frozen=True, slots=True)
class Curve:
    """One figure of one training by epoch; epochs without a value are left out."""

    run: str
    epochs: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Ingredient:
    """A line of the ablation table: what the set gained by one ingredient.

    `remark` is what stands against its figures, empty where nothing does.
    """

    name: str
    icc: Measured
    mse: Measured
    f1: Measured
    ms: Measured
    remark: str = ""


def figures_of(models: ModelSet) -> list[MethodFigures]:
    """Figures of every method, the headline's first."""
    rows = [_figures(models, method, method == models.headline) for method in models.methods]
    return sorted(rows, key=lambda row: not row.is_headline)


def _figures(models: ModelSet, method: str, is_headline: bool) -> MethodFigures:
    given = models.figures(method)
    measured = {column.key: measure(given.get(column.key)) for column in COLUMNS}
    about = models.manifest["methods"][method]
    # What `conformal.coverage_report` measured; "coverage" of the interval is what it aims at.
    report = given.get("interval", given)
    measured |= {
        column.key: measure(report[column.key])
        for column in (COVERAGE, WIDTH)
        if report.get(column.key) is not None
    }
    varying = about.get("interval")
    half_width = varying["half_width"] if varying else about.get("half_width")
    return MethodFigures(
        method=method,
        is_headline=is_headline,
        measured=measured,
        n=_whole(given.get("n")),
        patients=_whole(given.get("patients")),
        benign_mean=measure(given.get("benign_mean")).value,
        benign_n=_whole(given.get("benign_n")),
        auc=measure(given.get("auc")).value,
        parts=models.parts(method),
        half_width=_finite(half_width),
        has_one_width=not varying,
    )


def measure(given: Any) -> Measured:
    """A number, or a list of value, low and high, as the manifest has it."""
    if isinstance(given, Sequence) and not isinstance(given, str):
        return Measured(*(_finite(number) for number in given[:3])) if given else Measured(None)
    return Measured(_finite(given))


def _finite(given: Any) -> float | None:
    if isinstance(given, bool) or not isinstance(given, int | float):
        return None
    return float(given) if math.isfinite(given) else None


def _whole(given: Any) -> int | None:
    number = _finite(given)
    return None if number is None else round(number)


def ablation(models: ModelSet) -> list[Ingredient]:
    """The ablation table, in the manifest's order; empty where there is none."""
    return [
        Ingredient(
            str(row.get("ingredient", "")),
            *(measure(row.get(key)) for key in ("icc", "mse", "f1", "ms")),
            remark=str(row.get("remark", "")),
        )
        for row in models.manifest.get("ablation") or ()
    ]


def curves(manifest: Mapping[str, Any], column: str) -> list[Curve]:
    """A figure by epoch, of every training that measured it.

    Parameters
    ----------
    manifest : mapping
        Its ``curves`` are ``{run: {column: [value by epoch]}}``; a value may be null
        where an epoch was not measured. Epochs count from 1 where no column
        ``epoch`` numbers them.
    column : str
        E.g. ``jaccard`` or ``mse``.
    """
    found = []
    for run, columns in (manifest.get("curves") or {}).items():
        values = [_finite(value) for value in columns.get(column, ())]
        numbered = [_finite(epoch) for epoch in columns.get("epoch", ())]
        epochs = numbered if len(numbered) == len(values) else [*range(1, len(values) + 1)]
        pairs = [
            (float(epoch), value)
            for epoch, value in zip(epochs, values, strict=True)
            if epoch is not None and value is not None
        ]
        if pairs:
            found.append(Curve(run, *zip(*pairs, strict=True)))
    return found


def unmeasured(manifest: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    """Trainings with a log, but with none of these figures in it."""
    told = {curve.run for column in columns for curve in curves(manifest, column)}
    return [run for run in manifest.get("curves") or {} if run not in told]


def run_label(run: str, with_group: bool = True) -> str:
    """``cascade-fold0/joint`` as "Nuclei maps, group 1 (maps and reading together)"."""
    network, _, phase = run.partition("/")
    network, _, fold = network.partition("-fold")
    label = SEGMENTATION if network == "segmentation" else METHOD_NAMES.get(network, network)
    if fold.isdigit() and with_group:
        label += f", group {int(fold) + 1}"
    return f"{label} ({_PHASES.get(phase, phase)})" if phase else label


def origin(manifest: Mapping[str, Any]) -> str | None:
    """Name of the set that this one is recalibrated from, or None."""
    found = manifest.get("recalibrated_from")
    if isinstance(found, Mapping):
        found = found.get("name") or found.get("model_set")
    return str(found) if found else None


def nuclei_note(models: ModelSet) -> str:
    """How well nuclei are found, in a sentence; "" where it was not measured.

    Of a recalibrated set that was measured of the one it was made from.
    """
    nuclei = models.manifest["nuclei"]
    found = [_finite(value) for value in nuclei.get("f1") or ()]
    if len(found) != len(CLASSES) or None in found:
        return ""
    each = ", ".join(f"{cell} {value:.2f}" for cell, value in zip(CLASSES, found, strict=True))
    mean = sum(value for value in found if value is not None) / len(found)
    base = origin(models.manifest)
    what = (
        f"Nuclei as “{base}” finds and tells them apart, measured when that set was made"
        if base
        else "Nuclei found and told apart"
    )
    return (
        f"{what}: F1 {mean:.2f} on average of the classes ({each}); 1 is all "
        f"of them and no false one, within {float(nuclei.get('radius_um', 3)):g} µm of the mark."
    )
