"""The cellularity of a tumour bed, from summaries of slides, for the Residual Cancer Burden."""

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import mul
from pathlib import Path
from typing import Any, Final

from cellularity_core.archive import safe_name
from cellularity_core.conventions import COMBINED, WEAK_SCALE
from cellularity_core.errors import SlideError, readable
from cellularity_core.slides.summary import HALVES, MeanError

NOT_OF_A_READER: Final = (
    f"are on the scale {WEAK_SCALE}, which is no pathologist's, so they cannot enter the Residual "
    "Cancer Burden; make a reader's scale with `cellularity recalibrate` and score the slide "
    "with that model set."
)

LARGEST: Final = 1e6
"""mm2 of tissue, which no slide has."""

Limits = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Source:
    """Where the cellularity of a slide's bed comes from; None for what its summary lacks.

    Attributes
    ----------
    slide, slide_sha256 : str or None
    model_set, model_sha256, scale, method : str or None
    region_file, region_sha256 : str or None
        Of the outline; the file is ``region.geojson`` beside the summary.
    region_mm2 : float or None
        Within the outline, tissue or not.
    software : str or None
        Name and version of what scored the slide.
    notes : tuple of str
        What the user must read of the slide's scores, although they can be relied on.
    """

    slide: str | None
    slide_sha256: str | None
    model_set: str | None
    model_sha256: str | None
    scale: str | None
    method: str
    region_file: str | None
    region_sha256: str | None
    region_mm2: float | None
    software: str | None
    notes: tuple[str, ...] = ()

    def sentence(self) -> str:
        """All of it, for a person to check."""

        def short(checksum: str | None) -> str:
            return "unknown" if checksum is None else checksum[:12]

        size = "" if self.region_mm2 is None else f", {self.region_mm2:.2f} mm2"
        return readable(
            f"Cellularity from {self.slide or 'a slide'} (checksum {short(self.slide_sha256)}), "
            f"within {self.region_file or 'its region'} (checksum {short(self.region_sha256)}"
            f"{size}): {self.method}, model set {self.model_set or 'unnamed'} "
            f"({short(self.model_sha256)}), scale {self.scale}, by {self.software or 'unknown'}."
        )


@dataclass(frozen=True, slots=True)
class BedCellularity:
    """Mean cellularity of a tumour bed.

    Attributes
    ----------
    mean : float
        Per cent.
    limits : (float, float)
        Of its 95 % interval, per cent.
    sources : tuple of Source
        One a slide.
    """

    mean: float
    limits: Limits
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class _Bed:
    """The region of one slide: tissue in mm2, mean and its error 0 to 1."""

    name: str
    slide: str
    models: str
    source: Source
    tissue: float
    mean: float
    error: MeanError


def bed_cellularity(paths: Sequence[Path], method: str | None = None) -> BedCellularity:
    """Mean cellularity over the regions of summaries, per cent, and its 95 % interval.

    Slides count by the area of tissue in their regions. The models' errors add up, as where
    they err on all slides of a patient alike, so that the interval is rather too wide than
    too narrow; those for tiles without a score have nothing to do with each other.

    Parameters
    ----------
    paths : sequence of Path
        ``summary.json`` of `cellularity slide` with a region, one a slide of the case.
    method : str, optional
        Whose scores; the combined one by default.

    Returns
    -------
    BedCellularity

    Raises
    ------
    SlideError
        If one is no such file; if its scores are on no reader's scale, or not to be relied
        on; if it has no region, or no mean of this method over it with an interval; if slides
        are of several model sets, or one is given twice.
    """
    beds = [_bed(path, method or COMBINED) for path in paths]
    first = beds[0]
    for k, bed in enumerate(beds):
        if bed.models != first.models:
            raise SlideError(
                f"{first.name} and {bed.name} are not by the same model set, so they have no mean; "
                "score all slides of the case with one."
            )
        if bed.slide in (other.slide for other in beds[:k]):
            raise SlideError(f"{bed.name} is of a slide that is given already; give each once.")
    tissue = sum(bed.tissue for bed in beds)
    shares = [bed.tissue / tissue for bed in beds]

    def added(parts: Iterable[float]) -> float:
        return math.fsum(map(mul, shares, parts))

    mean = added(bed.mean for bed in beds)
    low, high = MeanError(
        math.hypot(*map(mul, shares, (bed.error.sampled for bed in beds))),
        added(bed.error.below for bed in beds),
        added(bed.error.above for bed in beds),
    ).around(mean)
    sources = tuple(bed.source for bed in beds)
    return BedCellularity(100 * mean, (100 * low, 100 * high), sources)


