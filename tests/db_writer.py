"""Writes readings until it is killed: run by the tests of durability, not by pytest.

``python db_writer.py URL STUDY KILLS SEED`` forks a writer, kills it by SIGKILL at a
random moment, looks at the records, and does so again. A writer reads the study for
one reader after the other and says the token of each reading after its commit.
Written to standard output: all tokens said, and what was not as it should be, as JSON.
"""

import json
import os
import random
import signal
import sys
import time

from sqlalchemy import URL, Engine

from db import records
from db.session import connect, database_url, snapshot, transaction

LONGEST_S = 0.1


def commit_next(engine: Engine, study: int, readers: list[str]) -> str:
    """Token of the next reading of the first reader who has not finished."""
    while True:
        with transaction(engine) as db:
            task = records.next_assignment(db, study_id=study, reader=readers[0])
            if not isinstance(task, records.AssignmentRecord):
                readers.pop(0)
                continue
            token = f"{os.getpid()}-{task.id}"
            records.commit_reading(
                db,
                assignment_id=task.id,
                reader=readers[0],
                phase=task.phase,
                cellularity=0.5,
                cannot_score_reason=None,
                confidence=None,
                seconds=None,
                seen_models=False,
                software="writer",
                token=token,
            )
        return token


def killed(url: URL, study: int, readers: list[str], seconds: float) -> list[str]:
    """Tokens that a writer said before it was killed, `seconds` after its first."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            engine = connect(url)
            while True:
                os.write(writing, f"{commit_next(engine, study, readers)}\n".encode())
        finally:
            os._exit(1)
    os.close(writing)
    said = os.read(reading, 65536)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    while more := os.read(reading, 65536):
        said += more
    os.close(reading)
    os.waitpid(child, 0)
    return said.decode().split()


def main(address: str, study: str, kills: str, seed: str) -> None:
    url, moments, bad = database_url(address), random.Random(int(seed)), []
    engine = connect(url)
    with snapshot(engine) as db:
        readers = list(records.study(db, int(study)).readers)
    said = [commit_next(engine, int(study), list(readers))]  # and warm: a child writes at once
    engine.dispose()
    for number in range(int(kills)):
        said += killed(url, int(study), list(readers), moments.random() * LONGEST_S)
        engine = connect(url)
        with snapshot(engine) as db:
            kept = len(records.study_readings(db, int(study)))
            is_whole = number % 10 != 0 or records.verify(db).ok  # what breaks stays broken
        engine.dispose()
        if not is_whole or kept < len(said):
            bad.append(f"kill {number}: chain whole {is_whole}, {kept} kept of {len(said)}")
    json.dump({"said": said, "bad": bad}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
