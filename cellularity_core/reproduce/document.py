"""A report as plain content, which every format writes in the same order."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cellularity_core.agreement import Statistic


@dataclass(frozen=True, slots=True)
class Text:
    """Paragraphs under a title."""

    title: str
    paragraphs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its title above and its note below.

    Attributes
    ----------
    title : str
    columns : tuple of str
    rows : sequence of tuple of str
    note : str
    widths : tuple of float
        Shares of the page; even where empty.
    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""
    widths: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture with its caption.

    Attributes
    ----------
    title : str
    png : bytes
    caption : str
    size : tuple of int
        Width and height in pixels.
    """

    title: str
    png: bytes
    caption: str
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report.

    Attributes
    ----------
    title : str
    lead : list of str
        Paragraphs under the title.
    parts : list
    warning : str
        Printed first and set off; empty for none.
    foot : str
        Printed at the end of every page.
    """

    title: str
    lead: list[str]
    parts: list[Text | Table | Picture] = field(default_factory=list)
    warning: str = ""
    foot: str = ""


def number(value: float | None, digits: int = 3) -> str:
    """A figure as tables print it; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def with_limits(found: Statistic | None, digits: int = 3) -> str:
    """A value and its 95 % interval, ``0.931 [0.88, 0.96]``."""
    if found is None or found.value is None:
        return "–"
    value = number(found.value, digits)
    if found.low is None or found.high is None:
        return value
    return f"{value} [{number(found.low, digits)}, {number(found.high, digits)}]"


def published(figure: Sequence[float | None] | None) -> str:
    """A published value and its limits; three digits with limits, two without, as printed."""
    if not figure or figure[0] is None:
        return "–"
    value, low, high = figure
    return f"{value:.2f}" if low is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"
