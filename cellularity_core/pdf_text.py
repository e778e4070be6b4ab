"""Letters in a PDF: names of any alphabet, in fonts that are there on every machine."""

import re
import unicodedata
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont

FONT: Final = "DejaVuSans"
BOLD: Final = "DejaVuSans-Bold"

_OTHERS: Final = {
    "HeiseiMin-W3": "shift_jis",
    "STSong-Light": "gb2312",
    "MSung-Light": "big5",
    "HYSMyeongJo-Medium": "euc_kr",
}
"""Fonts that every viewer has at hand, and the letters that are in each."""


@cache
def font_file(name: str = FONT) -> Path:
    """Where a font lies that comes with matplotlib."""
    found = find_spec("matplotlib")
    if found is None or found.origin is None:  # pragma: no cover - a required package
        raise ImportError("matplotlib, whose fonts are used, is not installed.")
    return Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / f"{name}.ttf"


@cache
def prepare() -> frozenset[int]:
    """Register the fonts; the letters that the first one has.

    DejaVu comes with matplotlib and is embedded; it has Latin with every accent,
    Greek, Cyrillic, Hebrew, Arabic and many signs. Letters it lacks are drawn by a
    font of the viewer's own.
    """
    for name in (FONT, BOLD):
        pdfmetrics.registerFont(TTFont(name, str(font_file(name))))
    pdfmetrics.registerFontFamily(FONT, FONT, BOLD, FONT, BOLD)
    for name in _OTHERS:
        pdfmetrics.registerFont(UnicodeCIDFont(name))
    return frozenset(pdfmetrics.getFont(FONT).face.charToGlyph) & frozenset(
        pdfmetrics.getFont(BOLD).face.charToGlyph
    )


def fitted(text: str, font: str = FONT) -> tuple[str, str]:
    """`text` and the font to draw it in; a letter that no font has is told by its number."""
    known = prepare()
    text = unicodedata.normalize("NFC", text)
    if all(ord(letter) in known for letter in text):
        return text, font
    for name, coding in _OTHERS.items():
        if _fits(text, coding):
            return text, name
    return "".join(_shown(letter) for letter in text), font


def _fits(text: str, coding: str) -> bool:
    try:
        text.encode(coding)
    except UnicodeEncodeError:
        return False
    return text.isprintable()


def _shown(letter: str) -> str:
    """The letter, else without its accents, else ``<U+1F52C>``: no two names look the same."""
    base = unicodedata.normalize("NFKD", letter)[0]
    if ord(letter) in prepare():
        return letter
    return base if ord(base) in prepare() else f"<U+{ord(letter):04X}>"


def marked(text: str) -> str:
    """`text` as ReportLab's paragraphs take it, each word in a font that has its letters."""
    parts = []
    for part in re.split(r"(\s+)", unicodedata.normalize("NFC", text)):
        shown, font = fitted(part)
        clean = escape(shown)
        parts.append(clean if font == FONT else f'<font name="{font}">{clean}</font>')
    return "".join(parts)
