"""What the page Agreement is drawn from: figures, numbers in words, the key of a result."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from agreement_page_support import material, own_records, table_of
from agreement_support import METHODS, seeded_study

from cellularity_core.agreement import (
    Rating,
    RatingTable,
    Statistic,
    agreement_report,
    readers_mean,
)
from db.export import imrmc_rows
from pages.parts.agreement_data import MEAN_OF_MODELS, Material, movement
from pages.parts.agreement_disputes import queue
from pages.parts.agreement_figures import MOST_PAIRS, ForestRow, forest, forest_rows
from pages.parts.agreement_words import number, pair_rows, points
from pages.parts.store import store
from pages.parts.words import METHOD_NAMES


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with own_records(tmp_path, monkeypatch):
        yield


def test_readers_mean_is_the_mean_of_the_pairs() -> None:
    study = seeded_study(store(), methods=METHODS[:1])
    table = table_of(study)
    pairs = [p for p in agreement_report(table).pairs if p.kinds == ("reader", "reader")]
    mean = readers_mean(table, "icc_a1")
    assert mean.value == pytest.approx(np.mean([pair.icc_a1.value for pair in pairs]))
    assert mean.low < mean.value < mean.high


def test_many_pairs_of_readers_stand_in_one_line_of_the_forest() -> None:
    names = [f"R{k}" for k in range(7)]
    rng = np.random.default_rng(1)
    truth = rng.uniform(0.1, 0.9, 8)
    table = RatingTable.from_ratings(
        Rating(f"c{case}", name, float(truth[case] + rng.normal(0, 0.03)))
        for name in names
        for case in range(8)
    )
    report = agreement_report(table, draws=100)
    rows = forest_rows(report, (readers_mean(table, "icc_a1"), readers_mean(table, "kappa4")))
    assert [row.kind for row in rows] == ["pairs", "mean"]
    assert len(rows[0].dots[0]) == 21 > MOST_PAIRS
    assert max(rows[0].dots[0]) == max(pair.icc_a1.value for pair in report.pairs)
    chart = forest(rows)
    assert len(chart.data[0].x) == 21


def test_the_forest_draws_each_interval_and_the_readers_band() -> None:
    rows = [
        ForestRow("Ana – Ben", "pair", (Statistic(0.8, 0.6, 0.9), Statistic(0.7, 0.5, 0.8))),
        ForestRow("Ana – Chi", "pair", (Statistic(0.7, 0.4, 0.85), Statistic(None, reason="x"))),
        ForestRow("Readers, mean of pairs", "mean", (Statistic(0.75, 0.5, 0.9), Statistic(0.7))),
        ForestRow("Trees (inside)", "model", (Statistic(0.78, 0.6, 0.9), Statistic(0.6, 0.2, 0.8))),
    ]
    chart = forest(rows)
    drawn = [(trace.x[0], trace.error_x.array) for trace in chart.data if len(trace.x)]
    assert [x for x, _ in drawn] == [0.8, 0.7, 0.75, 0.78, 0.7, 0.7, 0.6]
    assert drawn[0][1][0] == pytest.approx(0.1)
    bands = [shape for shape in chart.layout.shapes if shape.type == "rect"]
    assert [(shape.x0, shape.x1) for shape in bands] == [(0.7, 0.8), (0.7, 0.7)]
    assert list(chart.layout.yaxis.ticktext)[-1] == "<b>Trees (inside)</b>"


@pytest.mark.parametrize(
    ("value", "text"), [(0.914, "0.91"), (-0.0004, "0.00"), (0.004, "0.00"), (None, "–")]
)
def test_numbers_in_words(value: float | None, text: str) -> None:
    assert number(value) == text


def test_points_and_pairs_without_a_value_are_a_dash_with_a_reason() -> None:
    assert points(-0.0321) == "-3.2"
    table = RatingTable.from_ratings([Rating("c", "Ana", 0.1), Rating("c", "Ben", 0.2)])
    [row] = pair_rows(agreement_report(table, draws=50).pairs)
    assert (row["ICC(A,1)"], row["Limits (95 %)"]) == ("–", "–")
    assert "two cases or more" in row["Why not"]


def test_the_key_changes_with_any_rating() -> None:
    one = Material("x", (Rating("c", "Ana", 0.1),))
    assert one.key == Material("y", (Rating("c", "Ana", 0.1),)).key
    for changed in (Rating("c", "Ana", 0.11), Rating("c", "Ana", 0.1, "P")):
        assert replace(one, ratings=(changed,)).key != one.key


def test_whoever_had_met_the_models_tells_nothing_of_their_pull() -> None:
    given = material(seeded_study(store(), arm="before-after with control"))
    whole = movement(given, MEAN_OF_MODELS)
    met = next(row for row in given.rows if row.phase == "after" and not row.occasion)
    rows = tuple(
        replace(row, seen_models=True)
        if (row.case, row.reader, row.phase) == (met.case, met.reader, "before")
        else row
        for row in given.rows
    )
    found = movement(replace(given, rows=rows), MEAN_OF_MODELS)
    assert whole is not None
    assert found is not None
    assert found.shown.n_reads == whole.shown.n_reads - 1
    modalities = {row["modalityID"] for row in imrmc_rows(rows)}
    assert "before-seen" in modalities
    assert "before-seen" not in {row["modalityID"] for row in imrmc_rows(given.rows)}


def test_a_mean_of_models_counts_no_model_twice() -> None:
    """The combined score is the mean of others, so it is left out; alone it stands for them."""
    study = seeded_study(store(), arm="before-after with control")
    given = material(study)
    cases = list(dict.fromkeys(rating.case_id for rating in given.ratings))
    name = METHOD_NAMES["combined"]
    combined = [Rating(case, name, 1.0, kind="model") for case in cases]
    more = replace(given, ratings=(*given.ratings, *combined))
    assert movement(more, MEAN_OF_MODELS) == movement(given, MEAN_OF_MODELS)
    assert movement(more, name) != movement(given, MEAN_OF_MODELS)
    gaps = [
        {one.case: one.gap for one in queue(RatingTable.from_ratings(ratings), by_gap=True)}
        for ratings in (given.ratings, more.ratings)
    ]
    assert gaps[0] == gaps[1]
    one, other = (Rating("c", reader, 0.2, kind="reader") for reader in ("Ana", name))
    alone = Rating("c", f"{name} (model)", 0.5, kind="model")
    [found] = queue(RatingTable.from_ratings([one, other, alone]), by_gap=True)
    assert found.gap == pytest.approx(0.3)
    third = Rating("c", "Image to number", 0.4, kind="model")
    [found] = queue(RatingTable.from_ratings([one, other, alone, third]), by_gap=True)
    assert found.gap == pytest.approx(0.2)
