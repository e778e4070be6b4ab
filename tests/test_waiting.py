"""Sessions take turns at the models: who waits sees the place, who leaves gives it up."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models_support import app, cards, own_models, png, scored_by, shown_values
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.testing.v1 import AppTest

from cellularity_core.conventions import DEFAULT_SET
from cellularity_core.errors import ModelError
from cellularity_core.patch import Patch, pixel_digest
from cellularity_core.scorer import Scorer
from pages.parts import scoring, waiting
from pages.parts.models_active import active_set


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with own_models(tmp_path, monkeypatch):
        yield


@pytest.fixture
def on() -> scoring.Engine:
    """The scorer in use."""
    models = active_set().models
    return scoring.engine(models.name, models.sha256)


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Checksums of the patches that reach the scorer, in order."""
    seen: list[str] = []
    score = Scorer.score

    def watched(self: Scorer, patches: list[Patch], maps: bool = True) -> Iterator[Any]:
        seen.extend(patch.sha256[:8] for patch in patches)
        return score(self, patches, maps)

    monkeypatch.setattr(Scorer, "score", watched)
    return seen


def patch_of(k: int) -> Patch:
    pixels = np.random.default_rng(k).integers(0, 255, (64, 64, 3), np.uint8)
    return Patch(f"{k}.png", pixels, 0.5, "file", pixel_digest(pixels), ())


def wait_for(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def dropped() -> AppTest:
    at = app()
    at.file_uploader[0].set_value([png()]).run()
    return at


def test_who_waits_sees_the_place_and_who_goes_away_leaves_the_queue(
    on: scoring.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is ended while it waits leaves what it drew."""
    told: list[int] = []

    def place(before: int) -> str:
        told.append(before)
        run = get_script_run_ctx()
        if len(told) == 3 and run is not None and run.script_requests is not None:
            run.script_requests.request_stop()  # as Streamlit does where a session ends
        return words(before)

    words = waiting.place
    monkeypatch.setattr(waiting, "place", place)
    monkeypatch.setattr(waiting, "AFTER", 0.0)
    with ThreadPoolExecutor(2) as pool:
        with on.turns.mine(0):
            first = pool.submit(scoring.result_of, patch_of(1), on)
            wait_for(lambda: on.turns.waiting == 1)
            page = pool.submit(dropped).result()
            assert on.turns.waiting == 1
        assert first.result().width == 64
    assert told == [2, 2, 2]
    [line] = [str(e.proto.body) for e in page.get("html") if 'class="waiting"' in e.proto.body]
    assert "Waiting for the models: 2 others are before you." in line
    assert not cards(page)
    page.run()  # and now it is free
    assert cards(page) == shown_values(scored_by(DEFAULT_SET))
    assert not [e for e in page.get("html") if 'class="waiting"' in e.proto.body]


def test_a_short_wait_says_nothing(on: scoring.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    drawn: list[str] = []

    class Slot:
        def html(self, text: str) -> None:
            drawn.append(text)

        def empty(self) -> None:
            drawn.append("")

    def wait(seconds: float) -> None:
        holds = threading.Event()

        def hold() -> None:
            with on.turns.mine(0):
                holds.set()
                time.sleep(seconds)

        with ThreadPoolExecutor(1) as pool:
            pool.submit(hold)
            holds.wait(30)
            with waiting.turn(on.turns):
                told.append(on.turns.waiting)

    monkeypatch.setattr(waiting, "line", Slot)
    wait(0.45)
    assert told == [0] and drawn == []
    monkeypatch.setattr(waiting, "AFTER", 0.1)
    wait(0.45)
    assert len(drawn) == 2 and "one other is before you" in drawn[0] and drawn[1] == ""


def test_a_batch_gives_way_to_a_single_patch_and_the_same_patch_is_scored_once(
    on: scoring.Engine, scored: list[str]
) -> None:
    batch, single = [patch_of(k) for k in range(3)], patch_of(7)

    def all_of_it() -> None:
        for patch in batch:
            scoring.result_of(patch, on)

    with ThreadPoolExecutor(4) as pool:
        with on.turns.mine(0):
            running = [pool.submit(all_of_it)]
            wait_for(lambda: on.turns.waiting == 1)
            for others in (2, 3):  # two sessions want the same
                running.append(pool.submit(scoring.result_of, single, on))
                wait_for(lambda n=others: on.turns.waiting == n)
        results = [each.result() for each in running]
    assert scored == [p.sha256[:8] for p in (batch[0], single, batch[1], batch[2])]
    assert np.array_equal(results[1].features, results[2].features)


def test_what_is_kept_is_had_without_waiting(on: scoring.Engine) -> None:
    kept = scoring.result_of(patch_of(1), on)
    with ThreadPoolExecutor(1) as pool, on.turns.mine(0):
        again = pool.submit(scoring.result_of, patch_of(1), on).result(timeout=10)
    assert again.scores == kept.scores


def test_an_error_in_scoring_does_not_hold_up_the_next(
    on: scoring.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> Iterator[Any]:
        raise ModelError("The model file is gone.")

    with monkeypatch.context() as broken:
        broken.setattr(Scorer, "score", fails)
        with pytest.raises(ModelError, match="gone"):
            scoring.result_of(patch_of(1), on)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(scoring.result_of, patch_of(1), on).result(timeout=20).width == 64


def test_memory_is_given_back_once_nobody_has_scored_for_a_while(
    on: scoring.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back: list[float] = []
    monkeypatch.setattr(scoring, "IDLE", 0.4)
    monkeypatch.setattr(Scorer, "release", lambda _: given_back.append(time.monotonic()))
    for k in range(3):
        with on.turns.mine(0):
            last = time.monotonic()
        scoring.rest([on])
        time.sleep(0.1 * (k < 2))
    wait_for(lambda: len(given_back) > 0)
    time.sleep(0.1)
    assert len(given_back) == 1
    assert given_back[0] - last >= 0.4
