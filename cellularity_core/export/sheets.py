"""A page for each patch, as PDF: for the file of a case, or to lay beside the microscope."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_CENTER, TA_RIGHT
from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import Flowable, KeepInFrame, PageBreak, Paragraph, Spacer, Table

from cellularity_core.boosting import explain
from cellularity_core.conventions import CLASSES, COMBINED, INTERVAL, METHODS
from cellularity_core.export.pictures import AREA_THRESHOLD, COLOURS, nuclei_maps, overlay
from cellularity_core.export.records import MOST_SHEETS, PURPOSE, SOFTWARE
from cellularity_core.export.sheet_parts import Picture, bar, jpeg
from cellularity_core.notes import sentences
from cellularity_core.pdf_page import (
    ALERT,
    BODY,
    CELL,
    CELL_HEAD,
    HEAD,
    HEIGHT,
    NOTE,
    RULED,
    TITLE,
    WIDTH,
    facts,
    made,
    note,
)
from cellularity_core.pdf_text import BOLD, FONT, marked, prepare
from cellularity_core.quality import FLAGS
from cellularity_core.results import PatchResult, Score
from cellularity_core.wording import METHOD_CODES, METHOD_NAMES, percent, scale_note, spread

Facts = Sequence[tuple[str, str]]

REASONS: Final = 6

ARITHMETIC: Final = {"f32": "single precision", "bf16": "bfloat16"}

_MISSING: Final = Score(None, None, None)

_NAME: Final = ParagraphStyle("name", parent=TITLE, fontSize=12, leading=15, spaceAfter=2)
_NEVER: Final = ParagraphStyle(
    "never", parent=ALERT, backColor=HexColor("#F9D7D3"), fontName=BOLD, fontSize=9.5, leading=13
)
_TEXT: Final = ParagraphStyle("text", parent=CELL, fontSize=8, leading=10.5)
_NUMBER: Final = ParagraphStyle("number", parent=_TEXT, alignment=TA_RIGHT)
_MAIN: Final = ParagraphStyle("main", parent=_NUMBER, fontName=BOLD, fontSize=9)
_TEXT_HEAD: Final = ParagraphStyle("text head", parent=_TEXT, fontName=BOLD)
_NUMBER_HEAD: Final = ParagraphStyle("number head", parent=_NUMBER, fontName=BOLD)
_SMALL_HEAD: Final = ParagraphStyle("small head", parent=CELL_HEAD, alignment=TA_RIGHT)
_CAPTION: Final = ParagraphStyle("caption", parent=NOTE, alignment=TA_CENTER)


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a page, or a row of the table on top, is made of.

    Attributes
    ----------
    result : PatchResult
        Without its maps.
    pictures : tuple of bytes or None
        JPEG of the patch and of the class areas over it; the second is missing
        where no method of the result draws maps. None: a row, no page.
    """

    result: PatchResult
    pictures: tuple[bytes, ...] | None


def sheet(result: PatchResult, pixels: npt.NDArray[np.uint8] | None = None) -> Sheet:
    """A page's content of a result with its maps, small enough to keep by the hundred.

    Parameters
    ----------
    result : PatchResult
    pixels : ndarray of uint8, shape (H, W, 3), optional
        The patch; without it the patch gets no page of its own.
    """
    bare = replace(result, activations={}, feature_maps={})
    if pixels is None:
        return Sheet(bare, None)
    maps = nuclei_maps(result)
    drawn = [pixels] if maps is None else [pixels, overlay(pixels, maps)]
    return Sheet(bare, tuple(jpeg(picture) for picture in drawn))


def pdf(
    sheets: Sequence[Sheet],
    errors: Sequence[tuple[str, str]] = (),
    *,
    model_set: str,
    model_sha256: str,
    scale: str,
) -> bytes:
    """One page about one patch; about several, a table of all and then a page for each.

    Parameters
    ----------
    sheets : sequence of Sheet
        The first `MOST_SHEETS` with pictures get a page.
    errors : sequence of (image, reason)
        Files that could not be scored.
    model_set, model_sha256, scale : str
        Which models scored all of them, and whose scale the scores are on.

    Returns
    -------
    bytes
        The same for the same content.
    """
    prepare()
    models = [
        ("Model set", model_set),
        ("Checksum of the models", model_sha256),
        *_computed([entry.result for entry in sheets]),
        ("Scale", scale_note(scale)),
        ("Software", SOFTWARE),
        ("Purpose", PURPOSE),
    ]
    alone = len(sheets) == 1 and not errors and sheets[0].pictures is not None
    shown = [entry for entry in sheets if entry.pictures is not None][:MOST_SHEETS]
    story: list[Flowable] = [] if alone else _overview(sheets, errors, len(shown), models)
    for entry in shown:
        story += [] if alone else [PageBreak()]
        story.append(KeepInFrame(WIDTH, HEIGHT - 1, _page(entry, models), mode="shrink"))
    return made(
        story,
        title=sheets[0].result.image if alone else f"Cellularity of {_counted(len(sheets))}",
        purpose=PURPOSE,
        foot=f"{SOFTWARE}, model set {model_set} {model_sha256[:16]}",
        creator=SOFTWARE,
    )


