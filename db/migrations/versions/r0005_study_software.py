"""The version of the software whose scores a study uses.

Studies that are there get the version that made the scores they have used so far: all of
them by one. Where these are by several, some may have been shown to readers, so they stay as
they are and the study gets none; the pages tell of it. A study that is not as its last event
says gets none either: what was altered before this revision is found after it too.
"""

from collections import defaultdict
from collections.abc import Mapping

import sqlalchemy as sa
from alembic import op

from db.migrations import rows
from db.migrations.rows import Row

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, fill it, tell the chain."""
    versions = _versions()
    told = [row for row in _as_written() if row["id"] in versions]
    op.add_column("study", sa.Column("software", sa.String(80), nullable=True))
    study = rows.table("study")
    for row in told:
        row["software"] = versions[row["id"]]
        change = sa.update(study).where(study.c.id == row["id"])
        op.get_bind().execute(change.values(software=row["software"]))
    new = ((row["id"], row, {"software": row["software"]}) for row in told)
    rows.tell("study", "add software", new, revision=revision, is_salted=False)


def downgrade() -> None:
    """Drop the column: studies use the first kept score of each case again."""
    told = [row for row in _as_written() if row["software"] is not None]
    op.drop_column("study", "software")
    for row in told:
        del row["software"]
    back = ((row["id"], row, None) for row in told)
    rows.tell("study", "go back", back, revision=revision, is_salted=False)


def _as_written() -> list[Row]:
    return rows.as_written("study", is_salted=False)


def _versions() -> Mapping[int, str]:
    """By study the one version that made the first kept score of each case and method."""
    study, case, score = (rows.table(name) for name in ("study", "case", "model_score"))
    query = (
        sa.select(study.c.id, case.c.id, score.c.method, score.c.software)
        .join(case, case.c.study_id == study.c.id)
        .join(
            score,
            sa.and_(
                score.c.patch_id == case.c.patch_id,
                score.c.mpp == case.c.mpp,
                score.c.model_set == study.c.model_set,
                score.c.model_sha256 == study.c.model_sha256,
            ),
        )
        .order_by(score.c.id)
    )
    first: dict[tuple[int, int, str], str] = {}
    for study_id, case_id, method, software in op.get_bind().execute(query):
        first.setdefault((study_id, case_id, method), software)
    found: dict[int, set[str]] = defaultdict(set)
    for (study_id, _, _), software in first.items():
        found[study_id].add(software)
    return {key: next(iter(one)) for key, one in found.items() if len(one) == 1}
