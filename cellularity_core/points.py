"""Nuclei annotations: points with classes from the files people have them in.

Four formats, told apart by content, not by name: BRCA-M2C text, Sedeen XML
(BreastPathQ), CSV with the columns ``x,y,class`` and GeoJSON (QuPath).
"""

import csv
import html
import io
import json
import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cellularity_core.conventions import CORNER, LYMPHOCYTE, MALIGNANT, NORMAL
from cellularity_core.errors import DataError

log = logging.getLogger(__name__)

MAX_BYTES: Final = 200_000_000
"""Largest annotation file read: about 5 million nuclei, a whole slide."""

M2C_CLASSES: Final = {1: LYMPHOCYTE, 2: MALIGNANT, 3: NORMAL}
"""BRCA-M2C: lymphocyte, tumour or epithelial, stromal (METHODS 1)."""

BREASTPATHQ_CLASSES: Final = {
    **dict.fromkeys(
        ("IDC", "ILC", "Muc C", "DCIS 1", "DCIS 2", "DCIS 3", "MC- E", "MC - C", "MC - M"),
        MALIGNANT,
    ),
    **dict.fromkeys(("normal", "UDH", "ADH"), NORMAL),
    **dict.fromkeys(("TIL-E", "TIL-S"), LYMPHOCYTE),
}
"""BreastPathQ's descriptions and the group each belongs to (METHODS 1)."""

COMMON_CLASSES: Final = {
    **BREASTPATHQ_CLASSES,
    **dict.fromkeys(("malignant", "tumour", "tumor", "DCIS", "carcinoma"), MALIGNANT),
    **dict.fromkeys(("lymphocyte", "lymphocytes", "immune cells", "TIL"), LYMPHOCYTE),
    **dict.fromkeys(("stroma", "stromal", "benign"), NORMAL),
}
"""Names read in CSV and GeoJSON: BreastPathQ's, our own, BRCA-M2C's and QuPath's."""


@dataclass(frozen=True, slots=True, eq=False)
class NucleiPoints:
    """Nuclei marked in one image.

    Attributes
    ----------
    xy : ndarray of float64, shape (n, 2)
        ``(x, y)`` in pixels of the image, in the order of the file.
    label : ndarray of int8, shape (n,)
        Class of each, an index into `CLASSES`.
    ignored : mapping of str to int
        Names that stand for none of the classes, and how many points had them.
    """

    xy: npt.NDArray[np.float64]
    label: npt.NDArray[np.int8]
    ignored: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.label)


Marked = tuple[float, float, str]
"""x, y and the name of the class, as the file has them."""


