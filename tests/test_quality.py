"""Flags raised where they should be, and not raised on real H&E."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from cellularity_core.masks import tissue_mask
from cellularity_core.patch import Patch, collect
from cellularity_core.quality import FLAGS, Flag, assess, sharpness
from cellularity_core.quality.views import views
from cellularity_core.synthetic import STAINS, demo_patches, synthesise

Pixels = np.ndarray


def patch(pixels: Pixels, mpp: float = 0.5, notes: tuple[str, ...] = ()) -> Patch:
    """A patch of given pixels."""
    return Patch("x.png", np.ascontiguousarray(pixels), mpp, "user", "", notes)


@pytest.fixture(scope="module")
def real(data_root: Path) -> list[Patch]:
    """All 124 H&E patches of the data folder."""
    folders = [data_root / "brca_m2c" / "images", data_root / "ucsb_breast" / "images"]
    patches = [item for item in collect(folders) if isinstance(item, Patch)]
    assert len(patches) == 124
    return patches


def focus(pixels: Pixels, tissue: np.ndarray, mpp: float) -> float:
    """Of a whole patch."""
    return sharpness.focus(views(pixels, tissue, mpp))


def blur(pixels: Pixels, sigma: float) -> Pixels:
    """Out of focus by a Gaussian."""
    return cv2.GaussianBlur(pixels, (0, 0), sigma)


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    """After lossy compression."""
    return cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1)


def doubled(pixels: Pixels) -> Pixels:
    """Twice as many pixels a side."""
    return cv2.resize(pixels, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)


def halved(pixels: Pixels) -> Pixels:
    """Half as many pixels a side."""
    return cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def noisy(pixels: Pixels) -> Pixels:
    """With a camera's noise."""
    noise = np.random.default_rng(1).normal(0, 2.5, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def grey(pixels: Pixels) -> Pixels:
    """Without colour."""
    return np.repeat(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


def brown(pixels: Pixels) -> Pixels:
    """The same tissue stained with diaminobenzidine alone."""
    density = 1 - grey(pixels) / 255
    return (255 * np.exp(-density * np.array([0.5, 1.0, 1.6]))).astype(np.uint8)


def glowing(pixels: Pixels) -> Pixels:
    """The same nuclei in blue on black."""
    light = 255 - pixels[..., 0].astype(int)
    return np.stack([light // 8, light // 6, light], axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    ("change", "mpp"),
    [
        (lambda p: p, 0.5),
        (lambda p: jpeg(p, 60), 0.5),
        (doubled, 0.25),
        (halved, 1.0),
        (lambda p: (p * np.array([1, 1, 0.9])).astype(np.uint8), 0.5),
        (lambda p: (p * 0.8).astype(np.uint8), 0.5),
    ],
    ids=["as-is", "jpeg", "40x", "10x", "tinted", "dim"],
)
def test_few_false_alarms_on_real_patches(
    real: list[Patch], change: Callable[[Pixels], Pixels], mpp: float
) -> None:
    """At most 3 % of sharp H&E is called unreliable."""
    wrong = [p.name for p in real if not assess(patch(change(p.pixels), mpp)).reliable]
    assert len(wrong) <= 0.03 * len(real), wrong


@pytest.mark.parametrize(
    ("change", "mpp", "flag"),
    [
        (lambda p: blur(p, 3), 0.5, "blurred"),
        (lambda p: blur(p, 5), 0.5, "blurred"),
        (lambda p: blur(p, 15), 0.5, "blurred"),
        (lambda p: noisy(blur(p, 3)), 0.5, "blurred"),
        (lambda p: jpeg(blur(p, 3), 70), 0.5, "blurred"),
        (lambda p: blur(doubled(p), 6), 0.25, "blurred"),
        (lambda p: blur(halved(p), 3), 1.0, "blurred"),
        (grey, 0.5, "greyscale"),
        (lambda p: jpeg(grey(p), 80), 0.5, "greyscale"),
        (lambda p: 255 - p, 0.5, "not-he"),
        (brown, 0.5, "not-he"),
        (glowing, 0.5, "not-he"),
    ],
    ids=[
        "blur-3", "blur-5", "blur-15", "blur-noise", "blur-jpeg", "blur-40x", "blur-10x", "grey",
        "grey-jpeg", "inverted", "brown", "fluorescence",
    ],
)  # fmt: skip
def test_spoilt_patches_are_caught(
    real: list[Patch], change: Callable[[Pixels], Pixels], mpp: float, flag: str
) -> None:
    missed = []
    for p in real[::3]:
        quality = assess(patch(change(p.pixels), mpp))
        if flag not in quality.flags or quality.reliable:
            missed.append(p.name)
    assert len(missed) <= 0.03 * len(real[::3]), missed


@pytest.mark.parametrize(
    "name", ["astronaut", "chelsea", "coffee", "rocket", "retina", "immunohistochemistry",
             "hubble_deep_field", "logo"],
)  # fmt: skip
def test_other_pictures_are_not_he(name: str) -> None:
    pixels = getattr(skimage.data, name)()[:900, :900, :3]
    quality = assess(patch(pixels))
    assert "not-he" in quality.flags
    assert not quality.reliable


def test_blur_shows_in_the_measure_step_by_step() -> None:
    pixels = synthesise(4).pixels
    tissue = tissue_mask(pixels, 0.5)
    values = [focus(blur(pixels, s) if s else pixels, tissue, 0.5) for s in (0, 1, 2, 3, 5)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.6
    assert values[3] < 0.46


def test_focus_is_a_matter_of_tissue_not_of_contrast() -> None:
    pixels = synthesise(4).pixels
    tissue = tissue_mask(pixels, 0.5)
    faint = (255 - (255 - pixels.astype(float)) * 0.5).astype(np.uint8)
    assert focus(faint, tissue, 0.5) == pytest.approx(focus(pixels, tissue, 0.5), rel=0.1)
    assert focus(pixels, np.zeros_like(tissue), 0.5) == float("inf")


def test_focus_is_measured_at_one_size_in_tissue() -> None:
    pixels = synthesise(4).pixels
    tissue = tissue_mask(pixels, 0.5)
    finer = doubled(pixels)
    at_20x, at_40x = focus(pixels, tissue, 0.5), focus(finer, tissue_mask(finer, 0.25), 0.25)
    assert at_40x == pytest.approx(at_20x, rel=0.05)


def test_focus_of_a_large_patch_is_that_of_its_parts() -> None:
    pixels = synthesise(4).pixels
    large = np.tile(pixels, (4, 4, 1))
    small = focus(pixels, tissue_mask(pixels, 0.5), 0.5)
    assert focus(large, tissue_mask(large, 0.5), 0.5) == pytest.approx(small, rel=0.1)
    assert "blurred" in assess(patch(blur(large, 3))).flags


@pytest.mark.parametrize(
    ("rows", "flags", "reliable"),
    [
        (0, ("no-tissue",), False),
        (4, ("no-tissue",), False),
        (30, ("little-tissue",), True),
        (300, (), True),
    ],
)
def test_amount_of_tissue(rows: int, flags: tuple[str, ...], reliable: bool) -> None:
    pixels = np.full((512, 512, 3), 244, np.uint8)
    pixels[:rows] = synthesise(4, cellularity=0.9, fat=0.0).pixels[:rows]
    quality = assess(patch(pixels))
    assert quality.flags == flags
    assert quality.reliable is reliable


@pytest.mark.parametrize("value", [0, 255])
def test_flat_images(value: int) -> None:
    quality = assess(patch(np.full((64, 64, 3), value, np.uint8)))
    assert not quality.reliable
    assert ("no-tissue" in quality.flags) is (value == 255)


@pytest.mark.parametrize(
    ("mpp", "bad"), [(0.1, True), (0.2, False), (0.5, False), (1.0, False), (1.5, True)]
)
def test_scale(mpp: float, bad: bool) -> None:
    quality = assess(patch(synthesise(4, mpp=mpp, acini=1).pixels, mpp))
    assert ("out-of-scale" in quality.flags) is bad


def test_notes_of_the_file() -> None:
    pixels = synthesise(4).pixels
    assert assess(patch(pixels, notes=("pixel-size-implausible",))).flags == ("pixel-size-unknown",)
    assert assess(patch(pixels, notes=("pixel-size-implausible",))).reliable
    single = assess(patch(grey(pixels), notes=("single-channel",)))
    assert single.flags == ("greyscale",)
    assert not single.reliable


@pytest.mark.parametrize("stain", STAINS)
def test_synthetic_patches_are_fit(stain: str) -> None:
    assert assess(patch(synthesise(8, stain=stain).pixels)).flags == ()
    assert all(assess(p).flags == () for p in demo_patches())


@pytest.mark.parametrize("flag", FLAGS.values(), ids=FLAGS)
def test_texts_are_one_sentence_that_ends_in_what_to_do(flag: Flag) -> None:
    assert flag.text[0].isupper()
    assert flag.text.endswith(".")
    assert ";" in flag.text
    assert ". " not in flag.text
