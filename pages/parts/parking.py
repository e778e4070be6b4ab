"""Pixels of a session's patches on disk, so that a thousand of them take no memory."""

import mmap
import tempfile
import weakref
from contextlib import suppress
from typing import IO, Final

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

BLOCK: Final = 1 << 26
"""Bytes of a file: room for the largest patch, and few files open for many small ones."""


class Parking:
    """Files without a name that hold pixels; their space is free when nothing points there."""

    def __init__(self) -> None:
        self._block: tuple[IO[bytes], Pixels] | None = None
        self._used = 0

    def park(self, pixels: Pixels) -> Pixels:
        """The same pixels, read from disk when they are looked at.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (H, W, 3)

        Returns
        -------
        ndarray of uint8, shape (H, W, 3)
            Cannot be written to. Where the disk has no room, or they are on it already,
            `pixels` itself.
        """
        size = pixels.nbytes
        if size > BLOCK or getattr(pixels, "_mmap", None) is not None:
            return pixels
        try:
            if self._block is None or self._used + size > BLOCK:
                self._begin()
            file, held = self._block
            file.seek(self._used)
            file.write(np.ascontiguousarray(pixels).data)
            file.flush()
        except OSError:
            self._block = None  # what may be torn is never read
            return pixels
        start, self._used = self._used, self._used + size
        return held[start : self._used].reshape(pixels.shape)

    def _begin(self) -> None:
        """A new file; the one before lasts as long as pixels on it are in use."""
        if self._block is not None:
            self._block[0].close()
        file = tempfile.TemporaryFile()  # noqa: SIM115 - open until it is full
        weakref.finalize(self, file.close)
        file.truncate(BLOCK)
        self._block = (file, np.memmap(file, np.uint8, mode="r", shape=(BLOCK,)))
        self._used = 0


def let_go(pixels: Pixels) -> None:
    """Drop what was read of parked pixels from memory; the next look reads it again."""
    on_disk = getattr(pixels, "_mmap", None)
    if on_disk is not None and hasattr(mmap, "MADV_DONTNEED"):
        with suppress(OSError, ValueError):
            on_disk.madvise(mmap.MADV_DONTNEED)
