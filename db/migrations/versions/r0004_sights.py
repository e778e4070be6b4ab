"""What readers saw of the models outside studies: a row for each reader and patch."""

import sqlalchemy as sa
from alembic import op

from db.migrations import rows, triggers

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ERASED = (
    "NEW.id = OLD.id AND NEW.reader_id = OLD.reader_id AND NEW.sha256 = OLD.sha256 "
    "AND NEW.turned IS NULL AND OLD.turned IS NOT NULL"
)
"""The one change of a row: a patient is erased."""


def upgrade() -> None:
    """Make the table and guard it. What was seen before is not known."""
    op.create_table(
        "sight",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("reader_id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("turned", sa.String(135), nullable=True),
        sa.ForeignKeyConstraint(
            ["reader_id"], ["reader.id"], name=op.f("fk_sight_reader_id_reader")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sight")),
        sa.UniqueConstraint("reader_id", "sha256", name=op.f("uq_sight_reader_id_sha256")),
        sa.CheckConstraint("length(sha256) = 64", name=op.f("ck_sight_sha256_length")),
    )
    op.create_index(op.f("ix_sight_sha256"), "sight", ["sha256"])
    triggers.guard("sight", [("id",), ("reader_id", "sha256")], ERASED)


def downgrade() -> None:
    """Drop the table; the chain tells that its rows were removed."""
    sight = rows.table("sight")
    query = sa.select(sight.c.id).order_by(sight.c.id)
    gone = op.get_bind().execute(query).scalars().all()
    op.drop_table("sight")
    removed = ((key, None, None) for key in gone)
    rows.tell("sight", "remove", removed, revision=revision, is_salted=True)
