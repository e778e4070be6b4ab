"""A study in a real browser: created by a coordinator, read by keyboard alone, blinded."""

import json
import re
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import pytest
from sqlalchemy import Engine

from cellularity_core.conventions import METHODS
from cellularity_core.fingerprint import fingerprint
from cellularity_core.patch import load_patch
from db import records
from db.session import connect, database_url, snapshot, transaction, upgrade
from pages.parts.study_draft import encoded

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, WebSocketRoute

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

SECRET = 0.2871
"""Score of a model and of a peer that must not reach a reader before their own."""
TELLING = re.compile(r"29 %|28\.71|0\.2871|GBT|Nuclei features|weak TC")


@pytest.fixture
def page(chromium: "Browser") -> Iterator["Page"]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    yield page
    context.close()


@pytest.fixture
def db(app_server: str, app_records: Path) -> Iterator[Engine]:
    engine = connect(database_url(str(app_records)))
    upgrade(engine)
    yield engine
    engine.dispose()


def make_study(
    db: Engine,
    files: list[Path],
    name: str,
    readers: list[str],
    arm: records.Design,
    *,
    training: int = 0,
    proficiency: float | None = None,
) -> records.StudyRecord:
    """An open study of small copies; the first `training` are known to be 40 %."""
    cases = []
    for k, path in enumerate(files):
        patch = load_patch(path.read_bytes(), path.name)
        small = cv2.resize(patch.pixels, (256, 256), interpolation=cv2.INTER_AREA)
        made = load_patch(encoded(small), path.name, 1.0)
        cases.append(
            records.NewCase(
                sha256=made.sha256,
                name=path.name,
                width=256,
                height=256,
                mpp=1.0,
                phash=fingerprint(made.pixels),
                png=encoded(made.pixels),
                is_training=k < training,
                reference=0.4 if k < training else None,
            )
        )
    plan = records.StudyPlan(
        name=name,
        description="",
        arm=arm,
        seed=1,
        repeat_share=0.0,
        washout_days=0.0,
        proficiency=proficiency,
        show_feedback=bool(training),
        model_set="starter",
        model_sha256="0" * 64,
        software="test",
        readers=readers,
        cases=cases,
    )
    with transaction(db) as session:
        for reader in readers:
            records.enrol(session, name=reader)
        study = records.create_study(session, plan, actor="Coordinator")
        for case in cases:
            records.keep_model_scores(
                session,
                sha256=case.sha256,
                mpp=case.mpp,
                scores={"gbt": (SECRET, 0.2, 0.4)},
                model_set="starter",
                model_sha256="0" * 64,
                software="test",
            )
        return records.open_study(session, study_id=study.id, actor="Coordinator")


def shown(page: "Page", after: str | None = None) -> str:
    """Wait until the desk shows a patch, another one than `after`; its token."""
    page.wait_for_function(
        "known => { const d = document.querySelector('[data-shown]');"
        " return d && d.dataset.shown && d.dataset.shown !== known }",
        arg=after,
    )
    return str(page.evaluate("document.querySelector('[data-shown]').dataset.shown"))


def given(db: Engine, study: records.StudyRecord, reader: str) -> list[records.ReadingRecord]:
    with snapshot(db) as session:
        return records.own_readings(session, study_id=study.id, reader=reader)


