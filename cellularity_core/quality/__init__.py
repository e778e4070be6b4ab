"""Can a score of this patch be relied on? Judged from its pixels, in milliseconds.

Colour: haematoxylin and eosin both absorb green most, so green's share of the
optical density is high in any H&E stain, strong or faint (Ruifrok & Johnston,
Anal Quant Cytol Histol 2001, 23:291); in photographs it is near a third, in
brown immunostains below. Focus: fine detail relative to coarse detail, so that
neither contrast nor the amount of nuclei matters.

Scale: a small regression on
sizes of dark blobs and on texture. Pen, folds and the stain: see their modules.

Limits were set on 124 H&E patches of 89 patients (90 of BRCA-M2C, 34 fields of UCSB).
`rates` says how often each flag is raised without cause, and how much is caught of
blur, wrong scale, pictures that are no H&E, pen and folds; `training` measures it, on
patients whose patches set no limit of scale or stain. The limits of focus and colour are
constants that all 124 patches were looked at for, far from any of them.

Not caught: red and blue swapped, which keeps green's share; many folds; a scale that is
wrong by less than about 1.4 times.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from cellularity_core.masks import tissue_mask
from cellularity_core.notes import IMPLAUSIBLE
from cellularity_core.patch import Patch
from cellularity_core.quality.artefacts import FOLD_AREA, FOLD_FATAL, PEN_AREA, PEN_FATAL, fold, pen
from cellularity_core.quality.colour import Colours, colour_flags, colours
from cellularity_core.quality.scale import magnification, measures
from cellularity_core.quality.sharpness import focus
from cellularity_core.quality.staining import STAIN_FATAL, distance, stain
from cellularity_core.quality.views import Mask, views
from cellularity_core.results import Quality


@dataclass(frozen=True, slots=True)
class Flag:
    """What a flag means to the reader.

    Attributes
    ----------
    text : str
        One sentence: what is wrong and what to do.
    fatal : bool
        Whether the score must not be relied on.
    """

    text: str
    fatal: bool


class Raise(Protocol):
    """Takes down a flag, fatal or not."""

    def __call__(self, code: str, even_if: bool = False) -> None:
        """Raise `code`; it is fatal if its kind is, or if `even_if`."""


FLAGS: Final = {
    "no-tissue": Flag(
        "There is hardly any tissue here, so nothing can be scored; choose another field.", True
    ),
    "little-tissue": Flag(
        "Less than a tenth of this field is tissue, so the score rests on few cells; "
        "prefer a fuller field.",
        False,
    ),
    "greyscale": Flag(
        "This image is grey, and the methods read the colours of haematoxylin and eosin; "
        "give the colour image.",
        True,
    ),
    "not-he": Flag(
        "These are not the colours of haematoxylin and eosin (an immunostain, fluorescence or a "
        "photograph?); give an H&E patch.",
        True,
    ),
    "blurred": Flag(
        "This image is out of focus, so nuclei cannot be told apart; scan it again or choose a "
        "sharp field.",
        True,
    ),
    "wrong-scale": Flag(
        "Nuclei and texture are not of the size that the pixel size says, so the scale is wrong; "
        "check the µm per pixel, or export the field at its own resolution.",
        True,
    ),
    "small-field": Flag(
        "This field is smaller than those the error was measured on (about 250 µm a side), so "
        "its interval is too narrow; give a larger field.",
        False,
    ),
    "out-of-scale": Flag(
        "The pixel size is outside 0.2 to 1 µm, where the methods have not been trained; "
        "check it, or export the field at 20x.",
        True,
    ),
    "pixel-size-unknown": Flag(
        "The pixel size in the file cannot be right and 0.5 µm (20x) was assumed; "
        "enter the true one.",
        False,
    ),
    "pixel-size-assumed": Flag(
        "The file states no pixel size and 0.5 µm (20x) was assumed; if it is another one, "
        "enter it, as every score depends on it.",
        False,
    ),
    "pen": Flag(
        "There is a pen mark on this field, and what lies under it is not scored rightly; "
        "choose a field without ink.",
        False,
    ),
    "fold": Flag(
        "The tissue seems folded or doubled here, so nuclei lie on top of each other; "
        "choose a flat field.",
        False,
    ),
    "stain-unusual": Flag(
        "This stain is unlike those that the methods were trained on, so errors may be larger; "
        "compare with your own score, or recalibrate for this laboratory.",
        False,
    ),
    "learnt-from": Flag(
        "The models, or the scale of their scores, were made from this patch, so they err less on "
        "it than on new ones; leave it out where you judge the models.",
        False,
    ),
    "beyond-reader": Flag(
        "A score lies outside those that this reader's scale was made from, so its value is a "
        "guess and its interval is open on that side; score such patches and recalibrate.",
        False,
    ),
}
"""Every flag, in the order they are given."""

ASSUMED: Final = frozenset({"pixel-size-unknown", "pixel-size-assumed"})
"""Flags of a pixel size that was assumed."""

NOT_OF_PIXELS: Final = ("small-field", "pixel-size-assumed", "learnt-from", "beyond-reader")
"""Flags without rates: what the pixels show does not decide them."""

NO_TISSUE: Final = 0.02
LITTLE_TISSUE: Final = 0.10
"""Tissue fractions below which a flag is raised."""

SCALE_RANGE: Final = (0.2, 1.0)
"""um/px that the networks have seen, or nearly: 40x to 10x."""

SMALL_UM: Final = 128.0
TINY_UM: Final = 40.0
"""Shorter side, um, below which a score's interval is too narrow, and below which the score
says little: of 90 patches that the set `breast-1` learnt from, cut to 64 um, the mean squared
error of its combined score was 0.011, cut to 32 um 0.033 (whole: 0.002), and the intervals
held 61 % of those of 32 um (``cellularity evaluate --shifts``)."""

BLURRED: Final = 0.42
"""Focus below which a patch is blurred; lowest of 124 sharp patches 0.48, and 0.46 as JPEG
of quality 30; highest of those blurred by 2 px 0.37."""

MODEL: Final = Path(__file__).with_name("model.json")
"""What `training` sets on patches: scale, stain, and the rates of all flags."""


def assess(patch: Patch, model: Mapping[str, Any] | None = None) -> Quality:
    """Flags of a patch, and whether its score can be relied on.

    Parameters
    ----------
    patch : Patch
    model : mapping, optional
        Limits of scale and stain; by default those that are shipped.

    Returns
    -------
    Quality
        With flags out of `FLAGS`; reliable unless one of them is fatal, pen or fold
        cover much, or the field is tiny.
    """
    fatal: dict[str, bool] = {}

    def raise_flag(code: str, even_if: bool = False) -> None:
        fatal[code] = FLAGS[code].fatal or even_if

    tissue = tissue_mask(patch.pixels, patch.mpp)
    fraction = np.count_nonzero(tissue) / tissue.size
    if fraction < LITTLE_TISSUE:
        raise_flag("no-tissue" if fraction < NO_TISSUE else "little-tissue")
    if "single-channel" in patch.notes:
        raise_flag("greyscale")
    if fraction >= NO_TISSUE:
        seen = colours(patch.pixels, tissue)
        for code in colour_flags(seen):
            raise_flag(code)
        if not fatal.keys() & {"greyscale", "not-he"}:
            _judge_stained(patch, tissue, seen, model or _shipped(), raise_flag)
    side_um = min(patch.pixels.shape[:2]) * patch.mpp
    if side_um < SMALL_UM:
        raise_flag("small-field", side_um < TINY_UM)
    if not SCALE_RANGE[0] <= patch.mpp <= SCALE_RANGE[1]:
        raise_flag("out-of-scale")
    if patch.mpp_source == "default":
        implausible = IMPLAUSIBLE in patch.notes
        raise_flag("pixel-size-unknown" if implausible else "pixel-size-assumed")
    return Quality(
        flags=tuple(code for code in FLAGS if code in fatal), reliable=not any(fatal.values())
    )


def with_flag(found: Quality, code: str) -> Quality:
    """`found` with one flag more."""
    flags = tuple(c for c in FLAGS if c == code or c in found.flags)
    return Quality(flags, found.reliable and not FLAGS[code].fatal)


def _judge_stained(
    patch: Patch, tissue: Mask, seen: Colours, model: Mapping[str, Any], raise_flag: Raise
) -> None:
    """Flags that mean something in a picture of H&E only."""
    parts = views(patch.pixels, tissue, patch.mpp)
    if focus(parts) < BLURRED:
        raise_flag("blurred")
    measured = measures(parts)
    if measured is not None and SCALE_RANGE[0] <= patch.mpp <= SCALE_RANGE[1]:
        low, high = model["scale"]["limits"]
        if not low <= magnification(measured, model["scale"]) <= high:
            raise_flag("wrong-scale")
    inked = pen(patch.pixels, seen.glass, patch.mpp)
    if inked > PEN_AREA:
        raise_flag("pen", inked > PEN_FATAL)
    doubled = fold(patch.pixels, tissue, patch.mpp)
    if doubled > FOLD_AREA:
        raise_flag("fold", doubled > FOLD_FATAL)
    stains = stain(seen)
    if stains is not None:
        away = distance(stains, model["stain"])
        if away > model["stain"]["limit"]:
            raise_flag("stain-unusual", away > STAIN_FATAL * model["stain"]["limit"])


def rates() -> Mapping[str, Any]:
    """How often flags are raised without cause, and how often spoilt patches are caught.

    Returns
    -------
    mapping
        ``patches``, ``patients`` and ``folds`` measured on; ``false_alarms``: share of
        clean patches by flag, with ``any`` and ``unreliable``; ``caught``: by kind of
        picture its ``share`` and, by variety, its ``kinds``. All on patients whose
        patches set no limit of scale or stain.
    """
    found: Mapping[str, Any] = _shipped()["rates"]
    return found


@cache
def _shipped() -> Mapping[str, Any]:
    model: dict[str, Any] = json.loads(MODEL.read_text(encoding="utf-8"))
    # arrays once, not at every patch
    model["scale"]["layers"] = [tuple(map(np.asarray, layer)) for layer in model["scale"]["layers"]]
    return model
