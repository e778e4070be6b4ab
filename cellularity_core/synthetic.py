"""Synthetic H&E patches with known nuclei: a demo and a test bench, never evidence.

A patch is composed as amounts of haematoxylin and eosin on a grid (tumour
nests with cytoplasm, wavy collagen, fat, benign acini, nuclei with chromatin)
and turned into light by the Beer-Lambert law. Sizes are in micrometres.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from cellularity_core.conventions import DEFAULT_MPP, SIDE_RANGE
from cellularity_core.errors import DataError, PatchError
from cellularity_core.notes import SYNTHETIC
from cellularity_core.patch import Patch, check_mpp, pixel_digest
from cellularity_core.points import NucleiPoints
from cellularity_core.synthetic_field import Field
from cellularity_core.synthetic_nuclei import Plane

STAINS: Final = {
    "default": ((0.62, 0.72, 0.29), (0.15, 0.90, 0.42), 1.00, 1.00),
    "violet": ((0.62, 0.72, 0.24), (0.20, 0.95, 0.18), 1.05, 0.90),
    "pale": ((0.64, 0.69, 0.30), (0.12, 0.88, 0.45), 0.75, 0.70),
    "red": ((0.58, 0.72, 0.32), (0.10, 0.85, 0.52), 1.00, 1.25),
}
"""Optical density of haematoxylin and of eosin (red, green, blue), and how much
of each a laboratory uses. Spread around the vectors of Ruifrok & Johnston 2001
and Macenko et al. 2009."""

GLASS: Final = (245.0, 243.0, 247.0)
"""Light through empty glass."""


@dataclass(frozen=True, slots=True, eq=False)
class Synthetic:
    """A made-up patch and what was drawn into it.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (side, side, 3)
        RGB.
    points : NucleiPoints
        Every nucleus whose centre lies inside, with its class.
    """

    pixels: npt.NDArray[np.uint8]
    points: NucleiPoints


def synthesise(
    seed: int,
    side: int = 512,
    cellularity: float = 0.4,
    mpp: float = DEFAULT_MPP,
    stain: str = "default",
    *,
    lymphocytes: float = 0.3,
    fat: float = 0.1,
    acini: int = 0,
) -> Synthetic:
    """A synthetic H&E patch.

    Parameters
    ----------
    seed : int
        The same seed and settings give the same patch.
    side : int
        In pixels, within `SIDE_RANGE`.
    cellularity : float
        Share of the field that tumour nests take, 0 to 1.
    mpp : float
        um per pixel.
    stain : str
        A key of `STAINS`.
    lymphocytes : float
        0 for none to 1 for dense clusters along the nests.
    fat : float
        Share of the field where fat may lie, 0 to 1; nests come first.
    acini : int
        Benign glands to place, as far as there is room for them.

    Returns
    -------
    Synthetic

    Raises
    ------
    DataError
        If the stain is unknown or a share lies outside 0 to 1.
    PatchError
        If `side` or `mpp` cannot be those of a patch.
    """
    if stain not in STAINS:
        raise DataError(f"There is no stain '{stain}'; choose one of {', '.join(STAINS)}.")
    if not all(0 <= share <= 1 for share in (cellularity, lymphocytes, fat)):
        raise DataError(
            "Cellularity, lymphocytes and fat of a synthetic patch are shares; give 0 to 1."
        )
    if not SIDE_RANGE[0] <= side <= SIDE_RANGE[1]:
        raise PatchError(f"A patch has {SIDE_RANGE[0]} to {SIDE_RANGE[1]} pixels a side.")
    check_mpp(mpp, "a synthetic patch")
    field = Field(np.random.default_rng(seed), side, mpp)
    field.collagen()
    field.nests(cellularity)
    field.fat(fat)
    field.acini(acini)
    field.lymphocytes(lymphocytes)
    field.fibroblasts()
    pixels = _light(field.haematoxylin, field.eosin, stain, field.rng, mpp)
    return Synthetic(pixels, field.points())


def demo_patches() -> list[Patch]:
    """Four synthetic patches, unlike each other, whose names say what they are."""
    recipes = (
        ("synthetic - cohesive tumour nests.png", 11, 0.62, "default", 0.25, 0.0, 0),
        ("synthetic - scattered tumour with lymphocytes.png", 23, 0.22, "violet", 1.0, 0.0, 0),
        ("synthetic - benign glands in stroma.png", 35, 0.0, "default", 0.1, 0.15, 7),
        ("synthetic - tumour bed with fat, little tumour left.png", 47, 0.06, "red", 0.2, 0.45, 0),
    )
    patches = []
    for name, seed, cellularity, stain, lymphocytes, fat, acini in recipes:
        made = synthesise(
            seed,
            cellularity=cellularity,
            stain=stain,
            lymphocytes=lymphocytes,
            fat=fat,
            acini=acini,
        )
        digest = pixel_digest(made.pixels)
        patches.append(Patch(name, made.pixels, DEFAULT_MPP, "file", digest, (SYNTHETIC,)))
    return patches


def _light(
    haematoxylin: Plane, eosin: Plane, stain: str, rng: np.random.Generator, mpp: float
) -> npt.NDArray[np.uint8]:
    """RGB of stain amounts: Beer-Lambert law, the lens's blur, the camera's noise."""
    h, e, h_amount, e_amount = STAINS[stain]
    density = haematoxylin[..., None] * (h_amount * np.array(h, np.float32))
    density = density + eosin[..., None] * (0.62 * e_amount * np.array(e, np.float32))
    light = np.exp(-density) * np.array(GLASS, np.float32)
    light = cv2.GaussianBlur(light, (0, 0), max(0.3 / mpp, 0.4))
    light += rng.standard_normal(light.shape, np.float32) * 1.8
    return np.asarray(np.clip(np.rint(light), 0, 255), np.uint8)
