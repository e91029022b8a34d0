"""Read snapshots: many reads that see one point in time, without blocking writers."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def read_snapshot() -> Iterator[None]:
    """In the body all reads see one point in time (SQLite: WAL read transaction; PostgreSQL: repeatable read).

    For reading only. `atomic()` would take SQLite's write lock (BEGIN IMMEDIATE), so that a long export would stop
    all labeling.
    """
    if connection.in_atomic_block:  # a caller's transaction already gives one point in time
        yield
        return
    begin = "BEGIN DEFERRED" if connection.vendor == "sqlite" else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    with connection.cursor() as cursor:
        cursor.execute(begin)
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")  # there is nothing to commit
