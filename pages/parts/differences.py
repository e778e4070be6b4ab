"""Why two methods differ on a patch, and where each network finds its score."""

from itertools import combinations
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import streamlit as st

from cellularity_core.conventions import COMBINED
from cellularity_core.export import file_stem
from cellularity_core.patch import Patch
from cellularity_core.reasons import why_apart
from cellularity_core.results import PatchResult
from cellularity_core.saliency import FIELD_UM, PlaceMap
from pages.parts.layers import MAP_SIDE
from pages.parts.markdown import plain
from pages.parts.scoring import Engine, places_of, scored
from pages.parts.viewer import MOST_PANES, Pane, drawing, viewer
from pages.parts.words import METHOD_NAMES, percent

MAP_KEY: Final = (
    "Dark violet: the network scores the place near 0 %. Yellow: near 100 %. The mean over all "
    f"places is its score, to the digit. A place looks about {FIELD_UM:.0f} µm around itself, "
    "so edges are soft."
)
"""What the colours of a map of places say."""

MAP_NAME: Final = "Score of each place"


def differences_expander(
    patch: Patch, result: PatchResult, on: Engine, key: str, of: str = ""
) -> None:
    """The part below, in a fold that computes nothing before it is opened.

    Parameters as there; `of` says whose methods where two sets are compared.
    """
    if sum(score.value is not None for score in result.scores.values()) < 2:
        return
    fold = st.expander(
        f"Why the methods{of} differ, and where in the patch",
        icon=":material/compare_arrows:",
        key=key,
        on_change="rerun",
    )
    if fold.open:
        with fold:
            differences(patch, result, on, key)


def differences(patch: Patch, result: PatchResult, on: Engine, key: str) -> None:
    """Sentences on the gap between two methods, and a map for each network that has one.

    Parameters
    ----------
    patch, result
        With at least two scores.
    on : Engine
        That scored it.
    key : str
        Of the page; its widgets are named after it.
    """
    with st.spinner("Looking where each network finds its score…"):
        places = places_of(patch, on)
    methods = [m for m, score in result.scores.items() if score.value is not None]
    first, second = _furthest(result, methods)
    left, right = st.columns(2)
    a = left.selectbox(
        "Method", methods, methods.index(first), METHOD_NAMES.__getitem__, key=f"{key}.a"
    )
    others = [m for m in methods if m != a]
    b = right.selectbox(
        "against",
        others,
        others.index(second) if second in others else 0,
        METHOD_NAMES.__getitem__,
        key=f"{key}.b.{a}",
    )
    gap = why_apart(result, a, b, on.scorer.model_set, places, METHOD_NAMES)
    st.markdown(f"**{plain(gap.summary)}**")
    st.markdown("\n".join(f"- {plain(reason)}" for reason in gap.reasons))
    if places:
        _maps(patch, result, on, places, f"{key}.view")


def _furthest(result: PatchResult, methods: list[str]) -> tuple[str, str]:
    """The two methods that are furthest apart; a mean of others is not one of them."""
    single = [m for m in methods if m != COMBINED]
    pairs = list(combinations(single if len(single) > 1 else methods, 2))

    def distance(pair: tuple[str, str]) -> float:
        one, other = (result.scores[m].value or 0.0 for m in pair)
        return abs(one - other)

    return max(pairs, key=distance)


def _maps(
    patch: Patch, result: PatchResult, on: Engine, places: dict[str, PlaceMap], key: str
) -> None:
    panes = [Pane("Nuclei marked", scored(patch, on).layers, result.nuclei, method="gbt")]
    for method, found in places.items():
        title = f"{METHOD_NAMES[method]}: {shown_score(result, method)}"
        picture = place_picture(found, patch.pixels.shape[:2])
        panes.append(Pane(title, overlay=picture, overlay_name=MAP_NAME))
    name = f"{file_stem(patch.name)}-places.png"
    viewer(drawing(patch.pixels, patch.mpp, panes[:MOST_PANES], name, [result]), key=key)
    st.caption(
        MAP_KEY
        + (
            " It is the score before it is put on the reader's scale."
            if any(on.scorer.model_set.calibration(m) for m in places)
            else ""
        )
    )
    silent = [m for m in result.scores if m not in places and m not in ("gbt", COMBINED)]
    if silent:
        names = ", ".join(METHOD_NAMES[m] for m in silent)
        st.caption(
            f"No such map for {names}: it averages what it sees before it scores, so no place "
            "has a score of its own."
        )


def shown_score(result: PatchResult, method: str) -> str:
    """A score above its map, with the one that the map is of where that is another."""
    score, before = percent(result.scores[method].value), result.uncalibrated.get(method)
    return score if before is None else f"{score} ({percent(before)} before the reader's scale)"


def place_picture(found: PlaceMap, shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """A map in the colours of the viewer's heat map, RGBA, at most `MAP_SIDE` a side."""
    factor = min(1.0, MAP_SIDE / max(shape))
    small = PlaceMap(found.values, found.weights, found.cell * factor)
    drawn = small.on((max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))))
    levels = np.rint(255 * drawn.clip(0, 1)).astype(np.uint8)
    colours = cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)[..., ::-1]
    return np.dstack([colours, np.full(levels.shape, 255, np.uint8)])
