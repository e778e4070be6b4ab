"""A table of ratings: what is refused, what is counted, what the report and command say."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example as also
from hypothesis import given, settings
from hypothesis import strategies as st

from cellularity_core.agreement import (
    Form,
    Rating,
    RatingTable,
    Statistic,
    agreement_report,
    cohen_kappa,
    icc_a1,
    icc_a1_pair,
    icc_statistic,
    kappa4,
    prediction_probability,
    to_bins,
    to_json,
)
from cellularity_core.cli import main
from cellularity_core.errors import DataError
from cellularity_core.export import json_text

KEYS = {
    "n_cases",
    "n_readers",
    "readers",
    "icc_1",
    "icc_a1",
    "icc_c1",
    "icc_1k",
    "icc_ak",
    "icc_ck",
    "fleiss_kappa4",
    "krippendorff_interval",
    "gwet_ac1_bins4",
    "gwet_ac2_quadratic_bins4",
    "pairs",
}
PAIR_KEYS = {
    "a",
    "b",
    "n",
    "kinds",
    "kappa4",
    "kappa4_linear",
    "kappa4_quadratic",
    "icc_a1",
    "ccc",
    "pk",
    "mse",
    "bland_altman",
}


def write(path: Path, *lines: str, header: str = "case_id,reader,score") -> Path:
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def study(
    n: int = 30, readers: int = 3, *, seed: int = 0, cases_a_patient: int = 1
) -> list[Rating]:
    """Readers and a model on the same cases; the first reader repeats every fifth."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n)
    found = []
    for reader in range(readers):
        offset = rng.normal(0, 0.05)
        for case in range(n):
            score = float(np.clip(truth[case] + offset + rng.normal(0, 0.08), 0, 1).round(2))
            patient = f"p{case // cases_a_patient}"
            found.append(Rating(f"c{case}", f"R{reader}", score, patient))
            if reader == 0 and case % 5 == 0:
                again = float(np.clip(score + rng.normal(0, 0.05), 0, 1).round(2))
                found.append(Rating(f"c{case}", "R0", again, patient, repeat=1))
    for case in range(n):
        score = float(np.clip(truth[case] + rng.normal(0, 0.06), 0, 1))
        found.append(Rating(f"c{case}", "gbt", score, f"p{case // cases_a_patient}", kind="model"))
    return found


def numbers(content: Any) -> Iterator[float]:
    if isinstance(content, dict):
        for value in content.values():
            yield from numbers(value)
    elif isinstance(content, (list, tuple)):
        for value in content:
            yield from numbers(value)
    elif isinstance(content, float):
        yield content


def statistics(content: Any) -> Iterator[dict[str, Any]]:
    if isinstance(content, dict):
        if {"value", "low", "high", "reason"} <= set(content):
            yield content
        for value in content.values():
            yield from statistics(value)
    elif isinstance(content, (list, tuple)):
        for value in content:
            yield from statistics(value)


# reading


def test_table_of_a_file(tmp_path: Path) -> None:
    path = write(
        tmp_path / "r.csv",
        "c1,Ann,0.25,p1,reader,",
        "c1,Ann,0.30,p1,reader,1",
        " c2 ,Ann,,p1,,0",
        "c1,gbt,.5,,model,",
        "c2,gbt,1e-1,,MODEL,",
        header="case_id,reader,score,patient_id,kind,repeat",
    )
    table = RatingTable.read(path)
    assert table.cases == ("c1", "c2")
    assert (table.readers, table.models) == (("Ann",), ("gbt",))
    assert table.patients == (("patient", "p1"), ("patient", "p1"))
    first = table.first_reads(("Ann", "gbt"))
    np.testing.assert_array_equal(first, [[0.25, 0.5], [np.nan, 0.1]])
    assert table.reads_of("Ann") == {"c1": [0.25, 0.30]}
    ann, gbt = table.counts()
    assert (ann.scored, ann.missing, ann.cannot_score, ann.repeats) == (1, 1, 0, 1)
    assert (gbt.scored, gbt.missing) == (2, 0)
    assert table.n_cases == 2


