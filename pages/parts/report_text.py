"""Letters in a PDF: names of any alphabet, in fonts that come with ReportLab or with viewers."""

import re
import unicodedata
from functools import cache
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

import reportlab
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont

FONT: Final = "Vera"
BOLD: Final = "VeraBd"

_OTHERS: Final = {
    "HeiseiMin-W3": "shift_jis",  # Greek, Cyrillic and Japanese
    "STSong-Light": "gb2312",
    "MSung-Light": "big5",
    "HYSMyeongJo-Medium": "euc_kr",
}
"""Fonts that every viewer has at hand, and the letters that are in each."""


@cache
def prepare() -> frozenset[int]:
    """Register the fonts; the letters that the first one has.

    Vera is embedded. Letters it lacks are drawn by a font of the viewer's own.
    """
    folder = Path(reportlab.__file__).with_name("fonts")
    for name in (FONT, BOLD):
        pdfmetrics.registerFont(TTFont(name, str(folder / f"{name}.ttf")))
    pdfmetrics.registerFontFamily(FONT, FONT, BOLD, FONT, BOLD)
    for name in _OTHERS:
        pdfmetrics.registerFont(UnicodeCIDFont(name))
    return frozenset(pdfmetrics.getFont(FONT).face.charToGlyph)


def fitted(text: str, font: str = FONT) -> tuple[str, str]:
    """`text` and the font to draw it in; letters that no font has lose their accents."""
    known = prepare()
    text = unicodedata.normalize("NFC", text)
    if all(ord(letter) in known for letter in text):
        return text, font
    for name, coding in _OTHERS.items():
        if _fits(text, coding):
            return text, name
    plain = (_base(letter) if ord(letter) not in known else letter for letter in text)
    return "".join(plain), font


def _fits(text: str, coding: str) -> bool:
    try:
        text.encode(coding)
    except UnicodeEncodeError:
        return False
    return True


def _base(letter: str) -> str:
    base = unicodedata.normalize("NFKD", letter)[0]
    return base if ord(base) in prepare() else "?"


def marked(text: str) -> str:
    """`text` as ReportLab's paragraphs take it, each word in a font that has its letters."""
    parts = []
    for part in re.split(r"(\s+)", unicodedata.normalize("NFC", text)):
        shown, font = fitted(part)
        clean = escape(shown)
        parts.append(clean if font == FONT else f'<font name="{font}">{clean}</font>')
    return "".join(parts)
