"""Are these the colours of haematoxylin and eosin?

Both stains absorb green most, so green's share of the optical density is high
in any H&E, strong or faint (Ruifrok & Johnston, Anal Quant Cytol Histol 2001,
23:291); in photographs it is near a third, in brown immunostains below, and in
haematoxylin without eosin no pixel is led by green far.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from cellularity_core.quality.views import Mask, Pixels, blocks

GREY_CHROMA: Final = 8.0
"""Largest difference between channels (99th percentile, of 255) in a grey image."""

STAINED_DENSITY: Final = 0.15
"""Optical density, summed over the channels, from which a pixel counts as stained."""

DENSE: Final = 0.3
"""The same, from which the pixel's hue is sure enough for `GREEN_LEAD`."""

GREEN_SHARE: Final = 0.40
"""Green's part of the optical density; lowest of 124 H&E patches 0.440."""

GREEN_PIXELS: Final = 0.35
"""Stained pixels that absorb green most; lowest of 124 H&E patches 0.68."""

GREEN_SLACK: Final = 0.02
"""By how much of the density another channel may lead all the same (noise)."""

GREEN_LEAD: Final = 0.145
"""Lead of green over the next channel, as a share of the density, that a tenth of the
dense pixels exceeds where there is eosin; lowest of 124 H&E patches 0.171."""

DARK: Final = 125.0
"""Brightness (95th percentile, of 255) below which light did not come through tissue;
lowest of 124 H&E patches 178."""

DIM: Final = 68.0
"""Light in the channel that is absorbed most (75th percentile, of 255) below which colours
glow rather than absorb; lowest of 124 H&E patches 92, and 73 dimmed by 20 %."""

WHITE: Final = 245.0
BACKGROUND_MIN: Final = 170.0
BACKGROUND_CHROMA: Final = 50.0
"""The brightest 2 % are taken for the glass, as long as they are as bright and as
little coloured as this; it removes a tint of the light. Else glass is grey and as bright
as the brightest channel of the brightest tissue, within these limits."""

BLOCK: Final = 3
SAMPLES: Final = 4_000
"""Side of a block of pixels, and of how many blocks, about, colours are judged."""

Light = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Colours:
    """Mean colours of small blocks of a patch.

    Attributes
    ----------
    light : ndarray of float32, shape (3, n)
        RGB of every block.
    tissue : ndarray of bool, shape (n,)
        Where there is tissue.
    brightness : ndarray of float32, shape (n,)
        Mean over the channels.
    grey, glass : ndarray of float32, shape (3,)
        RGB of the light that passes where there is no tissue: were it grey, and as
        far as it can be seen.
    """

    light: Light
    tissue: npt.NDArray[np.bool_]
    brightness: Light
    grey: Light
    glass: Light


def colours(pixels: Pixels, tissue: Mask) -> Colours:
    """Blocks of 3 x 3 pixels, so that the noise of single pixels does not count."""
    height, width = (side // BLOCK for side in tissue.shape)
    step = max(1, round((height * width / SAMPLES) ** 0.5))
    share = blocks(tissue.astype(np.uint8) * 255, BLOCK, step)
    # a row a channel: sums over the channels are then over long rows
    light = np.ascontiguousarray(blocks(pixels, BLOCK, step).reshape(-1, 3).T, np.float32)
    brightness = np.asarray(light.mean(axis=0), np.float32)
    level = np.percentile(light.max(axis=0), 99)
    grey = np.full(3, np.clip(level, BACKGROUND_MIN, WHITE), np.float32)
    bright = brightness >= np.percentile(brightness, 98)
    brightest = np.median(np.compress(bright, light, axis=1), axis=1)
    seen = brightest.min() > BACKGROUND_MIN and np.ptp(brightest) < BACKGROUND_CHROMA
    glass = np.asarray(brightest, np.float32) if seen else grey
    return Colours(light, share.ravel() > 127, brightness, grey, glass)


def colour_flags(seen: Colours) -> set[str]:
    """``"greyscale"`` or ``"not-he"``, or nothing."""
    found = set()
    if np.percentile(seen.brightness, 95) < DARK or np.percentile(seen.light.min(axis=0), 75) < DIM:
        found.add("not-he")
    inside = np.compress(seen.tissue, seen.light, axis=1)
    if inside.size == 0:
        return found
    if np.percentile(np.ptp(inside, axis=0), 99) <= GREY_CHROMA:
        return found | {"greyscale"}
    green = _green(inside, seen.grey)
    if seen.glass is not seen.grey:
        green = np.maximum(green, _green(inside, seen.glass))
    if (green < (GREEN_SHARE, GREEN_PIXELS, GREEN_LEAD)).any():
        found.add("not-he")
    return found


def _green(light: Light, white: Light) -> npt.NDArray[np.float64]:
    """Green's share of the density of tissue, how many pixels it leads, and how far.

    Parameters
    ----------
    light : ndarray, shape (3, n)
        RGB of tissue.
    white : ndarray, shape (3,)
        RGB of no tissue.
    """
    density = np.maximum(-np.log((light + 1) / (white[:, None] + 1)), 0)
    total = density.sum(axis=0)
    stained = total > STAINED_DENSITY
    if not stained.any():
        return np.zeros(3)
    (red, green, blue), total = np.compress(stained, density, axis=1), total[stained]
    lead = (green - np.maximum(red, blue)) / total
    dense = total > DENSE
    return np.array(
        [
            green.sum() / total.sum(),
            (lead >= -GREEN_SLACK).mean(),
            np.percentile(lead[dense] if dense.any() else lead, 90),
        ]
    )