def test_per_cent_semicolons_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes("\ufeffCase_ID;Reader;Score;note\r\nc1;A;35;x\r\nc1;B;100;\r\n".encode())
    table = RatingTable.read(path, percent=True)
    assert [rating.score for rating in table.ratings] == [0.35, 1.0]
    assert table.ignored == ("note",)


def test_a_case_that_cannot_be_scored_is_counted(tmp_path: Path) -> None:
    path = write(
        tmp_path / "r.csv",
        "c1,A,,yes,2026-03-31T14:05",
        "c2,A,0.5,no,2026-03-31T14:05:10+02:00",
        header="case_id,reader,score,cannot_score,read_at",
    )
    table = RatingTable.read(path)
    (count,) = table.counts()
    assert (count.scored, count.cannot_score, count.missing) == (1, 1, 0)
    assert agreement_report(table).n_cases_unscored == 1
    assert table.ratings[1].read_at.isoformat() == "2026-03-31T14:05:10+02:00"


def test_repeats_without_a_first_read_are_refused(tmp_path: Path) -> None:
    """They are never taken for first reads, be it of one reader or of all."""
    header = "case_id,reader,score,kind,repeat"
    path = tmp_path / "r.csv"
    write(path, "c1,A,0.1,reader,0", "c1,B,0.3,reader,1", "c2,B,0.4,reader,1", header=header)
    with pytest.raises(DataError) as error:
        RatingTable.read(path)
    assert 'line 3: reader "B" has repeat 1 here and no first read' in str(error.value)
    assert "number first reads 0" in str(error.value)
    write(path, "c1,A,0.1,reader,1", "c1,A,0.2,reader,2", "c1,gbt,0.4,model,", header=header)
    with pytest.raises(DataError, match='line 2: reader "A" has repeat 1 here'):
        RatingTable.read(path)
    write(path, "c1,A,,reader,", "c1,A,0.2,reader,1", "c2,A,0.2,reader,2", header=header)
    table = RatingTable.read(path)
    assert [rating.repeat for rating in table.ratings] == [0, 1, 2]
    assert table.readers == ()


