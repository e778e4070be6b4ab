"""``python -m db``: care of the records.

The records are where ``CELLULARITY_DB`` says, by default in the user's own data folder.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from alembic.runtime.migration import MigrationContext

from db.backup import backup, beside, restore
from db.erasure import erase_patient, scrub
from db.errors import RecordError
from db.export import export
from db.heads import noted_heads
from db.session import VARIABLE, database_url, open_records, place, snapshot, transaction
from db.verify import verify


def _upgrade(arguments: argparse.Namespace) -> str:
    engine = open_records(arguments.url)
    try:
        with engine.connect() as connection:
            revision = MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()
    return f"Records at {place(engine.url)} are at revision {revision}."


def _verify(arguments: argparse.Namespace) -> str:
    engine = open_records(arguments.url)
    noted = noted_heads(engine.url)
    try:
        with snapshot(engine) as session:
            verdict = verify(session, arguments.head, heads=noted)
    finally:
        engine.dispose()
    where = place(engine.url)
    if not verdict.ok:
        raise RecordError(
            f"Records at {where} are not as written: {verdict.first_bad} {verdict.why}."
        )
    against = len(noted) + (arguments.head is not None)
    return (
        f"Records at {where} are as written: "
        f"{_counted(verdict.checked, 'event or row', 'events and rows')}, "
        f"{_counted(against, 'head', 'heads')} noted outside."
    )


def _export(arguments: argparse.Namespace) -> str:
    engine = open_records(arguments.url)
    try:
        with snapshot(engine) as session:
            written = export(session, arguments.out, imrmc=arguments.imrmc)
    finally:
        engine.dispose()
    return "\n".join(str(path) for path in written)


def _backup(arguments: argparse.Namespace) -> str:
    engine = open_records(arguments.url)
    try:
        made = backup(engine, arguments.file)
    finally:
        engine.dispose()
    return (
        f"Records at {place(engine.url)} are backed up in {made.path} (SHA-256 and head beside it, "
        f"in {beside(made.path).name}).\nHead: {made.head.sequence} {made.head.hash}"
    )


def _restore(arguments: argparse.Namespace) -> str:
    url = database_url(arguments.url)
    made = restore(arguments.file, url, replace=arguments.replace)
    moved = "" if made.aside is None else f"\nThose before are in {made.aside}."
    return f"Records of {made.path} are restored to {place(url)}.{moved}"


def _erase(arguments: argparse.Namespace) -> str:
    engine = open_records(arguments.url)
    try:
        with transaction(engine) as session:
            made = erase_patient(
                session,
                patient=arguments.patient,
                study_id=arguments.study,
                actor=arguments.actor,
                why=arguments.why,
            )
        scrub(engine)
    finally:
        engine.dispose()
    return (
        f"Erased {_counted(made.cases, 'case', 'cases')}, "
        f"{_counted(made.images, 'image', 'images')} and the content of "
        f"{_counted(made.events, 'event', 'events')} at {place(engine.url)}. Scores stay; back-ups "
        "made before hold the rest still."
    )


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 done, 1 failed, 2 misuse."""
    parser = argparse.ArgumentParser(prog="python -m db", description="Care of the records.")
    parser.add_argument(
        "--url", help=f"database URL or SQLite file (default: {VARIABLE}, else the user's own)"
    )
    commands = parser.add_subparsers(required=True)

    def command(
        name: str, run: Callable[[argparse.Namespace], str], does: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=does, description=does)
        added.set_defaults(run=run)
        return added

    command("upgrade", _upgrade, "make the tables, or bring them up to date")
    checking = command("verify", _verify, "prove that no record was altered or removed")
    checking.add_argument("--head", help="hash noted outside, that the chain must hold")
    exporting = command("export", _export, "write the records as CSV files")
    exporting.add_argument("--out", type=Path, required=True, help="folder to write to")
    exporting.add_argument(
        "--imrmc", action="store_true", help="also a table of each study for iMRMC"
    )
    saving = command("backup", _backup, "copy the records to a file, verified")
    saving.add_argument("file", type=Path, help="file to make")
    restoring = command("restore", _restore, "put the records of a back-up in place, verified")
    restoring.add_argument("file", type=Path, help="back-up to restore")
    restoring.add_argument(
        "--replace", action="store_true", help="move records that are there aside"
    )
    erasing = command("erase", _erase, "erase a patient's pixels, names and pseudonym")
    erasing.add_argument("patient", help="pseudonym")
    erasing.add_argument("--study", type=int, help="number of a study: only there")
    erasing.add_argument("--actor", required=True, help="who does it")
    erasing.add_argument("--why", required=True, help="the request it answers; name no patient")
    arguments = parser.parse_args(argv)
    try:
        said = arguments.run(arguments)
    except RecordError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{said}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
