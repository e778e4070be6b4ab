"""What was done to a picture on its way from the file, in codes and in sentences.

A code is what files for programs hold; its sentence is what a reader sees.
"""

import re
from collections.abc import Iterable
from typing import Final

IMPLAUSIBLE: Final = "pixel-size-implausible"
SYNTHETIC: Final = "synthetic"

NOTES: Final = {
    "single-channel": "The file holds one channel (grey), shown as red = green = blue.",
    "pyramid": "The file holds several resolutions; the largest was read.",
    "alpha-flattened": "Transparent parts are shown on white.",
    "icc-converted": "Colours were converted to sRGB with the file's own profile.",
    "icc-ignored": "The file's colour profile is broken or unfit and was left out.",
    "cmyk-converted": "Inks (CMYK) were converted to sRGB without a profile.",
    "scaled-to-8-bit": "Samples of more than 8 bits were scaled to 8.",
    "turned": "The picture was turned or mirrored as the file's orientation says; places in it "
    "are those of the upright picture.",
    IMPLAUSIBLE: "The pixel size in the file cannot be that of a patch.",
    SYNTHETIC: "A program drew this picture; it is no tissue.",
}
"""Every code but that of a page, with its sentence."""

_PAGE: Final = re.compile(r"page-(\d+)-of-(\d+)")


def page(number: int, count: int) -> str:
    """Code of the one page that was read, counted from 1, of a file that holds `count`."""
    return f"page-{number}-of-{count}"


def sentence(code: str) -> str:
    """What a code says.

    Raises
    ------
    KeyError
        If there is no such code.
    """
    read = _PAGE.fullmatch(code)
    if read:
        return f"The file holds {read[2]} pages; page {read[1]} was read and no other."
    return NOTES[code]


def sentences(codes: Iterable[str], but: Iterable[str] = ()) -> str:
    """Sentences of codes in one run of text, without those of `but`; "" where there are none."""
    return " ".join(sentence(code) for code in codes if code not in but)
