"""Whether the database has had all migrations of this version."""

from contextlib import suppress
from functools import cache

from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

_state = {"lacked": False}  # what this process found last


def n_waiting() -> int:
    """How many migrations of this version the database has not had yet; one query. DatabaseError where it fails."""
    n = len(_of_this_version() - MigrationRecorder(connection).applied_migrations().keys())
    _state["lacked"] = n > 0
    return n


def lacked_some() -> bool:
    """Whether migrations were missing when this process looked last; no query."""
    return _state["lacked"]


def look() -> None:
    """Look once, as a web process does when it starts; a database that does not answer says so to whoever asks it."""
    with suppress(DatabaseError):
        n_waiting()
    connection.close()


@cache
def _of_this_version() -> frozenset[tuple[str, str]]:
    """(app, name) of every migration there is, those left out that others replace."""
    loader = MigrationLoader(None, ignore_no_migrations=True)
    return frozenset(key for key in loader.graph.nodes)
