"""Erasing a patient on request, without breaking the audit chain.

The chain holds hashes of content, so content may go. Scores stay: they are about
nobody once the pseudonym, the pixels and the file names are gone.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Engine, func, select, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from db import audit
from db.errors import RecordError
from db.schema import (
    Amendment,
    AuditContent,
    AuditEvent,
    Case,
    Consensus,
    Image,
    ModelScore,
    Patch,
    Reading,
    Sight,
    Study,
)
from db.session import place

ERASED: Final = "erased"
_CHUNK: Final = 200


@dataclass(frozen=True, slots=True)
class ErasureRecord:
    """How much is erased: cases, images, and contents of audit events.

    `studies` are the names of the studies these cases are in, in order of creation.
    """

    cases: int
    images: int
    events: int
    studies: tuple[str, ...]


def to_erase(session: Session, *, patient: str, study_id: int | None = None) -> ErasureRecord:
    """What `erase_patient` would erase; nothing is changed.

    Raises
    ------
    RecordError
        If no case has this pseudonym.
    """
    cases, patch_ids = _cases_of(session, patient, study_id)
    return _counted(session, cases, patch_ids, _events_about(session, cases, patch_ids))


def erase_patient(
    session: Session, *, patient: str, study_id: int | None = None, actor: str, why: str
) -> ErasureRecord:
    """Erase pixels, file names, perceptual hashes, pseudonym and audit content of a patient.

    Scores, case codes and checksums of pixels stay. Call `scrub` after the commit, so
    that the bytes leave the disk too. Back-ups made before hold them still.

    Parameters
    ----------
    patient : str
        Pseudonym.
    study_id : int, optional
        Only in this study: pseudonyms of two studies may coincide.
    actor, why : str
        Who does it, and the request it answers. Name no patient in it: it stays.

    Raises
    ------
    RecordError
        If no case has this pseudonym, no reason is given, or it holds the pseudonym.
    """
    reason = " ".join(why.split())
    if not reason:
        raise RecordError("An erasure needs its reason, e.g. the date of the request.")
    if re.search(rf"(?<!\w){re.escape(patient)}(?!\w)", reason, re.IGNORECASE):
        raise RecordError(
            f"The reason “{reason}” holds the pseudonym, and a reason stays. "
            "Say which request it is without it, e.g. “letter of May”."
        )
    cases, patch_ids = _cases_of(session, patient, study_id)
    about = _events_about(session, cases, patch_ids)
    done = _counted(session, cases, patch_ids, about)
    for patch_id in patch_ids:
        patch = session.get_one(Patch, patch_id)
        patch.name, patch.phash, patch.turned = f"{ERASED} {patch_id}", None, None
        audit.record(session, actor=actor, action="erase", entity=patch, new=ERASED)
        image = session.get(Image, patch_id)
        if image is not None:
            session.delete(image)
            session.flush()
            audit.append(
                session,
                actor=actor,
                action="erase",
                entity="image",
                entity_id=patch_id,
                content={"old": None, "new": ERASED},
                row=None,
            )
    for sight in _sights_of(session, patch_ids):
        sight.turned = None
        audit.record(session, actor=actor, action="erase", entity=sight, new=ERASED)
    for case in cases:
        case.patient = None
        audit.record(session, actor=actor, action="erase", entity=case, new=ERASED)
    for start in range(0, len(about), _CHUNK):
        session.execute(
            update(AuditContent)
            .where(AuditContent.sequence.in_(about[start : start + _CHUNK]))
            .values(salt=None, content=None)
        )
    audit.append(
        session,
        actor=actor,
        action="erase",
        entity=audit.ERASURE,
        entity_id=0,
        content={"old": None, "new": {"why": reason, "events": about}},
        row=None,
    )
    return done


def _cases_of(
    session: Session, patient: str, study_id: int | None
) -> tuple[Sequence[Case], list[int]]:
    """Cases of a patient and the ids of their patches, in order.

    Another study may know the same pixels under another pseudonym: its cases are among them.
    """
    query = select(Case).where(Case.patient == patient)
    if study_id is not None:
        query = query.where(Case.study_id == study_id)
    patch_ids = sorted({case.patch_id for case in session.scalars(query)})
    if not patch_ids:
        where = "any study" if study_id is None else f"study {study_id}"
        raise RecordError(
            f"No case of {where} has the pseudonym “{patient}”. Look it up among the cases."
        )
    same = select(Case).where(Case.patch_id.in_(patch_ids)).order_by(Case.id)
    return session.scalars(same).all(), patch_ids


def _sights_of(session: Session, patch_ids: list[int]) -> Sequence[Sight]:
    """Notes that the models' scores of these patches were seen."""
    pixels = select(Patch.sha256).where(Patch.id.in_(patch_ids))
    return session.scalars(select(Sight).where(Sight.sha256.in_(pixels)).order_by(Sight.id)).all()


