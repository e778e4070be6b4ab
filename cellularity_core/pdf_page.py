"""The look that all our PDF files share, and the way they are made.

The same content gives the same bytes: nothing of the clock or of the machine is
written.
"""

import io
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Flowable, Frame, PageTemplate, Paragraph, Table

from cellularity_core.pdf_text import BOLD, FONT, fitted, marked

MARGIN: Final = 16 * mm
FOOT: Final = 6 * mm
WIDTH: Final = A4[0] - 2 * MARGIN
HEIGHT: Final = A4[1] - 2 * MARGIN - FOOT
LINES: Final = HexColor("#CCCCCC")

TITLE: Final = ParagraphStyle("title", fontName=BOLD, fontSize=17, leading=21)
HEAD: Final = ParagraphStyle(
    "head", fontName=BOLD, fontSize=11, leading=14, spaceBefore=11, spaceAfter=4, keepWithNext=1
)
BODY: Final = ParagraphStyle("body", fontName=FONT, fontSize=8.5, leading=12, spaceAfter=4)
NOTE: Final = ParagraphStyle("note", fontName=FONT, fontSize=7, leading=9.5, spaceBefore=3)
ALERT: Final = ParagraphStyle("alert", parent=BODY, backColor=HexColor("#FFF3C4"), borderPadding=4)
CELL: Final = ParagraphStyle("cell", fontName=FONT, fontSize=6.3, leading=7.8)
CELL_HEAD: Final = ParagraphStyle("cell head", parent=CELL, fontName=BOLD)

RULED: Final = [
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LINEBELOW", (0, 0), (-1, -1), 0.3, LINES),
    ("LEFTPADDING", (0, 0), (-1, -1), 2),
    ("RIGHTPADDING", (0, 0), (-1, -1), 2),
    ("TOPPADDING", (0, 0), (-1, -1), 2),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
]
"""Style of a table: a thin line below each row."""


def made(
    story: Sequence[Flowable],
    *,
    title: str,
    purpose: str,
    foot: str = "",
    author: str = "",
    creator: str = "",
) -> bytes:
    """A PDF of A4 pages; `pdf_text.prepare` comes before the first of their paragraphs.

    Parameters
    ----------
    story : sequence of Flowable
    title, author, creator : str
        For the file's properties.
    purpose, foot : str
        At the foot of every page, left and in the middle; the page's number is right.
    """
    buffer = io.BytesIO()
    document = BaseDocTemplate(
        buffer,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN + FOOT,
        title=title,
        author=author,
        creator=creator,
        subject=purpose,
        lang="en",
        invariant=1,
    )
    frame = Frame(MARGIN, MARGIN + FOOT, WIDTH, HEIGHT, 0, 0, 0, 0, id="body")
    document.addPageTemplates(PageTemplate("page", [frame], onPage=partial(_foot, purpose, foot)))
    document.build(list(story))
    return buffer.getvalue()


def _foot(purpose: str, middle: str, canvas: Canvas, document: Any) -> None:
    canvas.saveState()
    canvas.setFont(BOLD, 7)
    canvas.drawString(MARGIN, MARGIN, purpose)
    text, font = fitted(middle)
    canvas.setFont(font, 6.5)
    canvas.drawCentredString(A4[0] / 2, MARGIN, text)
    canvas.setFont(FONT, 6.5)
    canvas.drawRightString(A4[0] - MARGIN, MARGIN, f"page {document.page}")
    canvas.restoreState()


def note(text: str) -> Paragraph:
    """Small print."""
    return Paragraph(marked(text), NOTE)


def facts(rows: Sequence[tuple[str, str]]) -> Table:
    """Names and what is said of each, a line each."""
    cells = [
        [Paragraph(marked(name), CELL_HEAD), Paragraph(marked(text), CELL)] for name, text in rows
    ]
    return Table(cells, [0.2 * WIDTH, 0.8 * WIDTH], style=RULED)