@pytest.mark.parametrize(
    ("line", "header", "said"),
    [
        ("c2,A,1.01", None, "line 4: the score 1.01 is outside 0 to 1; for scores in per cent"),
        ("c2,A,-0.01", None, "line 4: the score -0.01 is outside 0 to 1"),
        ("c2,A,high", None, 'line 4: the score "high" is not a number'),
        ("c2,A,nan", None, 'line 4: the score "nan" is not a number'),
        ("c2,A,inf", None, 'line 4: the score "inf" is not a number'),
        ("c2,A,1_0", None, 'line 4: the score "1_0" is not a number'),
        ("c2,A,35 %", None, 'line 4: the score "35 %" is not a number'),
        ('c2,A,"0,3"', None, 'line 4: the score "0,3" is not a number; write it with a point'),
        ("c1,A,0.5", None, 'line 4: reader "A" has a read of case "c1" already, at line 2'),
        (",A,0.5", None, "line 4: case_id is empty"),
        ("c2,,0.5", None, "line 4: reader is empty"),
        ("c2,A,0.5,0.6", None, "line 4: there are more cells than columns"),
        ("c2,A,0.5,human", "kind", 'line 4: kind is "human"; expected reader or model'),
        ("c2,A,0.5,model", "kind", 'line 4: "A" is a model here and a reader at line 2'),
        ("c2,A,0.5,-1", "repeat", 'line 4: repeat is "-1"; expected 0, 1, 2'),
        ("c2,A,0.5,often", "repeat", 'line 4: repeat is "often"'),
        ("c1,C,0.5,q", "patient_id", 'line 4: case "c1" is of patient "q" here and of "x" at line'),
        ("c2,A,0.5,yes", "cannot_score", "line 4: a case that cannot be scored has a score"),
        ("c2,A,,maybe", "cannot_score", 'line 4: cannot_score is "maybe"; expected yes or no'),
        ("c2,A,0.5,noon", "read_at", 'line 4: read_at is "noon"; expected a date and time'),
        ('c2,A,"0.5', None, "not CSV"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(
    tmp_path: Path, line: str, header: str | None, said: str
) -> None:
    columns = "case_id,reader,score" + (f",{header}" if header else "")
    good = {"kind": ",reader", "patient_id": ",x"}.get(header or "", "," if header else "")
    path = write(tmp_path / "r.csv", f"c1,A,0.1{good}", f"c1,B,0.2{good}", line, header=columns)
    with pytest.raises(DataError) as error:
        RatingTable.read(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)
    assert str(error.value).count("\n") == 0


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", "c1,0.5", header="case_id,score")
    with pytest.raises(DataError, match="no column reader; expected case_id, reader, score and"):
        RatingTable.read(path)
    with pytest.raises(DataError, match="no read below the first line"):
        RatingTable.read(write(tmp_path / "r.csv"))
    with pytest.raises(DataError, match="names score twice"):
        RatingTable.read(write(tmp_path / "r.csv", "a,b,0,1", header="case_id,reader,score,Score"))
    path.write_bytes(b"\xff\xfe\x00\x9c")
    with pytest.raises(DataError, match="not UTF-8 text"):
        RatingTable.read(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="no column case_id, reader, score"):
        RatingTable.read(path)


def test_records_are_checked_like_lines() -> None:
    with pytest.raises(DataError, match=r"record 2: the score 1\.5 is outside 0 to 1"):
        RatingTable.from_ratings([Rating("a", "r", 0.5), Rating("b", "r", 1.5)])
    with pytest.raises(DataError, match="record 1: the score nan is outside"):
        RatingTable.from_ratings([Rating("a", "r", math.nan)])
    table = RatingTable.from_ratings([Rating("a", "r", 50), Rating("b", "r", 7)], percent=True)
    assert [rating.score for rating in table.ratings] == [0.5, 0.07]


# report


def test_report_says_what_the_functions_say() -> None:
    table = RatingTable.from_ratings(study())
    report = agreement_report(table)
    scores = table.first_reads(("R0", "R1", "R2", "gbt"))
    assert (report.n_cases, report.n_cases_complete, report.n_readers) == (30, 30, 3)
    assert (report.readers, report.models) == (("R0", "R1", "R2"), ("gbt",))
    assert report.icc_a1 == icc_statistic(scores[:, :3])
    assert report.icc_a1.interval == "generalised"
    assert report.icc_a1_mcgraw_wong == icc_statistic(scores[:, :3], mcgraw_wong=True)
    assert [(pair.a, pair.b, pair.kinds) for pair in report.pairs] == [
        ("R0", "R1", ("reader", "reader")),
        ("R0", "R2", ("reader", "reader")),
        ("R1", "R2", ("reader", "reader")),
        ("gbt", "R0", ("model", "reader")),
        ("gbt", "R1", ("model", "reader")),
        ("gbt", "R2", ("model", "reader")),
    ]
    pair = report.pairs[4]
    a, b = scores[:, 3], scores[:, 1]
    assert pair.kappa4 == kappa4(a, b)
    assert pair.kappa4_quadratic.value == pytest.approx(
        cohen_kappa(to_bins(a), to_bins(b), "quadratic")
    )
    assert pair.icc_a1.value == pytest.approx(icc_a1(np.stack([a, b], axis=1)))
    assert pair.pk.value == pytest.approx(prediction_probability(b, a))  # b is the truth
    assert pair.mse.value == pytest.approx(np.mean((a - b) ** 2))
    assert pair.bland_altman.bias.value == pytest.approx(np.mean(a - b))
    deviation = np.std(a - b, ddof=1)
    assert pair.bland_altman.loa_low.value == pytest.approx(
        np.mean(a - b) - 1.959964 * deviation, abs=1e-6
    )
    assert [entry.rater for entry in report.repeatability] == ["R0"]
    assert [entry.model for entry in report.model_vs_readers] == ["gbt"]


def test_models_and_repeats_do_not_enter_the_group() -> None:
    ratings = study()
    report = agreement_report(RatingTable.from_ratings(ratings))
    alone = [r for r in ratings if r.kind == "reader" and not r.repeat]
    other = agreement_report(RatingTable.from_ratings(alone))
    for name in KEYS - {"n_cases", "n_readers", "readers", "pairs"}:
        assert getattr(report, name) == getattr(other, name), name
    assert report.pairs[:3] == other.pairs


def test_missing_reads_are_left_out_and_counted() -> None:
    ratings = [
        Rating("c1", "R1", None, "p1")
        if (r.case_id, r.reader) == ("c1", "R1")
        else Rating("c2", "R2", None, "p2", cannot_score=True)
        if (r.case_id, r.reader) == ("c2", "R2")
        else r
        for r in study()
        if (r.case_id, r.reader) != ("c3", "R2")
    ]
    ratings.append(Rating("c99", "R0", None))
    report = agreement_report(RatingTable.from_ratings(ratings))
    assert (report.n_cases, report.n_cases_complete, report.n_cases_unscored) == (30, 27, 1)
    assert report.icc_a1.n == 27
    assert report.fleiss_kappa4.n == 27
    assert report.krippendorff_interval.n == 30
    assert report.gwet_ac1_bins4.n == 30
    by = {(pair.a, pair.b): pair.n for pair in report.pairs}
    assert (by["R0", "R1"], by["R0", "R2"], by["R1", "R2"], by["gbt", "R2"]) == (29, 28, 27, 28)
    counts = {c.rater: (c.scored, c.cannot_score, c.missing) for c in report.counts}
    assert counts["R2"] == (28, 1, 2)
    assert counts["R1"] == (29, 0, 2)
    assert counts["gbt"] == (30, 0, 1)


def test_patients_with_several_cases_are_bootstrapped() -> None:
    single = agreement_report(RatingTable.from_ratings(study()))
    assert (single.intervals, single.n_patients) == ("closed", 30)
    ratings = study(cases_a_patient=3)
    several = agreement_report(RatingTable.from_ratings(ratings))
    assert (several.intervals, several.n_patients) == ("bootstrap", 10)
    assert several.icc_c1.interval == "bootstrap by patient"
    assert several.icc_a1.interval == "outer of generalised and bootstrap by patient"
    assert several.icc_a1.low <= single.icc_a1.low
    assert several.pairs[0].kappa4.interval == "bootstrap by patient"
    closed = agreement_report(RatingTable.from_ratings(ratings), intervals="closed")
    assert closed.icc_a1 == single.icc_a1
    with pytest.raises(ValueError, match="Unknown intervals 'open'"):
        agreement_report(RatingTable.from_ratings(ratings), intervals="open")  # type: ignore[arg-type]


def tables_at_the_edge() -> dict[str, list[Rating]]:
    readers = ("A", "B", "C")
    many = [f"c{i}" for i in range(8)]
    return {
        "nothing": [],
        "one case": [Rating("c", name, 0.1 * i) for i, name in enumerate(readers)],
        "one reader": [Rating(case, "A", i / 10) for i, case in enumerate(many)],
        "all equal": [Rating(case, name, 0.3) for case in many for name in readers],
        "one bin": [
            Rating(case, name, 0.05 + 0.01 * ((i + j) % 9))
            for i, case in enumerate(many)
            for j, name in enumerate(readers)
        ],
        "whole agreement": [
            Rating(case, name, i / 8) for i, case in enumerate(many) for name in readers
        ],
        "no common case": [Rating("c1", "A", 0.2), Rating("c2", "B", 0.3)],
        "all missing": [Rating(case, name, None) for case in many for name in readers],
        "constant rater": [
            Rating(case, name, 0.5 if name == "A" else i / 8)
            for i, case in enumerate(many)
            for name in readers
        ],
        "constant offset": [
            Rating(case, name, i / 10 + 0.1 * j)
            for i, case in enumerate(many)
            for j, name in enumerate(readers)
        ],
        "two cases": [
            Rating(c, n, 0.1 + 0.3 * i + 0.1 * j)
            for i, c in enumerate("xy")
            for j, n in enumerate("AB")
        ],
        "a model alone": [Rating(case, "gbt", i / 8, kind="model") for i, case in enumerate(many)],
        "a model and a reader": [
            Rating(case, name, i / 8, kind=kind)
            for i, case in enumerate(many)
            for name, kind in (("A", "reader"), ("gbt", "model"))
        ],
    }


@pytest.mark.parametrize("name", list(tables_at_the_edge()))
@pytest.mark.parametrize("intervals", ["closed", "bootstrap"])
def test_every_figure_has_a_value_or_a_reason(name: str, intervals: Any) -> None:
    table = RatingTable.from_ratings(tables_at_the_edge()[name])
    content = to_json(agreement_report(table, intervals=intervals, draws=200))
    assert set(content) >= KEYS
    json.dumps(content, allow_nan=False)
    assert all(map(math.isfinite, numbers(content)))
    found = list(statistics(content))
    assert len(found) >= 10
    for statistic in found:
        whole = None not in (statistic["value"], statistic["low"], statistic["high"])
        assert whole == (statistic["reason"] is None), statistic
        assert (statistic["low"] is None) == (statistic["high"] is None)
        if whole:
            assert statistic["low"] <= statistic["value"] <= statistic["high"], statistic


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(2, 8),
    k=st.integers(2, 4),
    spread=st.sampled_from([0.0, 0.1, 0.3]),
    intervals=st.sampled_from(["closed", "bootstrap"]),
    a_patient=st.sampled_from([1, 2]),
)
@also(seed=0, n=6, k=2, spread=0.0, intervals="closed", a_patient=1)
@settings(max_examples=60, deadline=None)
def test_small_tables_of_readers_who_disagree_are_written(
    seed: int, n: int, k: int, spread: float, intervals: Any, a_patient: int
) -> None:
    """JSON of any table, and no value outside its own interval."""
    rng = np.random.default_rng(seed)
    scores = (0.5 + rng.normal(0, spread, (n, 1)) + rng.normal(0, 0.2, (n, k))).clip(0, 1).round(2)
    scores[rng.random((n, k)) < 0.1] = np.nan
    check_figures(scores, intervals, a_patient)


@pytest.mark.parametrize("intervals", ["closed", "bootstrap"])
@pytest.mark.parametrize(
    "scores",
    [
        [[0.1, 0.9], [0.3, 0.72], [0.5, 0.5], [0.7, 0.3], [0.9, 0.15]],
        [[0.65, 0.47], [0.69, 0.54], [0.57, 0.73], [0.4, 0.69], [0.59, 0.19], [0.56, 0.61]],
        [[0.2, 0.8], [0.8, 0.2]],
    ],
)
def test_readers_who_contradict_each_other_are_written(
    scores: list[list[float]], intervals: Any
) -> None:
    check_figures(np.array(scores), intervals, 1)


def check_figures(scores: np.ndarray, intervals: Any, a_patient: int) -> None:
    table = RatingTable.from_ratings(
        Rating(
            f"c{i}",
            f"r{j}",
            float(score),
            f"p{i // a_patient}",
            kind="model" if j == 3 else "reader",
        )
        for i, row in enumerate(scores)
        for j, score in enumerate(row)
        if np.isfinite(score)
    )
    content = to_json(agreement_report(table, intervals=intervals, draws=200))
    json_text(content)
    for statistic in statistics(content):
        whole = None not in (statistic["value"], statistic["low"], statistic["high"])
        assert whole == (statistic["reason"] is None), statistic
        assert (statistic["low"] is None) == (statistic["high"] is None)
        if whole:
            assert statistic["low"] <= statistic["value"] <= statistic["high"], statistic


def test_reasons_are_the_true_ones() -> None:
    offset = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6], [0.7, 0.8], [0.2, 0.3]])
    found = icc_statistic(offset, Form.ICC_C1)
    assert found.value == pytest.approx(1)
    assert found.reason is not None
    assert found.reason.startswith("the raters differ by constant offsets only")
    crossed = np.array([[0.1, 0.9], [0.9, 0.1]])
    assert icc_statistic(crossed, Form.ICC_C1).reason == "the cases' means do not differ"
    assert icc_statistic(crossed, Form.ICC_CK).reason == "the cases' means do not differ"
    assert "contradict each other" in str(icc_statistic(crossed, Form.ICC_A1).reason)
    assert icc_statistic(np.full((4, 2), 0.3)).reason == "the scores do not vary"
    apart = np.array([[0.1, 0.9], [0.3, 0.72], [0.5, 0.5], [0.7, 0.3], [0.9, 0.15]])
    pair = icc_a1_pair(*apart.T)
    assert pair.value is not None
    assert pair.value < -1
    assert "beyond the end of the scale" in str(pair.reason)


