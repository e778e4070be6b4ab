"""Random views of a sample: geometry that moves points along, and stain.

All randomness comes from the generator passed in, so a view can be made again
from its seed.
"""

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

HE_MATRIX: Final = np.array(
    [[0.650, 0.704, 0.286], [0.072, 0.990, 0.105], [0.268, 0.570, 0.776]], np.float32
)
"""Optical density of haematoxylin, eosin and a residual in R, G, B.

Ruifrok & Johnston, Anal Quant Cytol Histol 2001, 23:291.
"""

_OPTICAL_DENSITY: Final = -np.log((np.arange(256, dtype=np.float32) + 1) / 256)


@dataclass(frozen=True, slots=True)
class StainJitter:
    """How far stains are moved; each strength is a standard deviation unless said otherwise.

    Attributes
    ----------
    amount : float
        Of the logarithm of each stain's concentration.
    offset : float
        Added to every optical density.
    hue : float
        Of the entries of the stain matrix that the image is painted with.
    blur : float
        Probability of a blur or a sharpening.
    noise : float
        Largest sensor noise, in grey levels.
    """

    amount: float = 0.25
    offset: float = 0.04
    hue: float = 0.05
    blur: float = 0.3
    noise: float = 4.0


def jitter_stain(
    pixels: npt.NDArray[np.uint8], rng: np.random.Generator, strength: StainJitter
) -> npt.NDArray[np.uint8]:
    """Restain an H&E image: change concentrations, colours and sharpness.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
    rng : Generator
    strength : StainJitter

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
    """
    density = _OPTICAL_DENSITY[pixels]
    amounts = np.exp(rng.normal(0, strength.amount, 3)).astype(np.float32)
    paint = _unit_rows(HE_MATRIX) + rng.normal(0, strength.hue, (3, 3)).astype(np.float32)
    paint = _unit_rows(paint)
    # Rows are pixels: density @ inv(HE) are concentrations, @ paint is density again.
    mix = np.linalg.inv(_unit_rows(HE_MATRIX)) @ (amounts[:, None] * paint)
    density = cv2.transform(density, np.ascontiguousarray(mix.T))
    offset = float(rng.normal(0, strength.offset))
    out = 256 * np.exp(-offset) * cv2.exp(-density) - 1
    if rng.random() < strength.blur:
        sigma = rng.uniform(0.4, 1.2)
        smooth = cv2.GaussianBlur(out, (0, 0), sigma)
        out = smooth if rng.random() < 0.6 else out + rng.uniform(0.3, 1.0) * (out - smooth)
    if strength.noise > 0 and rng.random() < 0.3:
        noise = rng.standard_normal(out.shape, dtype=np.float32)
        out = out + rng.uniform(0, strength.noise) * noise
    restained: npt.NDArray[np.uint8] = np.clip(np.rint(out), 0, 255).astype(np.uint8)
    return restained


def _unit_rows(matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    unit: npt.NDArray[np.float32] = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    return unit


@dataclass(frozen=True, slots=True)
class View:
    """A square view of an image with the nuclei in it.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (side, side, 3)
    xy : ndarray, shape (n, 2)
        Nuclei in pixels of the view, those just outside it included.
    label : ndarray of int, shape (n,)
    mpp : float
        um per pixel of the view.
    """

    pixels: npt.NDArray[np.uint8]
    xy: npt.NDArray[np.float64]
    label: npt.NDArray[np.int8]
    mpp: float


def random_view(
    pixels: npt.NDArray[np.uint8],
    xy: npt.NDArray[np.floating],
    label: npt.NDArray[np.integer],
    *,
    side: int,
    mpp: float,
    view_mpp: float,
    rng: np.random.Generator,
    zoom: float = 0.15,
    rotate: bool = True,
) -> View:
    """A randomly placed, turned, flipped and zoomed square view.

    Any angle is taken where the turned square fits into the image, else a multiple
    of 90 degrees; what lies beyond the image is its reflection, nuclei included.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
    xy, label : ndarray, shapes (n, 2) and (n,)
    side : int
        Of the view, in pixels.
    mpp, view_mpp : float
        um per pixel of the image, and of the view before zoom.
    rng : Generator
    zoom : float
        Magnification is drawn between ``1 / (1 + zoom)`` and ``1 + zoom``.
    rotate : bool
        Whether angles other than multiples of 90 degrees are drawn.

    Returns
    -------
    View
    """
    height, width = pixels.shape[:2]
    low = np.log1p(zoom)
    scale = float(mpp / view_mpp * np.exp(rng.uniform(-low, low)))  # view pixels per image pixel
    reach = side / scale  # side of the view in image pixels
    angle = float(rng.integers(4) * np.pi / 2)
    box = reach
    if rotate and reach * np.sqrt(2) <= min(height, width):
        angle = rng.uniform(0, 2 * np.pi)
        box = reach * float(abs(np.cos(angle)) + abs(np.sin(angle)))
    centre = np.array(
        [_place(width, box, rng), _place(height, box, rng)],
    )
    flip = np.diag([1.0, -1.0 if rng.random() < 0.5 else 1.0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = scale * (flip @ turn)
    shift = (side - 1) / 2 - linear @ centre
    warp = np.hstack([linear, shift[:, None]])
    source: Any = pixels
    if scale < 0.75:
        # Bilinear sampling skips pixels when it shrinks; average first.
        source = cv2.blur(source, (round(1 / scale), round(1 / scale)))
    view: Any = cv2.warpAffine(
        source, warp, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    points, labels = xy, label
    if box > min(height, width):
        points, labels = _reflect(xy, label, height, width)
    moved = points @ linear.T + shift
    margin = 30.0
    near = ((moved > -margin) & (moved < side + margin)).all(axis=1)
    return View(view, moved[near], labels[near].astype(np.int8), mpp / scale)


def _place(extent: int, box: float, rng: np.random.Generator) -> float:
    free = (extent - box) / 2
    middle = (extent - 1) / 2
    return float(middle + rng.uniform(-free, free)) if free > 0 else float(middle)


def _reflect(
    xy: npt.NDArray[np.floating], label: npt.NDArray[np.integer], height: int, width: int
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.integer]]:
    columns = [xy[:, 0], -xy[:, 0], 2 * (width - 1) - xy[:, 0]]
    rows = [xy[:, 1], -xy[:, 1], 2 * (height - 1) - xy[:, 1]]
    copies = [np.stack([c, r], axis=1) for c in columns for r in rows]
    return np.concatenate(copies), np.tile(label, len(copies))
