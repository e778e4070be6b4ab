"""The load test itself: that it goes through the pages, and sees what is wrong."""

import asyncio
import random
import time
from pathlib import Path
from typing import Any

import load
import load_browser
import pytest
from load_browser import Answer, PageError, Tab
from load_material import cards_on, prepare
from load_reader import LOOK, MOVE, MOVES, Log, Reader
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

CARDS = {"gbt": ("40 %", "20 to 60 %")}


def drawn(value: str) -> str:
    """A score card as the page draws it."""
    return (
        f'<div data-method="gbt"><div class="value">{value}</div>'
        '<div class="small">90 % interval: 20 to 60 %</div></div>'
    )


class Files:
    """One patch."""

    def take(self) -> tuple[str, bytes, str, dict[str, tuple[str, str]]]:
        return "a.png", b"", "0" * 64, CARDS


class Page:
    """A tab that shows one score."""

    def __init__(self, value: str) -> None:
        self.value = value

    def words(self) -> list[str]:
        return ["Analyse", drawn(self.value)]

    def __getattr__(self, _: str) -> Any:
        async def answer(*_: object, **__: object) -> Answer:
            return Answer(0.01, 2)

        return answer


def test_a_few_browsers_upload_score_and_read(tmp_path: Path) -> None:
    figures = load.run(3, 2.0, 0.1, tmp_path, side=256)
    assert figures["errors"] == {}
    assert figures["reads_kept"] >= 3
    assert figures["own_scores_kept"] >= 3
    assert figures["scorers_made"] == 1
    actions = figures["actions"]
    assert actions["commit a read"]["n"] == figures["reads_kept"]
    # One after each run of a page, Streamlit's default, would stop all the others each time.
    assert figures["collections"] < sum(a["n"] for a in actions.values()) / 2
    assert actions["move the slider"]["n"] >= 9
    said = "".join(load.tell(figures, 3, 0.1))
    assert "3 browsers" in said and "Errors: 0" in said


@pytest.mark.parametrize(("value", "wrong"), [("40 %", 0), ("41 %", 1)])
def test_a_score_that_is_not_that_of_the_patch_alone_is_an_error(value: str, wrong: int) -> None:
    assert cards_on(drawn("40 %")) == CARDS
    log = Log()
    person: Any = Reader("Kim", Page(value), Files(), log, time.monotonic(), 0.0, random.Random(0))
    asyncio.run(person.analyse())
    assert sum(log.errors.values()) == wrong
    assert log.places == [2]


def test_readers_do_not_hurry_when_the_time_is_over() -> None:
    """All of them would click at once, as no people do."""
    person: Any = Reader(
        "Kim", Page("40 %"), Files(), Log(), time.monotonic() - 1, 0.01, random.Random(0)
    )
    began = time.monotonic()
    asyncio.run(person.analyse())
    assert time.monotonic() - began >= 0.01 * (LOOK[0] + MOVES * MOVE[0])


def test_a_read_that_the_records_lack_is_an_error(tmp_path: Path) -> None:
    study = prepare(tmp_path / "load.db", ["Kim", "Ana"], 2)
    log = Log()
    load.check(tmp_path / "load.db", study, log)
    assert not log.errors
    log.reads["Kim"].append(0.3)
    log.own["Ana"].append(("0" * 64, 0.5))
    load.check(tmp_path / "load.db", study, log)
    assert sorted(log.errors) == ["Ana: 0 own scores kept, 1 told", "Kim: 0 reads kept, 1 told"]


@pytest.mark.parametrize("kind", ["exception", "alert"])
def test_an_error_on_a_page_is_seen(kind: str) -> None:
    message = ForwardMsg()
    message.metadata.delta_path.extend([0, 3])
    if kind == "exception":
        message.delta.new_element.exception.message = "The disk is full."
    else:
        message.delta.new_element.alert.body = "The disk is full."
        message.delta.new_element.alert.format = load_browser.Alert.Format.ERROR
    with pytest.raises(PageError, match="The disk is full"):
        list(Tab("http://127.0.0.1")._take(message))


def test_growth_is_that_after_the_first_minute() -> None:
    samples = [
        load.Sample(at, 900.0 if at < 60 else 500 + at / 30, 0, 0, {}) for at in range(0, 300, 5)
    ]
    slope = load.growth(samples)
    assert slope is not None
    assert slope == pytest.approx([2.0, 2.0, 2.0], abs=1e-6)
    assert load.growth(samples[:15]) is None
