"""How often a program may ask: a few bytes of memory that all processes of one machine share.

Each kind of request of each token has a rate and a burst (the generic cell rate algorithm, which ITU-T I.371 names and
which needs one number per key: when the next request would be due if they came evenly). The numbers lie in one small
file that is mapped into memory, because a row per request would make reading as slow as writing. Several machines
count on their own. What costs money or much work is counted by its rows instead (see runs and uploads in this
package): those are the same for everybody.
"""

import fcntl
import hashlib
import math
import mmap
import os
import struct
import threading
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _
from rest_framework.exceptions import APIException, ErrorDetail, Throttled
from rest_framework.request import Request

_SLOTS = 1 << 16  # of 8 bytes: two keys in one slot share their limit, which 1,000 busy tokens hardly ever do
_SLOT = struct.Struct("<d")
_threads = threading.Lock()
_maps: dict[tuple[str, int], mmap.mmap] = {}  # by file and process: a forked child opens its own


class Unavailable(APIException):
    """It is not known how often this was asked; what costs money is not done then."""

    status_code = 503
    wait = 5


class TooOften(Throttled):
    """`wait` in seconds, and a sentence with %(n)d for them."""

    def __init__(self, wait: float, sentence: str = "") -> None:
        super().__init__()
        self.wait = max(1, math.ceil(wait))
        sentence = sentence or _("Too many requests at once. Try again in %(n)d s.")
        self.detail = ErrorDetail(sentence % {"n": self.wait})


def check(request: Request, kind: str, *, may_fail: bool) -> None:
    """Count one request of this kind; TooOften says when the next may come.

    `may_fail`: where the counter cannot be reached, go on (people go on labeling), else Unavailable.
    """
    per_second, burst = settings.API_THROTTLES[kind]
    if not per_second:
        return
    who: Any = request.auth or request.user
    try:
        wait = _wait(Path(settings.API_THROTTLE_FILE), f"{kind} {who.public_id}", 1 / per_second, burst, time.time())
    except OSError:
        if may_fail:
            return
        raise Unavailable(_("Requests cannot be counted at the moment; what costs money waits.")) from None
    if wait > 0:
        raise TooOften(wait)


def _wait(path: Path, key: str, gap: float, burst: int, now: float) -> float:
    """Seconds to wait; 0 where this request is within its rate, and counted."""
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4]) % _SLOTS * _SLOT.size
    with _threads:
        table = _table(path)
        with _Locked(path):
            (due,) = _SLOT.unpack_from(table, place)
            # What lies further ahead than a burst can reach is from a clock that was set back.
            due = now if not now <= due <= now + gap * (burst + 1) else due
            early = due - gap * (burst - 1) - now
            if early > 0:
                return early
            _SLOT.pack_into(table, place, due + gap)
    return 0.0


class _Locked:
    """Alone among processes; threads wait before."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._file = os.open(self._path, os.O_RDWR)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_error: Any) -> None:
        os.close(self._file)  # which gives the lock back


def _table(path: Path) -> mmap.mmap:
    known = _maps.get((str(path), os.getpid()))
    if known is not None and path.exists():
        return known
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        file.truncate(_SLOTS * _SLOT.size)  # of two processes at once both make it as long, and nothing is lost
        _maps[str(path), os.getpid()] = mmap.mmap(file.fileno(), _SLOTS * _SLOT.size)
    return _maps[str(path), os.getpid()]
