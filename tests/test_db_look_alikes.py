"""Patches of the same tissue in other pixels: not in two open studies of one reader."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from db_support import BACKENDS, commit, following, new_case, open_database, opened, plan, sha
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cellularity_core import fingerprint
from db import look_alikes, members, records
from db.errors import RecordError
from db.look_alikes import Mark
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


def known(pixels: np.ndarray) -> Mark:
    turned = fingerprint.turned_fingerprints(pixels)
    return look_alikes.mark("-", "p", turned[0], " ".join(turned))


def marked(name: str, *hashes: int) -> Mark:
    return Mark(name, name, hashes)


@pytest.mark.parametrize("bits", [look_alikes.NEAR_BITS, look_alikes.SAME_BITS])
def test_the_rule_is_that_of_the_science_side(bits: int) -> None:
    assert look_alikes.NEAR_BITS == fingerprint.NEAR_BITS
    assert look_alikes.SAME_BITS == fingerprint.SAME_BITS
    pictures = [tissue(seed) for seed in range(8)]
    pictures += [resaved(picture) for picture in pictures]
    turned = [fingerprint.turned_fingerprints(picture) for picture in pictures]
    marks = [
        look_alikes.mark(str(k), "p", some[0], " ".join(some)) for k, some in enumerate(turned)
    ]
    alike = 0
    for one, other in itertools.combinations(range(len(pictures)), 2):
        same = any(fingerprint.is_same_tissue(a, turned[other][0]) for a in turned[one])
        found = look_alikes.first_alike([marks[one]], [marks[other]], bits)
        assert found == ((marks[one], marks[other]) if same else None)
        assert same == (other == one + 8)
        alike += same
    assert alike == 8


def test_real_patches_are_known_again_however_they_were_saved(data_root: Path) -> None:
    """And turned each time; no two of them are taken for each other."""

    def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
        _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))

    def resized(pixels: np.ndarray, factor: float) -> np.ndarray:
        return cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)

    files = sorted((data_root / "brca_m2c" / "images").glob("*.png"))[::3]
    patches = [cv2.imread(str(path))[:, :, ::-1] for path in files]
    ways: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
        lambda pixels: jpeg(pixels, 50),
        lambda pixels: resized(pixels, 0.4),
        lambda pixels: jpeg(resized(pixels, 0.5), 60),
        lambda pixels: np.clip(pixels.astype(np.int16) + 20, 0, 255).astype(np.uint8),
        lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 2),
    )
    marks = [replace(known(pixels.copy()), sha256=str(k)) for k, pixels in enumerate(patches)]
    for k, pixels in enumerate(patches):
        way = ways[k % len(ways)]
        again = np.rot90(way(pixels.copy()), k % 4)[:, :: -1 if k % 8 > 3 else 1]
        others = [mark for mark in marks if mark is not marks[k]]
        mark = known(np.ascontiguousarray(again))
        found = look_alikes.first_alike([mark], marks, look_alikes.SAME_BITS)
        assert found == (mark, marks[k]), files[k].name
        assert look_alikes.first_alike([mark], others, look_alikes.NEAR_BITS) is None


@pytest.mark.parametrize(("differing", "between", "of_one"), [(8, 1, 1), (10, 0, 1), (14, 0, 0)])
def test_two_studies_need_a_nearer_look_alike_than_one_patch_does(
    differing: int, between: bool, of_one: bool
) -> None:
    one, other = marked("a", 0), marked("b", (1 << differing) - 1)
    found = look_alikes.first_alike([one], [other], look_alikes.SAME_BITS)
    assert found == ((one, other) if between else None)
    assert members.is_locked(one, [other]) == of_one


def test_a_look_alike_is_read_in_one_study_at_a_time(engine: Engine) -> None:
    """As the same pixels are; whoever joins, and however the patch was saved again."""
    with transaction(engine) as db:
        one = opened(db, name="One", readers=["Ana"], cases=[case(1, tissue(1))])
    again = plan(name="Two", readers=["Kim"], cases=[case(2, resaved(tissue(1)))])
    with transaction(engine) as db:
        two = records.create_study(db, again, actor="C")  # Kim reads it nowhere else
        records.open_study(db, study_id=two.id, actor="C")
    refused = (
        "Ana is reading some of these patches in “One”: patch 2.png here and patch 1.png there "
        "show the same tissue. Close that study first, choose another reader, or leave"
    )
    with pytest.raises(RecordError, match=refused), transaction(engine) as db:
        records.add_reader_to_study(db, study_id=two.id, reader="ana", actor="C")
    third = plan(name="Three", readers=["Ana"], cases=[case(3, tissue(1)[::-1].copy())])
    refused = refused.replace("patch 2.png", "patch 3.png")
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


def test_a_patch_without_a_hash_is_known_by_its_pixels_only() -> None:
    assert look_alikes.mark("a", "p", None) == Mark("a", "p", ())
    assert look_alikes.mark("a", "p", "00000000000000ff") == Mark("a", "p", (255,))
    one, other = marked("a"), marked("b")
    assert look_alikes.first_alike([one], [other], 64) is None
    assert look_alikes.first_alike([one], [other, one], 0) == (one, one)


def free(db: Session, number: int, pixels: np.ndarray, reader: str = "Ana") -> None:
    """A score on the page Analyse, which tells the hash of the patch as given."""
    records.add_reading(
        db,
        sha256=sha(number),
        patch=f"{number}.png",
        width=64,
        height=64,
        mpp=0.5,
        reader=reader,
        cellularity=0.5,
        seen_models=False,
        software="s",
        phash=fingerprint.fingerprint(pixels),
    )


def test_a_look_alike_of_an_open_study_is_scored_in_it_only(engine: Engine) -> None:
    with transaction(engine) as db:
        made = opened(db, readers=["Ana"], cases=[case(1, tissue(1))])
        free(db, 2, resaved(tissue(1)), "Zoe")
        free(db, 3, tissue(3))
        with pytest.raises(RecordError, match="belongs to an open study in which Ana"):
            free(db, 4, resaved(tissue(1)))
        records.close_study(db, study_id=made.id, actor="C")
        free(db, 4, resaved(tissue(1)))


def test_others_scores_of_a_look_alike_are_kept_from_a_reader_of_it(engine: Engine) -> None:
    """Though the reader scored the look-alike outside before the study began."""
    with transaction(engine) as db:
        for reader in ("Ana", "Zoe"):
            free(db, 2, resaved(tissue(1)), reader)
            free(db, 3, tissue(3), reader)
        assert len(records.free_readings(db, asking="Ana")) == 4
        made = opened(db, readers=["Ana"], cases=[case(1, tissue(1))])
        seen = records.free_readings(db, asking="Ana")
        assert [(r.sha256, r.reader) for r in seen] == [(sha(3), "Ana"), (sha(3), "Zoe")]
        assert len(records.free_readings(db, asking="Zoe")) == 4
        records.close_study(db, study_id=made.id, actor="C")
        assert len(records.free_readings(db, asking="Ana")) == 4


def test_who_met_the_models_for_a_look_alike_is_marked(engine: Engine) -> None:
    """By a score outside a study, or by what was revealed in an earlier one."""
    with transaction(engine) as db:
        free(db, 2, resaved(tissue(1)))
        old = opened(
            db, name="Old", arm="before-after", readers=["Ana"], cases=[case(4, tissue(4))]
        )
        task = following(db, old.id)
        commit(db, task, "Ana")
        records.reveal(db, assignment_id=task.id, reader="Ana")
        records.close_study(db, study_id=old.id, actor="C")
        cases = [case(1, tissue(1)), case(3, tissue(3)), case(5, resaved(tissue(4)))]
        new = opened(db, name="New", readers=["Ana", "Zoe"], cases=cases)
        marked = {}
        for reader in ("Ana", "Zoe"):
            for _ in cases:
                task = following(db, new.id, reader)
                marked[reader, task.sha256] = commit(db, task, reader).seen_models
    assert {key for key, met in marked.items() if met} == {("Ana", sha(1)), ("Ana", sha(5))}
