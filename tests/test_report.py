"""The report of a study: what is in the PDF, the CSV files and the JSON."""

import csv
import hashlib
import io
import json
import pickle
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agreement_support import seeded_study
from db_support import open_database
from pypdf import PdfReader
from reportlab.graphics.shapes import Circle, Drawing, Line, Polygon, Rect, String
from sqlalchemy import Engine

from cellularity_core.agreement import (
    RatingTable,
    Statistic,
    TrendPoint,
    agreement_report,
    bland_altman,
)
from cellularity_core.conventions import WEAK_SCALE
from cellularity_core.export import PURPOSE
from cellularity_core.pdf_text import FONT, fitted, marked
from db import records
from db.session import snapshot, transaction
from pages.parts.access import Identity
from pages.parts.agreement_figures import ForestRow
from pages.parts.agreement_source import read_study
from pages.parts.agreement_words import CONTROL_UNREAD, NO_CONTROL
from pages.parts.report_charts import forest_drawing, pair_drawing, trend_drawing
from pages.parts.report_content import Content, content, design_rows
from pages.parts.report_files import csv_archive, csv_files, json_text
from pages.parts.report_pdf import pdf

NOTE = "Blinding rested on trust for Ana, who read without signing in."
MOMENT = datetime(2026, 3, 31, 14, 5, tzinfo=UTC)
ME = Identity("Cora", "admin", False, None)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with open_database("sqlite", tmp_path_factory.mktemp("report")) as engine:
        yield engine


@pytest.fixture(scope="module")
def study(engine: Engine) -> records.StudyRecord:
    made = seeded_study(engine, arm="before-after with control", washout_days=0.0)
    with transaction(engine) as db:
        [first, *_] = records.cases(db, made.id)
        records.keep_consensus(
            db, case_id=first.id, cellularity=0.37, reason="after a long talk", by="Cora"
        )
    return made


def of(engine: Engine, study: records.StudyRecord, **changes: Any) -> Content:
    with snapshot(engine) as db:
        material = read_study(db, records.study(db, study.id), ME)
        given: dict[str, Any] = {
            "amendments": tuple(records.amendments(db, study.id)),
            "head": records.head(db),
            "note": NOTE,
            "software": "cellularity 9.9",
            "made_at": MOMENT,
            "made_by": "Cora",
        }
    return content(material, agreement_report(material.table), **(given | changes))


@pytest.fixture(scope="module")
def told(engine: Engine, study: records.StudyRecord) -> Content:
    return of(engine, study)


def text_of(data: bytes) -> str:
    """Text of every page, spaces and line ends alike."""
    pages = PdfReader(io.BytesIO(data)).pages
    return re.sub(r"\s+", " ", " ".join(page.extract_text() for page in pages))


def test_the_pdf_says_what_was_done_and_what_it_rests_on(told: Content) -> None:
    text = text_of(pdf(told))
    for words in (
        "Agreement: Readers 2026",
        "12, 12 of them scored",
        "4: Ana, Ben, Chi and Dora",
        "for half of each reader's cases with the models shown",
        "Seed of all orders 7",
        "25 % of the cases, hidden; at least 0 days after the first read",
        f"starter, checksum {'f' * 64}",
        "Scale of the models not known: the model set “starter” that gave the scores is gone",
        "cellularity 9.9",
        "2026-03-31 14:05:00 UTC by Cora",
        told.head.hash,
        f"Audit trail, last event {told.head.sequence}",
        NOTE,
        "after a long talk",
        "37 %",
    ):
        assert words in text, words
    pages = PdfReader(io.BytesIO(pdf(told))).pages
    assert all(PURPOSE in page.extract_text() for page in pages)
    assert "interim" not in text


def test_which_version_scored_is_in_every_file_and_what_does_not_count(told: Content) -> None:
    assert "Models scored with cellularity 1.0" in text_of(pdf(told))
    assert json.loads(json_text(told))["model_software"] == ["cellularity 1.0"]
    assert "To bear in mind" not in dict(design_rows(told))
    software, others = ("cellularity 1.0", "cellularity 2.0"), {"cellularity 3.0": 2}
    mixed = replace(told.material, model_software=software, other_versions=others)
    said = dict(design_rows(replace(told, material=mixed)))["To bear in mind"]
    assert "by 2 versions of the software (cellularity 1.0 and cellularity 2.0)" in said
    assert "Scores of 2 cases by cellularity 3.0 are kept as well and do not count" in said


