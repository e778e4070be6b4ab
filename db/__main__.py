"""``python -m db``: care of the records.

``python -m db upgrade`` makes the tables or brings them up to date. The records
are where ``CELLULARITY_DB`` says, by default in the user's own data folder.
"""

import argparse
import sys
from collections.abc import Sequence

from alembic.runtime.migration import MigrationContext

from db.errors import RecordError
from db.session import VARIABLE, connect, database_url, place, upgrade


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 done, 1 failed, 2 misuse."""
    parser = argparse.ArgumentParser(prog="python -m db", description="Care of the records.")
    parser.add_argument(
        "--url", help=f"database URL or SQLite file (default: {VARIABLE}, else the user's own)"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("upgrade", help="make the tables, or bring them up to date")
    arguments = parser.parse_args(argv)
    try:
        engine = connect(database_url(arguments.url))
        upgrade(engine)
    except RecordError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    with engine.connect() as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
    sys.stdout.write(f"Records at {place(engine.url)} are at revision {revision}.\n")
    engine.dispose()
    return 0


if __name__ == "__main__":
    sys.exit(main())
