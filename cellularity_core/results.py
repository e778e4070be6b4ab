"""What scoring a patch yields."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cellularity_core.conventions import CLASSES


@dataclass(frozen=True, slots=True)
class Score:
    """Cellularity of one patch by one method.

    Attributes
    ----------
    value : float or None
        In [0, 1]; None where there is no tissue to score.
    low, high : float or None
        Limits of the 90 % interval, within [0, 1]; None where `value` is.
    """

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Nuclei:
    """Nuclei found in a patch, one entry a nucleus in every array.

    Attributes
    ----------
    xy : ndarray of float32, shape (n, 2)
        Centres ``(x, y)`` in pixels of the patch as given.
    label : ndarray of int8, shape (n,)
        Index into `CLASSES`.
    probability : ndarray of float32, shape (n,)
        Activation of that class at the centre, 0 to 1.
    sigma : ndarray of float32, shape (n,)
        Scale of the blob in pixels of the patch as given; its radius is about
        ``sigma * sqrt(2)``.
    """

    xy: npt.NDArray[np.float32]
    label: npt.NDArray[np.int8]
    probability: npt.NDArray[np.float32]
    sigma: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.label)

    def counts(self) -> dict[str, int]:
        """Number of nuclei of each class, by name."""
        return {name: int((self.label == k).sum()) for k, name in enumerate(CLASSES)}


@dataclass(frozen=True, slots=True)
class Quality:
    """Whether a score of this patch can be relied on.

    Attributes
    ----------
    flags : tuple of str
        Short codes of what was found, e.g. ``"no-tissue"``; see `quality.FLAGS`
        for the sentence that goes with each.
    reliable : bool
        False when any flag makes the score unusable.
    """

    flags: tuple[str, ...] = ()
    reliable: bool = True


@dataclass(frozen=True, slots=True)
class PatchResult:
    """Everything the methods of one model set say of one patch.

    Attributes
    ----------
    image : str
        Name of the patch as given by the user.
    width, height : int
        Size in pixels as given.
    mpp : float
        um per pixel of the patch as given.
    sha256 : str
        Of the patch's RGB pixels.
    scores : mapping of str to Score
        By method, in the order of `METHODS`; only the methods asked for.
    activations : mapping of str to ndarray of float16, shape (4, height, width)
        By method that segments ("gbt", "cascade"), channels in the order of
        `CHANNELS`, on the patch's own pixels. Empty when maps were not asked for.
    feature_maps : mapping of str to ndarray of float32, shape (4, h, w)
        The same maps at 1 um/px, as the 81 features and the blobs read them.
        Empty when maps were not asked for.
    nuclei : Nuclei
        Found on the "gbt" map.
    features : ndarray of float64, shape (81,)
        In the order of `features.FEATURE_NAMES`, by area of tissue.
    contributions : ndarray of float64, shape (81,)
        SHAP values of the "gbt" score, mean over views.
    base_value : float
        The "gbt" score before any feature speaks; with `contributions` it sums
        to the raw (unclipped) "gbt" score.
    quality : Quality
    model_set : str
    model_sha256 : str
        Checksum of the model set.
    scale : str
        Whose scale the scores are on, e.g. "weak TC".
    precision : str
        What the networks multiplied: "f32" or "bf16".
    views : int
        Test-time views that each score is the mean of.
    notes : tuple of str
        How the patch was read, in codes of `notes`.
    uncalibrated : mapping of str to float
        By method, the score before it was put on a reader's scale, in [0, 1]: the scale
        that features, contributions and maps are on. Empty where `scores` are on it too.
    seconds : mapping of str to float
        Time by stage.
    """

    image: str
    width: int
    height: int
    mpp: float
    sha256: str
    scores: Mapping[str, Score]
    nuclei: Nuclei
    features: npt.NDArray[np.float64]
    contributions: npt.NDArray[np.float64]
    base_value: float
    quality: Quality
    model_set: str
    model_sha256: str
    scale: str
    precision: str = "f32"
    views: int = 1
    notes: tuple[str, ...] = ()
    uncalibrated: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    activations: Mapping[str, npt.NDArray[np.float16]] = field(default_factory=dict)
    feature_maps: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
