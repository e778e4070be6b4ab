"""Ways to spoil an H&E patch, each with a name: what flags are measured on.

Pure functions of pixels and a generator. What a scanner or an immunostain does
is simulated: stains by the Beer-Lambert law, a wrong pixel size by resampling,
with fine detail put back where a real scan would have it.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from skimage import data

Pixels = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]
Spoil = Callable[[Pixels, np.random.Generator], Pixels]

INTERPOLATIONS: Final = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
    "area": cv2.INTER_AREA,
}

HAEMATOXYLIN_EOSIN: Final = ((0.644, 0.717, 0.267), (0.093, 0.954, 0.283))
"""Optical densities (red, green, blue) that patches are taken apart with."""

IMMUNOSTAINS: Final = (
    ((0.650, 0.704, 0.286), (0.268, 0.570, 0.776)),
    ((0.60, 0.70, 0.40), (0.26, 0.50, 0.83)),
    ((0.75, 0.60, 0.28), (0.33, 0.55, 0.77)),
    ((0.55, 0.63, 0.55), (0.20, 0.50, 0.84)),
    ((0.68, 0.64, 0.36), (0.38, 0.58, 0.72)),
)
"""Optical densities of haematoxylin and diaminobenzidine; the first is Ruifrok &
Johnston's (Anal Quant Cytol Histol 2001, 23:291), the others are variations of it."""

PHOTOGRAPHS: Final = ("astronaut", "chelsea", "coffee", "rocket")
"""Real photographs, public domain or CC0, in the package scikit-image: a portrait, a cat, a
cup of coffee and the launch of a rocket."""

INKS: Final = {
    "blue": (1.5, 0.9, 0.15),
    "black": (1.5, 1.5, 1.5),
    "green": (1.4, 0.35, 0.9),
    "red": (0.08, 1.2, 1.1),
}
"""Optical density of a marker's ink on glass."""


def rescaled(pixels: Pixels, factor: float, interpolation: int = cv2.INTER_CUBIC) -> Pixels:
    """More or fewer pixels a side."""
    size = [max(1, round(side * factor)) for side in pixels.shape[1::-1]]
    return np.asarray(cv2.resize(pixels, size, interpolation=interpolation), np.uint8)


def blurred(pixels: Pixels, sigma: float) -> Pixels:
    """Out of focus by a Gaussian of `sigma` pixels."""
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.uint8)


def defocused(pixels: Pixels, radius: float) -> Pixels:
    """Out of focus as a lens is: a disc of `radius` pixels."""
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius + 0.5 - np.hypot(y, x), 0, 1).astype(np.float32)
    return _filtered(pixels, disc)


def moved(pixels: Pixels, length: float, angle: float) -> Pixels:
    """Smeared along a line of `length` pixels; `angle` in radians."""
    reach = int(np.ceil(length / 2))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for t in np.linspace(-length / 2, length / 2, 8 * reach + 1):
        kernel[round(reach + t * np.sin(angle)), round(reach + t * np.cos(angle))] += 1
    return _filtered(pixels, kernel)


def compressed(pixels: Pixels, quality: int) -> Pixels:
    """After JPEG."""
    done, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"pixels of shape {pixels.shape} cannot be written as JPEG")
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def noisy(pixels: Pixels, rng: np.random.Generator, level: float) -> Pixels:
    """With a camera's noise of `level` grey levels."""
    return _light(pixels + rng.normal(0, level, pixels.shape))


def sharpened(pixels: Pixels, amount: float, sigma: float) -> Pixels:
    """By an unsharp mask."""
    light = pixels.astype(np.float32)
    return _light(light + amount * (light - cv2.GaussianBlur(light, (0, 0), sigma)))


