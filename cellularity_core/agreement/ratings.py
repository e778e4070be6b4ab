"""Scores of cases by readers and models: checked, counted, laid out as tables."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, Self, cast

import numpy as np
import numpy.typing as npt

from cellularity_core.errors import DataError

Floats = npt.NDArray[np.float64]
Kind = Literal["reader", "model"]
Patient = tuple[str, str]
"""A patient, or a case that names none; the two never mix."""

KINDS: Final[tuple[Kind, ...]] = ("reader", "model")
NEEDED: Final = ("case_id", "reader", "score")
OPTIONAL: Final = ("patient_id", "kind", "repeat", "cannot_score", "read_at")

LONGEST_REPEAT: Final = 6
"""Digits of a repeat; Python reads no number of thousands of them."""

_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_YES_NO: Final = {"": False, "0": False, "no": False, "false": False} | {
    "1": True,
    "yes": True,
    "true": True,
}


@dataclass(frozen=True, slots=True)
class Rating:
    """One read of one case.

    Attributes
    ----------
    case_id, reader : str
        `reader` is the rater's name, be it a reader or a model.
    score : float or None
        Cellularity in [0, 1]; None where it is missing.
    patient_id : str or None
        The case stands for a patient of its own where that is not known.
    kind : "reader" or "model"
    repeat : int
        0 is the first read, 1 the first repeat.
    cannot_score : bool
        The reader looked and said that the case cannot be scored.
    read_at : datetime or None
        When; compared as UTC where it names no zone.
    """

    case_id: str
    reader: str
    score: float | None
    patient_id: str | None = None
    kind: Kind = "reader"
    repeat: int = 0
    cannot_score: bool = False
    read_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """What a rater gave and did not give; first reads, but for `repeats`.

    Attributes
    ----------
    rater : str
    kind : "reader" or "model"
    scored, cannot_score : int
        Cases.
    missing : int
        The table's other cases: an empty score, or no line at all.
    repeats : int
        Scores of repeat reads.
    """

    rater: str
    kind: Kind
    scored: int
    cannot_score: int
    missing: int
    repeats: int


@dataclass(frozen=True, eq=False)
class RatingTable:
    """Ratings of cases, each checked and each once.

    Make one with `read` or `from_ratings`.

    Attributes
    ----------
    ratings : tuple of Rating
        As given, in order; scores 0 to 1.
    ignored : tuple of str
        Columns of the file that mean nothing here.
    """

    ratings: tuple[Rating, ...]
    ignored: tuple[str, ...] = field(default=())

    @classmethod
    def from_ratings(cls, ratings: Iterable[Rating], *, percent: bool = False) -> Self:
        """Check ratings and make a table.

        Parameters
        ----------
        ratings : iterable of Rating
        percent : bool
            Scores are 0 to 100; they are kept as 0 to 1.

        Raises
        ------
        DataError
            If a rating cannot be; its place is named, counted from 1.
        """
        numbered = ((f"record {place}", rating) for place, rating in enumerate(ratings, 1))
        return cls(tuple(_checked(numbered, percent)))

    @classmethod
    def read(cls, path: Path, *, percent: bool = False) -> Self:
        """Read a CSV file, with commas, semicolons or tabs between.

        Columns case_id, reader and score, and if wanted patient_id, kind (reader
        or model), repeat (0 or empty is the first read), cannot_score (yes or no) and
        read_at (ISO date and time). An empty score is a missing read.

        Parameters
        ----------
        path : Path
        percent : bool
            Scores are 0 to 100.

        Raises
        ------
        DataError
            If the file is no such table; the line is named.
        OSError
            If it cannot be opened.
        """
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise DataError(f"{path} is not UTF-8 text; save it as CSV in UTF-8.") from None
        try:
            return cls._parse(text, percent)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None

    @classmethod
    def _parse(cls, text: str, percent: bool) -> Self:
        first, _, _ = text.partition("\n")
        mark = max(",;\t", key=first.count)
        reader = csv.DictReader(io.StringIO(text), delimiter=mark, strict=True)
        try:
            names = [name.strip().lower() for name in reader.fieldnames or ()]
            lacking = [name for name in NEEDED if name not in names]
            if lacking:
                raise DataError(
                    f"the first line has no column {', '.join(lacking)}; expected "
                    f"{', '.join(NEEDED)} and if wanted {', '.join(OPTIONAL)}."
                )
            twice = {name for name in names if name in NEEDED + OPTIONAL and names.count(name) > 1}
            if twice:
                raise DataError(f"the first line names {', '.join(sorted(twice))} twice.")
            reader.fieldnames = names
            numbered = [
                (f"line {reader.line_num}", _rating(row, f"line {reader.line_num}"))
                for row in reader
            ]
        except csv.Error as error:
            raise DataError(f"line {reader.line_num}: not CSV ({error}).") from None
        if not numbered:
            raise DataError("there is no read below the first line; write a line for each read.")
        with_first = {rating.reader for _, rating in numbered if rating.repeat == 0}
        for where, rating in numbered:
            if rating.reader not in with_first:
                raise DataError(
                    f'{where}: reader "{rating.reader}" has repeat {rating.repeat} here and no '
                    "first read in the file; number first reads 0 (or leave repeat empty) and "
                    "their repeats 1, 2, ..."
                )
        return cls(
            tuple(_checked(numbered, percent)),
            tuple(name for name in names if name and name not in NEEDED + OPTIONAL),
        )

    @cached_property
    def cases(self) -> tuple[str, ...]:
        """Cases in the order they appear."""
        return tuple(dict.fromkeys(rating.case_id for rating in self.ratings))

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """Kind of each rater, raters in the order they appear."""
        return {rating.reader: rating.kind for rating in self.ratings}

    @property
    def readers(self) -> tuple[str, ...]:
        """Readers with at least one score of a first read, as they appear."""
        return self._scoring("reader")

    @property
    def models(self) -> tuple[str, ...]:
        """Models with at least one score, as they appear."""
        return self._scoring("model")

    @cached_property
    def patients(self) -> tuple[Patient, ...]:
        """Patient of each case, in the order of `cases`."""
        named = {r.case_id: r.patient_id for r in self.ratings if r.patient_id}
        return tuple(
            ("patient", named[case]) if case in named else ("case", case) for case in self.cases
        )

    @property
    def n_cases(self) -> int:
        """Cases with at least one score of a first read."""
        return len({r.case_id for r in self.ratings if r.score is not None and not r.repeat})

    def first_reads(self, raters: Iterable[str]) -> Floats:
        """Scores of first reads, shape (cases, raters), NaN where missing."""
        column = {name: place for place, name in enumerate(raters)}
        row = {case: place for place, case in enumerate(self.cases)}
        table = np.full((len(row), len(column)), np.nan)
        for rating in self.ratings:
            if rating.repeat == 0 and rating.reader in column and rating.score is not None:
                table[row[rating.case_id], column[rating.reader]] = rating.score
        return table

    def reads_of(self, rater: str) -> dict[str, list[float]]:
        """Scores of a rater by case: the first read, then the repeats in order."""
        found: dict[str, list[tuple[int, float]]] = {}
        for rating in self.ratings:
            if rating.reader == rater and rating.score is not None:
                found.setdefault(rating.case_id, []).append((rating.repeat, rating.score))
        return {case: [score for _, score in sorted(reads)] for case, reads in found.items()}

    def counts(self) -> tuple[Counts, ...]:
        """What each rater gave and did not give."""
        scored, refused, repeats = (dict.fromkeys(self.kinds, 0) for _ in range(3))
        for rating in self.ratings:
            if rating.repeat:
                repeats[rating.reader] += rating.score is not None
            else:
                scored[rating.reader] += rating.score is not None
                refused[rating.reader] += rating.cannot_score
        return tuple(
            Counts(
                name,
                kind,
                scored[name],
                refused[name],
                len(self.cases) - scored[name] - refused[name],
                repeats[name],
            )
            for name, kind in self.kinds.items()
        )

    def _scoring(self, kind: Kind) -> tuple[str, ...]:
        scoring = {r.reader for r in self.ratings if r.score is not None and not r.repeat}
        return tuple(name for name, is_a in self.kinds.items() if is_a == kind and name in scoring)


def _rating(row: Mapping[str | None, str | list[str] | None], where: str) -> Rating:
    """One line of a file; its score is checked later, with those of records."""
    if None in row:
        raise DataError(f"{where}: there are more cells than columns.")
    cells = {str(name): str(value or "").strip() for name, value in row.items()}
    score, repeat = cells["score"], cells.get("repeat", "").lower()
    if score and not _NUMBER.fullmatch(score):
        raise DataError(
            f'{where}: the score "{score}" is not a number; write it with a point, or leave it '
            "empty where there is none."
        )
    if repeat in _YES_NO:
        times = int(_YES_NO[repeat])
    elif repeat.isdecimal() and len(repeat) <= LONGEST_REPEAT:
        times = int(repeat)
    else:
        raise DataError(f'{where}: repeat is "{repeat}"; expected 0, 1, 2, ...')
    refused = cells.get("cannot_score", "").lower()
    if refused not in _YES_NO:
        raise DataError(f'{where}: cannot_score is "{refused}"; expected yes or no.')
    moment = cells.get("read_at", "")
    try:
        read_at = datetime.fromisoformat(moment) if moment else None
    except ValueError:
        raise DataError(
            f'{where}: read_at is "{moment}"; expected a date and time as 2026-03-31T14:05.'
        ) from None
    return Rating(
        case_id=cells["case_id"],
        reader=cells["reader"],
        score=float(score) if score else None,
        patient_id=cells.get("patient_id") or None,
        kind=cast(Kind, cells.get("kind", "").lower() or "reader"),
        repeat=times,
        cannot_score=_YES_NO[refused],
        read_at=read_at,
    )


def _checked(numbered: Iterable[tuple[str, Rating]], percent: bool) -> Iterator[Rating]:
    """Ratings that can be, their scores 0 to 1; the others are an error with its place."""
    top = 100 if percent else 1
    seen: dict[tuple[str, str, int], str] = {}
    kinds: dict[str, tuple[Kind, str]] = {}
    patients: dict[str, tuple[str, str]] = {}
    for where, rating in numbered:
        for name in ("case_id", "reader"):
            if not getattr(rating, name):
                raise DataError(f"{where}: {name} is empty; every read needs one.")
        if rating.kind not in KINDS:
            raise DataError(f'{where}: kind is "{rating.kind}"; expected {" or ".join(KINDS)}.')
        if rating.repeat < 0:
            raise DataError(f"{where}: repeat is {rating.repeat}; expected 0, 1, 2, ...")
        if rating.score is not None and not 0 <= rating.score <= top:
            hint = "" if percent else "; for scores in per cent say so (--percent)"
            raise DataError(f"{where}: the score {rating.score:g} is outside 0 to {top}{hint}.")
        if rating.score is not None and rating.cannot_score:
            raise DataError(f"{where}: a case that cannot be scored has a score; give one of both.")
        key = (rating.case_id, rating.reader, rating.repeat)
        if key in seen:
            times = f", repeat {rating.repeat}" if rating.repeat else ""
            raise DataError(
                f'{where}: reader "{rating.reader}" has a read of case "{rating.case_id}"{times} '
                f"already, at {seen[key]}; number repeated reads in the column repeat."
            )
        seen[key] = where
        kind, place = kinds.setdefault(rating.reader, (rating.kind, where))
        if kind != rating.kind:
            raise DataError(
                f'{where}: "{rating.reader}" is a {rating.kind} here and a {kind} at {place}; '
                "give the two different names."
            )
        if rating.patient_id:
            patient, place = patients.setdefault(rating.case_id, (rating.patient_id, where))
            if patient != rating.patient_id:
                raise DataError(
                    f'{where}: case "{rating.case_id}" is of patient "{rating.patient_id}" here '
                    f'and of "{patient}" at {place}; a case has one patient.'
                )
        if percent and rating.score is not None:
            rating = replace(rating, score=rating.score / 100)
        yield rating


def in_utc(moment: datetime) -> datetime:
    """`moment` in UTC; one that names no zone is taken for UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