def test_reasons_at_the_edge() -> None:
    def report(name: str):  # type: ignore[no-untyped-def]
        return agreement_report(RatingTable.from_ratings(tables_at_the_edge()[name]), draws=200)

    one = report("one case")
    assert one.icc_a1.value is None
    assert one.icc_a1.reason == "two cases or more with a score of every rater are needed"
    assert one.pairs[0].mse.value == pytest.approx(0.01)
    assert one.pairs[0].bland_altman.bias.value == pytest.approx(-0.1)
    assert one.pairs[0].kappa4.reason == "two cases or more scored by both are needed"
    equal = report("all equal")
    assert equal.icc_a1.reason == "the scores do not vary"
    assert equal.fleiss_kappa4.reason == "all scores are in one bin"
    assert equal.pairs[0].pk.reason == "no two cases differ in the reference"
    assert equal.pairs[0].mse.value == 0
    one_bin = report("one bin")
    assert one_bin.icc_a1.value is not None
    assert one_bin.pairs[0].kappa4.reason == "all scores of both raters are in one bin"
    assert one_bin.gwet_ac1_bins4.value == 1  # it is made for this
    whole = report("whole agreement")
    assert whole.icc_a1.value == pytest.approx(1)
    assert whole.icc_a1.reason == "the raters do not differ, so there is no error to judge it by"
    assert whole.pairs[0].pk.value == 1
    apart = report("no common case")
    assert (apart.n_cases, apart.pairs[0].n) == (2, 0)
    assert apart.pairs[0].mse.reason == "no case is scored by both"
    missing = report("all missing")
    assert (missing.n_cases, missing.n_readers, missing.n_cases_unscored) == (0, 0, 8)
    assert missing.icc_a1.reason == "two readers or more are needed"
    offset = report("constant offset")
    assert offset.icc_c1.value == pytest.approx(1)
    assert offset.icc_a1.low < offset.icc_a1.value < offset.icc_a1.high < 1


