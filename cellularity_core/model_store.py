"""Model sets on disk: a folder with a manifest, weights and cards.

``manifest.json`` names every file with its SHA-256; a file that differs is
refused. Nothing here unpickles or executes what it reads.
"""

import functools
import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cellularity_core.calibration import Calibration
from cellularity_core.conventions import (
    CLASSES,
    DEFAULT_SET,
    INTERVAL,
    METHODS,
    MPP_RANGE,
    NETWORK_OF,
)
from cellularity_core.errors import ModelError
from cellularity_core.uncertainty import SCALES, Interval

MANIFEST: Final = "manifest.json"

LEARNT: Final = "the models learnt from it"
"""Why a patch is left out where models are judged: they err less on it than on a new one."""


def default_root() -> Path:
    """Folder of the model sets: ``CELLULARITY_MODELS``, or ``models`` beside the package."""
    given = os.environ.get("CELLULARITY_MODELS")
    return Path(given) if given else Path(__file__).resolve().parent.parent / "models"


@dataclass(frozen=True, slots=True)
class ModelSet:
    """One set of trained models.

    Attributes
    ----------
    name : str
    folder : Path
    manifest : mapping
        What ``manifest.json`` says.
    sha256 : str
        Over the manifest's files, their checksums and the settings of scoring: it
        changes whenever a score could.
    """

    name: str
    folder: Path
    manifest: Mapping[str, Any]
    sha256: str

    @property
    def scale(self) -> str:
        """Whose scale the scores are on, e.g. "weak TC"."""
        return str(self.manifest["scale"])

    @property
    def mpp(self) -> float:
        """um/px at which the networks look."""
        return float(self.manifest["mpp"])

    @property
    def views(self) -> int:
        """Test-time views of the default configuration."""
        return int(self.manifest["views"])

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods that the set holds, in the order of `METHODS`."""
        return tuple(m for m in METHODS if m in self.manifest["methods"])

    def parts(self, method: str) -> tuple[str, ...]:
        """Methods whose scores are averaged into that of a method: itself, but for "combined"."""
        return tuple(self.manifest["methods"][method].get("of", (method,)))

    def network_of(self, method: str) -> str:
        """Network that a method looks through; two methods may share one."""
        return str(self.manifest.get("looks_through", {}).get(method, NETWORK_OF[method]))

    @property
    def learnt_from(self) -> frozenset[str] | None:
        """Checksums of the patches, as `Patch.sha256`, that anything of the set was fitted to or
        chosen on; None where its manifest does not say."""
        found = self.manifest.get("learnt_from")
        return None if found is None else frozenset(found)

    @property
    def fitted_to(self) -> frozenset[str]:
        """The same of the patches that a reader's scale was made from; empty without one."""
        return frozenset(self.manifest.get("fitted_to") or ())

    @property
    def met(self) -> frozenset[str]:
        """Patches of which it is known that scores on them flatter: of either kind."""
        return (self.learnt_from or frozenset()) | self.fitted_to

    @property
    def headline(self) -> str | None:
        """The score that the card names first; None where none was chosen."""
        found = self.manifest.get("headline")
        return None if found is None else str(found)

    def figures(self, method: str) -> Mapping[str, Any]:
        """Measured on validation patients: what the card prints."""
        figures: Mapping[str, Any] = self.manifest["methods"][method].get("figures", {})
        return figures

    def interval(self, method: str) -> Interval:
        """The 90 % interval of a score; where a set has one width only, that.

        Raises
        ------
        ModelError
            If the manifest's cannot be used.
        """
        described = self.manifest["methods"][method]
        if "interval" in described:
            return Interval.from_json(described["interval"])
        half = float(described["half_width"])
        return Interval(INTERVAL, SCALES["constant"], half, half, 0, 0)

    def calibration(self, method: str) -> Calibration | None:
        """Map to a reader's scale, where `cellularity recalibrate` made the set.

        Raises
        ------
        ModelError
            If the manifest's cannot be used.
        """
        maps = self.manifest.get("calibration")
        return None if maps is None else Calibration.from_json(maps[method])

    def half_width(self, method: str) -> float:
        """Typical half width of the 90 % interval of a score, in units of cellularity."""
        return self.interval(method).half_width

    def file(self, name: str) -> Path:
        """Path of one of the set's files, its checksum verified once per process.

        Raises
        ------
        ModelError
            If the file is not in the manifest, missing or altered.
        """
        files = self.manifest["files"]
        if name not in files:
            raise ModelError(f"The model set '{self.name}' has no file '{name}' in its manifest.")
        path = self.folder / name
        try:
            status = path.stat()
        except OSError:
            raise ModelError(
                f"The file '{name}' of the model set '{self.name}' is missing; "
                "restore the folder from the repository."
            ) from None
        found = file_sha256(path, status.st_size, status.st_mtime_ns)
        if found != files[name]:
            raise ModelError(
                f"The file '{name}' of the model set '{self.name}' has the checksum "
                f"{found[:12]}, the manifest says {files[name][:12]}; it was altered or "
                "damaged, so restore the folder from the repository."
            )
        return path

    def card(self) -> str:
        """The set's card, as Markdown; empty where it has none."""
        path = self.folder / "README.md"
        return path.read_text(encoding="utf-8") if path.exists() else ""


