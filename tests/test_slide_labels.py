"""A slide's label and macro image, and the words beside them, reach nothing that is made of it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image
from slide_support import FakeScorer, scoring

from cellularity_core.export import png
from cellularity_core.patch import Patch, load_patch
from cellularity_core.slides.reading import Slide
from cellularity_core.slides.run import score_slide
from cellularity_core.synthetic_slide import Mosaic

SIDE = 1024
NAME = "Jane Doe 4711"
COLOURS = {"label": (0, 255, 0), "macro": (0, 0, 255)}
"""Of the two images; no tissue has them."""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide as Aperio's scanners write it, with a patient's name wherever text can stand."""
    path = tmp_path_factory.mktemp("labels") / "slide.svs"
    about = "Aperio Image Library v11.2.1\r\n"
    told = f"|AppMag = 20|MPP = 0.5|Filename = {NAME}|Title = {NAME}|User = {NAME}"
    pixels = Mosaic.made(SIDE, tissue=1).block(0, 0, SIDE)
    common = {"photometric": "rgb", "compression": "jpeg", "metadata": None, "software": NAME}
    with tifffile.TiffWriter(path) as file:
        file.write(
            pixels,
            tile=(256, 256),
            description=f"{about}{SIDE}x{SIDE} [0,0 {SIDE}x{SIDE}] (256x256){told}",
            extratags=[(315, "s", 0, NAME, True)],
            **common,
        )
        thumbnail = Image.fromarray(pixels).resize((256, 256))
        file.write(np.asarray(thumbnail), rowsperstrip=256, description=about + told, **common)
        for name, colour in COLOURS.items():
            image = np.full((128, 256, 3), colour, np.uint8)
            words = f"{about}{name} 256x128 {NAME}"
            kind = 1 if name == "label" else 9
            file.write(image, rowsperstrip=128, description=words, subfiletype=kind, **common)
    return path


def drawn(folder: Path) -> Iterator[np.ndarray]:
    """Every picture of a folder."""
    for path in folder.rglob("*.png"):
        yield np.asarray(Image.open(path).convert("RGB"))
    for path in folder.rglob("*.tif"):
        with tifffile.TiffFile(path) as file:
            yield from (page.asarray() for page in file.pages if page.samplesperpixel == 3)


def holds(pixels: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((np.abs(pixels[..., :3].astype(int) - colour).max(axis=-1) < 60).any())


def test_the_slide_has_what_must_not_be_seen(path: Path) -> None:
    with openslide.OpenSlide(path) as file:
        assert {"label", "macro"} <= set(file.associated_images)
        for name, colour in COLOURS.items():
            assert holds(np.asarray(file.associated_images[name]), colour)
        assert NAME in str(dict(file.properties))


def test_the_label_is_in_nothing_that_is_made_of_a_slide(path: Path, tmp_path: Path) -> None:
    score_slide(path, scoring(FakeScorer()), tmp_path)
    slide = Slide(path)
    patch = slide.patch(slide.grid.tile(0, 0))
    (tmp_path / "tile.png").write_bytes(png(patch.pixels))
    (tmp_path / "view.png").write_bytes(png(slide.picture(0, 0, SIDE, 1)))
    made = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {"tiles.sqlite", "summary.json", "overview.png", "maps.ome.tif"} <= {
        f.name for f in made
    }
    for file in made:
        assert NAME.encode() not in file.read_bytes(), file.name
    assert NAME not in repr(vars(slide)) + repr(patch)
    pictures = [*drawn(tmp_path), slide.overview()]
    assert len(pictures) > 4
    for pixels in pictures:
        assert not any(holds(pixels, colour) for colour in COLOURS.values())


def test_of_a_slide_given_as_a_patch_only_the_tissue_is_read(path: Path) -> None:
    patch = load_patch(path.read_bytes(), "slide.svs")
    assert isinstance(patch, Patch)
    assert patch.pixels.shape == (SIDE, SIDE, 3)
    assert not any(holds(patch.pixels, colour) for colour in COLOURS.values())
    assert NAME not in repr(patch)