def read_points(path: str | PathLike[str], image: str | None = None) -> NucleiPoints:
    """Nuclei points of an annotation file in any of the four formats.

    Parameters
    ----------
    path : path-like
        The file.
    image : str, optional
        Which image to read from a CSV that lists several in a column ``image``.

    Returns
    -------
    NucleiPoints

    Raises
    ------
    DataError
        If the file cannot be read, is in none of the formats, or holds a
        coordinate that is not a finite number.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(
                f"{path.name} is larger than {MAX_BYTES // 1_000_000} MB; "
                "export the points of one image or one region at a time."
            )
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"The annotation file {path.name} cannot be read ({error.strerror}); check its path."
        ) from None
    return parse_points(data, path.name, image)


def parse_points(data: bytes, name: str, image: str | None = None) -> NucleiPoints:
    """Nuclei points of an annotation file's bytes; see `read_points`.

    Parameters
    ----------
    data : bytes
    name : str
        What to call the file in messages.
    image : str, optional
        As in `read_points`.
    """
    text = _decode(data, name).strip()
    if not text:
        raise DataError(f"{name} is empty; export the points again.")
    classes = COMMON_CLASSES
    if text[0] == "<":
        marked, classes = _sedeen(text, name), BREASTPATHQ_CLASSES
    elif text[0] in "{[":
        marked = _geojson(text, name)
    elif re.match(r"[-+.\d]+\s+[-+.\d]+\s+\d+\s*$", text, re.MULTILINE):
        return _collect(_m2c(text, name), {str(k): v for k, v in M2C_CLASSES.items()}, name)
    else:
        marked = _csv(text, name, image)
    return _collect(marked, classes, name)


def _collect(marked: Iterable[Marked], classes: Mapping[str, int], name: str) -> NucleiPoints:
    known = {_key(c): label for c, label in classes.items()}
    xy: list[tuple[float, float]] = []
    labels: list[int] = []
    ignored: Counter[str] = Counter()
    for x, y, class_name in marked:
        if not (math.isfinite(x) and math.isfinite(y)):
            raise DataError(
                f"{name} has a nucleus at ({x}, {y}); coordinates are finite numbers of pixels, "
                "so correct or remove it."
            )
        label = known.get(_key(class_name))
        if label is None:
            ignored[class_name] += 1
        else:
            xy.append((x, y))
            labels.append(label)
    for class_name, count in ignored.items():
        log.warning("%s: %d points of class '%s' ignored", name, count, class_name)
    return NucleiPoints(
        xy=np.array(xy, np.float64).reshape(-1, 2),
        label=np.array(labels, np.int8),
        ignored=dict(ignored),
    )


def _key(class_name: str) -> str:
    return re.sub(r"[\s_-]+", "", class_name).casefold()


def _decode(data: bytes, name: str) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    else:
        encodings = ["utf-8-sig", "latin-1"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise DataError(
        f"{name} is not a text file; give nuclei points as Sedeen XML, BRCA-M2C text, "
        "CSV (x,y,class) or GeoJSON."
    )


def _number(text: object, name: str) -> float:
    try:
        if isinstance(text, bool) or not isinstance(text, str | int | float):
            raise ValueError
        return float(text)
    except (ValueError, OverflowError):
        raise DataError(
            f"{name} has the coordinate '{str(text)[:40]}', which is not a number; "
            "correct the file or export it again."
        ) from None


def _m2c(text: str, name: str) -> Iterator[Marked]:
    for number, line in enumerate(text.splitlines(), start=1):
        cells = line.split()
        if not cells:
            continue
        if len(cells) != 3:
            raise DataError(
                f"{name}, line {number}, has {len(cells)} values; "
                "BRCA-M2C points have three: row, column and class."
            )
        row, column = _number(cells[0], name), _number(cells[1], name)
        yield column, row, cells[2]


_TAG: Final = re.compile(
    r"""<(/?)([\w:.-]{1,64}+)((?:[^<>"']++|"[^"]{0,4000}+"|'[^']{0,4000}+'){0,64}+)>"""
)
_ATTRIBUTE: Final = re.compile(r"""([\w:.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")


def _tags(text: str) -> Iterator[tuple[str, str, str]]:
    """Each tag as its name ("/name" where it closes), attributes and the text up to the next tag.

    Sedeen leaves ``<image>`` open, so its files are not XML and a parser refuses
    them. A scan of the tags needs no balance, and no entity of the file's own is
    ever expanded.
    """
    at = text.find("<")
    while at >= 0:
        if text.startswith("<!--", at):
            end = text.find("-->", at)
            if end < 0:
                return
            at = text.find("<", end)
            continue
        tag = _TAG.match(text, at)
        start = tag.end() if tag else at + 1
        at = text.find("<", start)
        if tag:
            content = text[start:at] if at >= 0 else text[start:]
            yield tag[1] + tag[2].lower(), tag[3], content


def _sedeen(text: str, name: str) -> Iterator[Marked]:
    kind = class_name = ""
    is_sedeen = False
    for tag, attributes, content in _tags(text):
        if tag in ("session", "overlays"):
            is_sedeen = True
        elif tag == "graphic":
            is_sedeen = True
            values = {
                m[1].lower(): html.unescape(m[2] if m[2] is not None else m[3]).strip()
                for m in _ATTRIBUTE.finditer(attributes)
            }
            kind, class_name = values.get("type", "").lower(), values.get("description", "")
            if attributes.rstrip().endswith("/"):
                kind = ""
        elif tag == "/graphic":
            kind = ""
        elif tag == "point" and kind == "point":
            x, comma, y = content.partition(",")
            if not comma:
                raise DataError(
                    f"{name} has the point '{content.strip()[:40]}'; a Sedeen point is x,y, "
                    "so export the session again."
                )
            yield _number(x, name), _number(y, name), class_name
    if not is_sedeen:
        raise DataError(
            f"{name} is not a Sedeen session; give nuclei points as Sedeen XML, BRCA-M2C text, "
            "CSV (x,y,class) or GeoJSON."
        )


def _csv(text: str, name: str, image: str | None) -> Iterator[Marked]:
    header = text.splitlines()[0]
    delimiter = max(",;\t", key=header.count)
    try:
        rows = [
            {(k or "").strip().casefold(): (v or "").strip() for k, v in row.items() if k}
            for row in csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        ]
    except csv.Error as error:
        raise DataError(f"{name} is not a readable CSV ({error}); export it again.") from None
    columns = [c.strip().strip('"').casefold() for c in header.split(delimiter)]
    class_column = next((c for c in ("class", "classification", "label") if c in columns), None)
    if class_column is None or "x" not in columns or "y" not in columns:
        raise DataError(
            f"{name} holds no nuclei points that can be read: looked for the columns x, y and "
            f"class, found '{header[:80]}'; name the columns so, or give Sedeen XML, "
            "BRCA-M2C text or GeoJSON."
        )
    images = {row.get("image", "") for row in rows}
    if image is None and len(images) > 1:
        raise DataError(
            f"{name} lists the nuclei of {len(images)} images; say which one is meant, "
            f"for example {min(images)}."
        )
    if image is not None and "image" in columns and image not in images:
        raise DataError(f"{name} lists no nuclei of {image}; check the column image.")
    for row in rows:
        if image is None or row.get("image", image) == image:
            yield (
                _number(row.get("x"), name),
                _number(row.get("y"), name),
                row.get(class_column) or "",
            )


def _geojson(text: str, name: str) -> Iterator[Marked]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise DataError(f"{name} is not complete GeoJSON; export it again.") from None
    features = document.get("features", [document]) if isinstance(document, dict) else document
    if not isinstance(features, list):
        raise DataError(f"{name} is not GeoJSON with a list of features; export it again.")
    has_found = (isinstance(document, dict) and "provenance" in document) or any(
        _property(feature, "objectType") in ("detection", "cell") for feature in features
    )
    for feature in features:
        if not isinstance(feature, dict) or feature.get("type") != "Feature":
            raise DataError(
                f"{name} is JSON but not GeoJSON: an entry of it is no Feature; "
                "export the objects as GeoJSON."
            )
        if has_found and _property(feature, "objectType") == "annotation":
            continue  # a region or a class area, not a nucleus
        geometry = feature.get("nucleusGeometry") or feature.get("geometry")
        if not isinstance(geometry, dict):
            raise DataError(f"{name} has a feature without geometry; export it again.")
        class_name = _classification(_property(feature, "classification"))
        try:
            centres = _centres(geometry, name)
        except (TypeError, IndexError):
            raise DataError(
                f"{name} has a {str(geometry.get('type'))[:40]} with broken coordinates; "
                "export it again."
            ) from None
        for x, y in centres:
            yield x - CORNER, y - CORNER, class_name


def _property(feature: Any, key: str) -> Any:
    properties = feature.get("properties") if isinstance(feature, dict) else None
    return properties.get(key) if isinstance(properties, dict) else None


def _classification(value: Any) -> str:
    """QuPath's class of a feature; of "Tumor: Positive" the part before the colon."""
    if isinstance(value, dict):
        names = value.get("names")
        value = value.get("name") or (names[0] if isinstance(names, list) and names else None)
    return value.split(":")[0].strip() if isinstance(value, str) else ""


def _centres(geometry: Mapping[str, Any], name: str) -> list[tuple[float, float]]:
    coordinates = geometry.get("coordinates")
    match geometry.get("type"):
        case "Point":
            return [_position(coordinates, name)]
        case "MultiPoint":
            return [_position(p, name) for p in _sequence(coordinates)]
        case "Polygon":
            return [_centroid(_sequence(coordinates)[0], name)]
        case "MultiPolygon":
            rings = [_sequence(part)[0] for part in _sequence(coordinates)]
            return [_centroid(max(rings, key=len), name)]
        case _:
            return []


def _sequence(value: Any) -> Sequence[Any]:
    if not isinstance(value, list):
        raise TypeError
    return value


def _position(value: Any, name: str) -> tuple[float, float]:
    pair = _sequence(value)
    return _number(pair[0], name), _number(pair[1], name)


def _centroid(ring: Any, name: str) -> tuple[float, float]:
    """Centroid of the area inside a closed ring; of its corners where it has no area."""
    corners = np.array([_position(p, name) for p in _sequence(ring)], np.float64)
    if len(corners) == 0:
        raise IndexError
    if not np.isfinite(corners).all():
        return float("nan"), float("nan")
    origin = corners.mean(axis=0)
    here = corners - origin
    there = np.roll(here, -1, axis=0)
    cross = here[:, 0] * there[:, 1] - there[:, 0] * here[:, 1]
    area = cross.sum() / 2
    if abs(area) < 1e-9:
        return float(origin[0]), float(origin[1])
    centre = ((here + there) * cross[:, None]).sum(axis=0) / (6 * area) + origin
    return float(centre[0]), float(centre[1])
