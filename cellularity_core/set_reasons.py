"""Why two model sets give one patch different scores, in sentences that are each computed.

As in `cellularity_core.reasons`: nothing is said that was not found.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from cellularity_core.boosting import describe
from cellularity_core.conventions import CLASSES, COMBINED
from cellularity_core.features import FEATURE_NAMES
from cellularity_core.model_store import ModelSet
from cellularity_core.reasons import (
    FROM_HERE,
    IMAGE_APART,
    NAMED,
    Gap,
    as_computed,
    noise,
    points_of,
    region,
)
from cellularity_core.results import PatchResult
from cellularity_core.saliency import PlaceMap
from cellularity_core.wording import listed, scale_name

TREES: Final = "gbt.txt"


@dataclass(frozen=True, slots=True)
class Scored:
    """What one model set says of the patch.

    Attributes
    ----------
    label : str
        As the reader knows the set, e.g. "A".
    models : ModelSet
    result : PatchResult
    places : mapping of str to PlaceMap
        Of `Scorer.places`; what is not in it is not spoken of.
    """

    label: str
    models: ModelSet
    result: PatchResult
    places: Mapping[str, PlaceMap]

    def file_of(self, method: str) -> str | None:
        """Checksum of the weights of the network that a method looks through."""
        network = self.models.network_of(method)
        found = self.models.manifest["files"].get(f"{network}.safetensors")
        return None if found is None else str(found)


def why_sets_apart(one: Scored, other: Scored, method: str, names: Mapping[str, str]) -> Gap:
    """Say what lies behind the gap between two sets' scores by one method.

    Parameters
    ----------
    one, other : Scored
        Of the same patch.
    method : str
        That both sets have.
    names : mapping of str to str
        Methods as the reader knows them.
    """
    a, b = one.result.scores[method], other.result.scores[method]
    if a.value is None or b.value is None:
        return Gap(0, "There is no tissue to score, so there is no gap to explain.")
    if a.value > b.value:
        one, other, a, b = other, one, b, a
    first, second = _percent(a.value or 0.0), _percent(b.value or 0.0)
    points = second - first
    scales = _scales(one, other)
    if points == 0:
        same = f"By {names[method]} both sets give {first} %: there is no gap to explain."
        return Gap(0, same, (scales,) if scales else ())
    summary = (
        f"By {names[method]} set {other.label} gives {second} %, {points_of(points)} more than "
        f"set {one.label} ({first} %)."
    )
    if not scales:
        summary = f"{summary} {noise(b, a)}".strip()
    said = [scales, *_before_scales(one, other, method, names)]
    return Gap(points, summary, tuple(sentence for sentence in said if sentence))


def _scales(one: Scored, other: Scored) -> str:
    """That the scores mean different things, where they do."""
    if one.models.scale == other.models.scale:
        return ""
    told = "; ".join(f"set {each.label}: {scale_name(each.models.scale)}" for each in (one, other))
    return f"The two are not on one scale ({told}), so a part of the gap is no disagreement."


def _before_scales(one: Scored, other: Scored, method: str, names: Mapping[str, str]) -> list[str]:
    """Reasons, of the scores before any of them was put on a reader's scale, as reasons are."""
    mapped = [each.label for each in (one, other) if method in each.result.uncalibrated]
    if not mapped:
        return _looks(one, other, method, names)
    one, other = (replace(each, result=as_computed(each.result)) for each in (one, other))
    if _value(one, method) > _value(other, method):
        one, other = other, one
    first, second = _percent(_value(one, method)), _percent(_value(other, method))
    which = listed([f"set {label}" for label in sorted(mapped)])
    both = len(mapped) == 2
    start = f"Before {which} put {'their scores' if both else 'its score'} on a reader's scale,"
    if first == second:
        alone = "those scales alone make" if both else "that scale alone makes"
        return [f"{start} both gave {first} %, so {alone} the gap."]
    told = (
        f"{start} set {other.label} gave {second} %, {points_of(second - first)} more than set "
        f"{one.label} ({first} %). {FROM_HERE}"
    )
    return [told, *_looks(one, other, method, names)]


def _value(scored: Scored, method: str) -> float:
    return scored.result.scores[method].value or 0.0


