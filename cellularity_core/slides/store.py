"""Finished tiles on disk: one SQLite file that a kill at any moment leaves whole.

The plan of tiles is written first, then each result as it comes. What is not on disk is
scored again, so a run that goes on gives what an uninterrupted one gives, and no tile
twice.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cellularity_core.errors import SlideBusy, SlideError, SlideFolderError
from cellularity_core.slides.grid import Tile
from cellularity_core.slides.scoring import TileResult

FILE: Final = "tiles.sqlite"

_OF_THE_DRIVE: Final = ("FULL", "READONLY", "IOERR", "CANTOPEN", "PERM", "NOMEM", "TOOBIG")
"""Errors of SQLite, by how their names begin, that say nothing of what is in the file."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tile (
    row_ INTEGER, column_ INTEGER, x INTEGER, y INTEGER, width INTEGER, height INTEGER,
    result TEXT, PRIMARY KEY (row_, column_)
) WITHOUT ROWID;
"""


class Store:
    """Tiles of one slide and one model set; a context manager.

    While it is open no other process can open it.

    Parameters
    ----------
    folder : Path
        Made where it is missing.
    identity : mapping of str to str
        What every result rests on, by the words a user knows it by.
    fresh : bool
        Whether to forget what is there.

    Raises
    ------
    SlideError
        If the folder holds a run of another identity, or another process works in it; from
        then on wherever the file turns out to be damaged or the drive takes no more.
    """

    def __init__(self, folder: Path, identity: Mapping[str, str], fresh: bool = False) -> None:
        with writable(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._path = folder / FILE
        self._identity = identity
        try:
            self._database = sqlite3.connect(self._path, timeout=2, isolation_level=None)
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from None
        try:
            # With one process alone WAL needs no shared memory, so it works on network disks.
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA journal_mode = WAL")
            # A power cut may take the last tiles, which are then scored again; a kill, none.
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
            if fresh:
                self._database.executescript("BEGIN; DELETE FROM fact; DELETE FROM tile; COMMIT;")
            self._check(folder)
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise self._unusable(error) from None
        except SlideError:
            self._database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._database.close()
        if isinstance(error, sqlite3.DatabaseError):
            raise self._unusable(error) from error

    def fact(self, name: str) -> str | None:
        """What was noted under a name."""
        found = self._database.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def note(self, name: str, value: str) -> None:
        """Note a fact."""
        self._database.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))

    def plan(self, tiles: Sequence[Tile]) -> None:
        """Write down which tiles there are to score, once."""
        rows = [(t.row, t.column, t.x, t.y, t.width, t.height, None) for t in tiles]
        self._database.execute("BEGIN")
        self._database.executemany("INSERT INTO tile VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        self.note("planned", str(len(rows)))
        self._database.execute("COMMIT")

    def waiting(self) -> list[Tile]:
        """Tiles without a result, row by row."""
        return [Tile(*row[:6]) for row in self._rows("WHERE result IS NULL")]

    def count(self) -> tuple[int, int]:
        """Tiles with a result, and tiles."""
        row = self._database.execute("SELECT COUNT(result), COUNT(*) FROM tile").fetchone()
        return int(row[0]), int(row[1])

    def add(self, result: TileResult) -> None:
        """Keep a result; it is on disk when this returns.

        Raises
        ------
        ValueError
            If the tile is not planned, or has a result.
        """
        tile = result.tile
        text = json.dumps(result.to_json(), allow_nan=False)
        changed = self._database.execute(
            "UPDATE tile SET result = ? WHERE row_ = ? AND column_ = ? AND result IS NULL",
            (text, tile.row, tile.column),
        )
        if changed.rowcount != 1:
            raise ValueError(f"Got a result of {tile}, which is scored or was never planned.")

    def results(self) -> Iterator[TileResult]:
        """Finished tiles, row by row, a few in memory at a time."""
        for row in self._rows("WHERE result IS NOT NULL"):
            try:
                yield TileResult.from_json(Tile(*row[:6]), json.loads(row[6]))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise self._damaged(error) from None

    def _rows(self, where: str) -> sqlite3.Cursor:
        return self._database.execute(f"SELECT * FROM tile {where} ORDER BY row_, column_")

    def _unusable(self, error: sqlite3.DatabaseError) -> SlideError:
        """What an error of SQLite means: only damage calls for the file to be deleted."""
        kind = getattr(error, "sqlite_errorname", "").removeprefix("SQLITE_")
        if kind.startswith(("BUSY", "LOCKED")):
            return SlideBusy(f"Another run works in {self._folder.name} at present; wait for it.")
        if kind.startswith(_OF_THE_DRIVE):
            return _not_written(self._folder, str(error))
        return self._damaged(error)

    def _damaged(self, error: Exception) -> SlideError:
        return SlideFolderError(
            f"The results in {self._folder.name} are damaged ({error}); delete the file {FILE} "
            "there, and the slide is scored again."
        )

    def _check(self, folder: Path) -> None:
        for name, value in self._identity.items():
            found = self.fact(name)
            if found is None:
                self.note(name, value)
            elif found != value:
                raise SlideFolderError(
                    f"{folder.name} holds a run with another {name} ({found[:64]}, now "
                    f"{value[:64]}), and the two cannot be mixed; choose another folder, or start "
                    "this one again."
                )


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Files of a slide are written while it is open; a full or missing drive is named.

    Raises
    ------
    SlideError
        In the place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise _not_written(folder, error.strerror or type(error).__name__) from error


def _not_written(folder: Path, why: str) -> SlideError:
    return SlideError(
        f"The results in {folder.name} cannot be written ({why}); make room on the drive or check "
        "it, and run again: tiles that are finished are kept."
    )
