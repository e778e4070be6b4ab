"""Turns come in the order of asking, to writers and to sessions that score."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from db_support import open_database

from db import records, session
from db.errors import RecordError
from db.session import transaction
from db.turns import Turns


def wait_for(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def in_a_thread(work: Callable[[], object]) -> object:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def test_turns_come_in_the_order_of_asking() -> None:
    turns, order = Turns(), []
    threads = []
    with turns.mine(1):
        for number in range(20):

            def take(number: int = number) -> None:
                with turns.mine(30):
                    order.append(number)

            threads.append(threading.Thread(target=take))
            threads[-1].start()
            wait_for(lambda: turns.waiting == len(threads))
    for thread in threads:
        thread.join()
    assert order == list(range(20))
    with turns.mine(0.01):  # free again
        pass


def test_a_turn_that_does_not_come_is_given_up() -> None:
    turns = Turns()
    with turns.mine(1):
        seen: list[type[BaseException]] = []

        def take() -> None:
            try:
                with turns.mine(0.05):
                    pass
            except TimeoutError as error:
                seen.append(type(error))

        thread = threading.Thread(target=take)
        thread.start()
        thread.join()
        assert seen == [TimeoutError]
        assert turns.waiting == 0
    with turns.mine(0.01):
        pass


def test_who_waits_is_told_how_many_come_before_and_may_leave() -> None:
    turns = Turns()
    told: dict[str, list[int]] = {"stays": [], "leaves": [], "last": []}
    had: list[str] = []
    may_leave = threading.Event()

    def take(name: str) -> None:
        def tell(before: int) -> None:
            told[name].append(before)
            if name == "leaves" and may_leave.is_set():
                raise KeyError("the page was left")

        with suppress(KeyError), turns.mine(tell=tell):
            assert turns.is_mine
            had.append(name)
            if name == "stays":
                raise KeyError("scoring failed")

    with turns.mine(0):
        threads = []
        for name in told:
            threads.append(threading.Thread(target=take, args=(name,)))
            threads[-1].start()
            wait_for(lambda: turns.waiting == len(threads))
        wait_for(lambda: all(told.values()))
        assert [set(seen) for seen in told.values()] == [{1}, {2}, {3}]
        may_leave.set()
        wait_for(lambda: told["last"][-1] == 2)
        assert turns.waiting == 2
        with pytest.raises(TimeoutError):
            in_a_thread(lambda: turns.mine(0).__enter__())
        assert turns.waiting == 2
    for thread in threads:
        thread.join()
    assert had == ["stays", "last"]
    assert not turns.is_mine
    with turns.mine(0):  # free again
        pass


def test_a_turn_that_comes_while_one_leaves_goes_to_the_next() -> None:
    """Whatever the moment, nobody waits for a turn that was handed to who has left."""
    turns = Turns()
    for _ in range(200):
        had: list[int] = []

        def take(number: int, had: list[int] = had) -> None:
            with suppress(TimeoutError), turns.mine(0.002 if number % 2 else 10):
                had.append(number)

        with turns.mine(0):
            threads = [threading.Thread(target=take, args=(number,)) for number in range(4)]
            for thread in threads:
                thread.start()
            time.sleep(0.002)
        for thread in threads:
            thread.join()
        assert {0, 2} <= set(had)
        with turns.mine(0):
            pass


def test_an_error_gives_the_turn_back(tmp_path: Path) -> None:
    with open_database("sqlite", tmp_path) as engine:
        with pytest.raises(RecordError, match="needs a name"), transaction(engine) as db:
            records.enrol(db, name=" ")
        with transaction(engine) as db:
            assert records.enrol(db, name="Kim").name == "Kim"


def test_a_transaction_inside_another_fails_at_once(tmp_path: Path) -> None:
    with (
        open_database("sqlite", tmp_path) as engine,
        transaction(engine) as db,
        pytest.raises(RuntimeError, match="waits for itself"),
        transaction(engine),
    ):
        records.enrol(db, name="Kim")


def test_who_waits_too_long_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "BUSY_MS", 50)
    with open_database("sqlite", tmp_path) as engine:
        answers: list[str] = []

        def write() -> None:
            try:
                with transaction(engine) as db:
                    records.enrol(db, name="Ana")
            except RecordError as error:
                answers.append(str(error))

        with transaction(engine) as db:
            records.enrol(db, name="Kim")
            thread = threading.Thread(target=write)
            thread.start()
            thread.join()
        assert "busy with others' writing" in answers[0]


def test_a_writer_stuck_elsewhere_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "BUSY_MS", 200)
    with open_database("postgresql", tmp_path) as engine:
        with (
            engine.connect() as stuck,
            stuck.begin(),
            pytest.raises(RecordError, match="Nothing was kept; try again"),
            transaction(engine) as db,
        ):
            records.enrol(db, name="Ana")
        with transaction(engine) as db:
            assert records.enrol(db, name="Kim").name == "Kim"