def _counted(
    session: Session, cases: Sequence[Case], patch_ids: list[int], about: list[int]
) -> ErasureRecord:
    images = select(func.count()).select_from(Image).where(Image.patch_id.in_(patch_ids))
    names = select(Study.name).where(Study.id.in_({case.study_id for case in cases}))
    return ErasureRecord(
        cases=len(cases),
        images=session.scalar(images) or 0,
        events=len(about),
        studies=tuple(session.scalars(names.order_by(Study.id))),
    )


def _events_about(session: Session, cases: Sequence[Case], patch_ids: list[int]) -> list[int]:
    """Numbers of the events that tell of these cases and patches, not erased yet."""
    case_ids = [case.id for case in cases]
    readings = session.scalars(select(Reading.id).where(Reading.patch_id.in_(patch_ids))).all()
    rows: dict[str, list[int]] = defaultdict(list)
    rows["case"] = case_ids
    rows["patch"] = rows["image"] = patch_ids
    rows["reading"] = list(readings)
    rows["sight"] = [sight.id for sight in _sights_of(session, patch_ids)]
    for entity, condition in (
        (Amendment, Amendment.reading_id.in_(readings)),
        (ModelScore, ModelScore.patch_id.in_(patch_ids)),
        (Consensus, Consensus.case_id.in_(case_ids)),
    ):
        rows[entity.__tablename__] = list(session.scalars(select(entity.id).where(condition)))
    found: set[int] = set()
    for name, ids in rows.items():
        for start in range(0, len(ids), _CHUNK):
            query = (
                select(AuditEvent.sequence)
                .join(AuditContent, AuditContent.sequence == AuditEvent.sequence)
                .where(
                    AuditEvent.entity == name,
                    AuditEvent.entity_id.in_(ids[start : start + _CHUNK]),
                    AuditContent.salt.is_not(None),
                )
            )
            found.update(session.scalars(query))
    return sorted(found)


def scrub(engine: Engine) -> None:
    """Have the bytes of what was erased leave the database's files.

    Raises
    ------
    RecordError
        If the database is in use at this moment.
    """
    try:
        if engine.dialect.name == "postgresql":
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                for table in ("patch", "image", '"case"', "sight", "audit_content"):
                    connection.execute(text(f"VACUUM FULL {table}"))
            return
        raw = engine.raw_connection()
        try:
            cursor = raw.cursor()
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            [busy, *_] = cursor.fetchone() or (1,)
            cursor.close()
        finally:
            raw.close()
    except SQLAlchemyError as error:
        raise _unscrubbed(engine, str(error).splitlines()[0]) from error
    if busy:
        raise _unscrubbed(engine, "they are being read")


def _unscrubbed(engine: Engine, detail: str) -> RecordError:
    return RecordError(
        f"Erased bytes cannot leave the records at {place(engine.url)} yet ({detail}). "
        "Try again in a moment."
    )
