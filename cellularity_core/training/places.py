"""The score of a whole patch by a network in training: as `scorer.Scorer` makes it."""

import numpy as np
import numpy.typing as npt
import torch

from cellularity_core.masks import tissue_mask
from cellularity_core.saliency import place_map, tissue_cells
from cellularity_core.tiling import Tile


def patch_score(
    places: torch.Tensor,
    pixels: npt.NDArray[np.uint8],
    mpp: float,
    padded: tuple[int, ...] | None = None,
) -> float:
    """Mean of the places of a patch by their tissue.

    Parameters
    ----------
    places : tensor, shape (1, h, w) or (1,)
        Scores of places, or of the whole where a network averages features.
    pixels : ndarray of uint8, shape (H, W, 3)
        The patch as the network saw it, without what was reflected at its lower and right edge.
    mpp : float
        um per pixel of `pixels`.
    padded : tuple of 2 int, optional
        Height and width with what was reflected.

    Returns
    -------
    float
        In [0, 1].
    """
    if places.ndim == 1:
        return float(places.float())
    height, width = pixels.shape[:2]
    tall, wide = padded or (height, width)
    found = place_map(
        [Tile(0, 0, height, width)],
        [places[0].detach().float().cpu().numpy()],
        tissue_cells(tissue_mask(pixels, mpp)),
        padded=[(tall, wide)],
        factor=1.0,
    )
    return found.mean
