"""Drives that take no more: what is finished stays, and the report is written."""

import errno
from pathlib import Path

import pytest
from slide_support import FakeScorer, made_slide, scoring

from cellularity_core.errors import SlideError, SlideFolderError
from cellularity_core.slides import cohort, writing
from cellularity_core.slides.grid import Tile
from cellularity_core.slides.run import score_slide
from cellularity_core.slides.store import Store


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slide") / "s.tif"
    made_slide(path, side=1100)
    return path


def test_a_full_drive_is_no_damage(tmp_path: Path) -> None:
    def fill() -> None:
        with Store(tmp_path / "out", {}) as store:
            store._database.execute("PRAGMA max_page_count = 8")
            store.plan([Tile(row, 0, 0, 0, 1, 1) for row in range(10_000)])

    with pytest.raises(SlideError, match=r"make room .* finished are kept") as told:
        fill()
    for word in ("damaged", "delete", str(tmp_path), "--out"):
        assert word not in str(told.value)


def test_a_folder_that_cannot_be_made_is_no_damage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SlideError, match="cannot be written"):
        Store(tmp_path / "file" / "out", {})
    (tmp_path / "out" / "tiles.sqlite").mkdir(parents=True)
    with pytest.raises(SlideError, match="cannot be written"):
        Store(tmp_path / "out", {})


def test_a_full_drive_ends_neither_the_cohort_nor_its_report(
    slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer, real = FakeScorer(), writing.tables.write_csv

    def full(*given: object) -> None:
        monkeypatch.setattr(writing.tables, "write_csv", real)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writing.tables, "write_csv", full)
    two = [cohort.Entry(slide), cohort.Entry(slide)]
    summaries, errors = cohort.score_slides(two, scoring(scorer), tmp_path)
    assert [summary["folder"] for summary in summaries] == ["s-2"]
    assert "No space left on device" in errors[0][1]
    assert (tmp_path / "slides.csv").is_file()
    seen = len(scorer.seen)
    assert len(cohort.score_slides(two, scoring(scorer), tmp_path)[0]) == 2
    assert len(scorer.seen) == seen


def test_the_report_is_written_when_a_run_is_stopped(slide: Path, tmp_path: Path) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cohort.score_slides([cohort.Entry(slide)], scoring(FakeScorer()), tmp_path, observe=stop)
    assert (tmp_path / "slides.csv").is_file()


def test_only_the_command_line_speaks_of_its_options(slide: Path, tmp_path: Path) -> None:
    score_slide(slide, scoring(FakeScorer()), tmp_path / "s")
    with pytest.raises(SlideFolderError, match="another pixel size") as told:
        score_slide(slide, scoring(FakeScorer()), tmp_path / "s", mpp=0.4)
    assert "--" not in str(told.value)
    assert str(tmp_path) not in str(told.value)
    _, errors = cohort.score_slides([cohort.Entry(slide, 0.4)], scoring(FakeScorer()), tmp_path)
    assert errors[0][1].endswith(cohort.ELSEWHERE)
