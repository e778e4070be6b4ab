"""A report as PDF: a pure function of its content, the same bytes for the same content."""

from collections.abc import Sequence
from typing import Any, Final

from reportlab.platypus import Flowable, KeepTogether, Paragraph, Spacer, Table

from cellularity_core.agreement import TrendPoint
from cellularity_core.export import PURPOSE
from cellularity_core.pdf_page import (
    ALERT,
    BODY,
    CELL,
    CELL_HEAD,
    HEAD,
    RULED,
    TITLE,
    WIDTH,
    facts,
    made,
    note,
)
from cellularity_core.pdf_text import marked, prepare
from pages.parts.agreement_data import shared_scores
from pages.parts.agreement_figures import forest_rows, has_values
from pages.parts.agreement_words import (
    MEASURES,
    VERDICTS,
    comparison_rows,
    count_rows,
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
from pages.parts.report_content import Content, design_rows, origin_rows
from pages.parts.words import counted, percent

WHY: Final = "Why not"
"""Column of the reasons."""

SHORT: Final = 16
"""Rows of a table that stays on one page."""


def pdf(told: Content) -> bytes:
    """The report on A4 pages.

    The same content gives the same bytes: the moment it was made is a part of the
    content, and nothing else that changes is written.
    """
    prepare()
    return made(
        _story(told),
        title=f"Agreement: {told.material.title}",
        purpose=PURPOSE,
        foot=f"audit trail {told.head.sequence}: {told.head.hash[:16]}",
        author=told.made_by,
        creator=told.software,
    )


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
    story += [Paragraph("How the scores came about", HEAD), facts(design_rows(told))]
    story += [Paragraph("What this report rests on", HEAD), facts(origin_rows(told))]
    story += _glance(told)
    story += _titled("Readers together", group_rows(report), (36, 9, 15, 8, 22))
    story.append(note(_intervals(told)))
    story += _titled(
        "Models beside the readers' spread", comparison_rows(report), (16, 18, 18, 18, 19, 11)
    )
    if report.model_vs_readers:
        story.append(note(VERDICTS))
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
        note(
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
        note(caption),
    ]


def _movements(told: Content) -> list[Flowable]:
    study = told.material.study
    if study is None or study.arm == "before":
        return []
    story: list[Flowable] = []
    head: list[Flowable] = [Paragraph("After AI: did second scores follow the models?", HEAD)]
    if not told.movements:
        return [*head, note("No case was scored a second time after the models were shown.")]
    has_reference = bool(told.material.consensus)
    for name, found in told.movements.items():
        rows = movement_rows(found, has_reference=has_reference)
        moved = [
            Spacer(1, 6),
            Paragraph(marked(f"Moved toward: {name}"), CELL_HEAD),
            *_rows(rows, (40, 20, 20, 20)),
            note(movement_counts(found)),
        ]
        story.append(KeepTogether([*head, *moved]))
        head = []
    lacking = dict.fromkeys(lacking_control(study.arm, it) for it in told.movements.values())
    return story + [note(text) for text in lacking if text is not None]


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
            note(
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


def _titled(
    title: str, rows: Sequence[dict[str, Any]], widths: Sequence[float], nothing: str = ""
) -> list[Flowable]:
    if not rows:
        return [Paragraph(title, HEAD), note(nothing)] if nothing else []
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
    table = Table(cells, columns, repeatRows=1, style=RULED)
    return [table, *(note(f"[{place}] {reason}") for place, reason in enumerate(reasons, 1))]
