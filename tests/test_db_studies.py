"""Studies: plans, orders, what comes next, commits, amendments, blinding."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from db_support import (
    BACKENDS,
    MODELS,
    commit,
    new_case,
    open_database,
    opened,
    plan,
    read_all,
    sha,
)
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from db import order, records
from db.errors import RecordError
from db.schema import AuditEvent, Reading, utcnow
from db.session import snapshot, transaction


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with open_database(request.param, tmp_path) as engine:
        yield engine


def following(db: Session, study_id: int, reader: str = "Ana") -> records.AssignmentRecord:
    task = records.next_assignment(db, study_id=study_id, reader=reader)
    assert isinstance(task, records.AssignmentRecord)
    return task


def test_a_study_is_read_from_the_first_case_to_the_last(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(db, n_cases=4, n_training=2)
    assert (made.state, made.n_cases, made.n_training) == ("open", 4, 2)
    assert made.readers == ("Kim Weber", "Ana")
    seen = []
    for k in range(6):
        with transaction(engine) as db:  # a new session each time: a closed tab
            task = following(db, made.id)
            assert following(db, made.id) == task
            assert (task.position, task.total, task.done, task.phase) == (k, 6, k, "before")
            assert task.is_training == (k < 2)
            assert records.image(db, sha256=task.sha256) is not None
            commit(db, task, "ana", k / 10)
            seen.append(task.sha256)
    with snapshot(engine) as db:
        assert records.next_assignment(db, study_id=made.id, reader="Ana") is None
        rows = records.study_readings(db, made.id)
        cases = {case.code: case.sha256 for case in records.cases(db, made.id)}
        kim, ana = records.progress(db, made.id)
    assert [cases[row.case] for row in rows] == seen
    assert [row.cellularity for row in rows] == [k / 10 for k in range(6)]
    assert {(row.reader, row.phase, row.occasion, row.amended) for row in rows} == {
        ("Ana", "before", 0, False)
    }
    assert (kim.done, kim.total, kim.training_error) == (0, 6, None)
    assert (ana.done, ana.training_done, ana.qualified) == (6, 2, None)
    assert ana.training_error == pytest.approx(0.45)  # |0 - 0.5| and |0.1 - 0.5|


FIXED = [  # by hand with sha256sum, e.g. of 7/order/kim/C-0001
    ("2", 0, "ai"),
    ("4", 0, "control"),
    ("1", 0, "ai"),
    ("5", 0, "ai"),
    ("3", 0, "control"),
    ("4", 1, "control"),
]

CONTROL = "before-after with control"

CODES = st.lists(st.integers(0, 9999), min_size=1, max_size=40, unique=True).map(
    lambda numbers: [f"C-{number:04}" for number in numbers]
)


@given(
    cases=CODES,
    seed=st.integers(-100, 100),
    rank=st.integers(0, 5),
    share=st.floats(0, 1),
    design=st.sampled_from(records.DESIGNS),
)
def test_every_case_is_read_once_and_repeats_follow_in_the_same_order(
    cases: list[str], seed: int, rank: int, share: float, design: records.Design
) -> None:
    slots = order.slots(
        seed=seed,
        reader="kim",
        rank=rank,
        training=["T"],
        cases=cases,
        repeat_share=share,
        design=design,
    )
    first = [slot.code for slot in slots if slot.occasion == 0]
    again = [slot.code for slot in slots if slot.occasion == 1]
    assert slots[0] == order.Slot("T", 0, "ai")
    assert sorted(first[1:]) == sorted(cases)
    assert [slot.occasion for slot in slots] == sorted(slot.occasion for slot in slots)
    assert again == [code for code in first if code in again]
    arms = {code: {slot.arm for slot in slots if slot.code == code} for code in cases}
    assert all(len(arm) == 1 for arm in arms.values())
    controls = sum(arm == {"control"} for arm in arms.values())
    has_control = design == "before-after with control"
    assert controls == ((len(cases) + rank % 2) // 2 if has_control else 0)
    alone = {"before": len(cases), "before-after": 0}.get(design, controls)
    assert len(again) == (max(1, round(share * alone)) if share and alone else 0)
    if has_control:  # a repeat after the models were seen tells nothing of the reader alone
        assert all(arms[code] == {"control"} for code in again)


def test_the_order_is_what_it_always_was() -> None:
    """A fixed answer: a change of it would break studies that are running."""
    cases = [f"C-{k:04}" for k in range(1, 6)]
    asked = {"seed": 7, "training": [], "cases": cases, "repeat_share": 0.4, "design": CONTROL}
    slots = order.slots(reader="kim", rank=0, **asked)
    assert [(slot.code[-1], slot.occasion, slot.arm) for slot in slots] == FIXED
    assert slots == order.slots(reader="kim", rank=0, **asked)
    assert slots != order.slots(reader="kim", rank=0, **asked | {"seed": 8})
    assert [s.code for s in slots] != [s.code for s in order.slots(reader="ana", rank=1, **asked)]


def test_orders_are_fair() -> None:
    """Over many readers each case comes first, is repeated and is control about as often."""
    cases = [f"C-{k:04}" for k in range(10)]
    first = dict.fromkeys(cases, 0)
    repeats = dict.fromkeys(cases, 0)
    controls = dict.fromkeys(cases, 0)
    for rank in range(2000):
        slots = order.slots(
            seed=1,
            reader=f"reader {rank}",
            rank=rank,
            training=[],
            cases=cases,
            repeat_share=0.3,
            design=CONTROL,
        )
        first[slots[0].code] += 1
        for slot in slots:
            repeats[slot.code] += slot.occasion
            controls[slot.code] += slot.occasion == 0 and slot.arm == "control"
    assert set(controls.values()) == {1000}  # every pair of readers balances each case
    assert all(abs(count - 200) < 5 * 13.4 for count in first.values())  # 5 standard deviations
    assert all(abs(count - 400) < 5 * 17.9 for count in repeats.values())


def test_one_more_reader_changes_nobodys_order(engine: Engine) -> None:
    def orders(db: Session) -> dict[str, list[tuple[str, int, str]]]:
        found = {}
        for event in records.events(db, limit=100, entity="membership"):
            found[event.new["reader"]] = [tuple(slot) for slot in event.new["order"]]
        return found

    with transaction(engine) as db:
        made = opened(
            db, n_cases=7, repeat_share=0.5, arm="before-after with control", readers=["Kim", "Ana"]
        )
        before = orders(db)
        more = records.add_reader_to_study(db, study_id=made.id, reader="Zoe", actor="C")
        after = orders(db)
    assert more.readers == ("Kim", "Ana", "Zoe")
    assert {name: after[name] for name in before} == before
    assert len({tuple(slots) for slots in after.values()}) == 3
    with pytest.raises(RecordError, match="already"), transaction(engine) as db:
        records.add_reader_to_study(db, study_id=made.id, reader="ZOE", actor="C")


def test_case_codes_tell_nothing_of_the_order_of_the_files(engine: Engine) -> None:
    with transaction(engine) as db:
        made = records.create_study(db, plan(n_cases=20), actor="C")
        codes = {case.sha256: case.code for case in records.cases(db, made.id)}
    assert sorted(codes.values()) == [f"C-{k:04}" for k in range(1, 21)]
    given_order = [codes[sha(k)] for k in range(20)]
    assert given_order not in (sorted(given_order), sorted(given_order, reverse=True))


@pytest.mark.parametrize("arm", ["before-after", "before-after with control"])
def test_the_second_score_follows_directly(engine: Engine, arm: records.Design) -> None:
    with transaction(engine) as db:
        made = opened(db, n_cases=6, n_training=1, arm=arm)
        training = following(db, made.id)
        commit(db, training, "Ana", 0.5)
        shown = []
        for _ in range(6):
            task = following(db, made.id)
            assert (task.phase, task.before, task.is_training) == ("before", None, False)
            commit(db, task, "Ana", 0.2)
            second = following(db, made.id)
            assert (second.id, second.before, second.position) == (task.id, 0.2, task.position)
            shown.append(second.phase)
            if second.phase == "after":
                models = records.reveal(db, assignment_id=task.id, reader="Ana").model_scores
                assert {name: s.value for name, s in models.items()} == {"gbt": 0.4, "cascade": 0.6}
            else:
                assert records.reveal(db, assignment_id=task.id, reader="Ana").model_scores == {}
            commit(db, second, "Ana", 0.25)
        assert records.next_assignment(db, study_id=made.id, reader="Ana") is None
        rows = records.study_readings(db, made.id)
    assert sorted(shown) == ["after"] * (3 if "control" in arm else 6) + ["control"] * (
        3 if "control" in arm else 0
    )
    assert [row.phase for row in rows[1:3]] == ["before", shown[0]]
    assert {row.arm for row in rows if row.phase == "control"} <= {"control"}
    assert {(row.phase, row.cellularity) for row in rows[1:]} == {
        ("before", 0.2),
        *((phase, 0.25) for phase in shown),
    }


def test_a_repeat_waits_for_its_wash_out(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(db, n_cases=3, repeat_share=0.5, washout_days=14)
        assert read_all(db, made.id, "Ana") == 3
        rows = records.study_readings(db, made.id)
        waiting = records.next_assignment(db, study_id=made.id, reader="Ana")
        assert isinstance(waiting, records.Waiting)
        later = utcnow() + timedelta(days=14, minutes=1)
        task = records.next_assignment(db, study_id=made.id, reader="Ana", now=later)
        assert isinstance(task, records.AssignmentRecord)
        by_code = {case.sha256: case.code for case in records.cases(db, made.id)}
        first = next(row for row in rows if row.case == by_code[task.sha256])
        assert waiting.until == first.created_at + timedelta(days=14)
    with (
        pytest.raises(RecordError, match="not the read that comes next"),
        transaction(engine) as db,
    ):
        commit(db, task, "Ana")
    with transaction(engine) as db:
        commit(db, task, "Ana", 0.35, now=later)
        last = records.study_readings(db, made.id)[-1]
    assert (last.occasion, last.case, last.cellularity) == (1, first.case, 0.35)


def test_what_a_reader_gets_does_not_tell_a_repeat(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(db, n_cases=2, repeat_share=1.0)
        tasks = []
        for _ in range(4):
            task = following(db, made.id)
            commit(db, task, "Ana")
            tasks.append(task)
    for task in tasks:
        told = {name: getattr(task, name) for name in task.__slots__}
        assert set(told) == {
            *("id", "study_id", "phase", "is_training", "position", "total", "done"),
            *("sha256", "png", "width", "height", "mpp", "before"),
        }
        assert "C-0001" not in str(told) and "C-0002" not in str(told)
    assert len({task.id for task in tasks}) == 4
    assert len({task.sha256 for task in tasks}) == 2


@pytest.mark.parametrize(
    ("scores", "is_qualified"), [((0.4, 0.6), True), ((0.4, 0.61), False), ((0.5, None), False)]
)
def test_below_the_proficiency_line_a_reader_does_not_go_on(
    engine: Engine, scores: tuple[float | None, ...], is_qualified: bool
) -> None:
    with transaction(engine) as db:
        made = opened(db, n_training=2, proficiency=0.1)
        for score in scores:
            commit(db, following(db, made.id), "Ana", score)
        step = records.next_assignment(db, study_id=made.id, reader="Ana")
        _, ana = records.progress(db, made.id)
    assert ana.qualified is is_qualified
    assert ana.training_error == pytest.approx(
        sum(0.5 if score is None else abs(score - 0.5) for score in scores) / 2
    )
    if is_qualified:
        assert isinstance(step, records.AssignmentRecord)
    else:
        assert step == records.NotQualified(ana.training_error, 0.1)


def test_feedback_comes_after_the_own_training_score_only(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(db, n_training=1, show_feedback=True, arm="before-after")
        task = following(db, made.id)
        with pytest.raises(RecordError, match="before your own score is committed"):
            records.reveal(db, assignment_id=task.id, reader="Ana")
        commit(db, task, "Ana", 0.7)
        shown = records.reveal(db, assignment_id=task.id, reader="Ana")
    assert (shown.reference, shown.model_scores) == (0.5, {})


def test_the_same_answer_commits_once_and_another_never_passes_for_it(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(db)
        task = following(db, made.id)
    with transaction(engine) as db:
        first = commit(db, task, "Ana", 0.3, token="t")
    with transaction(engine) as db:
        again = commit(db, task, "Ana", 0.3, token="t")
        assert again == first
        assert db.scalars(select(Reading.cellularity)).all() == [0.3]
    for token, words in (("t", "stays"), ("other", "committed already"), ("", "token")):
        with pytest.raises(RecordError, match=words), transaction(engine) as db:
            commit(db, task, "Ana", 0.9, token=token)
    with transaction(engine) as db:
        second = following(db, made.id)
    with pytest.raises(RecordError, match="token was used"), transaction(engine) as db:
        commit(db, second, "Ana", 0.9, token="t")


def test_only_what_comes_next_can_be_committed(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(db, arm="before-after")
        mine, kims = following(db, made.id), following(db, made.id, "Kim Weber")
    refused = [
        (mine, "Kim Weber", {}, "is not Kim Weber's"),
        (kims, "Ana", {}, "is not Ana's"),
        (mine, "Ana", {"phase": "after"}, "not the read that comes next"),
        (mine, "Ana", {"phase": "control"}, "not the read that comes next"),
        (mine, "Ana", {"assignment_id": mine.id + 1}, "not the read that comes next"),
        (mine, "Ana", {"assignment_id": 10**6}, "no read"),
        (mine, "Nobody", {}, "No reader is called"),
        (mine, "Ana", {"cellularity": 1.2}, "between 0 and 1"),
        (mine, "Ana", {"cellularity": float("nan")}, "between 0 and 1"),
        (mine, "Ana", {"cellularity": None}, "either a cellularity or the reason"),
        (mine, "Ana", {"cannot_score_reason": "fold"}, "either a cellularity or the reason"),
        (mine, "Ana", {"cellularity": None, "cannot_score_reason": " "}, "needs its reason"),
        (mine, "Ana", {"confidence": 6}, "give 1 to 5"),
        (mine, "Ana", {"seconds": -1.0}, "0 or more"),
    ]
    for task, reader, changes, words in refused:
        with pytest.raises(RecordError, match=words), transaction(engine) as db:
            commit(db, task, reader, **changes)
    with transaction(engine) as db:
        assert records.study_readings(db, made.id) == []
        commit(db, mine, "Ana", None)
        [row] = records.study_readings(db, made.id)
    assert (row.cellularity, row.cannot_score_reason) == (None, "out of focus")


def test_a_study_is_read_while_it_is_open(engine: Engine) -> None:
    with transaction(engine) as db:
        made = records.create_study(db, plan(), actor="C")
    for words, move in (
        ("is draft", None),
        ("cannot become open", records.close_study),
    ):
        if move:
            with transaction(engine) as db:
                move(db, study_id=made.id, actor="C")
            with pytest.raises(RecordError, match=words), transaction(engine) as db:
                records.open_study(db, study_id=made.id, actor="C")
            with pytest.raises(RecordError, match="nobody can join"), transaction(engine) as db:
                records.add_reader_to_study(db, study_id=made.id, reader="Zoe", actor="C")
        with pytest.raises(RecordError, match="nothing to read"), transaction(engine) as db:
            records.next_assignment(db, study_id=made.id, reader="Ana")
    with transaction(engine) as db:
        records.enrol(db, name="Zoe")
    with pytest.raises(RecordError, match="takes no part"), transaction(engine) as db:
        records.next_assignment(db, study_id=made.id, reader="Zoe")
    with pytest.raises(RecordError, match="no study 99"), transaction(engine) as db:
        records.study(db, 99)


def test_closing_keeps_what_was_read_and_ends_the_reading(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(db)
        task = following(db, made.id)
        commit(db, task, "Ana")
        late = following(db, made.id)
        closed = records.close_study(db, study_id=made.id, actor="C")
    assert closed.state == "closed"
    with pytest.raises(RecordError, match="is closed"), transaction(engine) as db:
        commit(db, late, "Ana")
    with transaction(engine) as db:
        assert len(records.study_readings(db, made.id)) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": " "}, "name needs 1 to 120"),
        ({"arm": "after"}, "no design"),
        ({"repeat_share": 1.1}, "share of repeats"),
        ({"washout_days": -1.0}, "wash-out"),
        ({"proficiency": 2.0}, "proficiency line"),
        ({"proficiency": 0.1}, "needs training cases"),
        ({"seed": 2**31}, "does not fit"),
        ({"cases": []}, "at least one case"),
        ({"cases": [new_case(1), new_case(1)]}, "same pixels"),
        ({"cases": [new_case(1), new_case(2, is_training=True)]}, "has no reference"),
        ({"cases": [new_case(1, reference=1.5)]}, "must lie between 0 and 1"),
        ({"cases": [new_case(1, png=b"GIF89a")]}, "must be given as PNG"),
        ({"arm": "before-after", "model_set": None}, "Choose a model set"),
    ],
)
def test_a_plan_that_does_not_hold_together_is_refused(
    engine: Engine, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(RecordError, match=words), transaction(engine) as db:
        records.create_study(db, plan(**changes), actor="C")
    with transaction(engine) as db:
        assert records.studies(db) == []
        assert records.head(db).sequence == 0


def test_two_studies_share_patches_but_not_names(engine: Engine) -> None:
    with transaction(engine) as db:
        one = records.create_study(db, plan(), actor="C")
        two = records.create_study(db, plan(name="Other", readers=["Zoe"]), actor="C")
        assert [s.id for s in records.studies(db)] == [two.id, one.id]
        assert [s.id for s in records.studies(db, reader="kim weber")] == [one.id]
    with pytest.raises(RecordError, match="already"), transaction(engine) as db:
        records.create_study(db, plan(name=" Other "), actor="C")


def test_a_patch_is_read_in_one_study_at_a_time(engine: Engine) -> None:
    with transaction(engine) as db:
        one = opened(db)
    again = plan(name="Again", readers=["Ana"])
    with pytest.raises(RecordError, match="is reading some of these"), transaction(engine) as db:
        records.create_study(db, again, actor="C")
    with transaction(engine) as db:
        records.close_study(db, study_id=one.id, actor="C")
        records.create_study(db, again, actor="C")


def test_a_closed_study_tells_nothing_of_a_patch_that_is_still_read(engine: Engine) -> None:
    with transaction(engine) as db:
        old = opened(db, readers=["Kim Weber"])
        commit(db, following(db, old.id, "Kim Weber"), "Kim Weber", 0.55)
        records.close_study(db, study_id=old.id, actor="C")
        new = opened(db, name="New", readers=["Ana"])
    for ask in (records.study_readings, records.model_scores):
        with pytest.raises(RecordError, match="New"), snapshot(engine) as db:
            ask(db, old.id, asking="ana")
    with transaction(engine) as db:
        assert records.study_readings(db, old.id, asking="Kim Weber")
        records.close_study(db, study_id=new.id, actor="C")
        assert records.study_readings(db, old.id, asking="ana")


def test_a_blinded_score_of_who_met_the_models_is_marked(engine: Engine) -> None:
    """By the records alone: the page of another session or day knows nothing of it."""
    with transaction(engine) as db:
        shown = opened(db, arm="before-after", n_cases=1, readers=["Ana"])
        commit(db, following(db, shown.id), "Ana", 0.3)
        commit(db, following(db, shown.id), "Ana", 0.4)
        records.close_study(db, study_id=shown.id, actor="C")
        again = opened(db, name="Again", n_cases=1, readers=["Ana", "Kim Weber"])
        marked = commit(db, following(db, again.id), "Ana", 0.4)
        blind = commit(db, following(db, again.id, "Kim Weber"), "Kim Weber", 0.4)
    assert (marked.phase, marked.seen_models) == ("before", True)
    assert (blind.phase, blind.seen_models) == ("before", False)


def test_a_patch_keeps_its_pixel_size(engine: Engine) -> None:
    made = plan()
    with transaction(engine) as db:
        records.close_study(db, study_id=records.create_study(db, made, actor="C").id, actor="C")
    other = replace(made, name="Other", cases=[replace(c, mpp=0.25) for c in made.cases])
    with pytest.raises(RecordError, match="um per pixel"), transaction(engine) as db:
        records.create_study(db, other, actor="C")


def test_an_amendment_never_replaces_the_score(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(db)
        kept = commit(db, following(db, made.id), "Ana", 0.3)
        records.amend(
            db,
            reading_id=kept.id,
            reader="Ana",
            cellularity=0.8,
            cannot_score_reason=None,
            why="slipped",
        )
    for reader, why, words in (
        ("Kim Weber", "x", "has no reading"),
        ("Ana", " ", "needs its reason"),
    ):
        with pytest.raises(RecordError, match=words), transaction(engine) as db:
            records.amend(
                db,
                reading_id=kept.id,
                reader=reader,
                cellularity=0.1,
                cannot_score_reason=None,
                why=why,
            )
    with transaction(engine) as db:
        [row] = records.study_readings(db, made.id)
        [amendment] = records.amendments(db, made.id)
        [own] = records.own_readings(db, study_id=made.id, reader="Ana")
    assert (row.cellularity, row.amended) == (0.3, True)
    assert (amendment.cellularity, amendment.why, amendment.reading_id) == (0.8, "slipped", kept.id)
    assert own == kept


def test_nothing_of_models_or_peers_before_the_own_score(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(db, arm="before-after")
        read_all(db, made.id, "Kim Weber", 0.7654321)  # more digits than a moment has
        task = following(db, made.id)
        for reader, words in (
            ("Ana", "before your own score is committed"),
            ("Kim Weber", "has no read"),
        ):
            with pytest.raises(RecordError, match=words):
                records.reveal(db, assignment_id=task.id, reader=reader)
        with pytest.raises(RecordError, match="only once it is closed"):
            records.study_readings(db, made.id, asking="ana")
        with pytest.raises(RecordError, match="only once it is closed"):
            records.model_scores(db, made.id, asking="ANA")
        assert records.study_readings(db, made.id, asking="A coordinator")
        assert records.model_scores(db, made.id, asking="A coordinator")
        told = str(records.events(db, limit=999, asking="ana"))
        assert "0.7654321" not in told and "gbt" not in told and "C-0001" not in told
        assert "0.7654321" in str(records.events(db, limit=999, asking="A coordinator"))
        assert len(records.own_readings(db, study_id=made.id, reader="Ana")) == 0
        commit(db, task, "Ana", 0.1)
        shown = records.reveal(db, assignment_id=task.id, reader="Ana")
        assert set(shown.model_scores) == set(MODELS)
        assert "0.7654321" not in str(shown)
        records.close_study(db, study_id=made.id, actor="C")
        assert len(records.study_readings(db, made.id, asking="ana")) == 9
        assert "0.7654321" in str(records.events(db, limit=999, asking="ana"))


def test_a_study_before_ai_only_reveals_nothing_at_all(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(db)
        task = following(db, made.id)
        commit(db, task, "Ana")
        shown = records.reveal(db, assignment_id=task.id, reader="Ana")
    assert shown == records.Revealed({}, None)


def test_the_trail_proves_that_the_own_score_came_first(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(db, arm="before-after")
        task = following(db, made.id)
        commit(db, task, "Ana")
        for _ in range(3):
            records.reveal(db, assignment_id=task.id, reader="Ana")
        [seen] = records.events(db, limit=9, entity="reveal")
        [scored] = records.events(db, limit=9, entity="reading")
    assert (seen.actor, seen.entity_id, seen.new["methods"]) == ("Ana", task.id, sorted(MODELS))
    assert scored.sequence < seen.sequence
    assert scored.new["assignment_id"] == task.id


def test_patches_of_open_studies_are_locked_for_their_readers(engine: Engine) -> None:
    free = {
        "patch": "p",
        "width": 512,
        "height": 512,
        "mpp": 0.5,
        "seen_models": True,
        "software": "s",
        "cellularity": 0.5,
    }
    with transaction(engine) as db:
        draft = records.create_study(db, plan(n_cases=2), actor="C")
        assert records.locked_patches(db, reader="Ana") == []
        records.open_study(db, study_id=draft.id, actor="C")
        locked = [(sha(0), f"{0:016x}"), (sha(1), f"{1:016x}")]
        assert records.locked_patches(db, reader="ANA") == locked
        assert records.locked_patches(db, reader="Zoe") == []
        records.add_reading(db, sha256=sha(0), reader="Zoe", **free)
        with pytest.raises(RecordError, match="belongs to an open study"):
            records.add_reading(db, sha256=sha(0), reader="Ana", **free)
        records.close_study(db, study_id=draft.id, actor="C")
        assert records.locked_patches(db, reader="Ana") == []
        records.add_reading(db, sha256=sha(0), reader="Ana", **free)


def test_scores_outside_studies_have_their_own_list(engine: Engine) -> None:
    def free(db: Session, number: int, reader: str, score: float) -> None:
        records.add_reading(
            db,
            sha256=sha(number),
            patch=f"{number}.png",
            width=512,
            height=512,
            mpp=0.5,
            reader=reader,
            cellularity=score,
            seen_models=False,
            software="s",
        )

    with transaction(engine) as db:
        free(db, 50, "Ana", 0.1)
        free(db, 50, "Zoe", 0.2)
        free(db, 51, "Zoe", 0.3)
        made = opened(db)
        commit(db, following(db, made.id), "Ana", 0.9)
        everything = records.free_readings(db)
        anas = records.free_readings(db, asking="Ana")
        late = records.free_readings(db, since=utcnow() + timedelta(seconds=5))
        own = records.readings(db, sha256s=[sha(k) for k in range(60)], reader="Ana")
    assert [(r.patch, r.reader, r.cellularity) for r in everything] == [
        ("50.png", "Ana", 0.1),
        ("50.png", "Zoe", 0.2),
        ("51.png", "Zoe", 0.3),
    ]
    assert [(r.patch, r.reader) for r in anas] == [("50.png", "Ana"), ("50.png", "Zoe")]
    assert late == []
    assert list(own) == [sha(50)]


def test_model_scores_are_kept_once_and_by_model_set(engine: Engine) -> None:
    kept = {
        "sha256": sha(0),
        "model_set": "starter",
        "model_sha256": "f" * 64,
        "software": "cellularity 1.0",
    }
    with transaction(engine) as db:
        made = opened(db, n_cases=1)
        first = records.model_scores(db, made.id)
        records.keep_model_scores(db, **kept, scores={"gbt": (0.9, 0.8, 1.0)})
        records.keep_model_scores(
            db, **kept | {"software": "cellularity 2.0"}, scores={"gbt": (0.9, 0.8, 1.0)}
        )
        records.keep_model_scores(
            db, **kept | {"model_sha256": "e" * 64}, scores={"gbt": (None, None, None)}
        )
        assert records.model_scores(db, made.id) == first
        found = records.model_scores_of(db, sha256s=[sha(0), sha(9)], model_sha256="e" * 64)
        for change, words in (
            ({"scores": {"gbt": (1.5, 0.1, 0.2)}}, "between 0 and 1"),
            ({"sha256": sha(99), "scores": {}}, "not in the records"),
        ):
            with pytest.raises(RecordError, match=words):
                records.keep_model_scores(db, **kept | {"model_set": "new"} | change)
    assert {(s.method, s.value, s.low, s.high, s.case) for s in first} == {
        (name, *values, "C-0001") for name, values in MODELS.items()
    }
    assert found[sha(0)]["gbt"].value is None
    assert list(found) == [sha(0)]


def test_model_sets_of_patches_with_the_one_used_last_first(engine: Engine) -> None:
    with transaction(engine) as db:
        opened(db, n_cases=2)
        for name, sha256 in (("newer", "e" * 64), ("starter", "d" * 64)):
            records.keep_model_scores(
                db,
                sha256=sha(0),
                scores=MODELS,
                model_set=name,
                model_sha256=sha256,
                software="cellularity 1.0",
            )
        found = records.model_sets_of(db, sha256s=[sha(0), sha(1), sha(9)])
        second = records.model_sets_of(db, sha256s=[sha(1)])
        assert records.model_sets_of(db, sha256s=[]) == []
    assert found == [
        records.ScoredBy("starter", "d" * 64, 1),
        records.ScoredBy("newer", "e" * 64, 1),
        records.ScoredBy("starter", "f" * 64, 2),
    ]
    assert second == [records.ScoredBy("starter", "f" * 64, 1)]


def test_the_latest_consensus_counts(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(db)
        [case, *_] = records.cases(db, made.id)
        agree = {"case_id": case.id, "by": "C"}
        with pytest.raises(RecordError, match="once it is closed"):
            records.keep_consensus(db, **agree, cellularity=0.5, reason="talk")
        records.close_study(db, study_id=made.id, actor="C")
        records.keep_consensus(db, **agree, cellularity=0.5, reason="talk")
        records.keep_consensus(db, **agree, cellularity=0.6, reason="second talk")
        [agreed] = records.consensus(db, made.id)
        for changes, words in (
            ({"cellularity": 0.5, "reason": " "}, "needs its reason"),
            ({"cellularity": 2.0, "reason": "x"}, "between 0 and 1"),
            ({"cellularity": 0.5, "reason": "x", "case_id": 999}, "no case"),
        ):
            with pytest.raises(RecordError, match=words):
                records.keep_consensus(db, **agree | changes)
    assert (agreed.case, agreed.cellularity, agreed.reason) == (case.code, 0.6, "second talk")


def test_every_write_has_its_event(engine: Engine) -> None:
    """Each call that changes a row is told in the trail, by who did it."""
    with transaction(engine) as db:
        made = opened(db, n_cases=1, readers=["Ana"], arm="before-after")
        task = following(db, made.id)
        kept = commit(db, task, "Ana")
        records.amend(
            db,
            reading_id=kept.id,
            reader="Ana",
            cellularity=0.5,
            cannot_score_reason=None,
            why="w",
        )
        records.set_role(db, name="Ana", role="coordinator", actor="Admin")
        records.keep_score_first(db, name="Ana", score_first=True)
        records.close_study(db, study_id=made.id, actor="C")
        [case] = records.cases(db, made.id)
        records.keep_consensus(db, case_id=case.id, cellularity=0.5, reason="r", by="C")
        told = [
            (e.entity, e.action, e.actor)
            for e in reversed(list(db.scalars(select(AuditEvent).order_by(-AuditEvent.sequence))))
        ]
    assert told == [
        ("study", "create", "Coordinator"),
        ("patch", "remember", "Coordinator"),
        ("image", "keep image", "Coordinator"),
        ("case", "add", "Coordinator"),
        ("reader", "enrol", "Coordinator"),
        ("membership", "add", "Coordinator"),
        ("model_score", "score", "cellularity 1.0"),
        ("model_score", "score", "cellularity 1.0"),
        ("study", "open", "Coordinator"),
        ("reading", "score", "Ana"),
        ("amendment", "amend", "Ana"),
        ("reader", "set role", "Admin"),
        ("reader", "choose score first", "Ana"),
        ("study", "close", "C"),
        ("consensus", "agree", "C"),
    ]
