"""What moves a score: other arithmetic, glass in the patch, a smaller field."""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.progress import track

from cellularity_core.agreement import icc_a1, mse
from cellularity_core.conventions import SIDE_RANGE
from cellularity_core.errors import ModelError
from cellularity_core.patch import Patch, pixel_digest
from cellularity_core.points import NucleiPoints
from cellularity_core.reproduce.document import Table, number
from cellularity_core.reproduce.material import Material, truth_of
from cellularity_core.results import PatchResult
from cellularity_core.scorer import Scorer
from cellularity_core.training.images import Loaded

GLASS: Final = (244, 243, 245)
"""Bare glass of a bright-field scan, R, G, B."""

AS_GIVEN: Final = "as given"
COLUMNS: Final = (
    *("change", "method", "patches", "mean_shift", "largest_shift", "n", "icc_a1", "mse"),
    *("inside_90", "reliable"),
)

Change = Callable[[Loaded], Loaded | None]
Results = Mapping[str, PatchResult]
Row = dict[str, Any]


def with_glass(share: float) -> Change:
    """Paint the right `share` of a patch as glass; its nuclei there are gone."""

    def change(item: Loaded) -> Loaded:
        pixels = item.pixels.copy()
        edge = round(pixels.shape[1] * (1 - share))
        pixels[:, edge:] = GLASS
        return _kept(item, pixels, 0, 0, edge, pixels.shape[0])

    return change


def cut_to(side_um: float) -> Change:
    """Cut the middle out of a patch; none where that has too few pixels to be scored."""

    def change(item: Loaded) -> Loaded | None:
        side = round(side_um / item.sample.mpp)
        height, width = item.pixels.shape[:2]
        if side < SIDE_RANGE[0] or side > min(height, width):
            return None
        x, y = (width - side) // 2, (height - side) // 2
        pixels = np.ascontiguousarray(item.pixels[y : y + side, x : x + side])
        return _kept(item, pixels, x, y, side, side)

    return change


CHANGES: Final[Mapping[str, Change]] = {
    "half of it glass": with_glass(0.5),
    "four fifths of it glass": with_glass(0.8),
    "cut to 64 um": cut_to(64.0),
    "cut to 32 um": cut_to(32.0),
}


def measure_shifts(
    scorer: Scorer, material: Material, results: Results, without: Collection[str]
) -> list[Row]:
    """Score every patch as changed, and compare.

    Parameters
    ----------
    scorer : Scorer
    material : Material
    results : mapping of str to PatchResult
        Of the patches as they are, by name.
    without : collection of str
        Names of patches that no figure is made of.

    Returns
    -------
    list of dict
        With the keys `COLUMNS`, a row a change and method, patches as given first. ``n`` patches
        have a truth of what is left of them (points tell it; a pathologist scored the whole);
        ICC, MSE and the share of truths in the 90 % interval are theirs. Shifts are those of
        other arithmetic: elsewhere the tissue differs.
    """
    items = [i for i in material.items if i.sample.name not in without]

    def rows_of(name: str, some: list[Loaded], scored: Results, before: Results | None) -> None:
        graded = {i.sample.name: truth_of(i) for i in material.graded(some)}
        names = [i.sample.name for i in some]
        rows.extend(_row(name, method, names, graded, scored, before) for method in scorer.methods)

    rows: list[Row] = []
    rows_of(AS_GIVEN, items, results, None)
    other = "f32" if scorer.precision == "bf16" else "bf16"
    try:
        again = Scorer(
            scorer.model_set,
            device=scorer.device,
            precision=other,
            methods=scorer.methods,
            views=scorer.views,
        )
    except ModelError:  # bfloat16 is of no use here
        pass
    else:
        name = f"{other} instead of {scorer.precision}"
        rows_of(name, items, _scored(again, name, items), results)
    for name, change in CHANGES.items():
        changed = [new for item in items if (new := change(item)) is not None]
        rows_of(name, changed, _scored(scorer, name, changed), None)
    return rows


def shifts_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """For a report."""
    return Table(
        "What moves a score",
        (
            *("Patches", "Method", "Scored", "Mean shift", "Largest shift"),
            *("ICC(A,1)", "MSE", "In 90 % interval", "Reliable", "n"),
        ),
        [
            (
                row["change"],
                row["method"],
                str(row["patches"]),
                number(row["mean_shift"], 4),
                number(row["largest_shift"], 3),
                number(row["icc_a1"], 3),
                number(row["mse"], 4),
                number(row["inside_90"], 2),
                number(row["reliable"], 2),
                str(row["n"]),
            )
            for row in rows
        ],
        "The right of each patch was painted as glass, or its middle cut out, and compared with "
        "the truth of what is left. 'Reliable': share of the patches whose flags let the score be "
        "relied on.",
    )


def _scored(scorer: Scorer, name: str, items: list[Loaded]) -> Results:
    patches = (
        Patch(i.sample.name, i.pixels, i.sample.mpp, "user", pixel_digest(i.pixels)) for i in items
    )
    console = Console(stderr=True)
    results = scorer.score(patches, maps=False)
    return {r.image: r for r in track(results, name, total=len(items), console=console)}


def _row(
    change: str,
    method: str,
    names: Iterable[str],
    truths: Mapping[str, tuple[float, ...]],
    results: Results,
    before: Results | None,
) -> Row:
    scores = _given(names, method, results)
    earlier = _given(scores, method, before or {})
    moved = [abs(scores[n][0] - earlier[n][0]) for n in earlier]
    known = [n for n in scores if n in truths]
    truth = np.array([np.mean(truths[n]) for n in known])
    found = np.array([scores[n][0] for n in known])
    inside = [scores[n][1] <= one <= scores[n][2] for n in known for one in truths[n]]
    reliable = [results[n].quality.reliable for n in scores]
    return {
        "change": change,
        "method": method,
        "patches": len(scores),
        "mean_shift": _mean(moved),
        "largest_shift": max(moved, default=None),
        "n": len(known),
        "icc_a1": icc_a1(np.stack([truth, found], axis=1)) if len(known) > 1 else None,
        "mse": mse(truth, found) if known else None,
        "inside_90": _mean(inside),
        "reliable": _mean(reliable),
    }


def _given(
    names: Iterable[str], method: str, results: Results
) -> dict[str, tuple[float, float, float]]:
    """Value and limits of the scores that were given, by name."""
    found = {}
    for name in names:
        score = results[name].scores[method] if name in results else None
        if score is None or score.value is None or score.low is None or score.high is None:
            continue
        found[name] = (score.value, score.low, score.high)
    return found


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _kept(item: Loaded, pixels: Any, x: int, y: int, width: int, height: int) -> Loaded:
    """An item with other pixels, and its points within a box of the old ones.

    A pathologist scored the whole, so what is left has no such score.
    """
    points = item.sample.points
    if points is not None:
        xy = points.xy - (x, y)
        inside = ((xy > -0.5) & (xy < (width - 0.5, height - 0.5))).all(axis=1)
        points = NucleiPoints(xy[inside], points.label[inside], {})
    return Loaded(dataclasses.replace(item.sample, points=points, scores=()), pixels)
