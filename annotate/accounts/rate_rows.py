"""Counts requests in one row per key, changed by one statement: of many requests at once exactly a burst passes.

The generic cell rate algorithm (ITU-T I.371) keeps one number per key: when the next request would be due if requests
came evenly. On PostgreSQL the row lies in an unlogged table of the site's database, which all machines share. On
SQLite it lies in a small database of its own beside it, which the processes of this machine share: a row of the site's
database would make every read wait for its one writer. Neither waits for the disk; a crash may take counts away.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from django.db import DatabaseError, connection

from annotate.models.incidental import apart

_BUSY_SECONDS = 1.0
_CREATE = "CREATE TABLE IF NOT EXISTS due (key TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID"
# No write-ahead log: its index is a file mapped into memory, and a mapped page for which there is no room on the disk
# ends the process (SIGBUS). A killed process leaves a journal, which the next one rolls back.
_PRAGMAS = ("PRAGMA journal_mode=PERSIST", "PRAGMA synchronous=OFF", "PRAGMA mmap_size=0", _CREATE)
# What lies further ahead than a burst can reach is from a clock that was set back, and is as good as nothing.
_SQLITE = """
INSERT INTO due (key, at) VALUES (:key, :now + :gap)
ON CONFLICT (key) DO UPDATE SET at = CASE WHEN at BETWEEN :now AND :farthest THEN at ELSE :now END + :gap
WHERE at <= :latest OR at > :farthest
"""
# The same by the database's clock: machines differ. Inside, `excluded.at - gap` is now.
_POSTGRESQL = """
INSERT INTO annotate_requestrate AS row (key, at)
VALUES (%(key)s, extract(epoch FROM clock_timestamp())::float8 + %(gap)s)
ON CONFLICT (key) DO UPDATE SET at = %(gap)s + CASE
  WHEN row.at BETWEEN excluded.at - %(gap)s AND excluded.at + %(gap)s * %(burst)s
  THEN row.at ELSE excluded.at - %(gap)s END
WHERE row.at <= excluded.at + %(gap)s * (%(burst)s - 2) OR row.at > excluded.at + %(gap)s * %(burst)s
"""
_WAIT = "SELECT at - extract(epoch FROM clock_timestamp())::float8 FROM annotate_requestrate WHERE key = %(key)s"
_FORGET = "DELETE FROM annotate_requestrate WHERE at < extract(epoch FROM clock_timestamp())::float8"
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

_T = TypeVar("_T")
_threads = threading.Lock()
# By file and process, with the file's inode: a forked child opens its own.
_connections: dict[tuple[str, int], tuple[sqlite3.Connection, int]] = {}


class CannotCount(Exception):
    """Nobody knows how many requests came: no counter can be reached, or stored."""


def hit(key: str, gap: float, burst: int) -> float:
    """Count one request of `key`; seconds to wait, 0 where it is within its rate. CannotCount where that fails.

    `gap`: seconds between two requests that come evenly; `burst`: how many may come at once.
    """
    if connection.vendor == "postgresql":
        return _hit_row(key, gap, burst)
    return hit_file(_path(), key, gap, burst)


def forget_idle() -> None:
    """Delete the rows of those who may send a whole burst again. CannotCount where that fails."""
    if connection.vendor == "postgresql":
        try:
            with apart(), connection.cursor() as cursor:
                cursor.execute(_FORGET)
        except DatabaseError as error:
            raise CannotCount(str(error)) from error
        return
    if (path := _path()).exists():
        _with_file(path, lambda file: file.execute("DELETE FROM due WHERE at < ?", [time.time()]))


def hit_file(path: Path, key: str, gap: float, burst: int, *, now: float | None = None) -> float:
    """The same in the SQLite file `path`, which is made where there is none, at the time `now` of this machine."""
    now = time.time() if now is None else now
    latest = now + gap * (burst - 1)
    values = {"key": key, "now": now, "gap": gap, "latest": latest, "farthest": now + gap * (burst + 1)}

    def count(file: sqlite3.Connection) -> float:
        if file.execute(_SQLITE, values).rowcount == 1:
            return 0.0
        (due,) = file.execute("SELECT at FROM due WHERE key = ?", [key]).fetchone()
        return max(due - latest, 0.001)

    return _with_file(path, count)


def _path() -> Path:
    return Path(settings.API_RATES_FILE)


def _hit_row(key: str, gap: float, burst: int) -> float:
    values: dict[str, Any] = {"key": key, "gap": gap, "burst": burst}
    try:
        with apart(), connection.cursor() as cursor:
            cursor.execute(_POSTGRESQL, values)
            if cursor.rowcount == 1:
                return 0.0
            cursor.execute(_WAIT, values)
            row = cursor.fetchone()
    except DatabaseError as error:
        raise CannotCount(str(error)) from error
    return max(row[0] - gap * (burst - 1), 0.001) if row else 0.0


def _with_file(path: Path, work: Callable[[sqlite3.Connection], _T]) -> _T:
    with _threads:
        try:
            return work(_opened(path))
        except (OSError, sqlite3.Error) as error:
            _close(path, is_broken=getattr(error, "sqlite_errorcode", None) in _BROKEN)
            raise CannotCount(str(error)) from error


def _opened(path: Path) -> sqlite3.Connection:
    known = _connections.get((str(path), os.getpid()))
    if known is not None:
        return known[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    file: Any = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    _connections[str(path), os.getpid()] = file, path.stat().st_ino
    for statement in _PRAGMAS:
        file.execute(statement)
    return file


def _close(path: Path, *, is_broken: bool) -> None:
    """Give the file up after an error; one that is no database any more (after a power failure) is deleted."""
    file, inode = _connections.pop((str(path), os.getpid()), (None, 0))
    if file is not None:
        file.close()
    if is_broken:
        with suppress(OSError):
            if path.stat().st_ino == inode:
                path.unlink()
                path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
