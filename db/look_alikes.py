"""Patches that show the same tissue in other pixels, by their perceptual hashes.

The science side makes the hashes; here they are only compared, in all 8 orientations.
Measured on 124 patches of two data sets: turned and saved as JPEG, resized, brightened,
blurred or noisy they differ in at most 8 of 64 bits. Of 11 million pairs of other tissue
(crops of 80 pixels) 18 in a million differ in at most 12 bits, and 2 in ten million in at
most 8, blank glass aside.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from db.schema import Patch

NEAR_BITS: Final = 12
"""For one patch against those of a study, where a false alarm costs one patch."""

SAME_BITS: Final = 8
"""For many against many: 12 would find chance pairs in most two studies of 300 patches."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a patch is known again by.

    Attributes
    ----------
    sha256, name : str
        Of the patch.
    turned : tuple of int
        Perceptual hashes in all orientations that are known, as given first; empty where
        none is kept or they were erased.
    """

    sha256: str
    name: str
    turned: tuple[int, ...] = ()


def mark(sha256: str, name: str, phash: str | None, turned: str | None = None) -> Mark:
    """What a patch is known again by, of what the records keep of it."""
    return Mark(sha256, name, tuple(int(one, 16) for one in (turned or phash or "").split()))


def marks(session: Session, chosen: Select[Any]) -> list[Mark]:
    """Marks of the patches whose numbers a query gives, by number."""
    query = select(Patch.sha256, Patch.name, Patch.phash, Patch.turned)
    found = session.execute(query.where(Patch.id.in_(chosen)).order_by(Patch.id))
    return [mark(*row) for row in found]


def first_alike(
    some: Iterable[Mark], others: Sequence[Mark], bits: int
) -> tuple[Mark, Mark] | None:
    """The first pair that shows the same tissue, turned or flipped perhaps; or None.

    The same pixels are the same tissue; else hashes that differ in at most `bits` of 64.
    """
    some = list(some)
    pixels = {other.sha256: other for other in others}
    same = next(((one, pixels[one.sha256]) for one in some if one.sha256 in pixels), None)
    if same is not None:
        return same
    pairs = ((one, other) for one in some for other in others)
    return next((pair for pair in pairs if _alike(*pair, bits)), None)


def _alike(one: Mark, other: Mark, bits: int) -> bool:
    """To turn either of two is enough; a patch of an earlier version is known as given only."""
    if not one.turned or not other.turned:
        return False
    turned, [given, *_] = (
        (one.turned, other.turned) if len(one.turned) > 1 else (other.turned, one.turned)
    )
    return any((hash_ ^ given).bit_count() <= bits for hash_ in turned)
