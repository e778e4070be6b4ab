"""Whether an image is fit to be scored at all.

Thresholds lie between what was measured on 124 clean H&E patches (90 of BRCA-M2C, 34
of the UCSB fields; none is flagged unreliable) and on the same patches spoilt:

==================  ====================  ==============================
quantity            clean, lowest         spoilt, highest
==================  ====================  ==============================
sharpness           11.6                  8.9 (blur, sigma 2 px), 5.0 (3 px)
green share         0.42                  0.38 (photographs, IHC, inverted)
green-led pixels    0.66                  0.49 (the same)
colour              21.8                  8.0 (dark field, greyscale)
==================  ====================  ==============================
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from cellularity_core.conventions import DEFAULT_MPP
from cellularity_core.masks import tissue_mask
from cellularity_core.patch import Patch
from cellularity_core.resample import resample
from cellularity_core.results import Quality


@dataclass(frozen=True, slots=True)
class Flag:
    """A finding about an image.

    Attributes
    ----------
    text : str
        What is wrong and what to do, in one sentence.
    fatal : bool
        Whether no score of the image can be relied on.
    """

    text: str
    fatal: bool


FLAGS: Final[Mapping[str, Flag]] = MappingProxyType(
    {
        "no-tissue": Flag(
            "There is next to no tissue in this image; choose a field with tissue.", fatal=True
        ),
        "little-tissue": Flag(
            "Less than a tenth of this image is tissue; the scores rest on little.", fatal=False
        ),
        "greyscale": Flag("This image has no colour; export the H&E image in colour.", fatal=True),
        "not-he": Flag(
            "The colours are not those of H&E; use a haematoxylin and eosin stained section.",
            fatal=True,
        ),
        "blurred": Flag(
            "This image is out of focus or enlarged; scan or export it again at 20x.", fatal=True
        ),
        "out-of-scale": Flag(
            "The pixel size is far from 20x (0.5 um/px), where the models were trained; export "
            "at about 0.25 to 0.8 um/px.",
            fatal=True,
        ),
        "pixel-size-unknown": Flag(
            "The pixel size in the file cannot be believed, so 0.5 um/px is assumed; enter the "
            "right one if it differs.",
            fatal=False,
        ),
    }
)

NO_TISSUE: Final = 0.02
LITTLE_TISSUE: Final = 0.10
LEAST_COLOUR: Final = 10.0
"""Mean difference between a pixel's largest and smallest channel, in grey levels."""
LEAST_GREEN_SHARE: Final = 0.40
"""Share of green in the optical density: haematoxylin and eosin absorb green most."""
LEAST_GREEN_LED: Final = 0.57
"""Share of the stained pixels whose optical density is largest in green."""
LEAST_SHARPNESS: Final = 10.0
"""95th percentile of the Laplacian (after a Gaussian of 1 px) in tissue, in grey levels."""
SCALE_RANGE: Final = (0.2, 1.0)
"""um/px between which images are scored without the flag ``out-of-scale``."""

STAINED: Final = 0.25
"""Total optical density above which a pixel counts as stained."""

_OPTICAL_DENSITY: Final = -np.log((np.arange(256, dtype=np.float32) + 1) / 256)


def assess(patch: Patch) -> Quality:
    """Look for what makes scores of a patch unreliable.

    Parameters
    ----------
    patch : Patch

    Returns
    -------
    Quality
        Flags in the order of `FLAGS`; unreliable when one of them is fatal.
    """
    factor = min(1.0, patch.mpp / DEFAULT_MPP)
    pixels = patch.pixels if factor > 0.9 else resample(patch.pixels, factor)
    tissue = tissue_mask(pixels)
    share = float(tissue.mean())
    found = set()
    if share < NO_TISSUE:
        found.add("no-tissue")
    elif share < LITTLE_TISSUE:
        found.add("little-tissue")
    if "single-channel" in patch.notes or _colour(pixels) < LEAST_COLOUR:
        found.add("greyscale")
    elif share >= NO_TISSUE and not _looks_like_he(pixels, tissue):
        found.add("not-he")
    if share >= NO_TISSUE and sharpness(pixels, tissue) < LEAST_SHARPNESS:
        found.add("blurred")
    if not SCALE_RANGE[0] <= patch.mpp <= SCALE_RANGE[1]:
        found.add("out-of-scale")
    if "pixel-size-implausible" in patch.notes:
        found.add("pixel-size-unknown")
    # An empty field says nothing about its stain or colour.
    if "no-tissue" in found:
        found -= {"greyscale"} if "single-channel" not in patch.notes else set()
    flags = tuple(name for name in FLAGS if name in found)
    return Quality(flags, reliable=not any(FLAGS[name].fatal for name in flags))


def sharpness(pixels: npt.NDArray[np.uint8], tissue: npt.NDArray[np.bool_]) -> float:
    """95th percentile of the absolute Laplacian of the slightly smoothed grey in tissue.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        At about 0.5 um/px.
    tissue : ndarray of bool, shape (H, W)

    Returns
    -------
    float
        In grey levels a pixel squared; 0 without tissue.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    edges = np.abs(cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), 1.0), cv2.CV_32F))[tissue]
    if not len(edges):
        return 0.0
    return float(np.percentile(edges[:: max(1, len(edges) // 20_000)], 95))


def _colour(pixels: npt.NDArray[np.uint8]) -> float:
    sparse = pixels[::4, ::4]
    return float((sparse.max(axis=2) - sparse.min(axis=2)).mean())


def _looks_like_he(pixels: npt.NDArray[np.uint8], tissue: npt.NDArray[np.bool_]) -> bool:
    density = _OPTICAL_DENSITY[pixels[::3, ::3][tissue[::3, ::3]]]
    stained = density[density.sum(axis=1) > STAINED]
    if len(stained) < 20:
        return True
    mean = stained.mean(axis=0)
    green_led = float((stained.argmax(axis=1) == 1).mean())
    return bool(mean[1] / mean.sum() >= LEAST_GREEN_SHARE and green_led >= LEAST_GREEN_LED)
