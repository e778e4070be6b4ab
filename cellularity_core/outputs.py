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
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self

import numpy as np
import numpy.typing as npt

from cellularity_core import export
from cellularity_core.conventions import METHODS
from cellularity_core.features import FEATURE_NAMES
from cellularity_core.results import PatchResult

if TYPE_CHECKING:
    from cellularity_core.export.sheets import Sheet

STDOUT: Final = Path("-")
"""Stands for standard output."""

PARQUET: Final = ".parquet"
"""Ending of a table of features that is not to be CSV."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Where to write what; None for what is not asked for.

    Attributes
    ----------
    json, parquet, csv, nuclei, features, pdf : Path or None
        A file, or `STDOUT`.
    geojson, overlay, ome_tiff : Path or None
        A folder, made where it is missing; one file a patch.
    """

    json: Path | None = None
    parquet: Path | None = None
    csv: Path | None = None
    nuclei: Path | None = None
    features: Path | None = None
    pdf: Path | None = None
    geojson: Path | None = None
    overlay: Path | None = None
    ome_tiff: Path | None = None

    def files(self) -> dict[str, Path]:
        """Files asked for, by option."""
        return {
            name: path
            for name in ("json", "parquet", "csv", "nuclei", "features", "pdf")
            if (path := getattr(self, name)) is not None
        }

    def folders(self) -> dict[str, Path]:
        """Folders asked for, by option."""
        return {
            name: path
            for name in ("geojson", "overlay", "ome_tiff")
            if (path := getattr(self, name)) is not None
        }

    @property
    def draws(self) -> bool:
        """Whether anything asked for needs the patch and its maps."""
        return bool(self.folders()) or self.pdf is not None


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
        self._sheets: list[Sheet] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for folder in self._targets.folders().values():
                folder.mkdir(parents=True, exist_ok=True)
                self._stems[folder] = set()
            self._files = {
                name: stack.enter_context(whole_file(path))
                for name, path in self._targets.files().items()
            }
            if "csv" in self._files:
                self._table("csv", [], export.columns(self._methods), header=True)
            if "nuclei" in self._files:
                self._table("nuclei", [], export.NUCLEI_COLUMNS, header=True)
            self._tables = {
                name: stack.enter_context(export.ParquetTable(self._files[name], columns))
                for name, columns in self._parquet_columns().items()
            }
            if "features" in self._files and "features" not in self._tables:
                self._table("features", [], export.reason_columns(self._methods), header=True)
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
            The patch; needed for pictures and PDF, as are the result's activations.
        """
        if "json" in self._files:
            self._records.append(export.patch_record(result))
        if "csv" in self._files:
            rows = [export.row(result, self._methods)]
            self._table("csv", rows, export.columns(self._methods))
        if "nuclei" in self._files:
            self._table("nuclei", export.nuclei_rows(result), export.NUCLEI_COLUMNS)
        if "parquet" in self._tables:
            self._tables["parquet"].add([export.feature_row(result, self._methods)])
        if "features" in self._files:
            self._add_reasons(export.reason_row(result, self._methods))
        if "pdf" in self._files:
            from cellularity_core.export.sheets import sheet

            has_page = len(self._sheets) < export.MOST_SHEETS
            self._sheets.append(sheet(result, pixels if has_page else None))
        for option, folder in self._targets.folders().items():
            stem = self._stem(folder, result.image)
            for ending, content in _drawn(option, result, pixels):
                (folder / f"{stem}{ending}").write_bytes(content)

    def finish(
        self,
        errors: Sequence[tuple[str, str]],
        *,
        model_set: str,
        model_sha256: str,
        scale: str,
    ) -> None:
        """Write what is known only at the end: JSON and PDF, with files that failed."""
        models = {"model_set": model_set, "model_sha256": model_sha256, "scale": scale}
        if "pdf" in self._files:
            from cellularity_core.export.sheets import pdf

            self._files["pdf"].write(pdf(self._sheets, errors, **models))
        if "json" in self._files:
            content = export.document(self._records, errors, **models)
            self._files["json"].write(export.json_text(content).encode())

    def _parquet_columns(self) -> dict[str, list[str]]:
        """Columns of each Parquet file asked for, by option."""
        found: dict[str, list[str]] = {}
        if self._targets.parquet is not None:
            found["parquet"] = [*export.columns(self._methods), *FEATURE_NAMES]
        features = self._targets.features
        if features is not None and features.suffix.lower() == PARQUET:
            found["features"] = export.reason_columns(self._methods)
        return found

    def _add_reasons(self, row: dict[str, Any]) -> None:
        if "features" in self._tables:
            self._tables["features"].add([row])
        else:
            self._table("features", [row], export.reason_columns(self._methods))

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


def _drawn(
    option: str, result: PatchResult, pixels: npt.NDArray[np.uint8] | None
) -> Iterator[tuple[str, bytes]]:
    """Endings and contents of the files that one patch has in a folder."""
    if option == "geojson":
        yield ".geojson", export.geojson_text(result).encode()
    elif pixels is not None and option == "ome_tiff":
        yield ".ome.tiff", export.ome_tiff(pixels, result)
    elif pixels is not None:
        for method, maps in result.activations.items():
            picture = export.overlay(pixels, maps)
            yield f"-{method}.png", export.png(picture, export.provenance_text(result))


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
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
