"""The classical peer: outlined nuclei, hand-made features, SVM classes, areas.

After Peikari, Salama, Nofech-Mozes & Martel, "Automatic cellularity assessment
from post-treated breast surgical specimens", Cytometry A 2017, 91:1078. The
course is the paper's: segment the nuclei of a patch, describe them, part
lymphocytes and normal nuclei from malignant ones by support vector machines, and
take cellularity from the area that the malignant ones' cells cover. Written from
what Rakhlin et al. (ICCV Workshops 2019) and a published re-implementation (Pei et
al., Comput Math Methods Med 2019:3041250) say of it, not from the paper's own
text; every number is ours, and each module says what else is.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from cellularity_core.classical.cells import CELL_RADII_UM, Calibration
from cellularity_core.classical.classes import OTHER, STEPS, Classifier, decide
from cellularity_core.classical.features import FEATURE_NAMES, Measured, measure
from cellularity_core.classical.segmentation import WORK_MPP, Outlining
from cellularity_core.classical.svm import RbfSvm, Sigmoid
from cellularity_core.conventions import LYMPHOCYTE, MALIGNANT, NORMAL
from cellularity_core.errors import ModelError
from cellularity_core.nuclei import rescaled
from cellularity_core.results import Nuclei

if TYPE_CHECKING:
    from cellularity_core.training.images import Loaded

DESCRIPTION: Final = "classical.json"
NUMBERS: Final = "classical.npz"

_AGAIN: Final = "train it again with `cellularity train classical`"


@dataclass(frozen=True, slots=True, eq=False)
class ClassicalPeer:
    """A trained classical peer; made by `train` or `load`.

    Attributes
    ----------
    outlining : Outlining
    classifier : Classifier
    sigmoids : tuple of Sigmoid
        Score to probability for each machine.
    malignant_above : float
        See `decide`.
    radius_um : float
        Width of cytoplasm around a nucleus, one of `CELL_RADII_UM`.
    calibration : Calibration
    scale : str
        Whose scale the scores are on.
    card : mapping
        How it was trained: seed, counts and what the inner folds gave.
    """

    outlining: Outlining
    classifier: Classifier
    sigmoids: tuple[Sigmoid, ...]
    malignant_above: float
    radius_um: float
    calibration: Calibration
    scale: str
    card: Mapping[str, Any] = field(default_factory=dict)

    def predict(self, items: Sequence["Loaded"]) -> npt.NDArray[np.float64]:
        """Cellularity of each patch in [0, 1], shape (n,); NaN where there is no tissue."""
        return np.array([self.read(item)[0] for item in items], np.float64)

    def nuclei(self, item: "Loaded") -> Nuclei:
        """Nuclei of one patch with their classes, in pixels of the patch."""
        return self.read(item)[1]

    def read(self, item: "Loaded") -> tuple[float, Nuclei]:
        """Cellularity and nuclei of one patch, which is outlined once for both."""
        found = measure(item.pixels, item.sample.mpp, self.outlining)
        scores = self.classifier.scores(found.features)
        label = decide(scores, self.malignant_above)
        covered = covered_share(found, label, self.radius_um)
        return float(self.calibration(covered)), self._nuclei(found, scores, label)

    def _nuclei(self, found: Measured, scores: npt.NDArray[np.float64], label: Any) -> Nuclei:
        is_nucleus, is_lymphocyte, is_malignant = (
            sigmoid(column) for sigmoid, column in zip(self.sigmoids, scores.T, strict=True)
        )
        others = is_nucleus * (1 - is_lymphocyte)
        chance = np.empty((len(label), 3))
        chance[:, LYMPHOCYTE] = is_nucleus * is_lymphocyte
        chance[:, MALIGNANT] = others * is_malignant
        chance[:, NORMAL] = others * (1 - is_malignant)
        kept = np.flatnonzero(label != OTHER)
        area = found.features[kept, FEATURE_NAMES.index("area")]
        on_grid = Nuclei(
            xy=found.xy[kept].astype(np.float32),
            label=label[kept],
            probability=chance[kept, label[kept]].astype(np.float32),
            sigma=(np.sqrt(area / np.pi / 2) / WORK_MPP).astype(np.float32),
        )
        return rescaled(on_grid, found.scale)

    def save(self, folder: Path) -> None:
        """Write `DESCRIPTION` and `NUMBERS` into a folder, which is made."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "mean": self.classifier.mean,
            "deviation": self.classifier.deviation,
        }
        for step, machine in zip(STEPS, self.classifier.machines, strict=True):
            arrays[f"{step} vectors"] = machine.vectors
            arrays[f"{step} weights"] = machine.weights
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        description = {
            "kind": "classical",
            "features": list(FEATURE_NAMES),
            "outlining": asdict(self.outlining),
            "machines": [
                {"step": step, "bias": m.bias, "gamma": m.gamma, "sigmoid": asdict(s)}
                for step, m, s in zip(STEPS, self.classifier.machines, self.sigmoids, strict=True)
            ],
            "malignant_above": self.malignant_above,
            "radius_um": self.radius_um,
            "calibration": asdict(self.calibration),
            "scale": self.scale,
            "card": dict(self.card),
            "sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / NUMBERS).write_bytes(buffer.getvalue())
        (folder / DESCRIPTION).write_text(json.dumps(description, indent=1), encoding="utf-8")


def load(path: str | Path) -> ClassicalPeer:
    """Read what `ClassicalPeer.save` wrote; nothing is unpickled.

    Parameters
    ----------
    path : path-like
        The folder.

    Raises
    ------
    ModelError
        If files are missing or damaged, do not belong together, or were made for
        other features.
    """
    folder = Path(path)
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        data = (folder / NUMBERS).read_bytes()
    except OSError as error:
        raise ModelError(
            f"'{folder}' holds no classical peer ({error.strerror}: "
            f"{Path(str(error.filename)).name}); give the folder that it was trained into."
        ) from None
    except ValueError:
        raise ModelError(f"{DESCRIPTION} in '{folder}' is damaged; {_AGAIN}.") from None
    try:
        if hashlib.sha256(data).hexdigest() != description["sha256"]:
            raise ModelError(
                f"{NUMBERS} in '{folder}' is damaged or not the one that {DESCRIPTION} names; "
                f"{_AGAIN}."
            )
        if tuple(description["features"]) != FEATURE_NAMES:
            raise ModelError(
                f"The classical peer in '{folder}' reads other features than this version "
                f"makes; {_AGAIN}."
            )
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return _assemble(description, {name: arrays[name] for name in arrays.files})
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{DESCRIPTION} in '{folder}' is incomplete ({error}); {_AGAIN}."
        ) from None


def covered_share(found: Measured, label: npt.NDArray[np.int8], radius_um: float) -> float:
    """Share of the tissue that malignant cells cover; NaN where there is no tissue."""
    if found.tissue == 0:
        return float("nan")
    column = found.cells[:, CELL_RADII_UM.index(radius_um)]
    return float(column[label == MALIGNANT].sum() / found.tissue)


def _assemble(
    description: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]
) -> ClassicalPeer:
    machines = tuple(
        RbfSvm(
            vectors=arrays[f"{step} vectors"],
            weights=arrays[f"{step} weights"],
            bias=float(numbers["bias"]),
            gamma=float(numbers["gamma"]),
        )
        for step, numbers in zip(STEPS, description["machines"], strict=True)
    )
    return ClassicalPeer(
        outlining=Outlining(**description["outlining"]),
        classifier=Classifier(arrays["mean"], arrays["deviation"], machines),
        sigmoids=tuple(Sigmoid(**numbers["sigmoid"]) for numbers in description["machines"]),
        malignant_above=float(description["malignant_above"]),
        radius_um=CELL_RADII_UM[CELL_RADII_UM.index(description["radius_um"])],
        calibration=Calibration(**description["calibration"]),
        scale=str(description["scale"]),
        card=description["card"],
    )
