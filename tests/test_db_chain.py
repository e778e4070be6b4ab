"""Hashes of the chain, and the trail leafed through."""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from db_audit_support import fill
from db_support import BACKENDS, open_database
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from db import chain, records
from db.session import snapshot


@pytest.fixture(params=BACKENDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with open_database(request.param, tmp_path, fill) as engine:
        yield engine


def test_events_are_leafed_through(engine: Engine) -> None:
    with snapshot(engine) as db:
        end = records.head(db).sequence
        first = records.events(db, limit=10)
        second = records.events(db, limit=10, before=first[-1].sequence)
        readings = records.events(db, limit=1000, entity="reading")
    assert [e.sequence for e in first + second] == list(range(end, end - 20, -1))
    assert {e.entity for e in readings} == {"reading"}
    assert readings[-1].new["cellularity"] == 0.3


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(value=JSON)
def test_the_canonical_form_is_json_and_survives_it(value: Any) -> None:
    written = chain.canonical(value)
    assert json.loads(written) == value
    assert chain.canonical(json.loads(written)) == written


def test_hashes_are_what_they_always_were() -> None:
    """Fixed answers: a change of them would break every chain in use."""
    assert chain.canonical({"b": -0.0, "a": [True, None, "µ"]}) == '{"a":[true,null,"µ"],"b":0.0}'
    assert chain.row_hash("reading", {"id": 1, "token": None}) == chain.digest(
        '["reading","",{"id":1}]'
    )
    assert chain.digest("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    with pytest.raises(TypeError, match=r"^set has no canonical form"):
        chain.canonical({1, 2})


def test_moments_bytes_and_odd_texts_are_what_they_always_were() -> None:
    """One spelling of a moment, whatever its zone; a picture by its hash; half a character."""
    moment = datetime(2026, 3, 31, 14, 5, tzinfo=timezone(timedelta(hours=2)))
    assert chain.canonical([moment]) == '["2026-03-31T12:05:00.000000+00:00"]'
    assert chain.canonical(b"abc") == (
        '"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"'
    )
    assert chain.digest("\ud800") == hashlib.sha256(b"\xed\xa0\x80").hexdigest()


def test_an_event_is_hashed_with_all_it_says_and_the_one_before() -> None:
    told = {
        "sequence": 2,
        "at": datetime(2026, 3, 31, 12, 5, tzinfo=UTC),
        "actor": "Ana",
        "action": "insert",
        "entity": "reading",
        "entity_id": 7,
        "row_hash": None,
        "content_hash": chain.content_hash("5a17", '{"old":null}'),
        "prev_hash": chain.GENESIS,
    }
    assert told["content_hash"] == hashlib.sha256(b'5a17\n{"old":null}').hexdigest()
    written = (
        '[2,"2026-03-31T12:05:00.000000+00:00","Ana","insert","reading",7,null,'
        f'"{told["content_hash"]}","{"0" * 64}"]'
    )
    assert chain.event_hash(**told) == hashlib.sha256(written.encode()).hexdigest()


def test_salts_are_of_128_bits_and_differ() -> None:
    salts = [chain.new_salt() for _ in range(50)]
    assert len(set(salts)) == 50
    assert {len(bytes.fromhex(salt)) for salt in salts} == {16}
