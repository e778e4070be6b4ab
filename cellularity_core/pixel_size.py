"""Pixel sizes as image files claim them, and which claim to believe.

Scanners and microscopes write um per pixel in many places; office software
fills the same fields with a screen's 72 or 96 dpi.
"""

import math
import re
from collections.abc import Iterable
from typing import Final

from cellularity_core.conventions import MPP_RANGE

UM_PER_INCH: Final = 25_400.0

MAX_ANISOTROPY: Final = 1.05
"""A pixel longer than this times its other side is not square."""

UNITS_UM: Final = {
    "nm": 1e-3,
    "um": 1.0,
    "µm": 1.0,
    "μm": 1.0,
    "\\u00b5m": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
    "in": UM_PER_INCH,
    "inch": UM_PER_INCH,
}
"""um in each unit that OME-XML and ImageJ write; ``\\u00b5m`` is ImageJ's escape."""

TIFF_UNITS_UM: Final = {2: UM_PER_INCH, 3: 1e4, 4: 1e3, 5: 1.0}
"""um in each TIFF ResolutionUnit; 4 and 5 are outside the standard but in use."""

Claim = tuple[float, float]
"""um per pixel along x and y."""

_OME_PIXELS: Final = re.compile(r"<(?:\w{1,20}:)?Pixels\b([^>]{0,4000})")
_MPP: Final = re.compile(
    r"""\bmpp(?:[-_ ]?x)?["']?\s{0,9}[=:]\s{0,9}["']?(\d[\d.eE+-]{0,30})""", re.I
)
_IMAGEJ_UNIT: Final = re.compile(r"^unit=(\S{1,20})", re.M)


def believed(claims: Iterable[Claim]) -> tuple[float | None, bool]:
    """The first claim that can be the pixel size of a patch.

    Parameters
    ----------
    claims : iterable of (float, float)
        um per pixel along x and y, the most trustworthy source first.

    Returns
    -------
    float or None
        um per pixel to six digits, within `MPP_RANGE`; None where no claim is
        believable.
    bool
        Whether there was any claim at all.
    """
    made = False
    for x, y in claims:
        if not (math.isfinite(x) and math.isfinite(y) and x > 0 and y > 0):
            continue
        made = True
        mpp = float(f"{math.sqrt(x * y):.6g}")
        square = max(x, y) <= MAX_ANISOTROPY * min(x, y)
        if square and MPP_RANGE[0] <= mpp <= MPP_RANGE[1]:
            return mpp, True
    return None, made


def from_density(x: object, y: object, unit_um: float) -> list[Claim]:
    """Claim of a density: `x` and `y` pixels in `unit_um` micrometres.

    Each density is a number or a pair of numerator and denominator; anything
    else, zero included, makes no claim.
    """
    claim = [_ratio(value) for value in (x, y)]
    if not all(value > 0 and math.isfinite(value) for value in claim):
        return []
    return [(unit_um / claim[0], unit_um / claim[1])]


def from_description(text: str, density: tuple[object, object] | None = None) -> list[Claim]:
    """Claims in a text: OME-XML, ``MPP = 0.25`` (Aperio), ImageJ.

    Parameters
    ----------
    text : str
        ImageDescription or a comment.
    density : pair, optional
        The file's resolution numbers, which ImageJ counts in a unit it names
        in the text.
    """
    claims = []
    pixels = _OME_PIXELS.search(text)
    if pixels:
        x, y = (_ome_size(pixels[1], axis) for axis in "XY")
        if x is not None:
            claims.append((x, x if y is None else y))
    mpp = _MPP.search(text)
    if mpp:
        value = _ratio(mpp[1])
        claims.append((value, value))
    unit = _IMAGEJ_UNIT.search(text) if text.startswith("ImageJ") else None
    if unit and density and unit[1].lower() in UNITS_UM:
        claims += from_density(*density, UNITS_UM[unit[1].lower()])
    return claims


def _ome_size(attributes: str, axis: str) -> float | None:
    """um of ``PhysicalSizeX`` or ``PhysicalSizeY``; the unit is um where none is given."""
    size = re.search(rf"""\bPhysicalSize{axis}\s*=\s*["']([^"']*)["']""", attributes)
    if not size:
        return None
    unit = re.search(rf"""\bPhysicalSize{axis}Unit\s*=\s*["']([^"']*)["']""", attributes)
    scale = UNITS_UM.get(_unescape(unit[1]).lower()) if unit else 1.0
    return None if scale is None else _ratio(size[1]) * scale


def _unescape(unit: str) -> str:
    return unit.strip().replace("&#181;", "µ").replace("&#xB5;", "µ").replace("&#xb5;", "µ")


def _ratio(value: object) -> float:
    """A number, a numeric text or a (numerator, denominator) pair; NaN for anything else."""
    try:
        if isinstance(value, tuple) and len(value) == 2:
            return float(value[0]) / float(value[1])
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return math.nan
