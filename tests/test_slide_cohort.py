"""Many slides: which, their pixel sizes, and the report of all."""

import csv
import json
import shutil
from pathlib import Path

import pyarrow.parquet
import pytest
from slide_support import FakeScorer, made_slide, scoring

from cellularity_core.errors import CellularityError
from cellularity_core.slides import cohort


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slide") / "s.tif"
    made_slide(path, 1700)
    return path


def bed(path: Path) -> None:
    ring = [[600, 600], [900, 600], [900, 900], [600, 900], [600, 600]]
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))


def test_a_pixel_size_for_several_slides_is_for_those_that_state_none(
    slide: Path, tmp_path: Path
) -> None:
    """It was given since one was refused; the others would be wrong by it."""
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(slide, data / "a.tif")
    made_slide(data / "bare.tif", 800, stated=False)
    (tmp_path / "m.csv").write_text("slide,mpp\ndata/a.tif,\ndata/bare.tif,\ndata/a.tif,0.4\n")
    files = sorted(data.iterdir())

    def sizes(*inputs: Path, override: bool = False) -> list[float | None]:
        return [entry.size() for entry in cohort.entries(inputs, 0.25, None, override)]

    assert sizes(data) == sizes(*files) == [None, 0.25]
    assert sizes(data, override=True) == sizes(*files, override=True) == [0.25, 0.25]
    assert sizes(tmp_path / "m.csv") == [None, 0.25, 0.4]
    assert sizes(files[0]) == [0.25]
    found, _ = cohort.score_slides(
        cohort.entries([data], 0.25, None), scoring(FakeScorer()), tmp_path / "out"
    )
    assert [summary["slide"]["mpp"] for summary in found] == [0.5, 0.25]
    assert all(summary["reliable"] for summary in found)


def test_a_cohort_goes_on_past_what_is_broken(slide: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "sub").mkdir(parents=True)
    for name in ("a.tif", "sub/a.tif"):
        shutil.copy(slide, data / name)
    made_slide(data / "bare.tif", 800, stated=False)
    (data / "notes.txt").write_text("no slide")
    bed(tmp_path / "bed.geojson")
    (tmp_path / "m.csv").write_text(
        "slide,mpp,roi\ndata/a.tif,,bed.geojson\ndata/bare.tif,0.5,\ndata/gone.svs,,\n"
    )
    told: list[str] = []
    found = [*cohort.entries([data], None, None)]
    assert [e.path.relative_to(data).as_posix() for e in found] == [
        "a.tif", "bare.tif", "sub/a.tif",
    ]  # fmt: skip
    scorer = FakeScorer()
    cohort.score_slides(found, scoring(scorer), tmp_path / "out", tell=told.append)
    assert len(told) == 1 and "bare.tif does not state a pixel size" in told[0]
    report = json.loads((tmp_path / "out" / "slides.json").read_text())
    assert [entry["folder"] for entry in report["slides"]] == ["a", "a-2"]
    assert [entry["slide"] for entry in report["errors"]] == ["bare.tif"]
    count = len(scorer.seen)
    cohort.score_slides(found, scoring(scorer), tmp_path / "out")
    assert len(scorer.seen) == count
    summaries, errors = cohort.score_slides(
        cohort.entries([tmp_path / "m.csv"], None, None), scoring(FakeScorer()), tmp_path / "o2"
    )
    assert [name for name, _ in errors] == ["gone.svs"]
    assert [entry["region"] is None for entry in summaries] == [False, True]
    table = pyarrow.parquet.read_table(tmp_path / "o2" / "slides.parquet").to_pylist()
    for end, value in (("", "mean"), ("_low", "low"), ("_high", "high")):
        assert table[0][f"region_gbt{end}"] == summaries[0]["region"][value]["gbt"]
    assert [row["scale"] for row in table] == ["weak TC", "weak TC", None]
    assert [row["error"] is None for row in table] == [True, True, False]
    for text, words in (("path\nx\n", "column 'slide'"), ("slide,mpp\nx,wide\n", "'wide'")):
        (tmp_path / "m.csv").write_text(text)
        with pytest.raises(CellularityError, match=words):
            list(cohort.entries([tmp_path / "m.csv"], None, None))


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "slides.csv").open(encoding="utf-8") as file:
        found = {row["folder"]: row for row in csv.DictReader(file)}
    table = pyarrow.parquet.read_table(out / "slides.parquet").to_pylist()
    assert [row["folder"] for row in table] == list(found)
    assert [row["error"] or "" for row in table] == [row["error"] for row in found.values()]
    return found


def test_the_report_is_of_all_that_the_folder_holds(tmp_path: Path) -> None:
    """A later run of one slide left a report of one slide."""
    for name in ("a.tif", "b.tif"):
        made_slide(tmp_path / name, 800)
    made_slide(tmp_path / "bare.tif", 800, stated=False)
    out, by = tmp_path / "out", scoring(FakeScorer())
    a, b, bare = (cohort.Entry(tmp_path / f"{name}.tif") for name in ("a", "b", "bare"))
    cohort.score_slides([a, bare], by, out)
    first = rows(out)
    assert list(first) == ["a", "bare"]
    assert "pixel size" in first["bare"]["error"] and first["bare"]["tissue_gbt"] == ""
    _, errors = cohort.score_slides([b], by, out)
    assert errors == []
    later = rows(out)
    assert list(later) == ["a", "b", "bare"]
    assert (later["a"], later["bare"]["error"]) == (first["a"], first["bare"]["error"])
    cohort.score_slides([cohort.Entry(bare.path, 0.5)], by, out)
    assert [row["error"] for row in rows(out).values()] == ["", "", ""]
    report = json.loads((out / "slides.json").read_text())
    assert ([one["folder"] for one in report["slides"]], report["errors"]) == (
        ["a", "b", "bare"],
        [],
    )


def test_a_summary_that_is_damaged_is_a_row_too(slide: Path, tmp_path: Path) -> None:
    for content in ("{", "[]", "{}", '{"slide": 3, "tissue": {}}'):
        (tmp_path / "old").mkdir(exist_ok=True)
        (tmp_path / "old" / "summary.json").write_text(content)
        cohort.score_slides([cohort.Entry(slide)], scoring(FakeScorer()), tmp_path)
        found = rows(tmp_path)
        assert list(found) == ["old", "s"]
        assert "score it again" in found["old"]["error"]
