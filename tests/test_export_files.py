"""GeoJSON, OME-TIFF, tables and ZIP files, each opened by a library that did not write it."""

import csv
import io
import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import shapely
import tifffile
from defusedxml import ElementTree
from export_support import EMPTY, crowded, result
from PIL import Image
from shapely.geometry import shape

from cellularity_core import __version__, export
from cellularity_core.conventions import CLASSES, METHODS
from cellularity_core.export import files
from cellularity_core.features import FEATURE_NAMES
from cellularity_core.outputs import Targets, Writer
from cellularity_core.points import parse_points
from cellularity_core.results import PatchResult

PIXELS = np.random.default_rng(3).integers(0, 256, (512, 512, 3), np.uint8)
FACTS = ("tested", "cd" * 32, "weak TC", f"cellularity {__version__}", export.PURPOSE)
"""What every file says: models, scale, software, purpose."""


@pytest.fixture(scope="module")
def many() -> PatchResult:
    return crowded()


@pytest.fixture(scope="module")
def collection(many: PatchResult) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(export.geojson_text(many))
    return content


def areas(collection: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        feature["properties"]["classification"]["name"]: feature
        for feature in collection["features"]
        if feature["properties"]["objectType"] == "annotation"
    }


def masks(result: PatchResult) -> dict[str, np.ndarray]:
    """Class areas by their definition, pixel by pixel."""
    maps = result.activations["gbt"][:3].astype(float)
    return {
        name: (maps[k] > 0.5) & (maps[k] == maps.max(axis=0)) & (maps.argmax(axis=0) == k)
        for k, name in enumerate(CLASSES)
    }


def test_polygons_are_valid_closed_and_turn_the_right_way(collection: dict[str, Any]) -> None:
    holes = 0
    for feature in areas(collection).values():
        assert shapely.is_valid(shape(feature["geometry"])), shapely.is_valid_reason(
            shape(feature["geometry"])
        )
        for outer, *inner in feature["geometry"]["coordinates"]:
            assert outer[0] == outer[-1] and len(outer) >= 4
            assert shapely.LinearRing(outer).is_ccw
            for ring in inner:
                assert ring[0] == ring[-1] and len(ring) >= 4
                assert not shapely.LinearRing(ring).is_ccw
            holes += len(inner)
    assert holes > 30


def test_areas_are_the_masks(many: PatchResult, collection: dict[str, Any]) -> None:
    found = areas(collection)
    assert set(found) == set(CLASSES)
    for name, mask in masks(many).items():
        geometry = shape(found[name]["geometry"])
        assert geometry.area == pytest.approx(mask.sum(), rel=0.02)
        assert found[name]["properties"]["measurements"] == {
            "Mask area px": mask.sum(),
            "Mask area um^2": pytest.approx(mask.sum() * 0.25),
            "Mask share of patch": pytest.approx(mask.mean(), abs=1e-6),
        }
        # the centre of pixel (0, 0) is at (0.5, 0.5)
        columns, rows = np.meshgrid(np.arange(512) + 0.5, np.arange(512) + 0.5)
        np.testing.assert_array_equal(shapely.contains_xy(geometry, columns, rows), mask)


def test_each_part_of_a_mask_is_a_polygon_within_two_percent() -> None:
    """Against OpenCV's parts, none of which touch at a corner only."""
    mask = masks(crowded(120))["malignant"]
    mask[:3] = False
    mask[1, :9:3] = True  # single pixels
    count, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    assert count == cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[0]
    found = [shapely.Polygon(outer, inner) for outer, *inner in export.polygons(mask)]
    sizes = np.bincount(parts.ravel())[1:]
    assert sizes.min() == 1
    assert len(found) == count - 1
    for polygon in found:
        inside = polygon.representative_point()
        part = parts[int(inside.y), int(inside.x)]
        assert polygon.area == pytest.approx(sizes[part - 1], rel=0.02)


def test_a_mask_of_specks_has_their_area() -> None:
    mask = np.random.default_rng(1).random((64, 64)) < 0.15
    union = shapely.MultiPolygon([(outer, inner) for outer, *inner in export.polygons(mask)])
    assert union.is_valid
    assert union.area == pytest.approx(mask.sum(), rel=0.02)