def test_eighty_patches_by_keyboard_alone(
    page: "Page", app_server: str, db: Engine, data_root: Path
) -> None:
    files = sorted((data_root / "brca_m2c" / "images").glob("*.png"))[:80]
    study = make_study(db, files, "Eighty", ["Keys"], "before")
    page.goto(f"{app_server}/read?reader=Keys")
    token = shown(page)
    keys = page.keyboard
    spent = []
    for k in range(80):
        if k == 40:  # a crash in the middle: the tab is gone, with a score half given
            keys.press("3")
            page.reload()
            assert shown(page) == token
            assert page.locator("output.value").inner_text() == "30 %"
        if k % 20 == 19:
            keys.press("n")
            keys.press("2")
        else:
            keys.press(str(k % 10))
            keys.press("ArrowRight")
            keys.press("f")
        begun = time.perf_counter()
        keys.press("Enter")
        if k < 79:
            token = shown(page, token)
        else:
            page.get_by_text("You have read every case").wait_for()
        spent.append(time.perf_counter() - begun)
    kept = given(db, study, "Keys")
    assert [r.cellularity for r in kept] == [
        None if k % 20 == 19 else pytest.approx((10 * (k % 10) + 1) / 100) for k in range(80)
    ]
    assert all(r.confidence == 1 for r in kept if r.cellularity is not None)
    assert all(r.seconds is not None and r.seconds >= 0 for r in kept)
    assert len({r.sha256 for r in kept}) == 80
    print(f"\nseconds in the software a case: median {statistics.median(spent):.2f}")  # noqa: T201


def test_nothing_of_models_or_peers_before_the_own_score(
    page: "Page", app_server: str, db: Engine, data_root: Path
) -> None:
    files = sorted((data_root / "brca_m2c" / "images").glob("*.png"))[80:83]
    study = make_study(db, files, "Blinded", ["Blind", "Peer"], "before-after")
    with transaction(db) as session:
        for _ in range(2):  # the peer has scored one case, twice
            step = records.next_assignment(session, study_id=study.id, reader="Peer")
            assert isinstance(step, records.AssignmentRecord)
            records.commit_reading(
                session,
                assignment_id=step.id,
                reader="Peer",
                phase=step.phase,
                cellularity=SECRET,
                cannot_score_reason=None,
                confidence=None,
                seconds=1.0,
                seen_models=False,
                software="test",
                token=f"peer{step.phase}",
            )
    received: list[str] = []

    def listen(socket: object) -> None:
        socket.on(  # type: ignore[attr-defined]
            "framereceived",
            lambda data: received.append(data if isinstance(data, str) else data.decode("latin-1")),
        )

    page.on("websocket", listen)
    page.goto(f"{app_server}/read?reader=Blind")
    token = shown(page)
    for place in ("read", "agreement?study=" + str(study.id), "studies", "models", ""):
        page.goto(f"{app_server}/{place}{'&' if '?' in place else '?'}reader=Blind")
        page.wait_for_timeout(1500)
        if place == "":
            page.locator("input[type=file]").set_input_files(
                {"name": "again.png", "mimeType": "image/png", "buffer": first_image(db, study)}
            )
            page.get_by_text("belongs to a study").first.wait_for()
        if place.startswith("read"):
            assert not TELLING.search(without_pictures("\n".join(received)))
        else:
            everything = without_pictures("\n".join(received))
            assert not re.search(r"29 %|28\.71|0\.2871", everything)
    page.goto(f"{app_server}/read?reader=Blind")
    assert shown(page) == token
    page.keyboard.press("5")
    page.keyboard.press("Enter")
    shown(page, token)
    page.get_by_text("29 %").first.wait_for()  # the model, now that the own score is kept
    assert [r.cellularity for r in given(db, study, "Blind")] == [0.5]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.get_by_text("Case 2 of 3").wait_for()
    kept = given(db, study, "Blind")
    assert [(r.phase, r.cellularity, r.seen_models) for r in kept] == [
        ("before", 0.5, False),
        ("after", 0.51, True),
    ]