def _bed(path: Path, method: str) -> _Bed:
    # all are called summary.json; the folder tells which
    name = safe_name(f"{path.parent.name}/{path.name}")
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        scale, reliable = summary["scale"], summary["reliable"]
        slide, models = summary["slide"]["sha256"], summary["model_sha256"]
        notes, region = " ".join(summary["notes"]), summary["region"]
        found = None if region is None else {str(m): _told(region, m) for m in region["mean"]}
        tissue = math.nan if region is None else float(region["tissue_mm2"])
        source = _source(summary, method)
    except OSError as error:
        raise SlideError(f"{name} cannot be read ({error.strerror}); check its path.") from None
    except (ValueError, TypeError, KeyError, OverflowError, AttributeError) as error:
        raise SlideError(
            f"{name} is no summary of a slide ({type(error).__name__}: {error}); give the "
            "summary.json of `cellularity slide`."
        ) from None
    if scale == WEAK_SCALE:
        raise SlideError(f"The scores in {name} {NOT_OF_A_READER}")
    if not reliable:
        raise SlideError(
            f"The scores in {name} cannot be relied on ({notes.rstrip('. ')}); type a cellularity "
            "that a pathologist has read, with --ca."
        )
    if found is None:
        raise SlideError(
            f"{name} has no region, and the mean over all tissue is not that of the tumour bed; "
            "run `cellularity slide` with --roi."
        )
    if method not in found:
        raise SlideError(
            f"{name} has no scores by '{method}', but by {', '.join(found)}; name one with "
            "--method."
        )
    mean, off = found[method]
    if mean is None:
        raise SlideError(f"No tissue is fit to score in the region of {name}, so it has no mean.")
    if off is None:
        raise SlideError(
            f"Too few tiles are fit to score in the region of {name} to tell how far its mean may "
            "be off; type a cellularity that a pathologist has read, with --ca."
        )
    return _Bed(name, slide, models, source, tissue, mean, off)


def _source(summary: Mapping[str, Any], method: str) -> Source:
    """What a summary says of itself; older ones say less."""
    slide, region = summary["slide"], summary["region"] or {}

    def text(value: Any) -> str | None:
        return None if value is None else str(value)

    size = region.get("outline_mm2")
    return Source(
        slide=text(slide.get("name")),
        slide_sha256=text(slide["sha256"]),
        model_set=text(summary.get("model_set")),
        model_sha256=text(summary["model_sha256"]),
        scale=text(summary["scale"]),
        method=method,
        region_file=text(region.get("file")),
        region_sha256=text(region.get("sha256")),
        region_mm2=None if size is None else float(size),
        software=text(summary.get("software")),
        notes=tuple(readable(str(note)) for note in summary["notes"]),
    )


def _told(region: Mapping[str, Any], method: str) -> tuple[float | None, MeanError | None]:
    """Mean of a method and its error, 0 to 1, or None where there is none."""
    given = [region[end][method] for end in ("mean", "low", "high")]
    ends = [None if end is None else float(end) for end in given]
    mean, low, high = ends
    known = [0.0, *(end for end in (low, mean, high) if end is not None), 1.0]
    in_order = all(a <= b for a, b in itertools.pairwise(known))
    if not in_order or (mean is not None and not 0 < float(region["tissue_mm2"]) < LARGEST):
        raise ValueError(f"{method} has the mean {ends[0]} and the limits {ends[1:]}")
    if mean is None or low is None or high is None:
        return mean, None
    if HALVES[0] not in region:  # of an earlier version: all of it is taken for the models'
        return mean, MeanError(0.0, mean - low, high - mean)
    halves = [float(region[name][method]) for name in HALVES]
    if not all(0 <= half < math.inf for half in halves):
        raise ValueError(f"{method} has the half widths {halves}")
    return mean, MeanError(*halves)
