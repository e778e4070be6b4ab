"""Patches, readers and append-only readings."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

REFUSALS = {
    "reading_no_update": "BEFORE UPDATE ON reading",
    "reading_no_delete": "BEFORE DELETE ON reading",
    # INSERT OR REPLACE would remove a row without firing the trigger above.
    "reading_no_replace": "BEFORE INSERT ON reading "
    "WHEN EXISTS (SELECT 1 FROM reading WHERE id = NEW.id)",
}


def upgrade() -> None:
    """Make the three tables, and have SQLite itself refuse to alter a reading."""
    op.create_table(
        "patch",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("mpp", sa.Double(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("length(sha256) = 64", name=op.f("ck_patch_sha256_length")),
        sa.CheckConstraint("width > 0 AND height > 0", name=op.f("ck_patch_size_positive")),
        sa.CheckConstraint("mpp > 0", name=op.f("ck_patch_mpp_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patch")),
        sa.UniqueConstraint("sha256", name=op.f("uq_patch_sha256")),
    )
    op.create_table(
        "reader",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("key", sa.String(360), nullable=False),
        sa.Column("score_first", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reader")),
        sa.UniqueConstraint("key", name=op.f("uq_reader_key")),
    )
    op.create_table(
        "reading",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("patch_id", sa.Integer(), nullable=False),
        sa.Column("reader_id", sa.Integer(), nullable=False),
        sa.Column("cellularity", sa.Double(), nullable=False),
        sa.Column("seen_models", sa.Boolean(), nullable=False),
        sa.Column("software", sa.String(80), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("cellularity BETWEEN 0 AND 1", name=op.f("ck_reading_unit_interval")),
        sa.ForeignKeyConstraint(["patch_id"], ["patch.id"], name=op.f("fk_reading_patch_id_patch")),
        sa.ForeignKeyConstraint(
            ["reader_id"], ["reader.id"], name=op.f("fk_reading_reader_id_reader")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reading")),
    )
    op.create_index(op.f("ix_reading_patch_id"), "reading", ["patch_id"])
    op.create_index(op.f("ix_reading_reader_id_patch_id"), "reading", ["reader_id", "patch_id"])
    if op.get_bind().dialect.name == "sqlite":
        for name, when in REFUSALS.items():
            op.execute(
                f"CREATE TRIGGER {name} {when} BEGIN "
                "SELECT RAISE(ABORT, 'readings are append-only: add a new one'); END"
            )


def downgrade() -> None:
    """Drop the three tables; SQLite drops a table's triggers with it."""
    op.drop_table("reading")
    op.drop_table("reader")
    op.drop_table("patch")
