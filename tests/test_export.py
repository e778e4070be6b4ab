"""What is written of a result, held to its exact text and to its readers."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from export_support import EMPTY, result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cellularity_core import __version__, export
from cellularity_core.conventions import CLASSES, METHODS
from cellularity_core.features import FEATURE_NAMES
from cellularity_core.notes import NOTES, page
from cellularity_core.outputs import Targets, Writer
from cellularity_core.points import parse_points
from cellularity_core.quality import FLAGS


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_json_is_the_documented_structure() -> None:
    content = export.document(
        [export.patch_record(result())],
        [("b.png", "It is empty.")],
        model_set="tested",
        model_sha256="cd" * 32,
        scale="weak TC",
    )
    assert json.loads(export.json_text(content)) == {
        "software": f"cellularity {__version__}",
        "purpose": "Research use only - not for diagnosis",
        "model_set": "tested",
        "model_sha256": "cd" * 32,
        "scale": "weak TC",
        "interval": 0.9,
        "patches": [
            {
                "image": "a.png",
                "width": 64,
                "height": 80,
                "mpp": 0.5,
                "notes": ["turned", "page-1-of-2"],
                "sha256": "ab" * 32,
                "scores": {
                    "gbt": {"value": 0.333333, "low": 0.1, "high": 0.6},
                    "cascade": {"value": 0.25, "low": 0.125, "high": 0.5},
                },
                "counts": {"normal": 1, "lymphocyte": 1, "malignant": 1},
                "quality": {"flags": ["out-of-focus", "no-colour"], "reliable": False},
                "precision": "f32",
                "views": 4,
                "seconds": {"read": 0.012346},
            }
        ],
        "errors": [{"image": "b.png", "reason": "It is empty."}],
    }


def test_no_tissue_is_null_in_json_and_empty_in_csv() -> None:
    record = export.patch_record(EMPTY)
    assert list(record["scores"]) == list(METHODS)
    assert record["scores"]["gbt"] == {"value": None, "low": None, "high": None}
    assert record["counts"] == {"normal": 0, "lymphocyte": 0, "malignant": 0}
    (line,) = read_csv(export.csv_text([export.row(EMPTY)], export.columns()))
    assert {line[c] for m in METHODS for c in (m, f"{m}_low", f"{m}_high")} == {""}


def test_csv_row_has_each_method_its_limits_counts_and_models() -> None:
    text = export.csv_text([export.row(result())], export.columns())
    assert text == (
        "image,width,height,mpp,gbt,gbt_low,gbt_high,cascade,cascade_low,cascade_high,"
        "direct-r,direct-r_low,direct-r_high,direct-c,direct-c_low,direct-c_high,"
        "combined,combined_low,combined_high,normal,lymphocyte,malignant,flags,reliable,notes,model_set,model_sha256,scale,precision,views,sha256,software,purpose\n"
        "a.png,64,80,0.5,0.333333,0.1,0.6,0.25,0.125,0.5,,,,,,,,,,"
        f"1,1,1,out-of-focus;no-colour,false,turned;page-1-of-2,tested,{'cd' * 32},"
        f"weak TC,f32,4,{'ab' * 32},cellularity {__version__},"
        "Research use only - not for diagnosis\n"
    )


def test_columns_are_only_those_of_the_methods_asked_for() -> None:
    columns = export.columns(["cascade"])
    assert [c for c in columns if c.startswith(("gbt", "direct"))] == []
    assert list(export.row(result(), ["cascade"])) == columns


@pytest.mark.parametrize(
    "name", ["=1+1.png", "+a.png", "-a.png", "@a.png", "\ta.png", "\ra.png", "\uff1da"]
)
def test_a_file_name_is_no_formula(name: str) -> None:
    hostile = result(name)
    (line,) = read_csv(export.csv_text([export.row(hostile)], export.columns()))
    assert line["image"] == f"'{name}".replace("\r", " ")
    nuclei = read_csv(export.csv_text(export.nuclei_rows(hostile), export.NUCLEI_COLUMNS))
    assert {entry["image"] for entry in nuclei} == {line["image"]}


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_any_file_name_survives_csv_and_never_begins_a_formula(name: str) -> None:
    (cells,) = csv.reader(io.StringIO(export.csv_text([{"image": name}], ["image"], header=False)))
    flat = name.replace("\r", " ").replace("\n", " ")
    assert cells[0] in (flat, f"'{flat}")
    assert not cells[0].startswith(tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20"))


def test_features_do_not_carry_the_rounding_of_a_sum() -> None:
    values = result().features + 1
    shaken = result(features=np.nextafter(values, np.inf))
    assert export.feature_row(shaken) == export.feature_row(result(features=values))


def test_negative_numbers_stay_numbers() -> None:
    assert export.csv_text([{"x": -1.5}], ["x"], header=False) == "-1.5\n"


def test_nuclei_csv_is_read_back_by_our_own_reader() -> None:
    text = export.csv_text(export.nuclei_rows(result()), export.NUCLEI_COLUMNS)
    assert text.splitlines()[0] == "image,x,y,class,probability"
    assert text.splitlines()[2] == "a.png,30.13,4.0,lymphocyte,0.75"
    points = parse_points(text.encode(), "nuclei.csv", image="a.png")
    np.testing.assert_allclose(points.xy, result().nuclei.xy, atol=0.005)
    assert points.label.tolist() == [0, 1, 2]


def test_geojson_is_read_back_by_our_own_reader() -> None:
    content = export.geojson(result())
    points = parse_points(export.json_text(content).encode(), "nuclei.geojson")
    np.testing.assert_allclose(points.xy, result().nuclei.xy, atol=0.005)
    assert points.label.tolist() == [0, 1, 2]
    assert content["features"][2] == {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [7.5, 63.5]},
        "properties": {
            "objectType": "detection",
            "classification": {"name": "malignant", "color": [213, 94, 0]},
            "measurements": {"probability": 0.1},
        },
    }
    assert export.geojson(EMPTY)["features"] == []


def test_overlay_colours_the_strongest_class_above_the_threshold() -> None:
    pixels = np.full((2, 2, 3), 200, np.uint8)
    maps = np.zeros((4, 2, 2), np.float16)
    maps[0, 0, 0], maps[2, 0, 0] = 0.6, 0.9  # malignant over normal
    maps[1, 0, 1] = 0.5  # not above the threshold
    maps[0, 1, 0] = 0.7
    maps[3, 1, 1] = 1.0  # background is not drawn
    drawn = export.overlay(pixels, maps, threshold=0.5, opacity=0.5)
    assert drawn.dtype == np.uint8
    assert drawn[0, 0].tolist() == [206, 147, 100]  # half #D55E00, half 200; 206.5 to even
    assert drawn[0, 1].tolist() == [200, 200, 200]
    assert drawn[1, 0].tolist() == [100, 179, 158]  # half #009E73; 157.5 to even
    assert drawn[1, 1].tolist() == [200, 200, 200]
    assert (pixels == 200).all()


def test_overlay_draws_only_the_classes_switched_on() -> None:
    pixels = np.zeros((1, 1, 3), np.uint8)
    maps = np.array([0.6, 0.0, 0.9, 0.0]).reshape(4, 1, 1)
    assert export.overlay(pixels, maps, classes=["normal"], opacity=1.0).tolist() == [
        [[0, 158, 115]]
    ]
    assert export.overlay(pixels, maps, classes=[], opacity=1.0).tolist() == [[[0, 0, 0]]]
    assert export.overlay(pixels, maps, opacity=0.0).tolist() == [[[0, 0, 0]]]


@pytest.mark.parametrize(
    ("shape", "arguments", "words"),
    [
        ((4, 5, 6), {}, "one height and width"),
        ((2, 4, 4), {}, "one height and width"),
        ((4, 4, 4), {"classes": ["stroma"]}, "stroma; expected"),
        ((4, 4, 4), {"opacity": 1.5}, "opacity 1.5"),
    ],
)
def test_overlay_refuses_what_does_not_fit(shape, arguments, words) -> None:
    with pytest.raises(ValueError, match=words):
        export.overlay(np.zeros((4, 4, 3), np.uint8), np.zeros(shape), **arguments)


def test_png_holds_the_pixels_and_no_metadata() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    with Image.open(io.BytesIO(export.png(pixels))) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)
        assert image.info == {}


@pytest.mark.parametrize(
    ("image", "stem"),
    [
        ("a.png", "a"),
        ("x/y/b.tiff", "x_y_b"),
        ("../../etc/passwd", "etc_passwd"),
        ("c:\\d\\e.jpeg", "c_d_e"),
        ("<b>.png", "b"),
        ("...", "patch"),
        ("p 0.5.png", "p_0.5"),
    ],
)
def test_file_stem_is_never_a_path(image: str, stem: str) -> None:
    assert export.file_stem(image) == stem


def test_file_stem_avoids_those_in_use() -> None:
    assert export.file_stem("A.png", {"a", "a-2"}) == "A-3"


def test_writer_writes_all_outputs(tmp_path: Path) -> None:
    targets = Targets(
        json=tmp_path / "r.json",
        parquet=tmp_path / "r.parquet",
        csv=tmp_path / "r.csv",
        nuclei=tmp_path / "n.csv",
        geojson=tmp_path / "geo" / "json",
        overlay=tmp_path / "overlay",
    )
    pixels = np.full((80, 64, 3), 255, np.uint8)
    maps = np.zeros((4, 80, 64), np.float16)
    maps[2, :40] = 1.0
    drawn = result(activations={"gbt": maps})
    with Writer(targets) as writer:
        writer.add(drawn, pixels)
        writer.add(replace(drawn, image="sub/a.png"), pixels)
        writer.finish([], model_set="tested", model_sha256="cd" * 32, scale="weak TC")

    content = json.loads((tmp_path / "r.json").read_text())
    assert [patch["image"] for patch in content["patches"]] == ["a.png", "sub/a.png"]
    lines = read_csv((tmp_path / "r.csv").read_text())
    assert [line["image"] for line in lines] == ["a.png", "sub/a.png"]
    assert len(read_csv((tmp_path / "n.csv").read_text())) == 6
    table = pyarrow.parquet.read_table(tmp_path / "r.parquet")
    assert table.column_names == [*export.columns(), *FEATURE_NAMES]
    features = table.select(list(FEATURE_NAMES)).to_pandas().to_numpy()
    np.testing.assert_allclose(features, np.stack([drawn.features] * 2), rtol=1e-8)
    assert table["direct-r"].to_pylist() == [None, None]
    assert table["reliable"].to_pylist() == [False, False]
    assert sorted(p.name for p in (tmp_path / "geo" / "json").iterdir()) == [
        "a.geojson",
        "sub_a.geojson",
    ]
    pictures = sorted((tmp_path / "overlay").iterdir())
    assert [p.name for p in pictures] == ["a-gbt.png", "sub_a-gbt.png"]
    with Image.open(pictures[0]) as image:
        assert np.asarray(image)[[0, 79], 0].tolist() == [[234, 174, 128], [255, 255, 255]]
    assert not list(tmp_path.glob("*.part"))


def test_more_rows_than_one_parquet_group(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    with Writer(Targets(parquet=path)) as writer:
        for k in range(1100):
            writer.add(result(f"{k}.png"))
    assert pyarrow.parquet.read_table(path)["image"].to_pylist() == [
        f"{k}.png" for k in range(1100)
    ]


def test_a_run_that_breaks_off_leaves_the_file_of_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("old")

    def broken_off() -> None:
        with Writer(Targets(csv=path)) as writer:
            writer.add(result())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert [p.name for p in tmp_path.iterdir()] == ["r.csv"]
    assert path.read_text() == "old"


def test_the_palette_names_every_class() -> None:
    assert tuple(export.COLOURS) == CLASSES


def test_the_documentation_explains_every_flag_and_note() -> None:
    told = (Path(__file__).parent.parent / "docs" / "files.md").read_text(encoding="utf-8")
    assert [code for code in (*FLAGS, *NOTES, page(2, 3)) if f"`{code}`" not in told] == []
