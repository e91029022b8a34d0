"""Advisory lock around short SQLite writes: waiting writers are woken, where SQLite polls every 100 ms."""

import fcntl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

_threads = threading.Lock()


@contextmanager
def sqlite_write_lock() -> Iterator[None]:
    """Hold the lock in the body, a short transaction that many people make at once.

    Threads of a process wait for a lock in memory, processes for a lock on a file beside the database. Only speed
    depends on it, since SQLite itself lets in one writer at a time. It has no effect on PostgreSQL and inside a
    transaction.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        yield
        return
    with _threads, open(f"{connection.settings_dict['NAME']}-turn", "w") as file:  # noqa: PTH123
        fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
        yield
