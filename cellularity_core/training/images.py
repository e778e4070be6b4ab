"""Samples with their pixels in memory, and batches of random views of them."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cellularity_core.datasets import Sample
from cellularity_core.errors import DataError, PatchError
from cellularity_core.patch import load_patch, pixel_digest
from cellularity_core.points import NucleiPoints

NO_POINTS = NucleiPoints(np.empty((0, 2)), np.empty(0, np.int8), {})


@dataclass(frozen=True, slots=True)
class Loaded:
    """A sample with its pixels.

    Attributes
    ----------
    sample : Sample
    pixels : ndarray of uint8, shape (H, W, 3)
    """

    sample: Sample
    pixels: npt.NDArray[np.uint8]

    @property
    def points(self) -> NucleiPoints:
        return self.sample.points or NO_POINTS


def load_images(samples: Sequence[Sample]) -> list[Loaded]:
    """Read every sample's image through the same door as the scorer.

    Raises
    ------
    DataError
        If an image cannot be read; its name is given.
    """
    loaded = []
    for sample in samples:
        try:
            patch = load_patch(sample.image.read_bytes(), sample.name, sample.mpp)
        except (OSError, PatchError) as error:
            raise DataError(f"{sample.image}: {error}") from error
        loaded.append(Loaded(sample, patch.pixels))
    return loaded


def data_checksum(**sides: Sequence[Loaded]) -> str:
    """Short checksum of images and of what is known of them; it names none of them.

    Parameters
    ----------
    **sides : sequence of Loaded
        What each is used for, e.g. ``training``; their order does not matter.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    found = [f"{side} {item_digest(item)}" for side, items in sides.items() for item in items]
    return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()[:16]


def item_digest(item: Loaded) -> str:
    """SHA-256 of an image and of everything that is known of it: name, patient, scores, field,
    um per pixel, points and their classes."""
    sample = item.sample
    known = (sample.name, sample.patient, sample.scores, sample.field, sample.mpp)
    digest = hashlib.sha256(repr((known, pixel_digest(item.pixels))).encode())
    if sample.points is not None:
        digest.update(np.asarray(sample.points.xy, np.float64).tobytes())
        digest.update(np.asarray(sample.points.label, np.int64).tobytes())
    return digest.hexdigest()


def view_batches(
    count: int,
    make: Callable[[int, np.random.Generator], tuple[npt.NDArray[Any], ...]],
    *,
    batch: int,
    epoch: int,
    seed: int,
    repeats: int = 1,
) -> Iterator[tuple[torch.Tensor, ...]]:
    """Shuffled batches of views, one batch made ahead while the network works.

    Parameters
    ----------
    count : int
        Number of items.
    make : callable
        Item index and generator to a tuple of arrays, stacked into the batch.
    batch, epoch, seed : int
        The views depend on epoch, seed and item only.
    repeats : int
        Times each item comes in an epoch.

    Yields
    ------
    tuple of tensor
    """
    order = np.tile(np.arange(count), repeats)
    np.random.default_rng([seed, epoch]).shuffle(order)

    def build(start: int) -> tuple[torch.Tensor, ...]:
        items = [
            make(int(i), np.random.default_rng([seed, epoch, start + k]))
            for k, i in enumerate(order[start : start + batch])
        ]
        return tuple(torch.from_numpy(np.stack(column)) for column in zip(*items, strict=True))

    # A last batch of one would break batch norm at 1 x 1 maps.
    starts = [s for s in range(0, len(order), batch) if len(order) - s > 1]
    with ThreadPoolExecutor(1) as ahead:
        waiting = ahead.submit(build, starts[0])
        for start in starts[1:]:
            ready, waiting = waiting.result(), ahead.submit(build, start)
            yield ready
        yield waiting.result()


def batch_count(count: int, batch: int, repeats: int = 1) -> int:
    """Batches that `view_batches` gives an epoch."""
    total = count * repeats
    return total // batch + (total % batch > 1)
