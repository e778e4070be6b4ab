"""Tables. Changed only through a migration in `db.migrations`.

Readings, amendments, model scores, consensus, assignments, sights and audit events are
append-only: triggers refuse a change or a removal (`db.migrations.triggers`).
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Names of constraints: SQLite can alter only what has one."""


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC, aware in Python; SQLite keeps no time zone of its own."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse a moment without a time zone, turn others into UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; give an aware datetime")
        return value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Give the moment back aware, whatever the driver made of it."""
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def utcnow() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """Base of every table."""

    metadata = MetaData(naming_convention=NAMING)


class Patch(Base):
    """An image somebody scored, known by the checksum of its pixels.

    `mpp` is the pixel size first given; a case, a reading and a model's score have their
    own. `phash` is a 64-bit perceptual hash in hex, made by the science side, and `turned`
    those of the patch in its 8 orientations, as given first, with spaces between.
    """

    __tablename__ = "patch"
    __table_args__ = (
        CheckConstraint("length(sha256) = 64", name="sha256_length"),
        CheckConstraint("width > 0 AND height > 0", name="size_positive"),
        CheckConstraint("mpp > 0", name="mpp_positive"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str]
    width: Mapped[int]
    height: Mapped[int]
    mpp: Mapped[float]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    phash: Mapped[str | None] = mapped_column(String(16))
    turned: Mapped[str | None] = mapped_column(String(135))


class Image(Base):
    """Pixels of a patch that a study shows, as PNG: app servers share them by the database."""

    __tablename__ = "image"

    patch_id: Mapped[int] = mapped_column(
        ForeignKey("patch.id"), primary_key=True, autoincrement=False
    )
    png: Mapped[bytes] = mapped_column(LargeBinary)


class Reader(Base):
    """A person who scores. `key` is the name with case folded, so "Kim" is "kim".

    `issuer` and `subject` are those of OpenID Connect; null for a chosen name.
    """

    __tablename__ = "reader"
    __table_args__ = (
        CheckConstraint("role IN ('admin', 'coordinator', 'reader')", name="role"),
        Index("uq_reader_issuer_subject", "issuer", "subject", unique=True),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    key: Mapped[str] = mapped_column(String(360), unique=True)
    score_first: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    role: Mapped[str] = mapped_column(String(16), default="reader", server_default="reader")
    issuer: Mapped[str | None] = mapped_column(String(255))
    subject: Mapped[str | None] = mapped_column(String(255))
    email: Mapped[str | None] = mapped_column(String(320))


class Study(Base):
    """A reader study: who scores which patches, in what order, having seen what.

    `software` is that of the models' scores it uses; null without models, and where a study
    of before revision 0005 uses scores of several versions.
    """

    __tablename__ = "study"
    __table_args__ = (
        CheckConstraint(
            "arm IN ('before', 'before-after', 'before-after with control')", name="arm"
        ),
        CheckConstraint("state IN ('draft', 'open', 'closed')", name="state"),
        CheckConstraint("repeat_share BETWEEN 0 AND 1", name="repeat_share"),
        CheckConstraint("washout_days >= 0", name="washout_days"),
        CheckConstraint("proficiency BETWEEN 0 AND 1", name="proficiency"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120), unique=True)
    description: Mapped[str] = mapped_column(Text)
    arm: Mapped[str] = mapped_column(String(32))
    seed: Mapped[int]
    repeat_share: Mapped[float]
    washout_days: Mapped[float]
    proficiency: Mapped[float | None]
    show_feedback: Mapped[bool]
    model_set: Mapped[str | None] = mapped_column(String(120))
    model_sha256: Mapped[str | None] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(8), default="draft")
    created_by: Mapped[str] = mapped_column(String(120))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    software: Mapped[str | None] = mapped_column(String(80))


class Case(Base):
    """A patch in a study, at a pixel size, under a pseudonym.

    `reference` is known for training cases.
    """

    __tablename__ = "case"
    __table_args__ = (
        UniqueConstraint("study_id", "code"),
        UniqueConstraint("study_id", "patch_id"),
        CheckConstraint("reference BETWEEN 0 AND 1", name="reference"),
        CheckConstraint("mpp > 0", name="mpp_positive"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    patch_id: Mapped[int] = mapped_column(ForeignKey("patch.id"), index=True)
    code: Mapped[str] = mapped_column(String(16))
    patient: Mapped[str | None] = mapped_column(String(120))
    is_training: Mapped[bool]
    reference: Mapped[float | None]
    mpp: Mapped[float]

    study: Mapped[Study] = relationship()
    patch: Mapped[Patch] = relationship()


class Membership(Base):
    """A reader of a study; `rank` is the order of joining, from 0."""

    __tablename__ = "membership"
    __table_args__ = (
        UniqueConstraint("study_id", "reader_id"),
        UniqueConstraint("study_id", "rank"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    reader_id: Mapped[int] = mapped_column(ForeignKey("reader.id"), index=True)
    rank: Mapped[int]

    study: Mapped[Study] = relationship()
    reader: Mapped[Reader] = relationship()


class Assignment(Base):
    """One read asked of a member: `position` from 0; `occasion` 1 is a hidden repeat."""

    __tablename__ = "assignment"
    __table_args__ = (
        UniqueConstraint("membership_id", "position"),
        UniqueConstraint("membership_id", "case_id", "occasion"),
        CheckConstraint("occasion IN (0, 1)", name="occasion"),
        CheckConstraint("arm IN ('ai', 'control')", name="arm"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    membership_id: Mapped[int] = mapped_column(ForeignKey("membership.id"))
    case_id: Mapped[int] = mapped_column(ForeignKey("case.id"), index=True)
    position: Mapped[int]
    occasion: Mapped[int]
    arm: Mapped[str] = mapped_column(String(8))

    membership: Mapped[Membership] = relationship()
    case: Mapped[Case] = relationship()


class Reading(Base):
    """One score by one reader, or why none can be given; `mpp` is that of what was shown."""

    __tablename__ = "reading"
    __table_args__ = (
        CheckConstraint("cellularity BETWEEN 0 AND 1", name="unit_interval"),
        CheckConstraint(
            "(cellularity IS NULL) <> (cannot_score_reason IS NULL)", name="score_or_reason"
        ),
        CheckConstraint("phase IN ('before', 'after', 'control', 'free')", name="phase"),
        CheckConstraint("(assignment_id IS NULL) = (phase = 'free')", name="free_or_assigned"),
        CheckConstraint("confidence BETWEEN 1 AND 5", name="confidence"),
        CheckConstraint("seconds >= 0", name="seconds"),
        CheckConstraint("mpp > 0", name="mpp_positive"),
        UniqueConstraint("assignment_id", "phase"),
        UniqueConstraint("token"),
        Index(None, "reader_id", "patch_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    patch_id: Mapped[int] = mapped_column(ForeignKey("patch.id"), index=True)
    reader_id: Mapped[int] = mapped_column(ForeignKey("reader.id"))
    cellularity: Mapped[float | None]
    seen_models: Mapped[bool]
    software: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    assignment_id: Mapped[int | None] = mapped_column(ForeignKey("assignment.id"))
    phase: Mapped[str] = mapped_column(String(8), default="free", server_default="free")
    cannot_score_reason: Mapped[str | None] = mapped_column(String(500))
    confidence: Mapped[int | None]
    seconds: Mapped[float | None]
    token: Mapped[str | None] = mapped_column(String(64))
    mpp: Mapped[float]

    patch: Mapped[Patch] = relationship()
    reader: Mapped[Reader] = relationship()
    assignment: Mapped[Assignment | None] = relationship()


class Amendment(Base):
    """What a reader would rather have given; it stands beside the reading."""

    __tablename__ = "amendment"
    __table_args__ = (
        CheckConstraint("cellularity BETWEEN 0 AND 1", name="unit_interval"),
        CheckConstraint(
            "(cellularity IS NULL) <> (cannot_score_reason IS NULL)", name="score_or_reason"
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    reading_id: Mapped[int] = mapped_column(ForeignKey("reading.id"), index=True)
    reader_id: Mapped[int] = mapped_column(ForeignKey("reader.id"))
    cellularity: Mapped[float | None]
    cannot_score_reason: Mapped[str | None] = mapped_column(String(500))
    why: Mapped[str] = mapped_column(String(500))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)

    reading: Mapped[Reading] = relationship()
    reader: Mapped[Reader] = relationship()


class ModelScore(Base):
    """A model's score of a patch at a pixel size, with its 90 % interval.

    They are null where there is no tissue.
    """

    __tablename__ = "model_score"
    __table_args__ = (
        UniqueConstraint(
            "patch_id",
            "mpp",
            "method",
            "model_set",
            "model_sha256",
            "software",
            name="uq_model_score_scored_once",  # PostgreSQL cuts a longer one
        ),
        CheckConstraint("value BETWEEN 0 AND 1", name="unit_interval"),
        CheckConstraint("mpp > 0", name="mpp_positive"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    patch_id: Mapped[int] = mapped_column(ForeignKey("patch.id"))
    method: Mapped[str] = mapped_column(String(40))
    value: Mapped[float | None]
    low: Mapped[float | None]
    high: Mapped[float | None]
    model_set: Mapped[str] = mapped_column(String(120))
    model_sha256: Mapped[str] = mapped_column(String(64))
    software: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    mpp: Mapped[float]

    patch: Mapped[Patch] = relationship()


class Consensus(Base):
    """The score agreed for a case, and why; the latest counts."""

    __tablename__ = "consensus"
    __table_args__ = (CheckConstraint("cellularity BETWEEN 0 AND 1", name="unit_interval"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("case.id"), index=True)
    cellularity: Mapped[float]
    reason: Mapped[str] = mapped_column(String(500))
    by: Mapped[str] = mapped_column(String(120))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)

    case: Mapped[Case] = relationship()


class Sight(Base):
    """A patch whose models' scores were put before a reader's eyes outside a study.

    It stands apart from `Patch`, as neither name nor pixels of it are kept. `turned` as there;
    nothing but that changes, where a patient is erased.
    """

    __tablename__ = "sight"
    __table_args__ = (
        UniqueConstraint("reader_id", "sha256"),
        CheckConstraint("length(sha256) = 64", name="sha256_length"),
        Index(None, "sha256"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    reader_id: Mapped[int] = mapped_column(ForeignKey("reader.id"))
    sha256: Mapped[str] = mapped_column(String(64))
    turned: Mapped[str | None] = mapped_column(String(135))


class AuditEvent(Base):
    """Who did what, chained by hashes (`db.chain`) to the event before.

    `row_hash` is that of the row as the event left it; null where the event
    left none.
    """

    __tablename__ = "audit_event"
    __table_args__ = (Index(None, "entity", "entity_id"),)

    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(String(120))
    action: Mapped[str] = mapped_column(String(40))
    entity: Mapped[str] = mapped_column(String(40))
    entity_id: Mapped[int]
    row_hash: Mapped[str | None] = mapped_column(String(64))
    content_hash: Mapped[str] = mapped_column(String(64))
    prev_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


class AuditContent(Base):
    """Old and new value of an event, as JSON, and the salt of its hash.

    Apart from the event, so that erasing both leaves the chain whole.
    """

    __tablename__ = "audit_content"

    sequence: Mapped[int] = mapped_column(
        ForeignKey("audit_event.sequence"), primary_key=True, autoincrement=False
    )
    salt: Mapped[str | None] = mapped_column(String(32))
    content: Mapped[str | None] = mapped_column(Text)
