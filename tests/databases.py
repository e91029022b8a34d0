"""Databases of the tests' own: one is migrated, all others are copies of it.

PostgreSQL copies by itself, from the database that tests/on_postgres.py has named in POSTGRES_TEMPLATE; of SQLite it is
a file, in the folder that tests/conftest.py names in SQLITE_TEMPLATE for all processes of a test run.
"""

import fcntl
import os
import shutil
from pathlib import Path

from tests.processes import run_manage

SQLITE_TEMPLATE = "SQLITE_TEMPLATE"


def copy_to(path: Path) -> None:
    """A migrated SQLite database at `path`, where there is none yet."""
    shutil.copyfile(_template(), path)


def _template() -> Path:
    """The first who needs it migrates, all others wait for that."""
    folder = Path(os.environ[SQLITE_TEMPLATE])
    migrated = folder / "migrated.sqlite3"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not migrated.exists():
            _migrate(folder / "new.sqlite3")
            (folder / "new.sqlite3").rename(migrated)
    return migrated


def _migrate(path: Path) -> None:
    environment = {**os.environ, "DATABASE_URL": f"sqlite:///{path}", "VAR_DIR": str(path.parent)}
    done = run_manage("migrate", "--verbosity", "0", environment=environment)
    if done.returncode:
        raise RuntimeError(f"migrate failed:\n{done.stdout}{done.stderr}")