@pytest.mark.parametrize(
    "rows",
    [
        ["1"],
        ["10", "01"],
        ["111", "101", "111"],
        ["11111", "10001", "10101", "10001", "11111"],
        ["101", "010", "101"],
    ],
)
def test_awkward_masks_are_valid(rows: list[str]) -> None:
    mask = np.array([[c == "1" for c in line] for line in rows])
    parts = [shapely.Polygon(outer, inner) for outer, *inner in export.polygons(mask)]
    union = shapely.MultiPolygon(parts)
    assert union.is_valid
    y, x = np.nonzero(mask)
    assert shapely.contains_xy(union, x + 0.5, y + 0.5).all()
    y, x = np.nonzero(~mask)
    assert not shapely.contains_xy(union, x + 0.5, y + 0.5).any()
    assert union.bounds == (0, 0, *mask.shape[::-1])


def test_qupath_finds_what_it_reads(many: PatchResult, collection: dict[str, Any]) -> None:
    """The members that QuPath's own reader looks for, of the types it takes."""
    assert collection["type"] == "FeatureCollection"
    kinds = [feature["properties"]["objectType"] for feature in collection["features"]]
    assert kinds.count("detection") == 300
    for feature in collection["features"]:
        told = feature["properties"]
        assert feature["type"] == "Feature"
        assert told["classification"]["name"] in CLASSES
        assert all(0 <= c <= 255 for c in told["classification"]["color"])
        assert all(type(value) in (int, float) for value in told["measurements"].values())
        if told["objectType"] == "annotation":
            assert all(type(value) is str for value in told["metadata"].values())
            assert set(FACTS) <= set(told["metadata"].values())
    assert set(FACTS) <= set(collection["provenance"].values())
    assert collection["provenance"]["mpp"] == 0.5
    assert collection["provenance"]["reliable"] is True


def test_our_own_reader_takes_the_nuclei_and_leaves_the_areas(many: PatchResult) -> None:
    points = parse_points(export.geojson_text(many).encode(), "n.geojson")
    np.testing.assert_allclose(points.xy, many.nuclei.xy, atol=0.006)
    assert points.label.tolist() == many.nuclei.label.tolist()
    none = replace(many, nuclei=EMPTY.nuclei)
    assert len(parse_points(export.geojson_text(none).encode(), "n.geojson")) == 0


def test_ome_tiff_has_the_patch_the_maps_their_names_and_the_pixel_size(many: PatchResult) -> None:
    data = export.ome_tiff(PIXELS, many)
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        assert tiff.is_ome
        [series] = tiff.series
        assert series.axes == "CYX"
        planes = series.asarray()
        root = ElementTree.fromstring(tiff.ome_metadata)
        tags = tiff.pages[0].tags
        assert tags["XResolution"].value[0] / tags["XResolution"].value[1] == 20_000
    names = [c.get("Name") for c in root.iterfind(".//{*}Channel")]
    assert names == ["Red", "Green", "Blue", *CLASSES]  # the cascade's map is the same
    np.testing.assert_array_equal(np.moveaxis(planes[:3], 0, 2), PIXELS)
    np.testing.assert_allclose(planes[3:] / 255, many.activations["gbt"][:3], atol=0.5 / 255)
    pixels = root.find(".//{*}Pixels")
    assert pixels is not None
    for axis in "XY":
        assert float(pixels.get(f"PhysicalSize{axis}", "")) == 0.5
        assert pixels.get(f"PhysicalSize{axis}Unit") == "µm"
    description = root.findtext(".//{*}Description") or ""
    for fact in (*FACTS, "mpp: 0.5", "reliable: yes"):
        assert fact in description
    with Image.open(io.BytesIO(data)) as image:
        assert (image.n_frames, image.size) == (6, (512, 512))


def test_another_map_has_channels_under_its_method(many: PatchResult) -> None:
    other = many.activations["gbt"][[1, 0, 2, 3]]
    told = replace(many, activations={"gbt": many.activations["gbt"], "cascade": other})
    with tifffile.TiffFile(io.BytesIO(export.ome_tiff(PIXELS, told))) as tiff:
        assert tiff.series[0].shape == (9, 512, 512)
        assert 'Name="normal (cascade)"' in (tiff.ome_metadata or "")


