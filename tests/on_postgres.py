"""Runs the tests that touch the database on PostgreSQL: `python -m tests.on_postgres [what pytest takes]`.

Starts a cluster for this run alone, with one migrated database that all others are copies of: one for each process of
pytest-xdist, and one for each module whose commands run in processes of their own.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence

import pytest

from tests.processes import ROOT, run_manage
from tests.services import PostgreSQL, create_database, running

TEMPLATE = "POSTGRES_TEMPLATE"  # the variable with the name of the migrated database


def main(arguments: Sequence[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    try:
        with running(PostgreSQL) as server:
            return _run(server.url, arguments)
    except pytest.skip.Exception as missing:
        print(f"Not tested on PostgreSQL. {missing}")
        return 0
    except pytest.fail.Exception as missing:
        print(missing)
        return 1


def _run(url: str, arguments: Sequence[str]) -> int:
    template = create_database(url)
    done = run_manage("migrate", "--verbosity", "0", environment={**os.environ, "DATABASE_URL": template})
    if done.returncode:
        print(done.stdout, done.stderr)
        return done.returncode
    environment = {**os.environ, "DATABASE_URL": url, TEMPLATE: template.rpartition("/")[2]}
    words = [sys.executable, "-m", "pytest", "--only-database", *arguments]
    with subprocess.Popen(words, cwd=ROOT, env=environment) as tests:
        try:
            return tests.wait()
        except BaseException:  # Ctrl-C, or asked to stop: first the tests, then their server
            tests.send_signal(signal.SIGINT)  # it says what it has found so far
            raise


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
