"""What errors of database and disk mean: an outage with its sentence, or nothing that anybody expected."""

import errno
import sqlite3
import threading
from contextlib import closing

import psycopg
import pytest
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction

from annotate import outages
from annotate.models import migrated
from annotate.models.incidental import by_the_way


def wrapped(cause: Exception) -> DatabaseError:
    """As Django raises it."""
    try:
        raise OperationalError(str(cause)) from cause
    except OperationalError as error:
        return error


def word(error: BaseException) -> str | None:
    found = outages.of(error)
    return found.word if found else None


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.ENOSPC, "full"), (errno.EDQUOT, "full"), (errno.EROFS, "read_only"), (errno.ENOENT, None)],
)
def test_of_files(number, expected):
    assert word(OSError(number, "what the system says")) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (psycopg.errors.DiskFull(), "full"),
        (psycopg.errors.ReadOnlySqlTransaction(), "read_only"),
        (psycopg.errors.IoError(), "disk"),
        (psycopg.errors.LockNotAvailable(), "busy"),
        (psycopg.errors.DeadlockDetected(), "busy"),
        (psycopg.errors.TooManyConnections(), "busy"),
        (psycopg.errors.AdminShutdown(), "away"),
        (psycopg.errors.CannotConnectNow(), "away"),
        (psycopg.OperationalError("connection refused"), "away"),
        (psycopg.InterfaceError("the connection is closed"), "away"),
        (psycopg.errors.UniqueViolation(), None),
        (psycopg.errors.DivisionByZero(), None),
    ],
)
def test_of_postgresql(error, expected):
    assert word(wrapped(error)) == expected


class TestOfSqlite:
    def failing(self, path, statement: str, *before: str) -> DatabaseError:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as file:
            for one in before:
                file.execute(one)
            with pytest.raises(sqlite3.Error) as caught:
                file.execute(statement)
        return wrapped(caught.value)

    def test_a_full_disk(self, tmp_path):
        before = ("CREATE TABLE a (b)", "PRAGMA max_page_count = 2")
        assert word(self.failing(tmp_path / "a", f"INSERT INTO a VALUES ('{'x' * 50_000}')", *before)) == "full"

    def test_only_read(self, tmp_path):
        before = ("CREATE TABLE a (b)", "PRAGMA query_only = ON")
        assert word(self.failing(tmp_path / "a", "INSERT INTO a VALUES (1)", *before)) == "read_only"

    def test_another_writer(self, tmp_path):
        with closing(sqlite3.connect(tmp_path / "a", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert word(self.failing(tmp_path / "a", "CREATE TABLE a (b)")) == "busy"

    def test_a_mistake_of_ours_is_none(self, tmp_path):
        assert word(self.failing(tmp_path / "a", "SELEKT")) is None


def test_what_anybody_may_do_wrong_is_none():
    assert outages.of(IntegrityError("twice")) is None
    assert outages.of(ZeroDivisionError()) is None
    assert outages.of(None) is None


@pytest.mark.django_db
@pytest.mark.parametrize("lacks", [True, False])
def test_a_table_that_is_missing_is_an_outage_where_a_migration_makes_it(lacks, monkeypatch):
    more = migrated._of_this_version() | ({("annotate", "9999_to_come")} if lacks else set())
    monkeypatch.setattr(migrated, "_of_this_version", lambda: more)
    monkeypatch.setitem(migrated._state, "lacked", lacks)
    with pytest.raises(DatabaseError) as caught, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM annotate_to_come")
    assert word(caught.value) == ("unmigrated" if lacks else None)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("events_can_be_flushed")
def test_what_is_written_by_the_way_waits_for_nobody():
    """Another connection holds what it wants to change; it gives up at once, and nothing else fails."""
    is_held, may_end = threading.Event(), threading.Event()
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO annotate_heartbeat (name, at) VALUES ('a', CURRENT_TIMESTAMP)")

    def hold() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("UPDATE annotate_heartbeat SET at = CURRENT_TIMESTAMP WHERE name = 'a'")
            is_held.set()
            assert may_end.wait(60)
        connection.close()

    def change() -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE annotate_heartbeat SET at = CURRENT_TIMESTAMP WHERE name = 'a'")

    other = threading.Thread(target=hold)
    other.start()
    assert is_held.wait(60)
    try:
        assert not by_the_way(change)
    finally:
        may_end.set()
        other.join()
    assert by_the_way(change)
