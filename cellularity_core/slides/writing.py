"""Results of a finished slide as files."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from cellularity_core import export
from cellularity_core.conventions import INTERVAL
from cellularity_core.outputs import whole_file
from cellularity_core.slides import maps, tables
from cellularity_core.slides.pictures import Pixels, heat_picture
from cellularity_core.slides.reading import Slide
from cellularity_core.slides.region import Outlines, covered, region_checksum, region_geojson
from cellularity_core.slides.sampling import LEVEL
from cellularity_core.slides.scoring import TileResult
from cellularity_core.slides.stain import other_stain
from cellularity_core.slides.store import Store
from cellularity_core.slides.summary import NOT_HE, Area, add_up, guessed, verdict
from cellularity_core.slides.tissue import tissue_on_overview
from cellularity_core.threads import usable_cores

if TYPE_CHECKING:
    from cellularity_core.slides.run import Scoring

SUMMARY: Final = "summary.json"
REGION: Final = "region.geojson"
OVERVIEW: Final = "overview.png"
BED: Final = "Tumour bed"
"""Class of the region in its file."""

USE: Final = "Research use only."

MPP_DIFFERENCE: Final = 1.1
"""Factor between the pixel size given and the file's from which no score is relied on."""


def write(
    slide: Slide, store: Store, folder: Path, scoring: "Scoring", drawn_on: Outlines | None
) -> dict[str, Any]:
    """Write everything that a finished slide yields, the summary last.

    ``tiles.csv``, ``tiles.parquet`` and ``tiles.geojson``: tiles with scores, intervals,
    nuclei and flags. ``maps.ome.tif``: the maps of `maps.maps_of`. ``heat-METHOD.png`` and
    ``width-METHOD.png``: score and width of its interval over the slide. ``region.geojson``:
    the region as it was taken, where there is one. ``summary.json``:
    means over the tissue and the region, with the limits of their `sampling.LEVEL` intervals.

    Returns
    -------
    dict
        The summary.
    """
    about = described(scoring)
    region = None if drawn_on is None else drawn_on.region
    whole, inside = add_up(store.results(), slide.mpp, region)
    wrong = verdict(whole)
    size = contradiction(slide)

    def results() -> Iterator[tuple[TileResult, float | None]]:
        for result in store.results():
            yield result, None if region is None else next(covered(region, [result.tile]))

    named = {"slide": slide.name} | about
    judged = about | {"reliable": reliability(whole, inside, slide)}
    names = tables.columns(scoring.methods, named)
    with whole_file(folder / "tiles.csv") as file:
        tables.write_csv(file, tables.rows(results(), named), names)
    with whole_file(folder / "tiles.parquet") as file:
        tables.write_parquet(file, tables.rows(results(), named), names)
    with whole_file(folder / "tiles.geojson") as file:
        tables.write_geojson(file, results(), named | judged)
    (folder / REGION).unlink(missing_ok=True)  # of another run
    if region is not None:
        with whole_file(folder / REGION) as file:
            file.write(region_geojson(region, BED, slide.name).encode())
    drawn = maps.maps_of(store.results(), slide.grid.shape, scoring.methods)
    with whole_file(folder / "maps.ome.tif") as file:
        maps.write_ome_tiff(file, drawn, slide.tile_um, slide.name, map_note(judged))
    _draw(slide, drawn, folder, scoring.methods, about, wrong or size)
    said = notes(whole, inside, scoring.methods, size)
    if drawn_on is not None:
        said += drawn_on.notes(slide.name)
    if wrong != NOT_HE and (other := other_stain(store)):
        said.append(f"This slide was scored on request, although {other}.")
    shared = {method: scoring.model_set.interval(method).shared for method in scoring.methods}
    summary = about | {
        "interval": INTERVAL,
        "mean_interval": LEVEL,
        "slide": {
            "name": slide.name,
            "sha256": store.fact("slide"),
            "width": slide.width,
            "height": slide.height,
            "mpp": round(slide.mpp, export.DECIMALS),
            "mpp_source": slide.mpp_source,
        },
        "tile_um": round(slide.tile_um, export.DECIMALS),
        "tile_mpp": round(slide.tile_mpp, export.DECIMALS),
        "reliable": wrong is None and size is None and (inside is None or verdict(inside) is None),
        "notes": said,
        "tissue": whole.record(scoring.methods, shared),
        "region": None
        if inside is None or drawn_on is None
        else inside.record(scoring.methods, shared) | _outline(drawn_on, slide),
    }
    with whole_file(folder / SUMMARY) as file:
        file.write(export.json_text(summary).encode())
    return summary


def _outline(drawn: Outlines, slide: Slide) -> dict[str, str | int | float]:
    """Which outline a region is, so that anyone can tell later."""
    return {
        "sha256": region_checksum(drawn.region),
        "file": drawn.file,
        "outlines": drawn.count,
        "class": drawn.kind,
        "outline_mm2": round(drawn.region.area * slide.mpp**2 / 1e6, 6),
    }


