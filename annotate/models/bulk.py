"""Inserts and reads many rows of one table at once, without the cost of a model object per row."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from django.db import connection, models

T = TypeVar("T")

# How many rows at once. Code that uses another number says why.
ROWS_PER_INSERT = 1_000  # enough to spread the cost of a statement, few enough to keep its text small
IDS_PER_QUERY = 2_000  # in one IN: far below SQLite's limit, and PostgreSQL plans it in a millisecond
ROWS_PER_PAGE = 2_000  # read with their texts, for instance for a download: a few MB at most
ROWS_PER_ARRAY_READ = 10_000  # rows of a few numbers each, to be put into arrays

_CHECKPOINT_PAGES = 16_000  # of 4 KB: 64 MB


def insert(model: type[models.Model], fields: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows; values go to the database as they are, so JSON must be text and times must come from `stored`."""
    columns = ", ".join(_column(model, field) for field in fields)
    places = ", ".join(["%s"] * len(fields))
    table = connection.ops.quote_name(model._meta.db_table)
    if connection.vendor == "postgresql":
        _copy(f"COPY {table} ({columns}) FROM STDIN", rows)
        return
    with connection.cursor() as cursor:
        # Table and columns come from the models, never from a request.
        cursor.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", list(rows))  # noqa: S608


def matching(
    model: type[models.Model],
    fields: Sequence[str],
    *,
    field: str,
    among: Sequence[Any],
    where: str = "",
    **equal: Any,
) -> list[tuple[Any, ...]]:
    """The values of `fields` in each row whose `field` is one of `among`; faster than Django's `__in` of thousands.

    `equal`: further fields with the value that they must have. `where`: a further condition in SQL, for instance that
    of a partial index; it is part of the program, never of a request.
    """
    if not among:
        return []
    columns = ", ".join(_column(model, name) for name in fields)
    tests = [f"{_column(model, name)} = %s" for name in equal]
    # PostgreSQL reads one array faster than thousands of values.
    values = [list(among)] if connection.vendor == "postgresql" else among
    some = "= ANY(%s)" if connection.vendor == "postgresql" else f"IN ({', '.join(['%s'] * len(among))})"
    tests.append(f"{_column(model, field)} {some}")
    tests += [where] if where else []
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {columns} FROM {table} WHERE {' AND '.join(tests)}",  # noqa: S608
            [*equal.values(), *values],
        )
        return cursor.fetchall()


@contextmanager
def few_checkpoints() -> Iterator[None]:
    """In the body, SQLite copies its write-ahead log into the database every 64 MB instead of every 4 MB.

    Random keys change most pages of an index in every transaction. Copying each page once for many transactions
    nearly halves the bytes written. Durability stays: each commit waits until the log is on disk.
    """
    if connection.vendor != "sqlite":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_autocheckpoint")
        (usual,) = cursor.fetchone()
        cursor.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        try:
            yield
        finally:
            cursor.execute(f"PRAGMA wal_autocheckpoint={int(usual)}")


def parts(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """The values in slices of at most IDS_PER_QUERY."""
    for start in range(0, len(values), IDS_PER_QUERY):
        yield values[start : start + IDS_PER_QUERY]


def stored(moment: datetime) -> Any:
    """A time in the form in which the database stores it."""
    return connection.ops.adapt_datetimefield_value(moment)


def _copy(statement: str, rows: Iterable[Sequence[Any]]) -> None:
    """Insert by PostgreSQL's COPY, which plans no statement per row and waits for no reply per row."""
    # Django turns only errors of execute and fetch into its own; wrapped, a broken constraint is an IntegrityError.
    with connection.cursor() as cursor, connection.wrap_database_errors, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _column(model: type[models.Model], field: str) -> str:
    column = model._meta.get_field(field).column  # type: ignore[union-attr]
    assert column is not None
    return connection.ops.quote_name(column)
