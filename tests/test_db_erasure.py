"""Erasing a patient on request is not altering."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from db_audit_support import fill, judged
from db_support import BACKENDS, commit, new_case, open_database, opened, read_all
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from db import chain, records
from db.errors import RecordError
from db.schema import Base
from db.session import snapshot, transaction


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with open_database(request.param, tmp_path, fill) as engine:
        yield engine


SECRET = "Mustermann-1950"


def personal(db: Session) -> str:
    """All text of all tables, to look for what should be gone."""
    found = []
    for name in Base.metadata.tables:
        found += [str(row) for row in db.execute(text(f'SELECT * FROM "{name}"')).all()]
    return "\n".join(found)


def test_a_patient_is_erased_and_the_scores_stay(engine: Engine) -> None:
    pixels = b"\x89PNG\r\n\x1a\n" + SECRET.encode() * 3
    with transaction(engine) as db:
        made = opened(
            db,
            name="With a patient",
            cases=[
                new_case(
                    70, patient=SECRET, name=f"{SECRET}.png", png=pixels, phash="abcdef0123456789"
                ),
                new_case(71, patient=SECRET, name="b.png"),
                new_case(72),
            ],
        )
        task = records.next_assignment(db, study_id=made.id, reader="Ana")
        assert isinstance(task, records.AssignmentRecord)
        commit(db, task, "Ana", 0.42)
        before = records.study_readings(db, made.id)
        head = records.head(db)
        assert SECRET in personal(db)
    with snapshot(engine) as db:
        going = records.to_erase(db, patient=SECRET, study_id=made.id)
        assert records.head(db) == head
    with transaction(engine) as db:
        done = records.erase_patient(
            db, patient=SECRET, study_id=made.id, actor="Admin", why="request of 3 May"
        )
    records.scrub(engine)
    assert (done.cases, done.images, done.studies) == (2, 2, ("With a patient",))
    assert going == done
    with snapshot(engine) as db:
        assert records.verify(db, head).ok
        everything = personal(db)
        after = records.study_readings(db, made.id)
        cases = {case.code: case for case in records.cases(db, made.id)}
        [note, *_] = records.events(db, limit=1)
        assert records.image(db, sha256=task.sha256) is None or task.sha256.endswith("48")
    assert SECRET not in everything
    assert SECRET.encode().hex() not in everything
    assert "abcdef0123456789" not in everything
    assert [(row.case, row.cellularity) for row in after] == [
        (row.case, row.cellularity) for row in before
    ]
    assert sorted(case.patient is None for case in cases.values()) == [False, True, True]
    assert note.new["why"] == "request of 3 May"
    with transaction(engine) as db:  # what is left to read is the third case alone
        left = 0 if cases[before[0].case].patient == "P-36" else 1
        assert read_all(db, made.id, "Ana") == left
        assert read_all(db, made.id, "Kim Weber") == 1
        assert records.next_assignment(db, study_id=made.id, reader="Ana") is None
        kim, ana = records.progress(db, made.id)
    assert (kim.done, kim.total) == (1, 1)
    assert ana.done == ana.total == 1 + left
    assert judged(engine).ok


def test_erased_bytes_leave_the_files(tmp_path: Path) -> None:
    with open_database("sqlite", tmp_path) as engine:
        with transaction(engine) as db:
            opened(db, cases=[new_case(1, patient=SECRET, name=SECRET), new_case(2)])

        def on_disk() -> bool:
            path = Path(str(engine.url.database))
            return any(SECRET.encode() in p.read_bytes() for p in path.parent.glob(path.name + "*"))

        assert on_disk()
        with transaction(engine) as db:
            records.erase_patient(db, patient=SECRET, actor="Admin", why="request")
        records.scrub(engine)
        assert not on_disk()
        assert judged(engine).ok


def test_erasing_covers_the_same_pixels_in_another_study(engine: Engine) -> None:
    with transaction(engine) as db:
        one = opened(db, name="One", cases=[new_case(80, patient=SECRET)])
        two = opened(
            db,
            name="Two",
            cases=[new_case(80, patient="other pseudonym")],
            readers=["Zoe"],
        )
        done = records.erase_patient(db, patient=SECRET, study_id=one.id, actor="A", why="request")
        assert (done.cases, done.images, done.studies) == (2, 1, ("One", "Two"))
        assert [case.patient for case in records.cases(db, two.id)] == [None]
    for patient, why, words in (
        (SECRET, "x", "No case of any"),
        ("P-1", " ", "needs its reason"),
        ("P-1", "for (p-1), 3 May", "holds the pseudonym"),
    ):
        with pytest.raises(RecordError, match=words), transaction(engine) as db:
            records.erase_patient(db, patient=patient, actor="A", why=why)


def test_every_erased_row_is_traced_to_its_patch(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are: they are looked up in lots."""
    with transaction(engine) as db:
        patient = records.cases(db, records.studies(db)[0].id)[0].patient
        done = records.erase_patient(db, patient=patient, actor="Admin", why="request")
    assert done.events > 10
    monkeypatch.setattr("db.verify._CHUNK", 2)
    assert judged(engine).ok


def test_content_erased_past_the_software_is_found(engine: Engine) -> None:
    with transaction(engine) as db:
        db.execute(text("UPDATE audit_content SET salt = NULL, content = NULL WHERE sequence = 4"))
    verdict = judged(engine)
    assert (verdict.first_bad, verdict.why) == (
        "audit_content 4",
        "was erased, and no erasure tells of it",
    )


def test_an_erased_score_cannot_be_guessed_from_its_hash() -> None:
    """The same content has another hash each time: there is no table of hashes to look in."""
    content = chain.canonical({"old": None, "new": {"cellularity": 0.42}})
    hashes = {chain.content_hash(chain.new_salt(), content) for _ in range(20)}
    assert len(hashes) == 20
    assert len(chain.new_salt()) == 32
