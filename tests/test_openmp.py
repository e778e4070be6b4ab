"""LightGBM on a machine without libgomp, as a slim container is."""

import ctypes
import subprocess
import sys

import pytest

from cellularity_core.errors import ModelError
from cellularity_core.openmp import import_lightgbm

WITHOUT = """
import ctypes
import sys
from pathlib import Path

asked = []

class Library(ctypes.CDLL):
    def __init__(self, name, *rest, **options):
        asked.append(name)
        if name == "libgomp.so.1":
            raise OSError("libgomp.so.1: cannot open shared object file")
        super().__init__(name, *rest, **options)

ctypes.CDLL = Library
from cellularity_core.openmp import import_lightgbm
print(import_lightgbm().Booster.__name__, "torch" in sys.modules)
maps = Path("/proc/self/maps").read_text().split()
print(sorted({Path(part).parent.parent.name for part in maps if part.endswith("/libgomp.so.1")}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="PyTorch's wheel for Linux brings libgomp")
def test_the_library_of_pytorch_serves_where_the_system_has_none() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.splitlines() == ["Booster False", "['torch']"], done.stderr


def test_without_any_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "lightgbm"]:
        monkeypatch.delitem(sys.modules, name)

    def missing(name: str, *_args: object, **_options: object) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    monkeypatch.setattr(ctypes.cdll, "LoadLibrary", missing)
    with pytest.raises(ModelError, match=r"LightGBM cannot be loaded .*apt-get install libgomp1"):
        import_lightgbm()