def test_that_the_models_were_made_from_the_cases_is_in_every_file(told: Content) -> None:
    met = replace(told, material=replace(told.material, n_met=3))
    words = f"were made from 3 of the {len(told.material.images)} patches here"
    assert words in text_of(pdf(met)) and words in csv_files(met)["design.csv"]
    assert json.loads(json_text(met))["cases_the_models_were_made_from"] == 3
    assert json.loads(json_text(told))["cases_the_models_were_made_from"] == 0


def test_whose_scale_the_models_are_on_is_in_every_file(told: Content) -> None:
    known = replace(told, material=replace(told.material, scale=WEAK_SCALE))
    assert "Scale of the models weak TC, not a pathologist's" in text_of(pdf(known))
    assert 'Scale of the models,"weak TC, not a pathologist\'s"' in csv_files(known)["design.csv"]
    assert json.loads(json_text(known))["scale"] == WEAK_SCALE
    assert json.loads(json_text(told))["scale"] is None


def test_the_pdf_has_every_statistic_of_the_report(told: Content) -> None:
    text = text_of(pdf(told))
    report = agreement_report(told.material.table)
    assert report == told.report
    icc = report.icc_a1
    assert f"ICC(A,1), is {icc.value:.2f} (95 % interval {icc.low:.2f} to {icc.high:.2f})" in text
    for pair in report.pairs:
        k = pair.kappa4_quadratic
        assert f"{k.value:.2f} ({k.low:.2f} to {k.high:.2f})" in text
    for entry in report.model_vs_readers:
        assert f"{entry.model} ({entry.icc_a1.verdict})" in text
        found = entry.icc_a1.difference
        assert f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})" in text
    for again in report.repeatability:
        assert f"{100 * again.coefficient.value:.1f}" in text
    shown = told.movements["Mean of the models"].shown
    assert f"{shown.n_reads} second reads with the models shown" in text
    assert f"{shown.pull.value:.2f} ({shown.pull.low:.2f}" in text


def test_the_charts_of_the_pdf_are_vectors(told: Content) -> None:
    reader = PdfReader(io.BytesIO(pdf(told)))
    assert sum(len(page.images) for page in reader.pages) == 0
    drawn = b"".join(page.get_contents().get_data() for page in reader.pages)
    assert drawn.count(b" c\n") + drawn.count(b" c ") > 500  # circles of the scatter plots


def test_a_pair_is_drawn_point_by_point() -> None:
    a, b = np.array([0.1, 0.5, 0.9]), np.array([0.2, 0.5, 0.6])
    drawing = pair_drawing(500, a, b, ("Ana", "Ben"), bland_altman(a, b))
    dots = [(shape.cx, shape.cy) for shape in drawing.contents if isinstance(shape, Circle)]
    assert len(dots) == 6
    scatter = np.array(dots[:3])
    slope = np.diff(scatter, axis=0) / np.stack([np.diff(b), np.diff(a)], axis=1)
    assert slope == pytest.approx(100)  # both axes alike, b across
    numbers = [shape.text for shape in drawing.contents if isinstance(shape, String)]
    assert [text for text in numbers if text in ("1", "0")].count("1") == 3  # cases by bin
    assert "up: Ana, across: Ben (%)" in numbers
    bias = bland_altman(a, b).bias.value
    assert f"{100 * bias:.1f}" in numbers


def places(drawing: Drawing) -> list[float]:
    """Every x and y of marks and lines, text left out."""
    found: list[float] = []
    for shape in drawing.contents:
        if isinstance(shape, Line):
            found += [shape.x1, shape.y1, shape.x2, shape.y2]
        elif isinstance(shape, Circle):
            found += [shape.cx, shape.cy]
        elif isinstance(shape, Rect):
            found += [shape.x, shape.y]
        elif isinstance(shape, Polygon):
            found += shape.points
    return found