# command


def run(tmp_path: Path, ratings: list[Rating], *options: str) -> dict[str, Any]:
    lines = [
        f"{r.case_id},{r.reader},{'' if r.score is None else r.score},{r.patient_id or ''},"
        f"{r.kind},{r.repeat}"
        for r in ratings
    ]
    path = write(tmp_path / "r.csv", *lines, header="case_id,reader,score,patient_id,kind,repeat")
    target = tmp_path / "out.json"
    assert main(["agreement", str(path), "--json", str(target), *options]) == 0
    return json.loads(target.read_text(encoding="utf-8"))


def test_command_writes_the_report(tmp_path: Path) -> None:
    ratings = study()
    content = run(tmp_path, ratings)
    expected = to_json(agreement_report(RatingTable.from_ratings(ratings)))
    assert content.pop("software").startswith("cellularity ")
    assert content == json.loads(json.dumps(expected))
    assert set(content) >= KEYS
    assert all(set(pair) >= PAIR_KEYS for pair in content["pairs"])
    assert set(content["pairs"][0]["bland_altman"]) == {"bias", "loa_low", "loa_high"}
    assert all(set(s) >= {"value", "low", "high"} for s in statistics(content))


def test_per_cent_gives_the_same_figures(tmp_path: Path) -> None:
    ratings = [r for r in study() if r.kind == "reader"]
    percent = [
        Rating(r.case_id, r.reader, round(100 * r.score), r.patient_id, repeat=r.repeat)
        for r in ratings
    ]
    assert run(tmp_path, percent, "--percent") == run(tmp_path, ratings)


