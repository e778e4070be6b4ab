"""What is said of a gap between two model sets is what differs between them, and no more."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from test_reasons import NAMES, corner, patch_result, places

from cellularity_core.conventions import FEATURE_PIXELS
from cellularity_core.features import FEATURE_NAMES
from cellularity_core.model_store import ModelSet, open_set
from cellularity_core.results import Nuclei, PatchResult
from cellularity_core.saliency import PlaceMap
from cellularity_core.set_reasons import Scored, why_sets_apart

OURS = open_set()
ALL = {"gbt": 0.2, "cascade": 0.3, "direct-r": 0.4, "direct-c": 0.3, "combined": 0.3}


def told(
    label: str,
    result: PatchResult | float,
    models: ModelSet = OURS,
    seen: dict[str, PlaceMap] | None = None,
) -> Scored:
    found = patch_result({"gbt": result}) if isinstance(result, float) else result
    return Scored(label, models, found, seen or {})


def other(files: dict[str, str] | None = None, **changed: Any) -> ModelSet:
    """The shipped set with other files or settings."""
    manifest = {**OURS.manifest, **changed, "files": {**OURS.manifest["files"], **(files or {})}}
    return replace(OURS, manifest=manifest)


def reasons(one: Scored, two: Scored, method: str = "gbt") -> str:
    return " ".join(why_sets_apart(one, two, method, NAMES).reasons)


def test_the_gap_is_told_from_the_higher_set_whatever_the_order() -> None:
    one, two = told("A", 0.2), told("B", 0.41, other({"gbt.txt": "x"}))
    found = why_sets_apart(one, two, "gbt", NAMES)
    assert found.points == 21
    assert found.summary.startswith(
        "By Features set B gives 41 %, 21 points more than set A (20 %)."
    )
    assert why_sets_apart(two, one, "gbt", NAMES) == found


@pytest.mark.parametrize(
    ("files", "network", "trees"),
    [
        ({}, True, True),
        ({"gbt.txt": "x"}, True, False),
        # Graphs of two trainings are alike to the byte: their weights tell them apart.
        ({"cascade.safetensors": "x"}, False, True),
        ({"cascade.onnx": "x"}, True, True),
    ],
)
def test_what_the_sets_share_is_what_their_files_share(
    files: dict[str, str], network: bool, trees: bool
) -> None:
    said = reasons(told("A", 0.2), told("B", 0.4, other(files)))
    assert ("Both look through the same network" in said) == network
    assert ("by the same trees" in said) == trees


def test_nuclei_are_counted_where_the_networks_differ() -> None:
    def with_nuclei(score: float, labels: list[int]) -> PatchResult:
        count = len(labels)
        nuclei = Nuclei(
            np.zeros((count, 2), np.float32),
            np.array(labels, np.int8),
            *(np.ones(count, np.float32) for _ in range(2)),
        )
        return replace(patch_result({"gbt": score}), nuclei=nuclei)

    one = told("A", with_nuclei(0.2, [0, 0, 2]))
    two = with_nuclei(0.4, [2, 2, 2, 1])
    assert "nuclei" not in reasons(one, told("B", two))
    said = reasons(one, told("B", two, other({"cascade.safetensors": "x"})))
    assert "Set A marks 1 malignant nuclei of 3, set B 3 of 4." in said


def test_measurements_that_move_the_score_are_named_with_both_amounts() -> None:
    k = FEATURE_NAMES.index(next(n for n in FEATURE_NAMES if "malignant" in n and "area" in n))
    low, high = patch_result({"gbt": 0.2}), patch_result({"gbt": 0.4})
    low.features[k], high.features[k] = 0.1 * FEATURE_PIXELS, 0.3 * FEATURE_PIXELS
    high.contributions[k] = 0.12
    raised = replace(high, base_value=low.base_value + 0.05)
    said = reasons(told("A", low), told("B", raised, other({"gbt.txt": "x"})))
    assert "An average patch scores 5 points higher in set B." in said
    assert "raises it by 12 points" in said
    assert "30 % of the tissue against 10 % of the tissue" in said


def test_another_scale_is_said_and_no_interval_is_compared() -> None:
    reader = other(scale="reader: A.B.")
    found = why_sets_apart(told("A", 0.2), told("B", 0.4, reader), "gbt", NAMES)
    assert "not on one scale" in found.reasons[0]
    assert found.summary.endswith("set A (20 %).")
    same = why_sets_apart(told("A", 0.2), told("B", 0.2, reader), "gbt", NAMES)
    assert same.points == 0
    assert "not on one scale" in same.reasons[0]


def test_reasons_are_of_the_scores_before_a_reader_s_scale() -> None:
    result = replace(patch_result({"gbt": 0.6}), uncalibrated={"gbt": 0.15}, base_value=0.25)
    found = why_sets_apart(told("A", 0.2), told("B", result), "gbt", NAMES)
    assert found.points == 40
    assert found.reasons[0] == (
        "Before set B put its score on a reader's scale, set A gave 20 %, 5 points more than set "
        "B (15 %). What follows explains that gap, not the one above."
    )
    assert "An average patch scores 5 points higher in set A." in found.reasons
    one, two = (
        told(label, replace(patch_result({"gbt": value}), uncalibrated={"gbt": 0.3}))
        for label, value in (("A", 0.5), ("B", 0.2))
    )
    assert why_sets_apart(one, two, "gbt", NAMES).reasons == (
        "Before set A and set B put their scores on a reader's scale, both gave 30 %, so those "
        "scales alone make the gap.",
    )


def test_of_a_mean_the_part_that_differs_most_is_spoken_of() -> None:
    one = told("A", patch_result(ALL))
    two = told("B", patch_result(ALL | {"direct-c": 0.7, "combined": 0.4}))
    found = why_sets_apart(one, two, "combined", NAMES).reasons
    assert found[0] == (
        "In set A it is the mean of Features (20 %), Maps (30 %), Number (40 %) and Grade (30 %)."
    )
    assert "What is known of Grade, the part that differs most:" in found


def test_places_where_one_network_scores_higher_are_named() -> None:
    method, values = "direct-r", (0.1, 0.3)
    one, two = (
        told(label, patch_result({method: v}), OURS, {method: places(corner(at))})
        for label, v, at in zip("AB", values, (0.4, 1.0), strict=True)
    )
    said = reasons(one, two, method)
    assert (
        "Set B scores higher in the upper left, on 25 % of the tissue: 100 % against 40 %" in said
    )
    flat = told("B", patch_result({method: 0.3}), OURS, {method: places(corner(0.4))})
    assert "No part of the patch stands out" in reasons(one, flat, method)
    coarse = told("B", patch_result({method: 0.3}), OURS, {method: places(np.ones((4, 4)))})
    assert "part of the patch" not in reasons(one, coarse, method)


def test_without_tissue_nothing_is_explained() -> None:
    blank = patch_result({"gbt": 0.2})
    none = replace(blank.scores["gbt"], value=None, low=None, high=None)
    found = why_sets_apart(
        told("A", replace(blank, scores={"gbt": none})), told("B", 0.4), "gbt", NAMES
    )
    assert found.points == 0
    assert found.reasons == ()
