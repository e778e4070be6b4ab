"""How many cores this process may use, and threads that leave them to others."""

import os
import sys
import threading
from contextlib import suppress
from typing import Final

NICE: Final = 10
"""By how much threads that give way are nicer: they get a tenth of the share of others."""


def give_way() -> None:
    """Let other threads have the cores before this one, and those that it starts.

    Only on Linux, where a thread has a priority of its own; elsewhere nothing happens.
    """
    if sys.platform == "linux":
        me = threading.get_native_id()
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, me, os.getpriority(os.PRIO_PROCESS, me) + NICE)


def usable_cores() -> int:
    """Cores of this process: those it is pinned to, or all of the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)