def _looks(one: Scored, other: Scored, method: str, names: Mapping[str, str]) -> list[str]:
    """What differs in what the method sees, and in what it makes of it."""
    if method == COMBINED:
        return _parts(one, other, names)
    said = []
    if one.models.mpp != other.models.mpp:
        said.append(
            f"Set {one.label} looks at {one.models.mpp:g} µm per pixel, set {other.label} at "
            f"{other.models.mpp:g}."
        )
    same_network = one.file_of(method) == other.file_of(method) and one.file_of(method) is not None
    if same_network:
        said.append("Both look through the same network (the same file).")
    if method == "gbt":
        said += _trees(one, other, same_network)
    return [*said, _where(one, other, method, names)]


def _parts(one: Scored, other: Scored, names: Mapping[str, str]) -> list[str]:
    """Of a mean: its parts, and what is known of the one that differs most."""
    told, both = [], []
    for each in (one, other):
        parts = each.models.parts(COMBINED)
        scores = [(p, each.result.scores[p].value) for p in parts if p in each.result.scores]
        named = listed([f"{names[p]} ({_percent(v)} %)" for p, v in scores if v is not None])
        told.append(f"In set {each.label} it is the mean of {named}.")
        both.append({p: v for p, v in scores if v is not None})
    shared = [p for p in both[0] if p in both[1]]
    if not shared:
        return told
    part = max(shared, key=lambda p: abs(both[1][p] - both[0][p]))
    if _percent(both[0][part]) == _percent(both[1][part]):
        return told
    further = _looks(one, other, part, names)
    return [*told, f"What is known of {names[part]}, the part that differs most:", *further]


def _trees(one: Scored, other: Scored, same_network: bool) -> list[str]:
    """From nuclei to measurements to their shares in the score."""
    said = []
    counts = [each.result.nuclei.counts() for each in (one, other)]
    if not same_network or one.models.mpp != other.models.mpp:
        name = CLASSES[-1]
        said.append(
            f"Set {one.label} marks {counts[0][name]} {name} nuclei of "
            f"{sum(counts[0].values())}, set {other.label} {counts[1][name]} of "
            f"{sum(counts[1].values())}."
        )
    files = [each.models.manifest["files"].get(TREES) for each in (one, other)]
    if files[0] == files[1]:
        said.append("Both weigh the measurements by the same trees.")
    change = other.result.contributions - one.result.contributions
    told = []
    for k in (int(k) for k in np.argsort(-np.abs(change), kind="stable")[:NAMED]):
        if abs(_percent(change[k])) < 1:
            continue
        what, less = describe(FEATURE_NAMES[k], one.result.features[k])
        _, more = describe(FEATURE_NAMES[k], other.result.features[k])
        amounts = f"{more} against {less}" if more != less else f"{more} in both"
        verb = "raises" if change[k] > 0 else "lowers"
        told.append(f"{what} ({amounts}) {verb} it by {points_of(abs(_percent(change[k])))}")
    base = _percent(other.result.base_value - one.result.base_value)
    if base:
        verb = "higher" if base > 0 else "lower"
        said.append(f"An average patch scores {points_of(abs(base))} {verb} in set {other.label}.")
    if told:
        said.append(f"In set {other.label}, compared with set {one.label}, {'; '.join(told)}.")
    elif np.any(change):
        said.append("No single measurement moves the score by a point.")
    return said


def _where(one: Scored, other: Scored, method: str, names: Mapping[str, str]) -> str:
    """Where in the patch the two networks differ, if both give every place a score."""
    if method not in one.places or method not in other.places:
        return ""
    low, high = one.places[method], other.places[method]
    if low.values.shape != high.values.shape:
        return ""  # grids of two pixel sizes do not lie on one another
    found = region(high.values, low.values, high.weights, IMAGE_APART)
    if found is None:
        return f"No part of the patch stands out: {names[method]} differs little in every place."
    return (
        f"Set {other.label} scores higher {found.where}, on {_percent(found.share)} % of the "
        f"tissue: {_percent(found.one)} % against {_percent(found.other)} % there."
    )


def _percent(share: float) -> int:
    return round(100 * share)