def available(root: Path | None = None) -> list[str]:
    """Names of the model sets in a folder, sorted."""
    folder = root or default_root()
    return sorted(p.parent.name for p in folder.glob(f"*/{MANIFEST}"))


def open_set(name: str = DEFAULT_SET, root: Path | None = None) -> ModelSet:
    """Read the manifest of a model set.

    Raises
    ------
    ModelError
        If there is no such set, or its manifest cannot be used.
    """
    folder = (root or default_root()) / name
    path = folder / MANIFEST
    names = available(root)
    if name not in names:
        listed = f"there are {', '.join(names)}" if names else "there is none"
        raise ModelError(f"There is no model set '{name}' in '{folder.parent}'; {listed}.")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        files = manifest["files"]
        if not all(isinstance(v, str) for v in files.values()):
            raise TypeError("files")
        chosen = ModelSet(name, folder, manifest, set_sha256(manifest))
        _check_settings(chosen)
    except (
        *(OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError),
        RecursionError,
    ) as error:
        raise ModelError(
            f"The manifest of the model set '{name}' cannot be used ({type(error).__name__}: "
            f"{str(error)[:80]}); restore the folder from the repository."
        ) from error
    return chosen


def _check_settings(chosen: ModelSet) -> None:
    """Read what scoring reads of a manifest, so that it fails here and not on a patch."""
    low, high = MPP_RANGE
    if not low <= chosen.mpp <= high or chosen.views < 1 or not chosen.scale:
        raise ValueError(f"mpp {chosen.mpp:g}, views {chosen.views}, scale '{chosen.scale}'")
    if chosen.headline not in (None, *chosen.methods):
        raise ValueError(f"no method '{chosen.headline}' for a headline")
    networks = chosen.manifest["networks"]
    for method in chosen.methods:
        chosen.interval(method), chosen.calibration(method), dict(chosen.figures(method))
        for part in chosen.parts(method):
            if part not in NETWORK_OF:
                raise ValueError(f"'{part}' in '{method}'")
            if not networks[chosen.network_of(part)]["kind"]:
                raise ValueError(f"no kind of '{chosen.network_of(part)}'")
    nuclei = chosen.manifest["nuclei"]
    numbers = [*nuclei["thresholds"], nuclei["sigma_um"]]
    if len(numbers) != len(CLASSES) + 1 or not all(0 < float(n) < math.inf for n in numbers):
        raise ValueError(f"nuclei {numbers}")
    bool(nuclei["joint"])
    if not all(isinstance(one, str) for one in (*(chosen.learnt_from or ()), *chosen.fitted_to)):
        raise TypeError("learnt_from, fitted_to")


def set_sha256(manifest: Mapping[str, Any]) -> str:
    """Checksum of everything in a manifest that a score depends on."""
    decisive = {
        key: manifest[key] for key in ("files", "mpp", "views", "networks", "nuclei", "scale")
    }
    decisive["half_widths"] = {
        name: method["interval"] if "interval" in method else method["half_width"]
        for name, method in manifest["methods"].items()
    }
    if "looks_through" in manifest:
        decisive["looks_through"] = manifest["looks_through"]
    if means := {name: m["of"] for name, m in manifest["methods"].items() if "of" in m}:
        decisive["of"] = means
    if "calibration" in manifest:
        decisive["calibration"] = manifest["calibration"]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


@functools.lru_cache(maxsize=256)
def file_sha256(path: Path, size: int, modified_ns: int) -> str:
    """SHA-256 of a file's bytes; size and time are part of the cache's key."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
