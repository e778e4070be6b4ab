"""The section of a card on the intervals of its scores."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cellularity_core.training.held_out import BIN_NAMES
from cellularity_core.wording import bracketed

INTERVALS: Final = """\
Each score carries a 90 % interval: a quantile of the misses on patients that the networks
never saw, a patient weighing one (cross-conformal by patient), given to the networks of all
patients. So it holds about 90 %, without a guarantee; at another laboratory it may hold less.
How often it held the reference of a patient left out of that quantile, and its mean width.
The first is near 90 % for any score, good or bad; the width tells methods apart:"""

HARDER: Final = """\
Harder: with a whole fold, or all patients of a site (for TCGA the tissue source site), left
out of the quantile, how often it held theirs, over all of them and (n patches) for the worst.
The networks had learnt from other patients of that site, so a new one may do worse:"""

BY_SCORE: Final = """\
By the score given, with the patient left out as above: how often it held (n patches).
Well below 90 % means that the interval is too narrow for such scores:"""


def intervals(manifest: Mapping[str, Any]) -> list[str]:
    """Lines: how often the intervals held: by patient, for whole groups, and by score."""
    figures = {name: method["figures"] for name, method in manifest["methods"].items()}
    return [
        "## Intervals",
        "",
        INTERVALS,
        "",
        "| method | covered | mean width |",
        "|---|---|---|",
        *(
            f"| {name} | {bracketed(f['coverage'])} | {f['mean_width']:.3f} |"
            for name, f in figures.items()
        ),
        "",
        HARDER,
        "",
        "| method | a fold left out | worst fold | a site left out | worst site |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {_left_out(f['coverage_by']['fold'])} "
            f"| {_left_out(f['coverage_by']['site'])} |"
            for name, f in figures.items()
        ),
        "",
        BY_SCORE,
        "",
        f"| method | {' | '.join(BIN_NAMES)} |",
        "|---" * (1 + len(BIN_NAMES)) + "|",
        *(f"| {name} | {_by_score(f['coverage_by']['score'])} |" for name, f in figures.items()),
        "",
    ]


def _left_out(groups: Sequence[Mapping[str, Any]]) -> str:
    """Share held over all groups, and the worst group's; dashes where there are none."""
    if not groups:
        return "- | -"
    patches = sum(g["patches"] for g in groups)
    held = sum(g["coverage"] * g["patches"] for g in groups) / patches
    worst = min(groups, key=lambda g: g["coverage"])
    return f"{held:.3f} | {worst['group']}: {worst['coverage']:.3f} ({worst['patches']})"


def _by_score(groups: Sequence[Mapping[str, Any]]) -> str:
    told = {g["group"]: f"{g['coverage']:.3f} ({g['patches']})" for g in groups}
    return " | ".join(told.get(name, "-") for name in BIN_NAMES)
