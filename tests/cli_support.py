"""Patches for the command line, and what it wrote."""

import csv
import io
from pathlib import Path

import numpy as np
from PIL import Image

from cellularity_core.synthetic import synthesise


def three_patches(root: Path) -> Path:
    """Three synthetic patches of different sizes; one in a subfolder."""
    (root / "sub").mkdir()
    for k, (name, height, width) in enumerate(
        [("a.png", 256, 256), ("b.png", 160, 192), ("sub/c.png", 128, 128)]
    ):
        save(root / name, synthesise(k, 256).pixels[:height, :width])
    return root


def save(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))
