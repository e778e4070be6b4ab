"""LightGBM where the machine lacks OpenMP, which its wheel does not carry.

Slim containers have no libgomp.so.1; PyTorch's wheel for Linux brings one of that name,
and what is loaded once serves LightGBM too.
"""

import ctypes
import importlib
import importlib.util
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from cellularity_core.errors import ModelError

_LIBRARY: Final = "libgomp.so.1"


def import_lightgbm() -> Any:
    """The module `lightgbm`; PyTorch itself is not imported.

    Raises
    ------
    ModelError
        If no OpenMP library is found.
    """
    if sys.platform == "linux" and "lightgbm" not in sys.modules:
        _load_openmp()
    try:
        return importlib.import_module("lightgbm")
    except OSError as error:
        raise ModelError(
            f"LightGBM cannot be loaded ({error}). Install OpenMP: `apt-get install libgomp1` on "
            "Debian and Ubuntu, `dnf install libgomp` on Fedora, `brew install libomp` on macOS."
        ) from error


def _load_openmp() -> None:
    """The system's library, else PyTorch's."""
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError:
        torch = importlib.util.find_spec("torch")
        if torch is not None and torch.origin is not None:
            with suppress(OSError):  # LightGBM then says what it misses
                ctypes.CDLL(str(Path(torch.origin).parent / "lib" / _LIBRARY))
