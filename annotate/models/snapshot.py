"""Read snapshots: many reads that see one point in time, without blocking writers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

_here = threading.local()  # by thread, as connections are: whether a snapshot is open


@contextmanager
def read_snapshot() -> Iterator[None]:
    """In the body all reads see one point in time (SQLite: WAL read transaction; PostgreSQL: repeatable read).

    For reading only; one inside another sees what the outer one does. `atomic()` would take SQLite's write lock
    (BEGIN IMMEDIATE), so that a long export would stop all labeling.
    """
    # A caller's transaction or snapshot already gives one point in time.
    if connection.in_atomic_block or getattr(_here, "is_open", False):
        yield
        return
    begin = "BEGIN DEFERRED" if connection.vendor == "sqlite" else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    with connection.cursor() as cursor:
        cursor.execute(begin)
        _here.is_open = True
        try:
            yield
        finally:
            _here.is_open = False
            cursor.execute("ROLLBACK")  # there is nothing to commit