def test_a_name_with_letters_that_xml_forbids_is_still_a_file(many: PatchResult) -> None:
    hostile = replace(many, image="a\x1b<b>&\ud800.png")
    with tifffile.TiffFile(io.BytesIO(export.ome_tiff(PIXELS, hostile))) as tiff:
        image = ElementTree.fromstring(tiff.ome_metadata).find(".//{*}Image")
        assert image is not None and image.get("Name") == "a?<b>&?.png"


def test_features_and_reasons_by_pandas(tmp_path: Path, many: PatchResult) -> None:
    targets = {"csv": tmp_path / "f.csv", "parquet": tmp_path / "f.parquet"}
    for target in targets.values():
        with Writer(Targets(features=target)) as writer:
            writer.add(many)
            writer.add(replace(many, image="=b.png"))
            writer.finish([], model_set="tested", model_sha256="cd" * 32, scale="weak TC")
    tables = [pd.read_csv(targets["csv"]), pyarrow.parquet.read_table(targets["parquet"])]
    for table in (tables[0], tables[1].to_pandas()):
        assert list(table) == export.reason_columns()
        np.testing.assert_allclose(table[list(FEATURE_NAMES)].iloc[1], many.features, rtol=1e-8)
        shares = table[[f"SHAP {name}" for name in FEATURE_NAMES]].iloc[0]
        np.testing.assert_allclose(shares, many.contributions, rtol=1e-8)
        assert table["SHAP base"].tolist() == [0.2, 0.2]
        facts = table[["model_set", "model_sha256", "scale", "software", "purpose"]].iloc[0]
        assert tuple(facts) == FACTS
    assert tables[0]["image"].tolist() == ["a.png", "'=b.png"]


def test_a_picture_says_where_it_comes_from(many: PatchResult) -> None:
    data = files.make("overlay", [(many, PIXELS)], 1)
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(
            np.asarray(image), export.overlay(PIXELS, many.activations["gbt"])
        )
        assert set(image.info) == {"Description"}
        assert all(fact in image.info["Description"] for fact in FACTS)


@pytest.mark.parametrize("kind", list(files.KINDS))
def test_the_same_results_give_the_same_bytes(kind: str, many: PatchResult) -> None:
    other = replace(many, image="../=b.png", sha256="ef" * 32)
    pairs = [(many, PIXELS), (other, PIXELS[::-1].copy())]
    errors = [("c.png", "It is empty.")]
    one = files.make(kind, pairs, 2, errors)
    assert one == files.make(kind, iter(pairs), 2, errors)
    assert files.make(kind, pairs[:1], 1) != files.make(kind, pairs[1:], 1)


@pytest.mark.parametrize("kind", list(files.KINDS))
def test_names_are_no_paths_and_fit_what_is_in_the_file(kind: str, many: PatchResult) -> None:
    name, _ = files.name(kind, ["../../x/p 1.png"])
    assert re.fullmatch(r"x_p_1[\w.-]*\.\w+", name)
    twins = [(replace(many, image=image), PIXELS) for image in ("a.png", "A.tif", "../a.png")]
    name, mime = files.name(kind, [r.image for r, _ in twins])
    assert name.startswith("cellularity")
    data = files.make(kind, twins, 3)
    assert (mime == "application/zip") == zipfile.is_zipfile(io.BytesIO(data))
    if mime == "application/zip":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.namelist()
        ending = files.KINDS[kind].ending
        assert members == [f"a{ending}", f"A-2{ending}", f"a-3{ending}"]


def test_tables_of_a_choice_have_the_methods_there_are() -> None:
    data = files.make("csv", [(result(), PIXELS)], 1)
    [line] = csv.DictReader(io.StringIO(data.decode()))
    assert (line["gbt"], line["model_set"]) == ("0.333333", "tested")
    assert "direct-r" not in line
    content = json.loads(files.make("json", [(result(), PIXELS)], 1, [("b.png", "Empty.")]))
    assert content["errors"] == [{"image": "b.png", "reason": "Empty."}]
    assert list(content["patches"][0]["scores"]) == [m for m in METHODS if m in result().scores]


def test_without_maps_nuclei_are_all_there_is() -> None:
    content = export.geojson(result())
    assert [f["geometry"]["type"] for f in content["features"]] == ["Point"] * 3
    with tifffile.TiffFile(io.BytesIO(export.ome_tiff(PIXELS[:80, :64], result()))) as tiff:
        assert tiff.series[0].shape == (3, 80, 64)
