"""Patches and the pixels that studies show."""

import math
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import audit
from db.errors import RecordError
from db.schema import Image, Patch


def find(session: Session, sha256: str) -> Patch | None:
    """Row of the patch with that checksum of its pixels, or None."""
    return session.scalars(select(Patch).where(Patch.sha256 == sha256)).one_or_none()


def pixel_size(mpp: float) -> float:
    """um/px as it is kept: in 6 significant digits, so that two files of one size agree.

    Raises
    ------
    RecordError
        If it is not above 0.
    """
    if not (math.isfinite(mpp) and mpp > 0):
        raise RecordError(f"A pixel size of {mpp} µm cannot be kept; give one above 0.")
    return float(f"{mpp:.6g}")


def remembered(
    session: Session,
    *,
    sha256: str,
    name: str,
    width: int,
    height: int,
    mpp: float,
    actor: str,
    phash: str | None = None,
    turned: Sequence[str] = (),
) -> Patch:
    """Row of that patch, made if there is none; name and um/px stay as first given."""
    patch = find(session, sha256)
    hashes = {"phash": phash, "turned": " ".join(turned) or None}
    if patch is None:
        patch = Patch(
            sha256=sha256, name=name, width=width, height=height, mpp=pixel_size(mpp), **hashes
        )
        session.add(patch)
        audit.record(session, actor=actor, action="remember", entity=patch)
        return patch
    lacking = {
        column: value
        for column, value in hashes.items()
        if value is not None and getattr(patch, column) is None
    }
    if lacking:
        for column, value in lacking.items():
            setattr(patch, column, value)
        audit.record(session, actor=actor, action="add perceptual hash", entity=patch, new=lacking)
    return patch


def keep_image(session: Session, *, patch: Patch, png: bytes, actor: str) -> None:
    """Keep the pixels of `patch`, unless they are there already.

    Raises
    ------
    RecordError
        If `png` is no PNG.
    """
    if not png.startswith(b"\x89PNG\r\n\x1a\n"):
        raise RecordError(f"The pixels of {patch.name} must be given as PNG.")
    if session.get(Image, patch.id) is None:
        image = Image(patch_id=patch.id, png=png)
        session.add(image)
        audit.record(
            session, actor=actor, action="keep image", entity=image, new={"bytes": len(png)}
        )


def perceptual_hashes(session: Session, *, sha256: str) -> tuple[str, ...]:
    """Those kept of a patch, as given first; none where there are none or they were erased."""
    patch = find(session, sha256)
    return () if patch is None else tuple((patch.turned or patch.phash or "").split())


def image(session: Session, *, sha256: str) -> bytes | None:
    """PNG of the patch with that checksum; None where none is kept or it was erased."""
    query = select(Image.png).join(Patch, Patch.id == Image.patch_id)
    return session.scalars(query.where(Patch.sha256 == sha256)).one_or_none()
