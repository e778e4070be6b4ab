"""Many slides: what is named, each to its folder, and one report of all."""

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cellularity_core import export
from cellularity_core.archive import is_hidden, safe_name
from cellularity_core.errors import CellularityError, SlideBusy, SlideError, SlideFolderError
from cellularity_core.patch import check_mpp
from cellularity_core.slides.cohort_report import Failure, write_report
from cellularity_core.slides.parts import series
from cellularity_core.slides.reading import Slide
from cellularity_core.slides.run import Scoring, score_slide

ENDINGS: Final = (
    *(".svs", ".ndpi", ".mrxs", ".scn", ".tif", ".tiff", ".dcm"),
    *(".bif", ".svslide", ".vms", ".vmu", ".czi"),
)
"""Files of a folder that are taken for slides."""

ELSEWHERE: Final = " Choose another --out, or --no-resume to start again."


@dataclass(frozen=True, slots=True)
class Entry:
    """A slide to score.

    Attributes
    ----------
    path : Path
    mpp : float or None
        um per pixel of level 0, if given.
    roi : Path or None
        GeoJSON of a region on it.
    is_fallback : bool
        Whether `mpp` is for a file that states none alone.
    """

    path: Path
    mpp: float | None = None
    roi: Path | None = None
    is_fallback: bool = False

    def size(self) -> float | None:
        """The pixel size to give, None where the file's own is to be taken."""
        if self.mpp is None or not self.is_fallback:
            return self.mpp
        return self.mpp if Slide(self.path, self.mpp).claimed_mpp is None else None


Observer = Callable[[str, int, int], None]
"""Told a slide's name, its tiles done and its tiles."""


def entries(
    inputs: Iterable[Path], mpp: float | None, roi: Path | None, override: bool = False
) -> Iterator[Entry]:
    """Slides of files, folders (subfolders included) and manifests, in order.

    A manifest is a CSV file with the column ``slide``, a path from where the CSV is, and if
    wanted ``mpp`` and ``roi``. Several DICOM files of a folder may be parts of one slide,
    which counts once. One pixel size for several slides is for those that state none, unless
    it is to `override` theirs: it was given for one that was refused, and the others' scores
    would be wrong. A slide named alone, or a line of a manifest, has the size that is given.

    Raises
    ------
    CellularityError
        If a manifest cannot be used.
    """
    paths = list(inputs)
    for path in paths:
        if path.is_dir():
            yield from (Entry(found, mpp, roi, not override) for found in _in_folder(path))
        elif path.suffix.lower() == ".csv":
            yield from _in_manifest(path, mpp, roi, override)
        else:
            yield Entry(path, mpp, roi, len(paths) > 1 and not override)


def score_slides(
    slides: Iterable[Entry],
    scoring: Scoring,
    out: Path,
    *,
    resume: bool = True,
    any_stain: bool = False,
    observe: Observer | None = None,
    tell: Callable[[str], None] | None = None,
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Score slides one after another, each in a folder of its own, and write the report.

    The report is of all that the folder holds (`cohort_report.write_report`).

    Parameters
    ----------
    slides : iterable of Entry
    scoring : Scoring
    out : Path
        Made where it is missing.
    resume : bool
        Whether to keep slides and tiles that are done.
    any_stain : bool
        Whether to score slides that do not look like H&E too.
    observe, tell : callable, optional
        Told of progress; told sentences that the user must read.

    Returns
    -------
    list of dict
        Summaries, with the folder of each.
    list of (str, str)
        Slides that could not be scored, and why; they do not end the run.
    """
    say = tell or (lambda _: None)
    summaries: list[dict[str, Any]] = []
    errors: list[Failure] = []
    try:
        _score_each(slides, scoring, out, resume, any_stain, observe, say, summaries, errors)
    finally:  # what is done is in the report, whatever ended the run
        write_report(errors, scoring, out)
    return summaries, [(one.slide, one.reason) for one in errors]


def _score_each(
    slides: Iterable[Entry],
    scoring: Scoring,
    out: Path,
    resume: bool,
    any_stain: bool,
    observe: Observer | None,
    say: Callable[[str], None],
    summaries: list[dict[str, Any]],
    errors: list[Failure],
) -> None:
    """What `score_slides` does but for the report; adds to `summaries` and `errors`."""
    stems: set[str] = set()
    for entry in slides:
        name = safe_name(entry.path.name)
        stem = export.file_stem(name, stems)
        stems.add(stem.lower())

        def progress(done: int, total: int, name: str = name) -> None:
            if observe is not None:
                observe(name, done, total)

        try:
            summary = score_slide(
                entry.path,
                scoring,
                out / stem,
                mpp=entry.size(),
                roi=entry.roi,
                resume=resume,
                any_stain=any_stain,
                progress=progress,
            )
        except CellularityError as error:
            hint = ELSEWHERE if isinstance(error, SlideFolderError | SlideBusy) else ""
            errors.append(Failure(stem, name, f"{error}{hint}"))
            say(errors[-1].reason)
            continue
        for note in summary["notes"]:
            say(f"{name}: {note}")
        summaries.append({"folder": stem} | summary)


def _in_folder(folder: Path) -> Iterator[Path]:
    met: set[str] = set()
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder).parts
        if path.suffix.lower() not in ENDINGS or not path.is_file() or any(map(is_hidden, inner)):
            continue
        if path.suffix.lower() == ".dcm":
            of = series(path)
            if of in met:
                continue
            met |= {of} if of else set()
        yield path


def _in_manifest(
    path: Path, mpp: float | None, roi: Path | None, override: bool
) -> Iterator[Entry]:
    name = safe_name(path.name)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SlideError(f"{name} cannot be read as CSV ({error}); save it again.") from None
    if not rows or "slide" not in rows[0]:
        raise SlideError(
            f"{name} lists no slides; give it the column 'slide' with a path a line (and, if "
            "wanted, 'mpp' and 'roi')."
        )
    for row in rows:
        slide, size, region = ((row.get(key) or "").strip() for key in ("slide", "mpp", "roi"))
        if not slide:
            continue
        try:
            given = check_mpp(float(size), slide) if size else mpp
        except ValueError:
            raise SlideError(
                f"{name} gives {safe_name(slide)} the pixel size '{size[:40]}', which is no "
                "number; give µm per pixel, such as 0.25, or leave it empty."
            ) from None
        outline = path.parent / region if region else roi
        yield Entry(path.parent / slide, given, outline, not size and not override)
