"""Files that scoring writes, filled while results come in.

Nothing is kept of a result but its small JSON record, so memory does not grow
with maps or nuclei. A file appears under its name when it is whole: a run that
is stopped leaves what was there before.
"""

import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import numpy as np
import numpy.typing as npt

from cellularity_core import export
from cellularity_core.conventions import CLASSES, METHODS
from cellularity_core.features import FEATURE_NAMES
from cellularity_core.results import PatchResult

STDOUT: Final = Path("-")
"""Stands for standard output."""

PARQUET_ROWS: Final = 512
"""Rows held back before a group of a Parquet file is written."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Where to write what; None for what is not asked for.

    Attributes
    ----------
    json, parquet, csv, nuclei : Path or None
        A file, or `STDOUT`.
    geojson, overlay : Path or None
        A folder, made where it is missing; one file a patch.
    """

    json: Path | None = None
    parquet: Path | None = None
    csv: Path | None = None
    nuclei: Path | None = None
    geojson: Path | None = None
    overlay: Path | None = None

    def files(self) -> dict[str, Path]:
        """Files asked for, by option."""
        return {
            name: path
            for name in ("json", "parquet", "csv", "nuclei")
            if (path := getattr(self, name)) is not None
        }

    def folders(self) -> dict[str, Path]:
        """Folders asked for, by option."""
        return {
            name: path
            for name in ("geojson", "overlay")
            if (path := getattr(self, name)) is not None
        }


class Writer:
    """Writes results to `Targets`, one at a time; a context manager.

    Parameters
    ----------
    targets : Targets
    methods : collection of str
        Methods that tables have columns for.
    """

    def __init__(self, targets: Targets, methods: Collection[str] = METHODS) -> None:
        self._targets = targets
        self._methods = methods
        self._stack = ExitStack()
        self._records: list[dict[str, Any]] = []
        self._stems: dict[Path, set[str]] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for folder in self._targets.folders().values():
                folder.mkdir(parents=True, exist_ok=True)
                self._stems[folder] = set()
            self._files = {
                name: stack.enter_context(_whole(path))
                for name, path in self._targets.files().items()
            }
            if "csv" in self._files:
                self._table("csv", [], export.columns(self._methods), header=True)
            if "nuclei" in self._files:
                self._table("nuclei", [], export.NUCLEI_COLUMNS, header=True)
            self._parquet = (
                stack.enter_context(_Parquet(self._files["parquet"], self._methods))
                if "parquet" in self._files
                else None
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    def add(self, result: PatchResult, pixels: npt.NDArray[np.uint8] | None = None) -> None:
        """Write one result.

        Parameters
        ----------
        result : PatchResult
        pixels : ndarray of uint8, shape (H, W, 3), optional
            The patch; needed for overlays, as are the result's activations.
        """
        if "json" in self._files:
            self._records.append(export.patch_record(result))
        if "csv" in self._files:
            rows = [export.row(result, self._methods)]
            self._table("csv", rows, export.columns(self._methods))
        if "nuclei" in self._files:
            self._table("nuclei", export.nuclei_rows(result), export.NUCLEI_COLUMNS)
        if self._parquet is not None:
            self._parquet.add(export.feature_row(result, self._methods))
        if self._targets.geojson is not None:
            text = export.json_text(export.geojson(result))
            stem = self._stem(self._targets.geojson, result.image)
            (self._targets.geojson / f"{stem}.geojson").write_text(text, encoding="utf-8")
        if self._targets.overlay is not None and pixels is not None:
            stem = self._stem(self._targets.overlay, result.image)
            for method, maps in result.activations.items():
                picture = export.png(export.overlay(pixels, maps))
                (self._targets.overlay / f"{stem}-{method}.png").write_bytes(picture)

    def finish(
        self,
        errors: Sequence[tuple[str, str]],
        *,
        model_set: str,
        model_sha256: str,
        scale: str,
    ) -> None:
        """Write what is known only at the end: the JSON, with files that failed."""
        if "json" in self._files:
            content = export.document(
                self._records,
                errors,
                model_set=model_set,
                model_sha256=model_sha256,
                scale=scale,
            )
            self._files["json"].write(export.json_text(content).encode())

    def _table(
        self,
        name: str,
        rows: Sequence[dict[str, Any]],
        columns: Sequence[str],
        header: bool = False,
    ) -> None:
        self._files[name].write(export.csv_text(rows, columns, header=header).encode())

    def _stem(self, folder: Path, image: str) -> str:
        """A name in `folder` that no other image of this run has."""
        stem = export.file_stem(image, self._stems[folder])
        self._stems[folder].add(stem.lower())
        return stem


class _Parquet:
    """Rows to a Parquet file in groups."""

    def __init__(self, file: BinaryIO, methods: Collection[str]) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        kinds = dict.fromkeys(("width", "height", *CLASSES), pa.int32())
        kinds |= dict.fromkeys(
            ("image", "flags", "model_set", "model_sha256", "scale", "sha256"), pa.string()
        )
        kinds |= {"reliable": pa.bool_()}
        names = [*export.columns(methods), *FEATURE_NAMES]
        self._schema = pa.schema([(name, kinds.get(name, pa.float64())) for name in names])
        self._table = pa.Table
        self._writer = parquet.ParquetWriter(file, self._schema)
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) >= PARQUET_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(self._table.from_pylist(self._rows, schema=self._schema))
            self._rows.clear()


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its name when the block ends well, or standard output."""
    if path == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if path.exists() and not path.is_file():
        with path.open("wb") as device:
            yield device
        return
    # hidden, since it may lie in a folder that is being scored
    partial = path.with_name(f".{path.name}.part")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
