"""Perceptual fingerprint of a patch: the same tissue is known again though its pixels differ.

A reader of an open study must not have one of its patches analysed elsewhere. The
checksum of the pixels finds an exact copy; this finds one that was saved as JPEG,
resized, turned, flipped or brightened.
"""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

NEAR_BITS: Final = 12
"""Two fingerprints of 64 bits that differ in at most so many are of the same tissue."""

SAME_BITS: Final = 8
"""The same where many are compared with many: 12 find chance pairs among 300 patches."""

_SIDE: Final = 32
_KEPT: Final = 8


def fingerprint(pixels: npt.NDArray[np.uint8]) -> str:
    """Signs of the 64 lowest frequencies about their median, 16 hexadecimal digits.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)

    Returns
    -------
    str

    References
    ----------
    Zauner, "Implementation and benchmarking of perceptual image hash functions",
    2010, section 3.2.1 (DCT based hash).
    """
    return _hash(_reduced(pixels))


def turned_fingerprints(pixels: npt.NDArray[np.uint8]) -> tuple[str, ...]:
    """Fingerprints of the patch in its 8 orientations, as given first."""
    small = _reduced(pixels)
    turned = [np.rot90(flipped, turns) for flipped in (small, small[:, ::-1]) for turns in range(4)]
    return tuple(_hash(np.ascontiguousarray(one)) for one in turned)


def is_same_tissue(one: str, other: str, bits: int = NEAR_BITS) -> bool:
    """Whether two fingerprints differ in at most `bits` bits."""
    return (int(one, 16) ^ int(other, 16)).bit_count() <= bits


def _reduced(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)


def _hash(small: npt.NDArray[np.float32]) -> str:
    # The mean level is left out: it says how bright the image is, not what it shows.
    low = cv2.dct(small)[1 : _KEPT + 1, 1 : _KEPT + 1].ravel()
    bits = low > np.median(low)
    return f"{int(''.join('1' if bit else '0' for bit in bits), 2):016x}"
