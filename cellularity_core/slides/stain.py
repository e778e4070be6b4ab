"""Is this slide H&E? Told from a few of its tiles, before the hours of scoring."""

from typing import Final

from cellularity_core import quality
from cellularity_core.masks import tissue_mask
from cellularity_core.slides.reading import Slide
from cellularity_core.slides.scoring import TileResult
from cellularity_core.slides.store import Store
from cellularity_core.slides.summary import Area, has_other_stain, is_other_stain

LOOKED_AT: Final = 24
"""Tiles that are looked at, about a second in all."""

_FACT: Final = "other stain"


def look_at_stain(slide: Slide, store: Store) -> None:
    """Look at some tiles that are to be scored, evenly spaced, and note in `store` what is seen.

    It is done once, and judged by the rule for the finished slide.

    Raises
    ------
    SlideError
        If a tile cannot be read.
    """
    if store.fact(_FACT) is not None:
        return
    tiles = store.waiting()
    count = min(LOOKED_AT, len(tiles))
    area, other = Area(), 0
    for k in range(count):
        tile = tiles[(2 * k + 1) * len(tiles) // (2 * count)]
        patch = slide.patch(tile)
        tissue = float(tissue_mask(patch.pixels, patch.mpp).mean())
        found = quality.assess(patch)
        area.add(TileResult(tile, tissue, {}, {}, found), slide.mpp)
        other += "no-tissue" not in found.flags and has_other_stain(found)
    words = (
        f"{other} of {area.tiles} tiles looked at do not have the colours of haematoxylin and "
        "eosin (an immunostain, fluorescence or grey?)"
    )
    store.note(_FACT, words if is_other_stain(area) else "")


def other_stain(store: Store) -> str:
    """Half a sentence on what speaks against H&E; empty where nothing does."""
    return store.fact(_FACT) or ""
