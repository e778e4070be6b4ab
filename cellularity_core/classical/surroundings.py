"""What lies around each nucleus: its rim, its tissue, its neighbours."""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.spatial import cKDTree
from scipy.special import ndtr
from skimage.segmentation import expand_labels

from cellularity_core.classical.segmentation import WORK_MPP, Plane, Regions

Floats = npt.NDArray[np.float64]

RIM_UM: Final = 2.5
"""Width of the ring of cytoplasm or stroma around a nucleus."""

TISSUE_SIGMAS_UM: Final = (5.0, 12.5, 30.0)
"""Of the Gaussian windows in which the tissue is averaged."""

NEIGHBOUR_SIGMAS_UM: Final = (10.0, 25.0)
"""Of the Gaussian windows in which neighbours are counted and averaged."""

REACH: Final = 3.0
"""A neighbour farther than this many sigmas does not count."""


def rim_means(planes: list[Plane], regions: Regions) -> Floats:
    """Mean of each plane over the ring around each nucleus.

    The ring holds the pixels within `RIM_UM` of this nucleus, nearer to it than
    to any other and in none; where there is no such pixel, the nucleus itself
    stands in.

    Returns
    -------
    ndarray of float64, shape (n, len(planes))
    """
    n = int(regions.max(initial=0))
    ring = expand_labels(regions, RIM_UM / WORK_MPP)  # type: ignore[no-untyped-call]
    ring[regions > 0] = 0
    columns = []
    for plane in planes:
        rim, own = (_mean(plane, r, n) for r in (ring, regions))
        columns.append(np.where(np.isnan(rim), own, rim))
    return np.column_stack(columns)


def tissue_means(planes: list[Plane], xy: Floats) -> Floats:
    """Gaussian means of each plane around each centre.

    Parameters
    ----------
    planes : list of ndarray of float32, shape (H, W)
    xy : ndarray, shape (n, 2)

    Returns
    -------
    ndarray of float64, shape (n, len(planes) * len(TISSUE_SIGMAS_UM))
        Plane by plane, each at every sigma. Beyond the patch lies its reflection.
    """
    column, row = np.rint(xy).astype(np.int64).T
    return np.column_stack(
        [_window(plane, s / WORK_MPP)[row, column] for plane in planes for s in TISSUE_SIGMAS_UM]
    )


def neighbours(xy: Floats, sigma_um: float) -> csr_array:
    """Weight of every nucleus around every other.

    Parameters
    ----------
    xy : ndarray, shape (n, 2)
        Centres in pixels of `WORK_MPP`.
    sigma_um : float

    Returns
    -------
    csr_array, shape (n, n)
        ``exp(-distance^2 / (2 sigma^2))``, 0 beyond `REACH` sigmas and on the diagonal.
    """
    n, sigma = len(xy), sigma_um / WORK_MPP
    pairs = cKDTree(xy).query_pairs(REACH * sigma, output_type="ndarray")
    distance = np.hypot(*(xy[pairs[:, 0]] - xy[pairs[:, 1]]).T)
    weight = np.exp(-(distance**2) / (2 * sigma**2))
    both = (np.r_[pairs[:, 0], pairs[:, 1]], np.r_[pairs[:, 1], pairs[:, 0]])
    return csr_array((np.r_[weight, weight], both), shape=(n, n))


def density(weights: csr_array, xy: Floats, shape: tuple[int, int], sigma_um: float) -> Floats:
    """Nuclei per 1000 um^2 around each nucleus, itself left out.

    The sum of its neighbours' weights over the part of the Gaussian window that
    lies within the patch, so that a nucleus at the border is not lonely for it.
    """
    sigma = sigma_um / WORK_MPP
    share = np.ones(len(xy))
    for centre, side in zip(xy.T, shape[::-1], strict=True):
        share *= ndtr((side - 0.5 - centre) / sigma) - ndtr((-0.5 - centre) / sigma)
    return np.asarray(weights.sum(axis=1) / (2 * np.pi * sigma_um**2 * share) * 1000)


def neighbour_means(weights: csr_array, values: Floats) -> Floats:
    """Weighted mean of the neighbours' values; a nucleus without any takes its own.

    Parameters
    ----------
    weights : csr_array, shape (n, n)
    values : ndarray, shape (n, k)

    Returns
    -------
    ndarray of float64, shape (n, k)
    """
    total = np.asarray(weights.sum(axis=1))[:, None]
    means = np.divide(weights @ values, total, out=values.astype(np.float64), where=total > 0)
    return np.asarray(means, np.float64)


def nearest_distance(xy: Floats, rank: int) -> Floats:
    """Distance to the `rank`-th nearest other nucleus, um; at most `FAR_UM`."""
    distance = cKDTree(xy).query(xy, k=[rank + 1])[0][:, 0] * WORK_MPP
    return np.asarray(np.minimum(distance, FAR_UM), np.float64)


FAR_UM: Final = 100.0
"""Distance to a neighbour that is farther, or that there is not."""


def _mean(plane: Plane, regions: Regions, n: int) -> Floats:
    inside = regions > 0
    index = regions[inside] - 1
    mass = np.bincount(index, minlength=n)
    total = np.bincount(index, plane[inside].astype(np.float64), n)
    means = np.divide(total, mass, out=np.full(n, np.nan), where=mass > 0)
    return np.asarray(means, np.float64)


def _window(plane: Plane, sigma: float) -> Plane:
    """Gaussian mean; a wide one is taken on a coarse grid, which it cannot tell."""
    step = max(1, int(sigma / 4))
    height, width = plane.shape
    if step == 1:
        return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma), np.float32)
    small = cv2.resize(
        plane, (max(1, width // step), max(1, height // step)), interpolation=cv2.INTER_AREA
    )
    blurred = cv2.GaussianBlur(small, (0, 0), sigma / step, borderType=cv2.BORDER_REFLECT)
    return np.asarray(cv2.resize(blurred, (width, height)), np.float32)
