"""Memory that threads share, and what they freed given back."""

import platform
import re
import subprocess
import sys

import pytest

from cellularity_core.memory import POOLS

POOLS_AND_KEPT = """
import ctypes, sys, threading
from cellularity_core.memory import give_back_memory, share_memory

if sys.argv[1] == "shared":
    share_memory()
blocks, go = [], threading.Event()

def work():
    blocks.extend(bytes(10_000) for _ in range(200))
    go.wait()

threads = [threading.Thread(target=work) for _ in range(12)]
for each in threads:
    each.start()
while len(blocks) < 12 * 200:
    pass
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fclose.argtypes = [ctypes.c_void_p]
file = libc.fopen(sys.argv[2].encode(), b"w")
libc.malloc_info(0, file)
libc.fclose(file)
go.set()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
@pytest.mark.parametrize("how", ["shared", "apart"])
def test_many_threads_take_memory_from_few_pools(how: str, tmp_path) -> None:
    told = tmp_path / "malloc.xml"
    subprocess.run([sys.executable, "-c", POOLS_AND_KEPT, how, str(told)], check=True, timeout=60)
    pools = len(re.findall(r"<heap nr=", told.read_text(encoding="utf-8")))
    assert pools == POOLS if how == "shared" else pools > POOLS
