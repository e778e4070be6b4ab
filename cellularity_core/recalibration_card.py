"""What a recalibration found, in words: its card, and what the command says."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from cellularity_core.calibration import Calibration, floor_of, patients_needed
from cellularity_core.conventions import DEFAULT_MPP
from cellularity_core.model_store import ModelSet
from cellularity_core.recalibration import Method, Recalibration
from cellularity_core.wording import bracketed

NEAR_FLOOR: Final = 1.1
"""Half width, in floors, at which more patches hardly help."""

ENOUGH: Final = 30
"""Patients below which the curve of half widths is mostly noise: of 30 draws each of 12 to 20
patients, most called a width out of reach that 80 patients reach."""

MANY: Final = 2000
"""Patients above which a forecast from a few dozen is no number to name."""

_KEPT: Final = ("Intended use and limits", "Licence and data")
"""Sections of a card that hold for the recalibrated set too."""

UNKNOWN: Final = (
    "The model set does not say which patches it learnt from. If some of these are among them, "
    "the models err less on them than on new ones, and the intervals are too narrow."
)

_USE: Final = "Research use only. Not a medical device, not for diagnosis or treatment decisions."


def about_sizes(made: Recalibration) -> str:
    """That pixel sizes were assumed, and what may come of it."""
    return (
        f"Of {made.assumed} of the {made.patches} patches the pixel size is stated nowhere, and "
        f"{DEFAULT_MPP:g} µm was assumed; where it is another, their scores and with them this "
        "scale are wrong."
    )


def card(made: Recalibration, name: str, wanted: float | None = None) -> str:
    """Card of the new set, as Markdown.

    Parameters
    ----------
    made : Recalibration
    name : str
        Of the new set.
    wanted : float, optional
        Half width that the user asked for.
    """
    source = made.source
    left_out = [f"{image}: {why}" for image, why in made.left_out]
    lines = [
        f"# Model set `{name}`",
        "",
        f"**The scale is that of one reader or site ({made.scale}).** A score says what this "
        "reader would give, not what another would. It is worth no more than the reader's own "
        "scores that it was mapped to.",
        "",
        f"Networks and trees are those of `{source.name}` (checksum {source.sha256[:12]}), "
        "unchanged; its card says how they were trained. Each method's score is mapped by a "
        "monotone curve, fitted to the reader's scores and drawn towards the identity where they "
        f"are few. It rests on {made.patches} patches of {made.patients} patients, which "
        "`cellularity evaluate` knows by checksums of their pixels and leaves out of its figures.",
        "",
        *(
            []
            if made.readings.names_patients
            else [
                "The file did not name every patient; a patch without one counted as a patient of "
                "its own. If patients gave several, the intervals are too narrow.",
                "",
            ]
        ),
        *(
            [f"{made.readings.without_score} lines of the file have no score.", ""]
            if made.readings.without_score
            else []
        ),
        *([about_sizes(made), ""] if made.assumed else []),
        *([UNKNOWN, ""] if source.learnt_from is None else []),
        *([f"Left out: {'; '.join(left_out)}.", ""] if left_out else []),
        "## Against this reader",
        "",
        "| method | ICC(A,1) before | after | MSE before | after | 90 % interval, typical |",
        "|---|---|---|---|---|---|",
        *(_row(method, one) for method, one in made.methods.items()),
        "",
        "After: each patient by the map of the others. Brackets: 95 %, bootstrap over patients. "
        "The 90 % interval is conformal by patient on the same left-out scores.",
        "",
        "## The maps",
        "",
        "| method | score before | score after | fitted to scores from |",
        "|---|---|---|---|",
        *(_knots(method, one.calibration) for method, one in made.methods.items()),
        "",
        "Beyond the scores it was fitted to, a map is a guess: such a patch is flagged, and its "
        "interval is open on that side.",
        "",
        *(line for one in gaps(made.methods) for line in (one, "")),
        "The reasons of the trees' score add up on the scale before the map.",
        "",
        "## How many patches are enough",
        "",
        "Typical half width of the 90 % interval by patients scored, from subsets of these:",
        "",
        *(f"- {line}" for line in need(made.methods, wanted)),
        "",
        *_sections(source),
    ]
    return "\n".join(lines)


def gaps(methods: Mapping[str, Method]) -> Iterator[str]:
    """A sentence for each third of the scale that holds no patch."""
    for third in ("low", "middle", "high"):
        if lacking := [method for method, one in methods.items() if third in one.empty]:
            yield (
                f"No patch scores in the {third} third of the scale by {', '.join(lacking)}, so "
                "nothing is known of the reader there; add such patches."
            )


def need(methods: Mapping[str, Method], wanted: float | None = None) -> Iterator[str]:
    """A sentence a method: half width by patients, and patients for the wanted half width."""
    for method, one in methods.items():
        curve = "; ".join(f"{p.patients}: {100 * p.half_width:.0f}" for p in one.curve)
        yield f"{method}: {curve} points (of 100). {_forecast(one, wanted)}"


def _forecast(one: Method, wanted: float | None) -> str:
    if len(one.curve) < 2:
        return "These are the fewest patients, so there is nothing to forecast from."
    have, floor = one.curve[-1], floor_of(one.curve)
    if wanted is not None and wanted >= have.half_width:
        return f"A half width of {100 * wanted:.0f} is reached."
    if have.patients < ENOUGH:
        return (
            f"How many more would narrow it cannot be told from {have.patients} patients; "
            f"ask again with {ENOUGH}."
        )
    if wanted is not None:
        patients = patients_needed(one.curve, wanted)
        if patients is None or patients > MANY:
            return (
                f"A half width of {100 * wanted:.0f} seems out of reach: the widths so far level "
                f"out near {100 * floor:.0f}."
            )
        patients = max(patients, have.patients + 1)
        return f"A half width of {100 * wanted:.0f} needs about {patients} patients."
    if have.half_width <= NEAR_FLOOR * floor:
        return "More patches would hardly narrow it."
    near = patients_needed(one.curve, NEAR_FLOOR * floor) if floor > 0 else None
    if near is not None and near <= have.patients:
        return "More patches would hardly narrow it."
    if near is None or near > MANY:
        return "It still narrows with every patient scored."
    return f"About {near} patients would bring it to {100 * NEAR_FLOOR * floor:.0f}."


def _row(method: str, one: Method) -> str:
    cells = [
        bracketed(figures[name], digits)
        for name, digits in (("icc_a1", 3), ("mse", 4))
        for figures in (one.before, one.after)
    ]
    return f"| {method} | {' | '.join(cells)} | +-{100 * one.interval.half_width:.0f} points |"


def _knots(method: str, calibration: Calibration) -> str:
    x, y = (", ".join(f"{v:.2f}" for v in values) for values in (calibration.x, calibration.y))
    low, high = calibration.fitted
    return f"| {method} | {x} | {y} | {low:.2f} to {high:.2f} |"


def _sections(source: ModelSet) -> Iterator[str]:
    """Use and licence, as the source's card has them."""
    parts = re.split(r"^## +", source.card(), flags=re.MULTILINE)
    found = [part.strip() for part in parts[1:] if part.split("\n", 1)[0].strip() in _KEPT]
    for part in found or [f"Intended use and limits\n\n{_USE}"]:
        yield f"## {part}\n"