def _computed(results: Sequence[PatchResult]) -> list[tuple[str, str]]:
    """What the networks multiplied and how many views were averaged: the same for all."""
    ways = dict.fromkeys((result.precision, result.views) for result in results)
    told = "; ".join(
        f"{precision} ({ARITHMETIC.get(precision, precision)}), "
        + ("1 view of a patch" if views == 1 else f"mean of {views} test-time views of a patch")
        for precision, views in ways
    )
    return [("Networks", told)] if told else []


def _counted(count: int) -> str:
    return "1 patch" if count == 1 else f"{count} patches"


def _page(entry: Sheet, models: Facts) -> list[Flowable]:
    result = entry.result
    return [
        Paragraph(marked(result.image), _NAME),
        Paragraph(
            marked(f"Residual tumour cellularity of one H&E patch: {scale_note(result.scale)}."),
            BODY,
        ),
        *_warnings(result),
        _pictures(entry),
        Spacer(1, 3),
        _scores(result),
        Spacer(1, 4),
        Paragraph(marked(f"{spread(result.scores)} {_found(result)}".strip()), BODY),
        *_reasons(result),
        Paragraph("What this rests on", HEAD),
        facts([*_origin(result), *models]),
        note(
            f"Intervals: {100 * INTERVAL:.0f} % of patches like those of the calibration have "
            "their reference score inside. Reasons: SHAP values of the boosted trees."
        ),
    ]


def _warnings(result: PatchResult) -> list[Flowable]:
    texts = [FLAGS[flag].text if flag in FLAGS else flag for flag in result.quality.flags]
    if result.quality.reliable and not texts:
        return []
    if result.quality.reliable:
        style, start = ALERT, ""
    else:
        style, start = _NEVER, "Do not rely on these scores. "
    return [Spacer(1, 3), Paragraph(marked(start + " ".join(texts)), style), Spacer(1, 5)]


def _pictures(entry: Sheet) -> Table:
    result = entry.result
    legend = ", ".join(
        f'<font color="{COLOURS[name]}">&#9632;</font>&nbsp;{name}' for name in reversed(CLASSES)
    )
    size = f"{result.width * result.mpp:.0f} × {result.height * result.mpp:.0f} µm"
    captions = [
        f"The patch, {size}",
        f"Areas above {AREA_THRESHOLD:g}: {legend}",
    ]
    extent = (result.width * result.mpp, result.height * result.mpp)
    cells = [
        [Picture(data, extent) for data in entry.pictures or ()],
        [Paragraph(text, _CAPTION) for text in captions[: len(entry.pictures or ())]],
    ]
    style = [
        ("ALIGN", (0, 0), (-1, -1), "CENTER"),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        *((edge, (0, 0), (-1, -1), 0) for edge in ("LEFTPADDING", "RIGHTPADDING")),
        *((edge, (0, 0), (-1, -1), 1) for edge in ("TOPPADDING", "BOTTOMPADDING")),
    ]
    return Table(cells, [0.5 * WIDTH] * len(cells[0]), style=style)


def _ordered(scores: Iterable[str]) -> list[str]:
    """Methods with the mean first: the score to read first."""
    return sorted(scores, key=lambda method: (method != COMBINED, METHODS.index(method)))


def _scores(result: PatchResult) -> Table:
    heads = ("Method", "Score", f"{100 * INTERVAL:.0f} % interval", "0 to 100 %")
    styles = (_TEXT_HEAD, _NUMBER_HEAD, _NUMBER_HEAD, _TEXT_HEAD)
    cells: list[list[Any]] = [
        [Paragraph(text, style) for text, style in zip(heads, styles, strict=True)]
    ]
    for method in _ordered(result.scores):
        score = result.scores[method]
        name = f"{METHOD_NAMES[method]} ({METHOD_CODES[method]})"
        cells.append(
            [
                Paragraph(marked(name), _TEXT),
                Paragraph(percent(score.value), _MAIN),
                Paragraph(_limits(score), _NUMBER),
                bar(score, 0.38 * WIDTH - 16),
            ]
        )
    style = [*RULED, ("VALIGN", (0, 0), (-1, -1), "MIDDLE"), ("LEFTPADDING", (3, 0), (3, -1), 14)]
    return Table(cells, [WIDTH * share for share in (0.3, 0.14, 0.18, 0.38)], style=style)


def _limits(score: Score) -> str:
    if score.low is None or score.high is None:
        return "-"
    return f"{100 * score.low:.0f} to {percent(score.high)}"


