"""Tables. Changed only through a migration in `db.migrations`."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    MetaData,
    String,
    TypeDecorator,
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
    """An image somebody scored, known by the checksum of its pixels."""

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


class Reader(Base):
    """A person who scores. `key` is the name with case folded, so "Kim" is "kim"."""

    __tablename__ = "reader"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    key: Mapped[str] = mapped_column(String(360), unique=True)
    score_first: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


class Reading(Base):
    """One score by one reader. Append-only: triggers refuse a change or removal."""

    __tablename__ = "reading"
    __table_args__ = (
        CheckConstraint("cellularity BETWEEN 0 AND 1", name="unit_interval"),
        Index(None, "reader_id", "patch_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    patch_id: Mapped[int] = mapped_column(ForeignKey("patch.id"), index=True)
    reader_id: Mapped[int] = mapped_column(ForeignKey("reader.id"))
    cellularity: Mapped[float]
    seen_models: Mapped[bool]
    software: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)

    patch: Mapped[Patch] = relationship()
    reader: Mapped[Reader] = relationship()
