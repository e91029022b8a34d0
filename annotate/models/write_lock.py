"""An advisory lock around short writes to SQLite: waiting writers are woken in turn; PostgreSQL needs none.

SQLite lets one writer in, and without the lock all others poll, with sleeps of up to 100 ms each.
"""

import fcntl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

_threads = threading.Lock()


@contextmanager
def sqlite_write_lock() -> Iterator[None]:
    """Around a short transaction that many people make at once: whoever waits is woken when it is their turn.

    Threads wait for each other by a lock, processes by one on a file beside the database. Nothing depends on it
    but speed: a writer that does not take its turn is held off by the database itself. Elsewhere than in SQLite,
    and inside a transaction, it does nothing.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        yield
        return
    with _threads, open(f"{connection.settings_dict['NAME']}-turn", "w") as file:  # noqa: PTH123
        fcntl.flock(file, fcntl.LOCK_EX)  # given back when the file is closed
        yield
