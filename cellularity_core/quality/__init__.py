"""Can a score of this patch be relied on? Judged from its pixels, in milliseconds.

Colour: haematoxylin and eosin both absorb green most, so green's share of the
optical density is high in any H&E stain, strong or faint (Ruifrok & Johnston,
Anal Quant Cytol Histol 2001, 23:291); in photographs it is near a third, in
brown immunostains below. Focus: fine detail relative to coarse detail, so that
neither contrast nor the amount of nuclei matters.

Limits were set on 124 H&E patches (90 of BRCA-M2C, 34 of UCSB). Called
unreliable without cause: 0 of 124 as given; 0 of 124 each as JPEG of quality 30,
at 0.25 and at 1 um/px, cropped to 128 px, with either stain at 0.6 or 1.5 times
its strength, and under light tinted by 10 % (yellow, blue-green) or dimmed by
20 %. Caught: blur of sigma 3 px or more at 0.5 um/px 124 of 124, with camera
noise of 2.5 levels or as JPEG too, sigma 2 px 117; greyscale, inverted colours,
a brown and a dark blue rendering of the same patches 124 each; all 11 colour
pictures that come with scikit-image (photographs, sky, fundus, an immunostain).
Not caught: red and blue swapped, which keeps green's share.
"""

from dataclasses import dataclass
from typing import Final

from cellularity_core.masks import tissue_mask
from cellularity_core.patch import Patch
from cellularity_core.quality.colour import colour_flags, colours
from cellularity_core.quality.sharpness import focus
from cellularity_core.quality.views import views
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
    "out-of-scale": Flag(
        "The pixel size is outside 0.2 to 1 um, where the methods have not been trained; "
        "check it, or export the field at 20x.",
        True,
    ),
    "pixel-size-unknown": Flag(
        "The pixel size in the file cannot be right and 0.5 um (20x) was assumed; "
        "enter the true one.",
        False,
    ),
}
"""Every flag, in the order they are given."""

NO_TISSUE: Final = 0.02
LITTLE_TISSUE: Final = 0.10
"""Tissue fractions below which a flag is raised."""

SCALE_RANGE: Final = (0.2, 1.0)
"""um/px that the networks have seen, or nearly: 40x to 10x."""

BLURRED: Final = 0.55
"""Focus below which a patch is blurred; lowest of 124 sharp patches 0.62."""


def assess(patch: Patch) -> Quality:
    """Flags of a patch, and whether its score can be relied on.

    Parameters
    ----------
    patch : Patch

    Returns
    -------
    Quality
        With flags out of `FLAGS`; reliable unless one of them is fatal.
    """
    found = set()
    tissue = tissue_mask(patch.pixels, patch.mpp)
    fraction = float(tissue.mean())
    if fraction < LITTLE_TISSUE:
        found.add("no-tissue" if fraction < NO_TISSUE else "little-tissue")
    if "single-channel" in patch.notes:
        found.add("greyscale")
    if fraction >= NO_TISSUE:
        found |= colour_flags(colours(patch.pixels, tissue))
        if focus(views(patch.pixels, tissue, patch.mpp)) < BLURRED:
            found.add("blurred")
    if not SCALE_RANGE[0] <= patch.mpp <= SCALE_RANGE[1]:
        found.add("out-of-scale")
    if "pixel-size-implausible" in patch.notes:
        found.add("pixel-size-unknown")
    flags = tuple(code for code in FLAGS if code in found)
    return Quality(flags=flags, reliable=not any(FLAGS[code].fatal for code in flags))
