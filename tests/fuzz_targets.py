"""Every reader of outside data, with seeds of our own making and how often to try it."""

import functools
import io
import json
import random
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fuzz_formats as formats
import fuzz_models as models
import fuzz_mutation as mutation
import fuzz_slides as slides
import numpy as np
from images import SMOOTH, WHOLE, png, save, tiff
from PIL import Image

from cellularity_core import datasets
from cellularity_core.agreement.ratings import RatingTable
from cellularity_core.patch import collect, load_all, load_patch
from cellularity_core.points import parse_points
from cellularity_core.readings import Readings
from cellularity_core.slides.region import outlines_in

Read = Callable[[bytes, Path], Iterable[str]]
"""Reads an input as the software does, in an empty folder; refusals that were returned, not
raised."""


@dataclass(frozen=True, slots=True)
class Target:
    """A reader, its mutations, its whole inputs, its share of 20,000 tries and of a quick run."""

    read: Read
    mutate: mutation.Mutate
    seeds: Callable[[], list[bytes]]
    tries: int
    quick: int = 20


def case(name: str, number: int, seed: int = 0) -> bytes:
    """The input of a number; always the same one."""
    rng = random.Random(f"{seed} {name} {number}")
    return TARGETS[name].mutate(rng.choice(seeds(name)), rng)


@functools.cache
def seeds(name: str) -> list[bytes]:
    """Whole inputs of a target, made once."""
    return TARGETS[name].seeds()


def _lines(*rows: str) -> bytes:
    return "\n".join(rows).encode() + b"\n"


# --- patches


def _images() -> list[bytes]:
    exif = Image.Exif()
    exif[270], exif[274], exif[282] = "mpp = 0.25", 6, 40_000.0
    smooth = Image.fromarray(SMOOTH)
    others = [save(smooth, kind) for kind in ("WEBP", "GIF", "BMP")]
    cmyk = save(smooth.convert("CMYK"), "JPEG", exif=exif)
    jpeg_2000 = tiff(SMOOTH, photometric="rgb", compression="jpeg2000", tile=(64, 64))
    grey = [png(SMOOTH[..., 0]), tiff(SMOOTH[..., 0].astype("u2") * 257, compression="zstd")]
    return [*WHOLE.values(), *others, cmyk, jpeg_2000, *grey]


def _read_image(data: bytes, _: Path) -> list[str]:
    return slides.refusals(load_patch(data, "x"))


def _zips() -> list[bytes]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a.png", "sub/b.jpg", "c.tif", "notes.txt"):
            data = {"a.png": WHOLE["png"], "c.tif": WHOLE["tiff-tiles"]}.get(name, WHOLE["jpeg"])
            info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            archive.writestr(info, b"words" if name == "notes.txt" else data)
    return [buffer.getvalue()]


def _read_zip(data: bytes, folder: Path) -> list[str]:
    refused = [reason for found in load_all(data, "up.zip") for reason in slides.refusals(found)]
    (folder / "up.zip").write_bytes(data)
    for found in collect([folder / "up.zip"]):
        slides.refusals(found)
    return refused


def _manifests() -> list[bytes]:
    return [
        _lines("image,mpp,patient", "a.png,0.5,p1", "sub/../a.png,,p2", "gone.png,0.25,p3"),
        _lines("Image;MPP", "a.png;0.5", '"a;b.png";1'),
    ]


def _read_manifest(data: bytes, folder: Path) -> list[str]:
    (folder / "a.png").write_bytes(WHOLE["png"])
    (folder / "m.csv").write_bytes(data)
    return [reason for found in collect([folder / "m.csv"]) for reason in slides.refusals(found)]


# --- points and outlines


def _geojson() -> list[bytes]:
    square = [[10, 10], [90, 10], [90, 90], [10, 90], [10, 10]]
    geometries: list[dict[str, Any]] = [
        {"type": "Polygon", "coordinates": [square]},
        {"type": "MultiPolygon", "coordinates": [[square], [[[x + 100, y] for x, y in square]]]},
        {"type": "Point", "coordinates": [12.5, 13]},
        {"type": "MultiPoint", "coordinates": [[1, 2], [3, 4]]},
        {"type": "LineString", "coordinates": square[:2]},
    ]
    features = [
        {
            "type": "Feature",
            "geometry": geometry,
            "nucleusGeometry": geometry,
            "properties": {"objectType": kind, "classification": {"name": name}},
        }
        for kind in ("detection", "annotation")
        for name, geometry in zip(
            ("Tumor: Positive", "TIL-E", "", "x", "IDC"), geometries, strict=True
        )
    ]
    documents = [{"type": "FeatureCollection", "features": features}, features, features[0]]
    parts = {"type": "GeometryCollection", "geometries": geometries}
    return [json.dumps(document).encode() for document in (*documents, geometries[1], parts)]


def _points() -> list[bytes]:
    sedeen = (
        '<?xml version="1.0"?><session><image identifier="a.tif"><overlays>'
        '<graphic type="point" name="P1" description="IDC"><pen color="#ff00ff00"/>'
        "<point-list><point>10,20</point><point>30.5,40</point></point-list></graphic>"
        '<graphic type="polyline" description="TIL-E"><point-list><point>1,2</point>'
        "</point-list></graphic></overlays></session>"
    )
    return [
        sedeen.encode(),
        _lines("10 20 1", "30 40 2", "50.5 60 3"),
        _lines("x,y,class", "1,2,IDC", '3.5,4,"normal"', "5,6,unknown"),
        _lines("image;x;y;classification", "a.png;1;2;TIL-E", "b.png;3;4;stroma"),
    ]


