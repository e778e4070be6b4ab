"""A report as PDF: a pure function of its content, the same bytes for the same content."""

import io
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    KeepTogether,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
)

from cellularity_core.agreement import TrendPoint
from pages.parts.agreement_data import shared_scores
from pages.parts.agreement_figures import forest_rows, has_values
from pages.parts.agreement_words import (
    MEASURES,
    VERDICTS,
    comparison_rows,
    count_rows,
    counted,
    group_rows,
    headline,
    lacking_control,
    movement_counts,
    movement_rows,
    pair_rows,
    repeat_rows,
)
from pages.parts.agreement_words import told as said
from pages.parts.report_charts import forest_drawing, pair_drawing, trend_drawing
from pages.parts.report_content import PURPOSE, Content, design_rows, origin_rows
from pages.parts.report_text import BOLD, FONT, marked, prepare
from pages.parts.words import percent

MARGIN: Final = 16 * mm
WIDTH: Final = A4[0] - 2 * MARGIN
LINES: Final = HexColor("#CCCCCC")
WHY: Final = "Why not"
"""Column of the reasons."""

SHORT: Final = 16
"""Rows of a table that stays on one page."""

TITLE: Final = ParagraphStyle("title", fontName=BOLD, fontSize=17, leading=21)
HEAD: Final = ParagraphStyle(
    "head", fontName=BOLD, fontSize=11, leading=14, spaceBefore=11, spaceAfter=4, keepWithNext=1
)
BODY: Final = ParagraphStyle("body", fontName=FONT, fontSize=8.5, leading=12, spaceAfter=4)
NOTE: Final = ParagraphStyle("note", fontName=FONT, fontSize=7, leading=9.5, spaceBefore=3)
ALERT: Final = ParagraphStyle("alert", parent=BODY, backColor=HexColor("#FFF3C4"), borderPadding=4)
CELL: Final = ParagraphStyle("cell", fontName=FONT, fontSize=6.3, leading=7.8)
CELL_HEAD: Final = ParagraphStyle("cell head", parent=CELL, fontName=BOLD)


def pdf(told: Content) -> bytes:
    """The report on A4 pages.

    The same content gives the same bytes: the moment it was made is a part of the
    content, and nothing else that changes is written.
    """
    prepare()
    buffer = io.BytesIO()
    document = BaseDocTemplate(
        buffer,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN + 6 * mm,
        title=f"Agreement: {told.material.title}",
        author=told.made_by,
        creator=told.software,
        subject=PURPOSE,
        lang="en",
        invariant=1,
    )
    frame = Frame(
        MARGIN, MARGIN + 6 * mm, WIDTH, A4[1] - 2 * MARGIN - 6 * mm, 0, 0, 0, 0, id="body"
    )
    document.addPageTemplates(PageTemplate("page", [frame], onPage=partial(_foot, told)))
    document.build(_story(told))
    return buffer.getvalue()


def _foot(told: Content, canvas: Canvas, document: Any) -> None:
    canvas.saveState()
    canvas.setFont(BOLD, 7)
    canvas.drawString(MARGIN, MARGIN, PURPOSE)
    canvas.setFont(FONT, 6.5)
    trail = f"audit trail {told.head.sequence}: {told.head.hash[:16]}"
    canvas.drawCentredString(A4[0] / 2, MARGIN, trail)
    canvas.drawRightString(A4[0] - MARGIN, MARGIN, f"page {document.page}")
    canvas.restoreState()


def _story(told: Content) -> list[Flowable]:
    material, report = told.material, told.report
    story: list[Flowable] = [
        Paragraph(marked(f"Agreement: {material.title}"), TITLE),
        Spacer(1, 6),
    ]
    if material.study is not None and not material.is_final:
        story += [
            Paragraph("The study is still open: all numbers are interim and will change.", ALERT),
            Spacer(1, 6),
        ]
    story.append(Paragraph(marked(headline(report)), BODY))
    story += [Paragraph("How the scores came about", HEAD), _facts(design_rows(told))]
    story += [Paragraph("What this report rests on", HEAD), _facts(origin_rows(told))]
    story += _glance(told)
    story += _titled("Readers together", group_rows(report), (36, 9, 15, 8, 22))
    story.append(_note(_intervals(told)))
    story += _titled(
        "Models beside the readers' spread", comparison_rows(report), (16, 18, 18, 18, 19, 11)
    )
    if report.model_vs_readers:
        story.append(_note(VERDICTS))
    story += _titled("What was read", count_rows(report.counts), (28, 12, 12, 18, 15, 15))
    story += _titled(
        "Each reader again: repeatability (percentage points)",
        repeat_rows(report.repeatability),
        (14, 8, 18, 20, 18, 16),
        "No case was read twice by the same reader, so repeatability cannot be told.",
    )
    story += _movements(told)
    story += _titled(
        "Two by two",
        pair_rows(report.pairs),
        (11, 11, 6.2, 9.6, 9.6, 9.6, 10.2, 9.6, 9.6, 12.5, 10, 11),
        "There is nothing to compare yet.",
    )
    story.append(
        _note(
            "b is the reference: bias is the mean of a less b and limits of agreement are 1.96 "
            "standard deviations either way, in percentage points; PK takes b as truth."
        )
    )
    story += _batches(told)
    story += _pair_charts(told)
    story += _consensus(told)
    return story


def _glance(told: Content) -> list[Flowable]:
    rows = forest_rows(told.report, told.mean)
    if not has_values(rows):
        return []
    caption = (
        "Circles: two readers with each other. Square: their mean. Diamonds: a model with the "
        "readers, on average. Lines are 95 % intervals; the band is where pairs of readers lie."
    )
    return [
        Paragraph("At a glance", HEAD),
        forest_drawing(rows, WIDTH),
        _note(caption),
    ]


