"""Class areas as pictures: drawn over the patch, or as channels beside it."""

import io
import uuid
from collections.abc import Collection
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cellularity_core.conventions import CLASSES
from cellularity_core.export.records import SOFTWARE, number, provenance_text
from cellularity_core.messages import printable
from cellularity_core.results import PatchResult

COLOURS: Final = {
    "normal": "#009E73",
    "lymphocyte": "#0072B2",
    "malignant": "#D55E00",
}
"""Class colours that the colour-blind tell apart: bluish green, blue, vermillion.

Okabe & Ito, "Color Universal Design", 2008.
"""


AREA_THRESHOLD: Final = 0.5
"""Activation above which a pixel belongs to a class's area."""


def overlay(
    pixels: npt.NDArray[np.uint8],
    maps: npt.NDArray[np.floating[Any]],
    threshold: float = AREA_THRESHOLD,
    classes: Collection[str] = CLASSES,
    opacity: float = 0.5,
) -> npt.NDArray[np.uint8]:
    """Class masks drawn over a patch in `COLOURS`.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        The patch, RGB.
    maps : ndarray of float, shape (3 or more, H, W)
        Activations in the order of `CHANNELS`, 0 to 1.
    threshold : float
        A pixel is marked where a chosen class exceeds this; the strongest of
        the chosen classes gives the colour.
    classes : collection of str
        Which of `CLASSES` to draw.
    opacity : float
        0 leaves the patch as it is, 1 hides it under the masks.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        A new picture.

    Raises
    ------
    ValueError
        If the shapes do not fit, the opacity is outside [0, 1] or a class is
        unknown.
    """
    if pixels.shape[2:] != (3,) or len(maps) < len(CLASSES) or maps.shape[1:] != pixels.shape[:2]:
        raise ValueError(
            f"Got a patch of shape {pixels.shape} and maps of shape {maps.shape}; expected "
            "(H, W, 3) and (4, H, W) of one height and width."
        )
    unknown = set(classes) - set(CLASSES)
    if unknown or not 0.0 <= opacity <= 1.0:
        raise ValueError(
            f"Got opacity {opacity} and classes {', '.join(map(str, classes))}; expected "
            f"0 to 1 and names among {', '.join(CLASSES)}."
        )
    drawn = pixels.copy()
    winner = strongest(maps, threshold, classes)
    marked = winner >= 0
    palette = np.array([rgb(COLOURS[name]) for name in CLASSES], np.float32)
    blend = (1.0 - opacity) * pixels[marked] + opacity * palette[winner[marked]]
    drawn[marked] = np.rint(blend).astype(np.uint8)
    return drawn


def strongest(
    maps: npt.NDArray[np.floating[Any]],
    threshold: float = AREA_THRESHOLD,
    classes: Collection[str] = CLASSES,
) -> npt.NDArray[np.int8]:
    """The class that each pixel is marked as: the one definition of a class area.

    Parameters
    ----------
    maps : ndarray of float, shape (3 or more, H, W)
        Activations in the order of `CHANNELS`, 0 to 1.
    threshold : float
        What the strongest class has to exceed.
    classes : collection of str
        Those that compete.

    Returns
    -------
    ndarray of int8, shape (H, W)
        Index into `CLASSES`, -1 where there is none.
    """
    chosen = [k for k, name in enumerate(CLASSES) if name in classes]
    if not chosen:
        return np.full(maps.shape[1:], -1, np.int8)
    best = np.array(chosen, np.int8)[np.argmax(maps[chosen], axis=0)]
    return np.where(np.max(maps[chosen], axis=0) > threshold, best, np.int8(-1))


def nuclei_maps(result: PatchResult) -> npt.NDArray[np.float16] | None:
    """Maps that the nuclei were found on, else another method's; None without any."""
    maps = result.activations
    return maps["gbt"] if "gbt" in maps else next(iter(maps.values()), None)


def png(pixels: npt.NDArray[np.uint8], description: str | None = None) -> bytes:
    """PNG of RGB pixels, shape (H, W, 3); no metadata but `description`, if given."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    words = PngInfo()
    if description:
        words.add_itxt("Description", description)
    buffer = io.BytesIO()
    # of photographs as small as at Pillow's own level, in a third of the time
    Image.fromarray(pixels).save(buffer, format="PNG", pnginfo=words, compress_level=3)
    return buffer.getvalue()


def ome_tiff(pixels: npt.NDArray[np.uint8], result: PatchResult) -> bytes:
    """The patch and its class maps as channels of one OME-TIFF.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        The patch, RGB.
    result : PatchResult
        With its maps.

    Returns
    -------
    bytes
        Channels Red, Green, Blue, then the classes (255 is an activation of 1),
        those of a method with maps of its own under its name. The pixel size is in
        um, the provenance in the description; nothing of the file the patch came
        from is in it but the name that was given.

    References
    ----------
    OME-TIFF 6.0, OME schema 2016-06.
    """
    import tifffile

    channels = {
        name: (plane, _ome_colour(colour))
        for name, plane, colour in zip(
            ("Red", "Green", "Blue"),
            np.moveaxis(pixels, 2, 0),
            ("#FF0000", "#00FF00", "#0000FF"),
            strict=True,
        )
    }
    shown = nuclei_maps(result)
    for method, maps in result.activations.items():
        if shown is not None and maps is not shown and np.array_equal(maps, shown):
            continue
        levels = np.rint(255.0 * maps[: len(CLASSES)].astype(np.float32)).astype(np.uint8)
        for name, plane in zip(CLASSES, levels, strict=True):
            title = name if maps is shown else f"{name} ({method})"
            channels[title] = (plane, _ome_colour(COLOURS[name]))
    metadata = {
        "axes": "CYX",
        "Name": printable(result.image),
        "Description": provenance_text(result),
        "UUID": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{result.sha256} {result.model_sha256}")),
        "PhysicalSizeX": number(result.mpp),
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": number(result.mpp),
        "PhysicalSizeYUnit": "µm",
        "Channel": {
            "Name": list(channels),
            "Color": [colour for _, colour in channels.values()],
        },
    }
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        np.stack([plane for plane, _ in channels.values()]),
        ome=True,
        photometric="minisblack",
        compression="zlib",
        predictor=True,
        software=SOFTWARE,
        resolution=(1e4 / result.mpp, 1e4 / result.mpp),
        resolutionunit="CENTIMETER",
        metadata=metadata,
    )
    return buffer.getvalue()


def _ome_colour(colour: str) -> int:
    """``"#RRGGBB"`` as OME has it: RGBA in a signed 32 bit integer."""
    return int.from_bytes(bytes((*rgb(colour), 255)), "big", signed=True)


def rgb(colour: str) -> tuple[int, int, int]:
    """``"#D55E00"`` as ``(213, 94, 0)``."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
