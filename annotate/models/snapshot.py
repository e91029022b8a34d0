"""Reading many rows as they were at one moment, without holding up anybody who writes."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def read_snapshot() -> Iterator[None]:
    """All reads inside see one point in time (SQLite: WAL read transaction; PostgreSQL: repeatable read).

    Not `atomic()`: on SQLite that takes the write lock (IMMEDIATE), and a long export would stop all labeling.
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
            cursor.execute("ROLLBACK")  # nothing was written