def _found(result: PatchResult) -> str:
    counts = result.nuclei.counts()
    classes = ", ".join(f"{counts[name]} {name}" for name in reversed(CLASSES))
    return f"Nuclei found: {len(result.nuclei)} ({classes})."


def _reasons(result: PatchResult) -> list[Flowable]:
    score = result.scores.get("gbt")
    if score is None or score.value is None:
        return []
    name = METHOD_NAMES["gbt"]
    reasons = explain(result.features, result.contributions, top=REASONS)
    raw = percent(result.base_value + float(result.contributions.sum()))
    scaled = "" if raw == percent(score.value) else f" ({percent(score.value)} as scored above)"
    lines = [
        f"From {percent(result.base_value)}, an average patch, to {raw}{scaled}:",
        *(f"– {reason.text}" for reason in reasons),
    ]
    return [
        Paragraph(marked(f"Main reasons of “{name}”"), HEAD),
        *(Paragraph(marked(line), _TEXT) for line in lines),
    ]


def _origin(result: PatchResult) -> list[tuple[str, str]]:
    read = sentences(result.notes)
    return [
        ("Patch", f"{result.width} × {result.height} pixels of {result.mpp:g} µm"),
        *([("How it was read", read)] if read else []),
        ("Checksum of its pixels", result.sha256),
    ]


def _overview(
    sheets: Sequence[Sheet], errors: Sequence[tuple[str, str]], n_pages: int, models: Facts
) -> list[Flowable]:
    """What is the same for all, the table, and what has no page or no score."""
    results = [entry.result for entry in sheets]
    story: list[Flowable] = [
        Paragraph(f"Cellularity of {_counted(len(results))}", TITLE),
        Spacer(1, 3),
        Paragraph("Residual tumour cellularity of H&amp;E patches, each on its own.", BODY),
    ]
    unreliable = sum(not result.quality.reliable for result in results)
    if unreliable:
        text = f"Do not rely on {unreliable} of {_counted(len(results))}: marked NO below."
        story += [Spacer(1, 3), Paragraph(text, _NEVER), Spacer(1, 5)]
    story += [facts(models), Spacer(1, 8)]
    if results:
        story += [_table(results), note(_legend(results, n_pages))]
    if errors:
        story.append(Paragraph(f"Not scored: {len(errors)}", HEAD))
        story += [note(f"{image}: {reason}") for image, reason in errors]
    return story


def _legend(results: Sequence[PatchResult], n_pages: int) -> str:
    methods = _ordered({method for result in results for method in result.scores})
    names = "; ".join(f"{METHOD_CODES[m]}: {METHOD_NAMES[m]}" for m in methods)
    left = len(results) - n_pages
    pages = (
        "Each patch has a page below."
        if not left
        else f"The first {n_pages} patches have a page each below; {left} more are in this table "
        "only."
    )
    return (
        f"Scores in per cent ({names}), with the {100 * INTERVAL:.0f} % interval of the first of "
        f"them; nuclei found by class. {pages}"
    )


def _table(results: Sequence[PatchResult]) -> Table:
    methods = _ordered({method for result in results for method in result.scores})
    heads = [
        "Patch",
        "µm/px",
        METHOD_CODES[methods[0]],
        "interval",
        *(METHOD_CODES[m] for m in methods[1:]),
        *(name.capitalize() for name in reversed(CLASSES)),
        "Flags",
        "Reliable",
    ]
    widths = [32.0, 8, 7, 12, *(6.0 for _ in methods[1:]), 13, 14.5, 9.5, 17, 10]
    words = (0, len(heads) - 2)
    cells: list[list[Any]] = [
        [Paragraph(head, CELL_HEAD if k in words else _SMALL_HEAD) for k, head in enumerate(heads)]
    ]
    for result in results:
        counts = result.nuclei.counts()
        scores = [result.scores.get(method, _MISSING) for method in methods]
        cells.append(
            [
                Paragraph(marked(result.image), CELL),
                f"{result.mpp:g}",
                _points(scores[0]),
                _limits(scores[0]).removesuffix(" %"),
                *(_points(score) for score in scores[1:]),
                *(counts[name] for name in reversed(CLASSES)),
                Paragraph(marked(", ".join(result.quality.flags).replace("-", " ")), CELL),
                "yes" if result.quality.reliable else "NO",
            ]
        )
    style = [
        *RULED,
        ("FONT", (1, 1), (-1, -1), FONT, CELL.fontSize, CELL.leading),
        ("ALIGN", (1, 1), (-1, -1), "RIGHT"),
        *(
            ("BACKGROUND", (0, k), (-1, k), _NEVER.backColor)
            for k, result in enumerate(results, 1)
            if not result.quality.reliable
        ),
    ]
    columns = [WIDTH * width / sum(widths) for width in widths]
    return Table(cells, columns, repeatRows=1, style=style)


def _points(score: Score) -> str:
    return "-" if score.value is None else f"{100 * score.value:.0f}"