def detailed(
    enlarged: Pixels, patch: Pixels, rng: np.random.Generator, amount: float = 1.0
) -> Pixels:
    """An enlarged patch with fine detail, as a scan at 40x has and interpolation lacks.

    The detail finer than 1 px is taken from `patch`, mirrored to fill the size,
    and made as strong as the structure of the enlarged patch is there.
    """
    height, width = enlarged.shape[:2]
    source = patch.astype(np.float32)
    fine = source - cv2.GaussianBlur(source, (0, 0), 1.0)
    fine = np.concatenate([fine, fine[:, ::-1]], axis=1)
    fine = np.concatenate([fine, fine[::-1]], axis=0)
    fine = np.tile(fine, (height // fine.shape[0] + 2, width // fine.shape[1] + 2, 1))
    y, x = rng.integers(0, patch.shape[0]), rng.integers(0, patch.shape[1])
    fine = fine[y : y + height, x : x + width]
    light = enlarged.astype(np.float32)
    wanted = _strength(light - cv2.GaussianBlur(light, (0, 0), 2.0))
    held = np.maximum(_strength(fine), 0.3)
    return _light(light + amount * fine * (wanted / held)[..., None])


def restained(pixels: Pixels, rng: np.random.Generator, amount: float = 1.0) -> Pixels:
    """Stained and lit otherwise: densities mixed a little and scaled."""
    density = _density(pixels)
    mix = np.eye(3) + rng.normal(0, 0.05 * amount, (3, 3))
    scale = rng.uniform(1 - 0.35 * amount, 1 + 0.35 * amount)
    channels = rng.uniform(1 - 0.12 * amount, 1 + 0.12 * amount, 3)
    return _transmitted(density @ (mix.T * channels * scale).astype(np.float32))


def grey(pixels: Pixels) -> Pixels:
    """Without colour, three channels alike."""
    return np.repeat(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))[..., None], 3, axis=2)


def sepia(pixels: Pixels) -> Pixels:
    """Without colour, in brown."""
    return _light(grey(pixels).astype(np.float32) * np.array([1.0, 0.86, 0.68], np.float32))


def separated(pixels: Pixels) -> tuple[Plane, Plane]:
    """Amounts of haematoxylin and of eosin, each shape (H, W)."""
    stains = np.array([_unit(v) for v in HAEMATOXYLIN_EOSIN])
    third = np.cross(stains[0], stains[1])
    unmix = np.linalg.inv(np.vstack([stains, third / np.linalg.norm(third)])).astype(np.float32)
    amounts = np.maximum(_density(pixels) @ unmix, 0)
    return amounts[..., 0], amounts[..., 1]


def immunostained(pixels: Pixels, where: str, strength: float, stains: int) -> Pixels:
    """The same tissue in haematoxylin and diaminobenzidine (brown).

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        H&E.
    where : {"nuclear", "membrane", "cytoplasm", "stroma"}
        What takes the brown stain.
    strength : float
        0.3 is weak, 1 is strong.
    stains : int
        Index into `IMMUNOSTAINS`.
    """
    blue, pink = separated(pixels)
    low, high = np.quantile(blue, [0.6, 0.95])
    nuclei = np.clip((cv2.GaussianBlur(blue, (0, 0), 1.0) - low) / (high - low + 1e-3), 0, 1)
    nuclei = nuclei.astype(np.float32)
    if where == "nuclear":
        brown, blue = nuclei, blue * (1 - 0.6 * strength * nuclei)
    elif where == "membrane":
        brown = np.asarray(cv2.dilate(nuclei, np.ones((7, 7), np.uint8)), np.float32) - nuclei
    elif where == "cytoplasm":
        brown = 0.6 * cv2.GaussianBlur(nuclei, (0, 0), 6.0) + 0.1 * pink
    else:
        brown = pink
    haematoxylin, dab = (_unit(v) for v in IMMUNOSTAINS[stains])
    return _transmitted(
        (0.8 * blue)[..., None] * haematoxylin + (strength * brown)[..., None] * dab
    )


def fluorescent(pixels: Pixels, colours: str, rng: np.random.Generator) -> Pixels:
    """The same tissue glowing on black: nuclei in blue, or nuclei and matrix in colours."""
    blue, pink = separated(pixels)
    nuclei = blue / max(float(np.quantile(blue, 0.98)), 1e-3)
    matrix = pink / max(float(np.quantile(pink, 0.98)), 1e-3)
    nothing = np.zeros_like(nuclei)
    planes = {
        "nuclei": (0.1 * nuclei, 0.2 * nuclei, nuclei),
        "green": (nothing, matrix, 0.4 * nuclei),
        "red": (matrix, nothing, nuclei),
        "three": (0.8 * matrix, 0.5 * np.roll(nuclei, 5, axis=0), nuclei),
    }[colours]
    light = 255 * np.clip(np.stack(planes, axis=-1), 0, 1)
    return _light(light + rng.normal(0, 3, pixels.shape))


