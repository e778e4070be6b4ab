"""A report as PDF on A4: the same bytes for the same content."""

import io
from functools import cache, partial
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

import reportlab
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    Image,
    KeepTogether,
    PageTemplate,
    Paragraph,
    Spacer,
)
from reportlab.platypus import Table as PageTable

from cellularity_core.reproduce.document import Document, Picture, Table, Text

MARGIN: Final = 16 * mm
WIDTH: Final = A4[0] - 2 * MARGIN
TALLEST: Final = 205 * mm
"""Of a picture, so that its title and caption stay on its page."""

SHORT: Final = 14
"""Rows of a table that stays on one page."""

FONT: Final = "Vera"
BOLD: Final = "VeraBd"
TITLE: Final = ParagraphStyle("title", fontName=BOLD, fontSize=16, leading=20, spaceAfter=6)
HEAD: Final = ParagraphStyle(
    "head", fontName=BOLD, fontSize=10.5, leading=14, spaceBefore=11, spaceAfter=4, keepWithNext=1
)
BODY: Final = ParagraphStyle("body", fontName=FONT, fontSize=8.5, leading=12, spaceAfter=4)
NOTE: Final = ParagraphStyle("note", fontName=FONT, fontSize=7, leading=9.5, spaceBefore=3)
ALERT: Final = ParagraphStyle("alert", parent=BODY, backColor=HexColor("#FFF3C4"), borderPadding=4)
CELL: Final = ParagraphStyle("cell", fontName=FONT, fontSize=6.3, leading=8, splitLongWords=1)
CELL_HEAD: Final = ParagraphStyle(
    "cell head", fontName=BOLD, fontSize=6.3, leading=8, splitLongWords=1
)

_LINES: Final = [
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LINEBELOW", (0, 0), (-1, -1), 0.3, HexColor("#CCCCCC")),
    ("LEFTPADDING", (0, 0), (-1, -1), 2),
    ("RIGHTPADDING", (0, 0), (-1, -1), 2),
    ("TOPPADDING", (0, 0), (-1, -1), 2),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
]


def pdf(document: Document) -> bytes:
    """The report on A4 pages."""
    _prepare()
    buffer = io.BytesIO()
    made = BaseDocTemplate(
        buffer,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN + 6 * mm,
        title=document.title,
        subject=document.foot,
        lang="en",
        invariant=1,
    )
    frame = Frame(
        MARGIN, MARGIN + 6 * mm, WIDTH, A4[1] - 2 * MARGIN - 6 * mm, 0, 0, 0, 0, id="body"
    )
    template = PageTemplate("page", [frame], onPage=partial(_foot, _drawable(document.foot)))
    made.addPageTemplates(template)
    story: list[Flowable] = [Paragraph(_marked(document.title), TITLE)]
    if document.warning:
        story += [Paragraph(_marked(document.warning), ALERT), Spacer(1, 6)]
    story += [Paragraph(_marked(text), BODY) for text in document.lead]
    for part in document.parts:
        story += _part(part)
    made.build(story)
    return buffer.getvalue()


def _foot(text: str, canvas: Canvas, document: Any) -> None:
    canvas.saveState()
    canvas.setFont(FONT, 6.5)
    canvas.drawString(MARGIN, MARGIN, text)
    canvas.drawRightString(A4[0] - MARGIN, MARGIN, f"page {document.page}")
    canvas.restoreState()


def _part(part: Text | Table | Picture) -> list[Flowable]:
    head = Paragraph(_marked(part.title), HEAD)
    if isinstance(part, Text):
        return [head, *(Paragraph(_marked(text), BODY) for text in part.paragraphs)]
    if isinstance(part, Picture):
        width, height = part.size
        scale = min(WIDTH / width, TALLEST / height)
        image = Image(io.BytesIO(part.png), width * scale, height * scale)
        image.hAlign = "LEFT"
        return [KeepTogether([head, image, Paragraph(_marked(part.caption), NOTE)])]
    shares = part.widths or (1.0,) * len(part.columns)
    cells = [[Paragraph(_marked(name), CELL_HEAD) for name in part.columns]]
    cells += [[Paragraph(_marked(text), CELL) for text in row] for row in part.rows]
    table = PageTable(
        cells, [WIDTH * share / sum(shares) for share in shares], repeatRows=1, style=_LINES
    )
    note = [Paragraph(_marked(part.note), NOTE)] if part.note else []
    story: list[Flowable] = [head, table, *note]
    return [KeepTogether(story)] if len(part.rows) <= SHORT else story


@cache
def _prepare() -> frozenset[int]:
    """Register the embedded fonts; the letters they have."""
    folder = Path(reportlab.__file__).with_name("fonts")
    for name in (FONT, BOLD):
        pdfmetrics.registerFont(TTFont(name, str(folder / f"{name}.ttf")))
    return frozenset(pdfmetrics.getFont(FONT).face.charToGlyph)


def _drawable(text: str) -> str:
    """`text` with a question mark for what the font lacks."""
    known = _prepare()
    return "".join(letter if ord(letter) in known else "?" for letter in text)


def _marked(text: str) -> str:
    return escape(_drawable(text))