def test_an_icc_far_below_its_scale_stays_on_the_paper() -> None:
    low, middle = Statistic(-472.8, reason="below"), Statistic(0.5, -0.9, 0.8)
    rows = [
        ForestRow("A – B", "pair", (low, middle)),
        ForestRow("A – C", "pair", (middle, low)),
        ForestRow("Readers, mean of pairs", "mean", (low, middle)),
    ]
    drawing = forest_drawing(rows, 400)
    panel = 0.27 * 400
    assert min(places(drawing)) >= 0
    circles = [shape.cx for shape in drawing.contents if isinstance(shape, Circle)]
    assert min(circles) == pytest.approx(panel)
    assert "-472.80" in {s.text for s in drawing.contents if isinstance(s, String)}
    points = [
        TrendPoint("A", "reader", str(k), None, 8, found, found, found)
        for k, found in enumerate((middle, low, middle))
    ]
    assert min(places(trend_drawing(points, lambda point: point.icc_a1, 400))) >= 0


def test_a_control_arm_that_is_not_read_yet_is_no_missing_arm(told: Content) -> None:
    unread = {
        name: replace(found, control=None, difference=None)
        for name, found in told.movements.items()
    }
    text = text_of(pdf(replace(told, movements=unread)))
    assert CONTROL_UNREAD in text
    assert NO_CONTROL not in text
    assert told.material.study is not None
    alone = replace(told.material.study, arm="before-after")
    other = replace(told, movements=unread, material=replace(told.material, study=alone))
    text = text_of(pdf(other))
    assert NO_CONTROL in text
    assert CONTROL_UNREAD not in text
    for words in (NO_CONTROL, CONTROL_UNREAD):
        assert words not in text_of(pdf(told))


def test_the_same_content_gives_the_same_bytes(told: Content) -> None:
    assert pdf(told) == pdf(told)
    assert csv_archive(told) == csv_archive(told)
    assert json_text(told) == json_text(told)
    later = replace(told, made_at=datetime(2026, 4, 1, 8, 0, tzinfo=UTC))
    before, after = text_of(pdf(told)), text_of(pdf(later))
    assert before != after
    assert before.replace("2026-03-31 14:05:00", "2026-04-01 08:00:00") == after


def test_the_pdf_is_the_same_in_another_process(told: Content, tmp_path: Path) -> None:
    """No bytes depend on hashes, on the clock or on what was drawn before."""
    code = (
        "import pickle, sys, hashlib\n"
        "from pages.parts.report_pdf import pdf\n"
        "told = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print(hashlib.sha256(pdf(told)).hexdigest())\n"
    )
    path = tmp_path / "told.pickle"
    path.write_bytes(pickle.dumps(told))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parent.parent,
        timeout=120,
    )
    assert done.stdout.strip() == hashlib.sha256(pdf(told)).hexdigest()


def test_an_open_study_is_said_to_be_interim(engine: Engine) -> None:
    made = seeded_study(
        engine, name="Still open", close=False, first=100, read=["Ana", "Ben"], n_cases=5
    )
    told = of(engine, made)
    assert "The study is still open: all numbers are interim" in text_of(pdf(told))
    assert json.loads(json_text(told))["is_interim"] is True


def test_little_data_gives_reasons_and_no_errors(engine: Engine) -> None:
    made = seeded_study(engine, name="Tiny", first=200, readers=["Eve"], n_cases=1)
    told = of(engine, made)
    text = text_of(pdf(told))
    assert "two readers or more are needed" in text
    assert "1 reader scored 1 case." in text
    rows = list(csv.DictReader(io.StringIO(csv_files(told)["statistics.csv"])))
    [icc] = [r for r in rows if (r["part"], r["statistic"]) == ("group", "icc_a1")]
    assert (icc["value"], icc["reason"]) == ("", "two readers or more are needed")


@pytest.mark.parametrize("name", ["Łucja Öztürk", "Анна Ж", "王小明", "Lőrinc", "a <b> & c"])
def test_names_of_any_alphabet_are_in_the_pdf(name: str, told: Content) -> None:
    text = text_of(pdf(replace(told, made_by=name)))
    assert f"UTC by {name}" in text


