"""Parts of patches are known again, cut, turned and saved anew; other tissue is not."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from cellularity_core.overlap import Fine, Pictures, reduced, shares_tissue
from cellularity_core.patch import load_patch
from cellularity_core.slides.finding import Looked
from cellularity_core.slides.grid import Tile
from cellularity_core.slides.reading import Slide

Pixels = np.ndarray


@pytest.fixture(scope="module")
def patches(data_root: Path) -> list[Pixels]:
    """20 of BRCA-M2C and 10 of UCSB."""
    paths = sorted((data_root / "brca_m2c" / "images").glob("*.png"))[::5]
    paths += sorted((data_root / "ucsb_breast" / "images").glob("*"))[::4]
    return [load_patch(path.read_bytes(), path.name).pixels for path in paths]


@pytest.fixture(scope="module")
def fine(patches: list[Pixels]) -> list[Fine]:
    return [reduced(pixels, 0.5) for pixels in patches]


def jpeg(pixels: Pixels) -> Pixels:
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 50])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


CUTS = {
    "40 px of two edges": lambda p: p[40:, 40:],
    "33 and 17 px, saved as JPEG": lambda p: jpeg(p[33:, 17:]),
    "turned and mirrored": lambda p: np.rot90(p[45:, 43:], 3)[:, ::-1],
    "a third of each side": lambda p: p[: len(p) * 2 // 3, p.shape[1] // 3 :],
    "blurred": lambda p: cv2.GaussianBlur(p[33:, 17:], (0, 0), 2),
    "brighter": lambda p: np.clip(p[21:, 14:] * 1.15, 0, 255).astype(np.uint8),
    "inside a larger one": lambda p: np.pad(p[:460, :460], ((300, 90), (70, 420), (0, 0)), "wrap"),
}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_a_part_of_a_patch_is_known_again(patches, fine, cut):
    known = Pictures(fine)
    for pixels in patches[::6]:
        assert shares_tissue(reduced(np.ascontiguousarray(cut(pixels)), 0.5), known)


def test_a_small_patch_is_known_in_a_larger_one(patches, fine):
    for pixels, one in list(zip(patches, fine, strict=True))[::6]:
        small = reduced(np.ascontiguousarray(np.rot90(pixels[50:250, 60:260])), 0.5)
        assert shares_tissue(one, Pictures([small]))


@pytest.mark.parametrize("side", [140, 300])
def test_one_small_patch_among_many_is_known_in_a_larger_one(patches, fine, side):
    """All of them are compared in one product: each must stay with its own places."""
    small = [
        reduced(np.ascontiguousarray(np.rot90(p[70 : 70 + side, 90 : 90 + side], k)), 0.5)
        for k, p in enumerate(patches)
    ]
    every = Pictures(small)
    for number in range(0, len(fine), 4):
        others = Pictures(small[:number] + small[number + 1 :])
        assert shares_tissue(fine[number], every)
        assert not shares_tissue(fine[number], others)


def test_other_patches_are_not_taken_for_parts(fine):
    for number in range(0, len(fine), 3):
        others = Pictures([one for other, one in enumerate(fine) if other != number])
        assert not shares_tissue(fine[number], others)


def test_blank_glass_is_no_part_of_anything(fine):
    blank = np.full((512, 512, 3), 240, np.uint8)
    blank[::7, ::5] -= 1
    assert not shares_tissue(reduced(blank, 0.5), Pictures(fine))
    assert not shares_tissue(fine[0], Pictures([reduced(blank, 0.5)]))
    assert not shares_tissue(fine[0], Pictures([]))


def test_a_patch_is_found_anywhere_on_its_slide(data_root, fine):
    slide = Slide(data_root / "slides" / "cmu-1-small-region.svs")
    looked = Looked(slide, slide.overview())
    for x, y in ((700, 1990), (570, 1470), (1390, 1790), (990, 1250)):
        pixels = slide.patch(Tile(0, 0, x + 7, y + 13, 512, 512)).pixels
        assert looked.holds(reduced(pixels, slide.tile_mpp))
        turned = jpeg(np.ascontiguousarray(np.rot90(pixels[32:, :-40])[:, ::-1]))
        assert looked.holds(reduced(turned, slide.tile_mpp))
    assert not any(looked.holds(one) for one in fine)
