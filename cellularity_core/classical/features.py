"""The hand-made features of every nucleus in a patch.

From the paper: nuclei are described by predefined features. The list is ours
(shape, stain and texture, the kinds that a re-implementation of it uses too), and
so is what each nucleus' surroundings add.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from cellularity_core.classical import surroundings as around
from cellularity_core.classical.cells import cell_areas
from cellularity_core.classical.segmentation import WORK_MPP, Outlining, Plane, Regions, outline
from cellularity_core.classical.shape import SHAPE_NAMES, centres, shape_features
from cellularity_core.classical.stains import stains
from cellularity_core.classical.texture import (
    SPREAD_NAMES,
    TEXTURE_NAMES,
    spread_features,
    texture_features,
)
from cellularity_core.masks import tissue_mask
from cellularity_core.resample import resample

Floats = npt.NDArray[np.float64]

_PLANES: Final = ("haematoxylin", "eosin", "edge")
_NEIGHBOUR_OF: Final = ("area", "eccentricity", "haematoxylin mean", "eosin mean")

OWN_NAMES: Final = (
    *SHAPE_NAMES,
    *(f"{plane} {name}" for plane in _PLANES for name in SPREAD_NAMES),
    *TEXTURE_NAMES,
    *(f"rim {plane}" for plane in _PLANES),
)

FEATURE_NAMES: Final = (
    *OWN_NAMES,
    *(
        f"{plane} within {s:g} um"
        for plane in ("haematoxylin", "eosin", "tissue", "nuclei")
        for s in around.TISSUE_SIGMAS_UM
    ),
    "nearest neighbour",
    "third neighbour",
    *(
        f"{name} within {s:g} um"
        for s in around.NEIGHBOUR_SIGMAS_UM
        for name in ("density", *(f"neighbours' {own}" for own in _NEIGHBOUR_OF))
    ),
)
"""Of the columns of `Measured.features`."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The nuclei of one patch, outlined and described.

    Attributes
    ----------
    xy : ndarray of float64, shape (n, 2)
        Centres in pixels of the grid of `WORK_MPP`.
    features : ndarray of float64, shape (n, len(FEATURE_NAMES))
    cells : ndarray of float64, shape (n, len(CELL_RADII_UM))
        Area of each cell in um^2 for each width of cytoplasm; see `cells.cell_areas`.
    tissue : float
        Area of the tissue in um^2.
    scale : (float, float)
        Pixels of the patch as given per pixel of the grid, for x and y.
    """

    xy: Floats
    features: Floats
    cells: Floats
    tissue: float
    scale: tuple[float, float]

    def on_grid(self, xy: npt.NDArray[np.floating]) -> Floats:
        """Points of the patch as given, in pixels of the grid."""
        return np.asarray((xy + 0.5) / np.array(self.scale) - 0.5, np.float64)


def measure(
    pixels: npt.NDArray[np.uint8], mpp: float, outlining: Outlining | None = None
) -> Measured:
    """Outline and describe every nucleus of a patch.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        RGB.
    mpp : float
        um per pixel; the patch is brought to `WORK_MPP` first.
    outlining : Outlining, optional

    Returns
    -------
    Measured
    """
    view = pixels if mpp == WORK_MPP else resample(pixels, mpp / WORK_MPP)
    tissue = tissue_mask(view, WORK_MPP)
    haematoxylin, eosin = stains(view, tissue)
    regions = outline(haematoxylin, tissue, outlining)
    xy = centres(regions)
    features = (
        _describe(haematoxylin, eosin, tissue, regions, xy)
        if len(xy)
        else np.empty((0, len(FEATURE_NAMES)))
    )
    return Measured(
        xy=xy,
        features=features,
        cells=cell_areas(regions, tissue),
        tissue=float(tissue.sum()) * WORK_MPP**2,
        scale=(pixels.shape[1] / view.shape[1], pixels.shape[0] / view.shape[0]),
    )


def _describe(
    haematoxylin: Plane, eosin: Plane, tissue: npt.NDArray[np.bool_], regions: Regions, xy: Floats
) -> Floats:
    planes = [haematoxylin, eosin, _edge(haematoxylin)]
    own = np.column_stack(
        [
            shape_features(regions),
            *(spread_features(plane, regions) for plane in planes),
            texture_features(haematoxylin, regions),
            around.rim_means(planes, regions),
        ]
    )
    masks = [np.asarray(m, np.float32) for m in (tissue, regions > 0)]
    columns = [
        own,
        around.tissue_means([haematoxylin, eosin, *masks], xy),
        around.nearest_distance(xy, 1),
        around.nearest_distance(xy, 3),
    ]
    chosen = own[:, [OWN_NAMES.index(name) for name in _NEIGHBOUR_OF]]
    for sigma in around.NEIGHBOUR_SIGMAS_UM:
        weights = around.neighbours(xy, sigma)
        columns += [
            around.density(weights, xy, regions.shape, sigma),
            around.neighbour_means(weights, chosen),
        ]
    return np.column_stack(columns)


def _edge(plane: Plane) -> Plane:
    """Length of the gradient, in units of the plane per um."""
    smooth = cv2.GaussianBlur(plane, (0, 0), 0.5 / WORK_MPP)
    down, right = np.gradient(smooth, WORK_MPP)
    return np.asarray(np.hypot(down, right), np.float32)
