"""Patches of the same tissue in other pixels: not in two open studies of one reader."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from db_support import BACKENDS, commit, following, new_case, open_database, opened, plan, sha
from sqlalchemy import Engine, text

from cellularity_core import fingerprint
from db import look_alikes, records
from db.errors import RecordError
from db.look_alikes import Mark
from db.schema import Patch
from db.session import snapshot, transaction


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with open_database(request.param, tmp_path) as engine:
        yield engine


def tissue(seed: int) -> np.ndarray:
    """A picture of soft blots, another for each seed."""
    noise = np.random.default_rng(seed).random((64, 64, 3)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 5)
    low, high = blurred.min(), blurred.max()
    return np.ascontiguousarray((255 * (blurred - low) / (high - low)).astype(np.uint8))


def case(number: int, pixels: np.ndarray) -> records.NewCase:
    turned = fingerprint.turned_fingerprints(pixels)
    return new_case(number, phash=turned[0], turned=turned)


def resaved(pixels: np.ndarray) -> np.ndarray:
    """Turned by a quarter, mirrored, made smaller and a little brighter."""
    small = cv2.resize(np.rot90(pixels)[:, ::-1], (48, 48), interpolation=cv2.INTER_AREA)
    return np.clip(small.astype(np.int16) + 12, 0, 255).astype(np.uint8)


def test_the_rule_is_that_of_the_science_side() -> None:
    assert look_alikes.NEAR_BITS == fingerprint.NEAR_BITS
    pictures = [tissue(seed) for seed in range(8)]
    pictures += [resaved(picture) for picture in pictures]
    turned = [fingerprint.turned_fingerprints(picture) for picture in pictures]
    marks = [look_alikes.mark(Patch(phash=some[0], turned=" ".join(some))) for some in turned]
    alike = 0
    for one, other in itertools.combinations(range(len(pictures)), 2):
        known = any(fingerprint.is_same_tissue(a, turned[other][0]) for a in turned[one])
        first, second = marks[one], marks[other]
        assert first is not None and second is not None
        assert look_alikes.any_alike([first], [second]) == known
        assert known == (other == one + 8)
        alike += known
    assert alike == 8


def test_a_look_alike_is_read_in_one_study_at_a_time(engine: Engine) -> None:
    """As the same pixels are; whoever joins, and however the patch was saved again."""
    with transaction(engine) as db:
        one = opened(db, name="One", readers=["Ana"], cases=[case(1, tissue(1))])
    again = plan(name="Two", readers=["Kim"], cases=[case(2, resaved(tissue(1)))])
    with transaction(engine) as db:
        two = records.create_study(db, again, actor="C")  # Kim reads it nowhere else
        records.open_study(db, study_id=two.id, actor="C")
    refused = "Ana is reading some of these patches in “One”"
    with pytest.raises(RecordError, match=refused), transaction(engine) as db:
        records.add_reader_to_study(db, study_id=two.id, reader="ana", actor="C")
    third = plan(name="Three", readers=["Ana"], cases=[case(3, tissue(1)[::-1].copy())])
    with pytest.raises(RecordError, match=refused), transaction(engine) as db:
        records.create_study(db, third, actor="C")
    with transaction(engine) as db:
        other = plan(name="Other", readers=["Ana"], cases=[case(4, tissue(4))])
        records.create_study(db, other, actor="C")  # other tissue is no obstacle
        records.close_study(db, study_id=one.id, actor="C")
        joined = records.add_reader_to_study(db, study_id=two.id, reader="Ana", actor="C")
        assert joined.readers == ("Kim", "Ana")
        assert records.verify(db).ok


def test_a_patch_of_an_earlier_version_is_known_as_given_only(engine: Engine) -> None:
    """The other patch of the two can be turned in its place."""
    pixels = tissue(1)
    given = new_case(1, phash=fingerprint.fingerprint(pixels))
    with transaction(engine) as db:
        opened(db, name="One", readers=["Ana"], cases=[given])
    for name, new in (("Two", case(2, resaved(pixels))),):
        with pytest.raises(RecordError, match="is reading some"), transaction(engine) as db:
            records.create_study(db, plan(name=name, readers=["Ana"], cases=[new]), actor="C")
    with transaction(engine) as db:
        two = records.create_study(
            db, plan(name="Two", readers=["Kim"], cases=[case(2, resaved(pixels))]), actor="C"
        )
        with pytest.raises(RecordError, match="Kim is reading some"):
            records.create_study(db, plan(name="Three", readers=["Kim"], cases=[given]), actor="C")
        assert two.state == "draft"


def test_a_closed_study_tells_nothing_of_a_look_alike_that_is_still_read(engine: Engine) -> None:
    with transaction(engine) as db:
        old = opened(db, readers=["Kim"], cases=[case(1, tissue(1))])
        commit(db, following(db, old.id, "Kim"), "Kim", 0.55)
        records.close_study(db, study_id=old.id, actor="C")
        new = opened(db, name="New", readers=["Ana"], cases=[case(2, resaved(tissue(1)))])
    for ask in (records.study_readings, records.model_scores):
        with pytest.raises(RecordError, match="New"), snapshot(engine) as db:
            ask(db, old.id, asking="Ana")
    with transaction(engine) as db:
        records.close_study(db, study_id=new.id, actor="C")
        assert records.study_readings(db, old.id, asking="Ana")


def test_hashes_come_later_and_go_with_the_patient(engine: Engine) -> None:
    """A patch first scored outside a study gets its hashes with a study; erasing takes them."""
    new = case(1, tissue(1))
    with transaction(engine) as db:
        records.add_reading(
            db,
            sha256=sha(1),
            patch="p",
            width=64,
            height=64,
            mpp=0.5,
            reader="Zoe",
            cellularity=0.5,
            seen_models=False,
            software="s",
            phash=new.phash,
        )
        records.create_study(db, plan(readers=["Ana"], cases=[new]), actor="C")
        added, _ = records.events(db, limit=99, entity="patch")
        assert (added.action, added.new) == (
            "add perceptual hash",
            {"turned": " ".join(new.turned)},
        )
        assert records.verify(db).ok
        records.erase_patient(db, patient=str(new.patient), actor="A", why="request")
        hashes = db.execute(text("SELECT phash, turned FROM patch")).one()
        assert tuple(hashes) == (None, None)
        assert records.verify(db).ok


def test_a_mark_needs_a_hash() -> None:
    assert look_alikes.mark(Patch(phash=None)) is None
    assert look_alikes.mark(Patch(phash="00000000000000ff")) == Mark(255, (255,))