def inked(pixels: Pixels, ink: str, rng: np.random.Generator) -> Pixels:
    """With a stroke of a marker pen, 25 to 60 um wide, across the patch."""
    cover = _band(pixels.shape[:2], rng, (50, 120), 1.5)
    strength = rng.uniform(0.7, 1.3) * cv2.GaussianBlur(
        rng.uniform(0.8, 1.2, pixels.shape[:2]).astype(np.float32), (0, 0), 4.0
    )
    density = np.array(INKS[ink], np.float32) * (cover * strength)[..., None]
    return _transmitted(_density(pixels) + density)


def folded(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """With a fold, 20 to 60 um wide: a second layer on top, both a little out of focus."""
    cover = _band(pixels.shape[:2], rng, (40, 120), 2.0)[..., None]
    shift = rng.integers(15, 60, 2)
    density = _density(pixels)
    layers = density + np.roll(density[::-1], shift, axis=(0, 1))
    return _transmitted(density * (1 - cover) + cv2.GaussianBlur(layers, (0, 0), 1.2) * cover)


def scene(rng: np.random.Generator, side: int = 512) -> Pixels:
    """A made-up scene: sky, ground and things of any colour, with noise."""
    y = np.linspace(0, 1, side, dtype=np.float32)[:, None, None]
    top, bottom = rng.uniform(60, 255, (2, 3)).astype(np.float32)
    light = np.ascontiguousarray(
        np.broadcast_to(top * (1 - y) + bottom * y, (side, side, 3)), np.float32
    )
    for _ in range(int(rng.integers(8, 30))):
        colour = [float(c) for c in rng.uniform(0, 255, 3)]
        centre = [int(c) for c in rng.integers(0, side, 2)]
        if rng.random() < 0.5:
            cv2.circle(light, centre, int(rng.integers(10, side // 4)), colour, -1)
        else:
            corner = [
                c + int(d) for c, d in zip(centre, rng.integers(10, side // 3, 2), strict=True)
            ]
            cv2.rectangle(light, centre, corner, colour, -1)
    light = np.asarray(cv2.GaussianBlur(light, (0, 0), 1.0), np.float32)
    return _light(light + rng.normal(0, 4, light.shape))


def photographed(name: str, rng: np.random.Generator, side: int = 512) -> Pixels:
    """A square window of a photograph, half to all of its shorter side, perhaps mirrored."""
    whole = _photograph(name)
    size = int(min(whole.shape[:2]) * rng.uniform(0.5, 1.0))
    y, x = (int(rng.integers(length - size + 1)) for length in whole.shape[:2])
    window = whole[y : y + size, x : x + size]
    if rng.random() < 0.5:
        window = window[:, ::-1]
    how = cv2.INTER_AREA if size > side else cv2.INTER_CUBIC
    return np.asarray(
        cv2.resize(np.ascontiguousarray(window), (side, side), interpolation=how), np.uint8
    )


@cache
def _photograph(name: str) -> Pixels:
    return np.asarray(getattr(data, name)(), np.uint8)


def _band(
    shape: tuple[int, ...], rng: np.random.Generator, width: tuple[int, int], softness: float
) -> Plane:
    """A curved band across a patch: 1 within, 0 outside, soft at its edge."""
    height, columns = shape[:2]
    t = np.linspace(-0.1, 1.1, 40)
    start, end = rng.uniform(0.15, 0.85, 2)
    along = start + (end - start) * t + rng.uniform(0.02, 0.08) * np.sin(2 * np.pi * t)
    points = np.stack([t * columns, along * height], axis=-1)
    if rng.random() < 0.5:
        points = np.stack([along * columns, t * height], axis=-1)
    band = np.zeros((height, columns), np.uint8)
    cv2.polylines(band, [np.rint(points).astype(np.int32)], False, 255, int(rng.integers(*width)))
    return np.asarray(cv2.GaussianBlur(band, (0, 0), softness) / 255, np.float32)


def _filtered(pixels: Pixels, kernel: Plane) -> Pixels:
    return np.asarray(
        cv2.filter2D(pixels, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT), np.uint8
    )


def _strength(fine: npt.NDArray[Any]) -> Plane:
    smooth = np.asarray(cv2.GaussianBlur(np.abs(fine).mean(axis=2), (0, 0), 4.0), np.float32)
    return np.asarray(smooth / (smooth.mean() + 1e-6), np.float32)


def _density(pixels: Pixels) -> Plane:
    return -np.log((pixels.astype(np.float32) + 1) / 256)


def _transmitted(density: Plane) -> Pixels:
    return _light(256 * np.exp(-np.maximum(density, 0)) - 1)


def _light(values: npt.NDArray[Any]) -> Pixels:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def _unit(vector: tuple[float, ...]) -> Plane:
    array = np.array(vector, np.float32)
    return np.asarray(array / np.linalg.norm(array), np.float32)


def kinds() -> Mapping[str, tuple[str, ...]]:
    """Kinds of spoilt pictures in each group that a catch rate is given for."""
    groups: dict[str, list[str]] = {}
    for name, (group, _) in SPOILS.items():
        groups.setdefault(group, []).append(name)
    return {group: tuple(names) for group, names in groups.items()}


def _scaled(factor: float, interpolation: int, window: bool) -> Spoil:
    def spoil(pixels: Pixels, rng: np.random.Generator) -> Pixels:
        big = rescaled(pixels, factor, interpolation)
        y, x = (int(rng.integers(0, max(1, side - 511))) for side in big.shape[:2])
        return np.ascontiguousarray(big[y : y + 512, x : x + 512]) if window else big

    return spoil


def _scanned_finer(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    quarter = np.ascontiguousarray(pixels[:256, :256])
    return detailed(rescaled(quarter, 2.0), pixels, rng)


def _plain(change: Callable[..., Pixels], *settings: Any) -> Spoil:
    """A change without chance."""
    return lambda pixels, _: change(pixels, *settings)


def _varied(change: Callable[..., Pixels], *settings: Any) -> Spoil:
    """A change that takes the generator last."""
    return lambda pixels, rng: change(pixels, *settings, rng)


def _pictured(name: str) -> Spoil:
    """A photograph instead of the patch."""
    return lambda _, rng: photographed(name, rng)


def _in_some_immunostain(
    pixels: Pixels, where: str, strength: float, rng: np.random.Generator
) -> Pixels:
    return immunostained(pixels, where, strength, int(rng.integers(len(IMMUNOSTAINS))))


def _moved_somewhere(pixels: Pixels, length: float, rng: np.random.Generator) -> Pixels:
    return moved(pixels, length, float(rng.uniform(0, np.pi)))


def _spoils() -> dict[str, tuple[str, Spoil]]:
    """Name -> (group, how)."""
    table: dict[str, tuple[str, Spoil]] = {}
    for sigma in (2.0, 3.0, 5.0):
        table[f"gauss-{sigma:g}"] = ("blur", _plain(blurred, sigma))
    table["gauss-2-jpeg"] = ("blur", lambda pixels, _: compressed(blurred(pixels, 2.0), 75))
    table["disc-4"] = ("blur", _plain(defocused, 4.0))
    table["motion-11"] = ("blur", _varied(_moved_somewhere, 11.0))
    for name, interpolation in INTERPOLATIONS.items():
        table[f"x2-{name}"] = ("scale x2", _scaled(2.0, interpolation, True))
        table[f"x0.5-{name}"] = ("scale x0.5", _scaled(0.5, interpolation, True))
    table["x2-cubic-whole"] = ("scale x2", _scaled(2.0, cv2.INTER_CUBIC, False))
    table["x2-detailed"] = ("scale x2, sharp", _scanned_finer)
    table["grey"] = ("greyscale", _plain(grey))
    table["grey-jpeg"] = ("greyscale", lambda pixels, _: compressed(grey(pixels), 80))
    table["sepia"] = ("sepia", _plain(sepia))
    for where in ("nuclear", "membrane", "cytoplasm", "stroma"):
        for strength in (0.3, 1.0):
            table[f"{where}-{strength:g}"] = (
                "IHC",
                _varied(_in_some_immunostain, where, strength),
            )
    for colours in ("nuclei", "green", "red", "three"):
        table[f"fluorescence-{colours}"] = ("fluorescence", _varied(fluorescent, colours))
    table["scene"] = ("made-up scene", lambda _, rng: scene(rng))
    for ink in INKS:
        table[f"pen-{ink}"] = ("pen", _varied(inked, ink))
    table["fold"] = ("fold", folded)
    for name in PHOTOGRAPHS:  # last, since a kind's place in this table seeds it
        table[f"photograph-{name}"] = ("photograph", _pictured(name))
    return table


SPOILS: Final = _spoils()
"""Every kind of spoilt picture: its group and how it is made."""
