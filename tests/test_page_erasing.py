"""Erasing a patient on the page People: who may, after what, and what it leaves."""

from typing import Any

import pytest
from access_support import app, own_records, user
from db_support import new_case, opened
from streamlit.testing.v1 import AppTest

from db import records
from db.errors import RecordError
from db.session import snapshot, transaction
from pages.parts import erasing
from pages.parts.store import store

pytestmark = pytest.mark.usefixtures("own_records")
__all__ = ["own_records"]

SECRET = "Mustermann-1950"
PAGE = "pages/people.py"


@pytest.fixture
def page() -> AppTest:
    """The page, with a patient of two cases typed in and nothing confirmed."""
    at = app(user("ada"), page=PAGE)
    with transaction(store()) as db:
        cases = [new_case(k, patient=SECRET, name=f"{SECRET}.png") for k in (1, 2)]
        opened(db, name="Trial *A*", cases=[*cases, new_case(3)])
    at.text_input(key=erasing.PATIENT).set_value(SECRET)
    at.run().selectbox(key=erasing.STUDY).select_index(0).run()
    return at


def typed(at: AppTest, why: str, again: str) -> Any:
    """The button that erases, after both were typed."""
    at.text_input(key=erasing.WHY).set_value(why)
    at.text_input(key=erasing.AGAIN).set_value(again).run()
    assert not at.exception
    return at.button(key=erasing.ERASE)


def patients() -> list[str | None]:
    with snapshot(store()) as db:
        [study] = records.studies(db)
        return [case.patient for case in records.cases(db, study.id)]


def last_event() -> records.Event:
    with snapshot(store()) as db:
        [event] = records.events(db, limit=1)
    return event


def test_a_patient_is_erased_once_the_pseudonym_was_typed_twice(page: AppTest) -> None:
    [going] = [m.value for m in page.markdown if m.value.startswith("This erases")]
    assert going.startswith(r"This erases **2 pictures** of **2 cases** in Trial \*A\*, and what ")
    for why, again in (("", SECRET), ("letter of 3 May", ""), ("letter of 3 May", "mustermann")):
        assert typed(page, why, again).disabled
    assert patients().count(SECRET) == 2

    typed(page, "letter of 3 May", SECRET).click().run()
    assert not page.exception and not page.error and not page.warning
    assert page.success[0].value.startswith("Erased: 2 pictures of 2 cases, and what ")
    assert not page.text_input(key=erasing.PATIENT).value
    assert sorted(patient is None for patient in patients()) == [False, True, True]
    event = last_event()
    assert (event.actor, event.action) == ("ada", "erase")
    assert event.new is not None and event.new["why"] == "letter of 3 May"
    with snapshot(store()) as db:
        assert records.verify(db).ok


def test_an_unknown_pseudonym_or_a_telling_reason_erases_nothing(page: AppTest) -> None:
    typed(page, f"letter of {SECRET}", SECRET).click().run()
    assert "holds the pseudonym" in page.error[0].value
    page.text_input(key=erasing.PATIENT).set_value("Nobody").run()
    assert "No case of any study has the pseudonym “Nobody”" in page.warning[0].value
    assert not any(button.key == erasing.ERASE for button in page.button)
    assert patients().count(SECRET) == 2


@pytest.mark.parametrize("role", ["coordinator", "reader"])
def test_only_an_admin_erases_even_with_the_page_still_open(
    page: AppTest, role: records.Role
) -> None:
    app(user("kim"))
    with transaction(store()) as db:
        records.set_role(db, name="kim", role="admin", actor="ada")
        records.set_role(db, name="ada", role=role, actor="kim")
    at = app(user("ada"), page=PAGE)
    assert not at.header and "This is for admins only" in at.error[0].value
    with transaction(store()) as db:
        records.set_role(db, name="ada", role="admin", actor="kim")
    button = typed(page, "letter of 3 May", SECRET)
    with transaction(store()) as db:
        records.set_role(db, name="ada", role=role, actor="kim")
    button.click().run()
    assert "This is for admins only" in page.error[0].value
    assert patients().count(SECRET) == 2


def test_bytes_that_cannot_leave_the_files_yet_are_offered_again(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(_: object) -> None:
        raise RecordError("Erased bytes cannot leave the records yet.")

    with monkeypatch.context() as patch:
        patch.setattr(records, "scrub", busy)
        typed(page, "letter of 3 May", SECRET).click().run()
    assert page.success and "cannot leave the records yet" in page.warning[0].value
    page.button(key=erasing.SCRUB).click().run()
    assert page.success and not page.warning
