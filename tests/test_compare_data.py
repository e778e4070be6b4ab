"""What the page Compare sets side by side, against slow definitions."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellularity_core.conventions import METHODS, WEAK_SCALE
from cellularity_core.results import Nuclei, PatchResult, Quality, Score
from db.records import ReadingRecord
from pages.parts import compare_data
from pages.parts.compare_data import FIRST, Rater, Side

VALUE = st.none() | st.floats(0, 1, allow_nan=False)
SCORES = st.lists(st.fixed_dictionaries(dict.fromkeys(METHODS, VALUE)), max_size=6)
PARTS = {method: (method,) for method in METHODS} | {"combined": ("gbt", "direct-r")}


def result(values: dict[str, float | None], flags: tuple[str, ...] = ()) -> PatchResult:
    none = Nuclei(np.empty((0, 2)), *[np.empty(0)] * 3)
    return PatchResult(
        image="a.png",
        width=64,
        height=64,
        mpp=0.5,
        sha256="0" * 64,
        scores={
            m: Score(None, None, None) if v is None else Score(v, v / 2, (1 + v) / 2)
            for m, v in values.items()
        },
        nuclei=none,
        features=np.zeros(81),
        contributions=np.zeros(81),
        base_value=0.0,
        quality=Quality(flags, not flags),
        model_set="any",
        model_sha256="1" * 64,
        scale=WEAK_SCALE,
    )


def side(rows: list[dict[str, float | None]], label: str = "", scale: str = WEAK_SCALE) -> Side:
    return Side(
        label, f"set {label}", scale, PARTS, {f"p{k}": result(r) for k, r in enumerate(rows)}
    )


def reading(value: float | None, *, seen: bool = False) -> ReadingRecord:
    fields = dict.fromkeys(ReadingRecord.__dataclass_fields__)
    fields |= {"cellularity": value, "seen_models": seen, "created_at": datetime.now(UTC)}
    return ReadingRecord(**fields)


def gap(row: dict[str, float | None]) -> float | None:
    """The definition: every two single methods against each other."""
    values = [v for m, v in row.items() if m != "combined" and v is not None]
    return (
        max((abs(a - b) for a in values for b in values), default=None) if len(values) > 1 else None
    )


@given(SCORES)
def test_patches_are_in_the_order_of_the_methods_disagreement(
    rows: list[dict[str, float | None]],
) -> None:
    names = [f"p{k}" for k in range(len(rows))]
    order = compare_data.by_disagreement([side(rows)], [*names, "not scored"])
    assert sorted(order) == sorted([*names, "not scored"])
    gaps = [gap(rows[int(name[1:])]) if name != "not scored" else None for name in order]
    for before, after in pairwise(gaps):
        assert after is None or (before is not None and before >= after)


@given(SCORES.filter(bool), SCORES.filter(bool))
def test_the_distance_is_taken_within_one_scale(
    first: list[dict[str, float | None]], second: list[dict[str, float | None]]
) -> None:
    one, two = side(first, "A"), side(second, "B")
    both = [
        v
        for row in (first[0], second[0])
        for m, v in row.items()
        if m != "combined" and v is not None
    ]
    joint = max(both) - min(both) if len(both) > 1 else None
    assert compare_data.apart([one, two], "p0") == joint
    apart = [g for g in (gap(first[0]), gap(second[0])) if g is not None]
    elsewhere = replace(two, scale="reader: KW")
    assert compare_data.apart([one, elsewhere], "p0") == max(apart, default=None)


def test_sets_are_subtracted_on_one_scale_only() -> None:
    one = side([dict.fromkeys(METHODS, 0.25)], "A")
    two = side([dict.fromkeys(METHODS, 0.75)], "B")
    assert compare_data.between([one, two], "p0") == 0.5
    assert compare_data.between([one, replace(two, scale="reader: KW")], "p0") is None
    assert compare_data.between([one], "p0") is None
    assert compare_data.between([one, two], "elsewhere") is None


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1)),
    st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1)),
    st.permutations("abcdef"),
)
def test_only_what_both_scored_is_paired(
    one: dict[str, float], two: dict[str, float], order: list[str]
) -> None:
    a, b = (Rater("x", WEAK_SCALE, scores, "x") for scores in (one, two))
    both, first, second = compare_data.shared(a, b, order)
    assert both == [name for name in order if name in one.keys() & two.keys()]
    assert [(s, *pair) for s, pair in zip(both, zip(first, second, strict=True), strict=True)] == [
        (s, one[s], two[s]) for s in both
    ]


@pytest.mark.parametrize(
    ("given_", "counts"),
    [
        ([reading(0.3)], 0.3),
        ([reading(0.3), reading(0.6, seen=True)], 0.3),
        ([reading(0.6, seen=True)], None),
        ([reading(0.6, seen=True), reading(0.3)], None),  # the models were met before
        ([reading(None)], None),
    ],
)
def test_of_the_reader_counts_what_was_scored_before_the_models_were_seen(
    given_: list[ReadingRecord], counts: float | None
) -> None:
    found = compare_data.raters([side([])], {"p0": given_}, "KW")
    own = [rater for rater in found if rater.method is None]
    assert [rater.scores for rater in own] == ([] if counts is None else [{"p0": counts}])
    assert all(rater.scale == "reader: KW" for rater in own)


def test_two_scales_are_never_compared_without_a_word() -> None:
    weak, other = side([], "A"), side([], "B", "reader: KW")
    found = compare_data.raters([weak, other], {"p0": [reading(0.2)]}, "KW")
    by_name = {rater.name: rater for rater in found}
    a, b, own = by_name["A: Combined"], by_name["B: Combined"], by_name[FIRST]
    assert not compare_data.scales_of(a, b)[0]
    assert "Not on one scale" in compare_data.scales_of(a, own)[1]
    assert compare_data.scales_of(b, own)[0]
    stranger = replace(own, scale="reader: Ana")
    assert not compare_data.scales_of(b, stranger)[0]


def test_a_mean_and_its_part_are_told_apart_from_strangers() -> None:
    found = {r.name: r for r in compare_data.raters([side([], "A"), side([], "B")], {}, "")}
    assert "holds A: Nuclei features" in compare_data.overlap(
        found["A: Nuclei features"], found["A: Combined"]
    )
    assert not compare_data.overlap(found["B: Nuclei features"], found["A: Combined"])
    assert not compare_data.overlap(found["A: Nuclei maps"], found["A: Combined"])


@given(SCORES.filter(bool))
def test_the_first_pair_is_the_two_methods_that_differ_most(
    rows: list[dict[str, float | None]],
) -> None:
    found = compare_data.raters([side(rows)], {}, "")
    i, j = compare_data.furthest(found, [f"p{k}" for k in range(len(rows))])
    assert i != j

    def mean(a: str, b: str) -> float:
        gaps = [abs(r[a] - r[b]) for r in rows if r[a] is not None and r[b] is not None]  # type: ignore[operator]
        return float(np.mean(gaps)) if gaps else -1.0

    single = [m for m in METHODS if m != "combined"]
    most = max(mean(a, b) for a in single for b in single if a != b)
    if most >= 0:
        assert mean(str(found[i].method), str(found[j].method)) == pytest.approx(most)


def test_a_row_holds_scores_in_per_cent_intervals_and_warnings() -> None:
    values = dict(zip(METHODS, (0.4, 0.1, 0.2, 0.3, 0.25), strict=True))
    one = replace(side([]), results={"p0": result(values, ("no-tissue",))})
    own = {"p0": [reading(0.3), reading(0.6, seen=True)]}
    cells = compare_data.row([one], compare_data.raters([one], own, "KW"), "p0", own)
    assert cells["Apart"] == pytest.approx(30)
    assert cells["GBT"] == pytest.approx(40)
    assert cells["GBT 90 %"] == "20 to 70"
    assert cells["Your score"] == pytest.approx(60)
    assert cells["Warnings"] == "do not rely on it: no tissue"
    assert compare_data.unreliable([one], "p0")
    assert "B less A" not in cells


def test_a_warning_of_the_second_set_alone_is_told_as_its_own() -> None:
    values = dict.fromkeys(METHODS, 0.4)
    raised = (("pen", "fold"), ("pen", "beyond-reader"))
    one, two = (
        replace(side([], label), results={"p0": replace(result(values), quality=Quality(flags))})
        for label, flags in zip("AB", raised, strict=True)
    )
    told = compare_data.own_flags([one, two], "p0")
    assert told == [("A", ("pen", "fold")), ("B", ("beyond-reader",))]
    cells = compare_data.row([one, two], compare_data.raters([one, two], {}, ""), "p0", {})
    assert cells["Warnings"] == "pen, fold, B: beyond reader"
    assert compare_data.own_flags([one, two], "p1") == []
