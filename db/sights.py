"""What readers saw of the models outside studies: a note for each reader and patch.

A read of the same tissue in a study later is not blind then (`db.blinding.has_met_models`).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from db import audit, look_alikes, readers
from db.look_alikes import Mark
from db.schema import Reader, Sight

_CHUNK: Final = 500
_HASH: Final = 16  # digits of the hash of a patch as given, which comes first


def unnoted(session: Session, *, reader: str, sha256s: Collection[str]) -> set[str]:
    """Those of the patches, by checksum, of which no sight by this reader is noted."""
    person = readers.by_name(session, reader)
    wanted = set(sha256s)
    return wanted if person is None else wanted - _noted(session, person, wanted)


def note_sights(session: Session, *, reader: str, seen: Mapping[str, Sequence[str]]) -> None:
    """Note that the models' scores of patches are put before a reader's eyes, once for each.

    Parameters
    ----------
    reader : str
        Name; enrolled if new.
    seen : mapping of str to sequence of str
        Perceptual hashes in 8 orientations, as given first, by checksum of the pixels.

    Raises
    ------
    RecordError
        If the name is empty or too long.
    """
    person = readers.enrolled(session, reader)
    new = sorted(seen.keys() - _noted(session, person, seen))
    if new:
        rows = [
            {"reader_id": person.id, "sha256": one, "turned": " ".join(seen[one]) or None}
            for one in new
        ]
        session.execute(insert(Sight), rows)  # their numbers are not asked for one by one
        made = _rows(session, person, new)
        audit.record_all(session, actor=person.name, action="see", entities=made)


def has_seen(session: Session, person: Reader, patches: Sequence[Mark]) -> bool:
    """Whether this reader saw the models' scores of one of the patches, or of its tissue."""
    known_turned = all(len(patch.turned) > 1 for patch in patches)
    hashes = func.substr(Sight.turned, 1, _HASH) if known_turned else Sight.turned
    query = select(Sight.sha256, hashes).where(Sight.reader_id == person.id)
    seen = [look_alikes.mark(sha256, "", None, some) for sha256, some in session.execute(query)]
    return look_alikes.first_alike(patches, seen, look_alikes.SAME_BITS) is not None


def _noted(session: Session, person: Reader, sha256s: Collection[str]) -> set[str]:
    return {sight.sha256 for sight in _rows(session, person, sha256s)}


def _rows(session: Session, person: Reader, sha256s: Collection[str]) -> list[Sight]:
    wanted, found = sorted(sha256s), list[Sight]()
    for start in range(0, len(wanted), _CHUNK):
        query = select(Sight).where(
            Sight.reader_id == person.id, Sight.sha256.in_(wanted[start : start + _CHUNK])
        )
        found += session.scalars(query.order_by(Sight.id))
    return found
