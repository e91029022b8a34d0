"""Whether a worker is alive: it touches a small file as long as it goes round."""

import time
from pathlib import Path

from django.conf import settings

_FRESH_SECONDS = 30.0  # a worker touches it every second; a slow disk or a locked database may hold it up


def worker_lives() -> None:
    _path().parent.mkdir(parents=True, exist_ok=True)
    _path().touch()


def worker_ends() -> None:
    _path().unlink(missing_ok=True)


def worker_state() -> str:
    """`ok`, `none`, or `unknown` where the file cannot be looked at."""
    try:
        age = time.time() - _path().stat().st_mtime
    except FileNotFoundError:
        return "none"
    except OSError:
        return "unknown"
    return "ok" if age < _FRESH_SECONDS else "none"


def _path() -> Path:
    return Path(settings.VAR_DIR) / "worker.alive"
