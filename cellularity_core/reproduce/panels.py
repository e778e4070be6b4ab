"""Figures 3, 4, 5 and 7: patches with masks, activations and blobs, as PNG."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from cellularity_core.blobs import BLOB_THRESHOLDS, find_blobs
from cellularity_core.conventions import CHANNELS, CLASSES, FEATURE_MPP, MALIGNANT
from cellularity_core.export import COLOURS, rgb
from cellularity_core.masks import DISC_DIAMETER_PX, draw_discs, segmentation_target
from cellularity_core.reproduce.charts import picture
from cellularity_core.reproduce.document import Picture
from cellularity_core.resample import resize
from cellularity_core.training.images import Loaded

Pixels = npt.NDArray[np.uint8]
Maps = npt.NDArray[np.floating[Any]]

MASK_THRESHOLDS: Final = (0.08, 0.16, 0.32, 0.50)
"""Of figure 4; all are among those of the features."""

SHOWN_BLOBS: Final = BLOB_THRESHOLDS[1:5]
SHARES: Final = (0.95, 0.6, 0.25)
"""Where in the order of cellularity the examples of figure 7 stand."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A patch and what a segmentation makes of it, at 1 um/px.

    Attributes
    ----------
    item : Loaded
    pixels : ndarray of uint8, shape (H, W, 3)
    maps : ndarray of float, shape (4, H, W)
    """

    item: Loaded
    pixels: Pixels
    maps: Maps

    @property
    def title(self) -> str:
        return self.item.sample.name


def at_feature_size(item: Loaded, maps: Maps, mpp: float) -> Seen:
    """A patch and its maps brought to 1 um/px, where features and blobs are defined."""
    shape = tuple(max(1, round(side * mpp / FEATURE_MPP)) for side in maps.shape[1:])
    size = (shape[0], shape[1])
    small = (
        maps
        if maps.shape[1:] == size
        else np.stack([resize(np.ascontiguousarray(m, np.float32), size) for m in maps])
    )
    pixels = cv2.resize(item.pixels, size[::-1], interpolation=cv2.INTER_AREA)
    return Seen(item, pixels.astype(np.uint8), small)


def examples(items: Sequence[Loaded], truths: Sequence[float]) -> list[Loaded]:
    """Patches of high, middle and low cellularity, in that order, each once."""
    order = np.argsort(np.asarray(truths), kind="stable")
    places = dict.fromkeys(int(order[round(share * (len(order) - 1))]) for share in SHARES)
    return [items[place] for place in places]


def targets(items: Sequence[Loaded]) -> Picture:
    """Figure 3: the masks that points become."""
    figure, grid = _grid(len(items), 1 + len(CHANNELS))
    for axes, item in zip(grid, items, strict=True):
        diameter = DISC_DIAMETER_PX * 0.5 / item.sample.mpp
        shape = item.pixels.shape[:2]
        masks = segmentation_target(item.points.xy, item.points.label, shape, diameter)
        axes[0].imshow(item.pixels)
        for panel, mask in zip(axes[1:], masks, strict=True):
            panel.imshow(mask, cmap="gray", vmin=0, vmax=1)
    for axes, name in zip(grid[0], ("patch", *CHANNELS), strict=True):
        axes.set_title(name, fontsize=8)
    return picture(
        "Figure 3. Masks made from points",
        figure,
        f"A disc {DISC_DIAMETER_PX:g} px across (at 0.5 µm/px) at each annotated nucleus; "
        f"background is where no disc is. {_named(items)}.",
    )


def masks(seen: Seen) -> Picture:
    """Figure 4: the Malignant channel at thresholds, over the patch."""
    figure, grid = _grid(1, len(MASK_THRESHOLDS))
    for axes, threshold in zip(grid[0], MASK_THRESHOLDS, strict=True):
        axes.imshow(_tinted(seen.pixels, seen.maps[MALIGNANT] > threshold))
        axes.set_title(f"above {threshold:.2f}", fontsize=8)
    return picture(
        "Figure 4. Segmentation at thresholds",
        figure,
        f"Malignant channel over the patch {seen.title}.",
    )


def blobs(seen: Seen) -> Picture:
    """Figure 5: blobs of the Malignant channel at thresholds."""
    figure, grid = _grid(1, len(SHOWN_BLOBS))
    found = find_blobs(_float(seen.maps[MALIGNANT]))
    for axes, threshold in zip(grid[0], SHOWN_BLOBS, strict=True):
        kept = found.above(threshold)
        axes.imshow(seen.pixels)
        axes.scatter(
            kept.column, kept.row, s=9, facecolors="none", edgecolors=COLOURS["malignant"], lw=0.6
        )
        axes.set_title(f"above {threshold:.2f}: {len(kept)}", fontsize=8)
    return picture(
        "Figure 5. Blobs at thresholds",
        figure,
        "Laplacian-of-Gaussian blobs of the Malignant channel, and how many, on the patch "
        f"{seen.title}.",
    )


def rows(seen: Sequence[Seen], truths: Sequence[str]) -> Picture:
    """Figure 7: patch, truth, activation and blobs of some patches.

    Parameters
    ----------
    seen : sequence of Seen
    truths : sequence of str
        What the truth of each patch is, e.g. "weak TC 0.61".
    """
    figure, grid = _grid(len(seen), 4)
    for axes, one, truth in zip(grid, seen, truths, strict=True):
        malignant = _float(one.maps[MALIGNANT])
        found = find_blobs(malignant).above(SHOWN_BLOBS[-1])
        axes[0].imshow(one.pixels)
        axes[0].set_title(truth, fontsize=8)
        axes[1].imshow(_truth(one))
        axes[2].imshow(malignant, cmap="magma", vmin=0, vmax=1)
        reconstructed = np.zeros_like(malignant)
        for row, column, sigma in zip(found.row, found.column, found.sigma, strict=True):
            centre, radius = (int(column), int(row)), round(float(sigma) * 2**0.5)
            cv2.circle(reconstructed, centre, radius, 1.0, -1)
        axes[3].imshow(reconstructed, cmap="gray", vmin=0, vmax=1)
    names = ("truth over the patch", "activation", f"blobs above {SHOWN_BLOBS[-1]:.2f}")
    for axes, name in zip(grid[0][1:], names, strict=True):
        axes.set_title(name, fontsize=8)
    return picture(
        "Figure 7. Patch, truth, activation and blobs of the Malignant channel",
        figure,
        f"{_named([one.item for one in seen])}. A patch without points shows no truth.",
    )


def _truth(one: Seen) -> Pixels:
    points = one.item.points
    factor = one.pixels.shape[0] / one.item.pixels.shape[0]
    xy = (points.xy[points.label == MALIGNANT] + 0.5) * factor - 0.5
    diameter = DISC_DIAMETER_PX * 0.5 / one.item.sample.mpp * factor
    return _tinted(one.pixels, draw_discs(xy, one.pixels.shape[:2], diameter))


def _tinted(pixels: Pixels, mask: npt.NDArray[np.bool_]) -> Pixels:
    out = pixels.copy()
    colour = np.array(rgb(COLOURS[CLASSES[MALIGNANT]]), float)
    out[mask] = np.rint(0.5 * out[mask] + 0.5 * colour).astype(np.uint8)
    return out


def _float(image: Maps) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(image, np.float32)


def _grid(rows: int, columns: int) -> tuple[Figure, Any]:
    figure = Figure(figsize=(1.75 * columns, 1.85 * rows), layout="constrained")
    grid: Any = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    return figure, grid


def _named(items: Sequence[Loaded]) -> str:
    return "Top to bottom: " + ", ".join(item.sample.name for item in items)
