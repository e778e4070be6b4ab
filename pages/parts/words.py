"""Names and sentences for people, for what the code calls by short names."""

from collections.abc import Iterable, Mapping
from typing import Final

from cellularity_core.results import Score
from cellularity_core.wording import (
    CLOSE,
    FAR,
    METHOD_CODES,
    METHOD_NAMES,
    percent,
    scale_name,
    scale_note,
    spread,
)

__all__ = [
    "CLOSE",
    "FAR",
    "METHOD_CODES",
    "METHOD_HELP",
    "METHOD_NAMES",
    "beside_own",
    "counted",
    "models_scale",
    "percent",
    "scale_name",
    "scale_note",
    "spread",
]

METHOD_HELP: Final = {
    "gbt": "81 measurements of the nuclei found (areas, sums, blobs), weighed by decision trees.",
    "cascade": "A network reads the maps of nuclei, not the image, and gives one number.",
    "direct-r": "A network reads the whole image and gives one number.",
    "direct-c": "A network weighs 101 grades, 0 to 100 %, of the whole image; this is their mean.",
    "combined": "The mean of several of the other methods; the page Models tells of which.",
}


def counted(count: int, one: str, many: str | None = None) -> str:
    """ "1 case", "2 cases"."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def flags_in_words(flags: Iterable[str], reliable: bool) -> str:
    """Flags in a table's cell, and before them whether the score can be relied on."""
    text = ", ".join(flags).replace("-", " ")
    return text if reliable else f"do not rely on it: {text}"


def models_scale(model_set: str, scale: str | None) -> str:
    """Whose scale the scores of a model set in the records are on, without a full stop."""
    if scale is None:
        return f"not known: the model set “{model_set}” that gave the scores is gone"
    return scale_name(scale)


def beside_own(own: float, scores: Mapping[str, Score]) -> str:
    """Where the reader's own score lies among the methods', in a sentence; "" without any."""
    values = [round(100 * s.value) for s in scores.values() if s.value is not None]
    if not values:
        return ""
    mine = round(100 * own)
    if mine < min(values):
        return f"Your {mine} % is below all of them, by {min(values) - mine} points or more."
    if mine > max(values):
        return f"Your {mine} % is above all of them, by {mine - max(values)} points or more."
    return f"Your {mine} % is among them."
