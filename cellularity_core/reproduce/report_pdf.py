"""A report as PDF on A4: the same bytes for the same content."""

import io
from typing import Final

from reportlab.lib.units import mm
from reportlab.platypus import Flowable, Image, KeepTogether, Paragraph, Spacer
from reportlab.platypus import Table as PageTable

from cellularity_core.pdf_page import (
    ALERT,
    BODY,
    CELL,
    CELL_HEAD,
    HEAD,
    NOTE,
    RULED,
    TITLE,
    WIDTH,
    made,
)
from cellularity_core.pdf_text import marked, prepare
from cellularity_core.reproduce.document import Document, Picture, Table, Text

TALLEST: Final = 205 * mm
"""Of a picture, so that its title and caption stay on its page."""

SHORT: Final = 14
"""Rows of a table that stays on one page."""


def pdf(document: Document) -> bytes:
    """The report on A4 pages."""
    prepare()
    story: list[Flowable] = [Paragraph(marked(document.title), TITLE)]
    if document.warning:
        story += [Paragraph(marked(document.warning), ALERT), Spacer(1, 6)]
    story += [Paragraph(marked(text), BODY) for text in document.lead]
    for part in document.parts:
        story += _part(part)
    return made(story, title=document.title, purpose=document.foot)


def _part(part: Text | Table | Picture) -> list[Flowable]:
    head = Paragraph(marked(part.title), HEAD)
    if isinstance(part, Text):
        return [head, *(Paragraph(marked(text), BODY) for text in part.paragraphs)]
    if isinstance(part, Picture):
        width, height = part.size
        scale = min(WIDTH / width, TALLEST / height)
        image = Image(io.BytesIO(part.png), width * scale, height * scale)
        image.hAlign = "LEFT"
        return [KeepTogether([head, image, Paragraph(marked(part.caption), NOTE)])]
    shares = part.widths or (1.0,) * len(part.columns)
    cells = [[Paragraph(marked(name), CELL_HEAD) for name in part.columns]]
    cells += [[Paragraph(marked(text), CELL) for text in row] for row in part.rows]
    table = PageTable(
        cells, [WIDTH * share / sum(shares) for share in shares], repeatRows=1, style=RULED
    )
    note = [Paragraph(marked(part.note), NOTE)] if part.note else []
    story: list[Flowable] = [head, table, *note]
    return [KeepTogether(story)] if len(part.rows) <= SHORT else story