def _read_points(data: bytes, _: Path) -> list[str]:
    found = parse_points(data, "points", "a.png" if b"a.png" in data else None)
    assert found.xy.shape == (len(found.label), 2)
    assert np.isfinite(found.xy).all()
    return []


def _read_region(data: bytes, _: Path) -> list[str]:
    region = outlines_in(data, "bed.geojson", 1000, 800).region
    left, top, right, bottom = region.bounds
    assert region.area > 0
    assert 0 <= left < right <= 1000
    assert 0 <= top < bottom <= 800
    return []


# --- scores


def _ratings() -> list[bytes]:
    head = "case_id,reader,score,patient_id,kind,repeat,cannot_score,read_at"
    return [
        _lines(head, "c1,A,0.5,p1,reader,0,no,2026-03-31T14:05", "c1,M,0.4,p1,model,,,"),
        _lines(head, "c1,A,50,,,,,", "c2,A,,,,,yes,"),
        _lines("case_id;reader;score", "c1;A;10", "c1;B;20", '"c;2";A;30'),
    ]


def _read_ratings(data: bytes, folder: Path) -> list[str]:
    (folder / "r.csv").write_bytes(data)
    table = RatingTable.read(folder / "r.csv", percent=len(data) % 2 == 0)
    scores = table.first_reads([*table.readers, *table.models])
    assert (((scores >= 0) & (scores <= 1)) | np.isnan(scores)).all()
    table.counts()
    assert len(table.patients) == len(table.cases)
    return []


def _readings() -> list[bytes]:
    return [
        _lines("image,score,patient,mpp", "a.png,0.5,p1,0.5", "b.png,,p2,", "c.png,1,,0.25"),
        _lines("Image\tScore\tpatient_id", "a.png\t0.2\tp", "b.png\t0\tp"),
    ]


def _read_readings(data: bytes, folder: Path) -> list[str]:
    (folder / "r.csv").write_bytes(data)
    found = Readings.read(folder / "r.csv", percent=len(data) % 2 == 0)
    assert all(0 <= row.score <= 1 for row in found.rows)
    return []


def _labels() -> list[bytes]:
    return [
        _lines("slide,rid,y", "1,1,0.5", "1,2,0.25", "2,1,1"),
        _lines("image,label,slide_id", "a.png,benign,s1", "b.png,malignant,s2"),
        _lines("TCGA-A1-A0SK-DX1_0.png", "TCGA-AR-A1AS-DX1_1.png"),
    ]


def _read_labels(data: bytes, folder: Path) -> list[str]:
    refused = []
    (folder / "train.txt").write_bytes(data)
    (folder / "val.txt").write_bytes(b"")
    for name in ("labels.csv", "train_labels.csv"):
        (folder / name).write_bytes(data)
    for kind in datasets.LOADERS:
        try:
            datasets.load(f"{kind}:{folder}")
        except datasets.DataError as error:
            refused.append(str(error))
    return refused


TARGETS: dict[str, Target] = {
    "image": Target(_read_image, mutation.in_bytes, _images, 3500, 40),
    "zip": Target(_read_zip, mutation.in_zip, _zips, 1500),
    "image list": Target(_read_manifest, mutation.in_words, _manifests, 1000),
    "points": Target(_read_points, mutation.in_words, _points, 2000),
    "points in GeoJSON": Target(_read_points, mutation.in_json, _geojson, 1200),
    "region": Target(_read_region, mutation.in_json, _geojson, 1200),
    "ratings": Target(_read_ratings, mutation.in_words, _ratings, 1200),
    "readings": Target(_read_readings, mutation.in_words, _readings, 900),
    "labels": Target(_read_labels, mutation.in_words, _labels, 500),
    "slide": Target(slides.read_slide, mutation.in_bytes, slides.slides, 1500, 30),
    "NDPI": Target(formats.reader(".ndpi"), mutation.in_bytes, formats.ndpi, 600, 12),
    "SVS": Target(formats.reader(".svs"), mutation.in_bytes, formats.aperio, 400, 8),
    "MRXS": Target(formats.read_mrxs, formats.in_one_file, formats.mrxs, 600, 12),
    "DICOM": Target(formats.reader(".dcm"), mutation.in_bytes, formats.dicom, 600, 12),
    "slide list": Target(slides.read_slide_list, mutation.in_words, slides.slide_lists, 400),
    "summary": Target(slides.read_summary, mutation.in_json, slides.summaries, 400),
    "tiles": Target(slides.read_store, mutation.in_bytes, slides.stores, 300, 15),
    "model set": Target(slides.read_set, mutation.in_json, slides.sets, 800, 25),
    "trees": Target(slides.read_trees, mutation.in_words, slides.trees, 200, 15),
    "graph": Target(models.read_graph, models.in_graph, models.graphs, 600, 20),
    "weights": Target(models.read_weights, mutation.in_bytes, models.tensors, 200, 8),
    "recipe": Target(slides.read_recipe, mutation.in_words, slides.recipes, 300, 0),
    "back-up": Target(slides.read_promise, mutation.in_json, slides.promises, 100, 5),
}
