"""The model set in use: chosen by admins, told in the trail, proved by the chain."""

import csv
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from db_support import BACKENDS, address, open_database
from sqlalchemy import Engine, text

from db import model_sets, records
from db.errors import RecordError
from db.export import export
from db.model_sets import ActiveSet
from db.session import snapshot, transaction

OLD, NEW = "a" * 64, "b" * 64


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with open_database(request.param, tmp_path) as engine:
        yield engine


def sign_in(engine: Engine, name: str) -> records.ReaderRecord:
    with transaction(engine) as db:
        return records.account(db, issuer="https://id", subject=name, name=name, email=None)


def test_the_choice_made_last_is_in_use(engine: Engine) -> None:
    sign_in(engine, "Ada")
    with snapshot(engine) as db:
        assert model_sets.active(db) is None
    with transaction(engine) as db:
        first = model_sets.choose(db, name="starter", sha256=OLD, actor="ada")
    with transaction(engine) as db:
        second = model_sets.choose(db, name="breast-1", sha256=NEW, actor="Ada")
    with transaction(engine) as db:  # in use already: nothing is written
        assert model_sets.choose(db, name="breast-1", sha256=NEW, actor="Ada") == second
    with snapshot(engine) as db:
        assert model_sets.active(db) == second
        assert model_sets.choices(db) == [first, second]
        newest, oldest = records.events(db, limit=9, entity="model_set")
        assert records.verify(db).ok
    assert second == ActiveSet("breast-1", NEW, "Ada", newest.at)
    assert first.chosen_at <= second.chosen_at
    assert (oldest.entity_id, oldest.old, oldest.new) == (
        1,
        None,
        {"name": "starter", "sha256": OLD},
    )
    assert (newest.entity_id, newest.actor, newest.action) == (2, "Ada", "choose")
    assert (newest.old, newest.new) == (oldest.new, {"name": "breast-1", "sha256": NEW})


def test_only_an_admin_chooses(engine: Engine) -> None:
    assert sign_in(engine, "Ada").role == "admin"
    sign_in(engine, "Rita")
    with transaction(engine) as db:
        records.enrol(db, name="Typed")
        records.set_role(db, name="Rita", role="coordinator", actor="Ada")
    for actor, words in (("Rita", "Rita is coordinator"), ("Typed", "only an admin")):
        with pytest.raises(RecordError, match=words), transaction(engine) as db:
            model_sets.choose(db, name="starter", sha256=OLD, actor=actor)
    with pytest.raises(RecordError, match="No reader is called"), transaction(engine) as db:
        model_sets.choose(db, name="starter", sha256=OLD, actor="Nobody")
    with snapshot(engine) as db:
        assert model_sets.active(db) is None
        assert records.events(db, limit=9, entity="model_set") == []
    with transaction(engine) as db:
        records.set_role(db, name="Rita", role="admin", actor="Ada")
        assert model_sets.choose(db, name="s", sha256=OLD, actor="Rita").chosen_by == "Rita"


def test_without_sign_in_everybody_chooses(engine: Engine) -> None:
    with transaction(engine) as db:
        records.enrol(db, name="Kim")
        assert model_sets.choose(db, name="starter", sha256=OLD, actor="Kim").name == "starter"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, "1 to 120 letters"),
        ({"name": "x" * 121}, "1 to 120 letters"),
        ({"name": " starter"}, "without spaces"),
        ({"sha256": "a" * 63}, "64 hexadecimal digits"),
        ({"sha256": "G" * 64}, "64 hexadecimal digits"),
    ],
)
def test_what_names_no_model_set_is_refused(
    engine: Engine, changes: dict[str, str], words: str
) -> None:
    with transaction(engine) as db:
        records.enrol(db, name="Kim")
    with pytest.raises(RecordError, match=words), transaction(engine) as db:
        model_sets.choose(db, **{"name": "starter", "sha256": OLD, "actor": "Kim"} | changes)


def test_an_altered_choice_is_found_and_the_export_tells_all(
    engine: Engine, tmp_path: Path
) -> None:
    with transaction(engine) as db:
        records.enrol(db, name="Kim")
        model_sets.choose(db, name="starter", sha256=OLD, actor="Kim")
        last = model_sets.choose(db, name="breast-1", sha256=NEW, actor="Kim")
    with snapshot(engine) as db:
        export(db, tmp_path / "out")
    with (tmp_path / "out" / "model_sets.csv").open(encoding="utf-8", newline="") as file:
        told = list(csv.DictReader(file))
    assert [(row["name"], row["sha256"], row["chosen_by"]) for row in told] == [
        ("starter", OLD, "Kim"),
        ("breast-1", NEW, "Kim"),
    ]
    assert told[1]["chosen_at"] == last.chosen_at.isoformat()
    assert verified(engine).returncode == 0
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("ALTER TABLE audit_content DISABLE TRIGGER USER"))
        else:
            connection.execute(text("DROP TRIGGER audit_content_no_update"))
        connection.execute(
            text("UPDATE audit_content SET content = replace(content, 'breast-1', 'starter')")
        )
    altered = verified(engine)
    assert altered.returncode == 1
    assert "audit_event 3 its content was altered" in altered.stderr


def verified(engine: Engine) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "db", "--url", address(engine), "verify"],
        capture_output=True,
        text=True,
        timeout=60,
    )
