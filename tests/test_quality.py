"""Clean H&E passes; blur, grey, other stains, photographs and empty glass do not."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from cellularity_core import quality
from cellularity_core.patch import Patch, load_patch, pixel_digest


def patch(pixels: np.ndarray, mpp: float = 0.5, notes: tuple[str, ...] = ()) -> Patch:
    pixels = np.ascontiguousarray(pixels)
    return Patch("test", pixels, mpp, "user", pixel_digest(pixels), notes)


@pytest.fixture(scope="module")
def clean(data_root: Path) -> list[Patch]:
    files = [
        *sorted((data_root / "brca_m2c" / "images").glob("*.png")),
        *sorted((data_root / "ucsb_breast" / "images").glob("*.png")),
    ]
    return [load_patch(f.read_bytes(), f.name, 0.5) for f in files]


def caught(patches: list[Patch], flag: str) -> float:
    found = [quality.assess(p) for p in patches]
    return float(np.mean([flag in q.flags and not q.reliable for q in found]))


def test_clean_patches_are_reliable(clean):
    unreliable = [p.name for p in clean if not quality.assess(p).reliable]
    assert len(unreliable) <= 0.03 * len(clean), unreliable


def test_blur_is_caught(clean):
    spoilt = [patch(cv2.GaussianBlur(p.pixels, (0, 0), 3)) for p in clean[::4]]
    assert caught(spoilt, "blurred") >= 0.95


def test_grey_is_caught(clean):
    grey = [
        patch(np.repeat(cv2.cvtColor(p.pixels, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2))
        for p in clean[::4]
    ]
    assert caught(grey, "greyscale") >= 0.95


def test_dark_fields_are_caught(clean):
    assert caught([patch(255 - p.pixels) for p in clean[::4]], "not-he") >= 0.95


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "immunohistochemistry"])
def test_photographs_and_ihc_are_caught(name):
    pixels = getattr(skimage.data, name)()[..., :3]
    found = quality.assess(patch(pixels))
    assert "not-he" in found.flags
    assert not found.reliable


def test_empty_glass_has_no_tissue_and_nothing_else():
    found = quality.assess(patch(np.full((256, 256, 3), 244, np.uint8)))
    assert found.flags == ("no-tissue",)
    assert not found.reliable


def test_single_channel_and_pixel_size(clean):
    assert "greyscale" in quality.assess(patch(clean[0].pixels, notes=("single-channel",))).flags
    assert "out-of-scale" in quality.assess(patch(clean[0].pixels, mpp=1.5)).flags
    unknown = quality.assess(patch(clean[0].pixels, notes=("pixel-size-implausible",)))
    assert unknown.flags == ("pixel-size-unknown",)
    assert unknown.reliable


def test_focus_is_judged_at_20x(clean):
    fine = cv2.resize(clean[0].pixels, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    assert quality.assess(patch(fine, mpp=0.25)).reliable


def test_every_flag_says_what_to_do():
    for flag in quality.FLAGS.values():
        assert flag.text.endswith(".")
        assert len(flag.text.split()) > 8
