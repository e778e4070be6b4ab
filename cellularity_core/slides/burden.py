"""The cellularity of a tumour bed, from a slide's summary, for the Residual Cancer Burden."""

import json
from pathlib import Path
from typing import Final

from cellularity_core.archive import safe_name
from cellularity_core.conventions import COMBINED, WEAK_SCALE
from cellularity_core.errors import SlideError

NOT_OF_A_READER: Final = (
    f"are on the scale {WEAK_SCALE}, which is no pathologist's, so they cannot enter the Residual "
    "Cancer Burden; make a reader's scale with `cellularity recalibrate` and score the slide "
    "with that model set."
)

Limits = tuple[float, float]


def bed_cellularity(path: Path, method: str | None = None) -> tuple[float, Limits | None]:
    """Mean cellularity over the region of a summary, per cent, and its 95 % interval.

    Parameters
    ----------
    path : Path
        ``summary.json`` of `cellularity slide` with a region.
    method : str, optional
        Whose scores; the combined one by default.

    Returns
    -------
    (float, (float, float) or None)
        No limits where too few tiles were scored to tell.

    Raises
    ------
    SlideError
        If it is no such file; if its scores are on no reader's scale, or not to be relied
        on; if it has no region, or no mean of this method over it.
    """
    name, chosen = safe_name(path.name), method or COMBINED
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        scale, reliable = summary["scale"], summary["reliable"]
        notes, region = " ".join(summary["notes"]), summary["region"]
        ends = region and [region[end] for end in ("mean", "low", "high")]
    except OSError as error:
        raise SlideError(f"{name} cannot be read ({error.strerror}); check its path.") from None
    except (ValueError, TypeError, KeyError) as error:
        raise SlideError(
            f"{name} is no summary of a slide ({type(error).__name__}: {error}); give the "
            "summary.json of `cellularity slide`."
        ) from None
    if scale == WEAK_SCALE:
        raise SlideError(f"The scores in {name} {NOT_OF_A_READER}")
    if not reliable:
        raise SlideError(f"The scores in {name} cannot be relied on: {notes}")
    if ends is None:
        raise SlideError(
            f"{name} has no region, and the mean over all tissue is not that of the tumour bed; "
            "run `cellularity slide` with --roi."
        )
    if chosen not in ends[0]:
        raise SlideError(
            f"{name} has no scores by '{chosen}', but by {', '.join(ends[0])}; name one with "
            "--method."
        )
    mean, low, high = (end[chosen] for end in ends)
    if mean is None:
        raise SlideError(f"No tissue is fit to score in the region of {name}, so it has no mean.")
    return 100 * mean, None if low is None or high is None else (100 * low, 100 * high)