def test_the_page_makes_a_study_that_its_reader_finds(
    page: "Page", app_server: str, db: Engine, data_root: Path
) -> None:
    files = sorted((data_root / "brca_m2c" / "images").glob("*.png"))[83:85]
    page.goto(f"{app_server}/studies?reader=Coord")
    page.get_by_role("tab", name="New study").click()
    page.locator("input[type=file]").set_input_files([str(path) for path in files])
    page.get_by_text("2 cases to read and 0 training cases.").wait_for()
    who = page.locator("[data-testid=stMultiSelect] input")
    who.fill("Mae")
    who.press("Enter")
    page.get_by_label("Name of the study").fill("Made by hand")
    page.get_by_label("Name of the study").press("Enter")
    page.get_by_text("Before, then after AI, with a control arm").click()
    page.get_by_text("I have checked that the pixel size").click()
    page.locator(".st-key-studies-create button:enabled").click()
    page.get_by_text("“Made by hand” is open for Mae.").wait_for()
    with snapshot(db) as session:
        [made] = [s for s in records.studies(session) if s.name == "Made by hand"]
        assert (made.state, made.arm, made.readers) == (
            "open",
            "before-after with control",
            ("Mae",),
        )
        assert {case.patch for case in records.cases(session, made.id)} == {f.name for f in files}
        scores = records.model_scores(session, made.id)
    assert {(s.model_set, s.model_sha256) for s in scores} == {(made.model_set, made.model_sha256)}
    assert len(scores) == len(METHODS) * len(files)
    page.goto(f"{app_server}/read?reader=Mae")
    shown(page)
    page.get_by_text("Case 1 of 3").wait_for()  # two cases and one hidden repeat


def test_training_tells_the_reference_and_holds_the_line(
    page: "Page", app_server: str, db: Engine, data_root: Path
) -> None:
    files = sorted((data_root / "brca_m2c" / "images").glob("*.png"))[85:88]
    study = make_study(db, files, "Trained", ["Learner"], "before", training=1, proficiency=0.15)
    page.goto(f"{app_server}/read?reader=Learner")
    token = shown(page)
    assert "40 %" not in page.locator(".pad").inner_text()
    page.keyboard.press("9")
    page.keyboard.press("Enter")
    shown(page, token)
    pad = page.locator(".beside").inner_text()
    assert re.findall(r"\d+ %", pad) == ["90 %", "40 %"]
    page.keyboard.press("Enter")
    page.get_by_text("Your training scores are 50 points from the references").wait_for()
    assert [r.cellularity for r in given(db, study, "Learner")] == [0.9]


def test_an_unfinished_score_waits_while_another_study_is_looked_at(
    page: "Page", app_server: str, db: Engine, data_root: Path
) -> None:
    files = sorted((data_root / "brca_m2c" / "images").glob("*.png"))[:4]
    make_study(db, files[:2], "Morning", ["Twice"], "before")
    make_study(db, files[2:], "Evening", ["Twice"], "before")
    page.goto(f"{app_server}/read?reader=Twice")
    token = shown(page)
    page.keyboard.press("7")
    page.locator("output.value").get_by_text("70 %").wait_for()
    for name in ("Morning", "Evening"):
        page.get_by_role("combobox", name="Study").click()
        page.get_by_role("option", name=name).click()
        token = shown(page, token)
    page.locator("output.value").get_by_text("70 %").wait_for()


def test_what_the_box_cannot_be_read_as_is_not_committed(
    page: "Page", app_server: str, db: Engine, data_root: Path
) -> None:
    files = sorted((data_root / "brca_m2c" / "images").glob("*.png"))[6:8]
    study = make_study(db, files, "Typed", ["Types"], "before")
    page.goto(f"{app_server}/read?reader=Types")
    token = shown(page)
    box, value, note = (page.locator(name) for name in ("input.box", "output.value", "p.note"))
    for typed in ("150", "15.5", "-3", "8e"):
        box.click()
        box.press("ControlOrMeta+a")
        page.keyboard.type(typed)
        value.get_by_text("–").wait_for()
        note.get_by_text("a whole number from 0 to 100").wait_for()
        page.keyboard.press("Enter")
        assert shown(page) == token
    box.press("ControlOrMeta+a")
    page.keyboard.press("Backspace")
    page.keyboard.type("80")
    value.get_by_text("80 %").wait_for()
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")
    value.get_by_text("–").wait_for()
    page.keyboard.press("Enter")
    note.get_by_text("Give a score first").wait_for()
    assert given(db, study, "Types") == []
    page.keyboard.type("1e")  # left as it is; the keys go on without it
    page.keyboard.press("Escape")
    page.keyboard.press("6")
    value.get_by_text("60 %").wait_for()
    assert box.input_value() == "60"
    box.click()
    box.press("ControlOrMeta+a")
    page.keyboard.type("62")
    page.keyboard.press("Enter")
    shown(page, token)
    assert [r.cellularity for r in given(db, study, "Types")] == [0.62]


