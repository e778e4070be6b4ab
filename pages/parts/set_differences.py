"""Why two model sets differ on a patch: the chain of each, side by side, and sentences."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
import streamlit as st

from cellularity_core.boosting import describe
from cellularity_core.conventions import CLASSES, COMBINED, MALIGNANT
from cellularity_core.features import FEATURE_NAMES
from cellularity_core.patch import Patch
from cellularity_core.set_reasons import Scored, why_sets_apart
from pages.parts.compare_data import Side
from pages.parts.markdown import plain
from pages.parts.scoring import Engine, places_of, scored
from pages.parts.viewer import BLOB_THRESHOLD, THRESHOLD
from pages.parts.words import METHOD_NAMES, percent

LEVELS: Final = 255
"""Of a map as it is drawn: an activation of 1."""


def sets_expander(patch: Patch, sides: Sequence[Side], engines: Sequence[Engine], key: str) -> None:
    """The part below, in a fold that computes nothing before it is opened.

    Parameters
    ----------
    patch : Patch
        Scored by both sets.
    sides, engines : sequences of Side and Engine
        Two of each.
    key : str
        Of the fold; its widgets are named after it.
    """
    shared = [m for m in sides[0].parts if all(m in side.parts for side in sides)]
    values = [[side.score(patch.sha256, m).value for side in sides] for m in shared]
    methods = [m for m, both in zip(shared, values, strict=True) if None not in both]
    if not methods:
        return
    fold = st.expander(
        f"Why sets {sides[0].label} and {sides[1].label} differ",
        icon=":material/compare_arrows:",
        key=key,
        on_change="rerun",
    )
    if fold.open:
        with fold:
            _differences(patch, sides, engines, methods, key)


def _differences(
    patch: Patch, sides: Sequence[Side], engines: Sequence[Engine], methods: list[str], key: str
) -> None:
    with st.spinner("Looking where each network finds its score…"):
        one, other = (
            Scored(
                side.label,
                on.scorer.model_set,
                side.results[patch.sha256],
                places_of(patch, on),
            )
            for side, on in zip(sides, engines, strict=True)
        )
    ordered = sorted(methods, key=lambda m: m != COMBINED)
    method = st.selectbox(
        "Method", ordered, format_func=METHOD_NAMES.__getitem__, key=f"{key}.method"
    )
    gap = why_sets_apart(one, other, method, METHOD_NAMES)
    st.markdown(f"**{plain(gap.summary)}**")
    st.markdown("\n".join(f"- {plain(reason)}" for reason in gap.reasons))
    steps = [chain(patch, on, each) for on, each in zip(engines, (one, other), strict=True)]
    names = list(dict.fromkeys(name for each in steps for name in each))
    rows = [
        {"From the patch to the scores": name}
        | {f"Set {s.label}": each.get(name, "–") for s, each in zip(sides, steps, strict=True)}
        for name in names
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, height="content", key=f"{key}.chain")
    st.caption(
        f"Area: where the map's activation for malignant nuclei is above {THRESHOLD:g}. Blobs: "
        f"those of contrast above {BLOB_THRESHOLD:g}. Each pane above draws what is counted here."
    )


def chain(patch: Patch, on: Engine, found: Scored) -> dict[str, str]:
    """Map, blobs, nuclei, the measurement that weighs most, and scores, by name of the step."""
    layers, result = scored(patch, on).layers, found.result
    steps = {}
    if layers.maps:
        name = "gbt" if "gbt" in layers.maps else next(iter(layers.maps))
        area = float((layers.maps[name].levels()[MALIGNANT] > THRESHOLD * LEVELS).mean())
        blobs = layers.blobs[name]
        count = int(((blobs.label == MALIGNANT) & (blobs.response > BLOB_THRESHOLD)).sum())
        steps["Malignant area of the map of nuclei"] = percent(area)
        steps["Malignant blobs"] = str(count)
    counts = result.nuclei.counts()
    malignant = counts[CLASSES[MALIGNANT]]
    steps["Malignant nuclei, of all marked"] = f"{malignant} of {sum(counts.values())}"
    steps["Trees: score of an average patch"] = percent(result.base_value)
    most = int(np.argmax(np.abs(result.contributions)))
    what, how_much = describe(FEATURE_NAMES[most], float(result.features[most]))
    moved = 100 * result.contributions[most]
    # the number first: a cell cuts what is too long for it
    steps["Trees: the measurement that weighs most"] = f"{moved:+.0f} points: {what} ({how_much})"
    for method, score in result.scores.items():
        limits = ""
        if score.low is not None and score.high is not None:
            limits = f" ({100 * score.low:.0f} to {100 * score.high:.0f})"
        before = result.uncalibrated.get(method)
        scaled = "" if before is None else f"{percent(before)}, on the reader's scale "
        steps[METHOD_NAMES[method]] = f"{scaled}{percent(score.value)}{limits}"
    return steps
