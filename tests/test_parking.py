"""Pixels of patches on disk."""

import errno
import tempfile
from pathlib import Path

import numpy as np
import pytest

from cellularity_core.patch import pixel_digest
from pages.parts import parking
from pages.parts.parking import Parking, let_go


def picture(seed: int = 0, side: int = 512) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def test_parked_pixels_are_the_same_before_and_after_they_are_let_go() -> None:
    pixels = picture()[::-1]
    kept = Parking().park(pixels)
    assert kept.flags.c_contiguous and not kept.flags.writeable
    assert pixel_digest(kept) == pixel_digest(pixels)
    let_go(kept)
    np.testing.assert_array_equal(kept, pixels)
    let_go(pixels)
    np.testing.assert_array_equal(kept, pixels)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_parked_pixels_take_memory_only_while_they_are_looked_at() -> None:
    def of_files() -> int:
        """kB of files in this process's memory."""
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("RssFile")).split()[1])

    place = Parking()
    kept = [place.park(picture(k)) for k in range(20)]
    least = of_files()
    assert sum(int(pixels.sum(dtype=np.int64)) for pixels in kept) > 0
    most = of_files()
    for pixels in kept:
        let_go(pixels)
    assert most - least > 10_000
    assert of_files() - least < 2_000


def test_many_patches_are_whole_and_keep_few_files_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parking, "BLOCK", 100_000)
    pixels = [picture(k, side) for k, side in enumerate((64, 150, 120, 97) * 10)]
    place = Parking()
    kept = [place.park(p) for p in pixels]
    del place
    for one, other in zip(kept, pixels, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len({id(k._mmap) for k in kept}) < len(kept)
    too_large = picture(0, 200)
    assert Parking().park(too_large) is too_large


def test_without_room_on_the_disk_pixels_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    pixels = picture()
    assert Parking().park(pixels) is pixels
