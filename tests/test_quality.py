"""Flags raised where they should be, and not raised on real H&E."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.datasets import load_sample_images

from cellularity_core.masks import tissue_mask
from cellularity_core.patch import Patch, collect
from cellularity_core.quality import FLAGS, Flag, assess, sharpness, spoiling
from cellularity_core.quality.scale import measures
from cellularity_core.quality.views import views
from cellularity_core.results import Quality
from cellularity_core.synthetic import STAINS, demo_patches, synthesise

Pixels = np.ndarray


def patch(pixels: Pixels, mpp: float = 0.5, notes: tuple[str, ...] = ()) -> Patch:
    """A patch of given pixels."""
    return Patch("x.png", np.ascontiguousarray(pixels), mpp, "user", "", notes)


@pytest.fixture(scope="module")
def real(data_root: Path) -> list[Patch]:
    """All 124 H&E patches of the data folder."""
    folders = [data_root / "brca_m2c" / "images", data_root / "ucsb_breast" / "images"]
    patches = [item for item in collect(folders, 0.5) if isinstance(item, Patch)]
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
        (lambda p: blur(p, 2), 0.5, "blurred"),
        (lambda p: jpeg(blur(p, 2), 75), 0.5, "blurred"),
        (lambda p: spoiling.defocused(p, 4), 0.5, "blurred"),
        (lambda p: spoiling.moved(p, 11, 0.6), 0.5, "blurred"),
        (lambda p: blur(p, 3), 0.5, "blurred"),
        (lambda p: blur(p, 5), 0.5, "blurred"),
        (lambda p: blur(p, 15), 0.5, "blurred"),
        (lambda p: noisy(blur(p, 3)), 0.5, "blurred"),
        (lambda p: jpeg(blur(p, 3), 70), 0.5, "blurred"),
        (lambda p: blur(doubled(p), 6), 0.25, "blurred"),
        (lambda p: blur(halved(p), 3), 1.0, "blurred"),
        (doubled, 0.5, "wrong-scale"),
        (lambda p: doubled(p)[:512, :512], 0.5, "wrong-scale"),
        (halved, 0.5, "wrong-scale"),
        (doubled, 1.0, "wrong-scale"),
        (lambda p: p, 0.25, "wrong-scale"),
        (grey, 0.5, "greyscale"),
        (lambda p: jpeg(grey(p), 80), 0.5, "greyscale"),
        (lambda p: 255 - p, 0.5, "not-he"),
        (brown, 0.5, "not-he"),
        (glowing, 0.5, "not-he"),
        (lambda p: spoiling.sepia(p), 0.5, "not-he"),
        (lambda p: spoiling.immunostained(p, "nuclear", 0.3, 0), 0.5, "not-he"),
        (lambda p: spoiling.immunostained(p, "membrane", 1.0, 2), 0.5, "not-he"),
    ],
    ids=[
        "blur-2", "blur-2-jpeg", "disc", "motion", "blur-3", "blur-5", "blur-15", "blur-noise",
        "blur-jpeg", "blur-40x", "blur-10x", "x2", "x2-tile", "x0.5", "x4", "x0.5-by-claim",
        "grey", "grey-jpeg", "inverted", "brown", "fluorescence", "sepia", "weak-immunostain",
        "immunostain",
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
    assert len(missed) <= 0.05 * len(real[::3]), missed


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
    assert values[0] > 0.48
    assert values[2] < 0.36


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


@pytest.mark.parametrize(
    ("height", "mpp", "flagged", "reliable"),
    [
        (256, 0.5, False, True),
        (254, 0.5, True, True),
        (80, 0.5, True, True),
        (78, 0.5, True, False),
    ],
)
def test_small_fields(height: int, mpp: float, flagged: bool, reliable: bool) -> None:
    pixels = synthesise(4, cellularity=0.9, fat=0.0).pixels[:height]
    quality = assess(patch(np.ascontiguousarray(pixels), mpp))
    assert ("small-field" in quality.flags) is flagged
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
    assumed = replace(patch(pixels), mpp_source="default")
    assert assess(assumed) == Quality(("pixel-size-assumed",), reliable=True)
    implausible = replace(assumed, notes=("pixel-size-implausible",))
    assert assess(implausible) == Quality(("pixel-size-unknown",), reliable=True)
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


@given(
    pixels=arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))),
    mpp=st.floats(0.1, 2.0),
)
@settings(max_examples=60)
def test_any_small_picture_is_judged(pixels: Pixels, mpp: float) -> None:
    quality = assess(patch(pixels, mpp))
    assert set(quality.flags) <= set(FLAGS)
    assert len(set(quality.flags)) == len(quality.flags)
    if any(FLAGS[code].fatal for code in quality.flags):
        assert not quality.reliable


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (180, 60, 120), (128, 128, 128)])
@pytest.mark.parametrize(("side", "mpp"), [(64, 0.5), (700, 0.25), (64, 50.0), (1100, 0.5)])
def test_uniform_pictures_are_no_tissue(
    colour: tuple[int, int, int], side: int, mpp: float
) -> None:
    assert not assess(patch(np.full((side, side, 3), colour, np.uint8), mpp)).reliable


@pytest.mark.parametrize("number", [0, 1])
def test_photographs_of_another_library_are_not_he(number: int) -> None:
    assert "not-he" in assess(patch(load_sample_images().images[number])).flags


@pytest.mark.parametrize("ink", spoiling.INKS)
def test_pen_is_seen_and_fatal_where_it_covers_much(ink: str) -> None:
    pixels = synthesise(4).pixels
    rng = np.random.default_rng(0)
    stroke = assess(patch(spoiling.inked(pixels, ink, rng)))
    assert "pen" in stroke.flags or "not-he" in stroke.flags
    density = np.exp(-np.array(spoiling.INKS[ink]))
    covered = (pixels * density).astype(np.uint8)
    half = pixels.copy()
    half[:, :256] = covered[:, :256]
    assert not assess(patch(half)).reliable


def test_a_fold_across_a_patch_is_seen(real: list[Patch]) -> None:
    """Half of the folds are; unfolded patches never look like one."""
    rng = np.random.default_rng(0)
    folded = [assess(patch(spoiling.folded(p.pixels, rng))).flags for p in real[::4]]
    assert sum("fold" in flags for flags in folded) >= 0.4 * len(folded)


def test_a_stain_far_from_training_is_told() -> None:
    pixels = synthesise(4).pixels
    density = -np.log((pixels.astype(float) + 1) / 256)
    odd = density @ np.array([[0.2, 0.6, 0.6], [0.05, 0.9, 0.3], [0.0, 0.6, 0.4]])
    quality = assess(patch((256 * np.exp(-odd) - 1).clip(0, 255).astype(np.uint8)))
    assert "stain-unusual" in quality.flags


def test_scale_is_not_judged_from_a_handful_of_nuclei() -> None:
    pixels = synthesise(4).pixels[:128, :128]
    tissue = tissue_mask(pixels, 0.5)
    assert measures(views(pixels, tissue, 0.5)) is None
    assert "wrong-scale" not in assess(patch(pixels)).flags


def test_scale_counts_what_is_shown_not_how_many_pixels() -> None:
    pixels = synthesise(4).pixels
    assert "wrong-scale" not in assess(patch(doubled(pixels), 0.25)).flags
    assert "wrong-scale" in assess(patch(doubled(pixels), 0.5)).flags
    assert "wrong-scale" in assess(patch(halved(pixels), 0.5)).flags
