"""Slides as they are read: grid, pixel size, pixels, tissue, and what is refused."""

import io
import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from slide_support import made_slide

from cellularity_core.conventions import SIDE_RANGE
from cellularity_core.errors import PixelSizeError, SlideError
from cellularity_core.resample import resize
from cellularity_core.slides.grid import TILE_PX, grid
from cellularity_core.slides.reading import Slide
from cellularity_core.slides.tissue import tissue_on_overview

CMU = "slides/cmu-1-small-region.svs"


@given(
    width=st.integers(70, 40_000),
    height=st.integers(70, 40_000),
    side=st.floats(256, 2100),
    step=st.sampled_from([1.0, 2.0, 4.00013, 16.04]),
)
def test_tiles_cover_a_slide_once(width: int, height: int, side: float, step: float) -> None:
    made = grid(width, height, side, step)
    for edges, extent in ((made.x_edges, width), (made.y_edges, height)):
        sizes = np.diff(edges)
        assert (edges[0], edges[-1]) == (0, extent)
        np.testing.assert_allclose(sizes[:-1], side, atol=step + 1)
        least = SIDE_RANGE[0] / TILE_PX * side
        assert len(sizes) == 1 or sizes[-1] >= least - step - 1
        assert sizes[-1] <= side + least + step + 1


@pytest.mark.parametrize(
    ("mpp", "tile_mpp", "side"),
    [(0.125, 0.5, 512), (0.25, 0.5, 512), (0.3, 0.5, 512), (0.504, 0.504, 512), (1.0, 1.0, 256)],
)
def test_tiles_are_at_the_pixel_size_of_the_methods(
    tmp_path: Path, mpp: float, tile_mpp: float, side: int
) -> None:
    mosaic = made_slide(tmp_path / "s.tif", side=4500 if mpp < 0.2 else 2200, mpp=mpp, tissue=1)
    slide = Slide(tmp_path / "s.tif")
    assert slide.mpp == pytest.approx(mpp, rel=1e-4)
    assert slide.tile_mpp == pytest.approx(tile_mpp, rel=1e-3)
    tile = slide.grid.tile(1, 1)
    patch = slide.patch(tile)
    assert patch.pixels.shape == (side, side, 3)
    assert patch.mpp == slide.tile_mpp
    assert tile.width * slide.mpp == pytest.approx(side * slide.tile_mpp, rel=1e-3)
    truth = resize(mosaic.block(tile.y, tile.x, tile.width), (side, side)).astype(float)
    assert np.abs(truth - patch.pixels).mean() < 6  # JPEG
    # a shift by a pixel would show
    away = np.abs(truth[:, 2:] - patch.pixels[:, :-2]).mean()
    assert away > 1.5 * np.abs(truth - patch.pixels).mean()


def test_the_overview_shows_the_slide(tmp_path: Path) -> None:
    mosaic = made_slide(tmp_path / "s.tif", side=3000)
    slide = Slide(tmp_path / "s.tif")
    overview = slide.overview()
    assert slide.grid.cells * slide.grid.pitch == 512
    truth = resize(mosaic.block(0, 0, 3000), overview.shape[:2])
    assert np.abs(truth.astype(float) - overview).mean() < 4
    tiles = slide.grid.covered(tissue_on_overview(overview), 0.01)
    held = set(map(tuple, np.argwhere(mosaic.kinds > 0).tolist()))
    assert {(tile.row, tile.column) for tile in tiles} == held


def test_pictures_for_the_eye_are_cheap_and_where_they_should_be(tmp_path: Path) -> None:
    mosaic = made_slide(tmp_path / "s.tif", side=3000, tissue=1)
    slide = Slide(tmp_path / "s.tif")
    assert slide.zooms() == [1, 2]
    assert slide.grid.pitch == 4
    for zoom in slide.zooms():
        picture = slide.picture(512, 1024, 256, zoom)
        assert picture.shape == (256, 256, 3)
        drawn = resize(mosaic.block(1024, 512, 256 * zoom), (256, 256))
        assert np.abs(picture.astype(int) - drawn).mean() < 8
    assert slide.picture(2560, 2560, 512, 2).shape == (220, 220, 3)
    slide._file = SimpleNamespace(level_count=1, level_downsamples=(1.0,))
    slide.grid = replace(slide.grid, pitch=32.0)
    assert slide.zooms() == [1, 2, 4]  # more would read too many pixels


def test_a_slide_travels(tmp_path: Path) -> None:
    made_slide(tmp_path / "s.tif")
    slide = Slide(tmp_path / "s.tif", 0.3)
    again = pickle.loads(pickle.dumps(slide))
    assert (again.mpp, again.grid, again.mpp_source) == (0.3, slide.grid, "user")
    assert again.claimed_mpp == pytest.approx(0.5)


