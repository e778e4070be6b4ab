"""Synthetic patches hold the nuclei they say they hold, and look stained."""

import cv2
import numpy as np
import pytest

from cellularity_core.conventions import LYMPHOCYTE, MALIGNANT, NORMAL
from cellularity_core.errors import DataError, PatchError, PixelSizeError
from cellularity_core.masks import draw_discs, tissue_mask, weak_cellularity
from cellularity_core.synthetic import STAINS, demo_patches, synthesise


def test_the_seed_decides_everything() -> None:
    first, again, other = synthesise(5, side=128), synthesise(5, side=128), synthesise(6, side=128)
    np.testing.assert_array_equal(first.pixels, again.pixels)
    np.testing.assert_array_equal(first.points.xy, again.points.xy)
    assert (first.pixels != other.pixels).mean() > 0.5


def haematoxylin(pixels: np.ndarray) -> np.ndarray:
    """Optical density of red light, which eosin hardly absorbs."""
    return -np.log((pixels[..., 0].astype(float) + 1) / 246)


@pytest.mark.parametrize("stain", STAINS)
@pytest.mark.parametrize("mpp", [0.25, 0.5, 1.0])
def test_nuclei_are_where_the_points_are(stain: str, mpp: float) -> None:
    made = synthesise(3, side=384, mpp=mpp, stain=stain, acini=2)
    density = haematoxylin(made.pixels)
    nuclei = draw_discs(made.points.xy, (384, 384), 4 / mpp)
    around = ~draw_discs(made.points.xy, (384, 384), 16 / mpp) & tissue_mask(made.pixels)
    assert len(made.points) > 20
    assert density[nuclei].mean() > 2.5 * density[around].mean()
    column, row = np.rint(made.points.xy).astype(int).T
    at = cv2.GaussianBlur(density, (0, 0), 1 / mpp)[row, column]
    assert (at > 1.3 * np.median(density[around])).mean() > 0.97


@pytest.mark.parametrize(
    ("label", "low", "high"), [(NORMAL, 4, 12), (LYMPHOCYTE, 5, 7.5), (MALIGNANT, 7, 11)]
)
def test_nuclei_have_the_size_of_their_class(label: int, low: float, high: float) -> None:
    """Diameter of a circle of the area that is dark around lone nuclei."""
    diameters = []
    for seed in range(4):
        made = synthesise(seed, cellularity=0.35, mpp=0.25, fat=0.0, lymphocytes=0.2)
        density = cv2.GaussianBlur(haematoxylin(made.pixels), (0, 0), 1)
        for x, y in made.points.xy[made.points.label == label]:
            apart = np.sort(np.hypot(*(made.points.xy - (x, y)).T))
            if not (22 < x < 489 and 22 < y < 489) or apart[1] < 42:
                continue
            view = density[int(y) - 21 : int(y) + 22, int(x) - 21 : int(x) + 22]
            level = (view[19:24, 19:24].mean() + np.median(view)) / 2
            count, parts = cv2.connectedComponents((view > level).astype(np.uint8))
            if count > 1 and parts[21, 21]:
                diameters.append(np.sqrt(4 / np.pi * (parts == parts[21, 21]).sum()) * 0.25)
    assert len(diameters) >= 5
    assert low < np.median(diameters) < high


def test_cellularity_is_what_was_asked_for() -> None:
    asked = [0.0, 0.2, 0.5, 0.8]
    drawn = []
    for share in asked:
        fields = [synthesise(seed, cellularity=share, fat=0.0) for seed in range(3)]
        drawn.append(
            np.mean([weak_cellularity(f.pixels, f.points.xy, f.points.label) for f in fields])
        )
    assert drawn[0] == 0
    np.testing.assert_allclose(drawn, asked, atol=0.12)


def test_lymphocytes_fat_and_acini() -> None:
    def count(label: int, **settings: float) -> int:
        made = synthesise(9, **{"cellularity": 0.0, "lymphocytes": 0.0, "fat": 0.0} | settings)
        return int((made.points.label == label).sum())

    assert count(LYMPHOCYTE) == 0
    assert count(LYMPHOCYTE, lymphocytes=1.0) > 4 * count(LYMPHOCYTE, lymphocytes=0.1) > 0
    assert count(MALIGNANT) == 0
    assert count(NORMAL, acini=5) > count(NORMAL) + 50
    lean, fatty = (synthesise(9, cellularity=0.0, fat=f).pixels for f in (0.0, 0.6))
    assert tissue_mask(fatty).mean() < tissue_mask(lean).mean() - 0.2


def test_nuclei_drawn_later_hide_no_earlier_one() -> None:
    points = synthesise(2, lymphocytes=1.0, acini=3).points
    for label in (LYMPHOCYTE, MALIGNANT):
        mine, others = points.xy[points.label == label], points.xy[points.label != label]
        apart = np.hypot(*(mine[:, None] - others[None]).transpose(2, 0, 1))
        assert apart.min() > 4.5 / 0.5


@pytest.mark.parametrize(("side", "mpp"), [(64, 2.0), (64, 0.1), (65, 0.5), (700, 1.0)])
def test_every_size(side: int, mpp: float) -> None:
    made = synthesise(1, side=side, mpp=mpp, cellularity=1.0, fat=1.0, lymphocytes=1.0, acini=2)
    assert made.pixels.shape == (side, side, 3)
    assert made.pixels.dtype == np.uint8
    assert ((made.points.xy >= 0) & (made.points.xy <= side - 1)).all()


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(DataError, match="no stain 'blue'; choose one of default"):
        synthesise(1, stain="blue")
    with pytest.raises(DataError, match="give 0 to 1"):
        synthesise(1, cellularity=40)
    with pytest.raises(PatchError, match="64 to 4096 pixels a side"):
        synthesise(1, side=5000)
    with pytest.raises(PixelSizeError, match="a synthetic patch"):
        synthesise(1, mpp=20)


def test_demo() -> None:
    patches = demo_patches()
    assert len(patches) == 4
    assert all("synthetic" in patch.name for patch in patches)
    assert len({patch.sha256 for patch in patches}) == 4
    assert {(patch.width, patch.height, patch.mpp) for patch in patches} == {(512, 512, 0.5)}
