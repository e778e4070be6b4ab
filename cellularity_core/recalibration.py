"""A model set on a reader's scale, from patches that this reader scored.

Networks and trees stay as they are. Each method's score is mapped by a monotone curve
(`calibration`), with an interval of its own from the reader's scores; the result is a
model set like any other.
"""

import math
import os
import re
import shutil
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cellularity_core import __version__, export
from cellularity_core.calibration import (
    Calibration,
    CurvePoint,
    check_readings,
    empty_thirds,
    fit_method,
    learning_curve,
    require_patients,
)
from cellularity_core.errors import DataError, ModelError
from cellularity_core.evaluation import figures
from cellularity_core.model_store import LEARNT, MANIFEST, ModelSet
from cellularity_core.patch import Patch, Rejected, collect
from cellularity_core.quality import ASSUMED
from cellularity_core.readings import Reading, Readings
from cellularity_core.scorer import Scorer
from cellularity_core.uncertainty import SCALE, SCALES, Interval

READER: Final = "reader: "
"""Scale of a recalibrated set, before whose it is."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NOT_OF_A_READER: Final = ("curves", "ablation")
"""Keys of a manifest that were measured on the scale before."""


@dataclass(frozen=True, slots=True)
class Method:
    """What became of one method.

    Attributes
    ----------
    calibration : Calibration
    interval : Interval
    before, after : mapping
        ICC(A,1), MSE, kappa and PK with 95 % intervals against the reader; `after`
        by maps that did not know the patient.
    curve : tuple of CurvePoint
    empty : tuple of str
        Thirds of the scale that no score before the map lies in.
    """

    calibration: Calibration
    interval: Interval
    before: Mapping[str, tuple[float, float, float]]
    after: Mapping[str, tuple[float, float, float]]
    curve: tuple[CurvePoint, ...]
    empty: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recalibration:
    """A set on a reader's scale, before it is written.

    Attributes
    ----------
    source : ModelSet
    scale : str
    methods : mapping of str to Method
    patches, patients : int
        What it rests on.
    left_out : tuple of (str, str)
        Images left out, and why.
    readings : Readings
    fitted_to : tuple of str
        SHA-256 of the pixels of each patch that it rests on, as `Patch.sha256`, sorted.
    assumed : int
        Of these patches, those whose pixel size is stated nowhere and was assumed.
    """

    source: ModelSet
    scale: str
    methods: Mapping[str, Method]
    patches: int
    patients: int
    left_out: tuple[tuple[str, str], ...]
    readings: Readings
    fitted_to: tuple[str, ...] = ()
    assumed: int = 0


def recalibrate(scorer: Scorer, readings: Readings, scale: str) -> Recalibration:
    """Score the reader's patches and fit each method's map and interval.

    Parameters
    ----------
    scorer : Scorer
        Of the set to start from, with all its methods.
    readings : Readings
    scale : str
        Whose scale it is.

    Raises
    ------
    DataError
        If an image cannot be read, or the readings do not suffice.
    ModelError
        If the set is recalibrated already.
    """
    source = scorer.model_set
    check_source(source)
    require_patients(len({reading.patient for reading in readings.rows}))
    # what cannot be read is told before the first is scored, not after all others
    deque(_patches(readings.rows), maxlen=0)
    scores: list[Mapping[str, float]] = []
    kept: list[Reading] = []
    checksums: list[str] = []
    left_out: list[tuple[str, str]] = []
    assumed = 0
    pairs = zip(readings.rows, scorer.score(_patches(readings.rows), maps=False), strict=True)
    learnt = source.learnt_from or frozenset()
    for reading, result in pairs:
        if result.sha256 in learnt:
            left_out.append((reading.image.name, LEARNT))
            continue
        values = {m: s.value for m, s in result.scores.items() if s.value is not None}
        if not result.quality.reliable or len(values) < len(result.scores):
            why = f"not fit to score ({', '.join(result.quality.flags)})"
            left_out.append((reading.image.name, why))
            continue
        kept.append(reading)
        checksums.append(result.sha256)
        assumed += not ASSUMED.isdisjoint(result.quality.flags)
        scores.append(values)
    patients = np.array([reading.patient for reading in kept])
    try:
        require_patients(len(set(patients)))
    except DataError as error:
        if count := sum(why == LEARNT for _, why in left_out):
            raise DataError(
                f"{error} {count} of those given do not count, since the models learnt from them."
            ) from None
        raise
    truth = np.array([reading.score for reading in kept])
    methods = {}
    for method in scorer.methods:
        found = np.array([values[method] for values in scores])
        try:
            check_readings(found, truth, patients)
        except DataError as error:
            raise DataError(f"{method}: {error}") from None
        methods[method] = _method(found, truth, patients)
    return Recalibration(
        source,
        scale,
        methods,
        len(kept),
        len(set(patients)),
        tuple(left_out),
        readings,
        tuple(sorted(checksums)),
        assumed,
    )


def scale_of(name: str) -> str:
    """Scale of a reader or site.

    Raises
    ------
    DataError
        If the name cannot stand beside every score.
    """
    name = name.strip()
    if not name or len(name) > 60 or not name.isprintable():
        raise DataError(
            f"The name of the scale is {name[:60]!r}; give 1 to 60 printable characters, such as "
            "a reader's initials and site."
        )
    return READER + name


def check_source(source: ModelSet) -> None:
    """Refuse a set that is on a reader's scale already.

    Raises
    ------
    ModelError
    """
    if "calibration" in source.manifest:
        origin = source.manifest["recalibrated_from"]["name"]
        raise ModelError(
            f"The model set '{source.name}' is on a reader's scale already; recalibrate "
            f"'{origin}', which it was made from."
        )


def check_name(name: str, root: Path) -> None:
    """Refuse a name that a new set cannot have.

    Raises
    ------
    ModelError
        If it is no folder name or taken.
    """
    if not _NAME.fullmatch(name):
        raise ModelError(
            f"'{name[:80]}' cannot name a model set; use letters, digits, points, dashes and "
            "underscores, 64 at most."
        )
    if (root / name).exists():
        raise ModelError(
            f"There is a '{name}' in '{root}' already; choose another name, since records name "
            "the set that scored them."
        )


def manifest_of(made: Recalibration, name: str) -> dict[str, Any]:
    """Manifest of the new set."""
    source = made.source
    out = {k: v for k, v in source.manifest.items() if k not in _NOT_OF_A_READER}
    out |= {
        "name": name,
        "software": __version__,
        "scale": made.scale,
        "recalibrated_from": {"name": source.name, "sha256": source.sha256},
        "fitted_to": list(made.fitted_to),
        "calibration": {m: one.calibration.to_json() for m, one in made.methods.items()},
        "methods": {
            m: _unmeasured(source.manifest["methods"][m])
            | {
                "interval": one.interval.to_json(),
                "figures": _plain(one.after) | {"n": made.patches, "patients": made.patients},
                "before": _plain(one.before),
                "learning_curve": [[p.patients, p.half_width] for p in one.curve],
            }
            for m, one in made.methods.items()
        },
    }
    return out


def write_set(made: Recalibration, name: str, card: str, root: Path) -> Path:
    """Write the new set beside the others; nothing is left of one that fails halfway.

    Weights are hard links where the file system has them.

    Raises
    ------
    ModelError
        If the name cannot be used, or a file of the source is missing or altered.
    """
    check_name(name, root)
    folder = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=root))
    try:
        for file in made.source.manifest["files"]:
            _link(made.source.file(file), folder / file)
        (folder / "README.md").write_text(card, encoding="utf-8")
        text = export.json_text(manifest_of(made, name))
        (folder / MANIFEST).write_text(text, encoding="utf-8")
        folder.chmod(0o755)
        folder.rename(root / name)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return root / name


def _method(
    found: npt.NDArray[np.float64],
    truth: npt.NDArray[np.float64],
    patients: npt.NDArray[np.str_],
) -> Method:
    scale = SCALES[SCALE]
    calibration, interval, mapped = fit_method(found, truth, patients, scale)
    who = [str(name) for name in patients]
    return Method(
        calibration,
        interval,
        figures(truth, found, who),
        figures(truth, mapped, who),
        tuple(learning_curve(found, truth, patients, scale)),
        empty_thirds(found),
    )


def _patches(rows: Sequence[Reading]) -> Iterator[Patch]:
    seen: dict[str, Path] = {}
    for reading in rows:
        path = reading.image
        if not path.is_file():
            raise DataError(
                f"There is no image {path}; name images from the folder of the CSV, or give theirs "
                "with --images."
            )
        found = list(collect([path], reading.mpp))
        patch = found[0] if len(found) == 1 else None
        if isinstance(patch, Rejected):
            raise DataError(patch.reason)
        if patch is None:
            raise DataError(
                f"{path.name} holds {len(found)} images; name each in a line of its own."
            )
        if patch.sha256 in seen:
            raise DataError(
                f"{path.name} and {seen[patch.sha256].name} are the same image; keep one of them."
            )
        seen[patch.sha256] = path
        yield patch


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _unmeasured(described: Mapping[str, Any]) -> dict[str, Any]:
    """How a method scores, without what was measured on the scale before."""
    return {k: v for k, v in described.items() if k not in ("interval", "half_width", "figures")}


def _plain(measured: Mapping[str, tuple[float, float, float]]) -> dict[str, Any]:
    return {
        name: [value if math.isfinite(value) else None for value in values]
        for name, values in measured.items()
    }
