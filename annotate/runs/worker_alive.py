"""Decides whether a worker counts as alive: a worker touches a small file each time it looks for work."""

import time
from pathlib import Path

from django.conf import settings

_FRESH_SECONDS = 30.0  # a worker touches it every second; a slow disk or a locked database may hold it up


def worker_lives() -> None:
    """A worker says that it is alive."""
    _path().parent.mkdir(parents=True, exist_ok=True)
    _path().touch()


def worker_ends() -> None:
    """A worker says that it stops."""
    _path().unlink(missing_ok=True)


def worker_state() -> str:
    """`ok`: a worker is alive; `none`: none is; `unknown`: the file cannot be read."""
    try:
        age = time.time() - _path().stat().st_mtime
    except FileNotFoundError:
        return "none"
    except OSError:
        return "unknown"
    return "ok" if age < _FRESH_SECONDS else "none"


def _path() -> Path:
    return Path(settings.VAR_DIR) / "worker.alive"
