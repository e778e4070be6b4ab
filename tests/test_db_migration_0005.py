"""Revision 0005: a study gets the version of the software whose scores it has used so far."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from db_support import BACKENDS, empty_database, opened, sha
from migration_support import MOMENT, count_on, put
from sqlalchemy import Connection, Engine, inspect, text

from db import records, session

BY = {"model_set": "starter", "model_sha256": "f" * 64}
ONE, MIXED, NONE, BARE = 1, 2, 3, 4
"""Studies: of scores by one version, by two, none kept, and without models."""


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Records at revision 0004."""
    with empty_database(request.param, tmp_path) as url:
        engine = session.connect(url)
        session.upgrade(engine, "0004")
        with engine.begin() as connection:
            fill(connection)
        yield engine
        engine.dispose()


def fill(connection: Connection) -> None:
    size = {"width": 512, "height": 512, "mpp": 0.5, "created_at": MOMENT}
    for number in range(1, 6):
        patch = {"id": number, "sha256": sha(number), "name": f"{number}.png"}
        put(connection, "patch", patch | size)
    for key, numbers in ((ONE, (1, 2)), (MIXED, (3, 4)), (NONE, (5,)), (BARE, (1,))):
        study = {"id": key, "name": f"Study {key}", "description": "", "arm": "before", "seed": 1}
        study |= {"state": "closed", "repeat_share": 0.5, "washout_days": 0.0, "created_by": "C"}
        study |= {"show_feedback": False, "created_at": MOMENT, "proficiency": 0.1}
        put(connection, "study", study | ({} if key == BARE else BY))
        for number in numbers:
            case = {"id": 10 * key + number, "study_id": key, "patch_id": number, "mpp": 0.5}
            put(connection, "case", case | {"code": f"C-{number}", "is_training": False})
    kept = [(1, 0.5, "v1"), (2, 0.5, "v1"), (1, 0.5, "v2"), (2, 0.25, "v2")]
    kept += [(3, 0.5, "v1"), (4, 0.5, "v2"), (3, 0.5, "v2"), (5, 0.25, "v1")]
    for key, (number, mpp, software) in enumerate(kept, start=1):
        score = {"id": key, "patch_id": number, "method": "gbt", "value": key / 100, "mpp": mpp}
        put(connection, "model_score", score | BY | {"software": software, "created_at": MOMENT})
    count_on(connection)


def used(engine: Engine) -> dict[int, tuple[str | None, list[float | None], dict[str, int]]]:
    """Of each study its version, the values that count and what does not."""
    with session.snapshot(engine) as db:
        return {
            study.id: (
                study.software,
                [score.value for score in records.model_scores(db, study.id)],
                records.other_versions(db, study.id),
            )
            for study in records.studies(db)
        }


def test_studies_go_on_with_the_scores_they_had(engine: Engine) -> None:
    with session.snapshot(engine) as db:
        before = records.head(db)
    session.upgrade(engine)
    assert used(engine) == {
        ONE: ("v1", [0.01, 0.02], {"v2": 1}),
        MIXED: (None, [0.05, 0.06], {}),
        NONE: (None, [], {}),
        BARE: (None, [], {}),
    }
    with session.snapshot(engine) as db:
        assert records.verify(db, before).ok
        [told] = records.events(db, limit=records.head(db).sequence - before.sequence)
    assert (told.actor, told.action, told.entity, told.entity_id, told.new) == (
        *("migration 0005", "add software", "study", ONE),
        {"software": "v1"},
    )
    with session.transaction(engine) as db:
        assert opened(db, readers=["Zoe"]).software == "cellularity 1.0"
        assert records.verify(db).ok


def test_a_study_altered_before_the_upgrade_is_found_after_it(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE study SET seed = 2 WHERE id = {ONE}"))
    session.upgrade(engine)
    assert used(engine)[ONE][0] is None
    with session.snapshot(engine) as db:
        verdict = records.verify(db)
    assert (verdict.first_bad, verdict.why) == ("study 1", "was altered")


def test_there_and_back_and_there_again(engine: Engine) -> None:
    session.upgrade(engine)
    there = used(engine)
    session.downgrade(engine, "0004")
    with engine.connect() as connection:
        names = {column["name"] for column in inspect(connection).get_columns("study")}
    assert "software" not in names
    session.upgrade(engine)
    assert used(engine) == there
    with session.snapshot(engine) as db:
        assert records.verify(db).ok
        actions = [e.action for e in records.events(db, limit=3, entity="study")]
    assert actions == ["add software", "go back", "add software"]
