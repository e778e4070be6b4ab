"""How the nuclei of a synthetic patch look."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from cellularity_core.conventions import LYMPHOCYTE, MALIGNANT, NORMAL

Plane = npt.NDArray[np.float32]
"""One value a pixel."""


@dataclass(frozen=True, slots=True)
class Look:
    """How nuclei of one kind look; lengths in um, amounts in units of stain."""

    label: int
    length: tuple[float, float]
    """Mean and spread of the long axis."""
    slender: tuple[float, float]
    """Range of long over short axis."""
    density: tuple[float, float]
    """Range of haematoxylin."""
    chromatin: float
    """Contrast of its texture, 0 to 1."""
    uneven: float
    """How far the outline departs from an ellipse, relative to the radius."""
    nucleoli: bool = False


TUMOUR_LOOK: Final = Look(
    MALIGNANT, (9.3, 1.3), (1.05, 1.5), (0.55, 1.10), 0.55, 0.07, nucleoli=True
)
LYMPHOCYTE_LOOK: Final = Look(LYMPHOCYTE, (6.2, 0.5), (1.0, 1.2), (1.25, 1.7), 0.25, 0.03)
FIBROBLAST_LOOK: Final = Look(NORMAL, (10.5, 2.0), (2.2, 4.0), (0.75, 1.25), 0.25, 0.05)
DUCTAL_LOOK: Final = Look(NORMAL, (7.2, 0.7), (1.1, 1.6), (0.70, 1.0), 0.35, 0.04)
ADIPOCYTE_LOOK: Final = Look(NORMAL, (8.0, 1.0), (2.5, 3.5), (0.9, 1.2), 0.2, 0.05)


def stamps(
    rng: np.random.Generator,
    spots: npt.NDArray[np.float64],
    look: Look,
    facing: npt.NDArray[np.floating],
    mpp: float,
) -> tuple[Plane, npt.NDArray[np.int64]]:
    """Cover and haematoxylin of each nucleus, and where its stamp goes.

    Returns
    -------
    ndarray, shape (n, 2, reach, reach)
    ndarray of int, shape (n, 2)
        Column and row of each stamp's first pixel.
    """
    n = len(spots)
    long = np.clip(rng.normal(*look.length, n), 0.6 * look.length[0], 1.6 * look.length[0])
    short = long / rng.uniform(*look.slender, n)
    if look.slender[1] < 2:
        long, short = long * (long / short) ** 0.25, short * (long / short) ** 0.25
    half = int(np.ceil(1.6 * look.length[0] / mpp / 2 * 1.2)) + 2
    first = np.rint(spots).astype(np.int64) - half
    span = np.arange(2 * half + 1, dtype=np.float32)
    dx = (first[:, :1] + span - spots[:, :1]).astype(np.float32)[:, None, :]
    dy = (first[:, 1:] + span - spots[:, 1:]).astype(np.float32)[:, :, None]
    c, s = (f(facing).astype(np.float32)[:, None, None] for f in (np.cos, np.sin))
    u = (dx * c + dy * s) * mpp / (long / 2).astype(np.float32)[:, None, None]
    v = (dy * c - dx * s) * mpp / (short / 2).astype(np.float32)[:, None, None]
    turn = np.arctan2(v, u)
    phase = rng.uniform(0, 2 * np.pi, (2, n, 1, 1)).astype(np.float32)
    bumps = np.sin(2 * turn + phase[0]) + 0.7 * np.sin(3 * turn + phase[1])
    radius = np.hypot(u, v) * (1 + look.uneven * bumps)
    softness = (0.9 / short).astype(np.float32)[:, None, None]
    cover = smoothstep(1 - radius, -softness, softness)
    density = rng.uniform(*look.density, n).astype(np.float32)[:, None, None]
    rim = np.exp(-(((radius - 0.88) / 0.16) ** 2))
    depth = density * (0.82 + 0.5 * look.chromatin * rim)
    if look.nucleoli:
        place = rng.normal(0, 0.25, (2, n, 1, 1)).astype(np.float32)
        dot = np.exp(-((u - place[0]) ** 2 + (v - place[1]) ** 2) / 0.05)
        depth += (rng.random((n, 1, 1)) < 0.6) * 0.5 * dot
    return np.stack([cover, depth], axis=1).astype(np.float32), first


def smoothstep(x: Plane, low: Plane | float, high: Plane | float) -> Plane:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)