def test_two_runs_say_the_same_on_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, study(12))
    outputs = []
    for _ in range(2):
        assert main(["agreement", str(tmp_path / "r.csv"), "--json", "-"]) == 0
        outputs.append(capsys.readouterr())
    assert outputs[0] == outputs[1]
    assert json.loads(outputs[0].out) == json.loads((tmp_path / "out.json").read_text())


def test_command_prints_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = run(tmp_path, study())
    capsys.readouterr()
    assert main(["agreement", str(tmp_path / "r.csv")]) == 0
    text = capsys.readouterr().out
    assert "3 readers, 30 cases of 30 patients, 30 scored by every reader" in text
    row = next(line for line in text.splitlines() if "ICC(A,1)" in line and "generalised" in line)
    found = content["icc_a1"]
    assert f"{found['value']:.2f}" in row
    assert f"{found['low']:.2f} to {found['high']:.2f}" in row
    for words in ("Models beside the readers' spread", "Repeats", "Two by two", "cannot be scored"):
        assert words in text


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("nothing.csv", None, 2, "there is no file"),
        ("r.csv", "case_id,reader,score\na,r,0.5\nb,r,45\n", 1, "line 3: the score 45 is outside"),
        ("r.csv", "a,b\n1,2\n", 1, "no column case_id"),
    ],
)
def test_wrong_file_is_one_sentence(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: str | None,
    code: int,
    said: str,
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    assert main(["agreement", str(path), "--json", "-"]) == code
    output = capsys.readouterr()
    assert output.out == ""
    assert said in " ".join(output.err.replace("│", " ").split())
    assert "Traceback" not in output.err
    if code == 1:
        assert output.err.count("\n") == 1


def test_unknown_columns_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "r.csv", "a,r,0.5,p", header="case_id,reader,score,patientid")
    assert main(["agreement", str(path), "--json", "-"]) == 0
    assert "left out: patientid" in capsys.readouterr().err


def test_coverage_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "coverage.json"
    assert main(["agreement-coverage", "--draws", "100", "--json", str(target)]) == 0
    entries = json.loads(target.read_text())["coverage"]
    assert len({tuple(entry["setting"].values()) for entry in entries}) == 8
    capsys.readouterr()
    assert main(["agreement-coverage", "--draws", "100"]) == 0
    text = capsys.readouterr().out
    for words in ("ICC(A,1)", "generalised", "McGraw & Wong", "MLS", "Gwet's AC2", "PK"):
        assert words in text, words


def test_statistics_are_frozen() -> None:
    statistic = Statistic(0.5)
    with pytest.raises(AttributeError):
        statistic.value = 0.6  # type: ignore[misc]
