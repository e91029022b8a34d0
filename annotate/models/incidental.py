"""Writes that something makes by the way, and does without where the database does not take them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from django.db import DatabaseError, connection, transaction

_PATIENCE = "50ms"  # PostgreSQL's lock timeout of such a write


def by_the_way(write: Callable[[], object]) -> bool:
    """Try `write` at once, waiting for no other writer; whether it was stored. What it is part of goes on either way.

    A read that also notes something (when a token was used last) must not fail, or wait, because the disk is full, the
    database takes no writes, or somebody else is writing for long.
    """
    try:
        with _at_once(), transaction.atomic():
            if connection.vendor == "postgresql" and not connection.savepoint_ids:
                _run(f"SET LOCAL lock_timeout = '{_PATIENCE}'")
            write()
    except DatabaseError:
        return False
    return True


def apart() -> "transaction.Atomic | nullcontext[None]":
    """Around one statement that may fail: inside a transaction a savepoint, so that the transaction goes on."""
    return transaction.atomic() if connection.in_atomic_block else nullcontext()


@contextmanager
def _at_once() -> Iterator[None]:
    """Inside, SQLite waits for no other writer; a caller's transaction has its turn already."""
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        yield
        return
    _run("PRAGMA busy_timeout = 0")
    try:
        yield
    finally:
        _run(f"PRAGMA busy_timeout = {1_000 * connection.settings_dict['OPTIONS'].get('timeout', 5)}")


def _run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
