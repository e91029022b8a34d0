"""Decides whether the site can do its work: database, migrations, a real write to database and files, room, workers.

What was found is kept for a few seconds in each process, so that nobody makes the site write by asking often.
"""

import errno
import logging
import math
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection

from annotate import outages
from annotate.models import Heartbeat, migrated
from annotate.models.base import database_now
from annotate.models.incidental import apart, within
from annotate.runs import worker_alive

KEPT_SECONDS = 5
_PATIENCE_SECONDS = 2  # for other writers, then the database counts as busy
_BROKER_SECONDS = 0.5
_STUCK_SECONDS = 60.0  # who looks gets no answer for so long: neither does anybody else
_NEEDED = ("database", "migrations", "writes", "files", "disk")  # without these the site is not ready
_log = logging.getLogger(__name__)
_lock = threading.Lock()
_kept: dict[str, Any] = {"at": None, "checks": {}}


def checks() -> dict[str, str]:
    """The state of each check, `ok` or a word for what is wrong; found at most KEPT_SECONDS ago."""
    # While one thread looks, all others answer what was found before: they would only wait for the same.
    if _age() >= KEPT_SECONDS and _lock.acquire(blocking=not _kept["checks"]):
        try:
            if _age() >= KEPT_SECONDS:
                _kept["checks"] = _found()
                _kept["at"] = time.monotonic()
        finally:
            _lock.release()
    is_stuck = _age() >= _STUCK_SECONDS
    return {**_kept["checks"], **({"database": outages.AWAY} if is_stuck else {})}


def forget() -> None:
    """What was found counts no longer."""
    _kept["at"] = None


def _age() -> float:
    at: float | None = _kept["at"]
    return math.inf if at is None else time.monotonic() - at


def status(found: dict[str, str]) -> str:
    """`not_ready` where something needed fails, `degraded` where something else does, else `ready`."""
    if any(found[name] != "ok" for name in _NEEDED):
        return "not_ready"
    return "ready" if all(state in ("ok", "unused") for state in found.values()) else "degraded"


def _found() -> dict[str, str]:
    database = _state("database", _read)
    migrations = _migrations() if database == "ok" else "unknown"
    return {
        "database": database,
        "migrations": migrations,
        "writes": _state("writes", _write_row) if migrations == "ok" else "unknown",
        "files": _state("files", _write_file),
        "disk": _state("disk", _look_for_room),
        "broker": _broker(),
        "worker": worker_alive.worker_state(),
    }


def _state(name: str, try_it: Callable[[], None]) -> str:
    """`ok`, or the word of the outage; why stands in the log alone."""
    try:
        try_it()
    except (DatabaseError, OSError) as error:
        if not connection.in_atomic_block:
            connection.close()
        outage = outages.of(error)
        _log.warning("not ready (%s): %s", name, error)
        return outage.word if outage else "error"
    return "ok"


def _read() -> None:
    with apart(), connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _migrations() -> str:
    try:
        return "ok" if not migrated.n_waiting() else "missing"
    except DatabaseError:
        return "error"


def _write_row() -> None:
    with within(_PATIENCE_SECONDS):
        Heartbeat.objects.update_or_create(name=Heartbeat.READY, defaults={"at": database_now()})


def _write_file() -> None:
    folder = Path(settings.FILES_DIR)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:  # nameless: gone whatever happens
        file.write(b"x" * 4096)
        file.flush()
        os.fsync(file.fileno())


def _look_for_room() -> None:
    for folder in {str(settings.VAR_DIR), str(settings.FILES_DIR)}:
        if Path(folder).exists():
            room = shutil.disk_usage(folder)
            if room.free < settings.READY_FREE_SHARE * room.total:
                raise OSError(errno.ENOSPC, f"{room.free} of {room.total} bytes are free", folder)


def _broker() -> str:
    if not settings.REDIS_URL:
        return "unused"
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    seconds = {"socket_connect_timeout": _BROKER_SECONDS, "socket_timeout": _BROKER_SECONDS}
    try:
        with redis.Redis.from_url(settings.REDIS_URL, retry=Retry(NoBackoff(), 0), **seconds) as client:
            client.ping()
    except (redis.RedisError, OSError, ValueError) as error:
        _log.warning("degraded (broker): %s", error)
        return "away"
    return "ok"