def _movements(told: Content) -> list[Flowable]:
    study = told.material.study
    if study is None or study.arm == "before":
        return []
    story: list[Flowable] = []
    head: list[Flowable] = [Paragraph("After AI: did second scores follow the models?", HEAD)]
    if not told.movements:
        return [*head, _note("No case was scored a second time after the models were shown.")]
    has_reference = bool(told.material.consensus)
    for name, found in told.movements.items():
        rows = movement_rows(found, has_reference=has_reference)
        moved = [
            Spacer(1, 6),
            Paragraph(marked(f"Moved toward: {name}"), CELL_HEAD),
            *_rows(rows, (40, 20, 20, 20)),
            _note(movement_counts(found)),
        ]
        story.append(KeepTogether([*head, *moved]))
        head = []
    lacking = dict.fromkeys(lacking_control(study.arm, it) for it in told.movements.values())
    return story + [_note(text) for text in lacking if text is not None]


def _batches(told: Content) -> list[Flowable]:
    def icc(point: TrendPoint) -> Any:
        return point.icc_a1

    def kappa(point: TrendPoint) -> Any:
        return point.kappa4_quadratic

    story: list[Flowable] = []
    for pick, name in ((icc, "icc_a1"), (kappa, "kappa4_quadratic")):
        if any(pick(point).value is not None for point in told.batches):
            story.append(
                KeepTogether(
                    [
                        Paragraph(f"Over time: {MEASURES[name]} by batch of cases", HEAD),
                        trend_drawing(told.batches, pick, WIDTH),
                    ]
                )
            )
    if story:
        story.append(
            _note(
                "Mean agreement of each rater with the other readers, in batches of cases in the "
                "order the rater read them; 95 % intervals."
            )
        )
    return story


def _pair_charts(told: Content) -> list[Flowable]:
    table = told.material.table
    story: list[Flowable] = []
    for pair in told.report.pairs:
        if "reader" not in pair.kinds:
            continue
        names = (pair.a, pair.b)
        _, first, second = shared_scores(table, *names)
        if not len(first):
            continue
        line = (
            f"{pair.a} beside {pair.b}: {counted(pair.n, 'case')}, ICC(A,1) {said(pair.icc_a1)}, "
            f"quadratic kappa {said(pair.kappa4_quadratic)}"
        )
        drawing = pair_drawing(WIDTH, first, second, names, pair.bland_altman)
        story.append(KeepTogether([Spacer(1, 4), Paragraph(marked(line), CELL_HEAD), drawing]))
    if story:
        story.insert(0, Paragraph("Pictures of pairs", HEAD))
    return story


def _consensus(told: Content) -> list[Flowable]:
    rows = [
        {
            "Case": found.case,
            "Consensus": percent(found.cellularity),
            "Reason": found.reason,
            "By": found.by,
            "When (UTC)": f"{found.created_at:%Y-%m-%d %H:%M}",
        }
        for found in told.material.consensus
    ]
    return _titled("Consensus", rows, (12, 10, 48, 15, 15)) if rows else []


def _intervals(told: Content) -> str:
    report = told.report
    how = (
        "closed forms and the jackknife, as every patient has one case"
        if report.intervals == "closed"
        else f"bootstrap by patient, {report.draws} draws, seed {report.seed}"
    )
    return (
        f"Intervals of {100 * report.confidence:.0f} %: {how}. ICC(A,1) and ICC(A,k) by the "
        "generalised interval, or its outer limits with the bootstrap's (docs/agreement.md)."
    )


def _note(text: str) -> Paragraph:
    return Paragraph(marked(text), NOTE)


def _facts(rows: Sequence[tuple[str, str]]) -> Table:
    cells = [
        [Paragraph(marked(name), CELL_HEAD), Paragraph(marked(text), CELL)] for name, text in rows
    ]
    return Table(cells, [0.2 * WIDTH, 0.8 * WIDTH], style=_STYLE)


def _titled(
    title: str, rows: Sequence[dict[str, Any]], widths: Sequence[float], nothing: str = ""
) -> list[Flowable]:
    if not rows:
        return [Paragraph(title, HEAD), _note(nothing)] if nothing else []
    story = [Paragraph(title, HEAD), *_rows(rows, widths)]
    return [KeepTogether(story)] if len(rows) <= SHORT else story


def _rows(rows: Sequence[dict[str, Any]], widths: Sequence[float]) -> list[Flowable]:
    """Rows as a table, `widths` in shares; reasons why something is missing stand below it."""
    names = [name for name in rows[0] if name != WHY]
    reasons = list(dict.fromkeys(row[WHY] for row in rows if row.get(WHY)))
    scale = WIDTH / sum(widths[: len(names)])
    cells = [[Paragraph(marked(name), CELL_HEAD) for name in names]]
    for row in rows:
        mark = f" [{reasons.index(row[WHY]) + 1}]" if row.get(WHY) else ""
        texts = [f"{row[names[0]]}{mark}", *(str(row[name]) for name in names[1:])]
        cells.append([Paragraph(marked(text), CELL) for text in texts])
    columns = [scale * width for width in widths[: len(names)]]
    table = Table(cells, columns, repeatRows=1, style=_STYLE)
    return [table, *(_note(f"[{place}] {reason}") for place, reason in enumerate(reasons, 1))]


_STYLE: Final = [
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LINEBELOW", (0, 0), (-1, -1), 0.3, LINES),
    ("LEFTPADDING", (0, 0), (-1, -1), 2),
    ("RIGHTPADDING", (0, 0), (-1, -1), 2),
    ("TOPPADDING", (0, 0), (-1, -1), 2),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
]