def test_letters_that_a_font_lacks_take_another_font() -> None:
    assert fitted("Ana") == ("Ana", FONT)
    assert fitted("Анна")[1] == FONT
    assert fitted("김")[1] == "HYSMyeongJo-Medium"
    assert marked("Ana & 王") == 'Ana &amp; <font name="HeiseiMin-W3">王</font>'
    assert fitted("a🔬\x1b") == ("a<U+1F52C><U+001B>", FONT)


def test_the_archive_has_every_reading_once(
    engine: Engine, study: records.StudyRecord, told: Content
) -> None:
    with zipfile.ZipFile(io.BytesIO(csv_archive(told))) as archive:
        text = archive.read("readings.csv").decode("utf-8")
        names = set(archive.namelist())
    with snapshot(engine) as db:
        rows = records.study_readings(db, study.id)
    found = list(csv.DictReader(io.StringIO(text)))
    assert len(found) == len(rows) > 100
    for line, row in zip(found, rows, strict=True):
        assert int(line["id"]) == row.id
        assert (line["reader"], line["case"], line["phase"]) == (row.reader, row.case, row.phase)
        assert line["cellularity"] == ("" if row.cellularity is None else repr(row.cellularity))
        assert datetime.fromisoformat(line["created_at"]) == row.created_at
    assert names == {
        "README.txt",
        "amendments.csv",
        "consensus.csv",
        "design.csv",
        "model_scores.csv",
        "ratings.csv",
        "readings.csv",
        "statistics.csv",
    }


def test_ratings_of_the_archive_give_the_same_report(told: Content, tmp_path: Path) -> None:
    """Anybody can compute the numbers anew, with the command."""
    path = tmp_path / "ratings.csv"
    path.write_text(csv_files(told)["ratings.csv"], encoding="utf-8")
    again = agreement_report(RatingTable.read(path))
    assert again == told.report


def test_statistics_of_the_archive_are_those_of_the_report(told: Content) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_files(told)["statistics.csv"])))
    by_key = {(r["part"], r["a"], r["b"], r["period"], r["statistic"]): r for r in rows}
    assert len(by_key) == len(rows)

    def check(key: tuple[str, ...], statistic: Any) -> None:
        row = by_key[key]
        for name, value in asdict(statistic).items():
            assert row[name] == ("" if value is None else str(value)), (key, name)

    report = told.report
    check(("group", "", "", "", "icc_a1"), report.icc_a1)
    check(("group", "", "", "", "gwet_ac2_quadratic_bins4"), report.gwet_ac2_quadratic_bins4)
    for pair in report.pairs:
        check(("pair", pair.a, pair.b, "", "kappa4_linear"), pair.kappa4_linear)
        low = pair.bland_altman.loa_low
        check(("pair", pair.a, pair.b, "", "bland_altman.loa_low"), low)
    for entry in report.model_vs_readers:
        key = ("model beside readers", entry.model, "", "", "icc_a1.difference")
        check(key, entry.icc_a1.difference)
    for point in told.batches:
        check(("batch", point.rater, "", point.period, "icc_a1"), point.icc_a1)
    moved = told.movements["Nuclei maps"]
    assert moved.difference is not None
    check(("after AI", "Nuclei maps", "", "", "difference.pull"), moved.difference.pull)


def test_the_json_is_the_commands_and_what_it_rests_on(told: Content) -> None:
    document = json.loads(json_text(told))
    assert document["agreement"] == json.loads(json.dumps(asdict(told.report)))
    assert document["audit_head"] == asdict(told.head)
    assert document["blinding"] == NOTE
    assert document["model_sha256"] == "f" * 64
    assert document["is_interim"] is False
    assert document["design"]["Seed of all orders"] == "7"


def test_a_formula_in_a_name_stays_text(engine: Engine) -> None:
    made = seeded_study(
        engine, name="Formula", first=300, readers=["=1+1", "Ana"], n_cases=2, methods=()
    )
    files = csv_files(of(engine, made))
    found = {row["reader"] for row in csv.DictReader(io.StringIO(files["readings.csv"]))}
    assert found == {"'=1+1", "Ana"}
