"""Who saw the models' scores of a patch outside a study does not read it blind afterwards."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from db_audit_support import intruder, judged
from db_support import (
    BACKENDS,
    commit,
    empty_database,
    following,
    mark,
    new_case,
    open_database,
    opened,
    sha,
)
from sqlalchemy import Engine, event, inspect, text

from db import records, session
from db.export import imrmc_rows
from db.session import snapshot, transaction

TURNED = tuple(mark(number) for number in range(100, 108))


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with open_database(request.param, tmp_path) as engine:
        yield engine


def see(engine: Engine, reader: str, *numbers: int) -> None:
    with transaction(engine) as db:
        records.note_sights(db, reader=reader, seen={sha(number): TURNED for number in numbers})


def seen_models(engine: Engine, case: records.NewCase, reader: str) -> bool:
    """Whether a first score of a case in a new study is kept as given after the models."""
    with transaction(engine) as db:
        name = f"Study {len(records.studies(db))}"
        made = opened(db, name=name, readers=[reader], cases=[case])
        return commit(db, following(db, made.id, reader), reader).seen_models


def test_a_read_after_the_scores_were_seen_is_marked_and_left_out(engine: Engine) -> None:
    see(engine, "Ana", 1)
    with transaction(engine) as db:
        made = opened(db, cases=[new_case(1), new_case(2)], readers=["ANA", "Kim"])
        for reader in ("Ana", "Kim"):
            for _ in range(2):
                task = following(db, made.id, reader)
                given = commit(db, task, reader)
                assert given.seen_models == (reader == "Ana" and task.sha256 == sha(1))
        rows = records.study_readings(db, made.id)
        kinds = sorted((row["readerID"], row["modalityID"]) for row in imrmc_rows(rows))
    assert kinds == [
        ("Ana", "before"),
        ("Ana", "before-seen"),
        ("Kim", "before"),
        ("Kim", "before"),
    ]
    assert judged(engine).ok


def test_the_same_tissue_in_other_pixels_is_known_again(engine: Engine) -> None:
    see(engine, "Ana", 1)
    assert seen_models(engine, new_case(2, phash=TURNED[5]), "Ana")
    others = tuple(mark(number) for number in range(200, 207))
    assert seen_models(engine, new_case(5, phash=others[0], turned=(*others, TURNED[0])), "Ana")
    assert not seen_models(engine, new_case(3), "Ana")
    assert not seen_models(engine, new_case(6, turned=(mark(6), mark(300))), "Ana")
    assert not seen_models(engine, new_case(4, phash=TURNED[5]), "Kim")


def test_a_score_outside_a_study_counts_as_seen_in_whatever_session(engine: Engine) -> None:
    see(engine, "Ana", 1)
    free = {"patch": "p", "width": 9, "height": 9, "mpp": 0.5, "cellularity": 0.5, "software": "s"}
    with transaction(engine) as db:
        for number, phash, expected in ((1, None, True), (2, TURNED[3], True), (3, mark(3), False)):
            given = records.add_reading(
                db, sha256=sha(number), reader="Ana", seen_models=False, phash=phash, **free
            )
            assert given.seen_models == expected, number


def test_a_sight_is_noted_once_in_few_statements(engine: Engine) -> None:
    see(engine, "Ana", 1)
    with snapshot(engine) as db:
        assert records.unnoted(db, reader="ana", sha256s=[sha(1), sha(2)]) == {sha(2)}
        assert records.unnoted(db, reader="Kim", sha256s=[sha(1)]) == {sha(1)}
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *told: statements.append(told[2]))
    see(engine, "Ana", *range(1, 301))
    assert len(statements) < 10, statements
    see(engine, "Ana", *range(1, 301))
    with snapshot(engine) as db:
        told = records.events(db, limit=999, entity="sight")
    assert len(told) == 300
    assert {(one.actor, one.action) for one in told} == {("Ana", "see")}
    assert {one.new["sha256"] for one in told} == {sha(number) for number in range(1, 301)}
    assert judged(engine).ok


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (f"UPDATE sight SET sha256 = '{sha(9)}' WHERE id = 1", "was altered"),
        ("UPDATE sight SET turned = NULL WHERE id = 1", "was altered"),
        ("DELETE FROM sight WHERE id = 1", "was removed"),
    ],
)
def test_a_note_that_was_made_to_vanish_is_found(engine: Engine, change: str, why: str) -> None:
    see(engine, "Ana", 1, 2)
    own = intruder(engine)
    with own.begin() as thief:
        thief.execute(text(change))
    own.dispose()
    verdict = judged(engine)
    assert (verdict.first_bad, verdict.why) == ("sight 1", why)


def test_erasing_a_patient_erases_what_would_know_the_tissue_again(engine: Engine) -> None:
    see(engine, "Ana", 1, 2)
    see(engine, "Kim", 1)
    with transaction(engine) as db:
        opened(db, cases=[new_case(1, patient="Gone", turned=TURNED), new_case(5)])
        head = records.head(db)
    with transaction(engine) as db:
        going = records.to_erase(db, patient="Gone")
        assert going == records.erase_patient(db, patient="Gone", actor="A", why="letter of May")
    records.scrub(engine)
    with snapshot(engine) as db:
        rows = db.execute(text("SELECT sha256, turned FROM sight ORDER BY id")).all()
        told = {e.sequence: e for e in records.events(db, limit=999, entity="sight")}
        assert records.verify(db, head).ok
    assert [tuple(row) for row in rows] == [
        *((sha(1), None), (sha(2), " ".join(TURNED)), (sha(1), None))
    ]
    assert sorted((e.action, e.is_erased) for e in told.values()) == [
        *(("erase", False), ("erase", False)),
        *(("see", False), ("see", True), ("see", True)),
    ]
    assert seen_models(engine, new_case(1, patient="Gone again"), "Zoe") is False


def test_going_back_and_forth_leaves_a_whole_chain(tmp_path: Path) -> None:
    for backend in BACKENDS:
        with empty_database(backend, tmp_path) as url:
            engine = session.connect(url)
            session.upgrade(engine)
            see(engine, "Ana", 1, 2)
            with snapshot(engine) as db:
                head = records.head(db)
            session.downgrade(engine, "0003")
            assert "sight" not in inspect(engine).get_table_names()
            session.upgrade(engine)
            see(engine, "Ana", 2)
            with snapshot(engine) as db:
                told = [
                    (e.action, e.entity_id) for e in records.events(db, limit=9, entity="sight")
                ]
                assert records.verify(db, head).ok
            assert told == [("see", 1), ("remove", 2), ("remove", 1), ("see", 2), ("see", 1)]
            engine.dispose()