def test_labels_are_never_read(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> object:
        raise AssertionError("an associated image was asked for")

    monkeypatch.setattr(openslide.OpenSlide, "associated_images", property(refuse))
    monkeypatch.setattr(openslide.OpenSlide, "get_thumbnail", refuse)
    slide = Slide(data_root / CMU)
    assert (slide.mpp, slide.tile_mpp) == (0.499, 0.499)
    assert slide.grid.shape == (6, 5)
    overview = slide.overview()
    tissue = tissue_on_overview(overview)
    assert 0.25 < tissue.mean() < 0.45
    tile = slide.grid.tile(2, 2)
    direct = openslide.OpenSlide(data_root / CMU).read_region((1024, 1024), 0, (512, 512))
    np.testing.assert_array_equal(slide.patch(tile).pixels, np.asarray(direct)[..., :3])


def test_where_nothing_was_scanned_is_glass(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    made_slide(tmp_path / "s.tif")
    slide = Slide(tmp_path / "s.tif")
    region = np.zeros((512, 512, 4), np.uint8)
    region[:, :256] = (10, 20, 30, 255)
    monkeypatch.setattr(slide._file, "read_region", lambda *_: region)
    pixels = slide.patch(slide.grid.tile(0, 0)).pixels
    assert (pixels[:, :256] == (10, 20, 30)).all()
    assert (pixels[:, 256:] == 255).all()


def test_tissue_is_dark_and_coloured() -> None:
    stained = np.full((60, 60, 3), (200, 120, 170), np.uint8)
    glass = np.full((60, 60, 3), (238, 236, 240), np.uint8)
    black = np.zeros((60, 60, 3), np.uint8)
    tinted = np.full((60, 60, 3), (222, 219, 210), np.uint8)
    both = np.concatenate([stained, glass, black])
    np.testing.assert_array_equal(tissue_on_overview(both)[:, 0], [True] * 60 + [False] * 120)
    assert tissue_on_overview(stained).all()
    assert not tissue_on_overview(glass).any()
    on_tinted = tissue_on_overview(np.concatenate([stained, tinted]))
    np.testing.assert_array_equal(on_tinted[:, 0], [True] * 60 + [False] * 60)
    grey = np.full((120, 60, 3), 120, np.uint8)
    grey[60:] = 240
    np.testing.assert_array_equal(tissue_on_overview(grey)[:, 0], [True] * 60 + [False] * 60)


def tiff(**options: object) -> bytes:
    buffer = io.BytesIO()
    pixels = np.full((600, 600, 3), 200, np.uint8)
    tifffile.imwrite(buffer, pixels, photometric="rgb", metadata=None, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.svs", b"no slide at all", "a.svs is not a slide; expected SVS"),
        ("e.svs", b"", "e.svs is not a slide"),
        ("p.tif", tiff(), "p.tif is a picture without tiles"),
        ("bare.tif", b"II*\0\x08" + bytes(9), "bare.tif breaks off"),
    ],
)
def test_what_is_no_slide_is_one_sentence(tmp_path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SlideError, match=words) as caught:
        Slide(tmp_path / name)
    assert str(caught.value).count(". ") == 0


def test_a_slide_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match=r"gone\.svs cannot be read"):
        Slide(tmp_path / "gone.svs")


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9, 0.999])
def test_a_slide_that_breaks_off_is_refused(data_root: Path, tmp_path: Path, share: float) -> None:
    made_slide(tmp_path / "whole.tif")
    for source in (data_root / CMU, tmp_path / "whole.tif"):
        data = source.read_bytes()
        cut = tmp_path / f"cut{source.suffix}"
        cut.write_bytes(data[: int(share * len(data))])
        with pytest.raises(SlideError, match="breaks off"):
            Slide(cut)


def test_damage_inside_is_named_with_its_place(tmp_path: Path) -> None:
    made_slide(tmp_path / "s.tif", tissue=1)
    data = bytearray((tmp_path / "s.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "s.tif") as file:
        page = file.pages[0]
        for start, length in zip(page.dataoffsets, page.databytecounts, strict=True):
            data[start : start + length] = bytes(length)
    (tmp_path / "s.tif").write_bytes(data)
    slide = Slide(tmp_path / "s.tif")
    with pytest.raises(SlideError, match=r"s.tif cannot be read at x 512, y 0 .* damaged"):
        slide.patch(slide.grid.tile(0, 1))


@pytest.mark.parametrize(
    ("stated", "unit"), [(None, None), ((72, 72), "INCH"), ((20_000, 40_000), "CENTIMETER")]
)
def test_without_a_pixel_size_the_remedy_is_named(tmp_path, stated, unit) -> None:
    (tmp_path / "s.tif").write_bytes(
        tiff(tile=(128, 128), resolution=stated or (1, 1), resolutionunit=unit or "NONE")
    )
    with pytest.raises(PixelSizeError, match=r"does not state a pixel size .* --mpp"):
        Slide(tmp_path / "s.tif")
    assert Slide(tmp_path / "s.tif", 0.25).mpp == 0.25
    with pytest.raises(PixelSizeError, match="72"):
        Slide(tmp_path / "s.tif", 72)


def test_a_slide_smaller_than_a_patch_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "s.tif", np.zeros((60, 900, 3), np.uint8), photometric="rgb", tile=(128, 128)
    )
    with pytest.raises(SlideError, match="900 x 60 pixels"):
        Slide(tmp_path / "s.tif", 0.5)
