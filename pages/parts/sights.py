"""What a reader sees of the models is noted before it is drawn.

A read of the same tissue in a study later counts as given after the models then: by the
same pixels, or resized, turned or saved anew. A part cut out of what was seen is not known
again, as no pixels are kept.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from cellularity_core.fingerprint import turned_fingerprints
from cellularity_core.notes import SYNTHETIC
from cellularity_core.patch import Patch
from db import records
from db.errors import RecordError
from db.session import snapshot, transaction
from pages.parts.parking import let_go
from pages.parts.state import Case
from pages.parts.store import store


def show_to(case: Case, patches: Iterable[Patch], reader: str) -> None:
    """Note that the models' scores of these patches are put before a reader's eyes now.

    Once for each reader and patch; nothing is asked or written where this session knows that
    it is noted. Patches that the demo drew are not. What was on screen before anybody was
    named is noted for who is named next.

    Parameters
    ----------
    case : Case
    patches : iterable of Patch
        What will be shown; its pixels are looked at where it is new to the records.
    reader : str
        Name, "" if nobody said.

    Raises
    ------
    RecordError
        If the records cannot keep it: then nothing may be shown.
    """
    patches = list(patches)
    real = {p.sha256: partial(_turned, p) for p in patches if SYNTHETIC not in p.notes}
    if reader:
        _note(case, real, reader)
    else:
        new = real.keys() - case.unnamed.keys()
        case.unnamed.update({sha256: real[sha256]() for sha256 in new})
    case.shown.update(patch.sha256 for patch in patches)


def show_kept_to(case: Case, sha256: str, reader: str) -> None:
    """The same of a patch that the records know, by its checksum.

    Raises
    ------
    RecordError
        If the records cannot keep it: then nothing may be shown.
    """
    _note(case, {sha256: partial(_known, sha256)}, reader)
    case.shown.add(sha256)


def name_reader(case: Case, reader: str) -> None:
    """Note for `reader` what this session had on screen before anybody was named.

    Raises
    ------
    RecordError
        If the records cannot keep it.
    """
    if case.unnamed:
        _note(case, {}, reader)


def _note(case: Case, hashes: Mapping[str, Callable[[], Sequence[str]]], reader: str) -> None:
    wanted = {sha256 for sha256 in hashes if (reader, sha256) not in case.noted}
    wanted |= case.unnamed.keys()
    if not wanted:
        return
    try:
        with snapshot(store()) as db:
            new = records.unnoted(db, reader=reader, sha256s=wanted)
        if new:
            seen = {s: case.unnamed.get(s) or hashes[s]() for s in sorted(new)}
            with transaction(store()) as db:
                records.note_sights(db, reader=reader, seen=seen)
    except RecordError as error:
        raise RecordError(
            "The models' scores stay hidden: the records could not keep that you see them, and a "
            f"later score of yours in a study would pass for blind. {error}"
        ) from error
    case.noted.update((reader, sha256) for sha256 in wanted)
    case.unnamed.clear()


def _turned(patch: Patch) -> tuple[str, ...]:
    turned = turned_fingerprints(patch.pixels)
    let_go(patch.pixels)
    return turned


def _known(sha256: str) -> tuple[str, ...]:
    with snapshot(store()) as db:
        return records.perceptual_hashes(db, sha256=sha256)
