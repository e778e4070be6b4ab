"""Who reads what in which order."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from db_support import (
    BACKENDS,
    open_database,
    opened,
    plan,
    sha,
)
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from db import order, records
from db.errors import RecordError
from db.session import transaction


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with open_database(request.param, tmp_path) as engine:
        yield engine


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
