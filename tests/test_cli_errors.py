"""What the command line refuses or cannot do: exit codes and one sentence each."""

import json
import os
import signal
from pathlib import Path

import pyarrow.parquet
import pytest
from cli_support import read_csv, save, three_patches

from cellularity_core.cli import main
from cellularity_core.scorer import Scorer
from cellularity_core.synthetic import synthesise


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return three_patches(tmp_path_factory.mktemp("patches"))


def test_what_cannot_be_read_is_named_and_the_rest_is_scored(
    folder: Path, tmp_path: Path, capfd
) -> None:
    (tmp_path / "broken.png").write_bytes((folder / "a.png").read_bytes()[:300])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "good.png").write_bytes((folder / "b.png").read_bytes())
    assert main(["score", str(tmp_path), "--json", "-"]) == 1
    captured = capfd.readouterr()
    content = json.loads(captured.out)
    assert [patch["image"] for patch in content["patches"]] == ["good.png"]
    assert [error["image"] for error in content["errors"]] == ["broken.png", "empty.png"]
    for error in content["errors"]:
        assert f"cellularity: {error['reason']}" in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("how", ["Ctrl-C", "an error"])
def test_what_is_scored_is_kept_where_a_run_ends_early(
    folder: Path, tmp_path: Path, monkeypatch, capfd, how
) -> None:
    (tmp_path / "in").mkdir()
    for k in range(6):
        save(tmp_path / "in" / f"{k}.png", synthesise(k, 128).pixels)
    finish, finished = Scorer._finish, []

    def third_ends_it(self: Scorer, *args):
        finished.append(finish(self, *args))
        if len(finished) == 3 and how == "Ctrl-C":
            signal.raise_signal(signal.SIGINT)
        elif len(finished) == 3:
            raise MemoryError("no room")
        return finished[-1]

    monkeypatch.setattr(Scorer, "_finish", third_ends_it)
    files = {kind: tmp_path / f"out.{kind}" for kind in ("csv", "json", "parquet")}
    options = [text for kind, file in files.items() for text in (f"--{kind}", str(file))]
    before = signal.getsignal(signal.SIGINT)
    assert main(["score", str(tmp_path / "in"), *options]) == (130 if how == "Ctrl-C" else 1)
    assert signal.getsignal(signal.SIGINT) is before
    content = json.loads(files["json"].read_text())
    assert [patch["image"] for patch in content["patches"]] == ["0.png", "1.png"]
    assert [row["image"] for row in read_csv(files["csv"].read_text())] == ["0.png", "1.png"]
    assert pyarrow.parquet.read_table(files["parquet"])["image"].to_pylist() == ["0.png", "1.png"]
    (told,) = content["errors"]
    assert told["reason"] == "The run was stopped after 2 patches; the others are not scored."
    captured = capfd.readouterr().err
    assert told["reason"] in captured and "Traceback" not in captured
    assert how == "Ctrl-C" or "no room" in captured


def test_a_run_that_ends_before_its_first_result_writes_nothing(
    folder: Path, tmp_path: Path, monkeypatch
) -> None:
    def stopped(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Scorer, "_finish", stopped)
    assert main(["score", str(folder), "--csv", str(tmp_path / "out.csv")]) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--mpp", "353"], "--mpp"),
        (["--mpp", "nan"], "--mpp"),
        (["--mpp", "big"], "--mpp"),
        (["--models", "gbt,unet"], "gbt, cascade, direct-r, direct-c"),
        (["--models", ","], "--models"),
        (["--model-set", "paris"], "breast-1"),
        (["--tta", "0"], "--tta"),
        (["--tta", "9"], "--tta"),
        (["--device", "tpu"], "--device"),
        (["--json", "-", "--csv", "-"], "more than one"),
        (["--json", "no/such/folder/r.json"], "does not exist"),
        (["--json", "."], "a folder"),
        (["--overlay", "{image}"], "is a file"),
        (["--ome-tiff", "{image}"], "--ome-tiff"),
        (["--features", "f.xlsx"], ".csv or .parquet"),
        (["--colour"], "--colour"),
    ],
)
def test_wrong_usage_is_two_and_says_why(folder: Path, options, words, capsys) -> None:
    image = str(folder / "a.png")
    assert main(["score", image, *(o.format(image=image) for o in options)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert " ".join(words.split()) in " ".join(captured.err.replace("│", " ").split())


@pytest.mark.parametrize("arguments", [["score"], ["score", "no-such.png"], ["paint"], []])
def test_nothing_to_do_is_wrong_usage(arguments: list[str], capsys) -> None:
    assert main(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_an_empty_folder_is_wrong_usage(tmp_path: Path, capsys) -> None:
    assert main(["score", str(tmp_path)]) == 2
    assert "there is no file in" in " ".join(capsys.readouterr().err.split())


def test_what_is_written_is_not_scored(folder: Path, tmp_path: Path, capsys) -> None:
    save(tmp_path / "a.png", synthesise(5, 128).pixels)
    outputs = ["--json", str(tmp_path / "r.json"), "--csv", str(tmp_path / "r.csv")]
    for _ in range(2):
        assert main(["score", str(tmp_path), *outputs]) == 0
        assert len(read_csv((tmp_path / "r.csv").read_text())) == 1
    assert main(["score", str(tmp_path), "--overlay", str(tmp_path / "drawn")]) == 2
    assert "would be scored too" in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_a_damaged_model_set_is_one_sentence(folder, tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "manifest.json").write_text("{}")
    monkeypatch.setenv("CELLULARITY_MODELS", str(tmp_path))
    assert main(["score", str(folder / "a.png"), "--model-set", "bad"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("cellularity: The manifest of the model set 'bad'")
    assert captured.err.count("\n") == 1


def break_scoring(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def broken(self: Scorer, patches: object, maps: bool = True) -> object:
        raise error

    monkeypatch.setattr(Scorer, "score", broken)


def test_the_unexpected_is_one_sentence(folder: Path, monkeypatch, capsys) -> None:
    break_scoring(monkeypatch, RuntimeError("bang"))
    assert main(["score", str(folder / "a.png")]) == 1
    captured = capsys.readouterr()
    assert "RuntimeError: bang" in captured.err
    assert "CELLULARITY_DEBUG=1" in captured.err
    assert captured.err.count("\n") == 1
    monkeypatch.setenv("CELLULARITY_DEBUG", "1")
    with pytest.raises(RuntimeError, match="bang"):
        main(["score", str(folder / "a.png")])


def test_a_disk_that_refuses_is_named(folder: Path, monkeypatch, capsys) -> None:
    break_scoring(monkeypatch, OSError(28, "No space left on device", "r.json"))
    assert main(["score", str(folder / "a.png")]) == 1
    assert capsys.readouterr().err == "cellularity: No space left on device: r.json\n"


def test_an_interrupt_is_130(folder: Path, tmp_path: Path, monkeypatch) -> None:
    break_scoring(monkeypatch, KeyboardInterrupt())
    target = tmp_path / "r.csv"
    assert main(["score", str(folder / "a.png"), "--csv", str(target)]) == 130
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_is_not_told_what_to_do(folder: Path, tmp_path: Path, capfd) -> None:
    name = "\x1b[31m=a.png" if os.name != "nt" else "=a.png"
    (tmp_path / name).write_bytes((folder / "b.png").read_bytes())
    (tmp_path / "\x1b[0mbad.png").write_bytes(b"no image")
    assert main(["score", str(tmp_path)]) == 1
    captured = capfd.readouterr()
    assert "\x1b[31m" not in captured.out
    assert "\x1b[0mbad" not in captured.err
    assert "bad.png" in captured.err
