"""The page Agreement: which ratings of a study count, and that it shows what the core computes."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from agreement_page_support import (
    SECTIONS,
    frames,
    material,
    own_records,
    page,
    said,
    section,
    shown,
    table_of,
)
from agreement_support import seeded_study
from db_support import commit, new_case, opened, plan, sha

from cellularity_core.agreement import Rating, RatingTable, agreement_report
from db import records
from db.session import snapshot, transaction
from pages.parts import state
from pages.parts.agreement_data import MEAN_OF_MODELS, movement
from pages.parts.agreement_disputes import queue
from pages.parts.agreement_figures import confusion_counts
from pages.parts.store import store


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with own_records(tmp_path, monkeypatch):
        yield


def test_every_number_is_what_the_core_computes_of_the_committed_scores() -> None:
    study = seeded_study(store(), n_cases=16)
    report = agreement_report(table_of(study))
    at = page(study.id)
    icc = report.icc_a1
    assert f"{icc.value:.2f} (95 % interval {icc.low:.2f} to {icc.high:.2f})" in said(at)
    assert "4 readers scored 16 cases of 8 patients" in said(at)
    [counts] = frames(at)
    assert counts["Scored"].tolist() == [count.scored for count in report.counts]
    assert counts["Cannot be scored"].tolist()[:4] == [
        count.cannot_score for count in report.counts if count.kind == "reader"
    ]
    assert sum(counts["Cannot be scored"]) > 0

    group, models, repeats = frames(section(at, "Statistics"))
    found = dict(zip(group["Statistic"].str.split(":").str[0], group["Value"], strict=True))
    for name, key in (
        ("ICC(A,1)", "icc_a1"),
        ("ICC(C,k)", "icc_ck"),
        ("Fleiss' kappa, 4 bins", "fleiss_kappa4"),
        ("Krippendorff's alpha, scores", "krippendorff_interval"),
        ("Gwet's AC2, 4 bins, quadratic", "gwet_ac2_quadratic_bins4"),
    ):
        assert found[name] == f"{getattr(report, key).value:.2f}", name
    by_icc = models[models["By"] == "ICC(A,1)"].set_index("Model")
    for entry in report.model_vs_readers:
        row = by_icc.loc[entry.model]
        assert row["With readers"] == shown(entry.icc_a1.model)
        assert row["Verdict"] == entry.icc_a1.verdict
        assert f"{entry.icc_a1.difference.value:.3f}" in row["Difference"]
    for row, entry in zip(repeats.to_dict("records"), report.repeatability, strict=True):
        spread = entry.within_sd
        assert spread.low is None and spread.reason  # too few patients with repeats
        assert row["Within-reader SD"] == f"{100 * spread.value:.1f}"
        assert row["Why not"] == (entry.icc.reason or spread.reason)

    pair_facts, pairs = frames(section(at, "Two by two"))
    assert len(pairs) == len(report.pairs) == 28
    for row, pair in zip(pairs.to_dict("records"), report.pairs, strict=True):
        assert (row["a"], row["b"], row["Cases"]) == (pair.a, pair.b, pair.n)
        assert row["ICC(A,1)"] == shown(pair.icc_a1)
        assert row["Quadratic kappa"] == shown(pair.kappa4_quadratic)
        assert row["Limits (95 %)"] == (
            f"{100 * pair.bland_altman.loa_low.value:.1f} to "
            f"{100 * pair.bland_altman.loa_high.value:.1f}"
        )
    assert str(pairs.iloc[0]["ICC(A,1)"]) in pair_facts["Value"].tolist()


def test_the_pair_that_is_chosen_is_drawn() -> None:
    study = seeded_study(store())
    at = section(page(study.id), "Two by two")
    at.selectbox(key=state.AGREEMENT_A).select("Nuclei maps").run()
    at.selectbox(key=state.AGREEMENT_B).select("Chi").run()
    assert not at.exception
    text = said(at)
    pair = next(
        p for p in agreement_report(table_of(study)).pairs if (p.a, p.b) == ("Nuclei maps", "Chi")
    )
    assert f"**Nuclei maps** beside **Chi**, the reference, on {pair.n} cases" in text
    assert shown(pair.icc_a1) in text
    a, b = table_of(study).first_reads(("Nuclei maps", "Chi")).T
    both = np.isfinite(a) & np.isfinite(b)
    counts = confusion_counts(a[both], b[both])
    assert counts.sum() == pair.n
    by_hand = sum(
        (np.ceil(4 * x) <= 1) and (np.ceil(4 * y) <= 1)
        for x, y in zip(a[both], b[both], strict=True)
    )
    assert counts[0, 0] == by_hand


CONTROL = "before-after with control"
SECOND = {"after": 0.9, "control": 0.8}


def test_scores_by_another_version_of_the_software_do_not_count_and_are_told() -> None:
    study = seeded_study(store(), n_cases=4)
    before = [text.value for text in page(study.id).markdown]
    with transaction(store()) as db:
        records.keep_model_scores(
            db,
            sha256=sha(0),
            mpp=0.5,
            scores={"gbt": (0.99, None, None), "xception": (0.99, None, None)},
            model_set="starter",
            model_sha256="f" * 64,
            software="cellularity 2.0",
        )
    at = page(study.id)
    assert [text.value for text in at.markdown] == before
    assert (
        "Scores of 1 case by cellularity 2.0 are kept as well and do not count: the study uses "
        "those of cellularity 1.0." in said(at)
    )


def test_a_score_given_by_who_had_met_the_models_is_left_out_and_counted() -> None:
    with transaction(store()) as db:
        made = opened(db, n_cases=2, readers=["Ana", "Ben"])
        for seen in (True, False):
            task = records.next_assignment(db, study_id=made.id, reader="Ana")
            assert isinstance(task, records.AssignmentRecord)
            commit(db, task, "Ana", 0.9 if seen else 0.2, seen_models=seen)
        made = records.close_study(db, study_id=made.id, actor="C")
    found = material(made)
    assert sorted(
        (r.score for r in found.ratings if r.reader == "Ana"), key=lambda score: score or 0
    ) == [None, 0.2]
    assert found.n_seen == 1


def test_only_blinded_first_reads_and_their_repeats_count() -> None:
    """Training, second scores and amendments are in the records and not in the statistics."""
    cases = [
        new_case(1000, is_training=True, reference=0.5, patient=None),
        *(new_case(k) for k in range(4)),
    ]
    with transaction(store()) as db:
        made = records.create_study(
            db,
            plan(cases=cases, readers=["Ana", "Ben"], arm=CONTROL, repeat_share=0.5),
            actor="C",
        )
        records.keep_model_scores(
            db,
            sha256=sha(0),
            mpp=0.5,
            scores={"gbt": (0.4, 0.3, 0.5), "cascade": (None, None, None)},
            model_set="starter",
            model_sha256="f" * 64,
            software="cellularity 1.0",
        )
        made = records.open_study(db, study_id=made.id, actor="C")
        for number_ in range(100):
            task = records.next_assignment(db, study_id=made.id, reader="Ana")
            if not isinstance(task, records.AssignmentRecord):
                break
            reading = commit(db, task, "Ana", SECOND.get(task.phase, 0.2))
            if number_ == 1:
                records.amend(
                    db,
                    reading_id=reading.id,
                    reader="Ana",
                    cellularity=0.7,
                    cannot_score_reason=None,
                    why="slipped",
                )
        made = records.close_study(db, study_id=made.id, actor="C")
    found = material(made)
    ana = [rating for rating in found.ratings if rating.reader == "Ana"]
    assert [rating.score for rating in ana] == [0.2] * 5
    assert sorted(rating.repeat for rating in ana) == [0, 0, 0, 0, 1]
    assert [r.score for r in found.ratings if r.reader == "Ben"] == [None] * 4
    assert {(r.reader, r.score, r.cannot_score) for r in found.ratings if r.kind == "model"} == {
        ("Nuclei features", 0.4, False),
        ("Nuclei maps", None, True),
    }
    assert found.n_amended == 1
    counts = {count.rater: count for count in found.table.counts()}
    assert (counts["Ana"].scored, counts["Ana"].repeats, counts["Ben"].missing) == (4, 1, 4)
    at = page(made.id)
    assert "1 score amended later" in said(at)
    [shown_counts] = frames(at)
    assert shown_counts.set_index("Rater").loc["Ben", "Missing"] == 4


def test_a_reader_named_like_a_model_stays_apart() -> None:
    study = seeded_study(store(), readers=["Nuclei maps", "Ana"])
    table = material(study).table
    assert table.readers == ("Nuclei maps", "Ana")
    assert table.models[1] == "Nuclei maps (model)"


@pytest.mark.parametrize(
    ("readers", "n_cases", "words"),
    [
        (["Eve"], 1, "1 reader scored 1 case."),
        (["Eve", "Ana"], 1, "Their agreement cannot be said yet"),
        (["Eve", "Ana"], 3, "2 readers scored 3 cases of 2 patients."),
    ],
)
def test_little_data_gives_reasons_and_no_errors(
    readers: list[str], n_cases: int, words: str
) -> None:
    study = seeded_study(store(), readers=readers, n_cases=n_cases)
    at = page(study.id)
    assert words in said(at)
    for name in SECTIONS:
        section(at, name)
    at.button(key=state.REPORT_MAKE).click().run()
    assert not at.exception
    assert at.get("download_button")


def test_without_models_there_are_readers_only() -> None:
    study = seeded_study(store(), methods=(), model_set=None, model_sha256=None)
    at = page(study.id)
    assert "4 readers scored 12 cases" in said(at)
    for name in SECTIONS:
        section(at, name)


def test_who_takes_part_in_an_open_study_is_told_why_nothing_is_shown() -> None:
    study = seeded_study(store(), close=False)
    at = page(study.id, reader="Ana")
    assert [element.value for element in at.info] == [
        "Ana takes part in “Readers 2026”, so scores of others and of the models for its "
        "patches are shown only once it is closed. Until then your cases are on the page Read."
    ]
    assert not at.dataframe
    assert not at.get("plotly_chart")
    assert not at.segmented_control
    outsider = page(study.id)
    assert "numbers are interim" in outsider.warning[0].value
    assert outsider.get("plotly_chart")
    with transaction(store()) as db:
        records.close_study(db, study_id=study.id, actor="C")
    assert page(study.id, reader="Ana").get("plotly_chart")


def test_a_study_that_is_not_there_is_said() -> None:
    assert "There is no study 77 to show" in page(77).warning[0].value


def test_a_study_that_nobody_has_read_is_said() -> None:
    study = seeded_study(store(), close=False, read=())
    at = page(study.id)
    assert "Nothing of “Readers 2026” has been read yet" in at.info[0].value


def test_the_trend_is_drawn_by_batch_and_by_week() -> None:
    study = seeded_study(store(), n_cases=20)
    at = section(page(study.id), "Over time")
    at.number_input(key=state.AGREEMENT_BATCH).set_value(10).run()
    [table] = frames(at)
    assert table[table["Rater"] == "Ana"]["Cases"].tolist() == [10, 8]
    at.segmented_control(key=state.AGREEMENT_PERIOD).set_value("week").run()
    [table] = frames(at)
    year, week, _ = datetime.now(UTC).isocalendar()
    assert set(table["Period"]) == {f"{year}-W{week:02d}"}
    assert not at.exception


def test_automation_bias_is_told_against_the_control_arm() -> None:
    study = seeded_study(store(), arm="before-after with control")
    at = section(page(study.id), "After AI")
    [table] = frames(at)
    table = table.set_index("What")
    pull = table.loc["Share of the way to the model (weight of advice)"]
    assert float(pull["Models shown"].split()[0]) == pytest.approx(1 / 3, abs=0.02)
    assert pull["Control"] == "0.00"
    assert not at.warning
    found = movement(material(study), MEAN_OF_MODELS)
    assert found is not None
    assert found.control is not None
    assert found.shown.pull.value == pytest.approx(1 / 3, abs=0.02)
    assert found.control.pull.value == 0
    # the same by the slow definition
    with snapshot(store()) as db:
        rows = records.study_readings(db, study.id)
    assert any(r.occasion for r in rows if r.phase == "control")
    rows = [row for row in rows if row.occasion == 0]
    before = {(r.case, r.reader): r.cellularity for r in rows if r.phase == "before"}
    second = [r for r in rows if r.phase == "after" and r.cellularity is not None]
    moved = [
        abs(r.cellularity - before[r.case, r.reader]) > 0.005
        for r in second
        if before[r.case, r.reader] is not None
    ]
    assert found.shown.n_reads == len(moved)
    assert found.shown.moved.value == pytest.approx(np.mean(moved))


def test_without_a_control_arm_automation_bias_cannot_be_told() -> None:
    study = seeded_study(store(), arm="before-after", n_cases=6)
    assert "no control arm" in section(page(study.id), "After AI").warning[0].value
    other = seeded_study(store(), name="Before only", first=50, n_cases=6)
    assert "Nobody was shown the models" in section(page(other.id), "After AI").info[0].value


def test_the_queue_begins_with_the_largest_disagreement() -> None:
    scores = {
        "close": {"Ana": 0.5, "Ben": 0.5, "M": 0.1},
        "apart": {"Ana": 0.1, "Ben": 0.9, "M": 0.5},
        "once": {"Ana": 0.3},
        "middle": {"Ana": 0.2, "Ben": 0.4, "M": 0.3},
    }
    ratings = [
        Rating(case, name, score, kind="model" if name == "M" else "reader")
        for case, given in scores.items()
        for name, score in given.items()
    ]
    ratings += [
        Rating("once", "Ben", None, cannot_score=True),
        Rating("close", "Ana", 0.9, repeat=1),
    ]
    table = RatingTable.from_ratings(ratings)
    by_spread = queue(table, by_gap=False)
    assert [entry.case for entry in by_spread] == ["apart", "middle", "close", "once"]
    assert [entry.spread for entry in by_spread] == [
        pytest.approx(0.8),
        pytest.approx(0.2),
        0,
        None,
    ]
    assert by_spread[-1].refused == ("Ben",)
    by_gap = queue(table, by_gap=True)
    assert by_gap[0].case == "close"
    assert by_gap[0].gap == pytest.approx(-0.4)


def test_a_consensus_is_kept_with_its_reason_once_the_study_is_closed() -> None:
    study = seeded_study(store(), close=False)
    at = section(page(study.id), "Disagreements")
    assert any("once the study is closed" in element.value for element in at.info)
    assert not at.text_input(key="reader").disabled
    with transaction(store()) as db:
        records.close_study(db, study_id=study.id, actor="C")
    at = section(page(study.id), "Disagreements")
    first = queue(table_of(study), by_gap=False)[0]
    assert frames(at)[0].iloc[0]["Case"] == first.case
    assert frames(at)[0].iloc[0]["Readers' spread"] == pytest.approx(100 * first.spread)
    assert at.get("imgs") or at.image
    case_id = material(study).case_ids[first.case]
    keep = f"{state.AGREEMENT_KEEP}.{case_id}"
    at.button(key=keep).click().run()
    assert "needs a score from 0 to 100 and its reason" in at.error[0].value
    at.number_input(key=f"{state.AGREEMENT_SCORE}.{case_id}").set_value(40)
    at.text_input(key=f"{state.AGREEMENT_REASON}.{case_id}").set_value("Looked at it together")
    at.button(key=keep).click().run()
    assert not at.exception
    with snapshot(store()) as db:
        [kept] = records.consensus(db, study.id)
    assert (kept.case, kept.cellularity, kept.reason, kept.by) == (
        first.case,
        0.4,
        "Looked at it together",
        "Cora",
    )
    assert frames(at)[-1].iloc[0]["Reason"] == "Looked at it together"


def test_a_report_notes_the_head_of_the_trail_outside_the_records() -> None:
    study = seeded_study(store())
    at = section(page(study.id), "Report")
    at.button(key=state.REPORT_MAKE).click().run()
    assert not at.exception
    with snapshot(store()) as db:
        head = records.head(db)
    noted = records.noted_heads(store().url)
    assert noted[-1] == head
    assert head.hash in at.success[0].value
    assert "Blinding rested on trust" in said(at)
    assert len(at.get("download_button")) == 3
    with transaction(store()) as db:
        records.keep_consensus(
            db,
            case_id=next(iter(material(study).case_ids.values())),
            cellularity=0.4,
            reason="agreed",
            by="Cora",
        )
    assert not at.run().success, "a report of what is no longer so is not offered"
