"""Tables of the page Models: figures with their intervals, ablation, quality flags."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import streamlit as st

from cellularity_core.model_store import ModelSet
from cellularity_core.wording import listed
from pages.parts.models_data import (
    AUC,
    BENIGN,
    COLUMNS,
    COUNTED,
    COVERAGE,
    WIDTH,
    Column,
    Ingredient,
    Measured,
    MethodFigures,
    figures_of,
)
from pages.parts.words import METHOD_CODES, METHOD_HELP, METHOD_NAMES

_STYLE: Final = """
<style>
.models-table { overflow-x: auto; margin-bottom: .3rem; }
.models-table table { border-collapse: collapse; width: 100%; line-height: 1.3; }
.models-table th, .models-table td { padding: .4rem .5rem; text-align: left;
  vertical-align: top; border-bottom: 1px solid rgba(128, 120, 140, .35); }
.models-table th { font-weight: 600; font-size: .88rem; }
.models-table thead th { vertical-align: bottom; }
.models-table td { white-space: nowrap; }
.models-table .words { white-space: normal; }
.models-table [title] { text-decoration: underline dotted; text-underline-offset: .2em;
  cursor: help; }
.models-table .small { font-size: .8rem; opacity: .8; font-weight: 400; }
.models-table .mark { display: inline-block; padding: 0 .4rem; border-radius: .6rem;
  white-space: nowrap; font-size: .75rem; font-weight: 600; border: 1px solid currentColor; }
.models-table tr.group td, .models-table tr.group th { border-top: 2px solid
  rgba(128, 120, 140, .5); }
</style>
"""

NOTHING: Final = "–"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table: HTML of its heading and of its cells."""

    head: str
    cells: Sequence[str]
    begins: bool = False


