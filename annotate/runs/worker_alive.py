"""Decides whether a worker counts as alive: a worker touches a file when it looks for work, and a row now and then.

The file is for this machine, also while the database is away; the row for workers on any machine.
"""

import time
from contextlib import suppress
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError

from annotate.models import Heartbeat
from annotate.models.base import database_now
from annotate.models.incidental import apart, by_the_way

_FRESH_SECONDS = 30.0  # a worker touches it every second; a slow disk or a locked database may hold it up
_ROW_SECONDS = 10.0  # between two writes of the row
_row_written = {"at": -_ROW_SECONDS}


def worker_lives() -> None:
    """A worker says that it is alive. On a disk that takes nothing it cannot say so, and works on."""
    with suppress(OSError):
        _path().parent.mkdir(parents=True, exist_ok=True)
        _path().touch()
    if time.monotonic() - _row_written["at"] >= _ROW_SECONDS:
        _row_written["at"] = time.monotonic()
        by_the_way(_touch_row)


def worker_ends() -> None:
    """A worker says that it stops."""
    with suppress(OSError):
        _path().unlink(missing_ok=True)


def worker_state() -> str:
    """`ok`: a worker is alive; `none`: none is; `unknown`: the file cannot be read."""
    try:
        seconds = age()
    except OSError:
        return "unknown"
    return "ok" if seconds is not None and seconds < _FRESH_SECONDS else "none"


def age() -> float | None:
    """Seconds since the newest sign of life of a worker; None where there is none. OSError where that fails."""
    with suppress(FileNotFoundError):
        here = max(time.time() - _path().stat().st_mtime, 0.0)
        if here < _FRESH_SECONDS:
            return here
    return _age_of_row()


def _touch_row() -> None:
    Heartbeat.objects.update_or_create(name=Heartbeat.WORKER, defaults={"at": database_now()})


def _age_of_row() -> float | None:
    try:
        with apart():
            at = Heartbeat.objects.filter(name=Heartbeat.WORKER).values_list("at", flat=True).first()
            return (database_now() - at).total_seconds() if at else None
    except DatabaseError:
        return None


def _path() -> Path:
    return Path(settings.VAR_DIR) / "worker.alive"
