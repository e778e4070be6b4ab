"""Rows as Parquet, written in groups as they come."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO, Final, Self

from cellularity_core.conventions import CLASSES

GROUP_ROWS: Final = 512
"""Rows held back before a group is written."""

_TEXT: Final = (
    "image",
    "flags",
    "model_set",
    "model_sha256",
    "scale",
    "precision",
    "sha256",
    "software",
    "purpose",
    "notes",
)


class ParquetTable:
    """Rows to a Parquet file in groups; a context manager.

    Parameters
    ----------
    file : binary file
    names : sequence of str
        Columns, in order; what is no text, count or truth is a number.
    """

    def __init__(self, file: BinaryIO, names: Sequence[str]) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        kinds = dict.fromkeys(("width", "height", "views", *CLASSES), pa.int32())
        kinds |= dict.fromkeys(_TEXT, pa.string())
        kinds |= {"reliable": pa.bool_()}
        self._schema = pa.schema([(name, kinds.get(name, pa.float64())) for name in names])
        self._table = pa.Table
        self._writer = parquet.ParquetWriter(file, self._schema)
        self._rows: list[Mapping[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows."""
        self._rows.extend(rows)
        if len(self._rows) >= GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(self._table.from_pylist(self._rows, schema=self._schema))
            self._rows.clear()
