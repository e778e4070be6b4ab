"""Writers take turns in the order of asking."""

import threading
import time
from pathlib import Path

import pytest
from db_support import open_database

from db import records, session
from db.errors import RecordError
from db.session import transaction
from db.turns import Turns


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
            while turns.waiting <= number:
                time.sleep(0.001)
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