def table(columns: Sequence[tuple[str, str]], rows: Iterable[Row], corner: str) -> None:
    """Draw a table that wraps on a tablet.

    Parameters
    ----------
    columns : sequence of (label, meaning)
        The meaning is shown on hover; "" for none.
    rows : iterable of Row
    corner : str
        What the headings of the rows are.
    """
    heads = "".join(
        f'<th scope="col"><span title="{escape(meaning)}">{escape(label)}</span></th>'
        if meaning
        else f'<th scope="col">{escape(label)}</th>'
        for label, meaning in columns
    )
    body = "".join(
        f'<tr class="{"group" if row.begins else ""}">'
        f'<th scope="row" class="words">{row.head}</th>'
        f"{''.join(f'<td>{cell}</td>' for cell in row.cells)}</tr>"
        for row in rows
    )
    st.html(
        f'{_STYLE}<div class="models-table"><table><thead><tr><th scope="col">{escape(corner)}'
        f"</th>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def figures_table(sets: Mapping[str, ModelSet]) -> None:
    """Figures of every method; with two sets, each method of one below that of the other.

    Parameters
    ----------
    sets : mapping of str to ModelSet
        By the label of its lines; one set: its methods alone are the lines.
    """
    found = {label: figures_of(models) for label, models in sets.items()}
    columns = _columns([row for rows in found.values() for row in rows])
    if len(found) == 1:
        [rows] = found.values()
        lines = [Row(_method(row), _cells(row, columns)) for row in rows]
        corner = "Method"
    else:
        lines = [
            Row(_of_set(label, row), _cells(row, columns), begins=label == first)
            for method in _methods(found)
            for first in [next(k for k, rows in found.items() if _has(rows, method))]
            for label, rows in found.items()
            for row in rows
            if row.method == method
        ]
        corner = "Method and model set"
    table([(column.label, column.meaning) for column in columns], lines, corner)


def meanings(sets: Iterable[ModelSet]) -> None:
    """Every method and every column in words, for who cannot hover."""
    sets = list(sets)
    columns = _columns([row for models in sets for row in figures_of(models)])
    methods = dict.fromkeys(method for models in sets for method in models.methods)
    with st.expander("What these methods and figures mean", icon=":material/help:"):
        st.markdown(
            "\n".join(
                f"- **{METHOD_NAMES[m]}** ({METHOD_CODES[m]}, `{m}`): {METHOD_HELP[m]}"
                for m in methods
            )
        )
        st.markdown("\n".join(f"- **{c.label}**: {c.meaning}" for c in columns))
        st.markdown(
            "Small figures are a 95 % interval: values that go well with what was seen on these "
            "patients. The fewer patients, the wider it is. “–” was not measured."
        )


def _methods(found: Mapping[str, Sequence[MethodFigures]]) -> list[str]:
    known = [row.method for rows in found.values() for row in rows]
    return list(dict.fromkeys(known))


def _has(rows: Sequence[MethodFigures], method: str) -> bool:
    return any(row.method == method for row in rows)


def _columns(rows: Sequence[MethodFigures]) -> list[Column]:
    """Columns with anything in them, for coverage and width; the others always."""
    told = [c for c in (COVERAGE, WIDTH) if any(_tells(row, c) for row in rows)]
    return [*COLUMNS, COUNTED, BENIGN, AUC, *told]


def _tells(row: MethodFigures, column: Column) -> bool:
    return column.key in row.measured or (column is WIDTH and row.half_width is not None)


def _cells(row: MethodFigures, columns: Sequence[Column]) -> list[str]:
    return [_cell(row, column) for column in columns]


def _cell(row: MethodFigures, column: Column) -> str:
    if column is COUNTED:
        return NOTHING if row.n is None else f"{row.n} ({_or_nothing(row.patients)})"
    if column is BENIGN:
        if row.benign_mean is None:
            return NOTHING
        return f"{100 * row.benign_mean:.0f} % ({_or_nothing(row.benign_n)})"
    if column is AUC:
        return NOTHING if row.auc is None else f"{row.auc:.2f}"
    found = row.measured.get(column.key, Measured(None))
    if column is COVERAGE:
        return with_interval(found, 0, 100, " %")
    if column is WIDTH and found.value is None and row.half_width is not None:
        return f"{200 * row.half_width:.0f}{'' if row.has_one_width else ', typically'}"
    if column is WIDTH:
        return with_interval(found, 0, 100)
    return with_interval(found, column.digits)


def _or_nothing(count: int | None) -> str:
    return NOTHING if count is None else str(count)


def with_interval(found: Measured, digits: int, times: float = 1.0, unit: str = "") -> str:
    """A figure and, smaller below it, its interval."""
    if found.value is None:
        return NOTHING
    text = f"{times * found.value:.{digits}f}{unit}"
    if found.low is None or found.high is None:
        return text
    low, high = (f"{times * end:.{digits}f}" for end in (found.low, found.high))
    return f'{text}<br><span class="small">{low} to {high}</span>'


def _method(row: MethodFigures) -> str:
    name = METHOD_NAMES.get(row.method, row.method)
    code = METHOD_CODES.get(row.method, "")
    mark = (
        '<br><span class="mark" title="The score that the model card names first.">headline</span>'
        if row.is_headline
        else ""
    )
    mean = ""
    if row.parts != (row.method,):
        names = listed([METHOD_NAMES.get(part, part) for part in row.parts])
        mean = f'<br><span class="small">mean of {escape(names)}</span>'
    return (
        f'<span title="{escape(METHOD_HELP.get(row.method, ""))}">{escape(name)}</span> '
        f'<span class="small">{escape(code)}</span>{mean}{mark}'
    )


def _of_set(label: str, row: MethodFigures) -> str:
    return f'{_method(row)}<br><span class="small">{escape(label)}</span>'


def ablation_table(rows: Sequence[Ingredient], radius_um: float) -> None:
    """What each ingredient gave.

    Parameters
    ----------
    rows : sequence of Ingredient
    radius_um : float
        Within which a nucleus counts as found.
    """
    icc, mse, *_ = COLUMNS
    found = (
        f"How well nuclei are found and told apart, mean of the classes: 1 is all of them and no "
        f"false one. A nucleus counts as found within {radius_um:g} µm."
    )
    columns = {
        (icc.label, icc.meaning): [with_interval(row.icc, 3) for row in rows],
        (mse.label, mse.meaning): [with_interval(row.mse, 4) for row in rows],
        ("Nuclei F1", found): [with_interval(row.f1, 3) for row in rows],
        ("Time (ms)", "Time a patch takes, in thousandths of a second."): [
            with_interval(row.ms, 0) for row in rows
        ],
    }
    told = {head: cells for head, cells in columns.items() if set(cells) != {NOTHING}}
    lines = zip(rows, zip(*told.values(), strict=True), strict=True)
    said = remarks(rows)
    names = {r: f" ({k})" for k, r in enumerate(said, 1)} | {"": ""}
    table(
        list(told),
        [Row(escape(row.name + names[row.remark]), cells) for row, cells in lines],
        "Ingredient",
    )


def remarks(rows: Sequence[Ingredient]) -> list[str]:
    """What stands against figures of ingredients, each once, in the order of their numbers."""
    return list(dict.fromkeys(row.remark for row in rows if row.remark))
