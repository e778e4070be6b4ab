"""Triggers that keep rows from being altered, on SQLite and on PostgreSQL.

A batch migration on SQLite copies a table and drops its triggers: `guard` it again
afterwards. Migrations use these functions, so what they do must not change.
"""

from collections.abc import Sequence
from typing import Final

from alembic import op

_FUNCTION: Final = "refuse_change"


def guard(table: str, keys: Sequence[Sequence[str]] = (("id",),), unless: str = "") -> None:
    """Refuse UPDATE and DELETE of `table`, on PostgreSQL TRUNCATE too.

    Parameters
    ----------
    table : str
    keys : sequence of sequence of str
        Columns of its primary key and of each unique constraint. On SQLite
        ``INSERT OR REPLACE`` removes the rows that clash in one of them without
        firing a trigger, so an INSERT that clashes is refused.
    unless : str
        Condition on OLD and NEW under which a row may be updated; none: never.
    """
    _create(table, "update", "UPDATE", f"NOT ({unless})" if unless else "")
    _create(table, "delete", "DELETE", "")
    _no_replace(table, keys)


def guard_content() -> None:
    """Let the content of an audit event be erased, and nothing else be done to it."""
    erased = (
        "NEW.sequence = OLD.sequence AND NEW.salt IS NULL AND NEW.content IS NULL "
        "AND OLD.salt IS NOT NULL"
    )
    guard("audit_content", [("sequence",)], erased)


def unguard(table: str) -> None:
    """Drop the triggers of `table`; a migration that changes it begins with this."""
    for event in ("update", "delete", "replace", "truncate"):
        name = f"{table}_no_{event}"
        if op.get_bind().dialect.name == "postgresql":
            op.execute(f'DROP TRIGGER IF EXISTS {name} ON "{table}"')
        else:
            op.execute(f"DROP TRIGGER IF EXISTS {name}")


def _message(table: str) -> str:
    return f"{table.replace('_', ' ')} is append-only: add a new row"


def _create(table: str, name: str, event: str, condition: str) -> None:
    when = f" WHEN ({condition})" if condition else ""
    if op.get_bind().dialect.name == "postgresql":
        call = f"EXECUTE FUNCTION {_FUNCTION}('{_message(table)}')"
        op.execute(
            f'CREATE TRIGGER {table}_no_{name} BEFORE {event} ON "{table}" '
            f"FOR EACH ROW{when} {call}"
        )
        if event == "DELETE":
            op.execute(
                f'CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON "{table}" '
                f"FOR EACH STATEMENT {call}"
            )
    else:
        op.execute(
            f'CREATE TRIGGER {table}_no_{name} BEFORE {event} ON "{table}"{when} '
            f"BEGIN SELECT RAISE(ABORT, '{_message(table)}'); END"
        )


def _no_replace(table: str, keys: Sequence[Sequence[str]]) -> None:
    if op.get_bind().dialect.name == "postgresql":
        return
    clashes = " OR ".join(
        "(" + " AND ".join(f'"{column}" = NEW."{column}"' for column in key) + ")" for key in keys
    )
    op.execute(
        f'CREATE TRIGGER {table}_no_replace BEFORE INSERT ON "{table}" '
        f'WHEN EXISTS (SELECT 1 FROM "{table}" WHERE {clashes}) '
        f"BEGIN SELECT RAISE(ABORT, '{_message(table)}'); END"
    )


def create_function() -> None:
    """Make the function that PostgreSQL's triggers call."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"CREATE FUNCTION {_FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS $$ "
            "BEGIN RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation'; END $$"
        )


def drop_function() -> None:
    """Drop what `create_function` made."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"DROP FUNCTION {_FUNCTION}()")
