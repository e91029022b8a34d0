"""Decides what an error of the database or the disk means: why nothing can be stored now, in words, and for how long.

An outage is nobody's fault who asks: pages and API answer 503, runs pause, and the same request may come again.
"""

import errno
import logging
import sqlite3
import time
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError
from django.utils.translation import gettext as _

from annotate.models import migrated

FULL, BROKEN, READ_ONLY, BUSY, AWAY, UNMIGRATED = "full", "disk", "read_only", "busy", "away", "unmigrated"
LASTING = (FULL, BROKEN, READ_ONLY)  # until whoever runs the site acts; the others pass by themselves

_RETRY_SECONDS = {FULL: 15, BROKEN: 15, READ_ONLY: 15, BUSY: 2, AWAY: 5, UNMIGRATED: 30}
_ERRNO = {errno.ENOSPC: FULL, errno.EDQUOT: FULL, errno.EFBIG: FULL, errno.EROFS: READ_ONLY}
_SQLITE = {
    sqlite3.SQLITE_FULL: FULL,
    sqlite3.SQLITE_READONLY: READ_ONLY,
    sqlite3.SQLITE_BUSY: BUSY,
    sqlite3.SQLITE_LOCKED: BUSY,
    sqlite3.SQLITE_PROTOCOL: BUSY,
    sqlite3.SQLITE_IOERR: BROKEN,
    sqlite3.SQLITE_CANTOPEN: AWAY,
}
# https://www.postgresql.org/docs/current/errcodes-appendix.html; the longest beginning counts.
_POSTGRESQL = {
    "53100": FULL,
    "53": BUSY,  # too many connections, no memory
    "58030": BROKEN,
    "25006": READ_ONLY,
    "55P03": BUSY,  # a lock was not to be had
    "40": BUSY,  # deadlock, serialisation
    "57P": AWAY,  # it is shut down, or starts
    "08": AWAY,
}
_MISSING = ("42P01", "42703")  # no such table, no such column
_QUIET_SECONDS = 60.0
_log = logging.getLogger(__name__)
_said_at: dict[str, float] = {}


@dataclass(frozen=True)
class Outage:
    """Why nothing can be stored now: a word for programs, a sentence for people, seconds until it is worth asking."""

    word: str
    sentence: str
    retry_seconds: int

    @property
    def is_lasting(self) -> bool:
        """Whether somebody has to act before anything can be stored."""
        return self.word in LASTING

    @property
    def has_database(self) -> bool:
        """Whether rows can still be read."""
        return self.word not in (AWAY, UNMIGRATED)


def of(error: BaseException | None) -> Outage | None:
    """The outage that `error` tells of, itself or by what caused it; None for any other error."""
    while error is not None:
        if word := _word(error):
            return named(word)
        error = error.__cause__
    return None


def named(word: str) -> Outage:
    """The outage of this kind."""
    return Outage(word, _sentence(word), _RETRY_SECONDS[word])


def report(outage: Outage, error: object) -> None:
    """Write the outage into the log, at most once a minute for each kind: it may meet every request."""
    now = time.monotonic()
    if now - _said_at.get(outage.word, -_QUIET_SECONDS) >= _QUIET_SECONDS:
        _said_at[outage.word] = now
        _log.error("Nothing can be stored (%s): %s", outage.word, error)


def _word(error: BaseException) -> str | None:
    if isinstance(error, OSError):
        return _ERRNO.get(error.errno or 0)
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error)
    if hasattr(error, "sqlstate"):  # psycopg's
        return _of_postgresql(error)
    return None


def _of_sqlite(error: sqlite3.Error) -> str | None:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    is_missing = code == sqlite3.SQLITE_ERROR and any(word in str(error) for word in ("no such table", "column"))
    return UNMIGRATED if is_missing and _lacks_migrations() else _SQLITE.get(code & 0xFF)


def _of_postgresql(error: Any) -> str | None:
    state: str | None = error.sqlstate
    if state is None:  # there is no connection, or none any more
        return AWAY if type(error).__name__ in ("OperationalError", "InterfaceError", "ConnectionTimeout") else None
    if state in _MISSING:
        return UNMIGRATED if _lacks_migrations() else None
    return next((_POSTGRESQL[state[:n]] for n in (5, 3, 2) if state[:n] in _POSTGRESQL), None)


def _lacks_migrations() -> bool:
    try:
        return migrated.n_waiting() > 0
    except DatabaseError:  # inside a transaction that has failed nothing can be asked
        return migrated.lacked_some()


def _sentence(word: str) -> str:
    sentences = {
        FULL: _(
            "Nothing can be stored at the moment: the disk of this site is full. Nothing was changed. Try again when "
            "whoever runs the site has made room."
        ),
        BROKEN: _(
            "Nothing can be stored at the moment: the disk of this site does not take it. Nothing was changed. Whoever "
            "runs the site has to look at it."
        ),
        READ_ONLY: _(
            "Nothing can be stored at the moment: this site can only be read. Nothing was changed. Try again when "
            "whoever runs it has opened it again."
        ),
        BUSY: _("Too much is being stored at the moment. Nothing was changed; try again in a few seconds."),
        AWAY: _("The database of this site does not answer. Nothing was changed; try again in a moment."),
        UNMIGRATED: _(
            "This site is being updated: its database is not ready for this version. Nothing was changed. Whoever runs "
            "the site has to run `manage.py migrate`."
        ),
    }
    return sentences[word]
