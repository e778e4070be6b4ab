"""Names and sentences for people, for what the code calls by short names."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from cellularity_core.conventions import COMBINED, WEAK_SCALE
from cellularity_core.results import Score

METHOD_NAMES: Final = {
    "gbt": "Nuclei features",
    "cascade": "Nuclei maps",
    "direct-r": "Image to number",
    "direct-c": "Image to grade",
    "combined": "Combined",
}
"""Methods on screen."""

METHOD_CODES: Final = {
    "gbt": "GBT",
    "cascade": "SR",
    "direct-r": "R",
    "direct-c": "C",
    "combined": "mean",
}
"""Methods as the paper calls them."""

CLOSE: Final = 0.10
"""Methods this near to each other agree, as far as a reader's own repeats do."""

FAR: Final = 0.25
"""Methods further apart than one bin of 25 % disagree."""


def percent(value: float | None) -> str:
    """``0.4249`` as "42 %"; "no tissue" for None."""
    return "no tissue" if value is None else f"{100 * value:.0f} %"


def bracketed(values: Sequence[float | None], digits: int = 3) -> str:
    """A value and its limits, "0.943 [0.896, 0.969]"; a dash for what is undefined."""
    value, low, high = ("-" if v is None or math.isnan(v) else f"{v:.{digits}f}" for v in values)
    return f"{value} [{low}, {high}]"


def scale_name(scale: str) -> str:
    """Whose scale scores are on, after a word that says so."""
    return "weak TC, not a pathologist's" if scale == WEAK_SCALE else scale


def scale_note(scale: str) -> str:
    """Whose scale a score is on, beside every score."""
    if scale == WEAK_SCALE:
        return "weak TC scale, not a pathologist's"
    return f"scale: {scale}"


def spread(scores: Mapping[str, Score]) -> str:
    """How far the methods are apart, in a sentence; "" where fewer than two score."""
    values = {m: s.value for m, s in scores.items() if s.value is not None and m != COMBINED}
    if len(values) < 2:
        return ""
    low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
    points = round(100 * values[high]) - round(100 * values[low])
    apart = values[high] - values[low]
    count = {2: "two", 3: "three", 4: "four"}[len(values)]
    if points == 0:
        return f"The {count} methods give the same score."
    ends = f"{percent(values[low])} ({METHOD_NAMES[low]}) to {percent(values[high])} "
    ends += f"({METHOD_NAMES[high]})"
    unit = "point" if points == 1 else "points"
    if apart <= CLOSE:
        return f"The {count} methods agree within {points} {unit}: {ends}."
    if apart <= FAR:
        return f"The {count} methods are {points} points apart: {ends}."
    return (
        f"The {count} methods disagree by {points} points: {ends}. "
        "Look at the areas before you trust any of them."
    )


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them: "A, B and C"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
