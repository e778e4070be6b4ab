"""Which ImageNet weights can be had: asked once an encoder, with an end to the waiting."""

import subprocess
import sys
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from cellularity_core.networks.encoders import ELU_SUFFIX, PACKAGED
from cellularity_core.training.recipes import Recipe

SECONDS: Final = 600.0
"""Longest wait for an encoder; some hundred megabytes over a slow line."""

_ASK: Final = """\
import sys
from cellularity_core.errors import ModelError
from cellularity_core.networks.encoders import check_init
try:
    check_init(sys.argv[1], "imagenet")
except ModelError as error:
    sys.exit(str(error))
"""


def encoders_of(chosen: Recipe) -> set[str]:
    """Encoders that a recipe starts from ImageNet weights which no package brings."""
    wanted = set()
    if chosen.segmentation and chosen.segmentation.init == "imagenet":
        wanted.add(chosen.segmentation.encoder)
    if chosen.cascade and chosen.cascade.init == "imagenet":
        wanted.add(chosen.cascade.regressor)
    for direct in (chosen.direct, chosen.direct_classes):
        if direct and direct.init == "imagenet":
            wanted.add(direct.encoder)
    return {name.removesuffix(ELU_SUFFIX) for name in wanted} - set(PACKAGED)


def unavailable(encoders: Collection[str], seconds: float = SECONDS) -> dict[str, str]:
    """Encoders whose weights cannot be fetched, and why.

    Each is asked for once, in a process of its own that is ended after `seconds`;
    what was fetched stays in the cache that the trainings read.
    """
    if not encoders:
        return {}
    with ThreadPoolExecutor(len(encoders)) as pool:
        answers = pool.map(lambda name: (name, _ask(name, seconds)), sorted(encoders))
    return {name: reason for name, reason in answers if reason}


def _ask(encoder: str, seconds: float) -> str:
    try:
        asked = subprocess.run(
            [sys.executable, "-c", _ASK, encoder],
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"they were not there within {seconds:.0f} s"
    if asked.returncode == 0:
        return ""
    last = next((line for line in reversed(asked.stderr.splitlines()) if line.strip()), "")
    return last.strip() or f"the download ended with exit code {asked.returncode}"
