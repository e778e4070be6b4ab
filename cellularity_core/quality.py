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

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from cellularity_core.masks import tissue_mask
from cellularity_core.patch import Patch
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

GREY_CHROMA: Final = 8.0
"""Largest difference between channels (99th percentile, of 255) in a grey image."""

STAINED_DENSITY: Final = 0.15
"""Optical density, summed over the channels, from which a pixel counts as stained."""

GREEN_SHARE: Final = 0.40
"""Green's part of the optical density; lowest of 124 H&E patches 0.440, highest of
11 other pictures 0.372."""

GREEN_PIXELS: Final = 0.35
"""Stained pixels that absorb green most; lowest of 124 H&E patches 0.68."""

GREEN_SLACK: Final = 0.02
"""By how much of the density another channel may lead all the same (noise)."""

DARK: Final = 125.0
"""Brightness (95th percentile, of 255) below which light did not come through tissue;
lowest of 124 H&E patches 178."""

WHITE: Final = 245.0
BACKGROUND_MIN: Final = 170.0
BACKGROUND_CHROMA: Final = 50.0
"""The brightest 2 % are taken for the glass, as long as they are as bright and as
little coloured as this; it removes a tint of the light."""

FOCUS_MPP: Final = 0.5
FOCUS_SIGMA: Final = (0.8, 1.6, 3.2)
"""Gaussian scales in pixels between which fine and coarse detail lie."""

FOCUS: Final = 0.46
"""Fine over coarse detail (root mean square); lowest of 124 sharp patches 0.62, highest
of 124 blurred by 3 px 0.39, and 0.45 with noise."""

FOCUS_FLOOR: Final = 0.5
"""Fine detail (root mean square, grey levels) that rounding and noise can feign; lowest
of 124 sharp patches 4.0."""

FOCUS_TILE: Final = 512
FOCUS_TILES: Final = 3
"""Tiles a side, at most, on which the focus of a large patch is measured."""

SAMPLES: Final = 16_384
"""Pixels, about, from which colours are judged."""

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


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
        found |= _colour_flags(patch.pixels, tissue)
        if focus(patch.pixels, tissue, patch.mpp) < FOCUS:
            found.add("blurred")
    if not SCALE_RANGE[0] <= patch.mpp <= SCALE_RANGE[1]:
        found.add("out-of-scale")
    if "pixel-size-implausible" in patch.notes:
        found.add("pixel-size-unknown")
    flags = tuple(code for code in FLAGS if code in found)
    return Quality(flags=flags, reliable=not any(FLAGS[code].fatal for code in flags))


def _colour_flags(pixels: Pixels, tissue: Mask) -> set[str]:
    step = max(1, round((tissue.size / SAMPLES) ** 0.5))
    sample = pixels[::step, ::step].reshape(-1, 3).astype(np.float32)
    inside = sample[tissue[::step, ::step].ravel()]
    found = set()
    brightness = sample.mean(axis=1)
    if np.percentile(brightness, 95) < DARK:
        found.add("not-he")
    if len(inside) == 0:
        return found
    if np.percentile(np.ptp(inside, axis=1), 99) <= GREY_CHROMA:
        return found | {"greyscale"}
    share, leading = _green(inside, np.full(3, WHITE, np.float32))
    glass = np.median(sample[brightness >= np.percentile(brightness, 98)], axis=0)
    if glass.min() > BACKGROUND_MIN and np.ptp(glass) < BACKGROUND_CHROMA:
        untinted = _green(inside, glass)
        share, leading = max(share, untinted[0]), max(leading, untinted[1])
    if share < GREEN_SHARE or leading < GREEN_PIXELS:
        found.add("not-he")
    return found


def _green(light: npt.NDArray[np.float32], glass: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Green's share of the density of stained pixels, and how many of them it leads.

    Parameters
    ----------
    light : ndarray, shape (n, 3)
        RGB of tissue.
    glass : ndarray, shape (3,)
        RGB of no tissue.
    """
    density = np.maximum(-np.log((light + 1) / (glass + 1)), 0)
    total = density.sum(axis=1)
    stained = total > STAINED_DENSITY
    if not stained.any():
        return 0.0, 0.0
    density, total = density[stained], total[stained, None]
    part = density / total
    leading = part[:, 1] >= np.maximum(part[:, 0], part[:, 2]) - GREEN_SLACK
    return float(density[:, 1].sum() / total.sum()), float(leading.mean())


def focus(pixels: Pixels, tissue: Mask, mpp: float) -> float:
    """Fine detail over coarse detail within tissue.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
    tissue : ndarray of bool, shape (H, W)
        Where to measure.
    mpp : float
        um per pixel. Finer ones are brought to 0.5, so that a scale is a size
        in tissue and noise of a camera does not count; coarser ones stay.

    Returns
    -------
    float
        Root mean square of the band between the first two of `FOCUS_SIGMA` over
        that of the last two; about 0.6 to 1.4 when sharp, below 0.46 when not.
        0 where fine detail is no more than noise, infinite where there is no
        tissue to measure.
    """
    fine = coarse = 0.0
    measured = 0
    for view in _tiles(tissue.shape, max(1.0, FOCUS_MPP / mpp)):
        grey: npt.NDArray[Any] = cv2.cvtColor(
            np.ascontiguousarray(pixels[view]), cv2.COLOR_RGB2GRAY
        )
        mask: npt.NDArray[Any] = tissue[view].astype(np.uint8)
        if mpp < FOCUS_MPP:
            scale = mpp / FOCUS_MPP
            size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
            mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
        image = np.asarray(grey, np.float32)
        smooth = [cv2.GaussianBlur(image, (0, 0), sigma) for sigma in FOCUS_SIGMA]
        weight = int(mask.sum())
        fine += weight * cv2.mean((smooth[0] - smooth[1]) ** 2, mask)[0]
        coarse += weight * cv2.mean((smooth[1] - smooth[2]) ** 2, mask)[0]
        measured += weight
    if measured == 0:
        return float("inf")
    if fine <= FOCUS_FLOOR**2 * measured:
        return 0.0
    return float(np.sqrt(fine / max(coarse, 1e-9)))


def _tiles(shape: tuple[int, ...], scale: float) -> Iterator[tuple[slice, slice]]:
    """The whole of a patch, or of a large one views spread evenly over it."""
    side = int(FOCUS_TILE * scale)
    rows, columns = (
        [slice(0, length)]
        if length <= 2 * side
        else [slice(s, s + side) for s in np.linspace(0, length - side, FOCUS_TILES, dtype=int)]
        for length in shape
    )
    for row in rows:
        for column in columns:
            yield row, column