def test_what_another_tab_committed_is_not_said_to_be_saved_again(
    page: "Page", app_server: str, db: Engine, data_root: Path
) -> None:
    files = sorted((data_root / "brca_m2c" / "images").glob("*.png"))[4:6]
    study = make_study(db, files, "Tabs", ["Tab"], "before")
    other = page.context.new_page()
    for tab in (page, other):
        tab.goto(f"{app_server}/read?reader=Tab")
        token = shown(tab)
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    page.get_by_text("Saved at").wait_for()
    other.keyboard.press("9")
    other.keyboard.press("Enter")
    other.get_by_text("committed already and stays").wait_for()
    assert shown(other) != token
    assert [r.cellularity for r in given(db, study, "Tab")] == [0.3]


def test_a_commit_that_never_came_is_asked_for_again(
    page: "Page", app_server: str, db: Engine, data_root: Path
) -> None:
    files = sorted((data_root / "brca_m2c" / "images").glob("*.png"))[8:11]
    study = make_study(db, files, "Lost", ["Loses"], "before")
    lost: list[bytes | str] = []

    def between(socket: "WebSocketRoute") -> None:
        server = socket.connect_to_server()

        def pass_on(message: bytes | str) -> None:
            raw = message if isinstance(message, bytes) else message.encode()
            if not lost and b'"value":60' in raw:
                lost.append(message)
            else:
                server.send(message)

        socket.on_message(pass_on)

    page.route_web_socket(re.compile("_stcore/stream"), between)
    page.goto(f"{app_server}/read?reader=Loses")
    token = shown(page)
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    token = shown(page, token)
    note = page.locator("p.note")
    note.get_by_text("Saved at").wait_for()
    page.keyboard.press("6")
    page.keyboard.press("Enter")
    note.get_by_text("Saving…").wait_for()
    page.get_by_text("Your scores so far").click()
    right = page.get_by_label("Right score (%)")
    right.fill("50")
    right.press("Tab")
    note.get_by_text("Not confirmed as saved. Press Enter again.").wait_for()
    assert (shown(page), len(lost)) == (token, 1)
    page.locator("h3.question").click()
    page.keyboard.press("ArrowRight")
    page.locator("output.value").get_by_text("61 %").wait_for()
    page.keyboard.press("Enter")
    shown(page, token)
    assert [r.cellularity for r in given(db, study, "Loses")] == [0.3, 0.61]


def test_a_score_for_a_study_that_was_closed_is_said_not_to_be_kept(
    page: "Page", app_server: str, db: Engine, data_root: Path
) -> None:
    files = sorted((data_root / "brca_m2c" / "images").glob("*.png"))[11:13]
    study = make_study(db, files, "Closed", ["Late"], "before")
    page.goto(f"{app_server}/read?reader=Late")
    token = shown(page)
    page.keyboard.press("4")
    page.locator("output.value").get_by_text("40 %").wait_for()
    with transaction(db) as session:
        records.close_study(session, study_id=study.id, actor="Coordinator")
    page.keyboard.press("Enter")
    page.get_by_text("Your last score was not kept.").wait_for()
    page.get_by_text("There is nothing to read for Late.").wait_for()
    draft = page.evaluate("token => localStorage.getItem('cellularity.draft.' + token)", token)
    assert json.loads(draft)["value"] == 40
    assert given(db, study, "Late") == []


def first_image(db: Engine, study: records.StudyRecord) -> bytes:
    with snapshot(db) as session:
        sha256 = records.cases(session, study.id)[0].sha256
        image = records.image(session, sha256=sha256)
    assert image is not None
    return bytes(image)


def without_pictures(text: str) -> str:
    """`text` without long runs of base64, in which any few letters may occur."""
    return re.sub(r"[A-Za-z0-9+/=]{200,}", "", text)
