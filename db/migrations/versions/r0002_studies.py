"""Studies, amendments, model scores and the audit trail; readings get what studies need.

What the records hold already gets its events, so that the chain covers it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from db import chain
from db.migrations import triggers

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

GUARDED: Mapping[str, list[tuple[str, ...]]] = {
    "assignment": [
        ("id",),
        ("membership_id", "position"),
        ("membership_id", "case_id", "occasion"),
    ],
    "reading": [("id",), ("token",), ("assignment_id", "phase")],
    "amendment": [("id",)],
    "model_score": [("id",), ("patch_id", "method", "model_set", "model_sha256", "software")],
    "consensus": [("id",)],
    "audit_event": [("sequence",)],
}
"""Append-only tables and their keys."""


def upgrade() -> None:
    """Make the new tables, widen the old ones, guard what is append-only."""
    _change_old_tables()
    _make_study_tables()
    _make_score_tables()
    _make_audit_tables()
    triggers.create_function()
    for table, keys in GUARDED.items():
        triggers.guard(table, keys)
    triggers.guard_content()
    _remember_what_is_there()


def _change_old_tables() -> None:
    op.add_column("patch", sa.Column("phash", sa.String(16), nullable=True))
    # By hand, because SQLite adds a column with its check in place, while a batch
    # would drop and copy a table that readings refer to.
    op.execute(
        "ALTER TABLE reader ADD COLUMN role VARCHAR(16) DEFAULT 'reader' NOT NULL "
        "CONSTRAINT ck_reader_role CHECK (role IN ('admin', 'coordinator', 'reader'))"
    )
    op.add_column("reader", sa.Column("issuer", sa.String(255), nullable=True))
    op.add_column("reader", sa.Column("subject", sa.String(255), nullable=True))
    op.add_column("reader", sa.Column("email", sa.String(320), nullable=True))
    op.create_index("uq_reader_issuer_subject", "reader", ["issuer", "subject"], unique=True)


def _moment() -> sa.Column[Any]:
    return sa.Column("created_at", sa.DateTime(timezone=True), nullable=False)


def _make_study_tables() -> None:
    op.create_table(
        "image",
        sa.Column("patch_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("png", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["patch_id"], ["patch.id"], name=op.f("fk_image_patch_id_patch")),
        sa.PrimaryKeyConstraint("patch_id", name=op.f("pk_image")),
    )
    op.create_table(
        "study",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("arm", sa.String(32), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("repeat_share", sa.Double(), nullable=False),
        sa.Column("washout_days", sa.Double(), nullable=False),
        sa.Column("proficiency", sa.Double(), nullable=True),
        sa.Column("show_feedback", sa.Boolean(), nullable=False),
        sa.Column("model_set", sa.String(120), nullable=True),
        sa.Column("model_sha256", sa.String(64), nullable=True),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("created_by", sa.String(120), nullable=False),
        _moment(),
        sa.CheckConstraint(
            "arm IN ('before', 'before-after', 'before-after with control')",
            name=op.f("ck_study_arm"),
        ),
        sa.CheckConstraint("state IN ('draft', 'open', 'closed')", name=op.f("ck_study_state")),
        sa.CheckConstraint("repeat_share BETWEEN 0 AND 1", name=op.f("ck_study_repeat_share")),
        sa.CheckConstraint("washout_days >= 0", name=op.f("ck_study_washout_days")),
        sa.CheckConstraint("proficiency BETWEEN 0 AND 1", name=op.f("ck_study_proficiency")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study")),
        sa.UniqueConstraint("name", name=op.f("uq_study_name")),
    )
    op.create_table(
        "case",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("patch_id", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(16), nullable=False),
        sa.Column("patient", sa.String(120), nullable=True),
        sa.Column("is_training", sa.Boolean(), nullable=False),
        sa.Column("reference", sa.Double(), nullable=True),
        sa.CheckConstraint("reference BETWEEN 0 AND 1", name=op.f("ck_case_reference")),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_case_study_id_study")),
        sa.ForeignKeyConstraint(["patch_id"], ["patch.id"], name=op.f("fk_case_patch_id_patch")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_case")),
        sa.UniqueConstraint("study_id", "code", name=op.f("uq_case_study_id_code")),
        sa.UniqueConstraint("study_id", "patch_id", name=op.f("uq_case_study_id_patch_id")),
    )
    op.create_index(op.f("ix_case_patch_id"), "case", ["patch_id"])
    op.create_table(
        "membership",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("reader_id", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["study.id"], name=op.f("fk_membership_study_id_study")
        ),
        sa.ForeignKeyConstraint(
            ["reader_id"], ["reader.id"], name=op.f("fk_membership_reader_id_reader")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_membership")),
        sa.UniqueConstraint("study_id", "reader_id", name=op.f("uq_membership_study_id_reader_id")),
        sa.UniqueConstraint("study_id", "rank", name=op.f("uq_membership_study_id_rank")),
    )
    op.create_index(op.f("ix_membership_reader_id"), "membership", ["reader_id"])
    op.create_table(
        "assignment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("membership_id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("occasion", sa.Integer(), nullable=False),
        sa.Column("arm", sa.String(8), nullable=False),
        sa.CheckConstraint("occasion IN (0, 1)", name=op.f("ck_assignment_occasion")),
        sa.CheckConstraint("arm IN ('ai', 'control')", name=op.f("ck_assignment_arm")),
        sa.ForeignKeyConstraint(
            ["membership_id"],
            ["membership.id"],
            name=op.f("fk_assignment_membership_id_membership"),
        ),
        sa.ForeignKeyConstraint(["case_id"], ["case.id"], name=op.f("fk_assignment_case_id_case")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assignment")),
        sa.UniqueConstraint(
            "membership_id", "position", name=op.f("uq_assignment_membership_id_position")
        ),
        sa.UniqueConstraint(
            "membership_id",
            "case_id",
            "occasion",
            name=op.f("uq_assignment_membership_id_case_id_occasion"),
        ),
    )
    op.create_index(op.f("ix_assignment_case_id"), "assignment", ["case_id"])


def _make_score_tables() -> None:
    for name in ("reading_no_update", "reading_no_delete", "reading_no_replace"):
        if op.get_bind().dialect.name == "sqlite":
            op.execute(f"DROP TRIGGER {name}")
    with op.batch_alter_table("reading") as batch:
        batch.alter_column("cellularity", existing_type=sa.Double(), nullable=True)
        batch.add_column(sa.Column("assignment_id", sa.Integer(), nullable=True))
        batch.add_column(sa.Column("phase", sa.String(8), server_default="free", nullable=False))
        batch.add_column(sa.Column("cannot_score_reason", sa.String(500), nullable=True))
        batch.add_column(sa.Column("confidence", sa.Integer(), nullable=True))
        batch.add_column(sa.Column("seconds", sa.Double(), nullable=True))
        batch.add_column(sa.Column("token", sa.String(64), nullable=True))
        batch.create_foreign_key(
            op.f("fk_reading_assignment_id_assignment"), "assignment", ["assignment_id"], ["id"]
        )
        batch.create_unique_constraint(
            op.f("uq_reading_assignment_id_phase"), ["assignment_id", "phase"]
        )
        batch.create_unique_constraint(op.f("uq_reading_token"), ["token"])
        for name, condition in (
            ("score_or_reason", "(cellularity IS NULL) <> (cannot_score_reason IS NULL)"),
            ("phase", "phase IN ('before', 'after', 'control', 'free')"),
            ("free_or_assigned", "(assignment_id IS NULL) = (phase = 'free')"),
            ("confidence", "confidence BETWEEN 1 AND 5"),
            ("seconds", "seconds >= 0"),
        ):
            batch.create_check_constraint(op.f(f"ck_reading_{name}"), condition)
    op.create_table(
        "amendment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("reading_id", sa.Integer(), nullable=False),
        sa.Column("reader_id", sa.Integer(), nullable=False),
        sa.Column("cellularity", sa.Double(), nullable=True),
        sa.Column("cannot_score_reason", sa.String(500), nullable=True),
        sa.Column("why", sa.String(500), nullable=False),
        _moment(),
        sa.CheckConstraint("cellularity BETWEEN 0 AND 1", name=op.f("ck_amendment_unit_interval")),
        sa.CheckConstraint(
            "(cellularity IS NULL) <> (cannot_score_reason IS NULL)",
            name=op.f("ck_amendment_score_or_reason"),
        ),
        sa.ForeignKeyConstraint(
            ["reading_id"], ["reading.id"], name=op.f("fk_amendment_reading_id_reading")
        ),
        sa.ForeignKeyConstraint(
            ["reader_id"], ["reader.id"], name=op.f("fk_amendment_reader_id_reader")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_amendment")),
    )
    op.create_index(op.f("ix_amendment_reading_id"), "amendment", ["reading_id"])
    op.create_table(
        "model_score",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("patch_id", sa.Integer(), nullable=False),
        sa.Column("method", sa.String(40), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("low", sa.Double(), nullable=True),
        sa.Column("high", sa.Double(), nullable=True),
        sa.Column("model_set", sa.String(120), nullable=False),
        sa.Column("model_sha256", sa.String(64), nullable=False),
        sa.Column("software", sa.String(80), nullable=False),
        _moment(),
        sa.CheckConstraint("value BETWEEN 0 AND 1", name=op.f("ck_model_score_unit_interval")),
        sa.ForeignKeyConstraint(
            ["patch_id"], ["patch.id"], name=op.f("fk_model_score_patch_id_patch")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_score")),
        sa.UniqueConstraint(
            "patch_id",
            "method",
            "model_set",
            "model_sha256",
            "software",
            name=op.f("uq_model_score_patch_id_method_model_set_model_sha256_software"),
        ),
    )
    op.create_table(
        "consensus",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("cellularity", sa.Double(), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("by", sa.String(120), nullable=False),
        _moment(),
        sa.CheckConstraint("cellularity BETWEEN 0 AND 1", name=op.f("ck_consensus_unit_interval")),
        sa.ForeignKeyConstraint(["case_id"], ["case.id"], name=op.f("fk_consensus_case_id_case")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consensus")),
    )
    op.create_index(op.f("ix_consensus_case_id"), "consensus", ["case_id"])


def _make_audit_tables() -> None:
    op.create_table(
        "audit_event",
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(120), nullable=False),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("entity", sa.String(40), nullable=False),
        sa.Column("entity_id", sa.Integer(), nullable=False),
        sa.Column("row_hash", sa.String(64), nullable=True),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("prev_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit_event")),
    )
    op.create_index(op.f("ix_audit_event_entity_entity_id"), "audit_event", ["entity", "entity_id"])
    op.create_table(
        "audit_content",
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("salt", sa.String(32), nullable=True),
        sa.Column("content", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["sequence"],
            ["audit_event.sequence"],
            name=op.f("fk_audit_content_sequence_audit_event"),
        ),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit_content")),
    )


def _remember_what_is_there() -> None:
    bind = op.get_bind()
    text, number, moment = sa.String(), sa.Integer(), sa.DateTime(timezone=True)
    old_tables: dict[str, dict[str, Any]] = {
        "patch": {
            "id": number,
            "sha256": text,
            "name": text,
            "width": number,
            "height": number,
            "mpp": sa.Double(),
            "created_at": moment,
        },
        "reader": {
            "id": number,
            "name": text,
            "key": text,
            "score_first": sa.Boolean(),
            "created_at": moment,
            "role": text,
        },
        "reading": {
            "id": number,
            "patch_id": number,
            "reader_id": number,
            "cellularity": sa.Double(),
            "seen_models": sa.Boolean(),
            "software": text,
            "created_at": moment,
            "phase": text,
        },
    }
    event, content = (
        sa.Table(name, sa.MetaData(), autoload_with=bind)
        for name in ("audit_event", "audit_content")
    )
    sequence, last = 0, chain.GENESIS
    for name, columns in old_tables.items():
        table = sa.table(name, *(sa.column(key, kind) for key, kind in columns.items()))
        for found in bind.execute(sa.select(table).order_by(table.c.id)).mappings().all():
            row = {key: _aware(value) for key, value in found.items()}
            sequence += 1
            salt = chain.new_salt()
            written = chain.canonical({"old": None, "new": row})
            told: dict[str, Any] = {
                "sequence": sequence,
                "at": datetime.now(UTC),
                "actor": "migration 0002",
                "action": "take over",
                "entity": name,
                "entity_id": row["id"],
                "row_hash": chain.row_hash(name, row, salt if name == "patch" else ""),
                "content_hash": chain.content_hash(salt, written),
                "prev_hash": last,
            }
            last = chain.event_hash(**told)
            bind.execute(sa.insert(event).values(**told, hash=last))
            bind.execute(sa.insert(content).values(sequence=sequence, salt=salt, content=written))


def _aware(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value


def downgrade() -> None:
    """Drop what `upgrade` made; readings of studies go with their studies.

    What revision 0001 has no room for cannot be kept: readings of a study, those
    that say "cannot be scored", and the audit trail.
    """
    for table in ("audit_content", "audit_event", "consensus", "model_score", "amendment"):
        op.drop_table(table)
    triggers.unguard("reading")
    op.execute("DELETE FROM reading WHERE phase <> 'free' OR cellularity IS NULL")
    with op.batch_alter_table("reading") as batch:
        for name in ("score_or_reason", "phase", "free_or_assigned", "confidence", "seconds"):
            batch.drop_constraint(op.f(f"ck_reading_{name}"), type_="check")
        batch.drop_constraint(op.f("uq_reading_token"), type_="unique")
        batch.drop_constraint(op.f("uq_reading_assignment_id_phase"), type_="unique")
        batch.drop_constraint(op.f("fk_reading_assignment_id_assignment"), type_="foreignkey")
        for name in (
            "token",
            "seconds",
            "confidence",
            "cannot_score_reason",
            "phase",
            "assignment_id",
        ):
            batch.drop_column(name)
        batch.alter_column("cellularity", existing_type=sa.Double(), nullable=False)
    for table in ("assignment", "membership", "case", "study", "image"):
        op.drop_table(table)
    triggers.drop_function()
    if op.get_bind().dialect.name == "sqlite":
        triggers.guard("reading")
    op.drop_index("uq_reader_issuer_subject", "reader")
    for name in ("email", "subject", "issuer"):
        op.drop_column("reader", name)
    op.drop_column("reader", "role")  # its check goes with it
    op.drop_column("patch", "phash")