def map_note(judged: Mapping[str, str | int]) -> str:
    """What a map that travels alone says of its scores, and whether to rely on them."""
    return (
        f"Scale: {judged['scale']}. Model set {judged['model_set']}. {judged['use']} "
        f"Reliable: {judged['reliable']}"
    )


def contradiction(slide: Slide) -> str | None:
    """One sentence if the pixel size given is not that of the file; None if it is."""
    claimed = slide.claimed_mpp
    if claimed is None or 1 / MPP_DIFFERENCE < slide.mpp / claimed < MPP_DIFFERENCE:
        return None
    return (
        f"The file says {claimed:g} µm/px and {slide.mpp:g} was given; one of them is wrong, so "
        "nothing here can be relied on."
    )


def reliability(whole: Area, inside: Area | None, slide: Slide | None = None) -> str:
    """Whether scores of a slide and of a region on it can be relied on; why not, where not."""
    if wrong := verdict(whole) or (slide and contradiction(slide)):
        return f"NO. {wrong}"
    if inside is None or (there := verdict(inside)) is None:
        return "yes"
    return f"NO. In the region: {there}" if inside.tissue_um2 else "NO. The region has no tissue."


def described(scoring: "Scoring") -> dict[str, str | int]:
    """What every file says of its scores."""
    return {
        "software": export.SOFTWARE,
        "model_set": scoring.model_set.name,
        "model_sha256": scoring.model_set.sha256,
        "scale": scoring.model_set.scale,
        "precision": scoring.precision,
        "views": scoring.views,
        "use": USE,
    }


def _draw(
    slide: Slide,
    drawn: Mapping[str, maps.Map],
    folder: Path,
    methods: Sequence[str],
    about: Mapping[str, str | int],
    wrong: str | None,
) -> None:
    with Image.open(folder / OVERVIEW) as image:
        overview = np.asarray(image.convert("RGB"))
    tissue = tissue_on_overview(overview)

    def draw(kind: Literal["heat", "width"], method: str) -> None:
        png = map_picture(slide, drawn, overview, tissue, kind, method, about, wrong)
        with whole_file(folder / f"{kind}-{method}.png") as file:
            file.write(png)

    # Most of the time is compression, which several threads can do at once.
    with ThreadPoolExecutor(usable_cores()) as pool:
        list(pool.map(draw, *zip(*product(("heat", "width"), methods), strict=True)))


def map_picture(
    slide: Slide,
    drawn: Mapping[str, maps.Map],
    overview: Pixels,
    tissue: npt.NDArray[np.bool_],
    kind: Literal["heat", "width"],
    method: str,
    about: Mapping[str, str | int],
    wrong: str | None,
) -> bytes:
    """A method's scores, or the widths of their intervals, over the slide, as a PNG.

    Parameters
    ----------
    drawn : mapping
        As `maps.maps_of` gives it.
    overview : uint8 array, shape (h, w, 3)
        The slide at low power.
    tissue : bool array, shape (h, w)
        Where the overview shows tissue.
    about : mapping
        As `described` gives it.
    wrong : str or None
        Why the scores are not to be relied on, which then stands first in the legend.
    """
    lines = (
        *([wrong] if wrong else []),
        slide.name,
        f"Tiles of {slide.tile_um:.0f} µm, smoothed",
        f"Scale: {about['scale']}",
        f"Model set {about['model_set']}",
        USE,
    )
    name, title = (
        (method, f"Cellularity, {method}")
        if kind == "heat"
        else (maps.width_name(method), f"Width of the 90 % interval, {method}")
    )
    return export.png(
        heat_picture(overview, tissue, drawn[name], drawn["fit"], slide.grid.cells, title, lines)
    )


def notes(
    whole: Area,
    inside: Area | None,
    methods: Sequence[str],
    size: str | None = None,
    region: str = "region",
) -> list[str]:
    """Sentences that the user must read; that on the whole slide, if there is one, first.

    Parameters
    ----------
    whole, inside : Area
        The slide, and what of it lies in the region, where there is one.
    methods : sequence of str
        Whose means are shown.
    size : str, optional
        What `contradiction` says.
    region : str
        What the region is called.
    """
    areas = {"tissue": whole, region: inside}
    wrong = verdict(whole)
    said = [sentence for sentence in (wrong, size) if sentence]
    if inside is not None and inside.fit_um2 == 0:
        said.append(f"There is no tissue fit to score in the {region}, so it has no mean.")
    elif inside is not None and wrong is None and (there := verdict(inside)):
        said.append(f"In the {region}: {there}")
    said += [
        f"{name.capitalize()}: {sentence}"
        for name, area in areas.items()
        if area is not None and (sentence := guessed(area))
    ]
    said += [
        f"Too few tiles of the {name} are fit to score to tell how far its mean may be off, so it "
        "has no interval."
        for name, area in areas.items()
        if area is not None
        and any(area.mean(m) is not None and area.interval(m) is None for m in methods)
    ]
    return said
