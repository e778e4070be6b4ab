"""One report of the slides in a folder of results, by whichever run they were scored."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cellularity_core import export
from cellularity_core.archive import safe_name
from cellularity_core.conventions import CLASSES
from cellularity_core.errors import readable
from cellularity_core.outputs import whole_file
from cellularity_core.slides.store import writable
from cellularity_core.slides.writing import SUMMARY, described

if TYPE_CHECKING:
    from cellularity_core.slides.run import Scoring

REPORT: Final = "slides"
"""Name, without ending, of the report of all."""

AREAS: Final = {"mm2": "tissue_mm2", "fit_mm2": "fit_mm2"}
"""Ends of columns of the report: tissue, and what of it is fit to score and weighs the mean."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A slide that could not be scored: its folder, its name and why."""

    folder: str
    slide: str
    reason: str


def write_report(failures: Sequence[Failure], scoring: "Scoring", out: Path) -> None:
    """Write ``slides.json``, ``slides.csv`` and ``slides.parquet`` of a folder of results.

    They have a row for each folder with a summary in it, also of earlier runs and of others
    that go on at the same time, and one for each slide that failed. A failure of an earlier
    run is kept until its slide is scored or tried again.

    Parameters
    ----------
    failures : sequence of Failure
        Of this run.
    scoring : Scoring
        By which this run scored.
    out : Path
        Made where it is missing.

    Raises
    ------
    SlideError
        If it cannot be written.
    """
    about = described(scoring)
    with writable(out):
        out.mkdir(parents=True, exist_ok=True)
        summaries: list[dict[str, Any]] = []
        rows: list[dict[str, Any]] = []
        failed = {one.folder: one for one in _earlier(out)}
        for path in sorted(out.glob(f"*/{SUMMARY}")):
            folder = path.parent.name
            failed.pop(folder, None)
            try:
                summary = {"folder": folder} | json.loads(path.read_text("utf-8"))
                rows.append(_row(summary, about))
                summaries.append(summary)
            except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
                reason = f"Its {SUMMARY} cannot be read ({type(error).__name__}); score it again."
                failed[folder] = Failure(folder, folder, reason)
        failed |= {one.folder: one for one in failures}
        rows += [
            {"folder": one.folder, "slide": one.slide, "error": one.reason}
            for one in failed.values()
        ]
        rows.sort(key=lambda row: str(row["folder"]))
        errors = [asdict(one) for _, one in sorted(failed.items())]
        with whole_file(out / f"{REPORT}.json") as file:
            text = export.json_text(about | {"slides": summaries, "errors": errors})
            file.write(text.encode())
        found = (method for summary in summaries for method in summary["tissue"]["mean"])
        _write_tables(rows, list(dict.fromkeys((*scoring.methods, *found))), about, out)


def _earlier(out: Path) -> Iterator[Failure]:
    """Failures in the report that is there."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        for one in json.loads((out / f"{REPORT}.json").read_text("utf-8"))["errors"]:
            folder, slide = (safe_name(str(one[key])) for key in ("folder", "slide"))
            yield Failure(folder, slide, readable(str(one["reason"])))


def _write_tables(
    rows: Sequence[dict[str, Any]],
    methods: Sequence[str],
    about: Mapping[str, str | int],
    out: Path,
) -> None:
    columns = [*AREAS, *(m + end for m in methods for end in ("", "_low", "_high"))]
    areas = [f"{area}_{column}" for area in ("tissue", "region") for column in columns]
    names = ["slide", "folder", "sha256", "width", "height", "mpp", *areas]
    names += [*CLASSES, "reliable", "notes", "error", *about]
    full = [{name: row.get(name) for name in names} for row in rows]
    with whole_file(out / f"{REPORT}.csv") as file:
        file.write(export.csv_text(full, names).encode())

    import pyarrow as pa
    from pyarrow import parquet

    texts = ("slide", "folder", "sha256", "notes", "error", *about)
    kinds = dict.fromkeys(texts, pa.string()) | {"reliable": pa.bool_()}
    kinds |= dict.fromkeys(("width", "height", "views", *CLASSES), pa.int64())
    schema = pa.schema([(name, kinds.get(name, pa.float64())) for name in names])
    table = pa.Table.from_pylist(full, schema=schema)
    with whole_file(out / f"{REPORT}.parquet") as file:
        parquet.write_table(table, file)


def _row(summary: dict[str, Any], about: Mapping[str, str | int]) -> dict[str, Any]:
    slide, tissue = summary["slide"], summary["tissue"]
    row = {name: slide[name] for name in ("sha256", "width", "height", "mpp")}
    row |= {"slide": slide["name"], "folder": summary["folder"], **tissue["nuclei"]}
    for area in ("tissue", "region"):
        found = summary[area]
        if found is not None:
            row |= {f"{area}_{kind}": found[key] for kind, key in AREAS.items()}
            row |= {
                f"{area}_{method}{end}": found[value][method]
                for method in found["mean"]
                for value, end in (("mean", ""), ("low", "_low"), ("high", "_high"))
            }
    row |= {name: summary[name] for name in about}
    return row | {"reliable": summary["reliable"], "notes": " ".join(summary["notes"])}
