"""Memory that was freed, for all threads and for the system."""

import ctypes
import sys
from typing import Any, Final

POOLS: Final = 2
"""Pools that threads take memory from, or as many as there are by then, where there would be eight
for each core."""

_ARENA_MAX: Final = -8  # M_ARENA_MAX of malloc.h


def _of_c_library(name: str) -> Any:
    """A function of glibc; None elsewhere."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def share_memory() -> None:
    """Let what one thread has freed serve the others; to be called before there are many.

    By default nearly every thread has a pool of its own and keeps what was freed there, so
    that a server's memory grows for as long as threads come and go. Elsewhere than on Linux,
    or with another C library than glibc, nothing is done.
    """
    mallopt = _of_c_library("mallopt")
    if mallopt is not None:
        mallopt(_ARENA_MAX, POOLS)


def give_back_memory() -> None:
    """Hand back what was freed; without it glibc keeps most of it for later, for ever.

    Elsewhere than on Linux, or with another C library, nothing is done.
    """
    trim = _of_c_library("malloc_trim")
    if trim is not None:
        trim(0)
