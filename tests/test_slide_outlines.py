"""Which outlines of a file are the region, and what they enclose."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from slide_support import FakeScorer, made_slide, scoring

from cellularity_core.cli import main
from cellularity_core.errors import SlideError
from cellularity_core.slides.region import (
    SMALLEST,
    UNCLASSIFIED,
    Outlines,
    outlines_in,
    read_outlines,
    region_checksum,
)
from cellularity_core.slides.run import score_slide

SIDE = 1600
RADIUS = 500.0


def square(side: float, kind: Any = None, **properties: Any) -> dict[str, Any]:
    """An annotation as QuPath writes it."""
    ring = [[0, 0], [side, 0], [side, side], [0, side], [0, 0]]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"objectType": "annotation"}
        | ({} if kind is None else {"classification": kind})
        | properties,
    }


def found(*features: dict[str, Any]) -> Outlines:
    content = {"type": "FeatureCollection", "features": features}
    return outlines_in(json.dumps(content).encode(), "bed.geojson", SIDE, SIDE)


def test_what_is_no_outline_of_the_bed_is_passed_over() -> None:
    kept = found(
        square(400, {"name": "Stroma", "color": [1, 2, 3]}),
        square(900, {"name": "Ignore*"}),
        square(1000, "Region*"),
        *(square(1200, objectType=kind) for kind in ("tile", "detection", "cell")),
    )
    assert (kept.region.area, kept.count, kept.kind) == (400**2, 1, "Stroma")
    assert found(square(400), square(300)).kind == UNCLASSIFIED
    with pytest.raises(SlideError, match="holds no polygon"):
        found(square(400, objectType="tile"), square(400, {"name": "Ignore*"}))


@pytest.mark.parametrize("name", ["Tumor bed", "tumour_bed", "Bed", "TUMOUR-BED"])
def test_of_several_classes_the_bed_is_taken(name: str) -> None:
    kept = found(square(900, {"name": "Necrosis"}), square(400, {"names": [name]}), square(800))
    assert (kept.region.area, kept.kind) == (400**2, name)


def test_classes_of_which_none_is_the_bed_are_refused() -> None:
    for other in (square(900), square(900, {"names": ["Tumor", "Positive"]})):
        with pytest.raises(SlideError, match=r"several classes \('Stroma', '(no class|Tumor: Pos)"):
            found(square(400, {"name": "Stroma"}), other)
    with pytest.raises(SlideError, match="several classes"):
        found(square(400, {"name": "Bed"}), square(900, {"name": "Tumour bed"}))


@pytest.mark.parametrize("strange", [3, ["Bed"], {"names": 3}])
def test_a_class_that_is_none_is_refused(strange: object) -> None:
    with pytest.raises(SlideError, match="is not GeoJSON with polygons"):
        found(square(400, strange))


def test_an_outline_in_mm_or_shares_is_refused() -> None:
    """It lies on the slide too: within its first pixels."""
    for side in (1.0, 8.25, SMALLEST - 0.5):
        with pytest.raises(SlideError, match=f"is {side:.3g} x {side:.3g} pixels, too small .* mm"):
            found(square(side))
    assert found(square(SMALLEST)).count == 1


def circle(turns: float, shrink: float = 0.0) -> list[list[float]]:
    steps = 120
    ring = [
        [
            800 + (RADIUS - shrink * k / steps) * math.cos(2 * math.pi * k / steps),
            800 + (RADIUS - shrink * k / steps) * math.sin(2 * math.pi * k / steps),
        ]
        for k in range(int(turns * steps))
    ]
    return [*ring, ring[0]]


def area(*rings: list[list[float]]) -> float:
    text = json.dumps({"type": "Polygon", "coordinates": rings}).encode()
    return float(outlines_in(text, "your outline", SIDE, SIDE).region.area)


@pytest.mark.parametrize(("turns", "shrink"), [(1, 0), (2, 10), (1.3, 10), (3, 5)])
def test_an_outline_traced_over_itself_counts_whole(turns: float, shrink: float) -> None:
    """By alternate sides, one traced round twice kept 4 % of its area."""
    assert area(circle(turns, shrink)) == pytest.approx(math.pi * RADIUS**2, rel=0.05)


def test_holes_stay_holes() -> None:
    hole = [[700, 700], [900, 700], [900, 900], [700, 900], [700, 700]]
    whole = area(circle(2, 10))
    assert area(circle(2, 10), hole) == pytest.approx(whole - 200**2)
    twice = [*hole[:-1], *([x + 1, y + 1] for x, y in hole)]
    assert area(circle(1), twice) == pytest.approx(area(circle(1)) - 200**2, rel=0.01)


def test_the_summary_tells_which_outline(tmp_path: Path) -> None:
    made_slide(tmp_path / "s.tif", side=1100)
    drawn = [square(400, {"name": "Bed"}, metadata={"slide": "other.tif"}), square(90, "Fat")]
    roi = tmp_path / "bed.geojson"
    roi.write_text(json.dumps(drawn))
    by = scoring(FakeScorer())
    made = score_slide(tmp_path / "s.tif", by, tmp_path / "o", roi=roi)
    told = made["region"]
    assert (told["outlines"], told["class"], told["file"]) == (1, "Bed", "bed.geojson")
    assert told["outline_mm2"] == pytest.approx(0.04)
    assert any("was drawn on other.tif, and this slide is s.tif" in note for note in made["notes"])
    drawn[0]["properties"]["metadata"]["slide"] = "s.tif"
    roi.write_text(json.dumps(drawn))
    again = score_slide(tmp_path / "s.tif", by, tmp_path / "o2", roi=roi)
    assert not any("was drawn on" in note for note in again["notes"])


def test_a_burden_can_be_traced_to_its_bed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by = scoring(FakeScorer())
    manifest = {**by.model_set.manifest, "scale": "reader: A.B."}
    by = replace(by, model_set=replace(by.model_set, manifest=manifest))
    slide, out, roi = tmp_path / "s.tif", tmp_path / "o", tmp_path / "bed.geojson"
    made_slide(slide, side=1100, tissue=1)
    roi.write_text(json.dumps(square(600, metadata={"slide": "other.tif"})))
    made = score_slide(slide, by, out, roi=roi)
    kept = read_outlines(out / "region.geojson", SIDE, SIDE)
    assert region_checksum(kept.region) == made["region"]["sha256"]
    given = ["--d1", "20", "--d2", "15", "--cis", "0", "--nodes", "0", "--met", "0"]
    given += ["--slide", str(out / "summary.json")]
    assert main(["rcb", *given, "--json", "-"]) == 0
    [source] = json.loads(capsys.readouterr().out)["sources"]
    assert source == {
        "slide": "s.tif",
        "slide_sha256": made["slide"]["sha256"],
        "model_set": made["model_set"],
        "model_sha256": made["model_sha256"],
        "scale": "reader: A.B.",
        "method": "combined",
        "region_file": "bed.geojson",
        "region_sha256": made["region"]["sha256"],
        "region_mm2": pytest.approx(0.09),
        "software": made["software"],
        "notes": made["notes"],
    }
    assert main(["rcb", *given]) == 0
    told = " ".join(capsys.readouterr().out.split())
    checksums = [made[of]["sha256"][:12] for of in ("slide", "region")]
    for word in ("s.tif", *checksums, "A.B.", "other.tif"):
        assert word in told
    score_slide(slide, by, out)
    assert not (out / "region.geojson").exists()
