"""Memory that was freed, handed back to the system."""

import ctypes
import sys


def give_back_memory() -> None:
    """Hand back what was freed; without it glibc keeps most of it for later, for ever.

    Elsewhere than on Linux, or with another C library, nothing is done.
    """
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
