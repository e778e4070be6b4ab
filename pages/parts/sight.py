"""Which patches of a session may be scored by the models and shown with their output.

The one way through, for every page that shows what the models say of the session's patches.
"""

from dataclasses import dataclass

from cellularity_core.patch import Patch
from db.records import ReadingRecord
from pages.parts.intake import is_waiting
from pages.parts.locks import locked_patches
from pages.parts.reader import Reader, is_hidden, own_readings
from pages.parts.state import Case


@dataclass(frozen=True, slots=True)
class Sight:
    """What the reader of this session may have.

    Attributes
    ----------
    own : dict of str to list of ReadingRecord
        This reader's scores, by checksum of the patch, oldest first.
    locked : set of str
        Checksums of patches in an open study of theirs.
    open : list of Patch
        Patches that the models may score, with what they say shown.
    """

    own: dict[str, list[ReadingRecord]]
    locked: set[str]
    open: list[Patch]


def in_sight(case: Case, reader: Reader) -> Sight:
    """What may be scored and shown now; results of locked patches are dropped."""
    own = own_readings(reader, list(case.patches))
    locked = locked_patches(case, reader.name)
    case.withhold(locked)
    open_ = [
        patch
        for patch in case.patches.values()
        if not is_waiting(patch)
        and patch.sha256 not in locked
        and not is_hidden(case, patch, reader, own)
    ]
    return Sight(own, locked, open_)
