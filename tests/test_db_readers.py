"""Readers: names, roles, accounts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from db_support import BACKENDS, open_database
from sqlalchemy import Engine

from db import records
from db.errors import RecordError
from db.session import transaction

ISSUER = "https://id.example.org"


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with open_database(request.param, tmp_path) as engine:
        yield engine


def sign_in(
    engine: Engine, subject: str, name: str, email: str | None = None
) -> records.ReaderRecord:
    with transaction(engine) as db:
        return records.account(db, issuer=ISSUER, subject=subject, name=name, email=email)


def test_the_first_account_is_admin_and_later_ones_are_readers(engine: Engine) -> None:
    first = sign_in(engine, "1", "Kim Weber")
    second = sign_in(engine, "2", "Ana")
    assert (first.role, second.role) == ("admin", "reader")
    assert sign_in(engine, "1", "Kim Weber") == first
    with transaction(engine) as db:
        assert [reader.name for reader in records.all_readers(db)] == ["Ana", "Kim Weber"]


def test_an_account_never_takes_over_a_name(engine: Engine) -> None:
    with transaction(engine) as db:
        local = records.enrol(db, name="Kim Weber")
    first = sign_in(engine, "1", "kim weber")
    second = sign_in(engine, "2", "Kim Weber")
    long = [sign_in(engine, f"long {k}", "x" * 120).name for k in range(2)]
    assert len({local.id, first.id, second.id}) == 3
    assert (first.name, second.name) == ("kim weber (2)", "Kim Weber (3)")
    assert long == ["x" * 120, "x" * 116 + " (2)"]


def test_who_signs_in_has_an_account_and_a_typed_name_has_none(engine: Engine) -> None:
    signed_in = sign_in(engine, "1", "Kim")
    with transaction(engine) as db:
        typed = records.enrol(db, name="Ana")
        known = {reader.name: reader.has_account for reader in records.all_readers(db)}
    assert (signed_in.has_account, typed.has_account) == (True, False)
    assert known == {"Ana": False, "Kim": True}


def test_the_same_subject_of_another_issuer_is_another_person(engine: Engine) -> None:
    one = sign_in(engine, "1", "Kim")
    with transaction(engine) as db:
        two = records.account(db, issuer="https://evil", subject="1", name="Kim", email=None)
    assert (one.role, two.role) == ("admin", "reader")
    assert one.id != two.id


@pytest.mark.parametrize(("issuer", "subject"), [("", "1"), (ISSUER, "")])
def test_an_account_without_subject_is_refused(engine: Engine, issuer: str, subject: str) -> None:
    with pytest.raises(RecordError, match="tells nobody apart"), transaction(engine) as db:
        records.account(db, issuer=issuer, subject=subject, name="Kim", email=None)


def test_signing_in_again_writes_only_what_changed(engine: Engine) -> None:
    sign_in(engine, "1", "Kim", "kim@example.org")
    sign_in(engine, "1", "Kim", "kim@example.org")
    sign_in(engine, "1", "Kim", "weber@example.org")
    with transaction(engine) as db:
        told = [(e.action, e.old, e.actor) for e in records.events(db, limit=9)]
    assert told == [("change email", "kim@example.org", "Kim"), ("enrol", None, "Kim")]


def test_roles_are_given_and_an_admin_is_left(engine: Engine) -> None:
    sign_in(engine, "1", "Kim")
    sign_in(engine, "2", "Ana")
    with transaction(engine) as db:
        assert (
            records.set_role(db, name="ana", role="coordinator", actor="Kim").role == "coordinator"
        )
    for name, role, words in (
        ("Kim", "reader", "only admin"),
        ("Zoe", "reader", "No reader is called"),
        ("Ana", "owner", "no role"),
    ):
        with pytest.raises(RecordError, match=words), transaction(engine) as db:
            records.set_role(db, name=name, role=role, actor="Kim")  # type: ignore[arg-type]
    with transaction(engine) as db:
        records.set_role(db, name="Ana", role="admin", actor="Kim")
        records.set_role(db, name="Kim", role="reader", actor="Ana")
        roles = {reader.name: reader.role for reader in records.all_readers(db)}
        [latest, *_] = records.events(db, limit=9)
    assert roles == {"Ana": "admin", "Kim": "reader"}
    assert (latest.actor, latest.old, latest.new, latest.entity) == (
        "Ana",
        "admin",
        "reader",
        "reader",
    )


def test_enrolling_again_keeps_the_role(engine: Engine) -> None:
    with transaction(engine) as db:
        first = records.enrol(db, name="Kim", role="coordinator", actor="Admin")
        assert records.enrol(db, name="KIM") == first
        assert [e.actor for e in records.events(db, limit=9)] == ["Admin"]
