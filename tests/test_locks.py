"""Which patches the pages keep from the models: those of open studies, and parts of them."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from db_support import new_case, plan
from images import png
from models_support import app
from pages_support import fresh_records

from cellularity_core.fingerprint import fingerprint, turned_fingerprints
from cellularity_core.patch import Patch, load_patch
from cellularity_core.synthetic import demo_patches
from db import records
from db.session import snapshot, transaction
from pages.parts import locks, sight, state
from pages.parts.locks import LOCKED, locked_patches
from pages.parts.state import Case
from pages.parts.store import store

pytestmark = pytest.mark.usefixtures("fresh_records")
__all__ = ["fresh_records"]


@pytest.fixture(scope="module")
def patches() -> list[Patch]:
    return demo_patches()


def opened(patch: Patch) -> None:
    """A study of Ana's with this patch."""
    case = new_case(
        1,
        sha256=patch.sha256,
        width=patch.width,
        height=patch.height,
        mpp=patch.mpp,
        phash=fingerprint(patch.pixels),
        turned=turned_fingerprints(patch.pixels),
        png=png(patch.pixels),
    )
    with transaction(store()) as db:
        study = records.create_study(db, plan(readers=["Ana"], cases=[case]), actor="C")
        records.open_study(db, study_id=study.id, actor="C")


def is_locked(patch: Patch, reader: str) -> bool:
    return bool(locked_patches(Case(patches={patch.sha256: patch}), reader))


def cut(patch: Patch) -> Patch:
    """40 px off two edges, turned."""
    pixels = np.ascontiguousarray(np.rot90(patch.pixels[40:, 40:]))
    return load_patch(png(pixels), "cut.png", patch.mpp)


def test_a_part_of_a_patch_is_locked_for_who_reads_it(patches: list[Patch]) -> None:
    one, *others = patches
    opened(one)
    part = cut(one)
    assert part.sha256 != one.sha256
    for reader in ("Ana", ""):  # without a name it may be anybody
        assert is_locked(one, reader)
        assert is_locked(part, reader)
        assert not any(is_locked(other, reader) for other in others)
    assert not is_locked(part, "Bea")


def test_another_pixel_size_does_not_hide_a_part(patches: list[Patch]) -> None:
    one, other, *_ = patches
    opened(one)
    assert is_locked(replace(cut(one), mpp=0.25, mpp_source="user"), "Ana")
    assert not is_locked(replace(cut(other), mpp=0.25, mpp_source="user"), "Ana")


def test_one_session_at_a_time_looks_for_parts(
    patches: list[Patch], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, *others = patches
    opened(one)
    now, most = 0, 0
    mutex = threading.Lock()

    def slow(*_: object) -> bool:
        nonlocal now, most
        with mutex:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with mutex:
            now -= 1
        return False

    locks._shares.clear()  # of what the tests before asked
    monkeypatch.setattr(locks, "shares_tissue", slow)
    with ThreadPoolExecutor(len(others)) as pool:
        assert not any(pool.map(is_locked, others, ["Ana"] * len(others)))
    assert most == 1


def test_a_score_typed_before_the_study_was_opened_is_not_kept_after(
    patches: list[Patch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The form runs apart from its page, which knows nothing of a study that was opened since."""
    part = cut(patches[0])
    at = app()
    at.text_input(key=state.READER).set_value("Ana").run()
    at.toggle(key=state.SCORE_FIRST).set_value(True).run()
    at.file_uploader[0].set_value([("cut.png", png(part.pixels), "image/png")]).run()
    at.number_input(key=state.own_key(part.sha256, "number")).set_value(40).run()
    opened(patches[0])
    with monkeypatch.context() as page_as_drawn:
        page_as_drawn.setattr(sight, "locked_patches", lambda *_: set())
        at.button(key=state.COMMIT).click().run()
    at.run()
    assert not at.exception and LOCKED in [warning.value for warning in at.warning]
    with snapshot(store()) as db:
        assert records.free_readings(db) == []
