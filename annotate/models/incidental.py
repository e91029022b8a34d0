"""Writes that something makes by the way, and does without where the database does not take them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from django.db import DatabaseError, connection, transaction

_PATIENCE_SECONDS = 0.05  # PostgreSQL knows no lock timeout of nothing


def by_the_way(write: Callable[[], object]) -> bool:
    """Try `write` at once, waiting for no other writer; whether it was stored. What it is part of goes on either way.

    A read that also notes something (when a token was used last) must not fail, or wait, because the disk is full, the
    database takes no writes, or somebody else is writing for long.
    """
    try:
        with within(_PATIENCE_SECONDS):
            write()
    except DatabaseError:
        return False
    return True


def apart() -> "transaction.Atomic | nullcontext[None]":
    """Around one statement that may fail: inside a transaction a savepoint, so that the transaction goes on."""
    return transaction.atomic() if connection.in_atomic_block else nullcontext()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """A transaction that waits for another writer's lock no longer than this; inside another one a savepoint of it."""
    if connection.in_atomic_block:
        with transaction.atomic():
            yield
    elif connection.vendor == "sqlite":
        with _busy_timeout(seconds), transaction.atomic():
            yield
    else:
        with transaction.atomic():
            _run(f"SET LOCAL lock_timeout = {max(1, round(1_000 * seconds))}")
            yield


@contextmanager
def _busy_timeout(seconds: float) -> Iterator[None]:
    _run(f"PRAGMA busy_timeout = {round(1_000 * seconds)}")
    try:
        yield
    finally:
        usual = connection.settings_dict["OPTIONS"].get("timeout", 5)
        _run(f"PRAGMA busy_timeout = {round(1_000 * usual)}")


def _run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
