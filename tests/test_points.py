"""Nuclei points read from each format, real files first."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellularity_core.conventions import LYMPHOCYTE, MALIGNANT, NORMAL
from cellularity_core.errors import DataError
from cellularity_core.points import BREASTPATHQ_CLASSES, parse_points, read_points

SEDEEN = (
    b'<?xml version="1.0"?>\r\n<session software="PathCore Session Printer">\r\n'
    b'  <image identifier="Y:\\crop.tif">\r\n    <overlays>\r\n%s'
    b"    </overlays>\r\n</session>"
)


def graphic(description: str, points: str, kind: str = "point") -> bytes:
    """One Sedeen graphic with points written ``x,y x,y``."""
    listed = "".join(f"<point>{p}</point>\r\n" for p in points.split())
    return (
        f'<graphic type="{kind}" name="Region 5" description="{description}">\r\n'
        f'<pen color="#005500ff" width="10"/><font>MS Shell Dlg 2;8</font>\r\n'
        f"<point-list>\r\n{listed}</point-list>\r\n</graphic>\r\n"
    ).encode()


@pytest.mark.parametrize(
    ("file", "normal", "lymphocyte", "malignant"),
    [
        ("100_Region 4", 0, 9, 106),
        ("103_Region 1", 0, 7, 121),
        ("107_Region 3", 0, 0, 37),
        ("131_Region 1", 0, 18 + 36, 78),
    ],
)
def test_real_sedeen_files(
    data_root: Path, file: str, normal: int, lymphocyte: int, malignant: int
) -> None:
    points = read_points(data_root / "breastpathq" / "cells" / f"{file}_key.xml")
    counts = np.bincount(points.label, minlength=3).tolist()
    assert counts == [normal, lymphocyte, malignant]
    assert points.ignored == {}
    assert points.xy.dtype == np.float64
    assert points.label.dtype == np.int8


def test_sedeen_points_are_x_y_in_file_order(data_root: Path) -> None:
    points = read_points(data_root / "breastpathq" / "cells" / "100_Region 4_key.xml")
    np.testing.assert_array_equal(points.xy[:3], [[28, 82], [12, 94], [34, 149]])


def test_real_brca_m2c_points_lie_on_dark_nuclei(data_root: Path) -> None:
    """Axes the wrong way round would put the points on no darker pixels than others."""
    root = data_root / "brca_m2c"
    total = np.zeros(3, int)
    on, off, swapped = [], [], []
    for file in sorted((root / "labels").glob("*.txt")):
        points = read_points(file)
        total += np.bincount(points.label, minlength=3)
        image = root / "images" / file.name.replace("_gt_class_coords.txt", ".png")
        grey = cv2.imread(str(image), cv2.IMREAD_GRAYSCALE)
        limit = min(grey.shape) - 1
        column, row = np.clip(points.xy.astype(int), 0, limit).T
        on.append(grey[row, column].mean())
        off.append(grey.mean())
        swapped.append(grey[column, row].mean())
    assert total.tolist() == [6192, 4899, 10689]
    assert np.mean(on) < np.mean(off) - 25
    assert np.mean(swapped) > np.mean(off) - 10


def test_brca_m2c_rows_and_classes() -> None:
    points = parse_points(b"178 376 1\n180 128 2\n187 138 3\n10 11 7\n", "a.txt")
    np.testing.assert_array_equal(points.xy, [[376, 178], [128, 180], [138, 187]])
    assert points.label.tolist() == [LYMPHOCYTE, MALIGNANT, NORMAL]
    assert points.ignored == {"7": 1}


@pytest.mark.parametrize(("description", "label"), BREASTPATHQ_CLASSES.items())
def test_every_breastpathq_description(description: str, label: int) -> None:
    points = parse_points(SEDEEN % graphic(description, "1,2"), "key.xml")
    assert points.label.tolist() == [label]


def test_sedeen_habits() -> None:
    """One class over several graphics, Point, polylines, comments, unknown classes."""
    body = (
        graphic("IDC", "1,2 3,4")
        + graphic("", "100,100 200,200", "polyline")
        + graphic("TIL-E", "5.5,6", "Point")
        + b"<!-- "
        + graphic("IDC", "9,9")
        + b" -->"
        + graphic("mitosis", "7,7 8,8 9,9")
        + graphic("IDC", "10,11")
    )
    points = parse_points(SEDEEN % body, "key.xml")
    np.testing.assert_array_equal(points.xy, [[1, 2], [3, 4], [5.5, 6], [10, 11]])
    assert points.label.tolist() == [MALIGNANT, MALIGNANT, LYMPHOCYTE, MALIGNANT]
    assert points.ignored == {"mitosis": 3}


def test_ignored_classes_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    parse_points(SEDEEN % graphic("mitosis", "7,7 8,8"), "key.xml")
    assert "key.xml: 2 points of class 'mitosis' ignored" in caplog.text


def test_sedeen_expands_no_entity_of_its_own() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "IDC"><!ENTITY b "&a;&a;&a;">]>'
    points = parse_points(bomb + SEDEEN % graphic("&b;", "1,2"), "key.xml")
    assert points.ignored == {"&b;": 1}


def test_sedeen_without_nuclei_is_no_error() -> None:
    points = parse_points(SEDEEN % b"", "key.xml")
    assert len(points) == 0
    assert points.xy.shape == (0, 2)


def test_csv_with_any_column_order_and_delimiter() -> None:
    text = (
        "\ufeffClass;Y;X;probability\nmalignant;2;1.5;0.9\nTumor;4;3;0.9\nTIL-S;6;5;1\nfat;0;0;1\n"
    )
    points = parse_points(text.encode(), "n.csv")
    np.testing.assert_array_equal(points.xy, [[1.5, 2], [3, 4], [5, 6]])
    assert points.label.tolist() == [MALIGNANT, MALIGNANT, LYMPHOCYTE]
    assert points.ignored == {"fat": 1}


def test_csv_of_several_images_needs_a_choice() -> None:
    data = b"image,x,y,class\na.png,1,2,normal\nb.png,3,4,malignant\n"
    with pytest.raises(DataError, match="nuclei of 2 images; say which"):
        parse_points(data, "n.csv")
    assert parse_points(data, "n.csv", "b.png").xy.tolist() == [[3, 4]]
    with pytest.raises(DataError, match=r"lists no nuclei of c\.png"):
        parse_points(data, "n.csv", "c.png")


def feature(kind: str, coordinates: object, classification: object) -> dict[str, object]:
    """One GeoJSON feature."""
    return {
        "type": "Feature",
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": {"classification": classification},
    }


def test_geojson_geometries_and_classes() -> None:
    square = [[0, 0], [4, 0], [4, 2], [0, 2], [0, 0]]
    features = [
        feature("Point", [1, 2], {"name": "Tumor", "color": [200, 0, 0]}),
        feature("MultiPoint", [[3, 4], [5, 6]], {"name": "Immune cells"}),
        feature("Polygon", [square], {"names": ["Stroma", "x"]}),
        feature("Polygon", [[[7, 7], [7, 7]]], "malignant"),
        feature("LineString", [[0, 0], [9, 9]], {"name": "Tumor"}),
        feature("Point", [8, 8], {"name": "Tumor: Positive"}),
        feature("Point", [9, 9], None),
    ]
    document = {"type": "FeatureCollection", "features": features}
    points = parse_points(json.dumps(document).encode(), "q.geojson")
    corner_is_zero = np.array([[1, 2], [3, 4], [5, 6], [2, 1], [7, 7], [8, 8]])
    np.testing.assert_allclose(points.xy, corner_is_zero - 0.5)
    assert points.label.tolist() == [
        MALIGNANT, LYMPHOCYTE, LYMPHOCYTE, NORMAL, MALIGNANT, MALIGNANT,
    ]  # fmt: skip
    assert points.ignored == {"": 1}
    bare = parse_points(json.dumps(features).encode(), "q.json")
    np.testing.assert_array_equal(bare.xy, points.xy)


def test_polygon_centroid_is_of_its_area_not_its_corners() -> None:
    """An L of three unit squares: centroid (5/6, 5/6) from its corner, by hand."""
    ring = [[0, 0], [2, 0], [2, 1], [1, 1], [1, 2], [0, 2], [0, 0]]
    data = json.dumps(feature("Polygon", [ring], "IDC")).encode()
    np.testing.assert_allclose(parse_points(data, "q.json").xy, [[1 / 3, 1 / 3]])


def test_regions_around_detections_are_no_nuclei() -> None:
    ring = [[0, 0], [9, 0], [9, 9], [0, 0]]
    region, nucleus = feature("Polygon", [ring], "IDC"), feature("Point", [4.5, 4.5], "IDC")
    for entry, kind in ((region, "annotation"), (nucleus, "detection")):
        entry["properties"]["objectType"] = kind
    points = parse_points(json.dumps([region, nucleus]).encode(), "q.json")
    np.testing.assert_allclose(points.xy, [[4, 4]])
    # drawn by hand alone, an outline is a nucleus
    assert len(parse_points(json.dumps([region]).encode(), "q.json")) == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty; export"),
        (b" \r\n ", "is empty; export"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "is not a text file"),
        (b"\xff\xfe\x00", "is not a text file"),
        (b"<html><body>Not found</body></html>", "is not a Sedeen session"),
        (SEDEEN % graphic("IDC", "1,nan"), "coordinates are finite"),
        (SEDEEN % graphic("IDC", "1,1e999"), "coordinates are finite"),
        (SEDEEN % graphic("IDC", "1;2"), "a Sedeen point is x,y"),
        (SEDEEN % graphic("IDC", "1,two"), "'two', which is not a number"),
        (b"1 2 1\n3 4\n", "line 2, has 2 values"),
        (b"1 2 1\n3 inf 1\n", "coordinates are finite"),
        (b"a,b,c\n1,2,IDC\n", "looked for the columns x, y and class"),
        (b"x,y,class\n1,,IDC\n", "'', which is not a number"),
        (b"x,y,class\n1\n", "which is not a number"),
        (b"x,y,class\nNaN,2,IDC\n", "coordinates are finite"),
        (b'{"type": "FeatureCollection", "features": [', "not complete GeoJSON"),
        (b"[" * 100_000, "not complete GeoJSON"),
        (b'{"a": 1}', "JSON but not GeoJSON"),
        (b'{"features": 3}', "list of features"),
        (b'[{"type": "Feature", "geometry": null}]', "without geometry"),
        (json.dumps(feature("Point", [1], "IDC")).encode(), "broken coordinates"),
        (json.dumps(feature("Point", [1, True], "IDC")).encode(), "not a number"),
        (json.dumps(feature("Point", [1, 10**400], "IDC")).encode(), "not a number"),
        (json.dumps(feature("Point", [1, float("nan")], "IDC")).encode(), "are finite"),
        (json.dumps(feature("Polygon", [[]], "IDC")).encode(), "broken coordinates"),
    ],
)
def test_bad_files_say_what_to_do(data: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        parse_points(data, "my file")
    assert str(caught.value).startswith("my file")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.xml cannot be read"):
        read_points(tmp_path / "gone.xml")


VALID = (
    SEDEEN % (graphic("IDC", "1,2 3,4") + graphic("TIL-E", "5,6")),
    b"178 376 1\n180 128 2\n187 138 3\n",
    b"image,x,y,class\na.png,1,2,normal\na.png,3,4,malignant\n",
    json.dumps([feature("MultiPoint", [[3, 4], [5, 6]], {"name": "Tumor"})]).encode(),
)


@settings(max_examples=300, deadline=None)
@given(
    valid=st.sampled_from(VALID),
    cut=st.integers(0, 400),
    at=st.integers(0, 400),
    new=st.binary(max_size=12),
)
def test_damaged_files_are_read_or_refused(valid: bytes, cut: int, at: int, new: bytes) -> None:
    damaged = (valid[:at] + new + valid[at + len(new) :])[: max(cut, 1)]
    try:
        points = parse_points(damaged, "damaged")
    except DataError:
        return
    assert np.isfinite(points.xy).all()
    assert points.xy.shape == (len(points), 2)
