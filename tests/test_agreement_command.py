"""The command `cellularity agreement`: what it writes, prints and refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from ratings_support import KEYS, PAIR_KEYS, statistics, study, write

from cellularity_core.agreement import Rating, RatingTable, agreement_report, to_json
from cellularity_core.cli import main


def run(tmp_path: Path, ratings: list[Rating], *options: str) -> dict[str, Any]:
    lines = [
        f"{r.case_id},{r.reader},{'' if r.score is None else r.score},{r.patient_id or ''},"
        f"{r.kind},{r.repeat}"
        for r in ratings
    ]
    path = write(tmp_path / "r.csv", *lines, header="case_id,reader,score,patient_id,kind,repeat")
    target = tmp_path / "out.json"
    assert main(["agreement", str(path), "--json", str(target), *options]) == 0
    return json.loads(target.read_text(encoding="utf-8"))


def test_command_writes_the_report(tmp_path: Path) -> None:
    ratings = study()
    content = run(tmp_path, ratings)
    expected = to_json(agreement_report(RatingTable.from_ratings(ratings)))
    assert content.pop("software").startswith("cellularity ")
    assert content == json.loads(json.dumps(expected))
    assert set(content) >= KEYS
    assert all(set(pair) >= PAIR_KEYS for pair in content["pairs"])
    assert set(content["pairs"][0]["bland_altman"]) == {"bias", "loa_low", "loa_high"}
    assert all(set(s) >= {"value", "low", "high"} for s in statistics(content))


def test_per_cent_gives_the_same_figures(tmp_path: Path) -> None:
    ratings = [r for r in study() if r.kind == "reader"]
    percent = [
        Rating(r.case_id, r.reader, round(100 * r.score), r.patient_id, repeat=r.repeat)
        for r in ratings
    ]
    assert run(tmp_path, percent, "--percent") == run(tmp_path, ratings)


def test_two_runs_say_the_same_on_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, study(12))
    outputs = []
    for _ in range(2):
        assert main(["agreement", str(tmp_path / "r.csv"), "--json", "-"]) == 0
        outputs.append(capsys.readouterr())
    assert outputs[0] == outputs[1]
    assert json.loads(outputs[0].out) == json.loads((tmp_path / "out.json").read_text())


def test_command_prints_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = run(tmp_path, study())
    capsys.readouterr()
    assert main(["agreement", str(tmp_path / "r.csv")]) == 0
    text = capsys.readouterr().out
    assert "3 readers, 30 cases of 30 patients, 30 scored by every reader" in text
    row = next(line for line in text.splitlines() if "ICC(A,1)" in line and "generalised" in line)
    found = content["icc_a1"]
    assert f"{found['value']:.2f}" in row
    assert f"{found['low']:.2f} to {found['high']:.2f}" in row
    for words in ("Models beside the readers' spread", "Repeats", "Two by two", "cannot be scored"):
        assert words in text


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("nothing.csv", None, 2, "there is no file"),
        ("r.csv", "case_id,reader,score\na,r,0.5\nb,r,45\n", 1, "line 3: the score 45 is outside"),
        ("r.csv", "a,b\n1,2\n", 1, "no column case_id"),
    ],
)
def test_wrong_file_is_one_sentence(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: str | None,
    code: int,
    said: str,
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    assert main(["agreement", str(path), "--json", "-"]) == code
    output = capsys.readouterr()
    assert output.out == ""
    assert said in " ".join(output.err.replace("│", " ").split())
    assert "Traceback" not in output.err
    if code == 1:
        assert output.err.count("\n") == 1


def test_unknown_columns_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "r.csv", "a,r,0.5,p", header="case_id,reader,score,patientid")
    assert main(["agreement", str(path), "--json", "-"]) == 0
    assert "left out: patientid" in capsys.readouterr().err


def test_coverage_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "coverage.json"
    assert main(["agreement-coverage", "--draws", "100", "--json", str(target)]) == 0
    entries = json.loads(target.read_text())["coverage"]
    assert len({tuple(entry["setting"].values()) for entry in entries}) == 8
    command = ["agreement-coverage", "--draws", "100", "--patients", "--json", str(target)]
    assert main(command) == 0
    entries = json.loads(target.read_text())["coverage"]
    assert {(e["setting"]["n"], e["setting"]["each"]) for e in entries} == {
        (36, 6),
        (72, 6),
        (90, 3),
    }
    capsys.readouterr()
    assert main(["agreement-coverage", "--draws", "100"]) == 0
    text = capsys.readouterr().out
    for words in ("ICC(A,1)", "generalised", "McGraw & Wong", "MLS", "Gwet's AC2", "PK"):
        assert words in text, words
