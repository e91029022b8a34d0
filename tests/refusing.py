"""A database and a disk that really refuse to store: for tests of what people can still do then."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from django.db import connection, transaction

from annotate.imports import quotas


@contextmanager
def refusing_writes() -> Iterator[None]:
    """Inside, this connection's database refuses every write, and answers every read."""
    if connection.vendor == "sqlite":
        connection.ensure_connection()
        connection.connection.execute("PRAGMA query_only = ON")
        try:
            yield
        finally:
            connection.connection.execute("PRAGMA query_only = OFF")
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL transaction_read_only = on")
        yield
        transaction.set_rollback(True)  # which takes the setting back, too


@contextmanager
def refusing_files() -> Iterator[None]:
    """Inside, no file of this process takes a byte, as on a full disk: files of the database, of the site, of tests."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextmanager
def refusing_uploads() -> Iterator[None]:
    """Inside, an upload gets its room in the quota, and then finds the disk full."""
    given = quotas.reserved

    @contextmanager
    def reserved(**words: Any) -> Iterator[Any]:
        with given(**words) as room, refusing_files():
            yield room

    with patch.object(quotas, "reserved", reserved):
        yield
