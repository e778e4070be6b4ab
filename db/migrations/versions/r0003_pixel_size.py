"""The pixel size of each case, reading and model score; a patch in its eight orientations.

Rows that are there get the pixel size of their patch, each with an event, so that the
chain covers the new value. A row that is not as its last event says gets none: what was
altered before this revision is found after it too.
"""

from collections.abc import Iterable, Mapping

import sqlalchemy as sa
from alembic import op

from db.migrations import rows, triggers
from db.migrations.rows import Row

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SIZED = ("case", "reading", "model_score")
"""Tables that get the column `mpp`."""

SALTED = ("patch", "case")
"""Those whose rows are hashed with the salt of their event."""

READING_KEYS = [("id",), ("token",), ("assignment_id", "phase")]
SCORE_KEY = ("patch_id", "mpp", "method", "model_set", "model_sha256", "software")
SCORE_KEY_BEFORE = ("patch_id", "method", "model_set", "model_sha256", "software")
SCORE_NAME = "uq_model_score_scored_once"
SCORE_NAME_BEFORE = "uq_model_score_patch_id_method_model_set_model_sha256_software"


def upgrade() -> None:
    """Add the columns, fill them from the patches, guard again, tell the chain."""
    op.add_column("patch", sa.Column("turned", sa.String(135), nullable=True))
    sizes = _pixel_sizes()
    told = {table: _as_written(table) for table in SIZED}
    for table in ("reading", "model_score"):
        triggers.unguard(table)
    for table in SIZED:
        op.add_column(table, sa.Column("mpp", sa.Double(), nullable=True))
        _fill(table, sizes)
        with op.batch_alter_table(table) as batch:
            batch.alter_column("mpp", existing_type=sa.Double(), nullable=False)
            batch.create_check_constraint(op.f(f"ck_{table}_mpp_positive"), "mpp > 0")
            if table == "model_score":
                batch.drop_constraint(SCORE_NAME_BEFORE, type_="unique")
                batch.create_unique_constraint(SCORE_NAME, list(SCORE_KEY))
    triggers.guard("reading", READING_KEYS)
    triggers.guard("model_score", [("id",), SCORE_KEY])
    for table, kept in told.items():
        for row in kept:
            row["mpp"] = sizes[row["patch_id"]]
        _tell(table, "add pixel size", ((row["id"], row, {"mpp": row["mpp"]}) for row in kept))


def downgrade() -> None:
    """Drop the columns, and the model scores at another pixel size than their patch's.

    Cases and readings stay, and count as of their patch's pixel size again.
    """
    sizes = _pixel_sizes()
    told = {table: _as_written(table) for table in ("patch", *SIZED)}
    told["patch"] = [row for row in told["patch"] if row["turned"] is not None]
    for table in ("reading", "model_score"):
        triggers.unguard(table)
    gone = _remove_scores_elsewhere(sizes)
    removed = [row for row in told["model_score"] if row["id"] in gone]
    told["model_score"] = [row for row in told["model_score"] if row["id"] not in gone]
    for table in SIZED:
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint(op.f(f"ck_{table}_mpp_positive"), type_="check")
            if table == "model_score":
                batch.drop_constraint(SCORE_NAME, type_="unique")
                batch.create_unique_constraint(SCORE_NAME_BEFORE, list(SCORE_KEY_BEFORE))
            batch.drop_column("mpp")
    op.drop_column("patch", "turned")
    triggers.guard("reading", READING_KEYS)
    triggers.guard("model_score", [("id",), SCORE_KEY_BEFORE])
    _tell("model_score", "remove", ((row["id"], None, None) for row in removed))
    for table, kept in told.items():
        for row in kept:
            del row["turned" if table == "patch" else "mpp"]
        _tell(table, "go back", ((row["id"], row, None) for row in kept))


def _pixel_sizes() -> dict[int, float]:
    """um/px of each patch in 6 significant digits, as `db.patches` keeps it."""
    patch = sa.table("patch", sa.column("id"), sa.column("mpp", sa.Double()))
    found = op.get_bind().execute(sa.select(patch.c.id, patch.c.mpp)).all()
    return {key: float(f"{mpp:.6g}") for key, mpp in found}


def _fill(table: str, sizes: Mapping[int, float]) -> None:
    """Give the rows of each patch its pixel size."""
    place = sa.table(table, sa.column("patch_id"), sa.column("mpp"))
    fill = sa.update(place).where(place.c.patch_id == sa.bindparam("patch"))
    if sizes:
        op.get_bind().execute(
            fill.values(mpp=sa.bindparam("size")),
            [{"patch": patch, "size": size} for patch, size in sizes.items()],
        )


def _remove_scores_elsewhere(sizes: Mapping[int, float]) -> set[int]:
    """Remove model scores at another pixel size than their patch's; their numbers."""
    bind, score = op.get_bind(), rows.table("model_score")
    found = bind.execute(sa.select(score.c.id, score.c.patch_id, score.c.mpp))
    gone = {key for key, patch, mpp in found if mpp != sizes[patch]}
    if gone:
        remove = sa.delete(score).where(score.c.id == sa.bindparam("key"))
        bind.execute(remove, [{"key": key} for key in sorted(gone)])
    return gone


def _as_written(table: str) -> list[Row]:
    return rows.as_written(table, is_salted=table in SALTED)


def _tell(table: str, action: str, told: Iterable[tuple[int, Row | None, Row | None]]) -> None:
    rows.tell(table, action, told, revision=revision, is_salted=table in SALTED)
